"""Which fields of JSON answers and tool calls differ, and whether more than the primary does from itself."""

import numpy as np
import polars as pl

from mirrorkit.compare.evidence import Whole
from mirrorkit.compare.intervals import of_bounded
from mirrorkit.compare.statistics.betting import bounds
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

# JSON and tool calls are counted apart: a field of the one is in no answer of the other
_OF = ["arm", "kind"]
_HALVES = np.array([0.0, 0.5, 1.0])


def fields(frame: pl.DataFrame, found: pl.DataFrame, alpha: float = 0.05) -> pl.DataFrame:
    """How often each field differs: one row per silent arm and path, those first that differ most.

    `found` is `differences(frame)`. Places in a list are taken together (`$.items[*].price`), and a path
    counts once a pair. Of `n` pairs at least one answer is JSON, or for a path in a tool call calls tools;
    where only one of the two is or does, that is a change of all there is (`$`, `tool_calls`). `differs` is
    the share of them in which the path differs, `added`, `removed`, `type` and `value` the shares by kind of
    change (a path in a list may have several in one pair). Of an arm's JSON, and of its tool calls, the
    `MOST_PATHS` most frequent paths are shown.

    Over the `n_control` requests that also have such a control pair, `control` is the share in which the
    primary differs there from itself, and `net` by how much more often the silent model does: the mean of
    1{differs from the silent} - 1{differs from the control}, from -1 to 1. `low` and `high` are its
    anytime-valid interval, at `alpha` divided by all paths that differ in the arm: by betting, or clustered
    where conversations (`cluster`) have several requests. `reading` is `differs` (`low` is above 0), `noise`
    (it differs in control too, and the interval holds 0), else `open`.

    >>> from mirrorkit.compare.answers.differences import differences
    >>> from mirrorkit.records import SCHEMA
    >>> fields(SCHEMA.frame(), differences(SCHEMA.frame())).columns[:4]
    ['arm', 'path', 'n', 'differs']
    """
    pairs = _pairs(frame, found)
    places, requests = _places(pairs), _requests(pairs)
    both = _both(requests, places)
    table = _shares(pairs, places).join(
        _against_control(both), on=[*_OF, "path"], how="left", maintain_order="left"
    )
    counts = requests.group_by(_OF).agg(n_control=pl.len())
    table = table.join(counts, on=_OF, how="left", maintain_order="left").with_columns(
        pl.col("n_control", "more", "less", "in_control").fill_null(0)
    )
    counted = pl.when(pl.col("n_control") > 0)
    return (
        table.with_columns(
            *_intervals(table, requests, both, alpha),
            control=counted.then(pl.col("in_control") / pl.col("n_control")),
            net=counted.then((pl.col("more") - pl.col("less")) / pl.col("n_control")),
        )
        .with_columns(reading=_reading())
        .sort("arm", pl.coalesce("net", "differs"), "differs", "path", descending=[False, True, True, False])
        .select(pl.col(name).cast(kind) for name, kind in FIELDS.items())
    )


