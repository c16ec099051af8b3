"""Round numbers for the axes of the dashboard's charts."""

from collections.abc import Sequence
from math import floor, log10


def round_steps(most: float, wanted: int = 5) -> list[float]:
    """Round numbers from 0 to `most`.

    >>> round_steps(1234), round_steps(0.07)
    ([0.0, 500.0, 1000.0], [0.0, 0.02, 0.04, 0.06])
    """
    if most <= 0:
        return [0.0]
    power = 10.0 ** floor(log10(most / wanted))
    step = next(power * by for by in (1, 2, 5, 10) if power * by * wanted >= most * 0.999)
    return [float(f"{step * at:.6g}") for at in range(int(most / step * 1.001) + 1)]


def dollars(ticks: Sequence[float]) -> list[tuple[float, str]]:
    """Ticks with their texts, all with as many decimals.

    >>> dollars([0.0, 0.05, 0.1]), dollars([0.0, 2.0])
    ([(0.0, '$0.00'), (0.05, '$0.05'), (0.1, '$0.10')], [(0.0, '$0'), (2.0, '$2')])
    """
    step = ticks[1] if len(ticks) > 1 else 1.0
    decimals = max(0, -floor(log10(step) + 1e-9))
    return [(tick, f"${tick:,.{decimals}f}") for tick in ticks]


def spread(ticks: Sequence[tuple[float, str]], most: int) -> Sequence[tuple[float, str]]:
    """At most so many of the ticks."""
    return ticks[:: -(-len(ticks) // most)] if ticks else ticks
