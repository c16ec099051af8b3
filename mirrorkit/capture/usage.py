"""Tokens of an answer as its provider counted them, wherever LiteLLM keeps that count.

The order of sources is the same for every provider, whole or streamed, asked for its usage or not:

1. the provider's count: of an answer, its usage; of a stream, that of its end, or, where the caller did not
   ask for it, the one that LiteLLM hides in the parameters of its last chunk;
2. an estimate (`router/tokens.py`), which says so;
3. nothing, which is null.

Half a usage is none, nor is one that cannot be true. Where a provider gives none LiteLLM counts by itself,
and says nowhere that it did: its count is no provider's, and an estimate takes its place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from mirrorkit.capture.fields import field_of
from mirrorkit.records import UsageSource

# a usage comes at the end
_LAST_CHUNKS = 8


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the provider counted them, or as they were estimated.

    `cost_usd` is what LiteLLM says that these tokens cost, `raw` the usage as plain values. `is_bare` says
    that there is nothing in it but counts, `is_certain` that it is known who counted.
    """

    input_tokens: int
    output_tokens: int
    cached_input_tokens: int | None = None
    reasoning_tokens: int | None = None
    source: UsageSource = "provider"
    cost_usd: float | None = None
    is_bare: bool = True
    is_certain: bool = True
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


def usage_of(given: Any, *, is_certain: bool = True, output_tokens: int | None = None) -> Usage | None:
    """A usage in chat's words or in the Responses API's; None where it is no count of both sides.

    `output_tokens` stands in for a count that the call type does not have.

    >>> usage_of({"prompt_tokens": 7, "completion_tokens": 3}).input_tokens
    7
    >>> usage_of({"prompt_tokens": 0, "completion_tokens": 3}), usage_of({"prompt_tokens": 7})
    (None, None)
    """
    made: Any
    read, made = field_of(given, "prompt_tokens"), field_of(given, "completion_tokens")
    if read is None and made is None:
        read, made = field_of(given, "input_tokens"), field_of(given, "output_tokens")
    read, made = _count(read), _count(made)
    made = output_tokens if made is None else made
    # there is no request without a prompt: 0 stands for what was not counted
    if not read or made is None:
        return None
    prompt = field_of(given, "prompt_tokens_details") or field_of(given, "input_tokens_details")
    completion = field_of(given, "completion_tokens_details") or field_of(given, "output_tokens_details")
    return Usage(
        read,
        made,
        cached_input_tokens=_count(field_of(prompt, "cached_tokens")),
        reasoning_tokens=_reasoning_tokens(completion, made),
        cost_usd=cost_of(field_of(given, "cost")),
        is_bare=prompt is None,
        is_certain=is_certain,
        raw=_plain(given),
    )


def cost_of(value: Any) -> float | None:
    """A price that LiteLLM worked out; None for 0, which it also says where it knows no tokens."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    return float(value) if value > 0 else None


class StreamUsage:
    """The usage of a chat stream."""

    def __init__(self) -> None:
        self._given: Any = None
        self._hidden: Mapping[str, Any] = {}
        self._was_hidden = False

    def take(self, chunk: Mapping[str, Any], hidden: Mapping[str, Any]) -> None:
        """Look for it in a chunk, as it passes: in its fields and its hidden parameters."""
        if (given := chunk.get("usage")) is not None:
            self._given = given
        if (usage := hidden.get("usage")) is not None:
            # read at the end: what LiteLLM learns later it writes in here
            self._hidden = hidden
            self._was_hidden = self._was_hidden or type(usage).__name__ != "UnreportedUsage"

    def read(self, chunks: Sequence[Any] = ()) -> Usage | None:
        """The provider's count; `chunks` are those that LiteLLM keeps of the stream, with their usage."""
        was_asked = self._given is not None
        usage = usage_of(self._given if was_asked else self._hidden.get("usage"))
        if usage is None or self._was_hidden:
            return usage
        if chunks:
            is_theirs = any(field_of(chunk, "usage") is not None for chunk in chunks[-_LAST_CHUNKS:])
            return usage if is_theirs else None
        if not usage.is_bare:
            return usage
        # LiteLLM says that there was none, or, where the caller asked, nothing: then it may have counted
        return usage_of(self._given, is_certain=False) if was_asked else None


def _reasoning_tokens(details: Any, made: int) -> int | None:
    thought = _count(field_of(details, "reasoning_tokens"))
    # LiteLLM says of a stream that all was text where nobody said so
    return None if thought == 0 and field_of(details, "text_tokens") == made else thought


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _plain(given: Any) -> dict[str, Any]:
    """A copy in plain values, as the caller may change what they were given."""
    if (dump := getattr(given, "model_dump", None)) is not None:
        plain: dict[str, Any] = dump(warnings=False)
        return plain
    if not isinstance(given, Mapping):
        return {}
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in given.items()}
