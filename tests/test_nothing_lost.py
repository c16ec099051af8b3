"""Nothing is lost and nothing recorded twice, whatever happens to a process: real programs, one journal."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import polars as pl
import pytest
from jupyter_client import KernelManager

import mirrorkit as mk

MESSAGES = [{"role": "user", "content": "Where is my parcel?"}]
HEAD = """
import asyncio, atexit, json, multiprocessing, os, signal, sys, threading
import mirrorkit as mk

MESSAGES = [{"role": "user", "content": "Where is my parcel?"}]
SETUP = json.loads(os.environ["SETUP"])
IS_ASYNC = SETUP["is_async"]

def make(**options):
    return mk.MirrorSession(SETUP["models"], silent_model="next", **SETUP["options"], **options)

def say(**told):
    os.write(1, (json.dumps(told) + "\\n").encode())

def tell(session, **more):
    child = None if session._mirror.away is None else session._mirror.away.pid
    try: frame = session.frame
    except mk.MirrorError: pass  # in a fork where Polars cannot work
    else:
        counts = frame["silent_status"].value_counts()
        more |= dict(ids=frame["pair_id"].to_list(), statuses=dict(counts.iter_rows()))
    say(funnel=session.funnel.as_dict(), under_way=session.under_way, child=child, **more)

