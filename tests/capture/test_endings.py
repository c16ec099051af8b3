"""Nothing is lost when a loop or a program ends: real scripts, real exits."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import mirrorkit as mk

MESSAGES = [{"role": "user", "content": "Where is my parcel?"}]
HEAD = """
import asyncio, atexit, json, os, sys
import mirrorkit as mk
MESSAGES = [{"role": "user", "content": "Where is my parcel?"}]
models = json.loads(os.environ["MODELS"])
session = mk.MirrorSession(models, silent_model="next", **json.loads(os.environ["OPTIONS"]))
def tell():
    print(json.dumps(session.frame.select("silent_status", "silent_output", "silent_attempts").to_dicts()))
    print(json.dumps(session.funnel.as_dict()))
atexit.register(tell)
"""


@pytest.fixture(params=["shared", pytest.param("process", marks=pytest.mark.slow)])
def isolation(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def run_script(
    sim: Any, tmp_path: Path, isolation: str, body: str
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    script = tmp_path / "script.py"
    script.write_text(HEAD + body)
    models = [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")]
    options = {"isolation": isolation, "journal": str(tmp_path / "journal")}
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**_environment(), "MODELS": json.dumps(models), "OPTIONS": json.dumps(options)},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows, funnel = (json.loads(line) for line in done.stdout.splitlines()[-2:])
    recorded = mk.load(tmp_path / "journal").frame
    assert recorded["pair_id"].n_unique() == recorded.height == len(rows) == funnel["mirrored"]
    return rows, funnel


def _environment() -> dict[str, str]:
    return {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}


def test_a_plain_script_that_simply_ends_records_every_pair(sim: Any, tmp_path: Path, isolation: str) -> None:
    rows, funnel = run_script(
        sim, tmp_path, isolation, "for _ in range(5): session.completion('chat', MESSAGES)\n"
    )
    assert [r["silent_status"] for r in rows] == ["ok"] * 5
    assert all(r["silent_output"] for r in rows)
    assert funnel["mirrored"] == 5
    assert sim.count("gpt-4o-mini") == 5


@pytest.mark.slow
def test_asyncio_run_that_returns_at_once_still_ends_with_every_pair(
    sim: Any, tmp_path: Path, isolation: str
) -> None:
    rows, funnel = run_script(
        sim,
        tmp_path,
        isolation,
        "async def main():\n"
        "    await asyncio.gather(*(session.acompletion('chat', MESSAGES) for _ in range(5)))\n"
        "asyncio.run(main())\n",
    )
    assert [r["silent_status"] for r in rows] == ["ok"] * 5
    assert all(r["silent_output"] for r in rows)
    assert funnel["mirrored"] == 5
    # what was cut off in flight had been sent, and says so
    assert sim.count("gpt-4o-mini") <= sum(r["silent_attempts"] for r in rows)


@pytest.mark.slow
def test_a_script_whose_primary_raises_at_its_end_records_the_pair(
    sim: Any, tmp_path: Path, isolation: str
) -> None:
    rows, _ = run_script(
        sim,
        tmp_path,
        isolation,
        "try: session.completion('chat', MESSAGES, tools='no list')\nexcept Exception: pass\n",
    )
    assert len(rows) == 1


@pytest.mark.slow
def test_a_loop_that_is_left_standing_loses_nothing(sim: Any, tmp_path: Path, isolation: str) -> None:
    rows, _ = run_script(
        sim,
        tmp_path,
        isolation,
        "loop = asyncio.new_event_loop()\nloop.run_until_complete(session.acompletion('chat', MESSAGES))\n",
    )
    assert [r["silent_status"] for r in rows] == ["ok"]


@pytest.mark.slow
def test_an_unread_stream_at_the_end_of_a_script_is_a_row(sim: Any, tmp_path: Path, isolation: str) -> None:
    rows, _ = run_script(
        sim, tmp_path, isolation, "stream = session.completion('chat', MESSAGES, stream=True)\nnext(stream)\n"
    )
    assert [r["silent_status"] for r in rows] == ["ok"]


def test_the_loops_end_does_not_wait_for_silent_calls_and_they_are_sent_once(sim: Any) -> None:
    models = [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")]
    with mk.MirrorSession(models, silent_model="next") as session, sim.hold("gpt-4o-mini") as hold:
        for _ in range(3):
            # a web view that runs one coroutine: its answer must not wait for the mirror
            assert asyncio.run(session.acompletion("chat", MESSAGES)).choices
        assert session.frame.height == 0
        hold.release()
        assert session.drain(20)
        assert session.frame["silent_status"].to_list() == ["ok"] * 3
        assert session.frame["silent_attempts"].to_list() == [1] * 3
    assert sim.count("gpt-4o-mini") == 3


class Untold(asyncio.SelectorEventLoop):
    """A loop that does not say that it is being shut down, as uvloop's."""

    @property
    def _asyncgens_shutdown_called(self) -> bool:
        return False

    @_asyncgens_shutdown_called.setter
    def _asyncgens_shutdown_called(self, called: bool) -> None:
        pass


