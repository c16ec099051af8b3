"""The figures of a comparison: pairs go in, a Plotly figure comes out.

Each panel rests on the same pairs as the table's row of that metric, and says how many.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import polars as pl

from mirrorkit.compare.metrics import usable
from mirrorkit.compare.plan import DEFAULT_ALPHA
from mirrorkit.compare.prices import Saving, savings, split_of
from mirrorkit.compare.selection import SIDES, arms, of_arm
from mirrorkit.notebook import theme, words
from mirrorkit.notebook.compared import Compared
from mirrorkit.notebook.figures import bars, density, failures, forest, lags, panels, parts, percentiles
from mirrorkit.notebook.figures import trajectory as settling
from mirrorkit.records import CONTROL

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from mirrorkit.compare.trajectory import Path


_SAVINGS_SHOWN = 3
_SENTENCES_SHOWN = 3
_COUNTS_SHOWN = 3
"""The most numbers of pairs that a title of a narrow panel lists one by one."""


def overview(comparison: Compared, paths: "Sequence[Path]" = ()) -> "Figure":
    """The verdict in one figure: each gate with its interval and margin, latency, cost, errors, likeness.

    The first of `paths` is how the gate that decides, or is waited for, went. Raises nothing for what is
    unknown: a panel without data says so.
    """
    table, frame = comparison.table, comparison.frame
    gates = forest.marks(comparison)
    several = comparison.gates["arm"].n_unique() > 1
    settled = [settling.title(path, with_arm=several) for path in paths[:1]]
    figure = theme.grid(
        [
            "Gates",
            _titled("Latency", _in_table(table, "latency", parts.ARMS_SHOWN)),
            _titled("Cost per 1,000 requests", _in_table(table, "cost")),
            _titled("Failed calls", _in_table(table, "errors")),
            _titled("Identical answers", _in_table(table, "identical")),
            *(f"How it settled: {title}" for title in settled),
        ],
        title=words.ANSWERS[comparison.verdict.answer] if comparison.plan.gates else "No gates are set",
        subtitle="<br>".join(
            theme.lines(sentence, 3)
            for sentence in (
                *_verdicts(comparison),
                words.headline(frame),
                *_not_drawn(frame, {"Lines": parts.ARMS_SHOWN, "Bars": bars.ARMS_SHOWN}),
            )
        ),
        top_px=forest.height(gates),
    )
    top, *at = theme.places(5 + len(settled), top=True)
    forest.draw(figure, top, gates, comparison.plan.alpha)
    panels.distribution(figure, at[0], frame, "latency", "latency")
    bars.cost_bars(figure, at[1], words.main_rows(table, "cost"))
    bars.error_bars(figure, at[2], words.main_rows(table, "errors"))
    bars.identical_bars(figure, at[3], words.main_rows(table, "identical"))
    for path in paths[:1]:
        settling.draw(figure, at[4], path, on_log=settling.is_early(paths[:1]))
    return _with_legend(figure)


def latency(pairs: pl.DataFrame, alpha: float = DEFAULT_ALPHA) -> "Figure":
    """Latency and time to first token: how each side's are distributed, their ratio, and pair by pair.

    `pairs` has one row a pair, with the columns of `mirrorkit.records.SCHEMA`. The ratio at a percentile is
    silent over primary, drawn where at least ten pairs lie on either side; its band holds at every look with
    a chance of 1 - `alpha`. A hover over the pairs shows a prompt, if `pairs` has `messages`.

    >>> from mirrorkit.records import SCHEMA
    >>> len(latency(SCHEMA.frame()).data)
    2
    """
    measures = {"latency": ("Latency", "latency")}
    if pairs["stream"].any():
        measures["ttft"] = ("Time to first token", "time to first token")
    metrics = {
        f"{name}{what}": metric
        for metric, (name, _) in measures.items()
        for what in ("", ", silent ÷ primary")
    }
    clouds = {metric: density.densities(pairs, metric) for metric in measures}
    titles = [_of_pairs(pairs, panel, metric) for panel, metric in metrics.items()]
    titles += [
        density.title(arm, measures[metric][0], several=len(cloud.arms) > 1)
        for metric, cloud in clouds.items()
        for arm in cloud.arms
    ]
    notes = _not_drawn(pairs, {"Lines": parts.ARMS_SHOWN, "Densities": density.ARMS_SHOWN})
    figure = theme.grid(titles, title="Latency", subtitle=_subtitle(pairs, *notes))
    at = iter(theme.places(len(titles)))
    for metric, (_, words_of) in measures.items():
        panels.distribution(figure, next(at), pairs, metric, words_of)
        percentiles.ratios(figure, next(at), pairs, metric, alpha)
    for cloud in clouds.values():
        for arm in cloud.arms:
            density.draw(figure, next(at), cloud, arm)
    return _with_legend(figure)


def cost(pairs: pl.DataFrame, table: pl.DataFrame, volume: float | None = None) -> "Figure":
    """What 1,000 requests cost on each side by what was paid for, and the bill as the requests came.

    `pairs` has one row a pair, `table` is the table of their comparison; `volume` is the number of requests
    for which the subtitle says what a switch would save, 1,000 unless it is given. All in US dollars.

    Raises CompareError unless `volume` is a finite number above 0.

    >>> from mirrorkit.compare.rows import TABLE
    >>> from mirrorkit.records import SCHEMA
    >>> cost(SCHEMA.frame(), pl.DataFrame(schema=TABLE)).layout.title.text
    'Cost'
    """
    saved = savings(table, 1_000 if volume is None else volume)
    splits = {
        (arm, side): split_of(of_arm(pairs, arm), side) for arm in parts.arms_shown(pairs) for side in SIDES
    }
    notes = [*_savings(pairs, saved), *bars.split_notes(splits.values())]
    notes += _not_drawn(pairs, {"Lines": parts.ARMS_SHOWN, "Bars": bars.ARMS_SHOWN})
    figure = theme.grid(
        [
            _of_pairs(pairs, "Cost per 1,000 requests", "cost", bars.ARMS_SHOWN),
            _of_pairs(pairs, "Running bill", "cost"),
        ],
        title="Cost",
        subtitle=_subtitle(pairs, *notes),
    )
    bars.cost_bars(figure, (1, 1), words.main_rows(table, "cost"), splits)
    figure.update_layout(barmode="stack")
    panels.bills(figure, (1, 2), pairs)
    return _with_legend(figure)


def _savings(pairs: pl.DataFrame, saved: list[Saving]) -> list[str]:
    """What a switch would save, and which calls that is of; not escaped."""
    hits = {side: int(pairs[f"{side}_cache_hit"].sum()) for side in SIDES}
    of_what = "requests that no cache answers" if any(hits.values()) else "requests"
    told = [bars.saving(each, of_what) for each in saved if each.arm != CONTROL]
    notes = told[:_SAVINGS_SHOWN]
    if len(told) > _SAVINGS_SHOWN:
        notes.append(f"What a switch saves is told of {_SAVINGS_SHOWN} of {len(told):,} arms.")
    if any(hits.values()):
        listed = " and ".join(f"{count:,} {side}" for side, count in hits.items())
        notes.append(f"A cache answered {listed} calls: their pairs do not count in the costs.")
    return notes


def outputs(pairs: pl.DataFrame, table: pl.DataFrame, fields: pl.DataFrame) -> "Figure":
    """How the answers differ: likeness beside the control's, JSON fields, lengths, finish reasons, refusals.

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
    top = [bars.fields_title(differing)] if differing else []
    figure = theme.grid(
        [
            *top,
            _of_pairs(pairs, "Similarity to the primary", "similarity"),
            _of_pairs(pairs, "Identical answers", "identical", bars.ARMS_SHOWN),
            _of_pairs(pairs, "Answer length", "output_length"),
            _titled("Finish reasons", panels.ok_calls(pairs), "ok call"),
            _of_pairs(pairs, "Refusals", "refusals", bars.ARMS_SHOWN),
            _titled("Errors", panels.finished_calls(pairs), "call"),
        ],
        title="Answers",
        subtitle=_subtitle(
            pairs,
            *_not_drawn(pairs, {"Lines and kinds": parts.ARMS_SHOWN, "Shares of pairs": bars.ARMS_SHOWN}),
            *bars.fields_not_drawn(fields),
        ),
        top_px=bars.fields_height(differing) if differing else 0,
    )
    at = theme.places(6 + bool(differing), top=bool(differing))
    if differing:
        bars.field_bars(figure, at.pop(0), differing)
    panels.similarities(figure, at[0], pairs)
    bars.identical_bars(figure, at[1], words.main_rows(table, "identical"))
    panels.lengths(figure, at[2], pairs)
    panels.finish_reasons(figure, at[3], pairs)
    bars.refusal_bars(figure, at[4], words.main_rows(table, "refusals"))
    panels.error_kinds(figure, at[5], pairs)
    return _with_legend(figure)


