"""Switch, keep, or keep collecting: the first prefix of the pairs at which the gates say so."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import polars as pl

from mirrorkit.compare import wording
from mirrorkit.compare.estimates import every_look
from mirrorkit.compare.evidence import TIME, Evidence
from mirrorkit.compare.gates import crossing, pairs_needed
from mirrorkit.compare.intervals import is_bounded
from mirrorkit.compare.omissions import too_many, why_open
from mirrorkit.compare.plan import Plan, gate_words
from mirrorkit.compare.statistics.clusters import means
from mirrorkit.compare.waves import Share

Answer = Literal["switch", "keep", "keep collecting"]
State = Literal["passed", "failed", "open"]

GATES: dict[str, pl.DataType] = {
    "arm": pl.String(),
    "metric": pl.String(),
    "gate": pl.String(),
    "margin": pl.Float64(),
    "state": pl.String(),
    "decided_after": pl.Int64(),
    "n": pl.Int64(),
    "primary": pl.Float64(),
    "silent": pl.Float64(),
    "effect": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "pairs_needed": pl.Int64(),
    "note": pl.String(),
}


_OF_THE_TABLE = ("n", "primary", "silent", "effect", "low", "high")
"""What all of the arm's pairs show, as the table has it."""

_DOES = {
    "errors": "fails in",
    "over_slo": "is late in",
    "blank": "is blank in",
    "refusals": "refuses in",
    "truncated": "is cut at its length in",
    "json_valid": "gives valid JSON in",
}
"""What is done in a share of the requests."""


