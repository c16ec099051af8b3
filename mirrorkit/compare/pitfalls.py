"""What the reader of a comparison must be told, where it applies."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import exp, inf, log, sqrt

import numpy as np
import polars as pl

from mirrorkit.compare import wording
from mirrorkit.compare.answers.kinds import BLANK
from mirrorkit.compare.estimates import every_look
from mirrorkit.compare.evidence import Evidence, Floats
from mirrorkit.compare.metrics import NET, Side
from mirrorkit.compare.omissions import Cause, sentences
from mirrorkit.compare.plan import Look, Plan
from mirrorkit.compare.selection import FAILED, SIDES, arms_by_start, of_arm, only
from mirrorkit.compare.statistics.dependence import LAGS, inflation
from mirrorkit.compare.statistics.sequences import BURN_IN
from mirrorkit.compare.verdict import GateResult
from mirrorkit.compare.waves import COMPLETE
from mirrorkit.records import CONTROL

SPREAD = 1.25
"""Standard deviations of the logarithms that differ by more than this factor are told of."""
KURTOSIS = 10
"""So are ratios whose logarithms have an excess kurtosis beyond this: a few pairs carry their spread."""
APART = 1.1
"""So are two kinds of ratio that differ by more than this factor."""
TOGETHER = 0.1
"""Calls that are sent within this share of a primary's latency are sent together."""
OVERHEAD = 0.2
_DEPENDENT = 2.0
"""So is a share of the latency that LiteLLM itself took."""


_OF_A_SIDE = (
    "status",
    "cache_hit",
    "attempts",
    "fell_back",
    "model",
    "usage_source",
    "overhead_s",
    "latency_s",
)
_READ = [
    "primary_clean_failed",
    "silent_clean_failed",
    "primary_kind",
    "silent_kind",
    "cut",
    "arm",
    "request_id",
    "started_at",
    "cluster",
    "stream",
    "lag_s",
    "preference",
    "judge_preference",
]
_READ += [f"{side}_{name}" for side in SIDES for name in _OF_A_SIDE]


@dataclass(frozen=True, slots=True)
class Pitfall:
    """Something about these pairs that changes how the numbers are to be read.

    `number` is its place in the list of known pitfalls, None for what is not on it; `arm` is the arm it is
    about, None for all.
    """

    number: int | None
    arm: str | None
    text: str

    def __str__(self) -> str:
        text = wording.name(self.text, 2_000)
        return f"{wording.name(self.arm)}: {text}" if self.arm else text


@dataclass(frozen=True, slots=True)
class Background:
    """What there is to know beside the pairs: those that wait, those that came twice, earlier looks."""

    held_back: int = 0
    before: datetime | None = None
    repeated: int = 0
    looks: Sequence[Look] = ()


def pitfalls(
    pairs: pl.DataFrame, of_evidence: Mapping[str, Sequence[Pitfall]], plan: Plan, background: Background
) -> tuple[Pitfall, ...]:
    """Every pitfall that applies to these pairs, those about all arms first.

    `pairs` are those of the comparison; `of_evidence` has what `of_metric` found, by arm.
    """
    pairs = only(pairs, _READ)
    found = [*_of_the_record(pairs, background), *_of_the_plan(plan, background, _has_control(pairs))]
    for arm in arms_by_start(pairs):
        found += [Pitfall(number, arm, text) for number, text in _of_arm(of_arm(pairs, arm), arm)]
        found += of_evidence.get(arm, ())
    return tuple(found)


def of_metric(arm: str, evidence: Evidence, alpha: float) -> tuple[Pitfall, ...]:
    """What the numbers of one metric give reason to tell."""
    name = evidence.metric.name
    found: list[tuple[int | None, str]] = []
    if name in ("latency", "ttft"):
        found += _tails(evidence)
    if name == "cost":
        found += _bills(evidence)
    if name == "latency" and arm == CONTROL:
        found += _same_model(evidence, alpha)
    if evidence.metric.kind in ("ratio", "totals", "shares"):
        found += _dependence(evidence)
    return tuple(Pitfall(number, arm, text) for number, text in found)


