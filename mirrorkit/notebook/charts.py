"""The figures of a comparison: pairs go in, a Plotly figure comes out.

Each panel rests on the same pairs as the table's row of that metric, and says how many.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import polars as pl

from mirrorkit.compare.metrics import usable
from mirrorkit.compare.selection import arms, of_arm
from mirrorkit.notebook import bars, forest, panels, theme, words
from mirrorkit.notebook.compared import Compared

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def overview(comparison: Compared) -> "Figure":
    """The verdict in one figure: each gate with its interval and margin, latency, cost, errors, likeness.

    Raises nothing for what is unknown: a panel without data says so.
    """
    table, frame = comparison.table, comparison.frame
    gates = forest.marks(comparison)
    figure = theme.grid(
        [
            "Gates",
            _titled("Latency", _in_table(table, "latency")),
            _titled("Cost per 1,000 requests", _in_table(table, "cost")),
            _titled("Failed calls", _in_table(table, "errors")),
            _titled("Identical answers", _in_table(table, "identical")),
        ],
        title=words.ANSWERS[comparison.verdict.answer],
        subtitle="<br>".join(
            theme.lines(sentence, 2) for sentence in (*words.sentences(comparison)[:3], words.headline(frame))
        ),
        top_px=forest.height(gates),
    )
    top, *at = theme.places(5, top=True)
    forest.draw(figure, top, gates, comparison.plan.alpha)
    panels.distribution(figure, at[0], frame, "latency", "latency")
    bars.cost_bars(figure, at[1], words.main_rows(table, "cost"))
    bars.error_bars(figure, at[2], words.main_rows(table, "errors"))
    bars.identical_bars(figure, at[3], words.main_rows(table, "identical"))
    return _with_legend(figure)


def latency(pairs: pl.DataFrame) -> "Figure":
    """Latency of both sides as distributions on a log axis, time to first token likewise, and their ratio.

    `pairs` has one row a pair, with the columns of `mirrorkit.records.SCHEMA`. The ratio at a percentile is
    silent over primary, drawn where at least ten pairs lie on either side.

    >>> from mirrorkit.records import SCHEMA
    >>> len(latency(SCHEMA.frame()).data)
    2
    """
    streams = bool(pairs["stream"].any())
    metrics = {"Latency": "latency", "Latency, silent ÷ primary": "latency"}
    if streams:
        metrics |= {"Time to first token": "ttft", "Time to first token, silent ÷ primary": "ttft"}
    figure = _grid(pairs, "Latency", metrics)
    panels.distribution(figure, (1, 1), pairs, "latency", "latency")
    panels.ratios(figure, (1, 2), pairs, "latency")
    if streams:
        panels.distribution(figure, (2, 1), pairs, "ttft", "time to first token")
        panels.ratios(figure, (2, 2), pairs, "ttft")
    return _with_legend(figure)


def cost(pairs: pl.DataFrame, table: pl.DataFrame) -> "Figure":
    """What 1,000 requests cost on each side, and the bill as the requests came, in US dollars.

    `pairs` has one row a pair, `table` is the table of their comparison.

    >>> from mirrorkit.compare.rows import TABLE
    >>> from mirrorkit.records import SCHEMA
    >>> cost(SCHEMA.frame(), pl.DataFrame(schema=TABLE)).layout.title.text
    'Cost'
    """
    figure = _grid(pairs, "Cost", {"Cost per 1,000 requests": "cost", "Running bill": "cost"})
    bars.cost_bars(figure, (1, 1), words.main_rows(table, "cost"))
    panels.bills(figure, (1, 2), pairs)
    return _with_legend(figure)


def outputs(pairs: pl.DataFrame, table: pl.DataFrame, fields: pl.DataFrame) -> "Figure":
    """How the answers differ: likeness beside the control's, JSON fields, lengths, finish reasons, errors.

    `pairs` is measured (see `mirrorkit.compare.measured`), `table` is the table of their comparison, and
    `fields` are its fields.

    >>> from mirrorkit.compare.answers.fields import FIELDS
    >>> from mirrorkit.compare.measured import measured
    >>> from mirrorkit.compare.plan import Plan
    >>> from mirrorkit.compare.rows import TABLE
    >>> from mirrorkit.records import SCHEMA
    >>> table, fields = pl.DataFrame(schema=TABLE), pl.DataFrame(schema=FIELDS)
    >>> outputs(measured(SCHEMA.frame(), Plan()), table, fields).layout.title.text
    'Answers'
    """
    differing = bars.differing(fields)
    top = [_titled("JSON fields and tool calls that differ", bars.counted(differing))] if differing else []
    figure = _grid(
        pairs,
        "Answers",
        {"Similarity to the primary": "similarity", "Identical answers": "identical",
         "Answer length": "output_length", "Finish reasons": None, "Errors": None},
        top=top,
        top_px=bars.fields_height(differing) if differing else 0,
    )  # fmt: skip
    at = theme.places(5 + bool(differing), top=bool(differing))
    if differing:
        bars.field_bars(figure, at.pop(0), differing)
    panels.similarities(figure, at[0], pairs)
    bars.identical_bars(figure, at[1], words.main_rows(table, "identical"))
    panels.lengths(figure, at[2], pairs)
    panels.finish_reasons(figure, at[3], pairs)
    panels.error_kinds(figure, at[4], pairs)
    return _with_legend(figure)


def _grid(
    pairs: pl.DataFrame,
    title: str,
    metrics: Mapping[str, str | None],
    *,
    top: Sequence[str] = (),
    top_px: int = 0,
) -> "Figure":
    """An empty figure with a panel for each name in `metrics`, under it the pairs its metric rests on."""
    counted = [
        _titled(panel, _in_pairs(pairs if metric is None else usable(pairs, metric).pairs, arms(pairs)))
        for panel, metric in metrics.items()
    ]
    subtitle = theme.lines(words.headline(pairs), 2)
    return theme.grid([*top, *counted], title=title, subtitle=subtitle, top_px=top_px)


def _in_pairs(pairs: pl.DataFrame, names: list[str]) -> list[int]:
    if len(names) > panels.GROUPS_SHOWN:
        return [pairs.height]
    return [of_arm(pairs, arm).height for arm in names]


def _in_table(table: pl.DataFrame, metric: str) -> list[int]:
    counts = [row["n"] for row in words.main_rows(table, metric)]
    return counts if len(counts) <= panels.GROUPS_SHOWN else [sum(counts)]


def _titled(panel: str, counts: list[int]) -> str:
    """A panel's title, with the number of pairs, arm by arm where the arms are few."""
    several = len(counts) > 1
    listed = " + ".join(f"{count:,}" for count in counts) or "0"
    return f"{panel}<br>n = {listed} pair{'' if listed == '1' and not several else 's'}"


def _with_legend(figure: "Figure") -> "Figure":
    """One legend entry per name, whichever panel has it first; lines and bars of one name have one each."""
    seen = set()
    for trace in figure.data:
        if trace.showlegend is None:
            trace.showlegend = (trace.name, trace.type) not in seen
            seen.add((trace.name, trace.type))
    return figure
