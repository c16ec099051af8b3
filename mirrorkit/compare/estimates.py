"""The table of a comparison: for each arm and metric both sides, the effect and its intervals."""

from collections.abc import Iterator, Mapping, Sequence
from math import exp, isfinite
from typing import Any

import numpy as np
import polars as pl

from mirrorkit.compare.control import net_of_control
from mirrorkit.compare.evidence import (
    Evidence,
    Floats,
    Whole,
    beside_control,
    by_arm,
    draw,
    narrowed,
)
from mirrorkit.compare.intervals import (
    Interval,
    burn_in_of,
    is_bounded,
    limits,
    mean_of_clusters,
    of_bounded,
    too_few,
)
from mirrorkit.compare.metrics import NET, BuiltIn
from mirrorkit.compare.plan import Plan
from mirrorkit.compare.preference import corrected_row, flip_note
from mirrorkit.compare.quantiles import median_ratio_row, quantile_rows
from mirrorkit.compare.rows import TABLE, Row, mean_of, row
from mirrorkit.compare.selection import SIDES
from mirrorkit.compare.statistics import betting, onelook
from mirrorkit.compare.statistics.sequences import ratio_of_totals, two_sided
from mirrorkit.compare.wording import three_digits
from mirrorkit.records import CONTROL

THOUSAND = 1_000


def estimate(
    frame: pl.DataFrame, metrics: Sequence[str] | None = None, plan: Plan | None = None
) -> pl.DataFrame:
    """The table of a comparison, for the metrics named (all of the plan's where none are).

    `frame` has one row a pair, with the columns of `mirrorkit.records.SCHEMA` and of
    `mirrorkit.compare.answers.differences.differences`. Arms come in order of first appearance, `control`
    last. What cannot be told is null, and the note says why.

    >>> from mirrorkit.compare.measured import measured
    >>> from mirrorkit.records import SCHEMA
    >>> estimate(measured(SCHEMA.frame(), Plan())).columns[:6]
    ['arm', 'metric', 'estimand', 'unit', 'n', 'primary']
    """
    plan = plan or Plan()
    chosen = [plan.metric(name) for name in metrics or plan.names()]
    of_arms = beside_control(by_arm(narrowed(frame, chosen)))
    rows: dict[str, list[Row]] = {arm: [] for arm in of_arms}
    for metric in chosen:
        drawn = {arm: draw(pairs, metric) for arm, pairs in of_arms.items()}
        for arm, evidence in drawn.items():
            rows[arm] += rows_of(arm, evidence, drawn.get(CONTROL), plan.alpha)
    return as_table(rows)


def as_table(rows: Mapping[str, Sequence[Row]]) -> pl.DataFrame:
    """The rows of each arm as a frame."""
    values = [[row.get(name) for name in TABLE] for of_arm in rows.values() for row in of_arm]
    return pl.DataFrame(values, schema=TABLE, orient="row")


def rows_of(arm: str, evidence: Evidence, control: Evidence | None, alpha: float) -> list[Row]:
    """The rows of one metric of one arm; none where an optional metric does not apply."""
    metric = evidence.metric
    if metric.optional and not len(evidence) and not evidence.left_out:
        return []
    return [{"arm": arm, "metric": metric.name, **row} for row in _rows(arm, evidence, control, alpha)]


def _rows(arm: str, evidence: Evidence, control: Evidence | None, alpha: float) -> Iterator[Row]:
    metric = evidence.metric
    yield main_row(evidence, alpha)
    if metric.name == "judge" and (corrected := corrected_row(evidence, alpha)):
        yield corrected
    if metric.name in ("latency", "ttft"):
        yield from quantile_rows(evidence, alpha)
    if metric.name == "cost":
        yield _per_thousand(evidence, alpha)
    if metric.name in NET and control is not None and arm != CONTROL and len(control):
        yield net_of_control(evidence, control, alpha)


def main_row(evidence: Evidence, alpha: float) -> Row:
    """The row of a metric that its gate is about."""
    return _ROWS[evidence.metric.kind](evidence, alpha)


def every_look(evidence: Evidence, alpha: float) -> Interval:
    """The interval of the main row's effect, valid at every look."""
    metric, values, clusters = evidence.metric, evidence.values, evidence.clusters
    if metric.kind == "ratio":
        return _exp_both(two_sided(values, alpha, clusters))
    if metric.kind == "totals":
        return ratio_of_totals(evidence.primary, evidence.silent, alpha, clusters)
    if is_bounded(metric):
        return of_bounded(values, limits(metric), alpha, clusters)
    return two_sided(values, alpha, clusters)


def _ratio(evidence: Evidence, alpha: float) -> Row:
    """The geometric mean of the pairs' ratios, from the mean of their logarithms."""
    logs, clusters = evidence.values, evidence.clusters
    sides = [mean_of(np.log(side)) for side in (evidence.primary, evidence.silent)]
    effect = _exp(mean_of(logs))
    return row(
        evidence,
        evidence.metric.estimand,
        evidence.metric.unit,
        (_exp(sides[0]), _exp(sides[1])),
        effect,
        every_look(evidence, alpha),
        _exp_both(onelook.paired_t(logs, alpha, clusters)),
        *_told(evidence),
        why=too_few(evidence) if effect is not None else "no ratio: it is too large",
    )


def _exp(value: float | None) -> float | None:
    # beyond this the number is not finite
    return None if value is None or value > 709 else exp(value)


