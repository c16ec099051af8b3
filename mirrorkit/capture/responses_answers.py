"""Answers of the Responses API, whole and as the events of a stream."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from mirrorkit.capture.answer import Answer, finish_of
from mirrorkit.capture.failures import EmptyStream, ResponseFailed, StreamError
from mirrorkit.capture.fields import field_of, name_of, text_of
from mirrorkit.capture.media import address_of
from mirrorkit.capture.usage import usage_of

# What the caller is to do, by the type of the item: where it is named, and what it takes.
_CALLS: Mapping[str, tuple[str | None, str]] = {
    "function_call": ("name", "arguments"),
    "custom_tool_call": ("name", "input"),
    "mcp_approval_request": ("name", "arguments"),
    "computer_call": (None, "action"),
    "local_shell_call": (None, "action"),
    "shell_call": (None, "action"),
    "apply_patch_call": (None, "operation"),
}
_LAST_EVENTS = ("response.completed", "response.incomplete", "response.failed")
_TEXT_EVENTS = ("response.output_text.delta", "response.refusal.delta")


def response_answer(response: Any, streamed: bool = False) -> Answer:
    """What a whole response says, or the one at the end of a stream."""
    items = list(field_of(response, "output") or ())
    parts = [
        part
        for item in items
        if field_of(item, "type") == "message"
        for part in field_of(item, "content") or ()
    ]
    texts = [text for part in parts if (text := _text(part, "text") or _text(part, "transcript"))]
    refusals = [text for part in parts if (text := _text(part, "refusal"))]
    drawn = [item for item in items if field_of(item, "type") == "image_generation_call"]
    calls = tuple(_calls_in(items))
    status = field_of(response, "status")
    status = getattr(status, "value", status)
    reason = field_of(field_of(response, "incomplete_details"), "reason") or (
        status if status in ("completed", "incomplete") else None
    )
    return Answer(
        texts=("".join(texts or refusals),),
        tool_calls=calls,
        reasoning="".join(_reasoning_in(items)),
        finish_reason=finish_of(reason, bool(calls)),
        has_media=bool(drawn) or any("audio" in str(field_of(part, "type")) for part in parts),
        media=tuple(filter(None, map(address_of, drawn))),
        is_refusal=bool(refusals) and not texts,
        is_pending=status in ("queued", "in_progress"),
        model=name_of(field_of(response, "model")),
        usage=usage_of(field_of(response, "usage"), is_certain=not streamed),
        failure=_failure(response, status),
    )


def _text(part: Any, name: str) -> str:
    return value if isinstance(value := field_of(part, name), str) else ""


def _calls_in(items: list[Any]) -> Iterator[Mapping[str, str | None]]:
    for item in items:
        kind = str(field_of(item, "type"))
        if kind in _CALLS:
            name, arguments = _CALLS[kind]
            given = text_of(_plain(field_of(item, arguments)))
            yield {
                "name": kind.removesuffix("_call") if name is None else text_of(field_of(item, name)),
                "arguments": given,
            }


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


def _reasoning_in(items: list[Any]) -> Iterator[str]:
    for item in items:
        if field_of(item, "type") == "reasoning":
            for part in (*(field_of(item, "summary") or ()), *(field_of(item, "content") or ())):
                yield _text(part, "text")


def _failure(response: Any, status: Any) -> ResponseFailed | None:
    if status not in ("failed", "cancelled"):
        return None
    error = field_of(response, "error")
    words = [str(word) for name in ("code", "message") if (word := field_of(error, name))]
    return ResponseFailed(": ".join(words) or f"the response has the status {status!r}, and gives no error")


class ResponseEvents:
    """A response put together from the events of its stream, the last of which holds it whole."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._last: Any = None
        self.begun = False
        """whether anything of the answer itself has come"""

    def take(self, kind: str, event: Mapping[str, Any]) -> None:
        """Take the next event, by its type and its fields."""
        if kind.endswith(".delta"):
            self.begun = True
            if kind in _TEXT_EVENTS:
                self._texts.append(text_of(event.get("delta")) or "")
        elif kind in _LAST_EVENTS:
            self._last = event.get("response")

    def read(self) -> Answer:
        """The response, as far as it has come."""
        if self._last is not None:
            return response_answer(self._last, streamed=True)
        return Answer(texts=("".join(self._texts),))

    def read_stream(self) -> Answer:
        """The response of a stream that has come to its end, which is none without its last event."""
        if self._last is not None:
            return self.read()
        failure = StreamError("the stream ended before its response did") if self.begun else EmptyStream()
        return replace(self.read(), failure=failure)