def _dependence(evidence: Evidence) -> Iterator[tuple[None, str]]:
    """How much the pairs depend on those before them; nothing where it may be chance."""
    n = len(evidence)
    if n < BURN_IN or evidence.clusters is not None:
        return
    times = inflation(evidence.values, LAGS)
    # of independent pairs it is 1, give or take √(4·lags / 3n)
    if times > max(_DEPENDENT, 1 + 4 * sqrt(4 * LAGS / (3 * n))):
        yield (
            None,
            f"{evidence.metric.name.replace('_', ' ')}: pairs depend on those before them, as where load or "
            f"an outage lasts: {n:,} pairs tell as much as {n / times:,.0f} independent ones, and the "
            "intervals are as wide as that asks for. Pairs spread over more time tell more.",
        )


def of_omissions(arm: str, of_metrics: Mapping[str, Cause]) -> tuple[Pitfall, ...]:
    """The metrics of an arm that leave out too many pairs because of one side alone."""
    return tuple(Pitfall(None, arm, text) for text in sentences(of_metrics))


def since_then(gates: Sequence[GateResult]) -> tuple[Pitfall, ...]:
    """The gates that were decided one way, where the pairs since then say the other."""
    return tuple(
        Pitfall(
            None,
            gate.arm,
            f"the gate {gate.words} {gate.state} after {gate.decided_after or 0:,} pairs and stays so, but "
            f"since then {gate.since}: something has changed. Start a new comparison on the newer pairs.",
        )
        for gate in gates
        if gate.since
    )


def _of_the_record(pairs: pl.DataFrame, background: Background) -> Iterator[Pitfall]:
    if background.held_back:
        since = "" if background.before is None else f" (since {background.before:%Y-%m-%d %H:%M:%S} UTC)"
        yield Pitfall(
            1,
            None,
            f"{_pairs(background.held_back)} finished but not counted yet: an older request is still under "
            f"way{since}, be it a stream that nobody reads to its end or closes; and whatever has finished "
            "first favours the fast.",
        )
    if background.repeated:
        yield Pitfall(
            None, None, f"{_pairs(background.repeated)} came twice (same pair_id), and are counted once."
        )
    clustered = pairs.filter(pl.col("cluster").is_not_null())
    if clustered.select("arm", "cluster").n_unique() < clustered.height:
        yield Pitfall(
            9,
            None,
            f"{_pairs(clustered.height)} belong to {clustered['cluster'].n_unique():,} conversations: they "
            "are not independent, so intervals are those of conversations; and within one the silent model "
            "answers the primary's history, not its own.",
        )
    yield from _late_arms(pairs)
    judged = pairs["judge_preference"].drop_nulls()
    if len(judged) and not pairs["preference"].count():
        yield Pitfall(
            11,
            None,
            f"the win rate of {_pairs(len(judged))} is the judge's opinion until people have labelled some.",
        )


def _has_control(pairs: pl.DataFrame) -> bool:
    return bool((pairs["arm"] == CONTROL).any())


def _late_arms(pairs: pl.DataFrame) -> Iterator[Pitfall]:
    """Arms that joined when the wave before them was complete."""
    silent = pairs.filter(pl.col("arm") != CONTROL)
    for arm in arms_by_start(silent)[1:]:
        start = silent.filter(pl.col("arm") == arm)["started_at"].min()
        if start is None:
            continue
        before = silent.filter((pl.col("arm") != arm) & (pl.col("started_at") < start))
        most = before["arm"].value_counts()["count"].max() if before.height else 0
        if isinstance(most, int) and most >= COMPLETE:
            yield Pitfall(
                None,
                arm,
                f"it joined after {most:,} pairs of another silent model, and has a smaller part of alpha, "
                "so that all of them together err at most alpha: it takes more pairs than it would alone.",
            )


def _of_the_plan(plan: Plan, background: Background, with_control: bool) -> Iterator[Pitfall]:
    for earlier, later in zip(background.looks, background.looks[1:], strict=False):
        yield Pitfall(
            None,
            None,
            f"what is tested was changed after a look at {_pairs(earlier.pairs)} (then {earlier.words}; at "
            f"{later.pairs:,} pairs {later.words}): the error rate holds for what was set before looking.",
        )
    if with_control and (raw := [name for name in plan.gates if name in NET]):
        yield Pitfall(
            None,
            None,
            f"the gate on {' and '.join(raw)} is on likeness as it is, not net of how much the primary "
            "differs from itself.",
        )
    if "latency" in plan.gates and not {"errors", "latency_with_errors", "over_slo"} & set(plan.gates):
        yield Pitfall(
            2,
            None,
            "the gate on latency looks at pairs where both sides were ok: it needs one on errors beside it.",
        )


