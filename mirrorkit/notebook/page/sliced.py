"""The table for each part of the pairs: by tag, by model group, streamed or not, by arm."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

import polars as pl

from mirrorkit.compare import wording
from mirrorkit.compare.selection import arms
from mirrorkit.notebook.compared import Compared
from mirrorkit.records import CONTROL

PARTS = {"tags": "tag", "model_group": "model group", "stream": "streamed", "arm": "arm"}
"""The columns that the pairs are sliced by, and what their values are called."""

MOST = 8
"""Slices of a column, at most; one with more is left out, as is one that is the same in all pairs."""

_OUTSIDE = (
    "These are intervals and no verdicts: a search through slices for one that looks good is outside the "
    "guarantee. What is found here is a question for new pairs."
)
_ALWAYS = ("latency", "cost", "errors", "similarity")
_COLUMNS = 5


def slices(comparison: Compared) -> str:
    """The gates' metrics, and the usual ones, for each part of the pairs; empty where there are no parts."""
    metrics = list(dict.fromkeys((*comparison.plan.gates, *_ALWAYS)))[:_COLUMNS]
    shown = "".join(_part(comparison, part, metrics) for part in PARTS if _is_sliced(comparison.frame, part))
    return f"<section><h2>Slices</h2><p>{_OUTSIDE}</p>{shown}</section>" if shown else ""


def _is_sliced(frame: pl.DataFrame, part: str) -> bool:
    """Whether the column has some values, and not too many; that a pair has none is one too."""
    values = frame[part]
    if part == "arm":
        values = values.filter(values != CONTROL)
    if isinstance(values.dtype, pl.List):
        # which Polars version it is decides whether an empty list has a row
        some = pl.when(pl.col(part).list.len() > 0).then(part)
        values = frame.select(some).to_series().explode()
    return 2 <= values.n_unique() <= MOST


def _part(comparison: Compared, part: str, metrics: list[str]) -> str:
    table = (
        comparison.table.with_columns(pl.col("arm").alias("slice"))
        if part == "arm"
        else comparison.by(part, metrics)
    )
    mirrored = [arm for arm in arms(comparison.frame) if arm != CONTROL] or [CONTROL]
    main = table.filter(pl.col("metric").is_in(metrics) & pl.col("arm").is_in(mirrored)).unique(
        ["slice", "arm", "metric"], keep="first", maintain_order=True
    )
    measured = [metric for metric in metrics if main.filter(pl.col("metric") == metric)["n"].sum()]
    several = part != "arm" and len(mirrored) > 1
    head = f'<th scope="col">{PARTS[part]}</th>' + '<th scope="col">arm</th>' * several
    head += "".join(f'<th scope="col">{escape(_named(metric))}</th>' for metric in measured)
    rows = "".join(_rows(main, measured, part, several))
    return (
        f'<div class="wide"><table class="slices"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _named(metric: str) -> str:
    return wording.name(metric, 30).replace("_", " ")


def _rows(main: pl.DataFrame, metrics: list[str], part: str, several: bool) -> Iterator[str]:
    for (value, arm), rows in main.group_by("slice", "arm", maintain_order=True):
        found = {row["metric"]: row for row in rows.iter_rows(named=True)}
        name = {"true": "yes", "false": "no"}.get(str(value), str(value)) if part == "stream" else str(value)
        cells = "".join(_cell(found.get(metric)) for metric in metrics)
        of_arm = f"<td>{escape(wording.name(str(arm)))}</td>" * several
        yield f'<tr><th scope="row">{escape(wording.name(name))}</th>{of_arm}{cells}</tr>'


def _cell(row: Mapping[str, Any] | None) -> str:
    """The effect, the interval that holds at every look where there is one, and of how many pairs."""
    if row is None or not row["n"]:
        return f"<td>{wording.UNKNOWN}</td>"
    estimand, unit = str(row["estimand"]), str(row["unit"])
    effect = wording.effect(row["effect"], estimand, unit)
    interval = wording.interval(row["low"], row["high"], estimand, unit)
    known = "" if interval == wording.UNKNOWN else f'<span class="muted">{escape(interval)}</span>'
    return f'<td><span>{escape(effect)}</span>{known}<span class="muted">{row["n"]:,} pairs</span></td>'
