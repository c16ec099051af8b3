"""An OpenAI-compatible HTTP server on loopback, for the demo, the notebooks, the tests and the benches.

They go the real way through it, LiteLLM's Router to the OpenAI SDK to HTTP, with no key and no network.
`Simulator` serves from a thread of this process, and a test can script it; `SimulatorProcess` serves from
a process of its own, so that its CPU time is not the client's. `python -m mirrorkit.simulator` is that
process.
"""

import argparse
import asyncio
import base64
import hashlib
import json
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from mirrorkit.errors import ConfigError, MirrorError
from mirrorkit.simulated_answers import (
    FAULTS,
    Answer,
    Fault,
    SimulatedModel,
    ToolCall,
    answer_to,
    ask_of,
    count_tokens,
    drawn_fault,
    embedding_of,
    prompts,
    slowness,
)

if TYPE_CHECKING:
    from aiohttp import web

__all__ = [
    "API_KEY",
    "DEFAULT_MODELS",
    "Hold",
    "Reply",
    "SimulatedModel",
    "SimulatedRequest",
    "Simulator",
    "SimulatorProcess",
    "prompts",
]

API_KEY = "sk-simulator-0123456789abcdef"
"""The key a simulator takes unless it is given another one; it opens nothing else."""

DEFAULT_MODELS: tuple[SimulatedModel, ...] = (
    SimulatedModel("gpt-4o"),
    SimulatedModel("gpt-4o-mini", ttft_s=0.012, token_s=0.0003, words=18, style="brief"),
    SimulatedModel("text-embedding-3-small"),
    SimulatedModel("text-embedding-3-large", dimensions=16),
)
"""Served when no models are given; the names are of models that have a price."""