def _of_arm(pairs: pl.DataFrame, arm: str) -> Iterator[tuple[int | None, str]]:
    yield from _failures(pairs)
    yield from _calls(pairs)
    yield from _sending(pairs)
    if arm == CONTROL:
        yield (
            8,
            f"{_pairs(pairs.height)}, whose requests were drawn at random before any answer was seen, and "
            "sent the way silent calls are: what is net of control rests on these requests alone.",
        )


def _failures(pairs: pl.DataFrame) -> Iterator[tuple[int | None, str]]:
    failed = _counts(pairs, lambda side: pl.col(f"{side}_status").is_in(FAILED))
    if any(failed.values()):
        yield (
            2,
            f"calls that failed have no latency to compare (primary {failed['primary']:,}, silent "
            f"{failed['silent']:,} of {pairs.height:,}): read latency beside errors, or latency_with_errors.",
        )
    unheard = _counts(pairs, lambda side: pl.col(f"{side}_status") == "unknown")
    if any(unheard.values()):
        yield (
            None,
            f"calls were sent, and their process ended before anyone heard of them: {_sides(unheard)}; they "
            "count neither as answered nor as failed.",
        )
    blank = _counts(pairs, lambda side: pl.col(f"{side}_kind") == BLANK)
    if any(blank.values()):
        yield (
            None,
            f"blank answers, with neither text nor tool calls: {_sides(blank)} of {pairs.height:,}; each is "
            "unlike any other answer, and no valid JSON.",
        )


def _tails(evidence: Evidence) -> Iterator[tuple[int, str]]:
    """Different tails, and a mean that tells another story than the geometric mean."""
    if len(evidence) < 10:
        return
    name = evidence.metric.name
    with np.errstate(all="ignore"):
        spreads = [float(np.log(side).std(ddof=1)) for side in (evidence.primary, evidence.silent)]
        geometric = float(np.exp(evidence.values.mean()))
        means = float(evidence.silent.mean() / evidence.primary.mean())
    if min(spreads) > 0 and max(spreads) > SPREAD * min(spreads):
        heavier = "silent" if spreads[1] > spreads[0] else "primary"
        yield (
            3,
            f"the {heavier} side's {name} has the heavier tail (standard deviation of the logarithms: "
            f"primary {wording.three_digits(spreads[0])}, silent {wording.three_digits(spreads[1])}): a "
            "ratio of typical times does not speak for the slowest calls, see p95.",
        )
    kurtosis = _excess_kurtosis(evidence.values)
    if kurtosis > KURTOSIS:
        yield (
            3,
            f"a few pairs carry most of the spread of {name} ratios (excess kurtosis "
            f"{wording.three_digits(kurtosis)}): an asymptotic interval learns late of what is rare; "
            "latency_with_errors and over_slo are exact.",
        )
    if _apart(means, geometric):
        yield (
            4,
            f"the geometric-mean ratio of {name} is ×{wording.three_digits(geometric)} and decides; the "
            f"ratio of mean times is ×{wording.three_digits(means)}.",
        )


def _excess_kurtosis(values: Floats) -> float:
    """0 for a normal distribution."""
    with np.errstate(all="ignore"):
        centred = values - values.mean()
        variance = float((centred**2).mean())
        return float((centred**4).mean()) / variance**2 - 3 if variance > 0 else 0.0


def _bills(evidence: Evidence) -> Iterator[tuple[int, str]]:
    chosen = (evidence.primary > 0) & (evidence.silent > 0)
    if chosen.sum() < 10:
        return
    with np.errstate(all="ignore"):
        bill = float(evidence.silent.sum() / evidence.primary.sum())
        typical = float(np.exp((np.log(evidence.silent[chosen]) - np.log(evidence.primary[chosen])).mean()))
    if _apart(bill, typical):
        yield (
            4,
            f"the ratio of the two bills is ×{wording.three_digits(bill)} and decides; a typical call's cost "
            f"has a ratio of ×{wording.three_digits(typical)}.",
        )


