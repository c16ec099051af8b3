"""The numbers of the dashboard: a glance at a session, and a tally of its pairs that only grows."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import numpy.typing as npt
import polars as pl

from mirrorkit.capture.policy import Funnel, Spending
from mirrorkit.compare.selection import FAILED, SIDES

LATEST = 6
"""Errors that are kept."""

_LONGEST = 400
"""Characters of an error message that are read at all."""

_FIRST, _DECADES, _BINS = -5, 10, 1_000
"""Times from 10 µs to 100,000 s, a thousand bins in each decade: a bin is 0.23 % wide."""

_POINTS = 80
"""Points of a curve."""


@dataclass(frozen=True, slots=True)
class Glance:
    """What is cheap to know of a session; equal if nothing has happened.

    `calls` are silent calls that wait or run; `said` is when a person or a judge last said something of a
    pair, where a gate rests on that; `plan` says in words what is set, `plans` what it was looked at by.
    """

    funnel: Funnel = field(default_factory=Funnel)
    spending: Spending = field(default_factory=Spending)
    calls: int = 0
    recorded: int = 0
    faults: int = 0
    last_fault: str | None = None
    closed: bool = False
    said: datetime | None = None
    plan: str = ""
    plans: tuple[object, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether the session is closed and nothing is under way, so that all of this stays as it is."""
        return self.closed and not self.calls and not self.funnel.under_way


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that failed: when its request started, on which side, and how."""

    at: datetime | None
    side: str
    arm: str | None
    kind: str | None
    message: str | None
    request_id: str | None = field(default=None, repr=False)


class Times:
    """How long calls took, as a histogram fine enough for three digits, whatever their number.

    >>> times = Times()
    >>> times.add(pl.Series([0.1, 0.2, 0.4]))
    >>> times.n, round(times.quantile(0.5), 3)
    (3, 0.2)
    """

    def __init__(self) -> None:
        self._counts: npt.NDArray[np.int64] = np.zeros(_DECADES * _BINS, dtype=np.int64)
        self.n = 0

    def add(self, seconds: pl.Series) -> None:
        """Count these times, in seconds; nulls and what is no time are left out."""
        values = seconds.drop_nulls().to_numpy()
        values = values[np.isfinite(values) & (values > 0)]
        places = ((np.log10(values) - _FIRST) * _BINS).astype(np.int64).clip(0, len(self._counts) - 1)
        self._counts += np.bincount(places, minlength=len(self._counts))
        self.n += len(values)

    def quantile(self, level: float) -> float | None:
        """The time that a share `level` of the calls took at most, to 0.2 %; None if there are none."""
        return self._at(np.array([level]))[0] if self.n else None

    def curve(self, most: int = _POINTS) -> list[tuple[float, float]]:
        """Points of the distribution: seconds, and the share of calls that took no longer."""
        if not self.n:
            return []
        levels = np.linspace(0, 1, min(most, self.n) + 1)[1:]
        return [(seconds, float(level)) for seconds, level in zip(self._at(levels), levels, strict=True)]

    def _at(self, levels: npt.NDArray[np.float64]) -> list[float]:
        # a hair less, as 0.07 * 100 is more than 7
        ranks = np.maximum(np.ceil(levels * self.n - 1e-9), 1)
        places = np.searchsorted(np.cumsum(self._counts), ranks)
        return [float(10 ** ((place + 0.5) / _BINS + _FIRST)) for place in places]


class Bill:
    """What both sides have cost, over the pairs whose two costs are known; few points, however many pairs.

    >>> bill = Bill()
    >>> bill.add(pl.DataFrame({"primary_cost_usd": [1.0, 2.0, None], "silent_cost_usd": [0.5, 0.5, 0.5]}))
    >>> bill.n, bill.unpriced, bill.points
    (2, 1, [(0, 0.0, 0.0), (1, 1.0, 0.5), (2, 3.0, 1.0)])
    """

    def __init__(self) -> None:
        self.n = self.unpriced = 0
        self.points: list[tuple[int, float, float]] = [(0, 0.0, 0.0)]

    @property
    def primary(self) -> float:
        """What the primaries cost, in US dollars."""
        return self.points[-1][1]

    @property
    def silent(self) -> float:
        """What the silent calls cost, in US dollars."""
        return self.points[-1][2]

    def add(self, pairs: pl.DataFrame) -> None:
        """Go on by these pairs."""
        priced = pairs.select(f"{side}_cost_usd" for side in SIDES).drop_nulls()
        self.unpriced += pairs.height - priced.height
        if priced.is_empty():
            return
        _, primary, silent = self.points[-1]
        sums = [start + np.cumsum(column) for start, column in zip((primary, silent), priced, strict=True)]
        kept = np.unique(np.linspace(0, priced.height - 1, min(_POINTS, priced.height)).astype(np.int64))
        self.points += [(self.n + int(at) + 1, float(sums[0][at]), float(sums[1][at])) for at in kept]
        self.n += priced.height
        self._thin_out()

    def _thin_out(self) -> None:
        """Keep points that are at like distances, and the last."""
        if len(self.points) > 2 * _POINTS:
            at = np.array([point[0] for point in self.points])
            wanted = np.searchsorted(at, np.linspace(0, self.n, _POINTS))
            self.points = [self.points[place] for place in np.unique(wanted)]


class Arm:
    """The tally of one arm's pairs."""

    def __init__(self) -> None:
        self.n = 0
        self.latency = {side: Times() for side in SIDES}
        self.ttft = {side: Times() for side in SIDES}
        self.bill = Bill()

    def add(self, pairs: pl.DataFrame) -> None:
        """Count these pairs of the arm."""
        self.n += pairs.height
        self.bill.add(pairs)
        for side in SIDES:
            answered = pairs.filter(pl.col(f"{side}_status") == "ok")
            self.latency[side].add(answered[f"{side}_latency_s"])
            self.ttft[side].add(answered[f"{side}_ttft_s"])


