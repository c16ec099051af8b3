"""What is measured in a pair: the metrics mirrorkit knows, and those a user adds."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any, Literal

import polars as pl

from mirrorkit.compare.answers.kinds import BLANK, CALLS
from mirrorkit.compare.selection import (
    CACHED,
    FAILED,
    NOT_OK,
    SIDES,
    UNFINISHED,
    Reason,
    Selection,
    flag,
    gap,
    known,
    read_by,
    select,
)
from mirrorkit.errors import CompareError

Kind = Literal["ratio", "median", "totals", "shares", "mean"]
"""How a metric's effect is made: geometric mean, or median, of the pairs' ratios; ratio of the two sides'
totals; difference of the two sides' shares; or mean of one value of each pair."""

Better = Literal["lower", "higher"]
Side = Callable[[str], pl.Expr]


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """A metric that mirrorkit knows.

    `of` gives one side's value, or that of the pair ("mean" metrics, asked with an empty side). `within` says
    which pairs it is about at all; the others are not counted as left out. An `optional` metric has a row
    only where some pair is within it.
    """

    name: str
    kind: Kind
    unit: str
    estimand: str
    of: Side = field(repr=False)
    reasons: tuple[Reason, ...] = field(repr=False)
    better: Better = "lower"
    within: pl.Expr | None = field(default=None, repr=False)
    optional: bool = False
    bounds: tuple[float, float] | None = (0.0, 1.0)
    order: str | None = None
    """The column with the time at which the value came to be known, if that is not the request's."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of the user's own: one number for each pair.

    Args:
        value: a function of a pair's row (a dict of the frame's columns), or a Polars expression over the
            frame; `similarity`, `identical` and the other columns of differences are there too. None or null
            leaves the pair out. So does raising, which if it is often holds the metric's gate open. A Boolean
            counts as 0 or 1.
        bounds: the least and the greatest value it can take, known beforehand; with them its interval is
            exact. None if there are none: then it is asymptotic, and needs 100 pairs.
        better: whether a "higher" or a "lower" mean is better; a gate passes on that side of its margin.
        unit: of the value, for people.

    >>> Metric(pl.col("silent_output").str.len_chars() < 500).bounds
    (0.0, 1.0)
    """

    value: Callable[[dict[str, Any]], float | bool | None] | pl.Expr
    bounds: tuple[float, float] | None = (0.0, 1.0)
    better: Better = "higher"
    unit: str = ""

    def __post_init__(self) -> None:
        if not callable(self.value) and not isinstance(self.value, pl.Expr):
            raise CompareError(
                f"a metric's value is a function of a pair's row or a Polars expression, not {self.value!r}"
            )
        if self.better not in ("lower", "higher"):
            raise CompareError(f'better={self.better!r}: give "lower" or "higher"')
        if self.bounds is not None and not _are_bounds(self.bounds):
            raise CompareError(f"bounds={self.bounds!r}: give the least and the greatest value, or None")


def _are_bounds(bounds: Any) -> bool:
    try:
        low, high = bounds
        return bool(isfinite(low) and isfinite(high) and low < high)
    except (TypeError, ValueError):
        return False


def column_of(name: str) -> str:
    """The column that holds the values of a user's metric."""
    return f"metric {name}"


def raised_of(name: str) -> str:
    """The column that tells on which pairs a user's metric raised."""
    return f"raised by {name}"


def of_user(name: str, metric: Metric) -> BuiltIn:
    """A user's metric as one like the others, over the columns that hold its values and where it raised."""
    value, raised = pl.col(column_of(name)), pl.col(raised_of(name))
    return BuiltIn(
        name,
        "mean",
        metric.unit,
        "mean of the pairs",
        lambda _: value,
        (
            Reason("it raised", lambda _: raised, "pair", "give None for a pair that it is not about"),
            flag("no value", lambda _: value.is_null()),
            replace(flag("value not finite", lambda _: ~value.is_finite()), gap="pair"),
        ),
        better=metric.better,
        bounds=metric.bounds,
    )


def columns_of(metric: BuiltIn) -> set[str]:
    """The frame's columns that a metric reads.

    >>> sorted(columns_of(BUILT_IN["finish_reason"]))
    ['primary_finish_reason', 'primary_status', 'silent_finish_reason', 'silent_status']
    """
    columns = set(read_by(metric.reasons))
    if metric.within is not None:
        columns.update(metric.within.meta.root_names())
    if any(reason.gap for reason in metric.reasons):
        columns |= {f"{side}_status" for side in SIDES}
    return values_in(metric) | columns | ({metric.order} if metric.order else set())


def values_in(metric: BuiltIn) -> set[str]:
    """The frame's columns that a metric's values come from."""
    return {name for side in SIDES for name in metric.of(side).meta.root_names()}


