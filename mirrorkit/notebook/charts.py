"""The figures of a comparison: a frame goes in, a Plotly figure comes out.

Each panel rests on the same pairs as the table's row of that metric, and says how many.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl

from mirrorkit.compare.metrics import usable
from mirrorkit.compare.selection import arms, of_arm
from mirrorkit.notebook import panels, theme
from mirrorkit.notebook.display import headline

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def overview(frame: pl.DataFrame) -> "Figure":
    """Latency, cost, errors and answer length, in two by two panels.

    `frame` has one row a pair, with the columns of `mirrorkit.records.SCHEMA`.

    >>> from mirrorkit.records import SCHEMA
    >>> overview(SCHEMA.frame()).layout.title.text
    'Primary and silent, side by side'
    """
    figure = _grid(
        frame,
        "Primary and silent, side by side",
        {"Latency": "latency", "Cost per 1,000 requests": "cost", "Failed calls": "errors",
         "Answer length": "output_length"},
    )  # fmt: skip
    panels.distribution(figure, (1, 1), frame, "latency", "latency")
    panels.cost_bars(figure, (1, 2), frame)
    panels.error_bars(figure, (2, 1), frame)
    panels.lengths(figure, (2, 2), frame)
    return _with_legend(figure)


def latency(frame: pl.DataFrame) -> "Figure":
    """Latency of both sides as distributions on a log axis, time to first token likewise, and their ratio.

    The ratio at a percentile is silent over primary, drawn where at least ten pairs lie on either side.

    >>> from mirrorkit.records import SCHEMA
    >>> len(latency(SCHEMA.frame()).data)
    2
    """
    streams = bool(frame["stream"].any())
    metrics = {"Latency": "latency", "Latency, silent ÷ primary": "latency"}
    if streams:
        metrics |= {"Time to first token": "ttft", "Time to first token, silent ÷ primary": "ttft"}
    figure = _grid(frame, "Latency", metrics)
    panels.distribution(figure, (1, 1), frame, "latency", "latency")
    panels.ratios(figure, (1, 2), frame, "latency")
    if streams:
        panels.distribution(figure, (2, 1), frame, "ttft", "time to first token")
        panels.ratios(figure, (2, 2), frame, "ttft")
    return _with_legend(figure)


def cost(frame: pl.DataFrame) -> "Figure":
    """What 1,000 requests cost on each side, and the bill as the requests came, in US dollars.

    >>> from mirrorkit.records import SCHEMA
    >>> cost(SCHEMA.frame()).layout.title.text
    'Cost'
    """
    figure = _grid(frame, "Cost", {"Cost per 1,000 requests": "cost", "Running bill": "cost"})
    panels.cost_bars(figure, (1, 1), frame)
    panels.bills(figure, (1, 2), frame)
    return _with_legend(figure)


def outputs(frame: pl.DataFrame) -> "Figure":
    """How the answers differ: length, share of identical answers, finish reasons, kinds of errors.

    >>> from mirrorkit.records import SCHEMA
    >>> outputs(SCHEMA.frame()).layout.title.text
    'Answers'
    """
    figure = _grid(
        frame,
        "Answers",
        {"Answer length": "output_length", "Identical answers": "identical", "Finish reasons": None,
         "Errors": None},
    )  # fmt: skip
    panels.lengths(figure, (1, 1), frame)
    panels.identical_bars(figure, (1, 2), frame)
    panels.finish_reasons(figure, (2, 1), frame)
    panels.error_kinds(figure, (2, 2), frame)
    return _with_legend(figure)


def _grid(frame: pl.DataFrame, title: str, metrics: Mapping[str, str | None]) -> "Figure":
    """An empty figure with a panel for each name in `metrics`, under it the pairs its metric rests on."""
    counted = []
    for panel, metric in metrics.items():
        pairs = frame if metric is None else usable(frame, metric).pairs
        counted.append(f"{panel}<br>{_count(pairs, arms(frame))}")
    return theme.grid(counted, title=title, subtitle=theme.escape(headline(frame), 110))


def _count(pairs: pl.DataFrame, names: list[str]) -> str:
    """The number of pairs, arm by arm where the arms are few."""
    if 1 < len(names) <= panels.GROUPS_SHOWN:
        return f"n = {' + '.join(f'{of_arm(pairs, arm).height:,}' for arm in names)} pairs"
    return f"n = {pairs.height:,} pair{'' if pairs.height == 1 else 's'}"


def _with_legend(figure: "Figure") -> "Figure":
    """One legend entry per name, whichever panel has it first; lines and bars of one name have one each."""
    seen = set()
    for trace in figure.data:
        if trace.showlegend is None:
            trace.showlegend = (trace.name, trace.type) not in seen
            seen.add((trace.name, trace.type))
    return figure