def _pairs(frame: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Each pair with the changes in its JSON, and with those in its tool calls, where a side has any."""
    named = pl.DataFrame([*(frame[name] for name in ("arm", "request_id", "cluster")), *found.get_columns()])
    changed = named.filter(pl.col("changes").is_not_null())
    of_kind = {
        "$": pl.col("json_equal").is_not_null(),
        "tool_calls": pl.col("tool_names_equal").is_not_null(),
    }
    return pl.concat(
        changed.filter(holds).select("arm", "request_id", "cluster", "changes", kind=pl.lit(kind))
        for kind, holds in of_kind.items()
    ).with_row_index("pair")


def _places(pairs: pl.DataFrame) -> pl.DataFrame:
    """Each path and kind of change of each pair once, places in lists taken together."""
    return (
        pairs.select("pair", *_OF, "changes")
        .explode("changes")
        .drop_nulls("changes")
        .unnest("changes")
        .filter(pl.col("path").str.starts_with(pl.col("kind")))
        .with_columns(pl.col("path").str.replace_all(r"\[[0-9]+\]", "[*]"))
        .unique()
    )


def _shares(pairs: pl.DataFrame, places: pl.DataFrame) -> pl.DataFrame:
    """How often each path differs in each silent arm, the most frequent paths alone."""
    kinds = ((pl.col("change") == kind).sum().alias(kind) for kind in KINDS)
    return (
        places.filter(pl.col("arm") != CONTROL)
        .group_by(*_OF, "path")
        .agg(*kinds, differs=pl.col("pair").n_unique())
        .with_columns(seen=pl.len().over("arm"))
        .sort("arm", "differs", "path", descending=[False, True, False])
        .group_by("arm", maintain_order=True)
        .head(MOST_PATHS)
        .join(pairs.group_by(_OF).agg(n=pl.len()), on=_OF, maintain_order="left")
        .with_columns(pl.col("differs", *KINDS) / pl.col("n"))
    )


def _requests(pairs: pl.DataFrame) -> pl.DataFrame:
    """The requests with both a silent and a control pair: one row per silent arm and request."""
    once = pairs.drop("changes").unique([*_OF, "request_id"], keep="first", maintain_order=True)
    control = once.filter(pl.col("arm") == CONTROL).select("request_id", "kind", control_pair="pair")
    silent = once.filter(pl.col("arm") != CONTROL)
    both = silent.join(control, on=["request_id", "kind"], how="inner")
    # in one order, whatever that of the rows: sums are rounded by it
    return both.sort(*_OF, "request_id").with_columns(
        place=pl.int_range(pl.len()).over(_OF),
        code=pl.col("cluster").rank("dense").fill_null(0).cast(pl.Int64) - 1,
    )


def _both(requests: pl.DataFrame, places: pl.DataFrame) -> pl.DataFrame:
    """Each path that differs in a request's silent pair or in its control pair, and in which of the two."""
    hits = places.select("pair", "path").unique()
    of_silent = requests.join(hits, on="pair").with_columns(silent=True, control=False)
    of_control = requests.join(hits, left_on="control_pair", right_on="pair").with_columns(
        silent=False, control=True
    )
    columns = [*_OF, "place", "path", "silent", "control"]
    together = pl.concat([of_silent.select(columns), of_control.select(columns)])
    return together.group_by(*_OF, "place", "path").agg(pl.col("silent", "control").any())


def _against_control(both: pl.DataFrame) -> pl.DataFrame:
    """In how many requests a path differs in the silent pair alone, in the control alone, in the control."""
    return both.group_by(*_OF, "path").agg(
        more=(pl.col("silent") & ~pl.col("control")).sum().cast(pl.Int64),
        less=(pl.col("control") & ~pl.col("silent")).sum().cast(pl.Int64),
        in_control=pl.col("control").sum(),
    )


def _intervals(
    table: pl.DataFrame, requests: pl.DataFrame, both: pl.DataFrame, alpha: float
) -> tuple[pl.Series, pl.Series]:
    """The interval of each row's mean of Z, null without control."""
    conversations = _conversations(requests)
    ends = []
    for row in table.iter_rows(named=True):
        codes, share = conversations.get((row["arm"], row["kind"])), alpha / row["seen"]
        if codes is None:
            ends.append(_interval(row["n_control"], row["more"], row["less"], share))
            continue
        hit = both.filter((pl.col("arm") == row["arm"]) & (pl.col("path") == row["path"]))
        z = np.zeros(len(codes))
        z[hit["place"].to_numpy()] = hit["silent"].cast(pl.Float64) - hit["control"].cast(pl.Float64)
        ends.append(of_bounded(z, (-1.0, 1.0), share, codes) or (None, None))
    low, high = ([end[at] for end in ends] for at in (0, 1))
    return pl.Series("low", low, dtype=pl.Float64), pl.Series("high", high, dtype=pl.Float64)


def _conversations(requests: pl.DataFrame) -> dict[tuple[str, str], Whole]:
    """The codes of the clusters of each arm's requests, JSON and tool calls apart, where some come twice."""
    known = requests.filter(pl.col("code") >= 0)
    again = known.filter(pl.struct(*_OF, "code").is_duplicated()).select(_OF).unique()
    return {
        (arm, kind): requests.filter((pl.col("arm") == arm) & (pl.col("kind") == kind))["code"].to_numpy()
        for arm, kind in again.iter_rows()
    }


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