_ERRORS: Mapping[str, tuple[int, str, str | None, str]] = {
    "400": (400, "invalid_request_error", None, "The request is not valid for {model}."),
    "401": (401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided: {key}."),
    "429": (429, "rate_limit_error", "rate_limit_exceeded", "Rate limit reached for {model}."),
    "500": (500, "server_error", None, "The server had an error while processing your request."),
}
_GATE_POLL_S = 0.002
_SHUTDOWN_S = 0.02
_MAX_BODY_BYTES = 64 * 2**20
_PATIENCE_S = 30.0


class Gate(Protocol):
    """What a `chunk_gate` must have; a `threading.Event` has it."""

    def is_set(self) -> bool:
        """Whether the stream may go on."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the simulator is told to reply to one request; fields left alone are as usual.

    `fault` is one of "429", "500", "400", "401", "hang", "cut", "garbage"; a `status` of 400 or more
    is an error with that status. `text` is the exact answer; `tool_calls` are dicts of "name" and
    "arguments" (an object, or JSON text). `usage` replaces the usage, or leaves it out if False.
    `error_message` is the error's text. `retry_after_s` is the Retry-After of a 429, in seconds.
    `cut_after_chunks` cuts a stream after that many chunks, the role chunk counted. `delay_s` is
    waited before anything is sent. A stream waits for `chunk_gate` after its first piece of content.

    Raises ConfigError for an unknown fault.

    >>> Reply(fault="429", retry_after_s=2).status
    200
    """

    status: int = 200
    fault: Fault | None = None
    text: str | None = None
    tool_calls: Sequence[Mapping[str, Any]] | None = None
    usage: Mapping[str, Any] | Literal[False] | None = None
    error_message: str | None = None
    retry_after_s: float | None = None
    cut_after_chunks: int | None = None
    delay_s: float | None = None
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    chunk_gate: Gate | None = None

    def __post_init__(self) -> None:
        if self.fault is not None and self.fault not in FAULTS:
            raise ConfigError(f"unknown fault {self.fault!r}; take one of {', '.join(FAULTS)}")


@dataclass(frozen=True, slots=True)
class SimulatedRequest:
    """A request as the simulator received it; `received_at` is in seconds of `time.monotonic`."""

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


class _Endpoint:
    """What a client needs to know of a simulator, wherever it runs."""

    api_key: str

    @property
    def url(self) -> str:
        """The base URL for an OpenAI client, such as "http://127.0.0.1:4000/v1"."""
        raise NotImplementedError

    def deployment(self, group: str, model: str, **litellm_params: Any) -> dict[str, Any]:
        """An entry of a LiteLLM model list: the group is served by this model, here.

        >>> with Simulator() as simulator:
        ...     simulator.deployment("chat", "gpt-4o", num_retries=0)["litellm_params"]["model"]
        'openai/gpt-4o'
        """
        where = {"model": f"openai/{model}", "api_base": self.url, "api_key": self.api_key}
        return {"model_name": group, "litellm_params": {**where, **litellm_params}}


class Simulator(_Endpoint):
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
        self._attempts: Counter[bytes] = Counter()
        self._scripts: defaultdict[str, deque[Reply]] = defaultdict(deque)
        self._holds: defaultdict[str, list[Hold]] = defaultdict(list)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._url = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

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
        for path, answer in (
            ("/v1/chat/completions", _chat),
            ("/v1/responses", _responses),
            ("/v1/embeddings", _embeddings),
        ):
            app.router.add_post(path, self._handler(answer))
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=_SHUTDOWN_S)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self._port, backlog=1024).start()
            ready.set_result(runner.addresses[0][1])
            await self._stopping.wait()
        finally:
            await runner.cleanup()

    def _handler(self, answer: "Callable[[_Turn], _Outcome]") -> "Callable[[web.Request], Any]":
        async def handle(request: "web.Request") -> "web.StreamResponse":
            raw = await request.read()
            body = _json_object(raw)
            name = str((body or {}).get("model"))
            serial = self._note(request, name, body or {})
            if (refusal := self._refusal(request, name, body)) is not None:
                return refusal
            if body is None:
                return _error(400, "We could not parse the JSON body of your request.")
            model = self.models[name]
            digest = hashlib.blake2b(raw, digest_size=8, person=request.path[-16:].encode()).digest()
            reply = self._reply_to(model, digest)
            for hold in self._holds.get(name, ()):
                await hold.passing()
            if reply.delay_s:
                await asyncio.sleep(reply.delay_s)
            if reply.fault == "hang":
                await asyncio.Event().wait()
            if reply.fault in _ERRORS or reply.status >= 400:
                return _scripted_error(reply, name, self.api_key)
            began = asyncio.get_running_loop().time()
            try:
                outcome = answer(_Turn(model, body, reply, self.seed, f"{digest.hex()}-{serial}"))
            except (ValueError, TypeError, AttributeError, KeyError) as error:
                return _error(400, f"The request is not valid: {error}")
            pace = _Pace(model, slowness(model, self.seed, name, digest.hex(), serial), began)
            send = _send_whole if outcome.whole is not None else _send_stream
            return await send(request, outcome, reply, pace)

        return handle

    def _note(self, request: "web.Request", model: str, body: Mapping[str, Any]) -> int:
        received = SimulatedRequest(model, request.path, dict(request.headers), body, time.monotonic())
        with self._lock:
            self._requests.append(received)
            self._counts[model] += 1
            return self._counts[model]

    def _refusal(
        self, request: "web.Request", model: str, body: Mapping[str, Any] | None
    ) -> "web.Response | None":
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if given != self.api_key:
            # echoed as a careless provider would, so that tests see whether it is kept out of records
            return _error(401, f"Incorrect API key provided: {given}.", code="invalid_api_key")
        if body is not None and model not in self.models:
            return _error(404, f"The model '{model}' does not exist.", code="model_not_found")
        return None

    def _reply_to(self, model: SimulatedModel, digest: bytes) -> Reply:
        with self._lock:
            self._attempts[digest] += 1
            attempt = self._attempts[digest]
            if self._scripts[model.name]:
                return self._scripts[model.name].popleft()
        fault = drawn_fault(model, self.seed, model.name, digest.hex(), attempt)
        return Reply(fault=fault)  # type: ignore[arg-type]

    async def _list_models(self, request: "web.Request") -> "web.Response":
        from aiohttp import web

        if (refusal := self._refusal(request, "", None)) is not None:
            return refusal
        entries = [
            {"id": name, "object": "model", "created": 0, "owned_by": "mirrorkit"} for name in self.models
        ]
        return web.json_response({"object": "list", "data": entries})


# ---------------------------------------------------------------- OpenAI's shapes


