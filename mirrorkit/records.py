"""What is recorded: a request, its calls, the pair they form, what is said of it, and the frame's schema."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from operator import attrgetter
from typing import Any, Literal

import polars as pl

Status = Literal["ok", "error", "timeout", "cancelled", "abandoned", "unknown"]
"""How a call ended; `unknown`: it was sent, and its process ended before anyone heard of it."""
OutputKind = Literal["text", "tool_calls", "media", "blank", "refusal"]
"""What an answer is: one that holds tool calls is of that kind, whatever it says besides."""
UsageSource = Literal["provider", "estimated"]
Preference = Literal["primary", "silent", "tie"]

CONTROL = "control"
"""The arm of A/A pairs: the primary's own group mirrored to itself."""


@dataclass(frozen=True, slots=True)
class Request:
    """One call the user makes on the session, as a `where` filter sees it.

    `payload` is a deep copy of the messages (chat) or the input (embeddings, responses);
    changing it changes nothing that is sent to the primary.
    """

    request_id: str
    trace_id: str
    call_type: str
    model_group: str
    payload: Any
    params: Mapping[str, Any]
    metadata: Mapping[str, Any]
    tags: tuple[str, ...]
    cluster: str | None
    stream: bool
    started_at: datetime

    @property
    def messages(self) -> Any:
        """The chat messages; for embeddings and responses, their input."""
        return self.payload


@dataclass(frozen=True, slots=True)
class Call:
    """One side's whole work on a request, its retries included, timed from send to last byte.

    Times are in seconds, costs in US dollars; what is not known is None.
    """

    status: Status
    error_type: str | None = None
    error_message: str | None = None
    attempts: int | None = None
    fell_back: bool | None = None
    cache_hit: bool | None = None
    model: str | None = None
    provider: str | None = None
    deployment_id: str | None = None
    latency_s: float | None = None
    ttft_s: float | None = None
    overhead_s: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    reasoning_tokens: int | None = None
    usage_source: UsageSource | None = None
    cost_usd: float | None = None
    output: str | None = None
    tool_calls: str | None = None
    finish_reason: str | None = None
    output_kind: OutputKind | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """The primary call and one silent call of the same request, ready to be a row of the frame."""

    pair_id: str
    request_id: str
    trace_id: str
    arm: str
    call_type: str
    started_at: datetime
    lag_s: float | None
    cluster: str | None
    tags: tuple[str, ...]
    model_group: str
    messages: str | None
    params: str | None
    stream: bool
    primary: Call
    silent: Call
    stripped: tuple[str, ...] = ()
    """names of the caller's parameters that the silent call was sent without"""
    preference: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a judge said of a pair that it was shown in both orders.

    Where there is no verdict the preference is None, and `reason` says why. `flipped` says that the two
    orders disagreed; `cost_usd` is that of every call made for it.
    """

    preference: Preference | None
    reason: str | None
    flipped: bool | None
    model: str | None
    cost_usd: float | None
    judged_at: datetime


_CALL_TYPES: dict[str, pl.DataType] = {
    "status": pl.String(),
    "error_type": pl.String(),
    "error_message": pl.String(),
    "attempts": pl.Int64(),
    "fell_back": pl.Boolean(),
    "cache_hit": pl.Boolean(),
    "model": pl.String(),
    "provider": pl.String(),
    "deployment_id": pl.String(),
    "latency_s": pl.Float64(),
    "ttft_s": pl.Float64(),
    "overhead_s": pl.Float64(),
    "input_tokens": pl.Int64(),
    "output_tokens": pl.Int64(),
    "cached_input_tokens": pl.Int64(),
    "reasoning_tokens": pl.Int64(),
    "usage_source": pl.String(),
    "cost_usd": pl.Float64(),
    "output": pl.String(),
    "tool_calls": pl.String(),
    "finish_reason": pl.String(),
    "output_kind": pl.String(),
}

_HEAD_TYPES: dict[str, pl.DataType] = {
    "pair_id": pl.String(),
    "request_id": pl.String(),
    "trace_id": pl.String(),
    "arm": pl.String(),
    "call_type": pl.String(),
    "started_at": pl.Datetime("us", "UTC"),
    "lag_s": pl.Float64(),
    "cluster": pl.String(),
    "tags": pl.List(pl.String()),
    "model_group": pl.String(),
    "messages": pl.String(),
    "params": pl.String(),
    "stripped": pl.List(pl.String()),
    "stream": pl.Boolean(),
}

# Said of a pair when it has long been recorded: none of these is known of a new one.
_JUDGED_TYPES: dict[str, pl.DataType] = {
    "labelled_at": pl.Datetime("us", "UTC"),
    "judge_preference": pl.String(),
    "judge_reason": pl.String(),
    "judge_flipped": pl.Boolean(),
    "judge_model": pl.String(),
    "judge_cost_usd": pl.Float64(),
    "judged_at": pl.Datetime("us", "UTC"),
}


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of the frame, their types and the version of their meaning."""

    version: int
    columns: Mapping[str, pl.DataType] = field(repr=False)

    def frame(self, pairs: Iterable[Pair] = ()) -> pl.DataFrame:
        """The pairs as a frame, one row each, in the order given.

        >>> SCHEMA.frame().height, SCHEMA.frame().columns[:3]
        (0, ['pair_id', 'request_id', 'trace_id'])
        """
        return pl.DataFrame([row(pair) for pair in pairs], schema=dict(self.columns), orient="row")


SCHEMA = Schema(
    version=3,
    columns={
        **_HEAD_TYPES,
        **{f"{side}_{name}": kind for side in ("primary", "silent") for name, kind in _CALL_TYPES.items()},
        "preference": pl.String(),
        "note": pl.String(),
        **_JUDGED_TYPES,
    },
)

_HEAD = attrgetter(*_HEAD_TYPES)
_CALL = attrgetter(*(f.name for f in fields(Call)))
_NOT_JUDGED = (None,) * len(_JUDGED_TYPES)


def row(pair: Pair) -> tuple[Any, ...]:
    """A pair's values, in the order of the schema's columns."""
    calls = (*_CALL(pair.primary), *_CALL(pair.silent))
    return (*_HEAD(pair), *calls, pair.preference, pair.note, *_NOT_JUDGED)
