"""The server: HTTP on loopback from a thread of this process, which a test can script and hold."""

import asyncio
import hashlib
import json
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from mirrorkit.errors import ConfigError, MirrorError
from mirrorkit.simulator.endpoints import ANSWERS
from mirrorkit.simulator.models import SimulatedModel, drawn_fault, slowness, worded_anew
from mirrorkit.simulator.wire import (
    Outcome,
    Refusal,
    Reply,
    Turn,
    event_bytes,
    json_object,
    key_of,
    scripted,
    scripted_refusal,
)

if TYPE_CHECKING:
    from aiohttp import web

API_KEY = "sk-simulator-0123456789abcdef"
"""The key a simulator takes unless it is given another one; it opens nothing else."""

DEFAULT_MODELS: tuple[SimulatedModel, ...] = (
    SimulatedModel("gpt-4o"),
    SimulatedModel("gpt-4o-mini", ttft_s=0.012, token_s=0.0003, words=18, style="brief"),
    SimulatedModel("text-embedding-3-small"),
    SimulatedModel("text-embedding-3-large", dimensions=16),
)
"""Served when no models are given; the names are of models that have a price."""

_GATE_POLL_S = 0.002
_SHUTDOWN_S = 0.02
_MAX_BODY_BYTES = 64 * 2**20
_PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class SimulatedRequest:
    """A request as the simulator received it; `received_at` is in seconds of `time.monotonic`.

    `headers` finds a name in upper and lower case alike.
    """

    model: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: Mapping[str, Any]
    received_at: float


class Hold:
    """Requests to one model wait at the simulator, received but unanswered, until `release()`.

    A context manager that releases at its end.
    """

    def __init__(self, post: Callable[[Callable[[], object]], None]) -> None:
        self._post = post
        self._condition = threading.Condition()
        self._held = 0
        self._released = asyncio.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()

    def release(self) -> None:
        """Let the held requests go on, and those to come pass."""
        self._post(self._released.set)

    @property
    def held(self) -> int:
        """How many requests are being held now."""
        with self._condition:
            return self._held

    def wait_for(self, n: int, timeout: float = 10) -> None:
        """Block this thread until `n` requests are being held; TimeoutError after `timeout` seconds.

        In a test with an event loop of its own: `await asyncio.to_thread(hold.wait_for, n)`.
        """
        with self._condition:
            if not self._condition.wait_for(lambda: self._held >= n, timeout):
                raise TimeoutError(f"{self._held} of {n} requests were held after {timeout} s")

    async def passing(self) -> None:
        """Wait, on the server's loop, until released."""
        if self._released.is_set():
            return
        self._count(1)
        try:
            await self._released.wait()
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        with self._condition:
            self._held += change
            self._condition.notify_all()


