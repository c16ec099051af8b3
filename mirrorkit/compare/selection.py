"""Which pairs a metric rests on, and why the others are left out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import polars as pl

from mirrorkit.compare.outputs import answered
from mirrorkit.records import CONTROL

SIDES = ("primary", "silent")
FAILED = ("error", "timeout")
FINISHED = ("ok", *FAILED)

Reason = tuple[str, Callable[[str], pl.Expr]]
"""Why a pair is left out: in words, and as an expression that is true on a side that has it (never null)."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The pairs a metric rests on, and in words how many were left out for which reason."""

    pairs: pl.DataFrame = field(repr=False)
    left_out: tuple[str, ...]


def arms(frame: pl.DataFrame) -> list[str]:
    """The arms in order of first appearance, `control` last.

    >>> arms(pl.DataFrame({"arm": ["control", "b", "a", "b"]}))
    ['b', 'a', 'control']
    """
    names: list[str] = frame["arm"].unique(maintain_order=True).to_list()
    return sorted(names, key=lambda arm: arm == CONTROL)


def of_arm(frame: pl.DataFrame, arm: str) -> pl.DataFrame:
    """The pairs of one arm."""
    return frame.filter(pl.col("arm").eq_missing(pl.lit(arm, pl.String)))


def usable(frame: pl.DataFrame, metric: str) -> Selection:
    """The pairs that `metric` can be measured on: those where neither side has a reason against it.

    - `latency`, `ttft`: both sides ok, none from a cache, both times known, finite and not negative;
      `ttft` looks at streams only.
    - `cost`, `input_tokens`, `output_tokens`: both sides finished (an answer that was cut short costs
      less without being cheaper) and both values known; `cost` leaves cache hits out.
    - `errors`: both sides finished: a call that was cancelled or abandoned neither failed nor succeeded.
    - `output_length`: both sides ok with a text, be it empty.
    - `identical`: both sides ok, and at least one of them with an answer on record.

    Raises KeyError for a metric that is none of these.

    >>> from mirrorkit.records import SCHEMA
    >>> usable(SCHEMA.frame(), "latency").pairs.height
    0
    """
    reasons = _REASONS[metric]
    kept = frame.filter(pl.col("stream").fill_null(False)) if metric == "ttft" else frame
    left_out = []
    for words, holds in reasons:
        at = {side: holds(side) for side in SIDES}
        primary, silent = kept.select(**{side: holds.sum() for side, holds in at.items()}).row(0)
        remaining = kept.filter(~(at["primary"] | at["silent"]))
        if dropped := kept.height - remaining.height:
            left_out.append(f"{dropped:,} left out: {words} (primary {primary:,}, silent {silent:,})")
        kept = remaining
    return Selection(kept, tuple(left_out))


def _known(column: str, words: str) -> list[Reason]:
    def value(side: str) -> pl.Expr:
        return pl.col(f"{side}_{column}").cast(pl.Float64)

    return [
        (f"{words} unknown", lambda side: value(side).is_null()),
        (f"{words} negative or not finite", lambda side: ~(value(side).is_finite() & (value(side) >= 0))),
    ]


_NOT_OK: Reason = ("not ok", lambda side: pl.col(f"{side}_status").ne_missing("ok"))
_UNFINISHED: Reason = (
    "cancelled, abandoned or unknown",
    lambda side: ~pl.col(f"{side}_status").is_in(FINISHED).fill_null(False),
)
_CACHED: Reason = ("answered by a cache", lambda side: pl.col(f"{side}_cache_hit").fill_null(False))
_NO_TEXT: Reason = ("no text", lambda side: pl.col(f"{side}_output").is_null())
_NO_ANSWER: Reason = ("no answer on record", lambda _: ~(answered("primary") | answered("silent")))

_REASONS: dict[str, Sequence[Reason]] = {
    "latency": (_NOT_OK, _CACHED, *_known("latency_s", "latency")),
    "ttft": (_NOT_OK, _CACHED, *_known("ttft_s", "time to first token")),
    "cost": (_UNFINISHED, _CACHED, *_known("cost_usd", "cost")),
    "input_tokens": (_UNFINISHED, *_known("input_tokens", "token count")),
    "output_tokens": (_UNFINISHED, *_known("output_tokens", "token count")),
    "errors": (_UNFINISHED,),
    "output_length": (_NOT_OK, _NO_TEXT),
    "identical": (_NOT_OK, _NO_ANSWER),
}