class Tally:
    """What the dashboard draws of the pairs: each is read once, so that a look costs what is new.

    >>> from mirrorkit.records import SCHEMA
    >>> tally = Tally()
    >>> tally.read(SCHEMA.frame())
    >>> tally.n, list(tally.arms), list(tally.failures)
    (0, [], [])
    """

    def __init__(self) -> None:
        self.n = self.recorded = 0
        self.arms: dict[str, Arm] = {}
        self.groups: dict[str, None] = {}
        self.failed = dict.fromkeys(SIDES, 0)
        self.failures: deque[Failure] = deque(maxlen=LATEST)
        self._failed_primaries: set[str] = set()
        self._rows = 0
        self._last: str | None = None

    def read(self, frame: pl.DataFrame, recorded: int = 0) -> None:
        """Count the pairs of a growing frame that were not there before.

        Its first rows may be gone, some of them unread: `recorded` are the pairs there have been so far.
        """
        new = frame[self._start(frame) :]
        self._rows = frame.height
        self.recorded = max(recorded, self.n + new.height)
        if new.is_empty():
            return
        self._last = new["pair_id"][-1]
        self.n += new.height
        self.groups |= dict.fromkeys(new["model_group"].drop_nulls().unique(maintain_order=True))
        for (arm,), pairs in new.group_by("arm", maintain_order=True):
            self.arms.setdefault(str(arm), Arm()).add(pairs)
        failed = {side: self._failed(new, side) for side in SIDES}
        for side, calls in failed.items():
            self.failed[side] += calls.height
        self.failures.extend(_latest(failed))

    def _start(self, frame: pl.DataFrame) -> int:
        """The first row that is new."""
        if self._last is None:
            return 0
        ids = frame["pair_id"]
        if self._rows <= len(ids) and ids[self._rows - 1] == self._last:
            return self._rows
        places = (ids == self._last).arg_true()
        return int(places[-1]) + 1 if len(places) else 0

    def _failed(self, new: pl.DataFrame, side: str) -> pl.DataFrame:
        """The calls of a side that failed and were not counted yet, with the rows they are in."""
        ended = [f"{side}_{name}" for name in ("status", "error_type", "error_message")]
        calls = new.select("started_at", "arm", "request_id", *ended).with_row_index("row")
        failed = calls.filter(pl.col(f"{side}_status").is_in(FAILED))
        if side == "primary":
            first = [self._is_first(request_id) for request_id in failed["request_id"]]
            return failed.filter(pl.Series(first, dtype=pl.Boolean))
        return failed

    def _is_first(self, request_id: str | None) -> bool:
        """Whether this failed primary was not met before: it is in the pairs of every arm."""
        if request_id is None:
            return True
        known = len(self._failed_primaries)
        self._failed_primaries.add(request_id)
        return len(self._failed_primaries) > known


def _latest(failed: Mapping[str, pl.DataFrame]) -> Iterator[Failure]:
    """The last of these failed calls of both sides, in the order of the pairs."""
    found = pl.concat(
        calls.tail(LATEST).select(
            "row",
            "started_at",
            "arm",
            "request_id",
            pl.lit(side).alias("side"),
            pl.coalesce(f"{side}_error_type", f"{side}_status").alias("kind"),
            pl.col(f"{side}_error_message").str.slice(0, _LONGEST).alias("message"),
        )
        for side, calls in failed.items()
    )
    for row in found.sort("row", maintain_order=True).tail(LATEST).iter_rows(named=True):
        yield Failure(
            row["started_at"], row["side"], row["arm"], row["kind"], row["message"], row["request_id"]
        )
