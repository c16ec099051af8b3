"""What a metric leaves out because of one side alone, and until when that holds its gate open.

Answers that a metric cannot use on one side alone are not missing by chance: they may well be the bad ones.
So nothing is decided, and nothing claimed, while there are more than a few of them.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from mirrorkit.compare.evidence import Evidence
from mirrorkit.compare.selection import Omission

MOST = 0.01
"""The share of a metric's pairs, those left out counted in, that may be left out because of one side alone.

It is as small as the usual margin of a share: what is rarer hardly moves an effect beyond its margin.
"""

Cause = tuple[tuple[Omission, ...], int]
"""What is left out of a metric, and how many pairs it can use."""


def too_many(evidence: Evidence) -> bool:
    """Whether more than a few of the pairs, up to the last one, are left out because of one side alone."""
    out = len(evidence.omitted)
    return out > MOST * (len(evidence) + out)


def first_decidable(evidence: Evidence, index: int | None) -> int | None:
    """The first pair of the evidence, from one of them on, by which few enough are left out; None if none is.

    So later pairs never change what was decided: neither those that are left out, nor those that are not.
    """
    if index is None or not len(evidence.omitted):
        return index
    out = np.searchsorted(evidence.omitted, evidence.times[index:], side="right")
    used = np.arange(index + 1, len(evidence) + 1)
    few = out <= MOST * (used + out)
    return index + int(few.argmax()) if few.any() else None


def why_open(evidence: Evidence) -> str:
    """Why nothing is decided on the evidence: how many are left out, on which side, and what to do."""
    causes = evidence.omissions
    return f"{_counted(causes, len(evidence))}, more than {100 * MOST:g} %: {_listed(causes)}"


def sentences(of_metrics: Mapping[str, Cause]) -> Iterator[str]:
    """What to say of the metrics of an arm that leave out too many: once of those with the same cause."""
    by_cause: dict[Cause, list[str]] = {}
    for name, cause in of_metrics.items():
        by_cause.setdefault(cause, []).append(name)
    for (omissions, n), names in by_cause.items():
        yield (
            f"{', '.join(names)}: {_counted(omissions, n)}: {_listed(omissions)}. While that is more than "
            f"{100 * MOST:g} % of them, a gate on it that is open stays open, and nothing is claimed."
        )


def _counted(omissions: Sequence[Omission], n: int) -> str:
    out = sum(each.pairs for each in omissions)
    return f"{out:,} of {n + out:,} pairs are left out because of one side alone"


def _listed(omissions: Sequence[Omission]) -> str:
    counts = (f"{each.words} (primary {each.primary:,}, silent {each.silent:,})" for each in omissions)
    remedies = dict.fromkeys(each.remedy for each in omissions if each.remedy)
    return "; ".join((", ".join(counts), *remedies))
