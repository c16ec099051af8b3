"""Which pairs a metric rests on, and why the others are left out."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, reduce
from operator import or_
from typing import Literal

import polars as pl

from mirrorkit.records import CONTROL

SIDES = ("primary", "silent")
FAILED = ("error", "timeout")
FINISHED = ("ok", *FAILED)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a pair is left out: in words, and as an expression that is true on a side that has it (never null).

    A `gap` is something unknown of a "side", or of the "pair" as a whole, that may well have been good or
    bad; any other reason is about the request, or is what the metric does not measure. `remedy` says what to
    do about a gap.
    """

    words: str
    holds: Callable[[str], pl.Expr] = field(repr=False)
    gap: Literal["side", "pair"] | None = None
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Omission:
    """Pairs, ok on both sides, that a metric leaves out for what is unknown of one side alone.

    `pairs` is how many, `primary` and `silent` on how many of them that side lacks it: both of them on all,
    where it is the pair as a whole that has no value.
    """

    words: str
    pairs: int
    primary: int
    silent: int
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Selection:
    """The pairs a metric rests on, and in words how many were left out for which reason.

    `omissions` counts those that are `one_sided`: left out for a gap on one side alone.
    """

    pairs: pl.DataFrame = field(repr=False)
    left_out: tuple[str, ...]
    omissions: tuple[Omission, ...]
    one_sided: pl.DataFrame = field(repr=False)


def arms(frame: pl.DataFrame) -> list[str]:
    """The arms in order of first appearance, `control` last.

    >>> arms(pl.DataFrame({"arm": ["control", "b", "a", "b"]}))
    ['b', 'a', 'control']
    """
    names: list[str] = frame["arm"].unique(maintain_order=True).to_list()
    return sorted(names, key=lambda arm: arm == CONTROL)


def arms_by_start(frame: pl.DataFrame) -> list[str]:
    """The arms by the start of their first request and then by name, `control` last; rows in any order.

    >>> arms_by_start(pl.DataFrame({"arm": ["control", "a", "b", "a"], "started_at": [1, 3, 2, 4]}))
    ['b', 'a', 'control']
    """
    first = frame.group_by("arm").agg(pl.col("started_at").min())
    return arms(first.sort("started_at", "arm", nulls_last=True))


def of_arm(frame: pl.DataFrame, arm: str) -> pl.DataFrame:
    """The pairs of one arm."""
    mine = frame["arm"].eq_missing(pl.Series([arm], dtype=pl.String))
    return frame if mine.all() else frame.filter(mine)


def in_order(frame: pl.DataFrame) -> pl.DataFrame:
    """The pairs by the start of their requests: in the order of finishing, the fast would come first.

    Pairs whose start is unknown keep their place if none is known, and come last otherwise.

    >>> in_order(pl.DataFrame({"started_at": [3, 1, 2], "pair_id": ["c", "a", "b"]}))["pair_id"].to_list()
    ['a', 'b', 'c']
    """
    started = frame["started_at"]
    if started.null_count() == frame.height:
        return frame
    if not started.is_sorted(nulls_last=True):
        frame = frame.sort("started_at", nulls_last=True, maintain_order=True)
        started = frame["started_at"]
    if started.null_count() > 1 or (started == started.shift(1)).any():
        # the pairs of one request start together: their ids make the order one and the same everywhere
        return frame.sort("started_at", "pair_id", nulls_last=True)
    return frame


def only(frame: pl.DataFrame, names: Iterable[str]) -> pl.DataFrame:
    """Some columns, as they lie: a select would copy a frame that is in several chunks."""
    return pl.DataFrame([frame[name] for name in names])


def select(frame: pl.DataFrame, reasons: Sequence[Reason], keep: Iterable[str] | None = None) -> Selection:
    """The pairs where neither side has a reason against it; a pair counts under its first reason.

    `keep` names the columns that are wanted of them, all unless it is given. A frame of which something is a
    gap has the status of both sides.

    >>> late = Reason("late", lambda side: pl.col(f"{side}_s") > 9)
    >>> select(pl.DataFrame({"primary_s": [1, 2], "silent_s": [1, 10]}), [late]).left_out
    ('1 left out: late (primary 0, silent 1)',)
    """
    wanted = frame if keep is None else only(frame, keep)
    if frame.is_empty():
        return Selection(wanted, (), (), wanted)
    marked = frame.lazy().select(_marks(tuple(reasons))).collect()
    chosen = marked["first"].is_null()
    if chosen.all():
        return Selection(wanted, (), (), wanted.clear())
    out = ~chosen
    left = marked.filter(out)
    alone = _one_sided(left, reasons)
    if alone.any():
        alone &= _both_ok(frame.filter(out))
    return Selection(
        wanted.filter(chosen),
        tuple(
            f"{pairs:,} left out: {reason.words} (primary {primary:,}, silent {silent:,})"
            for reason, pairs, primary, silent in _tally(left, reasons)
        ),
        tuple(
            Omission(reason.words, pairs, primary, silent, reason.remedy)
            for reason, pairs, primary, silent in _tally(left.filter(alone), reasons)
        ),
        wanted[out.arg_true().filter(alone)],
    )