def usable(frame: pl.DataFrame, metric: BuiltIn | str, keep: Iterable[str] | None = None) -> Selection:
    """The pairs that a metric can be measured on: those within it where no side has a reason against it.

    - times (`latency`, `ttft`, `tokens_per_s`, `over_slo`): none from a cache; but for `over_slo` both sides
      ok, and both values known, finite and not negative. `ttft` looks at streams only.
    - `cost`, `input_tokens`, `output_tokens`: both sides finished (an answer that was cut short costs less
      without being cheaper) and both values known; `cost` leaves cache hits out. These and `tokens_per_s`
      leave out pairs of which one side's tokens were estimated and the other's reported: two ways of
      counting differ by themselves.
    - `errors`: both sides finished: a call that was cancelled or abandoned, or of which nobody knows how it
      ended, neither failed nor succeeded.
    - answers (`output_length`, `identical`, `similarity`, ...): both sides ok, with what is compared known. A
      blank answer is known: unlike any other, and not the JSON that was asked for. `json_valid` is about
      answers, not about tool calls; `json_equal` and `tool_calls` about pairs with at least one of them.
    - `preference`, `judge`: pairs with a person's, or a judge's, preference.

    `keep` names the columns that are wanted of them, all unless it is given.

    Raises KeyError for a metric that is none of these.

    >>> from mirrorkit.records import SCHEMA
    >>> usable(SCHEMA.frame(), "latency").pairs.height
    0
    """
    metric = BUILT_IN[metric] if isinstance(metric, str) else metric
    within = frame if metric.within is None else frame.filter(metric.within)
    return select(within, metric.reasons, keep)


def _column(name: str) -> Side:
    return lambda side: pl.col(f"{side}_{name}")


def _failed(side: str) -> pl.Expr:
    return pl.col(f"{side}_status").is_in(FAILED)


def _time_or_never(side: str) -> pl.Expr:
    return pl.when(_failed(side)).then(float("inf")).otherwise(f"{side}_latency_s")


def _no_time(side: str) -> pl.Expr:
    """A side that did not fail, and whose latency is not a number above 0."""
    latency = pl.col(f"{side}_latency_s")
    return ~_failed(side) & ~(latency.is_finite() & (latency > 0))


def _speed(side: str) -> pl.Expr:
    return pl.col(f"{side}_output_tokens") / pl.col(f"{side}_latency_s")


def _same(name: str) -> pl.Expr:
    return pl.col(f"primary_{name}") == pl.col(f"silent_{name}")


def _is(kind: str) -> Side:
    return lambda side: pl.col(f"{side}_kind") == kind


def _both(holds: Side) -> pl.Expr:
    return pl.all_horizontal(holds(side) for side in SIDES)


def _either(holds: Side) -> pl.Expr:
    return pl.any_horizontal(holds(side) for side in SIDES)


def _zero(words: str, of: Side) -> Reason:
    """A ratio's logarithm needs numbers above 0."""
    return gap(f"{words} 0", lambda side: of(side) == 0)


def _unknown(words: str, of: Side) -> Reason:
    return gap(words, lambda side: of(side).is_null())


def _is_guessed(side: str) -> pl.Expr:
    """A side whose tokens were estimated, while the provider of the other one counted its own."""
    other = SIDES[side == SIDES[0]]
    source = pl.col(f"{side}_usage_source"), pl.col(f"{other}_usage_source")
    return (source[0] == "estimated") & (source[1] == "provider")


_GUESSED = gap(
    "tokens estimated, those of the other side reported",
    _is_guessed,
    "ask for usage where it is estimated, a stream's by stream_options={'include_usage': True}",
)


def _alike(
    name: str,
    column: str,
    of_what: str,
    *more: Reason,
    estimand: str = "share of pairs",
    within: pl.Expr | None = None,
) -> BuiltIn:
    """How alike the answers of the pairs are in some respect; optional where it is `within` some pairs."""
    value = pl.col(column)

    def lacks(unknown: Side) -> Side:
        return lambda side: value.is_null() & unknown(side)

    return BuiltIn(
        name,
        "mean",
        "share",
        estimand,
        lambda _: value,
        (
            NOT_OK,
            gap("no answer on record", lacks(lambda side: pl.col(f"{side}_output_length").is_null())),
            gap("your clean function failed", lacks(_column("clean_failed"))),
            *more,
            Reason(f"{of_what} not compared", lambda _: value.is_null()),
        ),
        better="higher",
        within=within,
        optional=within is not None,
    )


def _share(
    name: str, of: Side, *reasons: Reason, better: Better = "lower", optional: bool = False
) -> BuiltIn:
    return BuiltIn(
        name,
        "shares",
        "share",
        "difference of shares",
        of,
        reasons,
        better=better,
        within=of("primary").is_not_null() | of("silent").is_not_null() if optional else None,
        optional=optional,
    )


def _totals(name: str, unit: str, of: Side, *reasons: Reason) -> BuiltIn:
    return BuiltIn(name, "totals", unit, "ratio of totals", of, reasons)


def _ratio(name: str, unit: str, of: Side, *reasons: Reason, **more: Any) -> BuiltIn:
    return BuiltIn(name, "ratio", unit, "geometric-mean ratio, both sides ok", of, reasons, **more)


