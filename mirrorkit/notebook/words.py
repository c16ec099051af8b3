"""A comparison in words and cells, the same for a terminal, a page and a figure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from mirrorkit.compare import wording
from mirrorkit.compare.selection import arms, of_arm
from mirrorkit.notebook.compared import Compared
from mirrorkit.records import CONTROL

STATES: Mapping[str, str] = {"passed": "✓ passed", "failed": "✗ failed", "open": "○ open"}
ANSWERS: Mapping[str, str] = {"switch": "✓ Switch", "keep": "✗ Keep", "keep collecting": "○ Keep collecting"}

FIRST = (
    "latency", "ttft", "over_slo", "cost", "input_tokens", "output_tokens", "errors", "identical",
    "similarity", "json_equal", "tool_calls", "json_valid", "preference", "judge",
)  # fmt: skip
"""The metrics that are in view from the start; the rest is folded unless a gate or a finding is about it."""

NET = "net of control"

_LONGEST = 2_000
_BEFORE_UNIT = re.compile(r"(?<=\d) (?=(?:%|s|points|tokens|characters|chars)(?![\w-]))")
_MISSING = re.compile(r"an interval takes [\d,]+ (?P<what>\w+): (?P<count>[\d,]+) missing")


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table: its label, its cells, and the numbers of its notes."""

    label: str
    is_main: bool
    pairs: str
    primary: str
    silent: str
    effect: str
    every_look: str
    one_look: str
    notes: tuple[int, ...]

    @property
    def mark(self) -> str:
        """The numbers of its notes in brackets; empty where it has none."""
        return f"[{','.join(map(str, self.notes))}]" if self.notes else ""


@dataclass(frozen=True, slots=True)
class ArmLines:
    """One arm of the table: the rows in view, those that are folded, and what has no row, in sentences."""

    title: str
    first: tuple[Line, ...]
    folded: tuple[Line, ...]
    without: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lines:
    """The table of a comparison: its arms, and each note with its number."""

    arms: tuple[ArmLines, ...]
    notes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class GateLine:
    """One gate: where it stands in words, since when or for how long still, the effect and its interval."""

    arm: str
    gate: str
    state: str
    pairs: str
    effect: str
    every_look: str


def shown(text: str) -> str:
    """A sentence that may hold names from the data, safe for a terminal; not yet for HTML."""
    return wording.name(text, _LONGEST)


def unbroken(text: str) -> str:
    """A sentence whose numbers stay on one line with their units.

    >>> unbroken("One call in 20 takes longer than 0.256 s.")
    'One call in 20 takes longer than 0.256\\xa0s.'
    """
    return _BEFORE_UNIT.sub("\N{NO-BREAK SPACE}", text)


def headline(frame: pl.DataFrame) -> str:
    """What was compared, in one line: pairs, period, models.

    >>> from mirrorkit.records import SCHEMA
    >>> headline(SCHEMA.frame())
    '0 pairs: none (primary) and none'
    """
    groups = frame["model_group"].unique(maintain_order=True).to_list()
    sent_to = f"{wording.listing(groups)} (primary) and {wording.listing(list(arms(frame)))}"
    pairs = f"{frame.height:,} pair{'' if frame.height == 1 else 's'}"
    when = period(frame)
    return f"{pairs}{', ' * bool(when)}{when}: {sent_to}"


def period(frame: pl.DataFrame) -> str:
    """When the first and the last request of the frame started, in UTC; empty where unknown."""
    first, last = frame.select(
        pl.col("started_at").min().dt.strftime("%Y-%m-%d %H:%M").alias("first"),
        pl.col("started_at").max().dt.strftime("%Y-%m-%d %H:%M").alias("last"),
    ).row(0)
    if first is None:
        return ""
    if first == last:
        return f"{first} UTC"
    same_day = first[:10] == last[:10]
    return f"{first} to {last[11:] if same_day else last} UTC"


def sentences(comparison: Compared) -> list[str]:
    """What the verdict says, arm by arm where there are several, first the arm that decides."""
    verdict = comparison.verdict
    each = [one.sentence for one in sorted(verdict.arms, key=lambda one: one.arm != verdict.arm)]
    return [shown(sentence) for sentence in each or [verdict.sentence]]


def gate_lines(comparison: Compared) -> list[GateLine]:
    """The gates, in the order of the arms."""
    rows = {(row["arm"], row["metric"]): row for row in main_rows(comparison.table)}
    return [
        _gate_line(gate, rows.get((gate["arm"], gate["metric"])))
        for gate in comparison.gates.iter_rows(named=True)
    ]


def _gate_line(gate: Mapping[str, Any], row: Mapping[str, Any] | None) -> GateLine:
    estimand, unit = (row["estimand"], row["unit"]) if row else ("", "")
    return GateLine(
        wording.name(gate["arm"]),
        wording.name(gate["gate"]),
        STATES[gate["state"]],
        _pairs_of(gate),
        wording.effect(gate["effect"], estimand, unit),
        wording.interval(gate["low"], gate["high"], estimand, unit),
    )


def _pairs_of(gate: Mapping[str, Any]) -> str:
    if gate["state"] != "open":
        return f"after {gate['decided_after']:,}"
    if gate["note"]:
        return str(gate["note"])
    needed = gate["pairs_needed"]
    if needed is None:
        return "cannot be told yet"
    return f"about {wording.three_digits(needed) if needed >= 100 else needed} more"


def main_rows(table: pl.DataFrame, metric: str | None = None) -> list[dict[str, Any]]:
    """The first row of each arm and metric, which its gate is about; of one metric, or of all."""
    chosen = table if metric is None else table.filter(pl.col("metric") == metric)
    return chosen.unique(["arm", "metric"], keep="first", maintain_order=True).to_dicts()


