"""One call watched from send to last byte: both sides, sync and async, in the same way."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from time import perf_counter
from typing import Any

from mirrorkit.capture.answer import Answer
from mirrorkit.capture.anthropic_messages import MessageStream, as_chat
from mirrorkit.capture.chat_answers import ChatAnswer, chat_answer
from mirrorkit.capture.fields import field_of, name_of, values_of
from mirrorkit.capture.observe import Seen, answer_of, asked_to_wait_s, is_timeout
from mirrorkit.capture.responses_answers import ResponseEvents
from mirrorkit.capture.usage import StreamUsage, cost_of
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
        self._last = self.started
        self._chat = ChatAnswer()
        self._usage = StreamUsage()
        self._message: MessageStream | None = None
        self._response: ResponseEvents | None = None

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
            has_begun = self._note(chunk)
        except Exception as fault:
            self._on_fault(fault)
            return
        if has_begun and self._first is None:
            self._first = self._clock()

    def _note(self, chunk: Any) -> bool:
        """Take note of a chunk; whether anything of the answer itself has come by now."""
        if isinstance(chunk, bytes | str):
            # the streams of Anthropic's messages are its own bytes
            self._message = self._message or MessageStream()
            self._message.feed(chunk)
            return self._message.begun
        values = values_of(chunk)
        kind = values.get("type")
        kind = getattr(kind, "value", kind)
        if values.get("choices") is None and isinstance(kind, str):
            # the responses API streams typed events
            self._response = self._response or ResponseEvents()
            self._response.take(kind, values)
            return self._response.begun
        hidden = _hidden(chunk)
        self._usage.take(values, hidden)
        self._chat.take_chunk(values, hidden)
        return self._chat.begun

    def answered(self, answer: Any) -> Seen:
        """The call gave a whole answer."""
        return self._safely("ok", lambda: self._ended(answer, answer_of(answer)))

    def streamed(self, stream: Any) -> Seen:
        """The stream came to its end."""
        return self._safely("ok", lambda: self._ended(stream, self._stream_answer(stream), streamed=True))

    def abandoned(self, stream: Any) -> Seen:
        """The caller stopped reading the stream."""
        return self._safely(
            "abandoned", lambda: self._seen("abandoned", stream, self._so_far(), streamed=True)
        )

    def failed(self, error: BaseException, stream: Any = None) -> Seen:
        """The call, or the stream half-way, raised."""
        if isinstance(error, _CANCELS):
            status: Status = "cancelled"
        else:
            status = "timeout" if is_timeout(error) else "error"
        streamed = stream is not None
        return self._safely(
            status, lambda: self._seen(status, stream, self._so_far(), error=error, streamed=streamed), error
        )

    def _safely(self, status: Status, see: Callable[[], Seen], error: BaseException | None = None) -> Seen:
        self._last = self._clock()
        try:
            return see()
        except Exception as fault:
            self._on_fault(fault)
            return Seen(status, self._last - self.started, error=error, deployment_id=self.picked)

    def _stream_answer(self, stream: Any) -> Answer:
        """What a stream that has come to its end says, or why it is no answer."""
        if self._message is not None:
            return replace(self._so_far(), failure=self._message.error)
        if self._response is not None:
            return self._response.read_stream()
        # a fallback has chunks of its own, which LiteLLM does not show
        kept = None if self._served_by_fallback(stream) else field_of(stream, "chunks")
        return self._chat.read_stream(self._usage.read(kept if isinstance(kept, list) else ()))

    def _so_far(self) -> Answer:
        """What a stream that has not come to its end has said."""
        if self._message is not None:
            return chat_answer(as_chat(self._message.message), streamed=True)
        if self._response is not None:
            return self._response.read()
        # what a provider says of its usage at the beginning is no count of it
        return self._chat.read(self._usage.read() if self._chat.has_finished else None)

    def _served_by_fallback(self, stream: Any) -> bool:
        return bool(_count(_headers(stream).get("x-litellm-attempted-fallbacks")))

    def _ended(self, source: Any, answer: Answer, streamed: bool = False) -> Seen:
        """Of a call that raised nothing, which may have failed all the same, or not have been made yet."""
        if answer.failure is not None:
            return self._seen("error", source, answer, error=answer.failure, streamed=streamed)
        return self._seen("unknown" if answer.is_pending else "ok", source, answer, streamed=streamed)

    def _seen(
        self,
        status: Status,
        source: Any,
        answer: Answer,
        error: BaseException | None = None,
        streamed: bool = False,
    ) -> Seen:
        hidden, headers = _hidden(source), _headers(source)
        overhead_ms = hidden.get("litellm_overhead_time_ms")
        fallbacks = headers.get("x-litellm-attempted-fallbacks")
        picked, answered_by = self.picked, hidden.get("model_id")
        if answered_by is not None and answered_by == self._model_info.get("id"):
            answered_by = picked
        provider = hidden.get("custom_llm_provider") or name_of(field_of(error, "llm_provider"))
        litellm_model = hidden.get("litellm_model_name") or self._metadata.get("deployment")
        return Seen(
            status=status,
            latency_s=self._last - self.started,
            ttft_s=None if self._first is None else self._first - self.started,
            error=error,
            attempts=self._attempts(headers, error),
            fell_back=self._fell_back(fallbacks, error),
            cache_hit=hidden.get("cache_hit") is True if source is not None else None,
            model=answer.model or _model_of(error, provider, litellm_model),
            litellm_model=litellm_model,
            provider=provider,
            deployment_id=str(answered_by)
            if answered_by
            else field_of(error, "failed_deployment_id") or picked,
            overhead_s=overhead_ms / 1_000 if isinstance(overhead_ms, int | float) else None,
            call_id=hidden.get("litellm_call_id"),
            response_cost=cost_of(hidden.get("response_cost")),
            answer=answer,
            streamed=streamed,
            retry_after_s=asked_to_wait_s(error),
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


def _hidden(source: Any) -> Mapping[str, Any]:
    hidden = field_of(source, "_hidden_params")
    return hidden if isinstance(hidden, Mapping) else {}


def _headers(source: Any) -> Mapping[str, Any]:
    headers = _hidden(source).get("additional_headers")
    return headers if isinstance(headers, Mapping) else {}


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _model_of(error: BaseException | None, provider: str | None, litellm_model: Any) -> str | None:
    # LiteLLM's errors name it with its provider or without, as the call was awaited or not
    model = name_of(field_of(error, "model"))
    if model is None:
        return None
    for prefix in (provider, str(litellm_model or "").partition("/")[0]):
        model = model.removeprefix(f"{prefix}/")
    return model