def _preferred(name: str, column: str, at: str) -> BuiltIn:
    score = pl.col(column).replace_strict(
        {"primary": 0.0, "tie": 0.5, "silent": 1.0}, default=None, return_dtype=pl.Float64
    )
    return BuiltIn(
        name,
        "mean",
        "share",
        "win rate, ties count half",
        lambda _: score,
        (),
        better="higher",
        within=score.is_not_null(),
        optional=True,
        order=at,
    )


def _times(name: str, words: str) -> tuple[Reason, ...]:
    of = _column(name)
    return (NOT_OK, CACHED, *known(words, of), _zero(words, of))


_EACH = (
    _ratio("latency", "s", _column("latency_s"), *_times("latency_s", "latency")),
    BuiltIn(
        "latency_with_errors",
        "median",
        "s",
        "median of the pairs' ratios, a failed side as infinitely slow",
        _time_or_never,
        (
            UNFINISHED,
            CACHED,
            gap("latency unknown", lambda side: _time_or_never(side).is_null()),
            gap("latency not above 0 or not finite", _no_time),
        ),
    ),
    _ratio(
        "ttft",
        "s",
        _column("ttft_s"),
        *_times("ttft_s", "time to first token"),
        within=pl.col("stream").fill_null(False),
        optional=True,
    ),
    _ratio(
        "tokens_per_s",
        "tokens/s",
        _speed,
        NOT_OK,
        CACHED,
        *known("tokens or latency", _speed),
        _zero("tokens", _speed),
        _GUESSED,
        better="higher",
    ),
    _totals(
        "cost", "USD", _column("cost_usd"), UNFINISHED, CACHED, *known("cost", _column("cost_usd")), _GUESSED
    ),
    *(
        _totals(name, "tokens", _column(name), UNFINISHED, *known("token count", _column(name)), _GUESSED)
        for name in ("input_tokens", "output_tokens")
    ),
    _share("errors", _failed, UNFINISHED),
    _share("blank", _is(BLANK), NOT_OK, _unknown("no answer on record", _column("kind")), optional=True),
    _share("refusals", _column("refused"), NOT_OK, _unknown("no answer on record", _column("refused"))),
    _share(
        "truncated",
        lambda side: pl.col(f"{side}_finish_reason") == "length",
        NOT_OK,
        _unknown("finish reason unknown", _column("finish_reason")),
    ),
    BuiltIn(
        "finish_reason",
        "mean",
        "share",
        "share of pairs with the same",
        lambda _: _same("finish_reason"),
        (NOT_OK, _unknown("finish reason unknown", _column("finish_reason"))),
        better="higher",
    ),
    _totals(
        "output_length",
        "characters",
        _column("output_length"),
        NOT_OK,
        _unknown("no text on record", _column("output_length")),
    ),
    _share(
        "json_valid",
        _column("json_valid"),
        NOT_OK,
        _unknown("a tool call, or validity unknown", _column("json_valid")),
        better="higher",
        optional=True,
    ),
    _alike("identical", "identical", "answers"),
    _alike(
        "similarity",
        "similarity",
        "texts",
        flag("tool calls without a text", lambda _: pl.col("similarity").is_null() & _both(_is(CALLS))),
        estimand="mean of the pairs",
    ),
    _alike("json_equal", "json_equal", "JSON", within=pl.col("json_answers")),
    _alike("tool_calls", "tools_equal", "tool calls", within=_either(_is(CALLS))),
    BuiltIn(
        "language",
        "mean",
        "share",
        "share of pairs with the same",
        lambda _: _same("language"),
        (NOT_OK, _unknown("language unsure", _column("language"))),
        better="higher",
        within=_either(lambda side: pl.col(f"{side}_language").is_not_null()),
        optional=True,
    ),
    _preferred("preference", "preference", "labelled_at"),
    _preferred("judge", "judge_preference", "judged_at"),
)

BUILT_IN: Mapping[str, BuiltIn] = {metric.name: metric for metric in _EACH}

TIMES = ("latency", "ttft", "tokens_per_s")
"""The metrics that are told net of control where there is a control arm."""
NET = ("identical", "similarity", "json_equal", "tool_calls")
"""The metrics of likeness, which are also shown net of how much the primary differs from itself."""


def over_slo(slo_s: float) -> BuiltIn:
    """The share of calls that failed or took longer than `slo_s` seconds.

    >>> over_slo(2.0).name
    'over_slo'
    """

    def late(side: str) -> pl.Expr:
        return _failed(side) | (pl.col(f"{side}_latency_s") > slo_s)

    def unknown(side: str) -> pl.Expr:
        latency = pl.col(f"{side}_latency_s")
        return ~_failed(side) & ~(latency.is_finite() & (latency >= 0)).fill_null(False)

    words = "latency unknown, negative or not finite"
    return _share("over_slo", late, UNFINISHED, CACHED, gap(words, unknown))
