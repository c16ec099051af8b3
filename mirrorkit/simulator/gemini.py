"""Google's shapes: what goes over the wire for a request to generateContent, as pure functions."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from mirrorkit.simulator.answers import Answer
from mirrorkit.simulator.wire import Outcome, Turn, answers_to, pieces

_FINISH_REASONS = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"}


def generate_content(turn: Turn) -> Outcome:
    """The reply of models/{model}:generateContent; raises as `ask_of` for a body of another shape."""
    usage, answer, written = _answered(turn)
    parts = list(_parts(answer))
    whole = _response(turn, parts, _FINISH_REASONS.get(answer.finish_reason, "OTHER"), usage)
    return Outcome(whole, tokens=written)


def stream_generate_content(turn: Turn) -> Outcome:
    """The reply of models/{model}:streamGenerateContent, as server-sent events."""
    usage, answer, written = _answered(turn)
    chunks: list[tuple[float, Mapping[str, Any]]] = []
    for part in _parts(answer):
        said = pieces(part["text"]) if "text" in part else []
        chunks += [(tokens, _response(turn, [{"text": text}])) for tokens, text in said]
        if "text" not in part:
            chunks.append((len(json.dumps(part)) / 4, _response(turn, [part])))
    last = _response(turn, [{"text": ""}], _FINISH_REASONS.get(answer.finish_reason, "OTHER"), usage)
    return Outcome(chunks=[*chunks, (0, last)], tokens=written)


def _answered(turn: Turn) -> tuple[dict[str, Any] | None, Answer, int]:
    asked, (answer,) = answers_to(replace(turn, body=_as_chat(turn.body)))
    thought = turn.reply.reasoning_tokens
    usage = turn.usage(
        {
            "promptTokenCount": asked,
            "candidatesTokenCount": answer.tokens,
            "totalTokenCount": asked + answer.tokens + thought,
            "cachedContentTokenCount": turn.reply.cached_tokens,
            "thoughtsTokenCount": thought,
        }
    )
    return usage, answer, answer.tokens + thought


def _response(
    turn: Turn, parts: list[dict[str, Any]], finish: str | None = None, usage: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    head = {"candidates": [candidate], "modelVersion": turn.model.name, "responseId": turn.id}
    return head if usage is None else {**head, "usageMetadata": usage}


def _parts(answer: Answer) -> Iterator[dict[str, Any]]:
    if answer.text is not None:
        yield {"text": answer.text}
    for call in answer.tool_calls:
        yield {"functionCall": {"name": call.name, "args": json.loads(call.arguments or "{}")}}


def _as_chat(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body of the chat request that asks the same."""
    system = body.get("system_instruction") or body.get("systemInstruction")
    config = body.get("generationConfig") or {}
    wanted = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    tools = [
        declared
        for tool in body.get("tools") or ()
        for declared in tool.get("function_declarations") or tool.get("functionDeclarations") or ()
    ]
    names = wanted.get("allowed_function_names") or wanted.get("allowedFunctionNames")
    contents = ([{"role": "system", **system}] if system else []) + list(body.get("contents") or ())
    return {
        "messages": [
            {"role": each.get("role"), "content": [p for p in each.get("parts") or () if "text" in p]}
            for each in contents
        ],
        "tools": [{"type": "function", "function": tool} for tool in tools],
        "tool_choice": {"function": {"name": names[0]}} if names else None,
        "max_tokens": config.get("max_output_tokens") or config.get("maxOutputTokens"),
    }