class Endpoint(ABC):
    """What a client needs to know of a simulator, wherever it runs; it runs in a `with`, or from start()."""

    api_key: str

    @property
    @abstractmethod
    def url(self) -> str:
        """The base URL for an OpenAI client, such as "http://127.0.0.1:4000/v1"."""

    @abstractmethod
    def start(self) -> None:
        """Serve; returns when requests can be sent."""

    @abstractmethod
    def stop(self) -> None:
        """End, promptly, whatever is being waited for."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def deployment(self, group: str, model: str, **litellm_params: Any) -> dict[str, Any]:
        """An entry of a LiteLLM model list: the group is served by this model, here.

        >>> with Simulator() as simulator:
        ...     simulator.deployment("chat", "gpt-4o", num_retries=0)["litellm_params"]["model"]
        'openai/gpt-4o'
        """
        where = {"model": f"openai/{model}", "api_base": self.url, "api_key": self.api_key}
        return {"model_name": group, "litellm_params": {**where, **litellm_params}}


class Simulator(Endpoint):
    """Serves simulated models over HTTP on 127.0.0.1, from a thread with an event loop of its own.

    `models` are those served, `DEFAULT_MODELS` if there are none; `seed` decides every answer, latency and
    fault; a request with another key than `api_key` gets a 401. The last `keep_requests` requests are kept.

    Raises ConfigError for two models of one name.

    >>> with Simulator([SimulatedModel("gpt-4o")]) as simulator:
    ...     simulator.url.startswith("http://127.0.0.1:"), simulator.count("gpt-4o")
    (True, 0)
    """

    def __init__(
        self,
        models: Iterable[SimulatedModel] = (),
        *,
        seed: int = 0,
        api_key: str = API_KEY,
        port: int = 0,
        keep_requests: int = 100_000,
    ) -> None:
        served = tuple(models) or DEFAULT_MODELS
        self.models = {model.name: model for model in served}
        if len(self.models) < len(served):
            raise ConfigError("two simulated models have the same name; give each one a name of its own")
        self.seed = seed
        self.api_key = api_key
        self._port = port
        self._lock = threading.Lock()
        self._requests: deque[SimulatedRequest] = deque(maxlen=keep_requests)
        self._counts: Counter[str] = Counter()
        self._attempts: Counter[str] = Counter()
        self._scripts: defaultdict[str, deque[Reply]] = defaultdict(deque)
        self._holds: defaultdict[str, list[Hold]] = defaultdict(list)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._url = ""

    @property
    def url(self) -> str:
        """The base URL for an OpenAI client; raises MirrorError while the simulator is not running."""
        if self._thread is None:
            raise MirrorError("the simulator is not running; use it in a `with`, or call start() first")
        return self._url

    def start(self) -> None:
        """Bind a port and serve; returns when requests can be sent."""
        if self._thread is not None:
            return
        ready: Future[int] = Future()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(
            target=self._run, args=(ready,), name="mirrorkit-simulator", daemon=True
        )
        self._thread.start()
        try:
            self._url = f"http://127.0.0.1:{ready.result(_PATIENCE_S)}/v1"
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Close every connection, held and hanging ones too, and end the thread."""
        if self._thread is not None:
            self._post(self._stopping.set)
            self._thread.join(_PATIENCE_S)
            self._thread = None

    @property
    def requests(self) -> list[SimulatedRequest]:
        """The requests received so far, in order."""
        with self._lock:
            return list(self._requests)

    def count(self, model: str) -> int:
        """How many requests named this model, refused ones included."""
        with self._lock:
            return self._counts[model]

    def script(self, model: str, *replies: Reply) -> None:
        """Give the next requests for the model these replies, in order; then it is as usual again."""
        self._check_served(model)
        with self._lock:
            self._scripts[model].extend(replies)

    def hold(self, model: str) -> Hold:
        """Let requests for the model wait, from now on, until the hold is released."""
        self._check_served(model)
        hold = Hold(self._post)
        with self._lock:
            self._holds[model] = [*self._holds[model], hold]
        return hold

    def _check_served(self, model: str) -> None:
        if model not in self.models:
            raise ConfigError(f"no model {model!r} is simulated; there are {', '.join(self.models)}")

    def _post(self, callback: Callable[[], object]) -> None:
        """Run the callback on the server's loop; at once if there is none, when nobody waits."""
        loop = self._loop
        if loop is None:
            callback()
            return
        with suppress(RuntimeError):  # the loop closed meanwhile: whoever waited is gone
            loop.call_soon_threadsafe(callback)

    # ------------------------------------------------------------ on the server's thread

    def _run(self, ready: Future[int]) -> None:
        # A Runner, because nest-asyncio replaces asyncio.run by one for the main thread's loop.
        try:
            with asyncio.Runner() as runner:
                self._loop = runner.get_loop()
                runner.run(self._serve(ready))
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)
        finally:
            self._loop = None

    async def _serve(self, ready: Future[int]) -> None:
        from aiohttp import web

        app = web.Application(client_max_size=_MAX_BODY_BYTES)
        app.router.add_get("/v1/models", self._list_models)
        for path, answer in ANSWERS.items():
            app.router.add_post(path, self._handler(answer))
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=_SHUTDOWN_S)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self._port, backlog=1024).start()
            ready.set_result(runner.addresses[0][1])
            await self._stopping.wait()
        finally:
            await runner.cleanup()

    def _handler(self, answer: "Callable[[Turn], Outcome]") -> "Callable[[web.Request], Any]":
        async def handle(request: "web.Request") -> "web.StreamResponse":
            raw = await request.read()
            body = json_object(raw)
            name = str(request.match_info.get("model") or (body or {}).get("model"))
            serial = self._note(request, name, body or {})
            if (refusal := self._refusal(request, name, body)) is not None:
                return _refused(refusal)
            if body is None:
                return _refused(Refusal(400, "We could not parse the JSON body of your request."))
            model = self.models[name]
            digest = hashlib.blake2b(raw, digest_size=8, person=request.path[-16:].encode()).hexdigest()
            reply, attempt = self._reply_to(model, digest)
            await self._wait(name, reply)
            if (refusal := scripted_refusal(reply, name, self.api_key)) is not None:
                return _refused(refusal)
            began = asyncio.get_running_loop().time()
            anew = worded_anew(model, self.seed, digest, attempt)
            wording = f"{digest}-{attempt}" if anew else ""
            try:
                turn = Turn(model, body, reply, self.seed, f"{digest}-{serial}", wording)
                outcome = scripted(answer(turn), reply)
            except (ValueError, TypeError, AttributeError, KeyError) as error:
                return _refused(Refusal(400, f"The request is not valid: {error}"))
            pace = Pace(model, slowness(model, self.seed, name, digest, serial), began)
            send = _send_whole if outcome.whole is not None else _send_stream
            return await send(request, outcome, reply, pace)

        return handle

    async def _wait(self, model: str, reply: Reply) -> None:
        """Wait for the holds on the model and for what the reply is told to wait for."""
        for hold in self._holds.get(model, ()):
            await hold.passing()
        if reply.delay_s:
            await asyncio.sleep(reply.delay_s)
        if reply.fault == "hang":
            await asyncio.Event().wait()

    def _note(self, request: "web.Request", model: str, body: Mapping[str, Any]) -> int:
        received = SimulatedRequest(model, request.path, request.headers.copy(), body, time.monotonic())
        with self._lock:
            self._requests.append(received)
            self._counts[model] += 1
            return self._counts[model]

    def _refusal(self, request: "web.Request", model: str, body: Mapping[str, Any] | None) -> Refusal | None:
        given = key_of(request.headers)
        if given != self.api_key:
            # echoed as a careless provider would, so that tests see whether it is kept out of records
            return Refusal(401, f"Incorrect API key provided: {given}.", code="invalid_api_key")
        if body is not None and model not in self.models:
            return Refusal(404, f"The model '{model}' does not exist.", code="model_not_found")
        return None

    def _reply_to(self, model: SimulatedModel, digest: str) -> tuple[Reply, int]:
        """The reply to a request, and which attempt at it this is, counted from 1."""
        with self._lock:
            self._attempts[digest] += 1
            attempt = self._attempts[digest]
            if self._scripts[model.name]:
                return self._scripts[model.name].popleft(), attempt
        fault = drawn_fault(model, self.seed, model.name, digest, attempt)
        return Reply(fault=fault), attempt  # type: ignore[arg-type]

    async def _list_models(self, request: "web.Request") -> "web.Response":
        from aiohttp import web

        if (refusal := self._refusal(request, "", None)) is not None:
            return _refused(refusal)
        entries = [
            {"id": name, "object": "model", "created": 0, "owned_by": "mirrorkit"} for name in self.models
        ]
        return web.json_response({"object": "list", "data": entries})


