"""A LiteLLM answer, stream or exception becomes a Call; the only reader of LiteLLM's shapes."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import litellm

from mirrorkit.records import Call, Status, UsageSource

_TIMEOUTS = (litellm.Timeout, asyncio.TimeoutError, TimeoutError)
_CANCELS = (asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one side said, before it is priced and made safe to record: plain values, no LiteLLM objects.

    Taken at the moment the call settles, so that nothing the caller does to the answer later shows here.
    """

    status: Status
    latency_s: float | None = None
    ttft_s: float | None = None
    error: BaseException | None = None
    attempts: int | None = None
    fell_back: bool | None = None
    cache_hit: bool | None = None
    model: str | None = None
    litellm_model: str | None = None
    provider: str | None = None
    deployment_id: str | None = None
    overhead_s: float | None = None
    call_id: str | None = None
    usage: "Usage | None" = None
    response_cost: float | None = None
    output: str | None = None
    tool_calls: Sequence[Mapping[str, Any]] = ()
    finish_reason: str | None = None
    streamed: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the provider counted them, or as they were estimated."""

    input_tokens: int
    output_tokens: int
    cached_input_tokens: int | None = None
    reasoning_tokens: int | None = None
    source: UsageSource = "provider"
    raw: Any = field(default=None, repr=False)


class Watch:
    """Watches one call from send to last byte; both sides, sync and async, are watched the same way.

    `metadata` is the dict given to the Router with the call: it writes there which deployment it picked and
    how often it retried, on success and on failure.
    """

    def __init__(self, metadata: Mapping[str, Any], clock: Callable[[], float] = perf_counter) -> None:
        self._metadata = metadata
        self._clock = clock
        self.started = clock()
        self._first: float | None = None
        self._texts: dict[int, list[str]] = {}
        self._tools: dict[tuple[int, int], dict[str, str]] = {}
        self._finish: str | None = None
        self._usage: Usage | None = None
        self._model: str | None = None
        self._final: Any = None

    @property
    def picked(self) -> str | None:
        """The id of the deployment last picked in the requested group, once the Router has picked one."""
        info = self._metadata.get("model_info")
        picked = info.get("id") if isinstance(info, Mapping) else None
        return str(picked) if picked is not None else None

    def chunk(self, chunk: Any) -> None:
        """Take note of one chunk of a stream, as it passes."""
        choices = _get(chunk, "choices")
        if choices is None and isinstance(kind := _get(chunk, "type"), str):
            self._event(str(getattr(kind, "value", kind)), chunk)
            return
        self._model = _get(chunk, "model") or self._model
        if (usage := _get(chunk, "usage")) is not None:
            self._usage = _usage(usage) or self._usage
        for choice in choices or ():
            delta, index = _get(choice, "delta"), _get(choice, "index") or 0
            self._finish = _get(choice, "finish_reason") or self._finish
            text = _get(delta, "content") or _get(delta, "refusal")
            if text:
                self._texts.setdefault(index, []).append(text)
            pieces = _get(delta, "tool_calls") or ()
            for piece in pieces:
                call = self._tools.setdefault(
                    (index, _get(piece, "index") or 0), {"name": "", "arguments": ""}
                )
                function = _get(piece, "function")
                call["name"] += _get(function, "name") or ""
                call["arguments"] += _get(function, "arguments") or ""
            if self._first is None and (text or pieces or _get(delta, "reasoning_content")):
                self._first = self._clock()

    def _event(self, kind: str, event: Any) -> None:
        # the responses API streams typed events; the last one holds the whole answer
        if kind.endswith(".delta"):
            if self._first is None:
                self._first = self._clock()
            if kind == "response.output_text.delta":
                self._texts.setdefault(0, []).append(_get(event, "delta") or "")
        elif kind in ("response.completed", "response.incomplete", "response.failed"):
            self._final = _get(event, "response")

    def answered(self, answer: Any) -> Seen:
        """The call gave a whole answer."""
        return self._seen("ok", answer, **_content(answer))

    def streamed(self, stream: Any) -> Seen:
        """The stream came to its end."""
        return self._stream_seen("ok", stream)

    def abandoned(self, stream: Any) -> Seen:
        """The caller stopped reading the stream."""
        return self._stream_seen("abandoned", stream)

    def failed(self, error: BaseException, stream: Any = None) -> Seen:
        """The call, or the stream half-way, raised."""
        if isinstance(error, _CANCELS):
            status: Status = "cancelled"
        else:
            status = "timeout" if _is_timeout(error) else "error"
        return self._stream_seen(status, stream, error=error)

    def bare(self, status: Status) -> Seen:
        """What is known of a call whose answer cannot be read."""
        return Seen(status, latency_s=self._clock() - self.started, deployment_id=self.picked)

    def _stream_seen(self, status: Status, stream: Any, error: BaseException | None = None) -> Seen:
        if self._final is not None:
            content = _content(self._final)
        else:
            texts = ["".join(parts) for _, parts in sorted(self._texts.items())]
            content = {
                "output": _joined(texts),
                "tool_calls": tuple(call for _, call in sorted(self._tools.items())),
                "finish_reason": self._finish,
                "usage": self._usage,
            }
        content["model"] = content.get("model") or self._model
        return self._seen(status, stream, error=error, streamed=stream is not None, **content)

    def _seen(self, status: Status, answer: Any, error: BaseException | None = None, **content: Any) -> Seen:
        now = self._clock()
        hidden = _get(answer, "_hidden_params")
        hidden = hidden if isinstance(hidden, Mapping) else {}
        headers = hidden.get("additional_headers")
        headers = headers if isinstance(headers, Mapping) else {}
        overhead_ms = hidden.get("litellm_overhead_time_ms")
        fallbacks = headers.get("x-litellm-attempted-fallbacks")
        picked, answered_by = self.picked, hidden.get("model_id")
        content["model"] = content.get("model") or _get(error, "model")
        return Seen(
            status=status,
            latency_s=now - self.started,
            ttft_s=None if self._first is None else self._first - self.started,
            error=error,
            attempts=self._attempts(headers),
            fell_back=self._fell_back(fallbacks, error),
            cache_hit=hidden.get("cache_hit") is True if answer is not None else None,
            litellm_model=hidden.get("litellm_model_name") or self._metadata.get("deployment"),
            provider=hidden.get("custom_llm_provider") or _get(error, "llm_provider") or None,
            deployment_id=str(answered_by) if answered_by else _get(error, "failed_deployment_id") or picked,
            overhead_s=overhead_ms / 1_000 if isinstance(overhead_ms, int | float) else None,
            call_id=hidden.get("litellm_call_id"),
            response_cost=hidden.get("response_cost"),
            **content,
        )

    def _attempts(self, headers: Mapping[str, Any]) -> int | None:
        retries = self._metadata.get("attempted_retries", headers.get("x-litellm-attempted-retries"))
        if not isinstance(retries, int):
            # the Router counts none where it does not retry (sync responses): it tried if it picked
            retries = 0 if self.picked is not None else None
        fallbacks = headers.get("x-litellm-attempted-fallbacks", 0)
        return None if retries is None else 1 + retries + (fallbacks if isinstance(fallbacks, int) else 0)

    def _fell_back(self, fallbacks: Any, error: BaseException | None) -> bool | None:
        if isinstance(fallbacks, int):
            return fallbacks > 0
        failed, picked = _get(error, "failed_deployment_id"), self.picked
        if failed is not None and picked is not None:
            return bool(failed != picked)
        return None if error is not None else False


class Pricer:
    """What a call cost by LiteLLM's price table; a model without a price has no cost, not a cost of 0.

    `model_info(deployment_id, model)` is the Router's own reading of its price table.
    """

    def __init__(self, model_info: Callable[[str, str], Any]) -> None:
        self._model_info = model_info
        self._priced: dict[tuple[str | None, str | None], bool] = {}

    def call(self, seen: Seen, request: Any, tools: Any, call_type: str) -> Call:
        """The Call of what was seen: tokens counted where the provider gave none, and priced."""
        usage = seen.usage
        if usage is None and seen.status in ("ok", "abandoned") and call_type == "completion":
            usage = _estimate(seen, request, tools)
        calls = [{"name": c["name"], "arguments": c["arguments"]} for c in seen.tool_calls]
        return Call(
            status=seen.status,
            error_type=None if seen.error is None else type(seen.error).__name__,
            error_message=None if seen.error is None else str(seen.error),
            attempts=seen.attempts,
            fell_back=seen.fell_back,
            cache_hit=seen.cache_hit,
            model=seen.model or _bare(seen.litellm_model),
            provider=seen.provider or _provider(seen.litellm_model),
            deployment_id=seen.deployment_id,
            # there was no last byte to time
            latency_s=None if seen.status == "abandoned" else seen.latency_s,
            ttft_s=seen.ttft_s,
            overhead_s=seen.overhead_s,
            input_tokens=None if usage is None else usage.input_tokens,
            output_tokens=None if usage is None else usage.output_tokens,
            cached_input_tokens=None if usage is None else usage.cached_input_tokens,
            reasoning_tokens=None if usage is None else usage.reasoning_tokens,
            usage_source=None if usage is None else usage.source,
            cost_usd=self._cost(seen, usage),
            output=seen.output,
            tool_calls=json.dumps(calls, ensure_ascii=False) if calls else None,
            finish_reason=seen.finish_reason,
        )

    def _cost(self, seen: Seen, usage: Usage | None) -> float | None:
        if seen.status not in ("ok", "abandoned") or not self._is_priced(
            seen.deployment_id, seen.litellm_model
        ):
            return None
        if seen.cache_hit:
            return 0.0
        if not seen.streamed and seen.response_cost is not None:
            return float(seen.response_cost)
        return None if usage is None else self._cost_of(seen, usage)

    def _is_priced(self, deployment_id: str | None, model: str | None) -> bool:
        key = (deployment_id, model)
        if key not in self._priced:
            self._priced[key] = self._read_price(deployment_id, model)
        return self._priced[key]

    def _read_price(self, deployment_id: str | None, model: str | None) -> bool:
        if deployment_id is None or model is None:
            return False
        try:
            info = self._model_info(deployment_id, model) or {}
        except Exception:  # LiteLLM raises bare exceptions for models that it does not know
            return False
        return any("cost" in name and isinstance(price, int | float) for name, price in info.items())

    def _cost_of(self, seen: Seen, usage: Usage) -> float | None:
        # LiteLLM has worked it out already where a stream was asked for its usage
        if isinstance(told := _get(usage.raw, "cost"), int | float):
            return float(told)
        raw = usage.raw or litellm.Usage(
            prompt_tokens=usage.input_tokens,
            completion_tokens=usage.output_tokens,
            total_tokens=usage.input_tokens + usage.output_tokens,
        )
        own_price = any(
            "cost" in name and price is not None
            for name, price in (litellm.model_cost.get(seen.deployment_id or "") or {}).items()
        )
        base = self._base_model(seen)
        try:
            return float(
                litellm.completion_cost(
                    completion_response=litellm.ModelResponse(model=base, usage=raw),
                    model=base,
                    custom_pricing=own_price,
                    router_model_id=seen.deployment_id,
                )
            )
        except Exception:  # no price for this model after all
            return None

    def _base_model(self, seen: Seen) -> str | None:
        info = litellm.model_cost.get(seen.deployment_id or "") or {}
        return info.get("base_model") or seen.litellm_model


def _content(answer: Any) -> dict[str, Any]:
    """Text, tool calls, finish reason and usage of a whole answer of any call type."""
    if isinstance(answer, litellm.EmbeddingResponse):
        # vectors of two models lie in two spaces: their number and length are what compares
        vectors = [_get(item, "embedding") for item in answer.data or ()]
        shape = {"vectors": len(vectors), "dimensions": len(vectors[0]) if vectors and vectors[0] else 0}
        return {"output": json.dumps(shape), "model": answer.model, "usage": _usage(answer.usage)}
    if (items := _get(answer, "output")) is not None and _get(answer, "choices") is None:
        return _responses_content(answer, items)
    texts, calls, finish = [], [], None
    for choice in _get(answer, "choices") or ():
        message = _get(choice, "message")
        finish = finish or _get(choice, "finish_reason")
        texts.append(_get(message, "content") or _get(message, "refusal"))
        calls += [_tool_call(_get(call, "function")) for call in _get(message, "tool_calls") or ()]
        if (function := _get(message, "function_call")) is not None:
            calls.append(_tool_call(function))
    return {
        "output": _joined(texts),
        "tool_calls": tuple(calls),
        "finish_reason": finish,
        "model": _get(answer, "model"),
        "usage": _usage(_get(answer, "usage")),
    }


def _responses_content(answer: Any, items: Any) -> dict[str, Any]:
    texts = [
        _get(part, "text") or _get(part, "refusal")
        for item in items
        if _get(item, "type") == "message"
        for part in _get(item, "content") or ()
    ]
    incomplete = _get(_get(answer, "incomplete_details"), "reason")
    return {
        "output": "".join(t for t in texts if t) if texts else None,
        "tool_calls": tuple(_tool_call(item) for item in items if _get(item, "type") == "function_call"),
        "finish_reason": incomplete or _get(answer, "status"),
        "model": _get(answer, "model"),
        "usage": _usage(_get(answer, "usage")),
    }


def _tool_call(function: Any) -> dict[str, Any]:
    # ids are drawn anew for each answer: they say nothing about it
    return {"name": _get(function, "name"), "arguments": _get(function, "arguments")}


def _joined(texts: Sequence[str | None]) -> str | None:
    """The text of one choice as it is; of several (`n` > 1) as a JSON array."""
    if len(texts) <= 1:
        return texts[0] if texts else None
    return json.dumps(texts, ensure_ascii=False)


def _usage(usage: Any) -> Usage | None:
    """Usage in chat's words or in the responses API's; none where the provider gave none."""
    read = _get(usage, "prompt_tokens"), _get(usage, "completion_tokens")
    if read == (None, None):
        read = _get(usage, "input_tokens"), _get(usage, "output_tokens")
    given, made = (n if isinstance(n, int) else 0 for n in read)
    if given + made == 0:
        return None
    prompt = _get(usage, "prompt_tokens_details") or _get(usage, "input_tokens_details")
    completion = _get(usage, "completion_tokens_details") or _get(usage, "output_tokens_details")
    return Usage(
        given,
        made,
        cached_input_tokens=_get(prompt, "cached_tokens"),
        reasoning_tokens=_get(completion, "reasoning_tokens"),
        raw=usage if isinstance(usage, litellm.Usage) else None,
    )


def _estimate(seen: Seen, messages: Any, tools: Any) -> Usage | None:
    """Tokens by LiteLLM's tokenizers, where the provider was not asked for them."""
    model = seen.litellm_model or seen.model or ""
    said = (seen.output or "") + "".join(f"{c['name']}{c['arguments']}" for c in seen.tool_calls)
    try:
        given = litellm.token_counter(model=model, messages=messages, tools=tools)
        made = litellm.token_counter(model=model, text=said, count_response_tokens=True) if said else 0
    except Exception:  # shapes that LiteLLM cannot count: unknown stays unknown
        return None
    return Usage(given, made, source="estimated")


def _is_timeout(error: BaseException) -> bool:
    """Whether a call ran out of time; amid a stream LiteLLM calls that a broken connection."""
    if isinstance(error, _TIMEOUTS):
        return True
    if not isinstance(error, litellm.APIConnectionError):
        return False
    cause = error.__cause__ or error.__context__
    while cause is not None:
        if isinstance(cause, _TIMEOUTS):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _bare(model: str | None) -> str | None:
    return None if model is None else model.partition("/")[2] or model


def _provider(model: str | None) -> str | None:
    return model.partition("/")[0] if model and "/" in model else None


def _get(source: Any, name: str) -> Any:
    """A field of a LiteLLM object or of the dict it stands for."""
    if isinstance(source, dict):
        return source.get(name)
    return getattr(source, name, None)
