"""From measured pairs and a plan to everything a comparison tells: one way, whoever asks and whenever."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from mirrorkit.compare import wording
from mirrorkit.compare.differences import COLUMNS
from mirrorkit.compare.estimates import table
from mirrorkit.compare.evidence import TIME, Evidence, by_arm, draw, narrowed
from mirrorkit.compare.fields import fields
from mirrorkit.compare.findings import Finding, findings
from mirrorkit.compare.pitfalls import Background, Pitfall, pitfalls
from mirrorkit.compare.plan import Look, Plan
from mirrorkit.compare.verdict import GateResult, Verdict, arm_verdict, gates_table, judge_gate, overall
from mirrorkit.records import CONTROL


@dataclass(frozen=True, slots=True)
class Analysis:
    """What a comparison tells, worked out."""

    pairs: pl.DataFrame = field(repr=False)
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
    single = frame if frame["pair_id"].is_unique().all() else _once(frame)
    pairs = single if before is None else single.filter((pl.col("started_at") < before).fill_null(True))
    metrics = [plan.metric(name) for name in plan.names()]
    of_arms = by_arm(narrowed(pairs, metrics))
    drawn = {(arm, metric.name): draw(mine, metric) for arm, mine in of_arms.items() for metric in metrics}
    shown = table(drawn, plan.alpha)
    primary = wording.listing(pairs["model_group"].unique().sort().to_list())
    results, verdict = _decide(of_arms, drawn, plan, primary)
    by_field = fields(pairs, pairs.select(list(COLUMNS)), plan.alpha)
    background = Background(single.height - pairs.height, before, frame.height - single.height, looks)
    return Analysis(
        pairs,
        shown,
        gates_table(results, shown),
        verdict,
        by_field,
        findings(drawn, by_field, primary, plan.alpha),
        pitfalls(pairs, drawn, plan, background),
    )


def _once(frame: pl.DataFrame) -> pl.DataFrame:
    """Each pair once: of a pair that two recordings have, the row with the later label and judgement."""
    said = ["labelled_at", "judged_at"]
    return frame.sort(said, descending=True, nulls_last=True, maintain_order=True).unique(
        "pair_id", keep="first", maintain_order=True
    )


def _decide(
    of_arms: Mapping[str, pl.DataFrame], drawn: Mapping[tuple[str, str], Evidence], plan: Plan, primary: str
) -> tuple[list[GateResult], Verdict]:
    if not of_arms:
        waiting = "Keep collecting: every pair so far waits for an older request that is still under way."
        return [], Verdict("keep collecting", waiting)
    silent = {arm: pairs for arm, pairs in of_arms.items() if arm != CONTROL}
    starts = {arm: int(pairs[TIME][0]) for arm, pairs in silent.items()}
    results: list[GateResult] = []
    verdicts: dict[str, Verdict] = {}
    switched_at: dict[str, int] = {}
    for arm, pairs in silent.items():
        mine = [judge_gate(drawn[arm, name], pairs, plan, arm, starts) for name in plan.gates]
        verdicts[arm] = arm_verdict(arm, primary, mine, pairs, plan)
        switched_at[arm] = max((each.at or 0 for each in mine), default=0)
        results += mine
    return results, overall(verdicts, switched_at, primary)
