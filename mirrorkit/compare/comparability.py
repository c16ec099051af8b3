"""Whether the times of both sides can be compared where no control call tells what load adds to them.

A silent call is sent from the same process, a little later. Where that process is busy, its own work is in
the times of both sides, in unlike parts; where silent calls wait for a calmer moment, they meet another load.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

MOST_OVERHEAD = 0.02
"""The part of either side's latency that may be LiteLLM's own work in this process."""
WAIT_S = 2.0
MOST_LATE = 0.1
"""The part of the silent calls that may have been sent more than `WAIT_S` after they could have been."""

READ = ("primary_latency_s", "silent_latency_s", "primary_overhead_s", "silent_overhead_s", "lag_s")

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Comparability:
    """How much of the times was this process's own work, and how many silent calls were sent late.

    `holds` says of each prefix of the pairs whether their times can be compared; the parts are of all pairs.
    """

    holds: Flags
    primary: float
    silent: float
    late: float

    @property
    def is_given(self) -> bool:
        """Whether the times of all pairs can be compared."""
        return not len(self.holds) or bool(self.holds[-1])

    def first(self, index: int | None) -> int | None:
        """The first pair from one of them on by which times can be compared; None if there is none."""
        if index is None:
            return None
        later = self.holds[index:]
        return index + int(later.argmax()) if later.any() else None

    @property
    def why(self) -> str:
        """Why they cannot be compared, and what to do."""
        causes = []
        if max(self.primary, self.silent) > MOST_OVERHEAD:
            causes.append(
                f"{100 * self.primary:.3g} % of the primary's latency and {100 * self.silent:.3g} % of the "
                f"silent model's were LiteLLM's own work in this process, more than {100 * MOST_OVERHEAD:g} %"
            )
        if self.late > MOST_LATE:
            causes.append(
                f"{100 * self.late:.3g} % of the silent calls were sent over {WAIT_S:g} s after they could "
                f"have been, more than {100 * MOST_LATE:g} %"
            )
        return (
            f"times cannot be compared: {' and '.join(causes)}: record a control arm (control=1) or send "
            "fewer requests at once"
        )


def comparability(pairs: pl.DataFrame) -> Comparability:
    """How far the times of these pairs can be compared; what is unknown is taken to be no hindrance.

    >>> pairs = pl.DataFrame({name: [1.0, 1.0] for name in READ} | {"primary_overhead_s": [0.01, 0.01]})
    >>> found = comparability(pairs.with_columns(silent_overhead_s=pl.Series([0.0, 0.1])))
    >>> found.holds.tolist(), found.primary, found.silent
    ([True, False], 0.01, 0.05)
    """
    parts = {side: _own_work(pairs, side) for side in ("primary", "silent")}
    wait = pairs["lag_s"] - pairs["primary_latency_s"]
    is_late = (wait.is_finite() & (wait > WAIT_S)).fill_null(False)
    late = _running(is_late, pl.Series(np.ones(pairs.height)))
    holds = (parts["primary"] <= MOST_OVERHEAD) & (parts["silent"] <= MOST_OVERHEAD) & (late <= MOST_LATE)
    return Comparability(holds, *(float(each[-1]) if len(each) else 0.0 for each in (*parts.values(), late)))


def _own_work(pairs: pl.DataFrame, side: str) -> npt.NDArray[np.float64]:
    """The part of a side's latency that is LiteLLM's own work, of every prefix."""
    overhead, latency = pairs[f"{side}_overhead_s"], pairs[f"{side}_latency_s"]
    known = overhead.is_finite() & latency.is_finite() & (overhead >= 0) & (latency > 0)
    known = known.fill_null(False)
    return _running(overhead.zip_with(known, pl.Series([0.0])), latency.zip_with(known, pl.Series([0.0])))


def _running(part: pl.Series, whole: pl.Series) -> npt.NDArray[np.float64]:
    """Σ part / Σ whole of every prefix; 0 of nothing."""
    with np.errstate(over="ignore", invalid="ignore"):  # times of no measure
        of, all_of = (np.cumsum(each.cast(pl.Float64).to_numpy()) for each in (part, whole))
    return np.asarray(np.divide(of, all_of, out=np.zeros(len(of)), where=(all_of > 0) & np.isfinite(all_of)))
