"""The soak, as a program: much traffic, and a silent side that fails, hangs and is killed amid it.

`python tests/soaking.py --requests 2000 --isolation shared` prints one line of JSON: what was sent, what was
recorded, and what the process held on the way.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import mirrorkit as mk
from mirrorkit.simulator import API_KEY, SimulatedModel, SimulatorProcess

CONCURRENCY = 16
MAX_WAITING = 400
FULL = MAX_WAITING - CONCURRENCY
TIMEOUT_S = 2.0
# nothing but LiteLLM's own work is to be slow: what a soak takes is the number of its requests
QUICK: dict[str, Any] = {"ttft_s": 0.0, "token_s": 0.0, "words": 1}
# the Router tries again after a 500, as it does by default, and not after a 400
FAULTS = {"500": 0.05, "400": 0.05, "hang": 0.02}
KEPT_IN_MEMORY = 500
# LiteLLM's pool and the loop's own, which have a thread more whenever all of theirs are at work
_POOLS = ("litellm-logging", "asyncio_")


class SilentServer:
    """Serves the silent model on one port, however often it is killed and started again."""

    def __init__(self) -> None:
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def start(self) -> None:
        model = {"name": "gpt-4o-mini", "errors": FAULTS, **QUICK}
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mirrorkit.simulator", "--port", str(self.port)),
                *("--models", json.dumps([model])),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline()
        self.starts += 1

    def kill(self) -> None:
        assert self._process is not None
        with self._process:
            self._process.kill()

    def deployment(self) -> dict[str, Any]:
        where = {"api_base": f"http://127.0.0.1:{self.port}/v1", "api_key": API_KEY}
        return {"model_name": "next", "litellm_params": {"model": "openai/gpt-4o-mini", **where}}


class Traffic:
    """Sends requests through a session, held back where mirrors pile up, and looks at what it costs."""

    def __init__(self, session: mk.MirrorSession, silent: SilentServer, total: int, restarts: int) -> None:
        self.session = session
        self.silent = silent
        self.total = total
        self.failed = 0
        self.memory: list[dict[str, int]] = []
        # it is killed at equal distances, and comes again some requests later
        self._kills = {total * (i + 1) // (restarts + 1) for i in range(restarts)}
        self._starts = {kill + max(1, total // 100) for kill in self._kills}
        self._looks = {total * (i + 1) // 10 for i in range(10)}

    async def send(self) -> None:
        """Send all of them, and wait for their mirrors."""
        turns = iter(range(self.total))
        await asyncio.gather(*(self._send(turns) for _ in range(CONCURRENCY)))
        await self.session.adrain()

    async def _send(self, turns: Iterator[int]) -> None:
        for turn in turns:
            # nobody holds back the last part: what there is no room for is dropped, and counted
            while turn < self.total * 0.95 and self.session.under_way > FULL:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            try:
                await self.session.acompletion("chat", [{"role": "user", "content": f"Question {turn}"}])
            except Exception:
                self.failed += 1
            if turn + 1 in self._looks:
                self.memory.append({"sent": turn + 1, **memory_mb(self.session)})
            if turn + 1 in self._kills:
                await asyncio.to_thread(self.silent.kill)
            if turn + 1 in self._starts:
                await asyncio.to_thread(self.silent.start)


def _free_port() -> int:
    """A port that no client's connection is given while the server is down: those are from 32768 up."""
    for port in range(20_000 + os.getpid() % 5_000, 32_000):
        with contextlib.suppress(OSError), socket.socket() as free:
            free.bind(("127.0.0.1", port))
            return port
    raise OSError("no port is free")


def memory_mb(session: mk.MirrorSession) -> dict[str, int]:
    """What this process, and the child that makes its silent calls, have of the memory."""
    gc.collect()
    away = session._mirror.away
    pids = {"here": os.getpid(), **({"child": away.pid} if away is not None and away.pid else {})}
    return {name: _resident_mb(pid) for name, pid in pids.items()}


def _resident_mb(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


def held() -> dict[str, Any]:
    """What this process holds: threads, tasks, child processes, and file descriptors by their kind."""
    gc.collect()
    names = (_kind(fd) for fd in os.listdir("/proc/self/fd"))
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    threads = (thread.name for thread in threading.enumerate())
    return {
        "threads": sorted(name for name in threads if not name.startswith(_POOLS)),
        "tasks": sorted(str(task.get_coro()).split(" at ")[0] for task in asyncio.all_tasks()),
        "children": len(children),
        "files": dict(sorted(Counter(name for name in names if name).items())),
    }


def _kind(fd: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}").partition("[")[0].partition(":")[0]
    except OSError:  # the folder's own
        return ""


async def _sockets_closed() -> None:
    """Until LiteLLM has let go its connections to servers that are gone."""
    end = time.monotonic() + 20
    own = {"socket": 2}  # the loop's
    while held()["files"].get("socket", 0) > own["socket"] and time.monotonic() < end:  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def soak(requests: int, isolation: Any, journal: str, restarts: int) -> dict[str, Any]:
    """One session from its start to its end; what came of it."""
    silent = SilentServer()
    silent.start()
    began = time.monotonic()
    with SimulatorProcess([SimulatedModel("gpt-4o", **QUICK)]) as primary:
        session = mk.MirrorSession(
            [primary.deployment("chat", "gpt-4o"), silent.deployment()],
            silent_model="next",
            isolation=isolation,
            journal=journal,
            max_pairs_in_memory=KEPT_IN_MEMORY,
            max_waiting=MAX_WAITING,
            max_in_flight=32,
            timeout_s=TIMEOUT_S,
        )
        async with session:
            traffic = Traffic(session, silent, requests, restarts)
            await traffic.send()
            took_s = time.monotonic() - began
        told = {
            "funnel": session.funnel.as_dict(),
            "under_way": session.under_way,
            "pairs": len(session),
            "faults": session._mirror.books.faults,
            "last_fault": session._mirror.books.last_fault,
        }
    silent.kill()
    recorded = mk.load(journal).frame
    await _sockets_closed()
    return {
        **told,
        "took_s": round(took_s, 1),
        "failed": traffic.failed,
        "server_starts": silent.starts,
        "memory_mb": traffic.memory,
        "rows": recorded.height,
        "distinct": recorded["pair_id"].n_unique(),
        "statuses": dict(recorded["silent_status"].value_counts().iter_rows()),
        "primaries": dict(recorded["primary_status"].value_counts().iter_rows()),
    }


async def main(requests: int, isolation: str, restarts: int) -> dict[str, Any]:
    """A short soak, after which everything that stays is there, and the one that counts."""
    with tempfile.TemporaryDirectory() as folder:
        await soak(200, isolation, f"{folder}/short", 0)
        before = held()
        told = await soak(requests, isolation, f"{folder}/long", restarts)
        return {"requests": requests, "isolation": isolation, **told, "before": before, "after": held()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--isolation", default="process", choices=["shared", "process"])
    parser.add_argument("--restarts", type=int, default=3)
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)  # LiteLLM tells each failure at length
    print(json.dumps(asyncio.run(main(args.requests, args.isolation, args.restarts))))