def _exp_both(interval: Interval) -> Interval:
    if interval is None:
        return None
    low, high = (_exp(end) for end in interval)
    return None if low is None or high is None else (low, high)


def _totals(evidence: Evidence, alpha: float) -> Row:
    a, b, clusters = evidence.primary, evidence.silent, evidence.clusters
    primary, silent = mean_of(a), mean_of(b)
    effect, note = None, ""
    if primary is not None and silent is not None:
        if not (isfinite(primary) and isfinite(silent)):
            note = "the values are too large to add up"
        elif primary == 0:
            note = "no ratio: the primary side is 0"
        elif not isfinite(silent / primary):
            note = "no ratio: it is too large"
        else:
            effect = silent / primary
    told = effect is not None
    return row(
        evidence,
        evidence.metric.estimand,
        evidence.metric.unit,
        (primary, silent),
        effect,
        every_look(evidence, alpha) if told else None,
        onelook.fieller_t(a, b, alpha, clusters) if told else None,
        *_told(evidence),
        why=note or too_few(evidence),
    )


def _per_thousand(evidence: Evidence, alpha: float) -> Row:
    """What a thousand calls cost, and the difference: what a switch saves."""
    with np.errstate(all="ignore"):
        more = THOUSAND * evidence.values
    scaled = [
        None if mean is None else THOUSAND * mean
        for mean in (mean_of(evidence.primary), mean_of(evidence.silent))
    ]
    return row(
        evidence,
        "difference per 1,000 calls",
        f"{evidence.metric.unit} per 1,000 calls",
        (scaled[0], scaled[1]),
        mean_of(more),
        two_sided(more, alpha, evidence.clusters, burn_in=burn_in_of(evidence.metric)),
        onelook.paired_t(more, alpha, evidence.clusters),
        why=too_few(evidence),
    )


def _shares(evidence: Evidence, alpha: float) -> Row:
    """The difference of two shares; beside it McNemar's test, exact for one look and for every look."""
    plus, minus = (int((evidence.values == sign).sum()) for sign in (1, -1))
    tests = ""
    if plus + minus and evidence.clusters is None:
        e_value = exp(min(betting.log_e_mcnemar(plus, minus), 709))
        tests = (
            f"McNemar: p = {three_digits(onelook.mcnemar_p(plus, minus))} (one look), "
            f"e = {three_digits(e_value)} (every look)"
        )
    one_look = (
        onelook.discordant(minus, len(evidence), plus, alpha)
        if evidence.clusters is None
        else onelook.paired_t(evidence.values, alpha, evidence.clusters)
    )
    return row(
        evidence,
        evidence.metric.estimand,
        evidence.metric.unit,
        (mean_of(evidence.primary), mean_of(evidence.silent)),
        mean_of_clusters(evidence.values, evidence.clusters),
        every_look(evidence, alpha),
        one_look,
        tests,
        _per_request(evidence),
        why=too_few(evidence),
    )


def _pairs_mean(evidence: Evidence, alpha: float) -> Row:
    metric, values, clusters = evidence.metric, evidence.values, evidence.clusters
    return row(
        evidence,
        metric.estimand,
        metric.unit,
        (None, None),
        mean_of_clusters(values, clusters) if is_bounded(metric) else mean_of(values),
        every_look(evidence, alpha),
        _one_look_mean(metric, values, alpha, clusters),
        flip_note(evidence) if metric.name == "judge" else "",
        _per_request(evidence) if is_bounded(metric) else "",
        why=too_few(evidence),
    )


def _per_request(evidence: Evidence) -> str:
    """That each conversation counts once, where some have several pairs, and what it is if each pair does."""
    if evidence.clusters is None or (effect := mean_of(evidence.values)) is None:
        return ""
    return f"each conversation counts once; {three_digits(effect)} if each request does"


def _one_look_mean(metric: BuiltIn, values: Floats, alpha: float, clusters: Whole | None) -> Interval:
    if clusters is None and metric.bounds == (0.0, 1.0) and bool(((values == 0) | (values == 1)).all()):
        return onelook.wilson(float(values.sum()), len(values), alpha)
    interval = onelook.paired_t(values, alpha, clusters)
    if interval is None or metric.bounds is None:
        return interval
    least, most = metric.bounds
    return max(interval[0], least), min(interval[1], most)


def _told(evidence: Evidence) -> Iterator[str]:
    """What is to be known about the calls behind the numbers."""
    name, pairs = evidence.metric.name, evidence.pairs
    if name in ("latency", "ttft", "tokens_per_s"):
        yield _tally("retries are in the time", pairs, lambda side: pl.col(f"{side}_attempts") > 1)
        yield _tally("fell back to another group", pairs, lambda side: pl.col(f"{side}_fell_back"))
    if name in ("cost", "input_tokens", "output_tokens", "tokens_per_s"):
        yield _tally(
            "tokens estimated, not reported",
            pairs,
            lambda side: pl.col(f"{side}_usage_source") == "estimated",
        )


def _tally(words: str, pairs: pl.DataFrame, holds: Any) -> str:
    """How often something holds on each side; nothing where it never does."""
    counts = pairs.select(**{side: holds(side).fill_null(False).sum() for side in SIDES}).row(0)
    return f"{words} (primary {counts[0]:,}, silent {counts[1]:,})" if any(counts) else ""


_ROWS = {
    "ratio": _ratio,
    "totals": _totals,
    "shares": _shares,
    "mean": _pairs_mean,
    "median": median_ratio_row,
}
