"""The dashboard: what it shows of which numbers, when it looks, and that its thread ends."""

import gc
import re
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import mirrorkit as mk
from mirrorkit.capture.policy import Funnel, Spending
from mirrorkit.notebook import dashboard
from mirrorkit.notebook.dashboard import Dashboard, Ration, Ticker
from mirrorkit.notebook.live import board
from mirrorkit.notebook.live.band import band
from mirrorkit.notebook.live.gauges import LATEST, Bill, Glance, Tally, Times
from mirrorkit.simulator import Reply
from pairs import STARTED, recorded

HOSTILE = "<script>window.hacked=1</script><img src=x onerror='window.hacked=1'>\u202e\x1b[31m"
SCRIPT = (Path(dashboard.__file__).parent / "static" / "dashboard.js").read_text(encoding="utf-8")


def pairs(count: int, start: int = 0, **columns: Any) -> pl.DataFrame:
    """So many pairs with the columns of the schema; `columns` has one value for all, or one for each."""
    rows = range(start, start + count)
    given: dict[str, Any] = {
        "pair_id": [f"p{row}" for row in rows],
        "request_id": [f"r{row}" for row in rows],
        "started_at": [STARTED + timedelta(seconds=row) for row in rows],
        "model_group": "chat",
        "latency_s": ([1.0 + row % 10 / 10 for row in rows], [0.5 + row % 7 / 10 for row in rows]),
        "cost_usd": (0.002, 0.001),
    }
    return recorded(count, **{**given, **columns})


class Scene:
    """A session as a dashboard sees it, which counts how often it is asked for what is dear."""

    def __init__(self, frame: pl.DataFrame, **known: Any) -> None:
        self.frame = frame
        self.now: Glance | None = None
        self.compared = self.read = 0
        self.gates: Mapping[str, float] = {"latency": 1.1, "cost": 1.0}
        self.set(**known)

    def set(self, **known: Any) -> None:
        self.now = Glance(**{"recorded": self.frame.height, **known})

    def grow(self, count: int, **columns: Any) -> None:
        self.frame = pl.concat([self.frame, pairs(count, self.frame.height, **columns)])
        self.set()

    def glance(self) -> Glance | None:
        return self.now

    def pairs(self) -> pl.DataFrame:
        self.read += 1
        return self.frame

    def compare(self) -> Any:
        self.compared += 1
        return mk.compare(self.frame, gates=self.gates, outputs=False, progress=False)


class Stage:
    """A dashboard on a scene, with clocks that are set by hand and all that was shown."""

    def __init__(self, scene: Scene) -> None:
        self.time = self.work = 0.0
        self.shown: list[Mapping[str, str]] = []
        self.dashboard = Dashboard(scene, self.shown.append, lambda: self.time, lambda: self.work)

    def tick(self, **options: Any) -> set[str]:
        """Which parts are shown by a tick."""
        before = len(self.shown)
        self.dashboard.tick(**options)
        return {name for parts in self.shown[before:] for name in parts}


