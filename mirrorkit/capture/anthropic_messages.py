"""Anthropic's messages, whole and as events of a stream, in the shape of chat answers."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mirrorkit.capture.failures import EmptyStream, StreamError


def is_message(answer: Any) -> bool:
    """Whether an answer is a message of Anthropic's API."""
    return isinstance(answer, Mapping) and answer.get("type") == "message"


def as_chat(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message as the chat answer that says the same.

    >>> answer = as_chat({"content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn"})
    >>> answer["choices"][0]["message"]["content"], answer["choices"][0]["finish_reason"]
    ('Hi', 'end_turn')
    """
    blocks = [block for block in message.get("content") or () if isinstance(block, Mapping)]
    texts = [block.get("text") for block in blocks if block.get("type") == "text"]
    calls = [
        {"function": {"name": block.get("name"), "arguments": _arguments(block)}}
        for block in blocks
        if block.get("type") == "tool_use"
    ]
    thoughts = [block.get("thinking") for block in blocks if block.get("type") == "thinking"]
    said = {
        "content": "".join(text for text in texts if isinstance(text, str)) if texts else None,
        "reasoning_content": "".join(text for text in thoughts if isinstance(text, str)),
        "tool_calls": calls,
    }
    choice = {"message": said, "finish_reason": message.get("stop_reason")}
    return {"model": message.get("model"), "choices": [choice], "usage": _usage(message.get("usage"))}


def _arguments(block: Mapping[str, Any]) -> str:
    given = block.get("input")
    return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)


def _usage(usage: Any) -> dict[str, Any] | None:
    """Usage in the words of chat answers, whose input counts what the cache had: Anthropic's does not."""
    if not isinstance(usage, Mapping):
        return None
    given: Any = usage.get("input_tokens")
    made: Any = usage.get("output_tokens")
    if not all(type(count) is int and count >= 0 for count in (given, made)):
        return None
    counts = {
        way: count
        for way in ("read", "creation")
        if isinstance(count := usage.get(f"cache_{way}_input_tokens"), int)
    }
    chat = {"prompt_tokens": given + sum(counts.values()), "completion_tokens": made}
    if not counts:
        return chat
    # what is kept for an hour costs more than what is kept for five minutes
    lifetimes = usage.get("cache_creation")
    kept = {"cache_creation_token_details": dict(lifetimes)} if isinstance(lifetimes, Mapping) else {}
    return {
        **chat,
        "prompt_tokens_details": {"cached_tokens": counts.get("read", 0), **kept},
        "cache_creation_input_tokens": counts.get("creation", 0),
    }


class MessageStream:
    """A message put together from the bytes of its stream, wherever these are cut."""

    def __init__(self) -> None:
        self._rest = [b""]
        self._blocks: dict[str, dict[str, Any]] = {}
        self._head: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._is_whole = False
        self._error: StreamError | None = None
        self.begun = False
        """whether anything of the answer itself has come"""

    def feed(self, chunk: bytes | str) -> None:
        """Take the next bytes."""
        chunk = chunk.encode() if isinstance(chunk, str) else chunk
        self._rest.append(chunk)
        if b"\n" in chunk:
            *lines, rest = b"".join(self._rest).split(b"\n")
            self._rest = [rest]
            for event in _events(lines):
                self._take(event)

    @property
    def message(self) -> dict[str, Any]:
        """What has come of the message so far."""
        # what its beginning says of its length is a placeholder
        usage = self._usage if self._head.get("stop_reason") else None
        return {**self._head, "content": list(self._blocks.values()), "usage": usage}

    @property
    def error(self) -> StreamError | None:
        """Why a stream that has come to its end is no answer; None if it is one.

        LiteLLM passes on what a provider says amid a stream, as that it is overloaded, and raises nothing.
        """
        if self._error is None and not self._is_whole:
            begun = self._head or self._blocks
            return StreamError("the stream ended before its message did") if begun else EmptyStream()
        return self._error

    def _take(self, event: Mapping[str, Any]) -> None:
        kind = event.get("type")
        if kind == "message_start":
            message = _mapping(event.get("message"))
            self._head |= message
            usage = _mapping(message.get("usage"))
            # LiteLLM begins the streams of other providers with counts of 0, which nobody counted
            if any(isinstance(count, int) and count > 0 for count in usage.values()):
                self._count(usage)
        elif kind == "message_delta":
            self._head |= _mapping(event.get("delta"))
            self._count(event.get("usage"))
        elif kind == "content_block_start":
            self._blocks[str(event.get("index"))] = dict(_mapping(event.get("content_block")))
        elif kind == "content_block_delta":
            block = self._blocks.setdefault(str(event.get("index")), {"type": "text"})
            self._add(block, _mapping(event.get("delta")))
        elif kind == "message_stop":
            self._is_whole = True
        elif kind == "error":
            said = _mapping(event.get("error"))
            self._error = StreamError(f"{said.get('type')}: {said.get('message')}")

    def _add(self, block: dict[str, Any], delta: Mapping[str, Any]) -> None:
        self.begun = True
        if isinstance(text := delta.get("text"), str):
            block["text"] = str(block.get("text") or "") + text
        if isinstance(thought := delta.get("thinking"), str):
            block["thinking"] = str(block.get("thinking") or "") + thought
        if isinstance(part := delta.get("partial_json"), str):
            # the arguments of a tool come as text, after an empty object
            before = block.get("input")
            block["input"] = (before if isinstance(before, str) else "") + part

    def _count(self, usage: Any) -> None:
        # the last count of each kind is the whole; a provider may leave out what it has said before
        self._usage |= {name: count for name, count in _mapping(usage).items() if count is not None}


def _events(lines: list[bytes]) -> Iterator[Mapping[str, Any]]:
    for line in lines:
        if line.startswith(b"data:"):
            try:
                event = json.loads(line[len(b"data:") :])
            except ValueError:  # not an event: what comes after it may be one
                continue
            yield _mapping(event)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
