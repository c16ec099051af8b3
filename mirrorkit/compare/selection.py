"""Which pairs a metric rests on, and why the others are left out."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
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
    at = [{side: reason.holds(side) for side in SIDES} for reason in reasons]
    first = pl.lit(None, pl.UInt8)
    for number in range(len(at) - 1, -1, -1):
        first = pl.when(at[number]["primary"] | at[number]["silent"]).then(number).otherwise(first)
    marked = frame.lazy().select(first.cast(pl.UInt8).alias("first"), *_sides_of(at)).collect()
    chosen = marked["first"].is_null()
    wanted = frame if keep is None else only(frame, keep)
    if chosen.all():
        return Selection(wanted, (), (), wanted.clear())
    one_sided = _one_sided(frame, marked, reasons)
    return Selection(
        wanted.filter(chosen),
        tuple(
            f"{pairs:,} left out: {reasons[number].words} (primary {primary:,}, silent {silent:,})"
            for number, pairs, primary, silent in _tally(marked.filter(~chosen))
        ),
        tuple(
            Omission(reasons[number].words, pairs, primary, silent, reasons[number].remedy)
            for number, pairs, primary, silent in _tally(marked[one_sided])
        ),
        wanted[one_sided],
    )


def _sides_of(at: Sequence[dict[str, pl.Expr]]) -> list[pl.Expr]:
    return [
        holds.alias(f"{side} {number}") for number, sides in enumerate(at) for side, holds in sides.items()
    ]


def _tally(left: pl.DataFrame) -> Iterator[tuple[int, int, int, int]]:
    """For each first reason: the pairs, and on how many of them each side has it."""
    for number, pairs, *sides in left.group_by("first").agg(pl.len(), pl.all().sum()).sort("first").rows():
        primary, silent = sides[2 * number : 2 * number + 2]
        yield number, pairs, primary, silent


def _one_sided(frame: pl.DataFrame, marked: pl.DataFrame, reasons: Sequence[Reason]) -> pl.Series:
    """The places of the pairs, ok on both sides, left out for a gap on one side alone, or of the pair."""
    gaps = {kind: [n for n, reason in enumerate(reasons) if reason.gap == kind] for kind in ("side", "pair")}
    primary, silent = (
        pl.any_horizontal(pl.lit(False), *(pl.col(f"{side} {number}") for number in gaps["side"]))
        for side in SIDES
    )
    first = pl.col("first")
    alone = (first.is_in(gaps["side"]) & (primary != silent)) | first.is_in(gaps["pair"])
    places = marked.select(alone.fill_null(False).arg_true().alias("place"))["place"]
    if not len(places):
        return places
    statuses = only(frame, (f"{side}_status" for side in SIDES))[places]
    both_ok = statuses.select(pl.all_horizontal(pl.all().eq_missing("ok")).alias("ok"))["ok"]
    return places.filter(both_ok)


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