class Elements(HTMLParser):
    """The tags and attributes of a fragment, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.names: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.names |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def everything(scene: Scene) -> Elements:
    stage = Stage(scene)
    stage.tick()
    return Elements("".join(stage.dashboard.parts.values()))


def allowed(name: str) -> set[str]:
    """What the script lets into the page, by the name of its constant."""
    found = re.search(rf"const {name} = new Set\((.*?)\.split", SCRIPT, re.DOTALL)
    assert found
    return set("".join(re.findall(r'"([^"]*)"', found[1])).lower().split())


class TestTheNumbers:
    @given(st.lists(st.floats(1e-4, 1e4), min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 1.0]))
    def test_a_quantile_is_right_to_a_quarter_of_a_percent(self, seconds: list[float], level: float) -> None:
        times, series = Times(), pl.Series(seconds)
        times.add(series)
        exact = sorted(seconds)[max(-(-int(level * 100) * len(seconds) // 100) - 1, 0)]
        assert times.quantile(level) == pytest.approx(exact, rel=0.0025)

    def test_what_is_no_time_is_not_counted(self) -> None:
        times = Times()
        times.add(pl.Series([None, 0.0, -1.0, float("nan"), float("inf"), 2.0]))
        assert times.n == 1

    @settings(max_examples=20)
    @given(st.lists(st.integers(0, 30), max_size=6))
    def test_pairs_read_in_parts_give_what_they_give_at_once(self, cuts: list[int]) -> None:
        frame = pairs(30, silent_status=["ok", "ok", "error"] * 10, arm=["mini", "nano"] * 15)
        parts, whole = Tally(), Tally()
        for end in (*sorted(cuts), 30):
            parts.read(frame[:end])
        whole.read(frame)
        assert parts.n == whole.n == 30
        assert parts.failed == whole.failed == {"primary": 0, "silent": 10}
        assert list(parts.failures) == list(whole.failures)
        for name, arm in whole.arms.items():
            assert parts.arms[name].latency["silent"].curve() == arm.latency["silent"].curve()
            assert parts.arms[name].bill.silent == pytest.approx(arm.bill.silent)

    @settings(max_examples=20)
    @given(st.integers(1, 40), st.integers(1, 20))
    def test_each_pair_is_read_once_though_the_oldest_leave_the_frame(self, most: int, step: int) -> None:
        frame, tally = pairs(60), Tally()
        for end in range(step, 61, step):
            tally.read(frame[:end].tail(most))
        assert tally.n == sum(min(step, most) for _ in range(step, 61, step))

    def test_a_bill_has_few_points_and_ends_at_the_sum(self) -> None:
        bill = Bill()
        for start in range(0, 40_000, 400):
            bill.add(pairs(400, start))
        assert len(bill.points) < 200
        assert bill.points[-1] == pytest.approx((40_000, 80.0, 40.0))
        assert [n for n, *_ in bill.points] == sorted(n for n, *_ in bill.points)

    def test_an_unknown_price_is_left_out_of_both_sides_and_counted(self) -> None:
        tally = Tally()
        tally.read(pairs(10, silent_cost_usd=[None] * 4 + [0.001] * 6))
        assert tally.arms["mini"].bill.primary == pytest.approx(0.012)
        assert "6 pairs with both prices, 4 without" in board.spend(Glance(), tally)

    def test_an_arm_without_any_price_is_named_and_has_no_bar(self) -> None:
        tally = Tally()
        tally.read(pairs(10, arm="unpriced", silent_cost_usd=None))
        shown = board.spend(Glance(), tally)
        assert "0 pairs with both prices, 10 without" in shown
        assert "unpriced" in shown
        assert 'class="fill"' not in shown

    def test_the_latest_errors_are_kept_a_primary_once_for_all_its_arms(self) -> None:
        failed = {"primary_status": "error", "primary_error_message": "down"}
        both = [pairs(2, **failed), pairs(2, **failed, arm="nano").with_columns(pl.col("pair_id") + "b")]
        tally = Tally()
        tally.read(pl.concat(both))
        assert [failure.request_id for failure in tally.failures] == ["r0", "r1"]
        tally.read(pl.concat([*both, pairs(50, 2, silent_status="timeout")]))
        assert len(tally.failures) == LATEST
        assert tally.failures[-1].kind == "timeout"
        assert tally.failures[-1].message is None

    @settings(max_examples=20)
    @given(st.permutations(range(60)), st.lists(st.integers(0, 60), max_size=6))
    def test_a_failed_primary_counts_once_in_whatever_portions_its_arms_come(
        self, order: list[int], cuts: list[int]
    ) -> None:
        """Ten of twenty requests fail on both sides, each in three arms."""
        frame = pairs(
            60,
            request_id=[f"r{row % 20}" for row in range(60)],
            arm=[("mini", "nano", "control")[row // 20] for row in range(60)],
            status=[("ok", "error")[row % 2] for row in range(60)],
        )[order]
        tally = Tally()
        for end in (*sorted(cuts), 60):
            tally.read(frame[:end])
        assert tally.failed == {"primary": 10, "silent": 30}
        assert "10 primary and 30 silent among 60 pairs" in board.errors(tally)

    def test_the_latest_errors_are_of_as_many_requests_however_many_arms_each_has(self) -> None:
        frame = pairs(60, request_id=[f"r{row // 5}" for row in range(60)], primary_status="error")
        tally = Tally()
        tally.read(frame)
        assert [failure.request_id for failure in tally.failures] == [f"r{at}" for at in range(6, 12)]
        tally.read(pl.concat([frame, pairs(1, 60, request_id="r0", primary_status="error")]))
        assert tally.failures[-1].request_id == "r11"

    def test_failed_primaries_of_unknown_requests_all_count(self) -> None:
        tally = Tally()
        tally.read(pairs(3, request_id=None, primary_status="timeout"))
        assert tally.failed["primary"] == 3


class TestWhatIsShown:
    def test_the_funnel_adds_up_and_names_why(self) -> None:
        funnel = Funnel(requests=1_234, mirrored=1_000, filtered=30, saturated=4, under_way=200)
        shown = Elements(board.counters(Glance(funnel, calls=7, recorded=990))).text
        for part in ("1,234", "1,000", "81.0 % of requests", "207", "200 primaries, 7 silent", "990"):
            assert part in shown
        assert "filtered 30" in shown
        assert "saturated 4" in shown
        assert "sampled out" not in shown

    def test_the_budget_says_what_is_left(self) -> None:
        shown = Elements(board.spend(Glance(spending=Spending(5.0, 1.2345)), Tally())).text
        assert "Mirroring has cost $1.23 of $5.00: $3.77 left." in shown
        assert "no budget is set" in board.spend(Glance(), Tally())

    def test_pairs_that_left_memory_unread_are_told_of(self) -> None:
        scene = Scene(pairs(10, silent_status=["ok", "error"] * 5), recorded=25)
        stage = Stage(scene)
        stage.tick()
        for name in ("spend", "charts", "errors"):
            assert "10 of 25 pairs" in Elements(stage.dashboard.parts[name]).text
        scene.set(recorded=10)
        stage = Stage(scene)
        stage.tick()
        assert " of 10 pairs" not in "".join(stage.dashboard.parts.values())

    @pytest.mark.parametrize(("arms", "spend", "charts"), [(3, 0, 0), (4, 0, 1), (5, 1, 2), (6, 2, 3)])
    def test_arms_that_are_not_shown_are_counted(self, arms: int, spend: int, charts: int) -> None:
        tally = Tally()
        tally.read(pairs(60, arm=[f"m{row % arms}" for row in range(60)]))
        for shown, rest in ((board.spend(Glance(), tally), spend), (board.charts(tally), charts)):
            found = re.findall(r"and (\d) more arms?<", shown)
            assert found == ([str(rest)] if rest else [])

    def test_one_is_no_plural(self) -> None:
        one = Glance(Funnel(requests=1, under_way=1), recorded=1, faults=1)
        assert dashboard.text(one).startswith("mirrorkit: 1 request, 0 mirrored, 1 under way, 1 pair; ")
        assert dashboard.text(one).endswith("; 1 fault")
        counters = Elements(board.counters(one)).text
        assert "1 primary, 0 silent" in counters
        assert "recorded1pair" in counters.replace("pairs", "PAIRS")

    def test_a_fault_of_ours_is_told(self) -> None:
        shown = Elements(board.counters(Glance(faults=2, last_fault=f"KeyError: {HOSTILE}")))
        assert "2 faults of mirrorkit’s own" in shown.text
        assert not shown.tags & {"script", "img"}

    def test_gates_are_those_of_a_comparison(self) -> None:
        shown = everything(Scene(pairs(400))).text
        gates = mk.compare(pairs(400), gates={"latency": 1.1, "cost": 1.0}, outputs=False).gates
        assert gates["state"].to_list() == ["passed", "passed"]
        assert shown.count("✓ passed") == 2
        assert f"after {gates['decided_after'][0]}" in shown
        assert "Over 400 pairs" in shown

    @pytest.mark.parametrize("count", [0, 1, 2, 3])
    def test_few_pairs_and_none_are_shown(self, count: int) -> None:
        assert ("No pairs yet" in everything(Scene(pairs(count))).text) == (count == 0)

    def test_pairs_of_which_nothing_is_known_are_shown(self) -> None:
        unknown = {
            f"{side}_{name}": None for side in ("primary", "silent") for name in ("latency_s", "cost_usd")
        }
        shown = everything(Scene(pairs(9, **unknown))).text
        assert "no answers yet" in shown
        assert "no pair with both prices" in shown

    @pytest.mark.parametrize(
        ("low", "high", "estimand"),
        [
            (None, None, "mean"),
            (float("-inf"), 0.3, "mean"),
            (0.9, float("inf"), "ratio of totals"),
            (0, 0, "mean"),
        ],
    )
    def test_an_interval_with_an_open_end_is_drawn(self, low: Any, high: Any, estimand: str) -> None:
        gate = {
            "state": "open",
            "gate": "x < 1",
            "metric": "x",
            "margin": 1.0,
            "effect": 0.9,
            "low": low,
            "high": high,
        }
        assert "nan" not in band(gate, estimand)
        assert "inf" not in band(gate, estimand).replace("infinite", "")

    def test_no_text_of_the_data_becomes_an_element(self) -> None:
        hostile = dict.fromkeys(("arm", "model_group", "silent_error_message", "silent_error_type"), HOSTILE)
        scene = Scene(
            pairs(120, silent_status=["ok"] * 119 + ["error"], **hostile), faults=1, last_fault=HOSTILE
        )
        shown = everything(scene)
        assert not shown.tags & {"script", "img", "a", "style", "link", "iframe"}
        assert not any(name.startswith("on") or name in ("src", "href") for name in shown.names)
        assert "<script>window.hacked" in shown.text
        assert not set("\u202e\x1b") & set(shown.text)

    def test_a_long_message_is_cut(self) -> None:
        shown = everything(Scene(pairs(3, silent_status="error", silent_error_message="x" * 1_000_000)))
        assert "x" * 100 in shown.text
        assert "x" * 200 not in shown.text

    def test_the_page_lets_in_what_the_kernel_makes_and_nothing_that_runs(self) -> None:
        scene = Scene(
            pairs(200, silent_status=["ok"] * 199 + ["error"], arm=["mini", "nano"] * 100), faults=1
        )
        scene.set(
            funnel=Funnel(requests=9, filtered=3), spending=Spending(1.0, 0.5), faults=1, last_fault="x"
        )
        shown = everything(scene)
        assert shown.tags <= allowed("TAGS")
        assert shown.names <= allowed("ATTRIBUTES")
        assert not allowed("TAGS") & {"script", "img", "a", "style", "iframe", "object", "form"}
        assert not any(n.startswith("on") or n in ("src", "href") for n in allowed("ATTRIBUTES"))


class TestWhenItLooks:
    def test_nothing_new_costs_a_glance(self) -> None:
        scene = Scene(pairs(200))
        stage = Stage(scene)
        assert stage.tick() == {"head", "counters", "spend", "charts", "gates", "errors"}
        asked = scene.read, scene.compared
        stage.time += 1_000
        assert stage.tick() == set()
        assert (scene.read, scene.compared) == asked

    def test_only_parts_that_differ_are_shown(self) -> None:
        scene = Scene(pairs(200))
        stage = Stage(scene)
        stage.tick()
        scene.set(funnel=Funnel(requests=1, sampled_out=1))
        assert stage.tick() == {"counters"}
        scene.set(funnel=Funnel(requests=1, sampled_out=1), spending=Spending(None, 0.5))
        assert stage.tick() == {"spend"}

    def test_what_is_dear_waits_its_turn_and_then_comes_though_nothing_else_is_new(self) -> None:
        scene = Scene(pairs(200))
        stage = Stage(scene)
        work = scene.compare

        def slow() -> Any:
            stage.work += 1.0
            stage.time += 1.0
            return work()

        scene.compare = slow  # type: ignore[method-assign]
        stage.tick()  # the first turn is free
        scene.grow(100)
        assert "gates" in stage.tick()
        scene.grow(100)
        stage.time += 1.0 / dashboard.SHARE - 2
        assert "gates" not in stage.tick()
        stage.time += 2
        assert stage.tick() == {"gates"}
        assert "Over 400 pairs" in stage.dashboard.parts["gates"]

    def test_the_first_pairs_are_the_free_turn_though_it_ticked_before_there_were_any(self) -> None:
        scene = Scene(pairs(0))
        stage = Stage(scene)
        assert "gates" in stage.tick()
        work = scene.compare

        def slow() -> Any:
            stage.work += 1.0
            stage.time += 1.0
            return work()

        scene.compare = slow  # type: ignore[method-assign]
        scene.grow(10)
        assert "gates" in stage.tick()
        scene.grow(10)
        assert "gates" in stage.tick()

    def test_a_busy_machine_is_rested_for_as_long_as_it_took(self) -> None:
        clock, work = iter([0.0, 0.0, 0.0, 8.0, 15.9, 16.0]), iter([0.0, 0.0, 0.0, 0.1])
        ration = Ration(0.1, clock.__next__, work.__next__)
        ration.run(str)
        ration.run(str)
        assert [ration.is_due(), ration.is_due()] == [False, True]

    def test_while_paused_nothing_is_read(self) -> None:
        scene = Scene(pairs(200))
        stage = Stage(scene)
        stage.tick()
        asked = scene.read, scene.compared
        scene.grow(10)
        assert stage.tick(paused=True) == set()
        assert (scene.read, scene.compared) == asked
        assert "charts" in stage.tick()

    @pytest.mark.parametrize("paused", [False, True])
    def test_the_end_of_the_session_shows_all_there_is_and_is_the_end(self, paused: bool) -> None:
        scene = Scene(pairs(200))
        stage = Stage(scene)
        stage.tick()
        scene.grow(50)
        stage.tick()
        scene.grow(50)
        scene.set(closed=True)
        assert not stage.dashboard.tick(paused)
        assert "Over 300 pairs" in stage.dashboard.parts["gates"]
        assert stage.dashboard.ended

    @pytest.mark.parametrize("paused", [False, True])
    @pytest.mark.parametrize("under_way", [{"calls": 3}, {"funnel": Funnel(requests=1, under_way=1)}])
    def test_a_closed_session_is_watched_until_nothing_of_it_is_under_way(
        self, paused: bool, under_way: dict[str, Any]
    ) -> None:
        scene = Scene(pairs(0))
        stage = Stage(scene)
        scene.set(closed=True, **under_way)
        assert stage.dashboard.tick(paused)
        assert not stage.dashboard.ended
        scene.grow(3)
        scene.set(closed=True)
        assert not stage.dashboard.tick(paused)
        assert stage.dashboard.ended
        assert "Over 3 pairs" in stage.dashboard.parts["gates"]

    def test_what_may_take_long_can_be_left_to_a_later_tick(self) -> None:
        scene = Scene(pairs(200))
        stage = Stage(scene)
        assert stage.tick(judge=False) == {"head", "counters", "spend", "charts", "errors"}
        assert scene.compared == 0
        assert stage.tick() == {"gates"}

    def test_a_session_that_is_gone_is_the_end(self) -> None:
        scene = Scene(pairs(2))
        stage = Stage(scene)
        stage.tick()
        scene.now = None
        assert not stage.dashboard.tick()
        assert stage.dashboard.ended

    def test_what_cannot_be_had_is_told_in_its_place_and_the_rest_goes_on(self) -> None:
        scene = Scene(pairs(200))

        def raises() -> Any:
            raise ValueError(HOSTILE)

        scene.compare = raises  # type: ignore[method-assign]
        stage = Stage(scene)
        assert stage.dashboard.tick()
        assert "The gates cannot be shown (ValueError: &lt;script&gt;" in stage.dashboard.parts["gates"]
        assert "Latency" in stage.dashboard.parts["charts"]


class Beat(threading.Event):
    """The end of a thread, between whose ticks a test has its say."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = threading.Semaphore(0)
        self.go = threading.Semaphore(0)

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout == dashboard.EVERY_S
        self.waits.release()
        self.go.acquire()
        return self.is_set()