def calls(session, count):
    # as many at once, each in a thread or a task of its own; their mirrors may still be under way
    if not IS_ASYNC:
        threads = [threading.Thread(target=session.completion, args=("chat", MESSAGES)) for _ in range(count)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        return
    async def main():
        await asyncio.gather(*(session.acompletion("chat", MESSAGES) for _ in range(count)))
    asyncio.run(main())

def files(kind):
    names = []
    for fd in os.listdir("/proc/self/fd"):
        try: names.append(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError: pass
    return sorted(name for name in names if kind in name)
"""
ISOLATION = ["shared", "process"]
PATIENCE_S = 300
"""How long to wait for what must come: a child of the lowest priority starts slowly on a busy machine."""

pytestmark = pytest.mark.timeout(2 * PATIENCE_S)
slow = pytest.mark.slow


class Program:
    """A script in a process of its own, which says JSON lines and hears lines."""

    def __init__(self, script: Path, setup: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(script)],
            env={**os.environ, "SETUP": json.dumps(setup), "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in (self.pid, *descendants(self.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with self._process:
            pass

    def said(self) -> Iterator[dict[str, Any]]:
        """What it says, until it ends; half a line, of one that was killed, is nothing."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(b"{") and line.endswith(b"\n"):
                yield json.loads(line)

    def hear(self) -> dict[str, Any]:
        """The next thing it says."""
        return next(self.said())

    def tell(self, line: str = "") -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def code(self) -> int:
        return self._process.wait(PATIENCE_S)


def descendants(pid: int) -> list[int]:
    """The processes that this one started, and those that they did."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = [child for child, parent in parents.items() if parent == pid]
    return [*found, *(grandchild for child in found for grandchild in descendants(child))]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def models(sim: Any) -> list[dict[str, Any]]:
    return [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def program(models: Any, tmp_path: Path, journal: Path) -> Callable[..., Program]:
    """Starts a script: its body, where its silent calls are made, and whether it awaits its calls."""

    def start(body: str, isolation: str = "shared", is_async: bool = False, how: str = "") -> Program:
        script = tmp_path / "script.py"
        script.write_text(HEAD + body)
        options = {"isolation": isolation, "journal": str(journal)}
        return Program(script, {"models": models, "options": options, "is_async": is_async, "how": how})

    return start


def balanced(told: dict[str, Any]) -> bool:
    """Whether a session at rest has a reason for each request that is no row, and a row for each other."""
    funnel = dict(told["funnel"])
    requests = funnel.pop("requests")
    at_rest = told["under_way"] == 0 and funnel["under_way"] == 0
    return at_rest and requests == sum(funnel.values())


def kept(journal: Path) -> pl.DataFrame:
    """What is in the journal: each pair once, and whole."""
    frame = mk.load(journal).frame
    assert frame["pair_id"].n_unique() == frame.height
    for side in ("primary", "silent"):
        finished = frame.filter(pl.col(f"{side}_status") == "ok")
        for column in ("output", "latency_s", "model", "input_tokens"):
            assert finished[f"{side}_{column}"].null_count() == 0
    return frame


def goes_on(models: Any, journal: Path) -> None:
    """A new session on the journal has what was there, and adds to it."""
    before = kept(journal)["pair_id"].to_list()
    with mk.MirrorSession(models, silent_model="next", journal=journal) as session:
        assert sorted(session.frame["pair_id"]) == sorted(before)
        session.completion("chat", MESSAGES)
        assert session.drain(PATIENCE_S)
        assert len(session) == len(before) + 1
    assert kept(journal).height == len(before) + 1


# ---------------------------------------------------------------- a program that is killed

TRAFFIC = """
session, told, lock = make(), set(), threading.Lock()
def look():
    # what was in the frame once, is on disk
    with lock:
        ids = [each for each in session.frame["pair_id"] if each not in told]
        told.update(ids)
    if ids: say(ids=ids, child=session._mirror.away and session._mirror.away.pid)
def ask():
    while True:
        session.completion("chat", MESSAGES)
        look()
async def aask():
    while True:
        await session.acompletion("chat", MESSAGES)
        look()
async def main():
    await asyncio.gather(*(aask() for _ in range(4)))
if IS_ASYNC: asyncio.run(main())
asking = [threading.Thread(target=ask) for _ in range(4)]
for each in asking: each.start()
for each in asking: each.join()
"""


@pytest.mark.parametrize(
    ("number", "isolation", "is_async"),
    [
        *(
            pytest.param(number, isolation, is_async, marks=slow)
            for number, isolation, is_async in (
                (signal.SIGKILL, "shared", False),
                (signal.SIGKILL, "shared", True),
                (signal.SIGKILL, "process", False),
                (signal.SIGKILL, "process", True),
                (signal.SIGTERM, "shared", True),
                (signal.SIGTERM, "process", False),
            )
        ),
    ],
)
def test_a_program_that_is_killed_amid_traffic_leaves_every_finished_pair(
    program: Any, models: Any, journal: Path, eventually: Any, number: int, isolation: str, is_async: bool
) -> None:
    finished: set[str] = set()
    with program(TRAFFIC, isolation, is_async) as running:
        for told in running.said():
            finished.update(told["ids"])
            if len(finished) >= 20:
                break
        started = descendants(running.pid)
        assert bool(started) == (isolation == "process")
        running.send(number)
        for told in running.said():
            finished.update(told["ids"])
        assert running.code() == -number
    assert eventually(lambda: not any(map(is_alive, started)))
    pairs = kept(journal)
    assert finished <= set(pairs["pair_id"])
    assert set(pairs["primary_status"]) == {"ok"}
    # what was handed over, and whose end nobody heard of
    unknown = pairs.filter(pairs["silent_status"] != "ok")
    assert set(unknown["silent_status"]) <= {"unknown"}
    assert finished.isdisjoint(unknown["pair_id"])
    goes_on(models, journal)


# ---------------------------------------------------------------- a child that is killed


@slow
@pytest.mark.parametrize("is_async", [False, True])
def test_of_a_child_that_is_killed_what_was_in_flight_is_cancelled_and_the_rest_is_made(
    program: Any, models: Any, journal: Path, sim: Any, is_async: bool
) -> None:
    body = """
session = make(max_in_flight=4)
calls(session, 1)
session.drain()
say(up=True)
sys.stdin.readline()
calls(session, 12)
tell(session)
session.drain()
calls(session, 3)
session.close()
tell(session)
"""
    with program(body, "process", is_async) as running:
        assert running.hear()["up"]
        with sim.hold("gpt-4o-mini") as hold:
            running.tell()
            before = running.hear()
            hold.wait_for(4, PATIENCE_S)
            os.kill(before["child"], signal.SIGKILL)
        told = running.hear()
        assert running.code() == 0
    assert before["under_way"] == 12
    assert told["statuses"] == {"ok": 12, "cancelled": 4}
    assert balanced(told)
    assert told["funnel"]["mirrored"] == told["funnel"]["requests"] == 16
    pairs = kept(journal)
    assert sorted(pairs["pair_id"]) == sorted(told["ids"])
    assert set(pairs["primary_status"]) == {"ok"}
    lost = pairs.filter(pl.col("silent_status") == "cancelled")
    assert all("killed by SIGKILL" in why for why in lost["silent_error_message"])
    goes_on(models, journal)


# ---------------------------------------------------------------- a program that is asked to end

ENDING = """
session = make(max_in_flight=2)
def leave(*_):
    say(leaving=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
atexit.register(lambda: tell(session))
if IS_ASYNC:
    async def main():
        await asyncio.gather(*(session.acompletion("chat", MESSAGES) for _ in range(5)))
        say(sent=True)
        await session.acompletion("chat", MESSAGES)
    asyncio.run(main())
for _ in range(5): session.completion("chat", MESSAGES)
say(sent=True)
session.completion("chat", MESSAGES)
"""


@slow
@pytest.mark.parametrize("isolation", ["shared", "process"])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_server_that_is_asked_to_end_finishes_what_is_under_way(
    program: Any, models: Any, journal: Path, sim: Any, isolation: str, is_async: bool
) -> None:
    with sim.hold("gpt-4o-mini") as silent, program(ENDING, isolation, is_async) as running:
        assert running.hear() == {"sent": True}
        # its sixth primary is not to be answered
        with sim.hold("gpt-4o") as primary:
            silent.wait_for(2, PATIENCE_S)
            # as a service manager does, which signals all of a service's processes
            for pid in (*descendants(running.pid), running.pid):
                os.kill(pid, signal.SIGTERM)
            assert running.hear() == {"leaving": True}
            silent.release()
            told = running.hear()
            primary.release()
        assert running.code() == 0
    assert balanced(told)
    assert told["statuses"] == {"ok": told["funnel"]["mirrored"]}
    assert told["funnel"]["mirrored"] >= 5
    assert sorted(kept(journal)["pair_id"]) == sorted(told["ids"])
    goes_on(models, journal)


@slow
@pytest.mark.parametrize("isolation", ISOLATION)
def test_a_session_that_nobody_holds_at_the_end_finishes_what_is_under_way(
    program: Any, journal: Path, sim: Any, isolation: str
) -> None:
    body = """
import gc
def main():
    session = make(max_in_flight=2)
    calls(session, 4)
main()
gc.collect()
say(collected=True)
"""
    with sim.hold("gpt-4o-mini") as hold, program(body, isolation) as running:
        assert running.hear() == {"collected": True}
        hold.release()
        assert running.code() == 0
    pairs = kept(journal)
    assert pairs["silent_status"].to_list() == ["ok"] * 4
    assert sim.count("gpt-4o-mini") == 4


# ---------------------------------------------------------------- a cell that is interrupted

SETTLED = """
await session.adrain()
calls_more = session.completion("chat", MESSAGES)
await session.acompletion("chat", MESSAGES)
await session.adrain()
tell(session)
"""


class Kernel:
    """A real IPython kernel, in which cells are run and interrupted."""

    def __init__(self, setup: dict[str, Any]) -> None:
        self._manager = KernelManager(kernel_name="python3")
        self._manager.start_kernel(env={**os.environ, "SETUP": json.dumps(setup)})
        self._client = self._manager.blocking_client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=PATIENCE_S)

    def run(self, cell: str) -> str:
        """Run a cell to its end; gives how it ended."""
        return self.ended(self.begin(cell))

    def begin(self, cell: str) -> str:
        """Send a cell; should it fail, those behind it run all the same, which is not a kernel's default."""
        return self._client.execute(cell, stop_on_error=False)

    def ended(self, cell: str) -> str:
        while True:
            message = self._client.get_shell_msg(timeout=PATIENCE_S)
            if message["parent_header"].get("msg_id") == cell:
                return str(message["content"].get("ename", message["content"]["status"]))

    def interrupt(self) -> None:
        self._manager.interrupt_kernel()

    def stop(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel()


@slow
@pytest.mark.parametrize("isolation", ISOLATION)
@pytest.mark.parametrize("call", ["session.run", "await session.arun"])
def test_an_interrupted_cell_loses_nothing_and_the_next_goes_on(
    models: Any, journal: Path, tmp_path: Path, sim: Any, isolation: str, call: str
) -> None:
    said = tmp_path / "said.jsonl"
    options = {"isolation": isolation, "journal": str(journal)}
    kernel = Kernel({"models": models, "options": options, "is_async": False})
    try:
        # a kernel's standard output is its own
        to_file = f"def say(**told): open({str(said)!r}, 'a').write(json.dumps(told))"
        assert kernel.run(f"{HEAD}\n{to_file}\nsession = make()") == "ok"
        assert kernel.run(f"{call}(['Hi'] * 3, progress=False)") == "ok"
        with sim.hold("gpt-4o") as primary, sim.hold("gpt-4o-mini") as silent:
            cell = kernel.begin(f"{call}(['Ho'] * 6, concurrency=2, progress=False)")
            primary.wait_for(2)
            kernel.interrupt()
            assert kernel.ended(cell) in ("KeyboardInterrupt", "CancelledError")
            primary.release()
            silent.release()
        assert kernel.run(SETTLED) == "ok"
        told = json.loads(said.read_text())
        # a thread's request cannot be stopped, and goes on
        assert kernel.run("session.close()") == "ok"
    finally:
        kernel.stop()
    assert told["funnel"]["requests"] == 7
    assert told["statuses"] == {"ok": told["funnel"]["mirrored"]}
    assert balanced(told)
    pairs = kept(journal)
    assert sorted(pairs["pair_id"]) == sorted(told["ids"])
    # those of tasks end with them, and are rows if their silent calls had been sent before
    cancelled = told["funnel"]["cancelled"] + pairs.filter(primary_status="cancelled").height
    assert cancelled == (2 if "arun" in call else 0)
    goes_on(models, journal)


# ---------------------------------------------------------------- a program that forks

PREFORK = """
before = len(files("pipe"))
session = make()
# with a child process there is more to let go
assert (len(files("pipe")) > before) == (SETUP["options"]["isolation"] == "process")
own = {name for name in files(SETUP["options"]["journal"])}

def work(number):
    say(pipes=len(files("pipe")) - before, still=sorted(own & set(files(SETUP["options"]["journal"]))))
    calls(session, 3)
    session.drain()
    calls(session, 2)

def forked(number):
    pid = os.fork()
    if not pid:
        atexit.register(lambda: tell(session))
        work(number)
        sys.exit(0)
    return pid

def spread(number):
    work(number)
    session.close()
    tell(session)

if SETUP["how"] == "fork":
    workers = [forked(number) for number in range(2)]
    calls(session, 3)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in workers]
else:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=spread, args=(number,)) for number in range(2)]
    for each in workers: each.start()
    calls(session, 3)
    for each in workers: each.join()
    codes = [each.exitcode for each in workers]
calls(session, 1)
session.drain()
tell(session, codes=codes, ended=True)
session.close()
"""


@pytest.mark.parametrize(
    ("how", "isolation", "is_async"),
    [
        pytest.param("fork", "shared", False, marks=slow),
        pytest.param("fork", "shared", True, marks=slow),
        pytest.param("fork", "process", False, marks=slow),
        pytest.param("multiprocessing", "shared", False, marks=slow),
        pytest.param("multiprocessing", "process", True, marks=slow),
    ],
)
def test_each_process_of_a_preforked_program_records_its_own_pairs_once(
    program: Any, models: Any, journal: Path, eventually: Any, how: str, isolation: str, is_async: bool
) -> None:
    with program(PREFORK, isolation, is_async, how=how) as running:
        told = list(running.said())
        assert running.code() == 0
        assert not descendants(running.pid)
    (ended,) = [each for each in told if "ended" in each]
    workers = [each for each in told if "funnel" in each and each is not ended]
    let_go = [each for each in told if "pipes" in each]
    assert ended["codes"] == [0, 0]
    # nothing of the parent's files and pipes is held by them
    assert [each["still"] for each in let_go] == [[], []]
    # multiprocessing makes pipes of its own
    assert [each["pipes"] for each in let_go] == [0, 0] or how != "fork"
    assert [each["funnel"]["mirrored"] for each in workers] == [5, 5]
    assert ended["funnel"]["mirrored"] == 4
    assert all(map(balanced, (*workers, ended)))
    pairs = kept(journal)
    assert pairs.height == 10 + 4
    assert set(pairs["silent_status"]) == set(pairs["primary_status"]) == {"ok"}
    goes_on(models, journal)


@slow
def test_a_fork_amid_mirrors_leaves_them_to_its_parent(
    program: Any, models: Any, journal: Path, sim: Any
) -> None:
    body = """
session = make()
calls(session, 3)
stream = session.completion("chat", MESSAGES, stream=True)
next(stream)
say(streams=True)
sys.stdin.readline()
say(under_way=session.under_way)
pid = os.fork()
if not pid:
    # none of its own: it neither waits for its parent's nor makes them again, nor a dropped stream's
    del stream
    say(drained=session.drain(20), under_way=session.under_way)
    session.close()
    sys.exit(0)
say(code=os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
for _ in stream: pass
session.close()
tell(session)
"""
    with sim.hold("gpt-4o-mini") as hold, program(body) as running:
        assert running.hear() == {"streams": True}
        hold.wait_for(3, PATIENCE_S)
        running.tell()
        assert running.hear() == {"under_way": 3}
        assert running.hear() == {"drained": True, "under_way": 0}
        assert running.hear() == {"code": 0}
        hold.release()
        told = running.hear()
        assert running.code() == 0
    assert balanced(told)
    assert told["statuses"] == {"ok": 4}
    assert sim.count("gpt-4o-mini") == 4
    assert sorted(kept(journal)["pair_id"]) == sorted(told["ids"])


@slow
@pytest.mark.parametrize("isolation", ISOLATION)
@pytest.mark.parametrize("is_kept", [True, False])
def test_a_fork_in_which_polars_cannot_work_records_in_the_journal_or_mirrors_nothing(
    program: Any, journal: Path, sim: Any, isolation: str, is_kept: bool
) -> None:
    """And says which, instead of waiting for ever; what cannot be kept is not paid for."""
    body = f"""
import polars
session = make() if {is_kept} else mk.MirrorSession(
    SETUP["models"], silent_model="next", isolation=SETUP["options"]["isolation"]
)
# Polars' threads are there from now on, and not in the fork
assert polars.concat([session.frame] * 2).group_by("arm").agg(polars.all().n_unique()).height == 0
pid = os.fork()
if not pid:
    answer = session.completion("chat", MESSAGES)
    drained = session.drain({PATIENCE_S})
    refused = {{}}
    for name in ("frame", "compare"):
        try: getattr(session, name) if name == "frame" else session.compare()
        except mk.MirrorError as error: refused[name] = str(error)
    seen = dict(refused=refused, funnel=session.funnel.as_dict(), text=repr(session))
    say(ok=bool(answer.choices), drained=drained, **seen)
    session.close()
    sys.exit(0)
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
calls(session, 1)
session.drain()
say(code=code, pairs=len(session))
session.close()
"""
    with program(body, isolation) as running:
        fork, parent = running.hear(), running.hear()
        assert running.code() == 0
    assert parent == {"code": 0, "pairs": 1}
    assert (fork["ok"], fork["drained"]) == (True, True)
    assert set(fork["refused"]) == {"frame", "compare"}
    assert all("in another process" in why for why in fork["refused"].values())
    assert fork["funnel"]["requests"] == 1
    if is_kept:
        assert fork["funnel"]["mirrored"] == 1
        assert kept(journal).height == 2
    else:
        assert fork["funnel"]["faulted"] == 1
        assert "give the session a journal" in fork["text"]
        assert sim.count("gpt-4o-mini") == 1


@slow
def test_a_forks_first_calls_may_come_at_once_from_many_threads(program: Any, journal: Path) -> None:
    body = """
session = make(max_in_flight=4)
pid = os.fork()
if not pid:
    sys.setswitchinterval(1e-6)
    calls(session, 12)
    session.close()
    tell(session)
    sys.exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    with program(body) as running:
        told = running.hear()
        assert running.code() == 0
    assert balanced(told)
    assert told["funnel"]["mirrored"] == kept(journal).height == 12


@slow
def test_a_fork_amid_traffic_waits_for_nothing_and_its_parent_goes_on(program: Any, journal: Path) -> None:
    """LiteLLM refuses calls there, which is recorded; locks of threads that are not there hold nothing up."""
    body = """
session = make()
# LiteLLM's own locks would be held, in the fork, by whom is not there
calling = threading.Lock()
def call():
    with calling: session.completion("chat", MESSAGES)
    len(session.frame)
def ask():
    while not stop.is_set(): call()
def refused():
    try: session.completion("chat", MESSAGES)
    except RuntimeError as error: return "forked" in str(error)
stop = threading.Event()
asking = [threading.Thread(target=ask) for _ in range(4)]
for each in asking: each.start()
forks = []
for number in range(3):
    call()
    with calling: pid = os.fork()
    if not pid:
        are_refused = [refused() for _ in range(2)]
        session.close()
        tell(session, are_refused=are_refused)
        os._exit(0)
    forks.append(pid)
stop.set()
for each in asking: each.join()
session.close()
codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in forks]
tell(session, codes=codes)
"""
    with program(body, "process") as running:
        *forks, parent = running.said()
        assert running.code() == 0
    assert parent["codes"] == [0] * 3
    assert all(map(balanced, (*forks, parent)))
    assert [each["are_refused"] for each in forks] == [[True, True]] * 3
    assert [each["funnel"]["mirrored"] for each in forks] == [2] * 3
    assert set(parent["statuses"]) == {"ok"}
    pairs = kept(journal)
    assert pairs.height == parent["funnel"]["mirrored"] + 6
    assert pairs.filter(primary_status="error").height == 6


@slow
@pytest.mark.parametrize("isolation", ISOLATION)
def test_spawned_workers_share_a_journal(program: Any, models: Any, journal: Path, isolation: str) -> None:
    body = """
def work(number):
    # it ends as such workers do, without a close
    session = make()
    calls(session, 4)

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=work, args=(number,)) for number in range(2)]
    for each in workers: each.start()
    for each in workers: each.join()
    say(codes=[each.exitcode for each in workers])
"""
    with program(body, isolation) as running:
        assert running.hear() == {"codes": [0, 0]}
        assert running.code() == 0
    pairs = kept(journal)
    assert pairs.height == 8
    assert set(pairs["silent_status"]) == {"ok"}
    goes_on(models, journal)