@dataclass(frozen=True, slots=True)
class GateResult:
    """One gate of one arm: where it stands, since when, and how many more of the arm's pairs it may take."""

    arm: str
    metric: str
    words: str
    margin: float
    lower: bool
    """whether lower is better: it passes below its margin"""
    state: State
    decided_after: int | None
    """how many of the arm's pairs it took"""
    at: int | None
    """when, on the axis of the evidence's times"""
    more: int | None
    heads_for: State
    note: str | None
    awaits_labels: bool
    seen: str
    """the effect when it was decided, or as it is now, in words; empty without a pair"""
    since: str = ""
    """what the pairs since the decision show, in words, where they are on the other side of the margin"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """May you switch? `answer` in a word, `sentence` in words, `decided_by` the gate's metric that decides.

    `arm` is the silent model it is about; `after` how many of its pairs it took; `pairs_needed` about how
    many more it may take, None if it is decided or cannot be told. `arms` has the verdict on each silent arm
    where there are several: what stands once it is given is the verdict on an arm; with a new arm there is a
    new question, and "keep" may become "keep collecting".
    """

    answer: Answer
    sentence: str
    decided_by: str | None = None
    arm: str | None = None
    after: int | None = None
    pairs_needed: int | None = None
    arms: "tuple[Verdict, ...]" = field(default=(), repr=False)

    def __str__(self) -> str:
        return self.sentence


def within_budget(pairs: pl.DataFrame, plan: Plan) -> pl.DataFrame:
    """The pairs of an arm that gates may look at."""
    return pairs if plan.max_pairs is None else pairs.head(plan.max_pairs)


def judge_gate(evidence: Evidence, pairs: pl.DataFrame, plan: Plan, arm: str, share: Share) -> GateResult:
    """Where the gate on the evidence's metric stands; `pairs` are all of the arm's, in order.

    Both are within the plan's budget of pairs, see `within_budget`; `share` is what the arm may err with.
    """
    name, margin = evidence.metric.name, plan.gates[evidence.metric.name]
    allowed = share.alphas(evidence.times, plan.alpha)
    crossed = crossing(evidence, margin, allowed, allowed / len(plan.gates), plan.min_span)
    passed, failed = (
        None if index is None else int(evidence.times[index]) for index in (crossed.passed, crossed.failed)
    )
    state: State = "open"
    if failed is not None and (passed is None or failed < passed):
        state = "failed"
    elif passed is not None:
        state = "passed"
    at = failed if state == "failed" else passed
    decided = crossed.failed if state == "failed" else crossed.passed
    more: int | None = None
    heads_for: State = "open"
    if state == "open":
        last = plan.alpha * share.part
        needed, passes = pairs_needed(evidence, margin, last, last / len(plan.gates))
        heads_for = "passed" if passes else "failed"
        # of the arm's pairs, not only of those that the metric can use
        more = (
            None if needed is None else max(round((needed - len(evidence)) * len(pairs) / len(evidence)), 1)
        )
    awaits_labels = evidence.metric.order is not None and len(evidence) < len(pairs)
    note = _undecidable(evidence)
    if state == "open" and note is None and too_many(evidence):
        more, note = None, why_open(evidence)
    if state == "open" and note is None and evidence.why_incomparable:
        more, note = None, evidence.why_incomparable
    if state == "open" and note is None and len(evidence) and (span := _span(evidence)) < plan.min_span:
        more, note = None, f"the pairs span {span:,.0f} s of the {plan.min_span:,.0f} s that it must rest on"
    if state == "open" and plan.max_pairs is not None and len(pairs) >= plan.max_pairs and not awaits_labels:
        more, note = None, note or f"still open at the budget of {plan.max_pairs:,} pairs"
    return GateResult(
        arm,
        name,
        gate_words(plan, name),
        margin,
        evidence.metric.better == "lower",
        state,
        None if at is None else _pairs_by(pairs, at),
        at,
        more,
        heads_for,
        note,
        awaits_labels,
        _seen(evidence, decided),
        "" if decided is None else _since(evidence, decided, margin, state, plan.alpha),
    )


def _since(evidence: Evidence, index: int, margin: float, state: State, alpha: float) -> str:
    """What the pairs after a decision show, where they are known to be on the other side of the margin.

    They have a sequence of their own: it holds at every look after the decision.
    """
    later = evidence.after(index)
    if (interval := every_look(later, alpha)) is None:
        return ""
    low, high = interval
    is_good = evidence.metric.better == "lower"
    if not (low > margin if (state == "passed") == is_good else high < margin):
        return ""
    metric = evidence.metric
    ends = wording.interval(low, high, metric.estimand, metric.unit)
    side = "above" if low > margin else "below"
    return f"{metric.name.replace('_', ' ')} has been {_seen(later, None)}, {ends}, {side} the margin"


def _span(evidence: Evidence) -> float:
    """The seconds from the first pair to the last."""
    return float(evidence.times[-1] - evidence.times[0]) / 1e6


def _undecidable(evidence: Evidence) -> str | None:
    """Why no number of such pairs decides the gate, where that is so."""
    if not len(evidence):
        remedies = dict.fromkeys(each.remedy for each in evidence.omissions if each.remedy)
        return "; ".join(("no usable pair", *evidence.left_out, *remedies))
    if evidence.metric.kind == "totals" and not evidence.primary.any():
        return "no ratio: the primary side is 0"
    return None


def _seen(evidence: Evidence, index: int | None) -> str:
    """The effect over the pairs up to one of them, or over all; of shares, both of them beside it."""
    if not len(evidence):
        return ""
    metric, end = evidence.metric, None if index is None else index + 1
    values = evidence.values[:end]
    with np.errstate(all="ignore"):  # the largest numbers add up to more than a number can be
        if metric.kind == "totals":
            effect = float(evidence.silent[:end].sum() / evidence.primary[:end].sum())
        elif metric.kind == "median":
            effect = float(np.median(values))
        elif is_bounded(metric) and evidence.clusters is not None:
            effect = float(means(values, evidence.clusters[:end]).mean())
        else:
            effect = float(np.exp(values.mean()) if metric.kind == "ratio" else values.mean())
    told = wording.effect(effect, metric.estimand, metric.unit)
    return f"{told} ({_both_shares(evidence, end)})" if metric.kind == "shares" else told


def _both_shares(evidence: Evidence, end: int | None) -> str:
    """What the silent side does in how many of the requests, and the primary."""
    clusters = None if evidence.clusters is None else evidence.clusters[:end]
    primary, silent = (
        f"{100 * float(means(side[:end], clusters).mean()):.3g} %"
        for side in (evidence.primary, evidence.silent)
    )
    than = "on both sides" if silent == primary else f"instead of {primary}"
    return f"{_DOES[evidence.metric.name]} {silent} {than}"


def _pairs_by(pairs: pl.DataFrame, time: int) -> int:
    return int(pairs[TIME].search_sorted(time, side="right"))


def arm_verdict(
    arm: str, primary: str, results: Sequence[GateResult], pairs: pl.DataFrame, plan: Plan
) -> Verdict:
    """The verdict on one silent arm, from its gates."""
    if not results:
        return Verdict(
            "keep collecting", f"No gate is set on {wording.name(arm)}: there is nothing to decide.", arm=arm
        )
    failed = min(
        (each for each in results if each.state == "failed"), key=lambda each: each.at or 0, default=None
    )
    if failed is not None:
        start = f"Keep {primary}, not {wording.name(arm)}"
        return _decided("keep", start, "failed", failed, arm, [failed])
    still_open = [each for each in results if each.state == "open"]
    if not still_open:
        last = max(results, key=lambda each: each.at or 0)
        start = f"Switch to {wording.name(arm)}"
        return _decided("switch", start, "was the last to pass,", last, arm, results)
    waits = sorted(still_open, key=_urgency)[0]
    # pairs are labelled when they are long recorded; what else is open at the budget stays so
    waits_for_labels = all(each.awaits_labels for each in still_open)
    if plan.max_pairs is not None and len(pairs) >= plan.max_pairs and not waits_for_labels:
        return Verdict(
            "keep",
            f"Keep {primary}, not {wording.name(arm)}, inconclusive: at the budget of "
            f"{plan.max_pairs:,} pairs, {_listed(still_open)} still open.",
            waits.metric,
            arm,
            plan.max_pairs,
        )
    return _collecting(arm, results, still_open, waits, len(pairs))


def _decided(
    answer: Answer, start: str, what: str, gate: GateResult, arm: str, rests_on: Sequence[GateResult]
) -> Verdict:
    after = gate.decided_after or 0
    sentence = (
        f"{start}: the gate {gate.words} {what} after {after:,} pair{'s' * (after != 1)}, at {gate.seen}."
    )
    if since := " and ".join(each.since for each in rests_on if each.since):
        sentence += f" Since then {since}."
    return Verdict(answer, sentence, gate.metric, arm, after)


def _collecting(
    arm: str, results: Sequence[GateResult], still_open: Sequence[GateResult], waits: GateResult, pairs: int
) -> Verdict:
    passed = [each for each in results if each.state == "passed"]
    settled = f"{_listed(passed)} passed, " if passed else ""
    start = f"Keep collecting on {wording.name(arm)}: after {pairs:,} pairs, "
    sentence = f"{start}{settled}{_listed(still_open)} still open"
    if waits.note:
        more, sentence = None, f"{sentence}; {waits.metric} cannot be told: {waits.note}."
    elif waits.more is None:
        more, sentence = (
            None,
            f"{sentence}; the {waits.metric} seen is too near its margin to say how long it takes.",
        )
    else:
        more = waits.more
        outcome = "pass" if waits.heads_for == "passed" else "fail"
        about = wording.three_digits(more)
        sentence += f"; as things go, {waits.metric} would {outcome} after about {about} more pairs."
    return Verdict("keep collecting", sentence, waits.metric, arm, None, more)


def _urgency(gate: GateResult) -> tuple[int, float]:
    """Which open gate the verdict waits for: the first to fail, if any will; else the last to pass."""
    if gate.note:
        return (0, 0.0)
    if gate.heads_for == "failed" and gate.more is not None:
        return (1, gate.more)
    return (2, 0.0) if gate.more is None else (3, -gate.more)


def _listed(gates: Sequence[GateResult]) -> str:
    names = [gate.metric for gate in gates]
    verb = "is" if len(names) == 1 and gates[0].state == "open" else "are" if gates[0].state == "open" else ""
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{listed} {verb}".strip()


def overall(verdicts: Mapping[str, Verdict], switched_at: Mapping[str, int], primary: str) -> Verdict:
    """One verdict of those on the silent arms: the first that may be switched to; keep if none may."""
    several = tuple(verdicts.values())
    if not several:
        return Verdict(
            "keep collecting",
            f"There are only pairs of {primary} with itself (control): no other model to switch to.",
        )
    if len(several) == 1:
        return several[0]
    switches = [arm for arm, verdict in verdicts.items() if verdict.answer == "switch"]
    if switches:
        chosen = verdicts[min(switches, key=lambda arm: switched_at[arm])]
    else:
        chosen = next((each for each in several if each.answer == "keep collecting"), several[-1])
    if all(each.answer == "keep" for each in several):
        sentence = " ".join(each.sentence for each in several)
        return Verdict("keep", sentence, chosen.decided_by, None, chosen.after, None, several)
    others = " ".join(
        f"{wording.name(each.arm)} passed all gates too, later." if each.answer == "switch" else each.sentence
        for each in several
        if each is not chosen
    )
    return Verdict(
        chosen.answer,
        f"{chosen.sentence} {others}",
        chosen.decided_by,
        chosen.arm,
        chosen.after,
        chosen.pairs_needed,
        several,
    )


def gates_table(results: Sequence[GateResult], table: pl.DataFrame) -> pl.DataFrame:
    """All gates as a frame: where each stands, beside the effect and its interval as the table has them."""
    rows = [
        {
            "arm": each.arm,
            "metric": each.metric,
            "gate": each.words,
            "margin": each.margin,
            "state": each.state,
            "decided_after": each.decided_after,
            "pairs_needed": each.more,
            "note": each.note,
        }
        for each in results
    ]
    main = table.unique(["arm", "metric"], keep="first", maintain_order=True)
    seen = main.select("arm", "metric", *_OF_THE_TABLE)
    known = {name: kind for name, kind in GATES.items() if name not in _OF_THE_TABLE}
    gates = pl.DataFrame(rows, schema=known)
    # an optional metric that no pair is about has no row
    joined = gates.join(seen, on=["arm", "metric"], how="left", maintain_order="left")
    return joined.with_columns(pl.col("n").fill_null(0)).select(list(GATES))
