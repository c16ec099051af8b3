"""From measured pairs and a plan to everything a comparison tells: one way, whoever asks and whenever."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from mirrorkit.compare import wording
from mirrorkit.compare.answers.differences import COLUMNS
from mirrorkit.compare.answers.fields import fields
from mirrorkit.compare.estimates import as_table, rows_of
from mirrorkit.compare.evidence import TIME, beside_control, by_arm, draw, narrowed
from mirrorkit.compare.findings import Finding, finding, no_effect, of_fields, tests_of
from mirrorkit.compare.omissions import Cause, too_many
from mirrorkit.compare.pitfalls import (
    Background,
    Pitfall,
    of_metric,
    of_omissions,
    pitfalls,
    since_then,
)
from mirrorkit.compare.plan import Look, Plan
from mirrorkit.compare.reach import out_of_reach
from mirrorkit.compare.rows import Row
from mirrorkit.compare.selection import only
from mirrorkit.compare.verdict import (
    GateResult,
    Verdict,
    arm_verdict,
    gates_table,
    judge_gate,
    overall,
    within_budget,
)
from mirrorkit.compare.waves import shares
from mirrorkit.records import CONTROL

_SAID = {
    "labelled_at": ("preference", "note"),
    "judged_at": ("judge_preference", "judge_reason", "judge_flipped", "judge_model", "judge_cost_usd"),
}
"""What is said of a pair after it was recorded, by when."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """What a comparison tells, worked out."""

    pairs: pl.DataFrame = field(repr=False)
    every: pl.DataFrame = field(repr=False)
    """the pairs, and those that wait for an older request: what people and judges say of them counts"""
    table: pl.DataFrame = field(repr=False)
    gates: pl.DataFrame = field(repr=False)
    verdict: Verdict
    fields: pl.DataFrame = field(repr=False)
    findings: tuple[Finding, ...]
    warnings: tuple[Pitfall, ...]


def analyse(
    frame: pl.DataFrame, plan: Plan, *, before: datetime | None = None, looks: Sequence[Look] = ()
) -> Analysis:
    """Work out a comparison from measured pairs (see `mirrorkit.compare.measured`).

    Only the pairs of requests that started before `before` count: until the oldest request under way is
    done, those after it that happen to have finished are the fast ones.
    """
    single = frame if _is_unique(frame["pair_id"]) else _once(frame)
    pairs = single if before is None else single.filter((pl.col("started_at") < before).fill_null(True))
    primary = wording.listing(pairs["model_group"].unique().sort().to_list())
    metrics = [plan.metric(name) for name in plan.names()]
    of_arms = beside_control(by_arm(narrowed(pairs, metrics)))
    # what people and judges say comes in an order of its own, for which no request is waited
    labelled = by_arm(narrowed(single, [each for each in metrics if each.order is not None]))
    silent = [arm for arm in of_arms if arm != CONTROL]
    may_err = shares({arm: of_arms[arm][TIME].to_numpy() for arm in silent})
    # half of what findings may err goes to the metrics, half to the fields
    share, tests = plan.alpha / 2, tests_of(metrics, len(silent))

    rows: dict[str, list[Row]] = {arm: [] for arm in of_arms}
    results: dict[str, dict[str, GateResult]] = {arm: {} for arm in silent}
    found: dict[str, list[Finding]] = {arm: [] for arm in silent}
    told: dict[str, list[Pitfall]] = {arm: [] for arm in of_arms}
    left_out: dict[str, dict[str, Cause]] = {arm: {} for arm in of_arms}
    for metric in metrics:  # one after the other: a million pairs are many numbers
        from_arms = of_arms if metric.order is None else labelled
        drawn = {arm: draw(from_arms[arm], metric) for arm in of_arms}
        control = drawn.get(CONTROL)
        for arm, evidence in drawn.items():
            rows[arm] += rows_of(arm, evidence, control, plan.alpha)
            told[arm] += of_metric(arm, evidence, plan.alpha)
            if too_many(evidence) and (metric.name in plan.gates or no_effect(metric) is not None):
                left_out[arm][metric.name] = evidence.omissions, len(evidence)
            if arm == CONTROL:
                continue
            if metric.name in plan.gates:
                allowed = within_budget(from_arms[arm], plan)
                gated = evidence if allowed.height == from_arms[arm].height else draw(allowed, metric)
                mine = within_budget(of_arms[arm], plan)
                results[arm][metric.name] = judge_gate(gated, mine, plan, arm, may_err[arm])
            if difference := finding(arm, evidence, control, primary, share / tests):
                found[arm].append(difference)

    table = as_table(rows)
    for arm, of_metrics in left_out.items():
        told[arm] += of_omissions(arm, of_metrics)
    gates = {arm: [of_arm[name] for name in plan.gates] for arm, of_arm in results.items()}
    for arm, judged in gates.items():
        told[arm] += since_then(judged)
        told[arm] += out_of_reach(judged, rows[arm])
    by_field = fields(pairs, only(pairs, COLUMNS), share / max(len(silent), 1))
    background = Background(single.height - pairs.height, before, frame.height - single.height, looks)
    return Analysis(
        pairs,
        single,
        table,
        gates_table([gate for of_arm in gates.values() for gate in of_arm], table),
        _decided(of_arms, gates, plan, primary),
        by_field,
        (*(each for of_arm in found.values() for each in of_arm), *of_fields(by_field, primary)),
        pitfalls(pairs, told, plan, background),
    )


def _is_unique(ids: pl.Series) -> bool:
    # ids that differ by their hashes differ; only others need the long way
    return ids.hash().n_unique() == len(ids) or bool(ids.is_unique().all())


def _once(frame: pl.DataFrame) -> pl.DataFrame:
    """Each pair once: of a pair that two recordings have, with the later label and the later judgement."""
    first = frame.unique("pair_id", keep="first", maintain_order=True)
    for at, names in _SAID.items():
        said = [name for name in names if name in frame.columns]
        latest = (
            frame.select("pair_id", at, *said)
            .sort(at, descending=True, nulls_last=True, maintain_order=True)
            .unique("pair_id", keep="first", maintain_order=True)
        )
        first = first.drop(at, *said).join(latest, on="pair_id", how="left", maintain_order="left")
    return first.select(frame.columns)


def _decided(
    of_arms: Mapping[str, pl.DataFrame], gates: Mapping[str, Sequence[GateResult]], plan: Plan, primary: str
) -> Verdict:
    if not of_arms:
        waiting = "Keep collecting: every pair so far waits for an older request that is still under way."
        return Verdict("keep collecting", waiting)
    verdicts = {arm: arm_verdict(arm, primary, mine, of_arms[arm], plan) for arm, mine in gates.items()}
    switched_at = {arm: max((gate.at or 0 for gate in mine), default=0) for arm, mine in gates.items()}
    return overall(verdicts, switched_at, primary)
