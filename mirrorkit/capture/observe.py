"""A LiteLLM answer, stream or exception becomes a Call; the only reader of LiteLLM's shapes."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import litellm

from mirrorkit.capture.anthropic_messages import as_chat, is_message
from mirrorkit.capture.retry_after import retry_after_s
from mirrorkit.records import Call, Status, UsageSource

_TIMEOUTS = (litellm.Timeout, asyncio.TimeoutError, TimeoutError)


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
    retry_after_s: float | None = None
    """how long a provider that refused the call asks to be left alone"""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the provider counted them, or as they were estimated."""

    input_tokens: int
    output_tokens: int
    cached_input_tokens: int | None = None
    reasoning_tokens: int | None = None
    source: UsageSource = "provider"
    raw: Any = field(default=None, repr=False)


class Pricer:
    """What a call cost by LiteLLM's price table; a model without a price has no cost, not a cost of 0.

    `model_info(deployment_id, model)` is the Router's own reading of its price table; `on_fault` hears of a
    price that cannot be worked out although the model has one.
    """

    def __init__(
        self,
        model_info: Callable[[str, str], Mapping[str, Any]],
        on_fault: Callable[[BaseException], None] = lambda _: None,
    ) -> None:
        self._model_info = model_info
        self._on_fault = on_fault
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
            error_message=None if seen.error is None else message_of(seen.error),
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
            cost_usd=self._safe_cost(seen, usage),
            output=seen.output,
            tool_calls=json.dumps(calls, ensure_ascii=False) if calls else None,
            finish_reason=seen.finish_reason,
        )

    def _safe_cost(self, seen: Seen, usage: Usage | None) -> float | None:
        try:
            return self._cost(seen, usage)
        except Exception as fault:  # whatever LiteLLM raises: the rest of the row is known all the same
            self._on_fault(fault)
            return None

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
        info = self._model_info(deployment_id, model)
        return any("cost" in name and isinstance(price, int | float) for name, price in info.items())

    def _cost_of(self, seen: Seen, usage: Usage) -> float | None:
        # LiteLLM has worked it out already where a stream was asked for its usage
        if isinstance(told := field_of(usage.raw, "cost"), int | float):
            return float(told)
        raw = usage.raw
        if not isinstance(raw, litellm.Usage):
            raw = litellm.Usage(
                prompt_tokens=usage.input_tokens,
                completion_tokens=usage.output_tokens,
                total_tokens=usage.input_tokens + usage.output_tokens,
                # they have a price of their own
                prompt_tokens_details={"cached_tokens": usage.cached_input_tokens or 0},
                cache_creation_input_tokens=field_of(raw, "cache_creation_input_tokens") or 0,
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
        except litellm.exceptions.ModelNotMappedError:  # no price for this model after all
            return None

    def _base_model(self, seen: Seen) -> str | None:
        info = litellm.model_cost.get(seen.deployment_id or "") or {}
        return info.get("base_model") or seen.litellm_model


def content_of(answer: Any) -> dict[str, Any]:
    """Text, tool calls, finish reason and usage of a whole answer of any call type."""
    if is_message(answer):
        answer = as_chat(answer)
    if isinstance(answer, litellm.EmbeddingResponse):
        # vectors of two models lie in two spaces: their number and length are what compares
        vectors = [field_of(item, "embedding") for item in answer.data or ()]
        shape = {"vectors": len(vectors), "dimensions": len(vectors[0]) if vectors and vectors[0] else 0}
        return {"output": json.dumps(shape), "model": answer.model, "usage": usage_of(answer.usage)}
    if (items := field_of(answer, "output")) is not None and field_of(answer, "choices") is None:
        return _responses_content(answer, items)
    texts, calls, finish = [], [], None
    for choice in field_of(answer, "choices") or ():
        message = field_of(choice, "message")
        finish = finish or field_of(choice, "finish_reason")
        texts.append(text_of(field_of(message, "content")) or text_of(field_of(message, "refusal")))
        calls += [_tool_call(field_of(call, "function")) for call in field_of(message, "tool_calls") or ()]
        if (function := field_of(message, "function_call")) is not None:
            calls.append(_tool_call(function))
    return {
        "output": joined(texts),
        "tool_calls": tuple(calls),
        "finish_reason": finish,
        "model": field_of(answer, "model"),
        "usage": usage_of(field_of(answer, "usage")),
    }


def _responses_content(answer: Any, items: Any) -> dict[str, Any]:
    texts = [
        field_of(part, "text") or field_of(part, "refusal")
        for item in items
        if field_of(item, "type") == "message"
        for part in field_of(item, "content") or ()
    ]
    incomplete = field_of(field_of(answer, "incomplete_details"), "reason")
    return {
        "output": "".join(t for t in texts if t) if texts else None,
        "tool_calls": tuple(_tool_call(item) for item in items if field_of(item, "type") == "function_call"),
        "finish_reason": incomplete or field_of(answer, "status"),
        "model": field_of(answer, "model"),
        "usage": usage_of(field_of(answer, "usage")),
    }


def _tool_call(function: Any) -> dict[str, Any]:
    # ids are drawn anew for each answer: they say nothing about it
    return {
        "name": text_of(field_of(function, "name")),
        "arguments": text_of(field_of(function, "arguments")),
    }


def joined(texts: Sequence[str | None]) -> str | None:
    """The text of one choice as it is; of several (`n` > 1) as a JSON array."""
    if len(texts) <= 1:
        return texts[0] if texts else None
    return json.dumps(texts, ensure_ascii=False)


def usage_of(usage: Any) -> Usage | None:
    """Usage in chat's words or in the responses API's; none where the provider gave none."""
    read = field_of(usage, "prompt_tokens"), field_of(usage, "completion_tokens")
    if read == (None, None):
        read = field_of(usage, "input_tokens"), field_of(usage, "output_tokens")
    given, made = (n if isinstance(n, int) else 0 for n in read)
    if given + made == 0:
        return None
    prompt = field_of(usage, "prompt_tokens_details") or field_of(usage, "input_tokens_details")
    completion = field_of(usage, "completion_tokens_details") or field_of(usage, "output_tokens_details")
    return Usage(
        given,
        made,
        cached_input_tokens=field_of(prompt, "cached_tokens"),
        reasoning_tokens=field_of(completion, "reasoning_tokens"),
        raw=usage,
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


def is_timeout(error: BaseException) -> bool:
    """Whether a call ran out of time; amid a stream LiteLLM calls that a broken connection."""
    if isinstance(error, _TIMEOUTS):
        return True
    if not isinstance(error, litellm.APIConnectionError):
        return False
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, _TIMEOUTS):
            return True
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__
    return False


def asked_to_wait_s(error: BaseException | None) -> float | None:
    """How long the provider that refused a call for its rate asks to be left alone; None if it does not."""
    if not isinstance(error, litellm.RateLimitError) and field_of(error, "status_code") != 429:
        return None
    # LiteLLM keeps the provider's headers here; those of its own response are empty
    places = (error, "litellm_response_headers"), (error, "headers"), (field_of(error, "response"), "headers")
    for source, name in places:
        headers = field_of(source, name)
        if isinstance(headers, Mapping) and (seconds := retry_after_s(headers)) is not None:
            return seconds
    return None


def text_of(value: Any) -> str | None:
    """A text that may come as a list of parts, or, where JSON text is due, as the data itself."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(field_of(part, "text"), str) for part in value):
        return "".join(field_of(part, "text") for part in value)
    return json.dumps(value, ensure_ascii=False, default=str)


def name_of(value: Any) -> str | None:
    """A name, where there is one."""
    return value if isinstance(value, str) and value else None


def message_of(error: BaseException) -> str | None:
    """What an error says, if it can."""
    try:
        return str(error)
    except Exception:  # whatever a foreign __str__ raises
        return None


def _bare(model: str | None) -> str | None:
    return None if model is None else model.partition("/")[2] or model


def _provider(model: str | None) -> str | None:
    return model.partition("/")[0] if model and "/" in model else None


def field_of(source: Any, name: str) -> Any:
    """A field of a LiteLLM object or of the dict it stands for."""
    if isinstance(source, dict):
        return source.get(name)
    return getattr(source, name, None)
