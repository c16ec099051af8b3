"""A session in a web server: real servers under load, through stop, reload and kill, all on one journal."""

import contextlib
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Self

import polars as pl
import pytest

import mirrorkit as mk
from mirrorkit.simulator import SimulatedModel, Simulator

PATIENCE_S = 90
README = (Path(__file__).parent.parent / "README.md").read_text()
IN_LIFESPAN = """
from contextlib import asynccontextmanager
import litellm
import mirrorkit as mk
from fastapi import FastAPI

router = litellm.Router(model_list=MODELS)

@asynccontextmanager
async def lifespan(app):  # a session for each worker, on one journal
    app.state.session = mk.MirrorSession(router, journal=JOURNAL)
    yield
    await app.state.session.aclose(timeout_s=10)

app = FastAPI(lifespan=lifespan)

@app.post("/chat")
async def chat(messages: list[dict]) -> str:
    return (await app.state.session.acompletion("chat", messages)).choices[0].message.content
"""
AT_IMPORT = """
import mirrorkit as mk
from fastapi import FastAPI

session = mk.MirrorSession(MODELS, journal=JOURNAL)
app = FastAPI()


@app.post("/chat")
async def chat(messages: list[dict]) -> str:
    answer = await session.acompletion("chat", messages)
    return answer.choices[0].message.content
"""
HEAD = """
import json, os

MODELS, JOURNAL = json.loads(os.environ["SETUP"])
"""
TAIL = """

async def served(scope, receive, send):
    async def signed(message):
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"worker", str(os.getpid()).encode())]
        await send(message)

    await app(scope, receive, signed)
"""
# a worker that loads LiteLLM is not up in 5 s everywhere, and would be given up
WORKERS = ("--workers", "2", "--timeout-worker-healthcheck", "60")
UVICORN = ("uvicorn", "served:served", "--log-level", "warning")
GUNICORN = ("gunicorn", "served:served", "--preload", "--workers", "2", "--log-level", "warning")
GUNICORN = (*GUNICORN, "--no-control-socket", "--worker-class")
SERVERS = {
    "uvicorn": (*UVICORN, *WORKERS),
    "uvicorn, one process": UVICORN,
    "uvicorn --reload": (*UVICORN, "--reload"),
    "gunicorn, uvicorn's worker": (*GUNICORN, "uvicorn.workers.UvicornWorker"),
    "gunicorn, its own worker": (*GUNICORN, "asgi"),
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3 * PATIENCE_S),
    # which is what some of these are to do
    pytest.mark.filterwarnings("ignore:.*ended without closing"),
]


