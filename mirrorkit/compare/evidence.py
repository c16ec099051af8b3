"""What one arm's pairs say on one metric: the numbers that effects and gates are worked out from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from mirrorkit.compare import comparability
from mirrorkit.compare.comparability import Comparability
from mirrorkit.compare.metrics import NET, TIMES, BuiltIn, columns_of, usable, values_in
from mirrorkit.compare.selection import SIDES, Omission, arms_by_start, in_order, of_arm, only
from mirrorkit.records import CONTROL

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]

CLUSTER, TIME = "cluster code", "time"

# what the notes of a metric's row, and the rows beside it, tell of its pairs
_CALLS = [f"{side}_{name}" for side in SIDES for name in ("attempts", "fell_back")]
_USAGE = [f"{side}_usage_source" for side in SIDES]
_NOTED = {
    "latency": [*_CALLS, *comparability.READ],
    "ttft": [*_CALLS, *comparability.READ],
    "tokens_per_s": [*_CALLS, *_USAGE, *comparability.READ],
    **dict.fromkeys(("cost", "input_tokens", "output_tokens"), _USAGE),
    "judge": ["preference", "judge_preference", "judge_flipped", "pair_id"],
}
_OF_CONTROL = "control_"
_TWIN = f"{_OF_CONTROL}request_id"
_BASE = ["pair_id", "request_id", "arm", "started_at", "cluster", "stream", "preference", *_CALLS, *_USAGE]


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """The pairs of an arm that a metric rests on, as arrays in the order in which they came to be known.

    `pairs` has what else is to be told of them: columns that notes rest on, and the codes of their clusters.
    `primary` and `silent` are the sides' values ("mean" metrics have none); `values` is one number a pair:
    the ratio or its logarithm, the difference of the sides, or the pair's own value. `clusters` are codes, -1
    for none, or None if no cluster came twice; `times` are microseconds, or places where none is known.
    `omissions` counts the pairs left out because of one side alone, and `omitted` has their times. Where it
    `is_net`, control calls are in the primary's place; where it is not, times have how `comparable` they are.
    """

    metric: BuiltIn
    pairs: pl.DataFrame = field(repr=False)
    primary: Floats = field(repr=False)
    silent: Floats = field(repr=False)
    values: Floats = field(repr=False)
    clusters: Whole | None = field(repr=False)
    times: Whole = field(repr=False)
    left_out: tuple[str, ...] = ()
    omissions: tuple[Omission, ...] = ()
    omitted: Whole = field(default_factory=lambda: np.empty(0, dtype=np.int64), repr=False)
    is_net: bool = False
    comparable: Comparability | None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def why_incomparable(self) -> str:
        """Why the times of the two sides cannot be compared; nothing where they can."""
        return "" if self.comparable is None or self.comparable.is_given else self.comparable.why

    def after(self, index: int) -> "Evidence":
        """What the pairs after one of them say."""
        first = index + 1
        codes = None if self.clusters is None else self.clusters[first:]
        return replace(
            self,
            pairs=self.pairs[first:],
            primary=self.primary[first:],
            silent=self.silent[first:],
            values=self.values[first:],
            clusters=codes if codes is not None and _come_again(codes) else None,
            times=self.times[first:],
        )


def narrowed(frame: pl.DataFrame, metrics: Iterable[BuiltIn]) -> pl.DataFrame:
    """The columns that the metrics read, and those that every comparison does: texts cost memory."""
    wanted = {name for metric in metrics for name in (*columns_of(metric), *_NOTED.get(metric.name, ()))}
    return only(frame, (name for name in frame.columns if name in wanted or name in _BASE))


def by_arm(frame: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Each arm's pairs in the order of their requests, with their time and the code of their cluster."""
    # one axis for all arms: the error rate is shared among those that had started by then
    timed = frame["started_at"].null_count() == 0
    return {arm: _coded(in_order(of_arm(frame, arm)), timed) for arm in arms_by_start(frame)}


def _coded(pairs: pl.DataFrame, timed: bool) -> pl.DataFrame:
    known = pairs["cluster"].drop_nulls()
    if known.n_unique() == len(known):
        code = pl.repeat(-1, pairs.height, dtype=pl.Int64, eager=True)
    else:
        code = pairs["cluster"].rank("dense").cast(pl.Int64).fill_null(-1)
    time = (
        pairs["started_at"].to_physical() if timed else pl.int_range(pairs.height, dtype=pl.Int64, eager=True)
    )
    return pl.DataFrame([*pairs.get_columns(), code.alias(CLUSTER), time.alias(TIME)])


