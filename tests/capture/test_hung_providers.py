"""A silent provider that hangs, or asks for an hour, holds up no batch, no close and no end of a program.

The time-outs are set shorter than by default, so that a test takes no minutes: `timeout_s`,
`exit_timeout_s`, and the patience of a batch.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import mirrorkit as mk
from mirrorkit.simulator import Reply

MESSAGES = [{"role": "user", "content": "Where is my parcel?"}]
ISOLATIONS = ["shared", pytest.param("process", marks=pytest.mark.slow)]


@pytest.fixture(params=ISOLATIONS)
def isolation(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def models_of(sim: Any) -> list[dict[str, Any]]:
    return [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")]


def test_a_close_in_a_hurry_records_what_is_in_flight_and_what_waits(
    sim: Any, drive: Any, isolation: str, tmp_path: Path
) -> None:
    options = {"max_in_flight": 2, "isolation": isolation, "journal": tmp_path}
    with sim.hold("gpt-4o-mini") as hold:
        session = mk.MirrorSession(models_of(sim), silent_model="next", **options)
        for _ in range(4):
            drive.chat(session)
        assert drive.call(session, "drain", 0.2) is False
        began = time.monotonic()
        drive.call(session, "close", 0.2)
        took_s = time.monotonic() - began
        hold.release()
    assert took_s < 30
    assert session.frame["silent_status"].to_list() == ["cancelled"] * 4
    assert sorted(session.frame["silent_attempts"].to_list(), key=str)[:2] == [0, 0]
    assert mk.load(tmp_path).frame.height == 4


def test_a_batch_whose_silent_side_hangs_sends_all_its_primaries_and_returns(
    sim: Any, drive: Any, isolation: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr("mirrorkit.batches.STALL_S", 0.5)
    options = {"max_in_flight": 2, "max_waiting": 4, "isolation": isolation}
    with sim.hold("gpt-4o-mini") as hold:
        session = mk.MirrorSession(models_of(sim), silent_model="next", **options)
        with pytest.warns(mk.MirrorWarning, match="still under way"):
            answers = drive.call(session, "run", ["Hi"] * 12, concurrency=4, progress=False)
        assert [type(answer).__name__ for answer in answers] == ["ModelResponse"] * 12
        drive.call(session, "close", 0.1)
        hold.release()
    funnel = session.funnel
    assert funnel.requests == 12
    assert funnel.mirrored == session.frame.height
    assert funnel.mirrored + funnel.saturated == 12


def test_a_silent_model_that_asks_for_an_hour_is_asked_no_more(sim: Any, drive: Any) -> None:
    for _ in range(3):
        sim.script("gpt-4o-mini", Reply(fault="429", retry_after_s=3_600))
    with mk.MirrorSession(models_of(sim), silent_model="next", silent_retries=0) as session:
        drive.chat(session)
        drive.drain(session)
        for _ in range(3):
            drive.chat(session)
        drive.drain(session)
        assert session.frame["silent_status"].to_list() == ["error", "cancelled", "cancelled", "cancelled"]
        assert "pause of more than 30 s" in session.frame["silent_error_message"][1]
    assert sim.count("gpt-4o-mini") == 1


def test_a_silent_call_is_over_when_its_time_is_whatever_its_provider_does(
    sim: Any, drive: Any, isolation: str
) -> None:
    with sim.hold("gpt-4o-mini") as hold:
        options = {"timeout_s": 0.3, "silent_retries": 0, "isolation": isolation}
        with mk.MirrorSession(models_of(sim), silent_model="next", **options) as session:
            drive.chat(session)
            drive.drain(session)
            row = session.frame.row(0, named=True)
        hold.release()
    assert row["silent_status"] == "timeout"


@pytest.mark.slow
@pytest.mark.parametrize("calls", ["sync", "async"])
def test_a_program_ends_in_time_with_a_row_for_each_mirror(
    sim: Any, isolation: str, calls: str, tmp_path: Path
) -> None:
    script = f"""
import asyncio, json, os, mirrorkit as mk
M = {MESSAGES!r}
options = json.loads(os.environ["OPTIONS"])
session = mk.MirrorSession(json.loads(os.environ["MODELS"]), silent_model="next", exit_timeout_s=1, **options)
async def main():
    for _ in range(3): await session.acompletion("chat", M)
if {calls == "sync"}:
    for _ in range(3): session.completion("chat", M)
else:
    asyncio.run(main())
"""
    with sim.hold("gpt-4o-mini") as hold:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script],
            env={
                **os.environ,
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                "MODELS": json.dumps(models_of(sim)),
                "OPTIONS": json.dumps({"isolation": isolation, "journal": str(tmp_path)}),
            },
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        hold.release()
    assert done.returncode == 0, done.stderr
    assert mk.load(tmp_path).frame["silent_status"].to_list() == ["cancelled"] * 3
