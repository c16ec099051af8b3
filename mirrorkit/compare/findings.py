"""What was found: the differences that can be claimed, all of them together, at every look."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from mirrorkit.compare import wording
from mirrorkit.compare.control import net_of_control
from mirrorkit.compare.estimates import every_look, main_row
from mirrorkit.compare.evidence import Evidence
from mirrorkit.compare.metrics import NET as LIKENESS
from mirrorkit.compare.metrics import BuiltIn
from mirrorkit.compare.omissions import too_many
from mirrorkit.compare.rows import Row

_WORDS: Mapping[str, tuple[str, str]] = {
    "latency": ("faster", "slower"),
    "ttft": ("faster to the first token", "slower to the first token"),
    "tokens_per_s": ("slower in tokens per second", "faster in tokens per second"),
    "cost": ("cheaper", "dearer"),
    "input_tokens": ("given fewer input tokens", "given more input tokens"),
    "output_tokens": ("briefer in tokens", "longer in tokens"),
    "output_length": ("briefer", "longer"),
    "errors": ("failing less often", "failing more often"),
    "over_slo": ("late less often", "late more often"),
    "blank": ("giving blank answers less often", "giving blank answers more often"),
    "refusals": ("refusing less often", "refusing more often"),
    "truncated": ("cut at its length less often", "cut at its length more often"),
    "json_valid": ("giving valid JSON less often", "giving valid JSON more often"),
    "preference": ("preferred less often", "preferred more often"),
    "judge": ("preferred by the judge less often", "preferred by the judge more often"),
}
"""What the silent model is if the effect is below, and if it is above, no effect."""

_LIKE = {"identical": "answers", "similarity": "texts", "json_equal": "JSON", "tool_calls": "tool calls"}
"""What differs where a metric of likeness is low."""

_ROOTS = {"$": "the whole JSON answer ($)", "tool_calls": "the whole of tool_calls"}
"""What differs where a field is all there is: only one side gave any JSON, or called any tool."""

_ROUNDING = 1e-9
"""Sides that are equal in every pair have an interval of no width, which rounding may put off the mark."""

_NO_EFFECT = {"ratio": 1.0, "totals": 1.0, "shares": 0.0}


@dataclass(frozen=True, slots=True)
class Finding:
    """A difference that can be claimed: `metric` of the silent `arm`, with its effect and interval.

    `path` names the JSON field it is about, where it is about one. All findings of a comparison together are
    wrong with a probability of at most alpha, however often one looks (Bonferroni over what was tested).
    """

    arm: str
    metric: str
    sentence: str
    effect: float
    low: float
    high: float
    path: str | None = None

    def __str__(self) -> str:
        return self.sentence


def tests_of(metrics: Sequence[BuiltIn], arms: int) -> int:
    """How many differences are tested: one for each silent arm and metric that has a "no difference"."""
    return max(arms * sum(no_effect(metric) is not None for metric in metrics), 1)


def finding(
    arm: str, evidence: Evidence, control: Evidence | None, primary: str, alpha: float
) -> Finding | None:
    """The difference of one silent arm in one metric, if its interval at `alpha` leaves no room for none.

    None too where more than a few pairs are left out because of one side alone, and where times cannot be
    compared.
    """
    none = no_effect(evidence.metric)
    if none is None or not len(evidence) or too_many(evidence) or evidence.why_incomparable:
        return None
    if evidence.metric.name in LIKENESS:
        row = None if control is None or too_many(control) else net_of_control(evidence, control, alpha)
        return None if row is None else _finding(arm, evidence, row, none, primary)
    interval = every_look(evidence, alpha)
    if interval is None or interval[0] - _ROUNDING <= none <= interval[1] + _ROUNDING:
        return None
    return _finding(arm, evidence, main_row(evidence, alpha), none, primary)


def of_fields(fields: pl.DataFrame, primary: str) -> tuple[Finding, ...]:
    """The JSON fields that differ more than they do in the control arm."""
    differing = fields.filter(pl.col("reading") == "differs")
    return tuple(_of_field(row, primary) for row in differing.iter_rows(named=True))


def no_effect(metric: BuiltIn) -> float | None:
    """The effect that means no difference, None where there is none; likeness is taken net of control."""
    if metric.name in LIKENESS:
        return 0.0
    if metric.order is not None:
        return 0.5
    if metric.kind == "mean":
        return 0.0 if metric.bounds is not None and metric.bounds[0] == -metric.bounds[1] else None
    return _NO_EFFECT.get(metric.kind)


def _finding(arm: str, evidence: Evidence, row: Row, none: float, primary: str) -> Finding | None:
    metric, low, high = evidence.metric.name, row["low"], row["high"]
    if low is None or high is None or low <= none <= high:
        return None
    effect = wording.effect(row["effect"], row["estimand"], row["unit"])
    ends = wording.interval(low, high, row["estimand"], row["unit"])
    if metric in LIKENESS:
        more = "less" if high < 0 else "more"
        what = (
            f"gives {_LIKE[metric]} that differ from {primary}'s {more} than {primary}'s do among themselves"
        )
        metric_words = f"{metric.replace('_', ' ')}, net of control,"
    else:
        below, above = _WORDS.get(metric, (f"lower in {metric}", f"higher in {metric}"))
        what, metric_words = f"is {below if high < none else above}", metric.replace("_", " ")
        metric_words += ", net of control," if evidence.is_net else ""
    sentence = f"{wording.name(arm)} {what}: {metric_words} {effect} ({ends})"
    return Finding(arm, metric, sentence, row["effect"], low, high)


def _of_field(row: dict[str, Any], primary: str) -> Finding:
    shares = {name: row[name] or 0.0 for name in ("removed", "added", "type", "value")}
    most = max(shares, key=lambda name: shares[name])
    what = {
        "removed": "lacks",
        "added": "adds",
        "type": "gives another type in",
        "value": "gives another value in",
    }[most]
    sentence = (
        f"{wording.name(row['arm'])} {what} {_ROOTS.get(row['path'], wording.name(row['path']))} in "
        f"{wording.quantity(shares[most], 'share')} of {row['n']:,} pairs; net of how often {primary} "
        f"differs from itself, the field differs in {wording.quantity(row['net'], 'share')} "
        f"({wording.interval(row['low'], row['high'], 'share', 'share')})"
    )
    return Finding(row["arm"], "fields", sentence, row["net"], row["low"], row["high"], row["path"])