def lines(comparison: Compared) -> Lines:
    """The table in words; equal notes share a mark."""
    table = comparison.table
    in_view = {*FIRST, *comparison.plan.gates, *comparison.plan.metrics}
    in_view |= {finding.metric for finding in comparison.findings}
    notes: dict[str, int] = {}
    return Lines(tuple(_of_arm(table, arm, in_view, notes) for arm in arms(table)), notes)


def _of_arm(table: pl.DataFrame, arm: str, in_view: set[str], notes: dict[str, int]) -> ArmLines:
    title = "control (the primary's own group again)" if arm == CONTROL else wording.name(arm)
    first: list[Line] = []
    later: list[tuple[dict[str, Any], bool]] = []
    none: list[str] = []
    missing: list[str] = []
    before = None
    for row in of_arm(table, arm).iter_rows(named=True):
        is_main, before = row["metric"] != before, row["metric"]
        if not row["n"]:
            none += [_named(row["metric"])] * is_main
        elif row["effect"] is None and not is_main:
            # what control lacks, nobody waits for
            missing += [f"{_named(row['metric'])}: {_first(row['note'])}"] * (arm != CONTROL)
        elif row["metric"] in in_view and (is_main or arm != CONTROL):
            first.append(_line(row, is_main, notes))
        else:
            later.append((row, is_main))
    folded = [_line(row, is_main, notes) for row, is_main in later]
    without = [f"No usable pair: {', '.join(none)}."] if none else []
    without += [f"Not yet: {'; '.join(missing)}."] if missing else []
    return ArmLines(title, tuple(first), tuple(folded), tuple(without))


def _first(note: str | None) -> str:
    return (note or "unknown").partition(";")[0]


def _line(row: Mapping[str, Any], is_main: bool, notes: dict[str, int]) -> Line:
    estimand, unit = row["estimand"], row["unit"]
    side = "" if unit in ("tokens", "tokens/s") else unit.partition(" per ")[0].replace("characters", "chars")
    missing, told = _notes(row)
    for note in told:
        notes.setdefault(note, len(notes) + 1)
    return Line(
        _label(row, is_main),
        is_main,
        f"{row['n']:,}",
        wording.quantity(row["primary"], side).strip(),
        wording.quantity(row["silent"], side).strip(),
        wording.effect(row["effect"], estimand, side or unit),
        missing or wording.interval(row["low"], row["high"], estimand, side or unit),
        wording.interval(row["one_look_low"], row["one_look_high"], estimand, side or unit),
        tuple(sorted(notes[note] for note in told)),
    )


def _notes(row: Mapping[str, Any]) -> tuple[str, list[str]]:
    """How many pairs an interval still takes, to be said in its place, and what else the row's note says."""
    parts = row["note"].split("; ") if row["note"] else []
    missing = [found for part in parts if (found := _MISSING.fullmatch(part))]
    told = [part for part in parts if not _MISSING.fullmatch(part)]
    if missing:
        return f"{missing[0]['count']} {missing[0]['what']} missing", told
    unexplained = row["low"] is None and row["high"] is None and not any("interval" in part for part in parts)
    return "", [*["too few pairs for an interval"] * (unexplained and row["effect"] is not None), *told]


def _label(row: Mapping[str, Any], is_main: bool) -> str:
    """The metric; below it, what a further row of it is about."""
    if is_main:
        return _named(row["metric"])
    estimand = str(row["estimand"])
    if row["arm"] == CONTROL:
        # its further rows are folded, away from the metric's first
        return f"{_named(row['metric'])} {wording.name(estimand.removeprefix('difference of '), 24)}"
    if "net of control" in estimand:
        return NET
    if "corrected" in estimand:
        return "corrected"
    return wording.name(estimand.removeprefix("difference of ").removeprefix("difference "), 18)


def _named(metric: str) -> str:
    return wording.name(metric, 20).replace("_", " ")


def legend(comparison: Compared, table: Lines) -> Iterator[str]:
    """How the rows in view are to be read."""
    level = f"{100 * (1 - comparison.plan.alpha):g} %"
    yield f"Intervals hold at every look, however often, each at {level}."
    if comparison.plan.gates:
        yield "A gate is decided once, at the first pair where its margin is cleared, and stays so."
    in_view = {line.label for arm in table.arms for line in arm.first if line.is_main}
    metrics: dict[str, dict[str, None]] = {}
    for row in main_rows(comparison.table):
        if _named(row["metric"]) in in_view:
            metrics.setdefault(row["estimand"], {})[_named(row["metric"])] = None
    if metrics:
        listed = "; ".join(f"{', '.join(names)}: {estimand}" for estimand, names in metrics.items())
        yield f"Effects: {listed}. Ratios are silent over primary, differences silent minus primary."
    if any("geometric" in estimand for estimand in metrics):
        yield "The two sides of a geometric-mean ratio are geometric means, others are means per call."
    if any(line.label == NET for arm in table.arms for line in arm.first):
        yield (
            "Net of control: how often the primary differs from itself, how often the silent model "
            "differs from it, and how much more often that is."
        )


def warnings(comparison: Compared) -> list[str]:
    """What is to be known when reading; what is true of several arms is said once."""
    arms_of: dict[str, list[str | None]] = {}
    for pitfall in comparison.warnings:
        arms_of.setdefault(pitfall.text, []).append(pitfall.arm)
    return [
        shown(text if None in names else f"{wording.listing(names)}: {text}")
        for text, names in arms_of.items()
    ]
