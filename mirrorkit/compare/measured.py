"""The pairs with what is worked out for each: how the answers differ, and the user's own metrics."""

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from mirrorkit.compare.answers.differences import COLUMNS, differences
from mirrorkit.compare.answers.rules import Rules
from mirrorkit.compare.metrics import Metric, column_of
from mirrorkit.compare.plan import Plan
from mirrorkit.errors import CompareError

Step = Callable[[int], object]


class Kept:
    """How the answers of a growing frame differ: worked out once for each pair, and kept.

    Rows are only ever added to the frame at its end.

    >>> from mirrorkit.records import SCHEMA
    >>> Kept().of(SCHEMA.frame(), Rules()).height
    0
    """

    def __init__(self) -> None:
        self._rules = Rules()
        self._found: pl.DataFrame | None = None

    def of(self, frame: pl.DataFrame, rules: Rules, step: Step = lambda rows: None) -> pl.DataFrame:
        """The differences of every row; `step` is told of each so many rows that are done."""
        before = self._known(frame, rules)
        done = 0 if before is None else before.height
        new = differences(frame[done:], rules, step)
        found = new if before is None else pl.concat([before, new])
        self._rules, self._found = rules, found
        return found

    def missing(self, frame: pl.DataFrame, rules: Rules) -> int:
        """How many rows are still to be worked out."""
        before = self._known(frame, rules)
        return frame.height - (0 if before is None else before.height)

    def _known(self, frame: pl.DataFrame, rules: Rules) -> pl.DataFrame | None:
        found = self._found
        usable = found is not None and self._rules == rules and found.height <= frame.height
        return found if usable else None


def measured(frame: pl.DataFrame, plan: Plan, found: pl.DataFrame | None = None) -> pl.DataFrame:
    """The frame with the columns of `found` (`differences` of the same rows) and of the user's metrics.

    Without `found` those columns are null. Raises CompareError for a metric of the user's that raises on
    every pair, gives anything but a number, or a number out of its bounds.

    >>> from mirrorkit.records import SCHEMA
    >>> "similarity" in measured(SCHEMA.frame(), Plan()).columns
    True
    """
    if found is None:
        nulls = (
            pl.repeat(None, frame.height, dtype=kind, eager=True).alias(name)
            for name, kind in COLUMNS.items()
        )
        added = list(nulls)
    else:
        added = found.get_columns()
    known = _with(frame, added)
    return _with(known, [_values(known, name, metric) for name, metric in plan.metrics.items()])


def _with(frame: pl.DataFrame, added: Sequence[pl.Series]) -> pl.DataFrame:
    """The columns put together as they lie: with_columns would copy a frame that is in several chunks."""
    names = {column.name for column in added}
    return pl.DataFrame([*(column for column in frame.get_columns() if column.name not in names), *added])


def _values(frame: pl.DataFrame, name: str, metric: Metric) -> pl.Series:
    """A user's metric of each pair, within its bounds."""
    if isinstance(metric.value, pl.Expr):
        values = _of_expression(frame, name, metric.value)
    else:
        values = _of_function(frame, name, metric.value)
    if metric.bounds is not None:
        low, high = metric.bounds
        outside = (values < low) | (values > high)
        if outside.any():
            worst = values.filter(outside)[0]
            raise CompareError(
                f"metrics: {name!r} gave {worst!r}, which is not within its bounds {low:g} to {high:g}: "
                "give Metric(..., bounds=(low, high)), or bounds=None if it has none"
            )
    return values.alias(column_of(name))


def _of_expression(frame: pl.DataFrame, name: str, value: pl.Expr) -> pl.Series:
    try:
        values = frame.select(value.alias("value"))["value"]
        backwards = frame.reverse().select(value.alias("value"))["value"].reverse()
        middle = frame.height // 2
        halves = [part.select(value.alias("value"))["value"] for part in (frame[:middle], frame[middle:])]
    except Exception as error:  # Polars raises its own, and whatever a function in the expression does
        message = str(error).partition("\n")[0]
        raise CompareError(
            f"metrics: the expression of {name!r} cannot be run on the frame: {message}"
        ) from error
    if len(values) != frame.height:
        raise CompareError(
            f"metrics: the expression of {name!r} gives {len(values)} values for {frame.height} pairs"
        )
    if not (values.dtype.is_numeric() or values.dtype in (pl.Boolean, pl.Null)):
        raise CompareError(
            f"metrics: the expression of {name!r} gives {values.dtype}: give numbers, or true and false"
        )
    parts = (values[:middle], values[middle:])
    alone = all(len(a) == len(b) and a.eq_missing(b).all() for a, b in zip(halves, parts, strict=True))
    if not (alone and backwards.eq_missing(values).all()):
        raise CompareError(
            f"metrics: the expression of {name!r} looks at other pairs (a mean, a rank, a shift, ...), so "
            "that later pairs would change what earlier ones say: use each pair's own columns"
        )
    return values.cast(pl.Float64)


def _of_function(
    frame: pl.DataFrame, name: str, value: Callable[[dict[str, Any]], float | bool | None]
) -> pl.Series:
    """The function's values; null where it raised, if it did not always."""
    values: list[float | None] = []
    first: Exception | None = None
    raised = 0
    for row in frame.iter_rows(named=True):
        try:
            result = value(row)
        except Exception as error:  # the user's function may raise anything
            first, raised = first or error, raised + 1
            result = None
        values.append(_number(result, name))
    if first is not None and raised == frame.height:
        raise CompareError(
            f"metrics: {name!r} raised on every pair, first {type(first).__name__}: {first}; "
            "it is given a pair's row, a dict of the frame's columns"
        ) from first
    return pl.Series(values, dtype=pl.Float64)


def _number(result: Any, name: str) -> float | None:
    if result is None:
        return None
    try:
        if not isinstance(result, str | bytes):
            return float(result)
    except (TypeError, ValueError, OverflowError):
        pass
    raise CompareError(f"metrics: {name!r} gave {result!r} for a pair: give a number, True, False or None")