@dataclass(frozen=True, slots=True)
class Pace:
    """When the first token and the ones after it are due, on the loop's clock."""

    model: SimulatedModel
    factor: float
    began: float

    def due(self, tokens: float) -> float:
        """When so many tokens have been said."""
        return self.began + self.factor * (self.model.ttft_s + tokens * self.model.token_s)

    async def wait(self, tokens: float) -> None:
        """Wait until so many tokens have been said."""
        if (left := self.due(tokens) - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(left)


async def _send_whole(
    request: "web.Request", outcome: Outcome, reply: Reply, pace: Pace
) -> "web.StreamResponse":
    from aiohttp import web

    payload = json.dumps(outcome.whole).encode()
    await pace.wait(outcome.tokens)
    if reply.fault == "garbage":
        payload = payload[: len(payload) // 2]
    if reply.fault != "cut":
        return web.Response(body=payload, status=reply.status, content_type="application/json")
    response = web.StreamResponse(
        headers={"Content-Type": "application/json", "Content-Length": str(len(payload))}
    )
    await response.prepare(request)
    await response.write(payload[: len(payload) // 2])
    _cut(request)
    return response


async def _send_stream(
    request: "web.Request", outcome: Outcome, reply: Reply, pace: Pace
) -> "web.StreamResponse":
    from aiohttp import web

    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    cut_after = len(outcome.chunks) // 2 if reply.fault == "cut" else reply.cut_after_chunks
    gate, said = reply.chunk_gate, 0.0
    await pace.wait(0)
    await response.prepare(request)
    with suppress(ConnectionError):  # the client went away: nobody is left to write to
        for i, (tokens, payload) in enumerate(outcome.chunks):
            if i == cut_after:
                _cut(request)
                return response
            await pace.wait(said)  # the first token is due at once, the next one a token later
            said += tokens
            await response.write(event_bytes(payload, broken=i > 0 and reply.fault == "garbage"))
            if gate is not None and tokens:
                # polled, because a thread that waits for it could outlive the server
                while not gate.is_set():  # noqa: ASYNC110
                    await asyncio.sleep(_GATE_POLL_S)
                gate = None
        if cut_after is not None:
            _cut(request)
            return response
        await response.write(outcome.closing)
    return response


def _cut(request: "web.Request") -> None:
    if request.transport is not None:
        request.transport.close()


def _refused(refusal: Refusal) -> "web.Response":
    from aiohttp import web

    return web.json_response(refusal.body, status=refusal.status, headers=refusal.headers)