@pytest.mark.slow
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, Untold])
def test_a_silent_call_whose_turn_comes_as_its_loop_is_shut_down_is_made_once_elsewhere(
    sim: Any, loop: Any
) -> None:
    models = [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")]
    ending = threading.Event()

    async def linger() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ending.set()

    async def main(session: Any, make_way: Any) -> Any:
        held = asyncio.get_running_loop().run_in_executor(None, make_way), asyncio.create_task(linger())
        await session.acompletion("chat", MESSAGES)
        return held

    with (
        mk.MirrorSession(models, silent_model="next", max_in_flight=1) as session,
        sim.hold("gpt-4o-mini") as hold,
    ):
        session.completion("chat", MESSAGES)
        hold.wait_for(1)

        def make_way() -> bool:
            # the loop has cancelled its tasks, and waits for this thread
            assert ending.wait(100)
            hold.release()
            return session.drain(100)

        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(main(session, make_way))
        assert session.drain(20)
    assert session.frame["silent_status"].to_list() == ["ok"] * 2, session.frame["silent_error_message"]
    assert session.frame["silent_attempts"].to_list() == [1] * 2
    assert sim.count("gpt-4o-mini") == 2


def test_a_silent_call_cut_off_in_flight_is_made_again_and_says_so(sim: Any) -> None:
    models = [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")]

    async def main(session: Any, hold: Any) -> None:
        await session.acompletion("chat", MESSAGES)
        await asyncio.to_thread(hold.wait_for, 1)

    with mk.MirrorSession(models, silent_model="next") as session, sim.hold("gpt-4o-mini") as hold:
        asyncio.run(main(session, hold))
        hold.release()
        assert session.drain(20)
        pair = session.frame.row(0, named=True)
        assert session.frame.height == 1
    assert (pair["silent_status"], pair["silent_attempts"]) == ("ok", 2)
    assert sim.count("gpt-4o-mini") == 2


def test_a_session_serves_one_loop_after_another(sim: Any) -> None:
    models = [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")]

    async def main(session: Any) -> None:
        await asyncio.gather(*(session.acompletion("chat", MESSAGES) for _ in range(4)))
        assert await session.adrain(20)

    with mk.MirrorSession(models, silent_model="next", max_in_flight=2) as session:
        for _ in range(3):
            asyncio.run(main(session))
        assert session.frame.height == 12
        assert set(session.frame["silent_attempts"]) == {1}


@pytest.mark.parametrize("calls", [3])
def test_ctrl_c_at_the_end_gives_up_what_waits_and_records_it_as_cancelled(sim: Any, calls: int) -> None:
    models = [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")]
    with sim.hold("gpt-4o-mini") as hold:
        session = mk.MirrorSession(models, silent_model="next", max_in_flight=1)
        with pytest.raises(KeyboardInterrupt), session:
            for _ in range(calls):
                session.completion("chat", MESSAGES)
            hold.wait_for(1)
            hold.release()
            raise KeyboardInterrupt
    statuses = session.frame["silent_status"].to_list()
    assert len(statuses) == calls
    assert statuses.count("cancelled") >= 1
    assert statuses.count("ok") + statuses.count("cancelled") == calls
    dropped = session.frame.filter(session.frame["silent_status"] == "cancelled").row(0, named=True)
    assert dropped["silent_attempts"] == 0
    assert dropped["lag_s"] is None


@pytest.mark.slow
def test_ctrl_c_amid_a_blocking_run_keeps_what_is_done(sim: Any, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        HEAD + "session.run(['Hi'] * 2, progress=False)\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "try: session.run(['Ho'] * 4, concurrency=1, progress=False)\n"
        "except KeyboardInterrupt: print('interrupted', session.frame.height, flush=True)\n"
    )
    models = [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")]
    with subprocess.Popen(
        [sys.executable, str(script)],
        env={**_environment(), "MODELS": json.dumps(models), "OPTIONS": "{}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        with sim.hold("gpt-4o") as hold:
            program.stdin.write("\n")
            program.stdin.flush()
            hold.wait_for(1)
            program.send_signal(signal.SIGINT)
            assert program.stdout.readline() == "interrupted 2\n"
        # the request that was out when the interrupt came is recorded too, and no other was sent
        assert [r["silent_status"] for r in json.loads(program.stdout.readline())] == ["ok"] * 3
        assert program.wait(60) == 0
    assert sim.count("gpt-4o") == 3
