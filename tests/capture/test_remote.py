"""The child process that makes silent calls: set up like its parent, of lower priority, never in the way."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

import mirrorkit as mk
from mirrorkit.capture.frames import Ended
from mirrorkit.capture.remote import Remote
from mirrorkit.simulator import Reply, SimulatedModel, Simulator

MESSAGES = [{"role": "user", "content": "Where is my parcel?"}]
QUICK = {"ttft_s": 0.002, "token_s": 0.0001, "words": 8}
KEY = "sk-simulator-of-this-test-0123456789"
PATIENCE_S = 300
"""How long to wait for what must come: a child of the lowest priority starts slowly on a busy machine."""

pytestmark = pytest.mark.timeout(2 * PATIENCE_S)


@pytest.fixture(scope="module")
def served() -> Iterator[Simulator]:
    models = [SimulatedModel(name, **QUICK) for name in ("gpt-4o", "gpt-4o-mini")]
    with Simulator(models, api_key=KEY) as simulator:
        yield simulator


def models(sim: Any) -> list[dict[str, Any]]:
    return [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")]


def child_of(session: mk.MirrorSession) -> Remote:
    away = session._mirror.away
    assert away is not None
    return away


@pytest.fixture(scope="module")
def session(served: Simulator) -> Iterator[mk.MirrorSession]:
    """One whose child is up, shared by the tests that leave one so: it takes seconds to start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROVIDER_API_KEY", KEY)
        options: dict[str, Any] = {"isolation": "process", "max_in_flight": 1}
        with mk.MirrorSession(models(served), silent_model="next", **options) as session:
            session.completion("chat", MESSAGES)
            assert session.drain(PATIENCE_S)
            yield session


def last(session: mk.MirrorSession) -> dict[str, Any]:
    return session.frame.row(-1, named=True)


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie that waits to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class TestOneThatIsUp:
    def test_no_key_is_in_its_command_line_or_environment(self, session: mk.MirrorSession) -> None:
        process = Path(f"/proc/{child_of(session).pid}")
        for file in ("cmdline", "environ"):
            assert KEY.encode() not in (process / file).read_bytes()
        assert last(session)["silent_status"] == "ok"

    def test_its_priority_is_lower(self, session: mk.MirrorSession) -> None:
        assert os.getpriority(os.PRIO_PROCESS, child_of(session).pid or 0) == min(
            19, os.getpriority(os.PRIO_PROCESS, 0) + 15
        )
        assert os.sched_getscheduler(child_of(session).pid or 0) == os.SCHED_IDLE

    def test_a_stream_has_its_time_to_first_token_and_all_calls_one_clock(
        self, session: mk.MirrorSession
    ) -> None:
        for _ in session.completion("chat", MESSAGES, stream=True):
            pass
        assert session.drain(PATIENCE_S)
        pair = last(session)
        assert 0 < pair["silent_ttft_s"] <= pair["silent_latency_s"]
        # the child's clock is the parent's: the silent call was sent after the primary's end
        assert pair["primary_latency_s"] <= pair["lag_s"] < pair["primary_latency_s"] + 20

    def test_a_request_that_cannot_be_copied_is_mirrored_here(
        self, session: mk.MirrorSession, served: Simulator
    ) -> None:
        before = session._mirror.books.faults
        with pytest.warns(mk.MirrorWarning):
            session.completion("chat", MESSAGES, metadata={"lock": threading.Lock()})
            assert session.drain(PATIENCE_S)
        assert last(session)["silent_status"] == "ok"
        assert session._mirror.books.faults == before + 1

    def test_a_session_says_where_its_silent_calls_are_made(self, session: mk.MirrorSession) -> None:
        assert f"child process {child_of(session).pid}" in repr(session)


