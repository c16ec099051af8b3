"""A LiteLLM answer, stream or exception becomes a Call; the only reader of LiteLLM's shapes."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import litellm

from mirrorkit.capture.answer import Answer
from mirrorkit.capture.anthropic_messages import as_chat, is_message
from mirrorkit.capture.chat_answers import chat_answer
from mirrorkit.capture.fields import field_of
from mirrorkit.capture.responses_answers import response_answer
from mirrorkit.capture.retry_after import retry_after_s
from mirrorkit.capture.router.tokens import estimated_usage, is_litellms_count
from mirrorkit.capture.usage import Usage, usage_of
from mirrorkit.records import Call, Status

_TIMEOUTS = (litellm.Timeout, asyncio.TimeoutError, TimeoutError)
NEVER_COUNT = frozenset(
    ("a2a", "a2a_agent", "langflow", "langgraph", "petals", "predibase", "replicate", "sagemaker")
)
"""Providers that tell no tokens: all counts of their answers are LiteLLM's."""
SOMETIMES_COUNT = frozenset(("bedrock", "databricks", "ollama", "ollama_chat"))
"""Providers of whose whole answers LiteLLM counts the tokens where they give none."""


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
    response_cost: float | None = None
    answer: Answer = field(default_factory=Answer)
    streamed: bool = False
    retry_after_s: float | None = None
    """how long a provider that refused the call asks to be left alone"""

    @property
    def usage(self) -> Usage | None:
        """The tokens, as far as anybody counted them."""
        return self.answer.usage

    @property
    def output(self) -> str | None:
        """The text of the answer."""
        return self.answer.output


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
        self._infos: dict[tuple[str, str], Mapping[str, Any]] = {}

    def call(self, seen: Seen, payload: Any, params: Mapping[str, Any] | None, call_type: str) -> Call:
        """The Call of what was seen: tokens counted where the provider gave none, and priced.

        Args:
            seen: what was seen of it.
            payload: the request's messages or input.
            params: its other parameters.
            call_type: as LiteLLM names it; an embedding has no kind of answer.
        """
        seen = replace(seen, answer=seen.answer.mended())
        usage = self._usage(seen, payload, params or {}, call_type)
        answer, is_said = seen.answer, seen.status == "ok" and call_type != "embedding"
        kind, output = answer.kind if is_said else None, answer.recorded
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
            output=output or "" if kind == "blank" else output,
            tool_calls=json.dumps(answer.tool_calls, ensure_ascii=False) if answer.tool_calls else None,
            finish_reason=answer.finish_reason,
            output_kind=kind,
        )

    def _usage(self, seen: Seen, payload: Any, params: Mapping[str, Any], call_type: str) -> Usage | None:
        """The one order of sources, as `usage.py` has it."""
        if seen.status not in ("ok", "abandoned"):
            return None
        usage = seen.usage
        if usage is not None and self._is_theirs(usage, seen, payload, params, call_type):
            return usage
        model = self._base_model(seen) or seen.litellm_model or seen.model
        return estimated_usage(seen.answer, model, payload, params, call_type)

    def _is_theirs(
        self, usage: Usage, seen: Seen, payload: Any, params: Mapping[str, Any], call_type: str
    ) -> bool:
        """Whether the provider counted, as far as can be told."""
        if call_type != "embedding" and not usage.output_tokens and seen.answer.says_something:
            return False
        provider = seen.provider or _provider(seen.litellm_model)
        if provider in NEVER_COUNT:
            return False
        is_certain = usage.is_certain if seen.streamed else provider not in SOMETIMES_COUNT
        if is_certain or not usage.is_bare:
            return True
        names = (seen.answer.model, seen.litellm_model, self._base_model(seen))
        return not is_litellms_count(usage, seen.answer, names, payload, params, call_type, seen.streamed)

    def _safe_cost(self, seen: Seen, usage: Usage | None) -> float | None:
        try:
            return self._cost(seen, usage)
        except Exception as fault:  # whatever LiteLLM raises: the rest of the row is known all the same
            self._on_fault(fault)
            return None

    def _cost(self, seen: Seen, usage: Usage | None) -> float | None:
        if seen.status not in ("ok", "abandoned") or not self._is_priced(seen):
            return None
        if seen.cache_hit:
            return 0.0
        if usage is None:
            return None
        if usage.source == "provider":
            # LiteLLM has worked it out already, of a stream where it knew its usage
            told = usage.cost_usd if seen.streamed else seen.response_cost
            if told is not None:
                return told
        return self._cost_of(seen, usage)

    def _is_priced(self, seen: Seen) -> bool:
        info = self._info(seen)
        return any("cost" in name and isinstance(price, int | float) for name, price in info.items())

    def _info(self, seen: Seen) -> Mapping[str, Any]:
        deployment_id, model = seen.deployment_id, seen.litellm_model
        if deployment_id is None or model is None:
            return {}
        key = (deployment_id, model)
        if key not in self._infos:
            try:
                self._infos[key] = self._model_info(*key) or {}
            except Exception as fault:  # whatever LiteLLM raises; the next call asks again
                self._on_fault(fault)
                return {}
        return self._infos[key]

    def _cost_of(self, seen: Seen, usage: Usage) -> float | None:
        own_price = any(
            "cost" in name and price is not None
            for name, price in (litellm.model_cost.get(seen.deployment_id or "") or {}).items()
        )
        base = self._base_model(seen) or seen.litellm_model
        try:
            return float(
                litellm.completion_cost(
                    completion_response=litellm.ModelResponse(model=base, usage=_as_litellms(usage)),
                    model=base,
                    custom_pricing=own_price,
                    router_model_id=seen.deployment_id,
                )
            )
        except litellm.exceptions.ModelNotMappedError:  # no price for this model after all
            return None

    def _base_model(self, seen: Seen) -> str | None:
        base = self._info(seen).get("base_model")
        return base if isinstance(base, str) and base else None


def answer_of(said: Any) -> Answer:
    """What a whole answer of any call type says."""
    if is_message(said):
        return chat_answer(as_chat(said))
    if field_of(said, "object") == "list" and isinstance(data := field_of(said, "data"), list):
        # vectors of two models lie in two spaces: their number and length are what compares
        vectors = [field_of(item, "embedding") for item in data]
        shape = {"vectors": len(vectors), "dimensions": len(vectors[0]) if vectors and vectors[0] else 0}
        usage = usage_of(field_of(said, "usage"), output_tokens=0)
        return Answer((json.dumps(shape),), model=field_of(said, "model"), usage=usage)
    if field_of(said, "output") is not None and field_of(said, "choices") is None:
        return response_answer(said)
    return chat_answer(said)


def _as_litellms(usage: Usage) -> litellm.Usage:
    if "prompt_tokens" in usage.raw:
        return litellm.Usage(**{name: value for name, value in usage.raw.items() if name != "cost"})
    return litellm.Usage(
        prompt_tokens=usage.input_tokens,
        completion_tokens=usage.output_tokens,
        total_tokens=usage.input_tokens + usage.output_tokens,
        # they have a price of their own
        prompt_tokens_details={"cached_tokens": usage.cached_input_tokens or 0},
    )


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
