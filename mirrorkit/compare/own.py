"""The user's own metrics, worked out on each pair."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import polars as pl

from mirrorkit.compare.gathered import TEXTS, batches, of_pairs, put_together
from mirrorkit.compare.metrics import Metric, column_of, raised_of
from mirrorkit.errors import CompareError


def of_user(frame: pl.DataFrame, metrics: Mapping[str, Metric], lazy: pl.LazyFrame | None) -> pl.DataFrame:
    """Two columns for each metric, a row for each pair of the frame: its values, and whether it raised.

    They are `column_of` and `raised_of` its name. Where the frame is without texts, `lazy` is the record that
    has them. Raises CompareError for a metric that raises on every pair, gives anything but a number, or a
    number out of its bounds.

    >>> from mirrorkit.records import SCHEMA
    >>> of_user(SCHEMA.frame(), {"slow": Metric(pl.col("silent_latency_s") > 9)}, None).columns
    ['metric slow', 'raised by slow']
    """
    if not metrics:
        return pl.DataFrame()
    own = [_Own(name, metric) for name, metric in metrics.items()]
    texts = [name for name in TEXTS if any(_may_read(metric, name) for metric in metrics.values())]
    parts = [
        pl.DataFrame([rows["pair_id"], *(column for each in own for column in each.values(rows))])
        for rows in _with_texts(frame, texts, lazy)
    ]
    for each in own:
        each.check()
    return of_pairs(pl.concat(parts), frame["pair_id"]).drop("pair_id")


def _may_read(metric: Metric, name: str) -> bool:
    """What a function reads nobody knows; nor, beforehand, what a wildcard stands for."""
    if not isinstance(metric.value, pl.Expr):
        return True
    names = metric.value.meta.root_names()
    return name in names or not names or metric.value.meta.has_multiple_outputs()


def _with_texts(frame: pl.DataFrame, texts: list[str], lazy: pl.LazyFrame | None) -> Iterator[pl.DataFrame]:
    at = 0
    for batch in batches(frame, lazy, texts):
        missing = batch.select(name for name in texts if name not in frame.columns)
        yield put_together(of_pairs(frame, batch["pair_id"], at), missing)
        at += batch.height


class _Own:
    """A metric of the user's, and on how many pairs it raised."""

    def __init__(self, name: str, metric: Metric) -> None:
        self._name, self._metric = name, metric
        self._pairs = self._raised = 0
        self._first: Exception | None = None

    def values(self, frame: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
        """The metric of each pair, within its bounds, and where it raised, and so is null."""
        name, value, bounds = self._name, self._metric.value, self._metric.bounds
        if isinstance(value, pl.Expr):
            values = _of_expression(frame, name, value)
            raised = pl.repeat(False, frame.height, dtype=pl.Boolean, eager=True)
        else:
            values, raised = self._of_function(frame, value)
        if bounds is not None:
            low, high = bounds
            outside = (values < low) | (values > high)
            if outside.any():
                worst = values.filter(outside)[0]
                raise CompareError(
                    f"metrics: {name!r} gave {worst!r}, which is not within its bounds {low:g} to {high:g}: "
                    "give Metric(..., bounds=(low, high)), or bounds=None if it has none"
                )
        return values.alias(column_of(name)), raised.alias(raised_of(name))

    def check(self) -> None:
        """Raises CompareError if the metric raised on every pair."""
        if self._first is not None and self._raised == self._pairs:
            raise CompareError(
                f"metrics: {self._name!r} raised on every pair, first {type(self._first).__name__}: "
                f"{self._first}; it is given a pair's row, a dict of the frame's columns"
            ) from self._first

    def _of_function(
        self, frame: pl.DataFrame, value: Callable[[dict[str, Any]], float | bool | None]
    ) -> tuple[pl.Series, pl.Series]:
        values: list[float | None] = []
        raised: list[bool] = []
        for row in frame.iter_rows(named=True):
            try:
                result, failed = value(row), False
            except Exception as error:  # the user's function may raise anything
                self._first = self._first or error
                result, failed = None, True
            values.append(_number(result, self._name))
            raised.append(failed)
        self._pairs += frame.height
        self._raised += sum(raised)
        return pl.Series(values, dtype=pl.Float64), pl.Series(raised, dtype=pl.Boolean)


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


def _number(result: Any, name: str) -> float | None:
    if result is None:
        return None
    try:
        if not isinstance(result, str | bytes):
            return float(result)
    except (TypeError, ValueError, OverflowError):
        pass
    raise CompareError(f"metrics: {name!r} gave {result!r} for a pair: give a number, True, False or None")
