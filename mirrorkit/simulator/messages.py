"""Anthropic's shapes: what goes over the wire for a request to /v1/messages, as pure functions."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mirrorkit.simulator.answers import Answer
from mirrorkit.simulator.wire import Outcome, Turn, answers_to, cut_up, pieces

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


def messages(turn: Turn) -> Outcome:
    """The reply of /v1/messages; raises as `ask_of` for a body of another shape."""
    asked, (answer,) = answers_to(turn)
    written = answer.tokens + turn.reply.reasoning_tokens
    cached = turn.reply.cached_tokens
    # Anthropic counts what its cache had apart from the other input
    usage = turn.usage(
        {
            "input_tokens": max(0, asked - cached),
            "cache_read_input_tokens": cached,
            "cache_creation_input_tokens": 0,
            "output_tokens": written,
        }
    )
    head: dict[str, Any] = {
        "id": f"msg_{turn.id}",
        "type": "message",
        "role": "assistant",
        "model": turn.model.name,
        "stop_sequence": None,
    }
    stop = _STOP_REASONS.get(answer.finish_reason, answer.finish_reason)
    if not turn.body.get("stream"):
        whole = {**head, "content": list(_blocks(turn, answer)), "stop_reason": stop, "usage": usage or {}}
        return Outcome(whole, tokens=written)
    begun = {**head, "content": [], "stop_reason": None, "usage": {**(usage or {}), "output_tokens": 1}}
    last: dict[str, Any] = {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}}
    if usage is None:
        begun["usage"] = {}
    else:
        last["usage"] = {"output_tokens": usage.get("output_tokens")}
    events: list[tuple[float, Mapping[str, Any]]] = [(0, {"type": "message_start", "message": begun})]
    for index, block in enumerate(_blocks(turn, answer)):
        events += _block_events(index, block)
    return Outcome(chunks=[*events, (0, last), (0, {"type": "message_stop"})], tokens=written)


def _blocks(turn: Turn, answer: Answer) -> Iterator[dict[str, Any]]:
    if answer.text is not None:
        yield {"type": "text", "text": answer.text}
    for n, call in enumerate(answer.tool_calls):
        arguments = json.loads(call.arguments or "{}")
        yield {"type": "tool_use", "id": f"toolu_{turn.id}-{n}", "name": call.name, "input": arguments}


def _block_events(index: int, block: Mapping[str, Any]) -> Iterator[tuple[float, Mapping[str, Any]]]:
    is_text = block["type"] == "text"
    begun = {**block, **({"text": ""} if is_text else {"input": {}})}
    yield 0, {"type": "content_block_start", "index": index, "content_block": begun}
    parts = (
        pieces(block["text"]) if is_text else [(len(p) / 4, p) for p in cut_up(json.dumps(block["input"]))]
    )
    for tokens, part in parts:
        delta = {"type": "text_delta", "text": part}
        if not is_text:
            delta = {"type": "input_json_delta", "partial_json": part}
        yield tokens, {"type": "content_block_delta", "index": index, "delta": delta}
    yield 0, {"type": "content_block_stop", "index": index}
