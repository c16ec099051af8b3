"""The table for each part of the pairs: by tag, by length, by whatever."""

from collections.abc import Sequence

import polars as pl

from mirrorkit.compare import wording
from mirrorkit.compare.estimates import as_table, estimate
from mirrorkit.compare.evidence import narrowed
from mirrorkit.compare.gathered import TEXTS
from mirrorkit.compare.outcomes import outcomes_in, why_no_slice
from mirrorkit.compare.plan import Plan
from mirrorkit.errors import CompareError

MOST_SLICES = 50
NONE = "(none)"
OUTSIDE = "one of {} slices: seen, not decided by; a search through subgroups is outside the guarantee"


def by(
    frame: pl.DataFrame, plan: Plan, part: str | pl.Expr, metrics: Sequence[str] | None = None
) -> pl.DataFrame:
    """The table of a comparison for each value of `part`, in a first column `slice`; `frame` is measured.

    A pair with several values (tags) is in the slice of each; one with none is in the slice "(none)".

    Raises CompareError if the frame has no such column, it is known only after the call, there are more than
    50 slices, or no such metric.
    """
    names = plan.names()
    if metrics is not None and not _are(metrics, names):
        raise CompareError(f"by: metrics={metrics!r}: give a list of metrics; there are {', '.join(names)}")
    expression = pl.col(part) if isinstance(part, str) else part
    if not isinstance(expression, pl.Expr):
        raise CompareError(f"by({part!r}): give the name of a column or a Polars expression")
    if outcomes := outcomes_in(expression):
        raise CompareError(f"by: {why_no_slice(outcomes[0])}")
    if absent := [
        name for name in TEXTS if name in expression.meta.root_names() and name not in frame.columns
    ]:
        raise CompareError(
            f"by: {absent[0]!r} is a long text, which the comparison of a lazy frame does not hold: make a "
            'column of what you need of it, as by lazy.with_columns(part=...), compare, and use by("part")'
        )
    try:
        values = frame.with_columns(expression.alias("slice"))["slice"]
    except Exception as error:  # Polars raises its own, and whatever a function in the expression does
        message = str(error).partition("\n")[0]
        raise CompareError(f"by: the expression cannot be run on the frame: {message}") from error
    rows, names = _rows_of_slices(values)
    if len(names) > MOST_SLICES:
        raise CompareError(
            f"by: {len(names):,} slices, {MOST_SLICES} at most: cut numbers into ranges, as by "
            f"pl.col(...).qcut(4); the first are {wording.listing(names)}"
        )
    note = OUTSIDE.format(len(names))
    read = narrowed(frame, [plan.metric(name) for name in metrics or plan.names()])
    parts = [
        estimate(read[rows[name]], metrics, plan).select(pl.lit(name).alias("slice"), pl.all())
        for name in names
    ]
    none = as_table({}).select(pl.lit("").alias("slice"), pl.all())
    return pl.concat([none, *parts]).with_columns(
        pl.concat_str(pl.lit(note), pl.col("note"), separator="; ", ignore_nulls=True).alias("note")
    )


def _rows_of_slices(values: pl.Series) -> tuple[dict[str, pl.Series], list[str]]:
    """The rows of each slice in their order, and the names of the slices in theirs."""
    placed = pl.DataFrame({"slice": values}).with_row_index("row")
    if isinstance(values.dtype, pl.List):
        # which Polars version it is decides whether an empty list has a row
        some = pl.when(pl.col("slice").list.len() > 0).then(pl.col("slice").list.unique())
        placed = placed.with_columns(some).explode("slice")
    texts, names = _named(placed["slice"])
    rows = placed.with_columns(texts).group_by("slice").agg("row")
    return dict(zip(rows["slice"], rows["row"], strict=True)), names


def _named(values: pl.Series) -> tuple[pl.Series, list[str]]:
    """The name of each pair's slice, and all names: numbers in their order, not in that of their digits."""
    refused = f"by: slices are told apart by texts, numbers or categories, not {values.dtype}"
    if values.dtype.is_nested() or values.dtype == pl.Object:
        raise CompareError(refused)
    try:
        texts = values.cast(pl.String)
        known = values.drop_nulls().unique().sort().cast(pl.String)
    except pl.exceptions.PolarsError as error:
        raise CompareError(refused) from error
    names = list(dict.fromkeys(known))
    if not values.null_count():
        return texts, names
    none = NONE
    while none in names:
        none = f"({none})"
    return texts.fill_null(none), [*names, none]


def _are(metrics: object, names: Sequence[str]) -> bool:
    return isinstance(metrics, list | tuple) and all(name in names for name in metrics)
