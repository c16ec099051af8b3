"""The table for each part of the pairs: by tag, by length, by whatever."""

from collections.abc import Sequence

import polars as pl

from mirrorkit.compare import wording
from mirrorkit.compare.estimates import estimate
from mirrorkit.compare.plan import Plan
from mirrorkit.errors import CompareError

MOST_SLICES = 50
OUTSIDE = "one of {} slices: seen, not decided by; a search through subgroups is outside the guarantee"


def by(
    frame: pl.DataFrame, plan: Plan, part: str | pl.Expr, metrics: Sequence[str] | None = None
) -> pl.DataFrame:
    """The table of a comparison for each value of `part`, in a first column `slice`; `frame` is measured.

    A pair with several values (tags) is in the slice of each.

    Raises CompareError if the frame has no such column, there are more than 50 slices, or no such metric.
    """
    names = plan.names()
    if metrics is not None and not _are(metrics, names):
        raise CompareError(f"by: metrics={metrics!r}: give a list of metrics; there are {', '.join(names)}")
    expression = pl.col(part) if isinstance(part, str) else part
    if not isinstance(expression, pl.Expr):
        raise CompareError(f"by({part!r}): give the name of a column or a Polars expression")
    try:
        sliced = frame.with_columns(expression.alias("slice"))
    except Exception as error:  # Polars raises its own, and whatever a function in the expression does
        message = str(error).partition("\n")[0]
        raise CompareError(f"by: the expression cannot be run on the frame: {message}") from error
    if isinstance(sliced.schema["slice"], pl.List):
        # which Polars version it is decides whether an empty list has a row
        some = pl.when(pl.col("slice").list.len() > 0).then("slice")
        sliced = sliced.with_columns(some).explode("slice")
    if sliced.schema["slice"].is_nested():
        raise CompareError(
            f"by: slices are told apart by texts, numbers or categories, not {sliced.schema['slice']}"
        )
    # numbers in their order, not in that of their digits
    names = sliced["slice"].unique().sort(nulls_last=True).cast(pl.String).fill_null("none").to_list()
    sliced = sliced.with_columns(pl.col("slice").cast(pl.String).fill_null("none"))
    if len(names) > MOST_SLICES:
        raise CompareError(
            f"by: {len(names):,} slices, {MOST_SLICES} at most: cut numbers into ranges, as by "
            f"pl.col(...).qcut(4); the first are {wording.listing(names)}"
        )
    note = OUTSIDE.format(len(names))
    parts = [
        estimate(sliced.filter(pl.col("slice") == name), metrics, plan).select(
            pl.lit(name).alias("slice"), pl.all()
        )
        for name in names
    ]
    return pl.concat(parts).with_columns(
        pl.concat_str(pl.lit(note), pl.col("note"), separator="; ", ignore_nulls=True).alias("note")
    )


def _are(metrics: object, names: Sequence[str]) -> bool:
    return isinstance(metrics, list | tuple) and all(name in names for name in metrics)
