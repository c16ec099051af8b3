"""Anthropic's messages, whole and as events of a stream, in the shape of chat answers."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

_FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def is_message(answer: Any) -> bool:
    """Whether an answer is a message of Anthropic's API."""
    return isinstance(answer, Mapping) and answer.get("type") == "message"


def as_chat(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message as the chat answer that says the same.

    >>> answer = as_chat({"content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn"})
    >>> answer["choices"][0]["message"]["content"], answer["choices"][0]["finish_reason"]
    ('Hi', 'stop')
    """
    blocks = [block for block in message.get("content") or () if isinstance(block, Mapping)]
    texts = [block.get("text") for block in blocks if block.get("type") == "text"]
    calls = [
        {"function": {"name": block.get("name"), "arguments": _arguments(block)}}
        for block in blocks
        if block.get("type") == "tool_use"
    ]
    stop = message.get("stop_reason")
    content = "".join(text for text in texts if isinstance(text, str)) if texts else None
    choice = {
        "message": {"content": content, "tool_calls": calls},
        "finish_reason": _FINISH_REASONS.get(stop, stop) if isinstance(stop, str) else None,
    }
    return {"model": message.get("model"), "choices": [choice], "usage": _usage(message.get("usage"))}


def _arguments(block: Mapping[str, Any]) -> str:
    given = block.get("input")
    return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)


def _usage(usage: Any) -> dict[str, Any] | None:
    """Usage in the words of chat answers, whose input counts what the cache had: Anthropic's does not."""
    if not isinstance(usage, Mapping):
        return None
    given, made = usage.get("input_tokens"), usage.get("output_tokens")
    if not isinstance(given, int) or not isinstance(made, int):
        return None
    read, written = (
        value if isinstance(value := usage.get(f"cache_{way}_input_tokens"), int) else 0
        for way in ("read", "creation")
    )
    return {
        "prompt_tokens": given + read + written,
        "completion_tokens": made,
        "prompt_tokens_details": {"cached_tokens": read},
        "cache_creation_input_tokens": written,
    }


class MessageStream:
    """A message put together from the bytes of its stream, wherever these are cut."""

    def __init__(self) -> None:
        self._rest = b""
        self._blocks: dict[Any, dict[str, Any]] = {}
        self._head: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self.begun = False
        """whether anything of the answer itself has come"""

    def feed(self, chunk: bytes | str) -> None:
        """Take the next bytes."""
        self._rest += chunk.encode() if isinstance(chunk, str) else chunk
        *lines, self._rest = self._rest.replace(b"\r\n", b"\n").split(b"\n")
        for event in _events(lines):
            self._take(event)

    @property
    def message(self) -> dict[str, Any]:
        """What has come of the message so far."""
        return {**self._head, "content": list(self._blocks.values()), "usage": self._usage or None}

    def _take(self, event: Mapping[str, Any]) -> None:
        if event.get("type") == "message_start" and isinstance(message := event.get("message"), Mapping):
            self._head |= message
            self._count(message.get("usage"))
        elif event.get("type") == "message_delta":
            self._head |= _mapping(event.get("delta"))
            self._count(event.get("usage"))
        elif event.get("type") == "content_block_start":
            block = dict(_mapping(event.get("content_block")))
            # the arguments of a tool come as text, after an empty object
            self._blocks[event.get("index")] = block | (
                {"input": ""} if block.get("type") == "tool_use" else {}
            )
        elif event.get("type") == "content_block_delta":
            self._add(
                self._blocks.setdefault(event.get("index"), {"type": "text"}), _mapping(event.get("delta"))
            )

    def _add(self, block: dict[str, Any], delta: Mapping[str, Any]) -> None:
        self.begun = True
        for name, piece in (("text", delta.get("text")), ("input", delta.get("partial_json"))):
            if isinstance(piece, str):
                block[name] = str(block.get(name) or "") + piece

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