@dataclass(frozen=True, slots=True)
class _Turn:
    """One request to be answered; `id` is its own."""

    model: SimulatedModel
    body: Mapping[str, Any]
    reply: Reply
    seed: int
    id: str

    def usage(self, usual: dict[str, Any]) -> dict[str, Any] | None:
        if self.reply.usage is None:
            return usual
        return dict(self.reply.usage) if self.reply.usage else None


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What goes over the wire: one body, or chunks, each with the tokens it takes to say it."""

    whole: Mapping[str, Any] | None = None
    chunks: Sequence[tuple[float, Mapping[str, Any]]] = ()
    tokens: int = 0
    closing: bytes = b""


def _answers(turn: _Turn, limit: int = 1) -> tuple[int, list[Answer]]:
    """The tokens of the prompt, and the answers to it."""
    ask = ask_of(turn.body)
    count = turn.body.get("n") or 1
    if not isinstance(count, int) or not 1 <= count <= limit:
        raise ValueError(f"n is {count!r}; it must be a whole number from 1 to {limit}")
    scripted = _scripted_answer(turn.reply)
    answers = [scripted or answer_to(turn.model, ask, turn.seed, choice) for choice in range(count)]
    return count_tokens(ask.prompt), answers


def _scripted_answer(reply: Reply) -> Answer | None:
    if reply.text is None and reply.tool_calls is None:
        return None
    calls = tuple(
        ToolCall(
            call["name"],
            call["arguments"] if isinstance(call["arguments"], str) else json.dumps(call["arguments"]),
        )
        for call in reply.tool_calls or ()
    )
    return Answer(reply.text, calls, "tool_calls" if calls else "stop")


def _pieces(text: str) -> list[tuple[float, str]]:
    """A text word by word, the space before each kept, with the tokens each takes."""
    ends = [i for i in range(1, len(text)) if text[i].isspace() and not text[i - 1].isspace()]
    return [
        ((end - begin) / 4, text[begin:end])
        for begin, end in zip([0, *ends], [*ends, len(text)], strict=True)
        if begin < end
    ]


def _cut_up(text: str, size: int = 12) -> Iterator[str]:
    return (text[i : i + size] for i in range(0, len(text), size))


def _chat(turn: _Turn) -> _Outcome:
    asked, answers = _answers(turn, limit=128)
    written = sum(answer.tokens for answer in answers) + turn.reply.reasoning_tokens
    usage = turn.usage(
        {
            "prompt_tokens": asked,
            "completion_tokens": written,
            "total_tokens": asked + written,
            "prompt_tokens_details": {"cached_tokens": turn.reply.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": turn.reply.reasoning_tokens},
        }
    )
    streamed = bool(turn.body.get("stream"))
    head: dict[str, Any] = {
        "id": f"chatcmpl-{turn.id}",
        "object": "chat.completion.chunk" if streamed else "chat.completion",
        "created": int(time.time()),
        "model": turn.model.name,
    }
    if not streamed:
        choices = [_chat_choice(turn, i, answer) for i, answer in enumerate(answers)]
        return _Outcome(_with_usage({**head, "choices": choices}, usage), tokens=written)
    wanted = usage is not None and (turn.body.get("stream_options") or {}).get("include_usage")
    if wanted:
        head["usage"] = None
    chunks: list[tuple[float, Mapping[str, Any]]] = [
        (
            tokens,
            {**head, "choices": [{"index": i, "delta": delta, "logprobs": None, "finish_reason": reason}]},
        )
        for i, answer in enumerate(answers)
        for tokens, delta, reason in _chat_deltas(turn, i, answer)
    ]
    if wanted:
        chunks.append((0, {**head, "choices": [], "usage": usage}))
    return _Outcome(chunks=chunks, tokens=written, closing=b"data: [DONE]\n\n")


def _with_usage(body: dict[str, Any], usage: dict[str, Any] | None) -> dict[str, Any]:
    return body if usage is None else {**body, "usage": usage}


def _chat_choice(turn: _Turn, index: int, answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None}
    if answer.tool_calls:
        message["tool_calls"] = [
            {
                "id": f"call_{turn.id}-{index}-{j}",
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for j, call in enumerate(answer.tool_calls)
        ]
    return {"index": index, "message": message, "logprobs": None, "finish_reason": answer.finish_reason}


def _chat_deltas(
    turn: _Turn, index: int, answer: Answer
) -> Iterator[tuple[float, dict[str, Any], str | None]]:
    yield 0, {"role": "assistant", "content": "" if answer.text is not None else None}, None
    for tokens, piece in _pieces(answer.text or ""):
        yield tokens, {"content": piece}, None
    for j, call in enumerate(answer.tool_calls):
        function = {"name": call.name, "arguments": ""}
        start = {"index": j, "id": f"call_{turn.id}-{index}-{j}", "type": "function", "function": function}
        yield len(call.name) / 4, {"tool_calls": [start]}, None
        for piece in _cut_up(call.arguments):
            delta = {"index": j, "function": {"arguments": piece}}
            yield len(piece) / 4, {"tool_calls": [delta]}, None
    yield 0, {}, answer.finish_reason


def _responses(turn: _Turn) -> _Outcome:
    asked, (answer,) = _answers(turn)
    written = answer.tokens + turn.reply.reasoning_tokens
    usage = turn.usage(
        {
            "input_tokens": asked,
            "input_tokens_details": {"cached_tokens": turn.reply.cached_tokens, "cache_write_tokens": 0},
            "output_tokens": written,
            "output_tokens_details": {"reasoning_tokens": turn.reply.reasoning_tokens},
            "total_tokens": asked + written,
        }
    )
    began = _response(turn)
    items = list(_response_items(turn, answer))
    cut = answer.finish_reason == "length"
    done = {
        **began,
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "output": items,
    }
    done = _with_usage(done, usage)
    if not turn.body.get("stream"):
        return _Outcome(done, tokens=written)
    events = [(0.0, {"type": "response.created", "response": began})]
    for i, item in enumerate(items):
        events += _item_events(i, item)
    events.append((0, {"type": f"response.{done['status']}", "response": done}))
    numbered = [(tokens, {**event, "sequence_number": i}) for i, (tokens, event) in enumerate(events)]
    return _Outcome(chunks=numbered, tokens=written)


def _response(turn: _Turn) -> dict[str, Any]:
    body = turn.body
    return {
        "id": f"resp_{turn.id}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "metadata": body.get("metadata") or {},
        "model": turn.model.name,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": body.get("previous_response_id"),
        "temperature": body.get("temperature", 1.0),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": body.get("tools") or [],
        "top_p": body.get("top_p", 1.0),
        "truncation": "disabled",
    }


def _response_items(turn: _Turn, answer: Answer) -> Iterator[dict[str, Any]]:
    if answer.text is not None:
        yield {
            "id": f"msg_{turn.id}",
            "type": "message",
            "role": "assistant",
            "status": "incomplete" if answer.finish_reason == "length" else "completed",
            "content": [_text_part(answer.text)],
        }
    for j, call in enumerate(answer.tool_calls):
        yield {
            "id": f"fc_{turn.id}-{j}",
            "type": "function_call",
            "call_id": f"call_{turn.id}-{j}",
            "name": call.name,
            "arguments": call.arguments,
            "status": "completed",
        }


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _item_events(index: int, item: dict[str, Any]) -> list[tuple[float, dict[str, Any]]]:
    at: dict[str, Any] = {"item_id": item["id"], "output_index": index}
    started = {**item, "status": "in_progress"}
    inner: list[tuple[float, dict[str, Any]]]
    if item["type"] == "message":
        text = item["content"][0]["text"]
        at["content_index"] = 0
        started["content"] = []
        inner = [
            (0, {"type": "response.content_part.added", **at, "part": _text_part("")}),
            *(
                (tokens, {"type": "response.output_text.delta", **at, "delta": piece, "logprobs": []})
                for tokens, piece in _pieces(text)
            ),
            (0, {"type": "response.output_text.done", **at, "text": text, "logprobs": []}),
            (0, {"type": "response.content_part.done", **at, "part": _text_part(text)}),
        ]
    else:
        arguments, kind = item["arguments"], "response.function_call_arguments"
        started["arguments"] = ""
        inner = [
            *((len(p) / 4, {"type": f"{kind}.delta", **at, "delta": p}) for p in _cut_up(arguments)),
            (0, {"type": f"{kind}.done", **at, "name": item["name"], "arguments": arguments}),
        ]
    return [
        (0, {"type": "response.output_item.added", "output_index": index, "item": started}),
        *inner,
        (0, {"type": "response.output_item.done", "output_index": index, "item": item}),
    ]


def _embeddings(turn: _Turn) -> _Outcome:
    given, dimensions = turn.body.get("input"), turn.body.get("dimensions")
    if not isinstance(given, str | list) or not given:
        raise ValueError("'input' must be a string or a list that is not empty")
    if dimensions is not None and (not isinstance(dimensions, int) or not 1 <= dimensions <= 10_000):
        raise ValueError(f"dimensions is {dimensions!r}; it must be a whole number from 1 to 10000")
    one = isinstance(given, str) or isinstance(given[0], int)
    texts = [text if isinstance(text, str) else json.dumps(text) for text in ([given] if one else given)]
    packed = turn.body.get("encoding_format") == "base64"
    data = []
    for i, text in enumerate(texts):
        vector = embedding_of(turn.model, text, turn.seed, dimensions)
        data.append({"object": "embedding", "index": i, "embedding": _packed(vector) if packed else vector})
    asked = sum(map(count_tokens, texts))
    usage = turn.usage({"prompt_tokens": asked, "total_tokens": asked})
    return _Outcome(_with_usage({"object": "list", "model": turn.model.name, "data": data}, usage))


def _packed(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


# ---------------------------------------------------------------- sending


@dataclass(frozen=True, slots=True)
class _Pace:
    """When the first token and the ones after it are due, on the loop's clock."""

    model: SimulatedModel
    factor: float
    began: float

    async def wait(self, tokens: float) -> None:
        """Wait until so many tokens have been said."""
        due = self.began + self.factor * (self.model.ttft_s + tokens * self.model.token_s)
        if (left := due - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(left)


async def _send_whole(
    request: "web.Request", outcome: _Outcome, reply: Reply, pace: _Pace
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
    request: "web.Request", outcome: _Outcome, reply: Reply, pace: _Pace
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
            await response.write(_event(payload, broken=i > 0 and reply.fault == "garbage"))
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


def _event(payload: Mapping[str, Any], *, broken: bool = False) -> bytes:
    data = json.dumps(payload)
    name = f"event: {payload['type']}\n" if "type" in payload else ""
    return f"{name}data: {data[: len(data) // 2] if broken else data}\n\n".encode()


def _cut(request: "web.Request") -> None:
    if request.transport is not None:
        request.transport.close()


def _json_object(raw: bytes) -> dict[str, Any] | None:
    try:
        body = json.loads(raw)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _scripted_error(reply: Reply, model: str, key: str) -> "web.Response":
    usual = _ERRORS.get(reply.fault or str(reply.status), _ERRORS["500"])
    status, kind, code, message = usual
    status = status if reply.fault else reply.status
    after = reply.retry_after_s if reply.retry_after_s is not None else 1 if status == 429 else None
    text = reply.error_message or message.format(model=model, key=key)
    return _error(status, text, kind=kind, code=code, retry_after_s=after)


def _error(
    status: int,
    message: str,
    *,
    kind: str = "invalid_request_error",
    code: str | None = None,
    retry_after_s: float | None = None,
) -> "web.Response":
    from aiohttp import web

    headers = {} if retry_after_s is None else {"Retry-After": f"{retry_after_s:g}"}
    error = {"message": message, "type": kind, "param": None, "code": code}
    return web.json_response({"error": error}, status=status, headers=headers)


# ---------------------------------------------------------------- a process of its own


class SimulatorProcess(_Endpoint):
    """A `Simulator` in a process of its own, so that its CPU time is not the client's.

    `models` and `seed` as of `Simulator`. It ends with the `with` block, or when this process ends.

    Raises MirrorError if it does not start.
    """

    def __init__(self, models: Iterable[SimulatedModel] = (), *, seed: int = 0) -> None:
        self._models = tuple(models)
        self._seed = seed
        self._process: subprocess.Popen[str] | None = None
        self._url = ""
        self.api_key = API_KEY

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The base URL for an OpenAI client; raises MirrorError while the process is not running."""
        if self._process is None:
            raise MirrorError("the simulator is not running; use it in a `with`, or call start() first")
        return self._url

    def start(self) -> None:
        """Start the process; returns when requests can be sent."""
        if self._process is not None:
            return
        entries = [{f.name: getattr(model, f.name) for f in fields(model)} for model in self._models]
        arguments = ["--models", json.dumps(entries, default=dict), "--seed", str(self._seed)]
        # A session of its own: an interrupt of the terminal or the notebook is not meant for it.
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "mirrorkit.simulator", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            said = json.loads(self._process.stdout.readline() if self._process.stdout else "")
        except BaseException as error:
            self.stop()
            if isinstance(error, ValueError):
                raise MirrorError("the simulator's process did not start; what it said is above") from error
            raise
        self._url, self.api_key = said["url"], said["api_key"]

    def stop(self) -> None:
        """End the process and wait until it has ended."""
        process, self._process = self._process, None
        if process is None:
            return
        with process:  # closes its stdin, at which it ends
            try:
                process.communicate(timeout=_PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until stdin closes or SIGTERM comes; prints one line of JSON, the URL and the key."""
    parser = argparse.ArgumentParser("python -m mirrorkit.simulator", description=main.__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 lets the system choose")
    parser.add_argument("--models", default="[]", help="a JSON list of objects, the fields of SimulatedModel")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    try:
        models = [SimulatedModel(**entry) for entry in json.loads(args.models)]
        simulator = Simulator(models, seed=args.seed, port=args.port, keep_requests=0)
    except (TypeError, ValueError) as error:
        parser.error(f"--models: {error}")
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: sys.exit(0))
    with simulator:
        sys.stdout.write(json.dumps({"url": simulator.url, "api_key": simulator.api_key}) + "\n")
        sys.stdout.flush()
        sys.stdin.buffer.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())