def errors(pairs: pl.DataFrame) -> "Figure":
    """Failed calls over time by kind: the primary side above, each arm below, on the same scales.

    `pairs` has one row a pair, with the columns of `mirrorkit.records.SCHEMA`. A call is where its request
    started; one that was cancelled or abandoned neither failed nor succeeded, and is not counted.

    >>> from mirrorkit.records import SCHEMA
    >>> errors(SCHEMA.frame()).layout.title.text
    'Errors'
    """
    sides = failures.sides(pairs)
    figure = theme.grid(
        [failures.title(side) for side in sides.rows],
        title="Errors",
        subtitle=_subtitle(
            pairs, failures.sentence(sides), *_not_drawn(pairs, {"Rows": failures.ARMS_SHOWN})
        ),
        columns=1,
        panel_px=failures.PANEL_PX,
    )
    failures.draw(figure, sides)
    return _with_legend(figure)


def lag(pairs: pl.DataFrame) -> "Figure":
    """How much later silent calls were sent, and LiteLLM's own share of each latency; both over time, too.

    `pairs` has one row a pair, with the columns of `mirrorkit.records.SCHEMA`. Where lag or share grows, this
    process was the bottleneck, and the latencies are not the models' alone.

    >>> from mirrorkit.records import SCHEMA
    >>> lag(SCHEMA.frame()).layout.title.text
    'Lag'
    """
    seen = lags.lags(pairs)
    notes = [*lags.sentences(seen), *_not_drawn(pairs, {"Lines": parts.ARMS_SHOWN})]
    figure = theme.grid(lags.titles(seen), title="Lag", subtitle=_subtitle(pairs, *notes))
    lags.draw(figure, theme.places(4), seen)
    return _with_legend(figure)