def documented(isolation: str = "shared", timeout_s: int = 60) -> str:
    """The server that README shows; on a busy machine it may take longer to end."""
    shown = re.search(r"### In a web server\n.*?```python\n(.*?)```", README, re.DOTALL)
    app = IN_LIFESPAN if shown is None else shown[1]
    for told, meant in (
        ("journal=JOURNAL", f"journal=JOURNAL, isolation={isolation!r}"),
        ("timeout_s=10", f"timeout_s={timeout_s}"),
    ):
        assert told in app
        app = app.replace(told, meant)
    return app


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client got."""

    number: int
    client: int
    worker: int
    status: int


class Load:
    """Requests from a few clients, each with a number of its own, until it is stopped."""

    def __init__(self, port: int, clients: int = 3) -> None:
        self.answers: list[Answer] = []
        self._port = port
        self._numbers = itertools.count()
        self._heard = threading.Condition()
        self._stopped = threading.Event()
        self._clients = [threading.Thread(target=self._ask_on, args=(each,)) for each in range(clients)]

    def __enter__(self) -> Self:
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for client in self._clients:
            client.join()

    def workers(self, count: int, without: Collection[int] = ()) -> set[int]:
        """Wait until so many workers, none of those, have given some answers each; which they are."""

        def busy() -> set[int]:
            given = Counter(answer.worker for answer in self.answers)
            # where there is little to do, one of them does nearly all of it
            return {worker for worker, many in given.items() if many >= 5 and worker not in without}

        with self._heard:
            assert self._heard.wait_for(lambda: len(busy()) >= count, PATIENCE_S)
            return busy()

    @property
    def numbers(self) -> set[int]:
        """The requests that were answered."""
        return {answer.number for answer in self.answers}

    def last_of(self, worker: int) -> set[int]:
        """The last request that a worker answered to each client."""
        return set({a.client: a.number for a in self.answers if a.worker == worker}.values())

    def _ask_on(self, client: int) -> None:
        while not self._stopped.is_set():
            # nobody may be serving just now, or who did was killed
            with contextlib.suppress(OSError, HTTPException):
                self._ask(client, next(self._numbers))
            # a little rest, for servers that start meanwhile
            self._stopped.wait(0.1)

    def _ask(self, client: int, number: int) -> None:
        body = json.dumps([{"role": "user", "content": f"Where is parcel {number}?"}])
        with contextlib.closing(HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_S)) as connection:
            connection.request("POST", "/chat", body, {"content-type": "application/json"})
            reply = connection.getresponse()
            reply.read()
        with self._heard:
            self.answers.append(Answer(number, client, int(reply.headers["worker"]), reply.status))
            self._heard.notify_all()


class Server:
    """A server's processes, in a folder with the app."""

    def __init__(self, name: str, app: str, folder: Path, setup: object) -> None:
        self.app = folder / "served.py"
        self.app.write_text(HEAD + app + TAIL)
        self.port = free_port()
        at = f"--port={self.port}" if name.startswith("uvicorn") else f"--bind=127.0.0.1:{self.port}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", *SERVERS[name], at],
            cwd=folder,
            env={**os.environ, "SETUP": json.dumps(setup), "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def stop(self) -> int:
        """Ask it to end, and wait; its code."""
        self.send(signal.SIGTERM)
        return self._process.wait(PATIENCE_S)

    def kill(self) -> None:
        """Kill all of its processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture
def sim() -> Iterator[Simulator]:
    """The silent model takes its time, so that some of its calls are always under way."""
    fast = SimulatedModel("gpt-4o", ttft_s=0.02, token_s=0.0001, words=8)
    slow = SimulatedModel("gpt-4o-mini", ttft_s=0.8, token_s=0.0001, words=8)
    with Simulator([fast, slow]) as simulator:
        yield simulator


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def serve(sim: Simulator, tmp_path: Path, journal: Path) -> Callable[..., Server]:
    models = [
        sim.deployment("chat", "gpt-4o", silent_model="candidate"),
        sim.deployment("candidate", "gpt-4o-mini"),
    ]
    return lambda name, app: Server(name, app, tmp_path, (models, str(journal)))


def asked(sim: Simulator, model: str) -> Counter[int]:
    """How often the provider was asked each numbered question."""
    texts = [str(request.body["messages"]) for request in sim.requests if request.model == model]
    return Counter(int(text) for text in re.findall(r"parcel (\d+)", "".join(texts)))


def kept(journal: Path, sim: Simulator, load: Load) -> pl.DataFrame:
    """What is recorded: one row for each silent call that was sent, and none that says more than happened."""
    number = pl.col("messages").str.extract(r"parcel (\d+)").cast(pl.Int64)
    rows = mk.load(journal).frame.with_columns(number=number)
    assert rows["number"].is_unique().all()
    assert rows["pair_id"].is_unique().all()
    assert set(rows["primary_status"]) == {"ok"}
    sent = asked(sim, "gpt-4o-mini")
    assert sent.keys() <= set(rows["number"])
    # one that was cut off by the end of its event loop is sent once more
    ended = rows.filter(silent_status="ok")
    assert dict(ended.select("number", "silent_attempts").iter_rows()) == {
        n: sent[n] for n in ended["number"]
    }
    assert all(sent[number] <= 1 for number in set(rows["number"]) - set(ended["number"]))
    assert {answer.status for answer in load.answers} == {200}
    return rows


@pytest.mark.parametrize("server", ["uvicorn", "uvicorn --reload", "gunicorn, uvicorn's worker"])
def test_a_server_that_reloads_and_stops_records_every_request_to_its_end(
    serve: Any, sim: Simulator, journal: Path, server: str
) -> None:
    is_watched = server == "uvicorn --reload"
    count = 1 if is_watched else 2
    with serve(server, documented()) as running, Load(running.port) as load:
        first = load.workers(count)
        if is_watched:
            running.app.touch()
        else:
            running.send(signal.SIGHUP)
        load.workers(count, without=first)
        assert running.stop() == 0
    rows = kept(journal, sim, load)
    assert not load.numbers - set(rows["number"])
    assert set(rows["silent_status"]) == {"ok"}


@pytest.mark.parametrize(
    ("server", "isolation"), [("uvicorn", "shared"), ("gunicorn, uvicorn's worker", "process")]
)
def test_a_worker_that_is_killed_leaves_a_row_of_each_request_and_the_others_go_on(
    serve: Any, sim: Simulator, journal: Path, server: str, isolation: str
) -> None:
    with serve(server, documented(isolation)) as running, Load(running.port) as load:
        first = load.workers(2)
        # its silent calls take their time
        killed = load.answers[-1].worker
        os.kill(killed, signal.SIGKILL)
        load.workers(1, without=first)
        # while the others write
        left = mk.load(journal).frame
        assert "unknown" in set(left["silent_status"])
        assert running.stop() == 0
    rows = kept(journal, sim, load)
    # a line is written when a mirror is handed over, a moment after its primary's answer
    assert load.numbers - set(rows["number"]) <= load.last_of(killed)
    assert set(rows["silent_status"]) == {"ok", "unknown"}


@pytest.mark.parametrize(
    ("server", "statuses"), [("uvicorn", {"ok", "unknown"}), ("gunicorn, its own worker", {"ok"})]
)
def test_a_session_that_nobody_closes_leaves_a_row_of_each_request(
    serve: Any, sim: Simulator, journal: Path, server: str, statuses: set[str]
) -> None:
    """A worker of uvicorn ends by the signal itself; one that ends as programs do ends its silent calls."""
    with serve(server, AT_IMPORT) as running, Load(running.port) as load:
        load.workers(2)
        assert running.stop() == 0
    rows = kept(journal, sim, load)
    assert not load.numbers - set(rows["number"])
    assert set(rows["silent_status"]) == statuses


@pytest.mark.parametrize("isolation", ["shared", "process"])
def test_a_provider_that_never_answers_keeps_no_server_from_ending(
    serve: Any, sim: Simulator, journal: Path, isolation: str
) -> None:
    app = documented(isolation, timeout_s=1)
    with sim.hold("gpt-4o-mini") as hold, serve("uvicorn, one process", app) as running:
        with Load(running.port) as load:
            load.workers(1)
            hold.wait_for(1, PATIENCE_S)
            # it ends by the signal that it was sent
            assert running.stop() == -signal.SIGTERM
        rows = kept(journal, sim, load)
    assert not load.numbers - set(rows["number"])
    assert set(rows["silent_status"]) == {"cancelled"}
