"""OpenAI's shapes: what goes over the wire for a request, as pure functions."""

import base64
import json
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from mirrorkit.errors import ConfigError
from mirrorkit.simulator.answers import Answer, ToolCall, answer_to, ask_of, count_tokens, embedding_of
from mirrorkit.simulator.models import FAULTS, Fault, SimulatedModel

_ERRORS: Mapping[str, tuple[int, str, str | None, str]] = {
    "400": (400, "invalid_request_error", None, "The request is not valid for {model}."),
    "401": (401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided: {key}."),
    "429": (429, "rate_limit_error", "rate_limit_exceeded", "Rate limit reached for {model}."),
    "500": (500, "server_error", None, "The server had an error while processing your request."),
}


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
    `body` is sent as it is, whatever the shape: a mapping for an answer, or the events of a stream.

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
    body: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None

    def __post_init__(self) -> None:
        if self.fault is not None and self.fault not in FAULTS:
            raise ConfigError(f"unknown fault {self.fault!r}; take one of {', '.join(FAULTS)}")


@dataclass(frozen=True, slots=True)
class Turn:
    """One request to be answered; `id` is its own, `wording` as of `answer_to`."""

    model: SimulatedModel
    body: Mapping[str, Any]
    reply: Reply
    seed: int
    id: str
    wording: str = ""

    def usage(self, usual: dict[str, Any]) -> dict[str, Any] | None:
        """The usage to report: the usual one, the scripted one, or none."""
        if self.reply.usage is None:
            return usual
        return dict(self.reply.usage) if self.reply.usage else None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What goes over the wire: one body, or chunks, each with the tokens it takes to say it."""

    whole: Mapping[str, Any] | None = None
    chunks: Sequence[tuple[float, Mapping[str, Any]]] = ()
    tokens: int = 0
    closing: bytes = b""


def scripted(outcome: Outcome, reply: Reply) -> Outcome:
    """What goes over the wire: what the reply says exactly, else what it would be."""
    if reply.body is None:
        return outcome
    if isinstance(reply.body, Mapping):
        return Outcome(reply.body)
    return Outcome(chunks=[(0, event) for event in reply.body], closing=outcome.closing)


def answers_to(turn: Turn, limit: int = 1) -> tuple[int, list[Answer]]:
    """The tokens of the prompt, and the answers to it."""
    ask = ask_of(turn.body)
    count = turn.body.get("n") or 1
    if not isinstance(count, int) or not 1 <= count <= limit:
        raise ValueError(f"n is {count!r}; it must be a whole number from 1 to {limit}")
    if scripted := _scripted_answer(turn.reply):
        return count_tokens(ask.prompt), [scripted] * count
    return count_tokens(ask.prompt), [
        answer_to(turn.model, ask, turn.seed, choice, turn.wording) for choice in range(count)
    ]


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


def pieces(text: str) -> list[tuple[float, str]]:
    """A text word by word, the space before each kept, with the tokens each takes."""
    ends = [i for i in range(1, len(text)) if text[i].isspace() and not text[i - 1].isspace()]
    return [
        ((end - begin) / 4, text[begin:end])
        for begin, end in zip([0, *ends], [*ends, len(text)], strict=True)
        if begin < end
    ]


def cut_up(text: str, size: int = 12) -> Iterator[str]:
    """A text in pieces of a size, as JSON is streamed."""
    return (text[i : i + size] for i in range(0, len(text), size))


def chat(turn: Turn) -> Outcome:
    """The reply of /v1/chat/completions; raises as `ask_of` for a body of another shape."""
    asked, answers = answers_to(turn, limit=128)
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
        return Outcome(_with_usage({**head, "choices": choices}, usage), tokens=written)
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
    return Outcome(chunks=chunks, tokens=written, closing=b"data: [DONE]\n\n")


def _with_usage(body: dict[str, Any], usage: dict[str, Any] | None) -> dict[str, Any]:
    return body if usage is None else {**body, "usage": usage}


def _chat_choice(turn: Turn, index: int, answer: Answer) -> dict[str, Any]:
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
    turn: Turn, index: int, answer: Answer
) -> Iterator[tuple[float, dict[str, Any], str | None]]:
    yield 0, {"role": "assistant", "content": "" if answer.text is not None else None}, None
    for tokens, piece in pieces(answer.text or ""):
        yield tokens, {"content": piece}, None
    for j, call in enumerate(answer.tool_calls):
        function = {"name": call.name, "arguments": ""}
        start = {"index": j, "id": f"call_{turn.id}-{index}-{j}", "type": "function", "function": function}
        yield len(call.name) / 4, {"tool_calls": [start]}, None
        for piece in cut_up(call.arguments):
            delta = {"index": j, "function": {"arguments": piece}}
            yield len(piece) / 4, {"tool_calls": [delta]}, None
    yield 0, {}, answer.finish_reason


def responses(turn: Turn) -> Outcome:
    """The reply of /v1/responses; raises as `ask_of` for a body of another shape."""
    asked, (answer,) = answers_to(turn)
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
        return Outcome(done, tokens=written)
    events = [(0.0, {"type": "response.created", "response": began})]
    for i, item in enumerate(items):
        events += _item_events(i, item)
    events.append((0, {"type": f"response.{done['status']}", "response": done}))
    numbered = [(tokens, {**event, "sequence_number": i}) for i, (tokens, event) in enumerate(events)]
    return Outcome(chunks=numbered, tokens=written)


def _response(turn: Turn) -> dict[str, Any]:
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


def _response_items(turn: Turn, answer: Answer) -> Iterator[dict[str, Any]]:
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
                for tokens, piece in pieces(text)
            ),
            (0, {"type": "response.output_text.done", **at, "text": text, "logprobs": []}),
            (0, {"type": "response.content_part.done", **at, "part": _text_part(text)}),
        ]
    else:
        arguments, kind = item["arguments"], "response.function_call_arguments"
        started["arguments"] = ""
        inner = [
            *((len(p) / 4, {"type": f"{kind}.delta", **at, "delta": p}) for p in cut_up(arguments)),
            (0, {"type": f"{kind}.done", **at, "name": item["name"], "arguments": arguments}),
        ]
    return [
        (0, {"type": "response.output_item.added", "output_index": index, "item": started}),
        *inner,
        (0, {"type": "response.output_item.done", "output_index": index, "item": item}),
    ]


def embeddings(turn: Turn) -> Outcome:
    """The reply of /v1/embeddings; raises ValueError for a body of another shape."""
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
    return Outcome(_with_usage({"object": "list", "model": turn.model.name, "data": data}, usage))


def _packed(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def event_bytes(payload: Mapping[str, Any], *, broken: bool = False) -> bytes:
    """One server-sent event; a broken one ends halfway through its JSON."""
    data = json.dumps(payload)
    name = f"event: {payload['type']}\n" if "type" in payload else ""
    return f"{name}data: {data[: len(data) // 2] if broken else data}\n\n".encode()


def key_of(headers: Mapping[str, str]) -> str:
    """The key that a request was sent with, as the clients of OpenAI, Anthropic, Azure and Google send it."""
    names = ("Authorization", "x-api-key", "api-key", "x-goog-api-key")
    return next((headers[name] for name in names if name in headers), "").removeprefix("Bearer ")


def json_object(raw: bytes) -> dict[str, Any] | None:
    """The JSON object in the bytes, or None if they hold none."""
    try:
        body = json.loads(raw)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error reply: its status, its body, and its Retry-After in seconds."""

    status: int
    message: str
    kind: str = "invalid_request_error"
    code: str | None = None
    retry_after_s: float | None = None

    @property
    def body(self) -> dict[str, Any]:
        """The body that OpenAI's errors have."""
        return {"error": {"message": self.message, "type": self.kind, "param": None, "code": self.code}}

    @property
    def headers(self) -> dict[str, str]:
        """The Retry-After header, if there is one."""
        return {} if self.retry_after_s is None else {"Retry-After": f"{self.retry_after_s:g}"}


def scripted_refusal(reply: Reply, model: str, key: str) -> Refusal | None:
    """The error that a reply asks for by its fault or its status, or None."""
    if reply.fault not in _ERRORS and reply.status < 400:
        return None
    status, kind, code, message = _ERRORS.get(reply.fault or str(reply.status), _ERRORS["500"])
    status = status if reply.fault else reply.status
    after = reply.retry_after_s if reply.retry_after_s is not None else 1 if status == 429 else None
    return Refusal(status, reply.error_message or message.format(model=model, key=key), kind, code, after)
