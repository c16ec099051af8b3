"""A dashboard on a session: what it finds at the end, and that it takes nothing back that a cell sets."""

import gc
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import mirrorkit as mk
from mirrorkit.compare.looked import Looked
from mirrorkit.notebook import dashboard
from mirrorkit.notebook.dashboard import Dashboard
from mirrorkit.store import files
from mirrorkit.store.frame import FrameStore
from mirrorkit.watching import Watched, Watching

MESSAGES = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def models(sim: Any) -> list[dict[str, Any]]:
    return [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")]


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "mirrorkit dashboard"]


class TestTheEnd:
    def test_the_last_picture_of_a_session_closed_early_has_the_calls_that_were_given_up(
        self, sim: Any, models: Any
    ) -> None:
        session = mk.MirrorSession(models, silent_model="next")
        shown = Dashboard(Watched(session), lambda parts: None)
        with sim.hold("gpt-4o-mini") as hold:
            for _ in range(3):
                session.completion("chat", MESSAGES)
            hold.wait_for(3)
            assert shown.tick()
            assert "3 under way, 0 pairs" in dashboard.text(shown.glance)
            session.close(timeout_s=0)
        assert not shown.tick()
        assert "(closed): 3 requests, 3 mirrored, 0 under way, 3 pairs" in dashboard.text(shown.glance)
        assert session.frame["silent_status"].to_list() == ["cancelled"] * 3

    def test_a_closed_session_shows_its_last_state_at_once_and_leaves_no_thread(self, models: Any) -> None:
        with mk.MirrorSession(models, silent_model="next") as session:
            session.run(["Hi"] * 4, progress=False)
        widget = session.live(gates={"errors": 0.5})
        shown = widget._repr_mimebundle_()
        assert "mirrorkit (closed): 4 requests, 4 mirrored, 0 under way, 4 pairs" in shown["text/plain"]
        assert "session closed" in shown["text/html"]
        assert "Over 4 pairs" in widget.gates
        assert widget.closed
        assert threads() == []
        widget._hear(widget, {"view": "shown"}, None)
        widget._ticker.join(10)
        assert threads() == []

    def test_a_stream_that_was_dropped_is_under_way_no_more(self, models: Any) -> None:
        with mk.MirrorSession(models, silent_model="next") as session:
            stream = session.completion("chat", MESSAGES, stream=True)
            next(stream)
            del stream
            gc.collect()
            glance = Watched(session).glance()
        assert glance is not None
        assert (glance.funnel.under_way, glance.funnel.mirrored) == (0, 1)


def test_pairs_that_are_in_the_journal_alone_are_told_of(models: Any, tmp_path: Path) -> None:
    with mk.MirrorSession(models, silent_model="next", journal=tmp_path, max_pairs_in_memory=4) as session:
        session.run(["Hi"] * 12, progress=False)
        shown = Dashboard(Watched(session), lambda parts: None)
        shown.tick(judge=False)
    for name in ("spend", "charts", "errors"):
        assert "4 of 12 pairs" in shown.parts[name]


class Store(FrameStore):
    """Pairs whose count is waited for, while a cell does something."""

    def __init__(self, frame: pl.DataFrame) -> None:
        super().__init__(frame)
        self.meanwhile: Callable[[], object] = int

    def __len__(self) -> int:
        meanwhile, self.meanwhile = self.meanwhile, int
        meanwhile()
        return super().__len__()


class Recorded(Watching):
    """What a session is to those who watch it."""

    def __init__(self, store: Store) -> None:
        self._store: Store = store
        self._looked, self._closed = Looked(), False

    @property
    def frame(self) -> pl.DataFrame:
        return self._store.frame()

    @property
    def complete_before(self) -> datetime | None:
        return None


@pytest.fixture
def recorded() -> Recorded:
    same = {"arm": "mini", "primary_status": "ok", "silent_status": "ok", "primary_latency_s": 1.0}
    frame = pl.DataFrame({"pair_id": [f"p{row}" for row in range(20)], "silent_latency_s": [0.5] * 20})
    frame = frame.with_columns(pl.lit(value).alias(name) for name, value in same.items())
    return Recorded(Store(files.conform(frame)))


class TestWhatACellSets:
    def test_gates_set_while_the_dashboard_looks_stay_and_are_what_it_looks_by(
        self, recorded: Recorded
    ) -> None:
        recorded.live(gates={"latency": 1.1})
        recorded._store.meanwhile = lambda: recorded.live(gates={"latency": 1.5})
        seen = Watched(recorded).compare()
        assert seen is not None
        assert dict(seen.plan.gates) == {"latency": 1.5}
        later = recorded.compare(progress=False)
        assert dict(later.plan.gates) == {"latency": 1.5}
        assert not [each for each in later.warnings if "changed after a look" in each.text]

    def test_a_look_of_the_dashboard_is_remembered_and_written_down(self, recorded: Recorded) -> None:
        Watched(recorded).compare()
        assert '"pairs": 20' in recorded._store.looks.replace('":20', '": 20')
        (told,) = [
            each.text
            for each in recorded.compare(gates={"latency": 1.5}, progress=False).warnings
            if "changed after a look" in each.text
        ]
        assert "after a look at 20 pairs" in told
