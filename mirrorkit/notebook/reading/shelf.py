"""Which pairs are read, and in which order: filters and sorts, worked out in Polars on the frame at once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches

import polars as pl

from mirrorkit.compare import wording
from mirrorkit.compare.answers.differences import COLUMNS
from mirrorkit.compare.evidence import by_arm, draw, narrowed
from mirrorkit.compare.examples import differences
from mirrorkit.compare.metrics import columns_of
from mirrorkit.compare.plan import Plan
from mirrorkit.compare.selection import SIDES, arms
from mirrorkit.errors import CompareError
from mirrorkit.notebook.reading.expression import expression
from mirrorkit.records import CONTROL

OLDEST, NEWEST = "oldest", "newest"
ALL_OK = "ok"

_NAME = 200
"""Characters of the longest name that is offered for choice."""

_ROW, _EXTENT = "row", "extent"
_TOLD_APART = ("status", "output", "tool_calls")
_EXAMPLE = 'give a condition such as pl.col("silent_latency_s") > 2'

Measure = Callable[[], pl.DataFrame]
"""Gives the pairs with what is worked out of their answers, and of the user's own metrics."""


@dataclass(frozen=True, slots=True)
class Query:
    """Which pairs to read, and in which order.

    `arm` None stands for all silent models. `status` is "ok" (both sides), or what either side has. `differs`
    wants pairs with another answer on each side, `unvoted` those without a preference. `expression` is the
    text of a condition on the columns (see `mirrorkit.notebook.reading.expression`). `sort` is "oldest",
    "newest" or a metric: the pairs that differ most in it come first.
    """

    arm: str | None = None
    tag: str | None = None
    status: str | None = None
    differs: bool = False
    unvoted: bool = False
    expression: str = ""
    sort: str = OLDEST


@dataclass(frozen=True, slots=True, eq=False)
class Picked:
    """The rows to read, in order, and by how much the sides of each differ in the metric that sorts them."""

    rows: pl.Series = field(repr=False)
    differences: pl.Series | None = field(repr=False, default=None)
    metric: str | None = None

    def __len__(self) -> int:
        return len(self.rows)


def pick(pairs: pl.DataFrame, query: Query, plan: Plan, measure: Measure | None = None) -> Picked:
    """The rows of the pairs that a query asks for, in its order.

    `measure` gives the same pairs with the columns of `mirrorkit.compare.measured`, and is called only where
    the query reads one of these.

    Raises CompareError for an expression that is none, or gives no true and false, and for a metric that
    there is not.

    >>> from mirrorkit.records import SCHEMA
    >>> len(pick(SCHEMA.frame(), Query(differs=True), Plan()))
    0
    """
    wanted = _conditions(pairs, query)
    if query.expression.strip():
        wanted.append(_by_expression(pairs, query.expression, plan, measure))
    keep = pairs.select(pl.all_horizontal(pl.lit(True), *wanted)).to_series()
    if len(keep) != pairs.height:  # no condition at all
        keep = pl.repeat(True, pairs.height, dtype=pl.Boolean, eager=True)
    rows = keep.arg_true().alias(_ROW)
    if query.sort in (OLDEST, NEWEST):
        return Picked(_by_time(pairs, rows, query.sort == NEWEST))
    return _by_metric(pairs, rows, query.sort, plan, measure)


def sorts_of(plan: Plan, blind: bool) -> list[str]:
    """What pairs can be sorted by; who is blind is not to see who won by where a pair stands.

    >>> set(sorts_of(Plan(), blind=False)) - set(sorts_of(Plan(), blind=True)) == {"judge", "preference"}
    True
    """
    return [OLDEST, NEWEST, *(name for name in plan.names() if not blind or plan.metric(name).order is None)]


def arms_of(pairs: pl.DataFrame) -> list[str]:
    """The arms that can be asked for, `control` last."""
    return [arm for arm in arms(pairs) if arm is not None and len(arm) <= _NAME]


def tags_of(pairs: pl.DataFrame, most: int = 100) -> list[str]:
    """The most frequent tags, by name."""
    counts = pairs["tags"].explode().drop_nulls().value_counts(sort=True)["tags"]
    return sorted(counts.filter(counts.str.len_chars() <= _NAME).head(most).to_list())


def statuses_of(pairs: pl.DataFrame) -> list[str]:
    """What calls came to besides "ok", on either side."""
    seen = pl.concat([pairs[f"{side}_status"].unique() for side in SIDES]).drop_nulls()
    return sorted(set(seen.to_list()) - {ALL_OK})