def trajectory(comparison: Compared, paths: "Sequence[Path]") -> "Figure":
    """How the answer settled: for each path the estimate and its band over pairs, and what decided its gate.

    Raises nothing for what is unknown: a panel without data says so.
    """
    shown = paths[: settling.PANELS_SHOWN]
    arm = shown[0].arm if shown else None
    told = [each.sentence for each in comparison.verdict.arms or (comparison.verdict,) if each.arm == arm]
    notes = [*told[:1], settling.explained(shown)]
    if len(paths) > len(shown):
        notes.append(f"{len(paths) - len(shown):,} more gates are not drawn: ask for each by its metric.")
    figure = theme.grid(
        [settling.title(path) for path in shown] or ["No pairs<br>n = 0 pairs"],
        title=f"How the answer settled: {theme.escape(arm)}" if shown else "How the answer settled",
        subtitle="<br>".join(theme.lines(note, 3) for note in notes),
        top_px=settling.PANEL_PX if len(shown) <= 1 else 0,
    )
    if not shown:
        theme.say(figure, (1, 1), "no pairs")
    on_log = settling.is_early(shown)
    for at, path in zip(theme.places(len(shown), top=len(shown) == 1), shown, strict=True):
        settling.draw(figure, at, path, on_log=on_log)
    return _with_legend(figure)


def _verdicts(comparison: Compared) -> list[str]:
    """What the verdict says of the first arms, and of how many more it says something."""
    every = words.sentences(comparison)
    more = len(every) - _SENTENCES_SHOWN
    told = [f"And {more:,} more arm{'' if more == 1 else 's'} in .verdict."] if more > 0 else []
    return every[:_SENTENCES_SHOWN] + told


def _subtitle(pairs: pl.DataFrame, *more: str) -> str:
    """What was compared, and what else is to be known; each on lines of its own."""
    return "<br>".join(theme.lines(note, 2) for note in (words.headline(pairs), *more))


def _not_drawn(pairs: pl.DataFrame, most: Mapping[str, int]) -> list[str]:
    """How many arms there are beyond those that are drawn, of each of what is drawn: a note, if any."""
    every = len(arms(pairs))
    shown = {what: len(parts.arms_shown(pairs, count)) for what, count in most.items()}
    told = [f"{what}: {count} of {every:,} arms." for what, count in shown.items() if count < every]
    return [" ".join(told)] if told else []


def _of_pairs(pairs: pl.DataFrame, panel: str, metric: str, most: int = parts.ARMS_SHOWN) -> str:
    """The title of a panel that draws at most so many arms: how many pairs of each its metric rests on."""
    rests_on = usable(pairs, metric, ["arm"]).pairs
    return _titled(panel, [of_arm(rests_on, arm).height for arm in parts.arms_shown(pairs, most)])


def _in_table(table: pl.DataFrame, metric: str, most: int = bars.ARMS_SHOWN) -> list[int]:
    return [row["n"] for row in bars.drawn(words.main_rows(table, metric), most)]


def _titled(panel: str, counts: list[int], what: str = "pair") -> str:
    """A panel's title, with the number of pairs, one by one where they are few."""
    few = counts if len(counts) <= _COUNTS_SHOWN else [sum(counts)]
    listed = " + ".join(f"{count:,}" for count in few) or "0"
    return f"{panel}<br>n = {listed} {what}{'' if listed == '1' else 's'}"


def _with_legend(figure: "Figure") -> "Figure":
    """One legend entry per name, whichever panel has it first; lines and bars of one name have one each."""
    seen = set()
    for trace in figure.data:
        if trace.showlegend is None:
            trace.showlegend = (trace.name, trace.type) not in seen
            seen.add((trace.name, trace.type))
    return theme.with_room_for_legend(figure)