class TestTheThread:
    def test_it_ticks_at_each_beat_until_it_is_stopped(self) -> None:
        beats, ticks = [Beat(), Beat()], []
        begun = iter(beats)
        ticker = Ticker(lambda: ticks.append(1) is None, lambda: next(begun))
        ticker.start()
        ticker.start()
        assert beats[0].waits.acquire(timeout=10)
        assert len(ticks) == 1
        beats[0].go.release()
        assert beats[0].waits.acquire(timeout=10)
        assert len(ticks) == 2
        ticker.stop()
        assert not ticker.ticks
        beats[0].go.release()
        ticker.join(10)
        assert len(ticks) == 2
        ticker.start()
        assert beats[1].waits.acquire(timeout=10)
        assert ticker.ticks
        ticker.stop()
        beats[1].go.release()
        ticker.join(10)

    def test_it_ends_when_there_is_nothing_more_to_come(self) -> None:
        ticker = Ticker(lambda: False)
        ticker.start()
        ticker.join(10)
        assert not ticker.ticks

    def test_it_does_not_keep_the_interpreter(self) -> None:
        code = (
            "from mirrorkit.notebook.dashboard import Ticker\n"
            "ticker = Ticker(lambda: True)\nticker.start()\nprint(ticker.ticks)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 0)


@pytest.fixture
def models(sim: Any) -> list[dict[str, Any]]:
    return [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")]


class TestOfASession:
    def test_without_a_front_end_it_is_a_picture_that_stands_still_and_no_thread(
        self, sim: Any, models: Any
    ) -> None:
        sim.script("gpt-4o-mini", Reply(fault="400", error_message=HOSTILE))
        with mk.MirrorSession(models, silent_model="next", budget_usd=1) as session:
            session.run(["Hi"] * 5, progress=False)
            widget = session.live()
            shown = widget._repr_mimebundle_()
            assert not any(thread.name == "mirrorkit dashboard" for thread in threading.enumerate())
        assert shown["text/plain"].startswith("mirrorkit: 5 requests, 5 mirrored, 0 under way, 5 pairs")
        page = Elements(shown["text/html"])
        assert "chat → next" in page.text
        assert "this is how it stood" in page.text
        assert "<script>window.hacked" in page.text
        assert "script" not in page.tags
        assert shown["application/vnd.jupyter.widget-view+json"]["model_id"] == widget.model_id
        assert "session closed" in widget._repr_mimebundle_()["text/html"]
        assert widget.closed

    def test_gates_set_here_are_those_of_the_next_comparison(self, models: Any) -> None:
        with mk.MirrorSession(models, silent_model="next") as session:
            widget = session.live(gates={"errors": 0.5}, alpha=0.1)
            session.run(["Hi"] * 6, progress=False)
            widget._repr_mimebundle_()
            seen = session.compare(progress=False)
            assert seen.gates["gate"].to_list() == ["errors < +50 points"]
            assert seen.plan.alpha == 0.1
            assert not [each for each in seen.warnings if "was changed after" in each.text]
            later = session.compare(gates={"errors": 0.1}, progress=False)
            assert [each for each in later.warnings if "was changed after a look at 6 pairs" in each.text]

    def test_it_shows_what_compare_finds(self, models: Any) -> None:
        gates = {"latency": 2.0, "identical": 0.1, "short": 0.5}
        own = {"short": pl.col("silent_output").str.len_chars() < 500}
        with mk.MirrorSession(models, silent_model="next") as session:
            session.run(["Hi"] * 8, progress=False)
            found = session.compare(gates=gates, metrics=own, progress=False)
            watched = mk.watching.Watched(session).compare()
        assert watched is not None
        assert_frame_equal(watched.gates, found.gates)
        assert watched.verdict == found.verdict

    def test_a_wrong_gate_is_refused_at_once(self, models: Any) -> None:
        with mk.MirrorSession(models, silent_model="next") as session, pytest.raises(mk.CompareError):
            session.live(gates={"speed": 1.0})

    def test_a_label_moves_a_gate_that_rests_on_labels(self, models: Any) -> None:
        with mk.MirrorSession(models, silent_model="next") as session:
            session.run(["Hi"] * 3, progress=False)
            session.live(gates={"preference": 0.4})
            watched = mk.watching.Watched(session)
            before = watched.glance()
            assert watched.glance() == before
            session.label(session.frame["pair_id"][0], "silent")
            assert watched.glance() != before

    def test_it_does_not_keep_the_session(
        self, models: Any, eventually: Callable[[Callable[[], bool]], bool]
    ) -> None:
        session = mk.MirrorSession(models, silent_model="next")
        session.run(["Hi"], progress=False)
        widget, gone = session.live(), weakref.ref(session)
        told = repr(widget)
        assert told.startswith("mirrorkit: 1 request, 1 mirrored, 0 under way, 1 pair; ")
        session.close()
        del session
        assert eventually(lambda: gc.collect() >= 0 and gone() is None)
        assert repr(widget) == told
        assert widget.closed