def _calls(pairs: pl.DataFrame) -> Iterator[tuple[int | None, str]]:
    cached = _counts(pairs, lambda side: pl.col(f"{side}_cache_hit"))
    if any(cached.values()):
        yield 5, f"answered by a cache, and left out of latency and cost: {_sides(cached)}."
    retried = _counts(pairs, lambda side: pl.col(f"{side}_attempts") > 1)
    fell_back = _counts(pairs, lambda side: pl.col(f"{side}_fell_back"))
    if any(retried.values()) or any(fell_back.values()):
        yield (
            6,
            f"a call is timed with its retries and fall-backs: retried {_sides(retried)}; answered by "
            f"another group {_sides(fell_back)}{_answering(pairs)}.",
        )
    estimated = _counts(pairs, lambda side: pl.col(f"{side}_usage_source") == "estimated")
    if any(estimated.values()):
        yield None, f"tokens, and with them cost, were estimated here, not reported: {_sides(estimated)}."
    failed_cleaning = _counts(pairs, lambda side: pl.col(f"{side}_clean_failed"))
    if any(failed_cleaning.values()):
        yield (
            None,
            f"your clean function failed, so texts were not compared: {_sides(failed_cleaning)}; it is given "
            "each text that is not blank, and returns one.",
        )
    if cut := int(pairs["cut"].sum() or 0):
        yield (
            None,
            f"{_pairs(cut)}: each has a text so long that its similarity is that of the first 20,000 "
            "characters.",
        )
    if streams := int(pairs["stream"].sum() or 0):
        are = "is a stream" if streams == 1 else "are streams"
        yield (
            None,
            f"{_pairs(streams)} {are}: the primary's latency runs until its caller has read the last chunk, "
            "the silent one's is read at once.",
        )


def _answering(pairs: pl.DataFrame) -> str:
    """Which models answered where a call fell back."""
    names = {
        name
        for side in SIDES
        for name in pairs.filter(pl.col(f"{side}_fell_back"))[f"{side}_model"].drop_nulls().unique()
    }
    return f" ({wording.listing(sorted(names))})" if names else ""


def _sending(pairs: pl.DataFrame) -> Iterator[tuple[int, str]]:
    """How far apart the two calls were sent, and what this process itself cost."""
    lag, latency = _median(_finite(pairs["lag_s"])), _median(_finite(pairs["primary_latency_s"]))
    # in a batch they are sent together, and the one waits for the other's few milliseconds
    if lag is not None and latency is not None and lag > TOGETHER * latency:
        yield (
            7,
            f"the silent call was sent {wording.quantity(lag, 's')} after the primary (median): the "
            "two sides did not see the provider at the same moment.",
        )
    for side in SIDES:
        middle = _median(_finite(pairs[f"{side}_overhead_s"] / pairs[f"{side}_latency_s"]))
        if middle is not None and middle > OVERHEAD:
            yield (
                7,
                f"LiteLLM itself took {wording.quantity(middle, 'share')} of the {side} side's latency "
                "(median): this process was the bottleneck, rather than the model.",
            )


def _same_model(evidence: Evidence, alpha: float) -> Iterator[tuple[int, str]]:
    interval = every_look(evidence, alpha)
    if interval is not None and not interval[0] <= 1 <= interval[1]:
        ratio = wording.three_digits(exp(evidence.values.mean()))
        yield (
            7,
            f"the primary's own model is ×{ratio} as slow when it is sent the way silent calls are: so much "
            "of a silent model's latency ratio is due to the sending.",
        )


def _counts(pairs: pl.DataFrame, holds: Side) -> dict[str, int]:
    return dict(
        pairs.select(**{side: holds(side).fill_null(False).sum() for side in SIDES}).row(0, named=True)
    )


def _sides(counts: Mapping[str, int]) -> str:
    return f"primary {counts['primary']:,}, silent {counts['silent']:,}"


def _finite(values: pl.Series) -> pl.Series:
    return values.filter(values.is_finite())


def _apart(one: float, other: float) -> bool:
    """Whether two ratios differ by more than `APART`; not where one has run out of digits."""
    return 0 < one < inf and 0 < other < inf and abs(log(one) - log(other)) > log(APART)


def _median(values: pl.Series) -> float | None:
    return values.quantile(0.5, interpolation="linear")


def _pairs(count: int) -> str:
    return f"{count:,} pair{'' if count == 1 else 's'}"