@lru_cache(maxsize=128)
def read_by(reasons: tuple[Reason, ...]) -> frozenset[str]:
    """The frame's columns that reasons are told from.

    >>> sorted(read_by((NOT_OK,)))
    ['primary_status', 'silent_status']
    """
    expressions = (reason.holds(side) for reason in reasons for side in SIDES)
    return frozenset(name for expression in expressions for name in expression.meta.root_names())


@lru_cache(maxsize=128)
def _marks(reasons: tuple[Reason, ...]) -> list[pl.Expr]:
    """The first reason against each pair, by its number, and which sides have each of them."""
    at = [[reason.holds(side) for side in SIDES] for reason in reasons]
    first = pl.lit(None, pl.UInt8)
    for number, (primary, silent) in reversed(list(enumerate(at))):
        first = pl.when(primary | silent).then(number).otherwise(first)
    sides = (
        holds.alias(f"{side} {number}")
        for number, of_each in enumerate(at)
        for side, holds in zip(SIDES, of_each, strict=True)
    )
    return [first.cast(pl.UInt8).alias("first"), *sides]


def _tally(left: pl.DataFrame, reasons: Sequence[Reason]) -> Iterator[tuple[Reason, int, int, int]]:
    """For each first reason: the pairs, and on how many of them each side has it."""
    for number, reason in enumerate(reasons):
        mine = left["first"] == number
        if pairs := mine.sum():
            primary, silent = ((left[f"{side} {number}"] & mine).sum() for side in SIDES)
            yield reason, int(pairs), int(primary), int(silent)


def _one_sided(left: pl.DataFrame, reasons: Sequence[Reason]) -> pl.Series:
    """Whether each of the pairs left out is so for a gap on one side alone, or of the pair."""
    gaps = {kind: [n for n, reason in enumerate(reasons) if reason.gap == kind] for kind in ("side", "pair")}
    none = pl.repeat(False, left.height, dtype=pl.Boolean, eager=True)
    of_side, of_pair = (reduce(or_, (left["first"] == n for n in gaps[kind]), none) for kind in gaps)
    primary, silent = (reduce(or_, (left[f"{side} {n}"] for n in gaps["side"]), none) for side in SIDES)
    return (of_side & (primary ^ silent)) | of_pair


def _both_ok(frame: pl.DataFrame) -> pl.Series:
    primary, silent = (frame[f"{side}_status"].eq_missing(pl.Series(["ok"])) for side in SIDES)
    return primary & silent


def known(words: str, value: Callable[[str], pl.Expr]) -> list[Reason]:
    """The reasons against a number that is unknown, negative, or not finite."""

    def number(side: str) -> pl.Expr:
        return value(side).cast(pl.Float64)

    return [
        gap(f"{words} unknown", lambda side: number(side).is_null()),
        gap(
            f"{words} negative or not finite",
            lambda side: ~(number(side).is_finite() & (number(side) >= 0)),
        ),
    ]


def flag(words: str, holds: Callable[[str], pl.Expr]) -> Reason:
    """A reason whose expression may be null, which is no reason."""
    return Reason(words, lambda side: holds(side).fill_null(False))


def gap(words: str, holds: Callable[[str], pl.Expr], remedy: str = "") -> Reason:
    """A flag that stands for something unknown of a side."""
    return replace(flag(words, holds), gap="side", remedy=remedy)


NOT_OK = Reason("not ok", lambda side: pl.col(f"{side}_status").ne_missing("ok"))
UNFINISHED = Reason(
    "cancelled, abandoned or unknown",
    lambda side: ~pl.col(f"{side}_status").is_in(FINISHED).fill_null(False),
)
CACHED = flag("answered by a cache", lambda side: pl.col(f"{side}_cache_hit"))
