"""The pairs that differ most in a metric."""

import polars as pl

from mirrorkit.compare.evidence import Evidence, by_arm, draw, narrowed
from mirrorkit.compare.gathered import with_texts
from mirrorkit.compare.plan import Plan
from mirrorkit.errors import CompareError
from mirrorkit.records import CONTROL

SHOWN = (
    "pair_id", "arm", "difference", "messages", "primary_output", "silent_output", "primary_tool_calls",
    "silent_tool_calls", "primary_status", "silent_status", "primary_error_message", "silent_error_message",
    "primary_latency_s", "silent_latency_s", "primary_cost_usd", "silent_cost_usd", "changes",
    "preference", "note", "judge_preference", "judge_reason",
)  # fmt: skip

_RANKED = {"pair_id": pl.String, "difference": pl.Float64, "extent": pl.Float64}


def examples(
    frame: pl.DataFrame,
    plan: Plan,
    metric: str,
    n: int,
    arm: str | None = None,
    lazy: pl.LazyFrame | None = None,
) -> pl.DataFrame:
    """The `n` pairs whose sides differ most in a metric, the most different first.

    `frame` is measured. `difference` is silent minus primary; for times and speed the ratio; for likeness
    1 minus it; for a user's metric its value, the worst first. Control pairs, where the primary differs from
    itself, are shown only if there are no others, or `arm` asks for them. Where the frame is without texts,
    `lazy` is the record that has them.

    Raises CompareError for a metric or an arm that there is not, or an `n` below 1; RecordingError if texts
    cannot be read.
    """
    if metric not in plan.names():
        raise CompareError(f"there is no metric {metric!r}; there are {', '.join(plan.names())}")
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise CompareError(f"n={n!r}: give a whole number, 1 or more")
    chosen = plan.metric(metric)
    of_arms = by_arm(narrowed(frame, [chosen]))
    parts = [pl.DataFrame(schema=_RANKED)]
    if arm is not None and arm not in of_arms:
        raise CompareError(f"there is no arm {arm!r}; there are {', '.join(of_arms)}")
    for each, pairs in of_arms.items():
        if each != arm and (arm is not None or (each == CONTROL and len(of_arms) > 1)):
            continue
        evidence = draw(pairs, chosen, keep=["pair_id"])
        parts.append(evidence.pairs.select("pair_id").with_columns(*differences(evidence, plan)))
    most = pl.concat(parts).sort("extent", descending=True, nulls_last=True, maintain_order=True).head(n)
    shown = most.join(frame, on="pair_id", how="left", maintain_order="left")
    return with_texts(shown, lazy).select(SHOWN)


def differences(evidence: Evidence, plan: Plan) -> tuple[pl.Series, pl.Series]:
    """How the sides of each pair differ, as `examples` tells it, and how much that is: `extent`."""
    metric = evidence.metric
    values = pl.Series("difference", evidence.values, dtype=pl.Float64)
    if metric.kind == "ratio":
        values, extent = values.exp(), values.abs()
    elif metric.kind == "median":
        extent = values.log().abs()
    elif metric.kind == "mean" and metric.better == "higher":
        extent = -values
        values = values if metric.name in plan.metrics else 1 - values
    else:
        extent = values if metric.kind == "mean" else values.abs()
    return values, extent.alias("extent")