def beside_control(of_arms: Mapping[str, pl.DataFrame]) -> Mapping[str, pl.DataFrame]:
    """The pairs of each silent arm with what the control call of the same request was like.

    It was sent the way silent calls are, when they were: what load, waiting and this process add to a time
    is on both. Where there is no control arm, the pairs as they are.
    """
    if (control := of_arms.get(CONTROL)) is None:
        return of_arms
    names = [name for name in control.columns if name.startswith("silent_")]
    twins = (
        only(control, ["request_id", *names])
        .unique("request_id", keep="first", maintain_order=True)
        .rename({name: f"{_OF_CONTROL}{name.removeprefix('silent_')}" for name in names})
        .with_columns(pl.col("request_id").alias(_TWIN))
    )
    return {
        arm: pairs
        if arm == CONTROL
        else pairs.join(twins, on="request_id", how="left", maintain_order="left")
        for arm, pairs in of_arms.items()
    }


def _net_of_control(pairs: pl.DataFrame) -> pl.DataFrame:
    """The pairs that have one with the control call in the primary's place."""
    twins = pairs.filter(pl.col(_TWIN).is_not_null())
    names = [name for name in twins.columns if name.startswith(_OF_CONTROL)]
    others = {name: f"primary_{name.removeprefix(_OF_CONTROL)}" for name in names if name != _TWIN}
    return twins.drop(_TWIN, *others.values(), strict=False).rename(others)


def draw(pairs: pl.DataFrame, metric: BuiltIn, keep: Sequence[str] = ()) -> Evidence:
    """What an arm's pairs, as `by_arm` gives them, say on a metric; `keep` names columns to have beside.

    Pairs that `beside_control` gives say on a metric of time how the silent model compares with the control
    call of the same request; the others are left out.
    """
    alone, is_net = 0, metric.name in TIMES and _TWIN in pairs.columns
    if is_net:
        alone = usable(pairs.filter(pl.col(_TWIN).is_null()), metric, keep=[TIME]).pairs.height
        pairs = _net_of_control(pairs)
        metric = replace(metric, estimand=f"{metric.estimand}, net of control")
    told = [CLUSTER, *_NOTED.get(metric.name, ()), *keep]
    if metric.name in NET:
        told.append("request_id")
    wanted = dict.fromkeys(
        (*values_in(metric), TIME, *told, *(["pair_id", metric.order] if metric.order else []))
    )
    read = columns_of(metric).union(wanted)
    chosen = usable(only(pairs, (name for name in pairs.columns if name in read)), metric, keep=wanted)
    kept = chosen.pairs
    if metric.order is not None:
        # a label given out of turn is new when it is given, not when its pair was
        kept = kept.with_columns(pl.coalesce(pl.col(metric.order).to_physical(), TIME).alias(TIME)).sort(
            TIME, "pair_id"
        )
    if metric.kind == "mean":
        primary = silent = np.empty(0)
        values = _array(kept, metric.of(""))
    else:
        primary, silent = (_array(kept, metric.of(side)) for side in SIDES)
        values = _paired(metric, primary, silent)
    is_time = metric.name in TIMES and not is_net and set(comparability.READ) <= set(kept.columns)
    codes = kept[CLUSTER].to_numpy()
    return Evidence(
        metric,
        only(kept, dict.fromkeys(told)),
        primary,
        silent,
        values,
        codes if _come_again(codes) else None,
        kept[TIME].to_numpy(),
        (*chosen.left_out, *([f"{alone:,} left out: no control call of the request"] if alone else [])),
        chosen.omissions,
        chosen.one_sided[TIME].to_numpy(),
        is_net,
        comparability.comparability(kept) if is_time else None,
    )


def _come_again(codes: Whole) -> bool:
    """Whether any cluster comes twice among these pairs: an arm's may where a metric's do not."""
    known = codes[codes >= 0]
    return bool(len(known)) and bool(np.bincount(known).max() > 1)


def _paired(metric: BuiltIn, primary: Floats, silent: Floats) -> Floats:
    with np.errstate(all="ignore"):
        if metric.kind == "ratio":
            return np.log(silent) - np.log(primary)
        if metric.kind == "median":
            # where both failed, neither was slower
            return np.where(primary == silent, 1.0, silent / primary)
        return silent - primary


def _array(pairs: pl.DataFrame, value: pl.Expr) -> Floats:
    return pairs.select(value.cast(pl.Float64).alias("value"))["value"].to_numpy()
