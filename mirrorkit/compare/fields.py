"""Which fields of JSON answers and tool calls differ, and whether more than the primary does from itself."""

import numpy as np
import polars as pl

from mirrorkit.compare.betting import bounds
from mirrorkit.records import CONTROL

MOST_PATHS = 200
"""Of an arm at most this many paths are shown, those that differ in the most pairs."""

KINDS = ("added", "removed", "type", "value")

FIELDS: dict[str, pl.DataType] = {
    "arm": pl.String(),
    "path": pl.String(),
    "n": pl.Int64(),
    "differs": pl.Float64(),
    **{kind: pl.Float64() for kind in KINDS},
    "n_control": pl.Int64(),
    "control": pl.Float64(),
    "net": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "reading": pl.String(),
}

_HALVES = np.array([0.0, 0.5, 1.0])


def fields(frame: pl.DataFrame, found: pl.DataFrame, alpha: float = 0.05) -> pl.DataFrame:
    """How often each field differs: one row per silent arm and path, those first that differ most.

    `found` is `differences(frame)`. Places in a list are taken together (`$.items[*].price`), and a path
    counts once a pair. `n` pairs have two JSON answers or two answers with tool calls; `differs` is the
    share of them in which the path differs, `added`, `removed`, `type` and `value` the shares by kind of
    change (a path in a list may have several in one pair). Of an arm the `MOST_PATHS` most frequent paths
    are shown.

    Over the `n_control` requests that also have such a control pair, `control` is the share in which the
    primary differs there from itself, and `net` by how much more often the silent model does: the mean of
    1{differs from the silent} - 1{differs from the control}, from -1 to 1. `low` and `high` are its
    anytime-valid interval by betting, at `alpha` divided by the arm's paths. `reading` is `differs`
    (`low` is above 0), `noise` (it differs in control too, and the interval holds 0), else `open`.

    >>> from mirrorkit.compare.differences import differences
    >>> from mirrorkit.records import SCHEMA
    >>> fields(SCHEMA.frame(), differences(SCHEMA.frame())).columns[:4]
    ['arm', 'path', 'n', 'differs']
    """
    pairs = (
        frame.select("arm", "request_id", changes=found["changes"])
        .filter(pl.col("changes").is_not_null())
        .with_row_index("pair")
    )
    places = _places(pairs)
    table = _shares(pairs, places).join(
        _against_control(pairs, places), on=["arm", "path"], how="left", maintain_order="left"
    )
    requests = _requests(pairs).group_by("arm").agg(n_control=pl.len())
    table = table.join(requests, on="arm", how="left", maintain_order="left").with_columns(
        pl.col("n_control", "more", "less", "in_control").fill_null(0)
    )
    counted = pl.when(pl.col("n_control") > 0)
    return (
        table.with_columns(
            *_intervals(table, alpha),
            control=counted.then(pl.col("in_control") / pl.col("n_control")),
            net=counted.then((pl.col("more") - pl.col("less")) / pl.col("n_control")),
        )
        .with_columns(reading=_reading())
        .sort("arm", pl.coalesce("net", "differs"), "differs", "path", descending=[False, True, True, False])
        .select(pl.col(name).cast(kind) for name, kind in FIELDS.items())
    )


def _places(pairs: pl.DataFrame) -> pl.DataFrame:
    """Each path and kind of change of each pair once, places in lists taken together."""
    return (
        pairs.select("pair", "arm", "changes")
        .explode("changes")
        .drop_nulls("changes")
        .unnest("changes")
        .with_columns(pl.col("path").str.replace_all(r"\[[0-9]+\]", "[*]"))
        .unique()
    )


def _shares(pairs: pl.DataFrame, places: pl.DataFrame) -> pl.DataFrame:
    """How often each path differs in each silent arm, the most frequent paths alone."""
    kinds = ((pl.col("change") == kind).sum().alias(kind) for kind in KINDS)
    return (
        places.filter(pl.col("arm") != CONTROL)
        .group_by("arm", "path")
        .agg(*kinds, differs=pl.col("pair").n_unique())
        .sort("arm", "differs", "path", descending=[False, True, False])
        .group_by("arm", maintain_order=True)
        .head(MOST_PATHS)
        .join(pairs.group_by("arm").agg(n=pl.len()), on="arm", maintain_order="left")
        .with_columns(pl.col("differs", *KINDS) / pl.col("n"))
    )


def _requests(pairs: pl.DataFrame) -> pl.DataFrame:
    """The requests with both a silent and a control pair: one row per silent arm and request."""
    once = pairs.select("arm", "request_id", "pair").unique(["arm", "request_id"], keep="first")
    control = once.filter(pl.col("arm") == CONTROL).select("request_id", control_pair="pair")
    return once.filter(pl.col("arm") != CONTROL).join(control, on="request_id")


def _against_control(pairs: pl.DataFrame, places: pl.DataFrame) -> pl.DataFrame:
    """In how many requests a path differs in the silent pair alone, in the control alone, in the control."""
    requests, hits = _requests(pairs), places.select("pair", "path").unique()
    silent = requests.join(hits, on="pair").select("arm", "request_id", "path", silent=True, control=False)
    control = requests.join(hits, left_on="control_pair", right_on="pair").select(
        "arm", "request_id", "path", silent=False, control=True
    )
    return (
        pl.concat([silent, control])
        .group_by("arm", "request_id", "path")
        .agg(pl.col("silent", "control").any())
        .group_by("arm", "path")
        .agg(
            more=(pl.col("silent") & ~pl.col("control")).sum().cast(pl.Int64),
            less=(pl.col("control") & ~pl.col("silent")).sum().cast(pl.Int64),
            in_control=pl.col("control").sum(),
        )
    )


def _intervals(table: pl.DataFrame, alpha: float) -> tuple[pl.Series, pl.Series]:
    """The interval of each row's mean of Z, null without control: one bet per path, on counts."""
    rows = table.select("n_control", "more", "less", shown=pl.len().over("arm")).iter_rows()
    ends = [_interval(n, more, less, alpha / shown) for n, more, less, shown in rows]
    low, high = ([end[at] for end in ends] for at in (0, 1))
    return pl.Series("low", low, dtype=pl.Float64), pl.Series("high", high, dtype=pl.Float64)


def _interval(n: int, more: int, less: int, alpha: float) -> tuple[float | None, float | None]:
    if n == 0:
        return None, None
    low, high = bounds(_HALVES, alpha, np.array([less, n - more - less, more]))
    return 2 * low - 1, 2 * high - 1


def _reading() -> pl.Expr:
    held = (pl.col("low") <= 0) & (pl.col("high") >= 0)
    return (
        pl.when(pl.col("low") > 0)
        .then(pl.lit("differs"))
        .when(held & (pl.col("control") > 0))
        .then(pl.lit("noise"))
        .otherwise(pl.lit("open"))
    )
