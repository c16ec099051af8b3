"""How alpha is shared among silent models, of which some may join later: at most alpha in all, for ever.

Models that start together are a wave, and what a wave may err is settled by how many came before it. It does
not change when others join: those who were there may have erred by then with all that they were given. For
the same reason a first wave cannot have all of alpha and a second one anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mirrorkit.compare.evidence import Floats, Whole

FIRST = 0.9
"""The part of alpha that the first wave has, as most comparisons have no other. What is left is for all later
ones, the j-th of them all having 1 / (j·(j − 1)) of it, which adds up to 1."""

COMPLETE = 20
"""A wave is open to others until one of its models has so many pairs."""

_OPEN = 1e-6
"""While it is, each of its models may err with so small a part of what they are to share."""

_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Share:
    """What a silent model may err with, in parts of alpha: `part` from the time `since` on, else `early`."""

    part: float
    early: float
    since: int

    def alphas(self, times: Whole, alpha: float) -> Floats:
        """The error rate at each time.

        >>> Share(0.5, early=0.001, since=10).alphas(np.array([9, 10, 11]), 0.04).tolist()
        [4e-05, 0.02, 0.02]
        """
        return alpha * np.where(times < self.since, self.early, self.part)


def shares(times: Mapping[str, Whole]) -> dict[str, Share]:
    """The share of each silent model, by the times of its pairs, which ascend.

    What it is at a time follows from the pairs up to then.

    >>> times = np.arange(100)
    >>> each = shares({"a": times, "b": times, "late": times + 50})
    >>> {arm: round(share.part, 4) for arm, share in each.items()}
    {'a': 0.45, 'b': 0.45, 'late': 0.05}
    """
    waves: list[tuple[list[str], int]] = []
    for arm in sorted(times, key=lambda arm: int(times[arm][0])):
        start, mine = int(times[arm][0]), times[arm]
        complete = int(mine[COMPLETE - 1]) if len(mine) >= COMPLETE else _NEVER
        arms, until = waves.pop() if waves and start <= waves[-1][1] else ([], complete)
        waves.append(([*arms, arm], min(until, complete)))
    return {
        arm: Share(_part(number) / len(arms), _OPEN * _part(number), until)
        for number, (arms, until) in enumerate(waves, start=1)
        for arm in arms
    }


def _part(number: int) -> float:
    """The part of alpha that the wave of this number has, from 1."""
    return FIRST if number == 1 else (1 - FIRST) / (number * (number - 1))
