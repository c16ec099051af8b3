"""Sessions on one journal, one after another and at once: their pairs, their budget, their deaths."""

import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import litellm
import pytest

import mirrorkit as mk
from mirrorkit.simulator import Reply
from mirrorkit.store import folder
from mirrorkit.store.files import write_parquet
from pairs import recorded

USAGE = {"prompt_tokens": 1000, "completion_tokens": 5, "total_tokens": 1005}


def models(sim: Any, silent: str = "gpt-4o-mini", **params: Any) -> list[dict[str, Any]]:
    return [sim.deployment("chat", "gpt-4o"), sim.deployment("next", silent, **params)]


def session_on(sim: Any, journal: Path, **given: Any) -> mk.MirrorSession:
    return mk.MirrorSession(models(sim), silent_model="next", journal=journal, **given)


def test_the_cell_that_makes_the_session_is_run_again_with_mirrors_under_way(
    sim: Any, drive: Any, tmp_path: Path
) -> None:
    first = session_on(sim, tmp_path)
    drive.chat(first)
    drive.drain(first)
    with sim.hold("gpt-4o-mini") as hold:
        for _ in range(3):
            drive.chat(first)
        second = session_on(sim, tmp_path)
        drive.chat(second)
        assert second.frame.height == 1
        # what the first one has under way is not settled in the second one either
        assert second.complete_before <= first.complete_before
        hold.release()
        drive.drain(first)
        drive.drain(second)
    assert second.frame.height == len(second) == 5
    assert second.frame.sort("pair_id").equals(first.frame.sort("pair_id"))
    drive.close(first)
    drive.close(second)
    assert mk.load(tmp_path).frame.height == 5


def test_a_budget_is_for_all_sessions_on_a_journal(sim: Any, drive: Any, tmp_path: Path) -> None:
    sim.script("gpt-4o-mini", *[Reply(text="x", usage=USAGE)] * 20)
    price = litellm.model_cost["gpt-4o-mini"]
    each = 1000 * price["input_cost_per_token"] + 5 * price["output_cost_per_token"]
    for expected in (3, 3, 3):
        with session_on(sim, tmp_path, budget_usd=2.5 * each) as session:
            for _ in range(4):
                drive.chat(session)
                drive.drain(session)
            assert session.frame.height == expected
            drive.close(session)
    with session_on(sim, tmp_path, budget_usd=4.5 * each) as one, session_on(sim, tmp_path) as other:
        for _ in range(4):
            drive.chat(other)
            drive.drain(other)
        drive.chat(one)
        assert one.funnel.over_budget == 1
        assert (one.spent_usd, other.spent_usd) == (0, pytest.approx(4 * each))
        drive.close(one)
        drive.close(other)


def test_what_another_process_has_spent_counts(sim: Any, tmp_path: Path) -> None:
    part = folder.segment(tmp_path, folder.new_writer(), 1).with_suffix(".parquet")
    write_parquet(recorded(1, cost_usd=0.75), part)
    with session_on(sim, tmp_path, budget_usd=0.7) as session:
        session.completion("chat", [{"role": "user", "content": "Hello!"}])
        assert session.funnel.over_budget == 1


def test_a_budget_with_a_silent_model_that_has_no_price_is_refused_by_name(sim: Any) -> None:
    with pytest.raises(mk.ConfigError, match=r"no price for 'next' \(openai/home-made\).*per_token"):
        mk.MirrorSession(models(sim, "home-made"), silent_model="next", budget_usd=1)
    own = [sim.deployment("chat", "gpt-4o", silent_model="next"), sim.deployment("next", "home-made")]
    with pytest.raises(mk.ConfigError, match="no price for 'next'"):
        mk.MirrorSession(own, budget_usd=1)
    free = models(sim, "home-made", input_cost_per_token=0, output_cost_per_token=0)
    mk.MirrorSession(free, silent_model="next", budget_usd=1).close()
    mk.MirrorSession(models(sim, "home-made"), silent_model="next").close()


@pytest.fixture
def mute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A journal in an object store that takes every request, and answers none."""
    monkeypatch.setenv("MIRRORKIT_SPOOL", str(tmp_path / "spool"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = "http://{}:{}".format(*server.getsockname()[:2])
        keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "aws_region": "us-east-1"}
        options = {"aws_endpoint_url": url, "aws_allow_http": "true", **keys}
        yield {"journal": f"s3://bucket/{tmp_path.name}", "storage_options": options}


@pytest.mark.slow
def test_a_session_closes_in_time_beside_a_store_that_never_answers(
    sim: Any, drive: Any, mute: dict[str, Any], tmp_path: Path
) -> None:
    session = mk.MirrorSession(models(sim), silent_model="next", **mute)
    drive.chat(session)
    drive.drain(session)
    began = time.monotonic()
    with pytest.warns(mk.MirrorWarning, match="is not closed after .* s; what it has is in"):
        drive.call(session, "close", timeout_s=1)
    assert time.monotonic() - began < 10
    assert len(list((tmp_path / "spool").glob("*/*.parquet"))) == 1


def test_a_request_whose_mirror_was_under_way_at_a_death_has_a_row(
    sim: Any, drive: Any, tmp_path: Path, eventually: Any
) -> None:
    place, left = tmp_path / "journal", tmp_path / "left"
    session = session_on(sim, place, max_in_flight=1, max_waiting=1)
    drive.chat(session)
    drive.drain(session)
    with sim.hold("gpt-4o-mini") as hold:
        for _ in range(4):
            drive.chat(session)
        assert eventually(lambda: session.funnel.saturated == 2)
        # what a kill leaves: the files, and locks that nobody holds
        shutil.copytree(place, left)
        with pytest.warns(mk.MirrorWarning, match="1 writer of .* ended without closing"):
            frame = mk.load(left).frame
        assert frame["silent_status"].to_list() == ["ok", "unknown", "unknown"]
        assert frame["primary_status"].to_list() == ["ok"] * 3
        assert frame["silent_latency_s"].to_list()[1:] == [None, None]
        assert frame.height == session.funnel.mirrored
        hold.release()
        drive.drain(session)
    drive.close(session)
    assert mk.load(place).frame["silent_status"].to_list() == ["ok"] * 3
    assert not list(place.glob("*.begun"))