@pytest.mark.slow
def test_a_child_that_dies_loses_what_it_had_and_says_so_and_the_next_goes_on(
    session: mk.MirrorSession, served: Simulator, eventually: Any
) -> None:
    before, mirrored = len(session), session.funnel.mirrored
    with served.hold("gpt-4o-mini") as hold:
        session.completion("chat", MESSAGES)
        session.completion("chat", MESSAGES)
        hold.wait_for(1, PATIENCE_S)
        first = child_of(session).pid or 0
        os.kill(first, signal.SIGKILL)
        assert eventually(lambda: len(session) == before + 1, PATIENCE_S)
        assert "killed by SIGKILL" in repr(session)
    answer = session.completion("chat", MESSAGES)
    assert session.drain(PATIENCE_S)
    assert child_of(session).pid not in (None, first)
    assert answer.choices
    told = session.frame[before:].sort("started_at")
    assert told["silent_status"].to_list() == ["cancelled", "ok", "ok"]
    assert told["primary_status"].to_list() == ["ok"] * 3
    assert "killed by SIGKILL" in told["silent_error_message"][0]
    # nobody knows whether it was sent
    assert told["silent_attempts"][0] is None
    assert session.funnel.mirrored == mirrored + 3


@pytest.mark.slow
def test_a_parent_that_is_killed_leaves_no_child_behind(
    served: Simulator, eventually: Any, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, json, time, os\n"
        "import mirrorkit as mk\n"
        f"session = mk.MirrorSession({models(served)!r}, silent_model='next', isolation='process')\n"
        f"session.completion('chat', {MESSAGES!r})\n"
        "session.drain()\n"
        "forked = os.fork()\n"  # holds the parent's end of the pipe, if nobody closes it
        "if forked == 0:\n"
        "    time.sleep(60)\n"
        "print(json.dumps([session._mirror.away.pid, forked]), flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child, forked = json.loads(process.stdout.readline())
        assert is_alive(child)
        process.kill()
    try:
        assert eventually(lambda: not is_alive(child))
    finally:
        os.kill(forked, signal.SIGKILL)


@pytest.mark.slow
def test_a_child_that_cannot_be_set_up_is_said_and_what_waits_for_it_is_recorded() -> None:
    faults: list[BaseException] = []
    ended: list[Ended] = []
    told = threading.Event()

    def heard(one: Ended) -> None:
        ended.append(one)
        told.set()

    remote = Remote(lambda: b"no plan", faults.append, back_off_s=(0.0,))
    assert remote.take(b"an order", heard)
    assert told.wait(PATIENCE_S)
    assert remote.take(b"another", heard)
    remote.close()
    for one in ended:
        assert one.call.status == "cancelled"
        assert "does not start" in (one.call.error_message or "")
    assert len(ended) == 2
    assert all("did not start" in str(fault) for fault in faults)


HANDLER = """
import json, os
from litellm.integrations.custom_logger import CustomLogger

class ToFile(CustomLogger):
    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        with open({path!r}, "a") as file:
            metadata = kwargs["litellm_params"]["metadata"]
            told = [os.getpid(), kwargs["model"], metadata.get("is_silent_experiment")]
            file.write(json.dumps(told) + "\\n")

handler = ToFile()
"""


@pytest.mark.slow
def test_loggers_by_name_and_importable_ones_hear_of_silent_calls(
    served: Simulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    litellm_state: Any,
    eventually: Any,
) -> None:
    posted: list[bytes] = []

    class Langsmith(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Langsmith)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("LANGSMITH_API_KEY", "none")
    monkeypatch.setenv("LANGSMITH_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    file = tmp_path / "told.jsonl"
    (tmp_path / "handlers_of_mine.py").write_text(HANDLER.format(path=str(file)))
    monkeypatch.syspath_prepend(tmp_path)
    import handlers_of_mine  # type: ignore[import-not-found]

    litellm_state.callbacks = [handlers_of_mine.handler, "langsmith"]
    with mk.MirrorSession(models(served), silent_model="next", isolation="process") as session:
        session.completion("chat", MESSAGES)
        assert session.drain(PATIENCE_S)
        child = child_of(session).pid
    told = [json.loads(line) for line in file.read_text().splitlines()]
    assert [child, "gpt-4o-mini", True] in told
    # what a logger still held when the session was closed has been sent
    assert eventually(lambda: any(b"gpt-4o-mini" in body for body in posted))
    server.shutdown()


@pytest.mark.slow
def test_a_script_may_ask_for_a_format_that_it_defines(served: Simulator, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import json\n"
        "import mirrorkit as mk, pydantic\n"
        "class Order(pydantic.BaseModel):\n"
        "    order_id: int\n"
        f"with mk.MirrorSession({models(served)!r}, silent_model='next', isolation='process') as session:\n"
        f"    session.completion('chat', {MESSAGES!r}, response_format=Order)\n"
        "    session.drain()\n"
        "print(json.dumps(session.frame.select('silent_status', 'silent_output').row(0)))\n"
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    status, output = json.loads(done.stdout.splitlines()[-1])
    assert status == "ok"
    assert "order_id" in json.loads(output)


@pytest.mark.slow
def test_a_handler_of_a_notebook_cell_is_refused_at_construction(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import litellm, mirrorkit as mk\n"
        "def to_my_list(*args): pass\n"
        "litellm.success_callback = [to_my_list]\n"
        "model = {'model_name': 'chat', 'litellm_params': {'model': 'openai/gpt-4o', 'api_key': 'k'}}\n"
        "mk.MirrorSession([model], control=1.0, isolation='process')\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 1
    assert "ConfigError" in done.stderr
    assert "'to_my_list' is defined in a notebook cell" in done.stderr


def test_a_provider_that_is_scripted_to_fail_is_recorded_as_when_called_from_here(
    session: mk.MirrorSession, served: Simulator
) -> None:
    served.script("gpt-4o-mini", Reply(fault="400", error_message=f"wrong key {KEY}"))
    session.completion("chat", MESSAGES)
    assert session.drain(PATIENCE_S)
    pair = last(session)
    assert (pair["silent_status"], pair["silent_error_type"]) == ("error", "BadRequestError")
    assert KEY not in pair["silent_error_message"]


def test_one_that_is_closed_while_it_starts_leaves_no_process_behind(eventually: Any) -> None:
    away = Remote(lambda: b"", lambda _: None)
    assert eventually(lambda: away.pid is not None, PATIENCE_S)
    pid = away.pid or 0
    away.close()
    assert eventually(lambda: away.pid is None and not is_alive(pid), PATIENCE_S)
    assert away.closed


@pytest.mark.slow
def test_mirrors_that_have_not_ended_in_time_are_given_up_at_close(served: Simulator) -> None:
    with served.hold("gpt-4o-mini") as hold:
        session = mk.MirrorSession(models(served), silent_model="next", isolation="process", max_in_flight=1)
        for _ in range(3):
            session.completion("chat", MESSAGES)
        hold.wait_for(1, PATIENCE_S)
        session.close(timeout_s=0.1)
    assert session.frame["silent_status"].to_list() == ["cancelled"] * 3


@pytest.mark.slow
def test_a_rate_holds_while_the_child_starts(served: Simulator, eventually: Any) -> None:
    """Here one that is started again, as a session that is made waits for the first."""
    before = served.count("gpt-4o-mini")
    with mk.MirrorSession(models(served), silent_model="next", isolation="process", mirror_rate=4) as session:
        os.kill(child_of(session).pid or 0, signal.SIGKILL)
        # what it is given until its end is noticed is lost with it
        assert eventually(lambda: child_of(session).wait_s > 0)
        for _ in range(4):
            session.completion("chat", MESSAGES)
        assert session.drain(PATIENCE_S)
    assert set(session.frame["silent_status"]) == {"ok"}
    times = [r.received_at for r in served.requests if r.model == "gpt-4o-mini"][before:]
    assert len(times) == 4
    # three gaps of a quarter of a second, less what the way there may differ by
    assert times[-1] - times[0] > 0.5