def difference_words(picked: Picked, at: int, plan: Plan) -> str:
    """By how much the sides of the pair at that place differ in the metric that sorts them, with its unit."""
    if picked.metric is None or picked.differences is None:
        return ""
    value, metric = picked.differences[at], plan.metric(picked.metric)
    if value is None:
        return wording.UNKNOWN
    if metric.kind in ("ratio", "median"):
        return wording.effect(value, "ratio")
    if metric.kind == "mean":
        return wording.quantity(value, metric.unit).strip()
    if metric.kind == "shares":
        return {1.0: "silent only", -1.0: "primary only"}.get(value, "the same")
    return wording.effect(value, "difference", metric.unit)


def with_said(pairs: pl.DataFrame, row: int, preference: str | None, note: str | None) -> pl.DataFrame:
    """The pairs, with another preference and note in that row; the frame given stays as it is."""
    said = {"preference": preference, "note": note}
    return pairs.with_columns(
        pairs[name].clone().scatter(row, pl.Series([value], dtype=pl.String)) for name, value in said.items()
    )


def _conditions(pairs: pl.DataFrame, query: Query) -> list[pl.Expr]:
    wanted = []
    if query.arm is not None:
        wanted.append(pl.col("arm") == query.arm)
    elif arms(pairs) != [CONTROL]:
        wanted.append(pl.col("arm").ne_missing(CONTROL))  # where the primary differs from itself
    if query.tag is not None:
        wanted.append(pl.col("tags").list.contains(query.tag))
    if query.status is not None:
        statuses = [pl.col(f"{side}_status") == query.status for side in SIDES]
        wanted.append((pl.all_horizontal if query.status == ALL_OK else pl.any_horizontal)(statuses))
    if query.differs:
        wanted.append(
            pl.any_horizontal(
                pl.col(f"primary_{name}").ne_missing(pl.col(f"silent_{name}")) for name in _TOLD_APART
            )
        )
    if query.unvoted:
        wanted.append(pl.col("preference").is_null())
    return wanted


def _by_expression(pairs: pl.DataFrame, text: str, plan: Plan, measure: Measure | None) -> pl.Expr:
    """What a filter says of each pair; what is wrong with it is told, as it is shown beside its field."""
    try:
        wanted = expression(text)
        missing = [name for name in wanted.meta.root_names() if name not in pairs.columns]
        _check_known(missing, pairs, plan)
        if measure is not None and missing:
            pairs = measure()
        keep = pairs.lazy().with_columns(wanted.alias(_ROW)).select(_ROW).collect()[_ROW]
    except CompareError:
        raise
    except (Exception, pl.exceptions.PanicException) as error:
        first = str(error).strip().partition("\n")[0]
        raise CompareError(f"{type(error).__name__}: {first or _EXAMPLE}") from error
    if keep.dtype != pl.Boolean:
        raise CompareError(f"this gives {keep.dtype}, not true or false: {_EXAMPLE}")
    return pl.lit(keep)


def _check_known(missing: list[str], pairs: pl.DataFrame, plan: Plan) -> None:
    """Raises CompareError for a column that is not there, and not worked out either, which takes a while."""
    worked_out = {*COLUMNS, *(name for each in plan.names() for name in columns_of(plan.metric(each)))}
    for name in missing:
        if name not in worked_out:
            near = get_close_matches(name[:_NAME], sorted({*pairs.columns, *worked_out}), 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise CompareError(f"there is no column {name[:_NAME]!r}{hint}")


def _by_time(pairs: pl.DataFrame, rows: pl.Series, newest: bool) -> pl.Series:
    started = pairs["started_at"].gather(rows)
    if not newest and started.null_count() == 0 and started.is_sorted():
        return rows
    keys = pl.DataFrame([rows, started])
    return keys.sort("started_at", descending=newest, nulls_last=True, maintain_order=True)[_ROW]


def _by_metric(
    pairs: pl.DataFrame, rows: pl.Series, name: str, plan: Plan, measure: Measure | None
) -> Picked:
    if name not in plan.names():
        raise CompareError(f"there is no metric {name!r}; there are {', '.join(plan.names())}")
    metric = plan.metric(name)
    if measure is not None and columns_of(metric) - set(pairs.columns):
        pairs = measure()
    numbered = narrowed(pairs, [metric]).with_row_index(_ROW)
    drawn = [draw(of_arm, metric, keep=[_ROW]) for of_arm in by_arm(numbered[rows]).values()]
    found = [each.pairs.select(_ROW).with_columns(*differences(each, plan)) for each in drawn]
    known = pl.concat(found) if found else pl.DataFrame(schema={_ROW: rows.dtype, "difference": pl.Float64})
    if known.is_empty():
        return Picked(rows, pl.repeat(None, len(rows), dtype=pl.Float64, eager=True), name)
    # each by a stable order: those as different as another keep the order of the record
    ranked = rows.to_frame().join(known, on=_ROW, how="left", maintain_order="left")
    ranked = ranked.sort(_EXTENT, descending=True, nulls_last=True, maintain_order=True)
    return Picked(ranked[_ROW], ranked["difference"], name)
