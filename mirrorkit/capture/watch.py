"""One call watched from send to last byte: both sides, sync and async, in the same way."""

import asyncio
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

from mirrorkit.capture.anthropic_messages import MessageStream, as_chat
from mirrorkit.capture.observe import (
    Seen,
    Usage,
    asked_to_wait_s,
    content_of,
    field_of,
    is_timeout,
    joined,
    name_of,
    text_of,
    usage_of,
)
from mirrorkit.records import Status

# a caller who brings a key of their own is served by a copy of the deployment, with an id of its own
_ID_BEFORE = "original_model_id"
_CANCELS = (asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit)


class Watch:
    """Watches one call from send to last byte; both sides, sync and async, are watched the same way.

    `metadata` is the dict given to the Router with the call: it writes there which deployment it picked and
    how often it retried, on success and on failure. Nothing here raises: of a shape that it cannot read,
    `on_fault` hears, and what is known is seen.
    """

    def __init__(
        self,
        metadata: Mapping[str, Any],
        on_fault: Callable[[BaseException], None] = lambda _: None,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self._metadata = metadata
        self._on_fault = on_fault
        self._clock = clock
        self.started = clock()
        self._first: float | None = None
        self._texts: dict[int, list[str]] = {}
        self._tools: dict[tuple[int, int], dict[str, str]] = {}
        self._finish: str | None = None
        self._usage: Usage | None = None
        self._model: str | None = None
        self._final: Any = None
        self._message: MessageStream | None = None

    @property
    def picked(self) -> str | None:
        """The id of the deployment last picked in the requested group, once the Router has picked one."""
        info = self._model_info
        picked = info.get(_ID_BEFORE, info.get("id"))
        return str(picked) if picked is not None else None

    @property
    def _model_info(self) -> Mapping[str, Any]:
        info = self._metadata.get("model_info")
        return info if isinstance(info, Mapping) else {}

    def chunk(self, chunk: Any) -> None:
        """Take note of one chunk of a stream, as it passes."""
        try:
            self._note(chunk)
        except Exception as fault:
            self._on_fault(fault)

    def _note(self, chunk: Any) -> None:
        if isinstance(chunk, bytes | str):
            self._note_bytes(chunk)
            return
        choices = field_of(chunk, "choices")
        if choices is None and isinstance(kind := field_of(chunk, "type"), str):
            self._event(str(getattr(kind, "value", kind)), chunk)
            return
        self._model = field_of(chunk, "model") or self._model
        if (usage := field_of(chunk, "usage")) is not None:
            self._usage = usage_of(usage) or self._usage
        for choice in choices or ():
            delta, index = field_of(choice, "delta"), field_of(choice, "index") or 0
            self._finish = field_of(choice, "finish_reason") or self._finish
            text = text_of(field_of(delta, "content")) or text_of(field_of(delta, "refusal"))
            if text:
                self._texts.setdefault(index, []).append(text)
            pieces = field_of(delta, "tool_calls") or ()
            for piece in pieces:
                self._note_tool(index, piece)
            if self._first is None and (text or pieces or field_of(delta, "reasoning_content")):
                self._first = self._clock()

    def _note_bytes(self, chunk: bytes | str) -> None:
        # the streams of Anthropic's messages are its own bytes
        self._message = self._message or MessageStream()
        self._message.feed(chunk)
        if self._first is None and self._message.begun:
            self._first = self._clock()

    def _note_tool(self, choice: int, piece: Any) -> None:
        function, at = field_of(piece, "function"), field_of(piece, "index")
        name = text_of(field_of(function, "name")) or ""
        if at is None:
            # some providers send whole calls without an index: a name begins the next
            at = sum(1 for known, _ in self._tools if known == choice) - (0 if name else 1)
        call = self._tools.setdefault((choice, max(at, 0)), {"name": "", "arguments": ""})
        call["name"] += name
        call["arguments"] += text_of(field_of(function, "arguments")) or ""

    def _event(self, kind: str, event: Any) -> None:
        # the responses API streams typed events; the last one holds the whole answer
        if kind.endswith(".delta"):
            if self._first is None:
                self._first = self._clock()
            if kind == "response.output_text.delta":
                self._texts.setdefault(0, []).append(text_of(field_of(event, "delta")) or "")
        elif kind in ("response.completed", "response.incomplete", "response.failed"):
            self._final = field_of(event, "response")

    def answered(self, answer: Any) -> Seen:
        """The call gave a whole answer."""
        return self._safely("ok", lambda: self._seen("ok", answer, **content_of(answer)))

    def streamed(self, stream: Any) -> Seen:
        """The stream came to its end."""
        if self._message is not None and (error := self._message.error) is not None:
            return self.failed(error, stream)
        return self._safely("ok", lambda: self._stream_seen("ok", stream))

    def abandoned(self, stream: Any) -> Seen:
        """The caller stopped reading the stream."""
        return self._safely("abandoned", lambda: self._stream_seen("abandoned", stream))

    def failed(self, error: BaseException, stream: Any = None) -> Seen:
        """The call, or the stream half-way, raised."""
        if isinstance(error, _CANCELS):
            status: Status = "cancelled"
        else:
            status = "timeout" if is_timeout(error) else "error"
        return self._safely(status, lambda: self._stream_seen(status, stream, error=error), error)

    def _safely(self, status: Status, see: Callable[[], Seen], error: BaseException | None = None) -> Seen:
        try:
            return see()
        except Exception as fault:
            self._on_fault(fault)
            return Seen(status, self._clock() - self.started, error=error, deployment_id=self.picked)

    def _stream_seen(self, status: Status, stream: Any, error: BaseException | None = None) -> Seen:
        whole = self._final if self._message is None else as_chat(self._message.message)
        if whole is not None:
            content = content_of(whole)
        else:
            texts = ["".join(parts) for _, parts in sorted(self._texts.items())]
            content = {
                "output": joined(texts),
                "tool_calls": tuple(call for _, call in sorted(self._tools.items())),
                "finish_reason": self._finish,
                "usage": self._usage,
            }
        content["model"] = content.get("model") or self._model
        return self._seen(status, stream, error=error, streamed=stream is not None, **content)

    def _seen(self, status: Status, answer: Any, error: BaseException | None = None, **content: Any) -> Seen:
        now = self._clock()
        hidden = field_of(answer, "_hidden_params")
        hidden = hidden if isinstance(hidden, Mapping) else {}
        headers = hidden.get("additional_headers")
        headers = headers if isinstance(headers, Mapping) else {}
        overhead_ms = hidden.get("litellm_overhead_time_ms")
        fallbacks = headers.get("x-litellm-attempted-fallbacks")
        picked, answered_by = self.picked, hidden.get("model_id")
        if answered_by is not None and answered_by == self._model_info.get("id"):
            answered_by = picked
        provider = hidden.get("custom_llm_provider") or name_of(field_of(error, "llm_provider"))
        content["model"] = content.get("model") or _model_of(error, provider)
        return Seen(
            status=status,
            latency_s=now - self.started,
            ttft_s=None if self._first is None else self._first - self.started,
            error=error,
            attempts=self._attempts(headers, error),
            fell_back=self._fell_back(fallbacks, error),
            cache_hit=hidden.get("cache_hit") is True if answer is not None else None,
            litellm_model=hidden.get("litellm_model_name") or self._metadata.get("deployment"),
            provider=provider,
            deployment_id=str(answered_by)
            if answered_by
            else field_of(error, "failed_deployment_id") or picked,
            overhead_s=overhead_ms / 1_000 if isinstance(overhead_ms, int | float) else None,
            call_id=hidden.get("litellm_call_id"),
            response_cost=hidden.get("response_cost"),
            retry_after_s=asked_to_wait_s(error),
            **content,
        )

    def _attempts(self, headers: Mapping[str, Any], error: BaseException | None) -> int | None:
        # of the group that was asked for, and of the one that answered
        own = _count(self._metadata.get("attempted_retries"))
        last = _count(headers.get("x-litellm-attempted-retries"))
        if error is not None and self._fallback_failed():
            # how often the fallback was retried is not told
            return None if own else 2
        if fallbacks := _count(headers.get("x-litellm-attempted-fallbacks")):
            return 1 + (own or 0) + fallbacks + (last or 0)
        retries = last if own is None else own
        # the Router counts none where it does not retry (sync responses): it tried if it picked
        return 1 + (retries or 0) if retries is not None or self.picked is not None else None

    def _fallback_failed(self) -> bool:
        """Whether a failed call was tried on another group too: then LiteLLM counts one failure more."""
        failures = _count(self._metadata.get("request_retry_count"))
        retries = _count(self._metadata.get("attempted_retries"))
        return failures is not None and retries is not None and failures > (retries + 1 if retries else 0)

    def _fell_back(self, fallbacks: Any, error: BaseException | None) -> bool | None:
        if isinstance(fallbacks, int):
            return fallbacks > 0
        if error is not None and self._fallback_failed():
            return True
        failed, picked = field_of(error, "failed_deployment_id"), self.picked
        if failed is not None and picked is not None:
            return bool(failed != picked)
        return None if error is not None else False


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _model_of(error: BaseException | None, provider: str | None) -> str | None:
    # LiteLLM's errors name it with its provider or without, as the call was awaited or not
    model = name_of(field_of(error, "model"))
    return model if model is None else model.removeprefix(f"{provider}/")
