"""Gates that ask for what cannot be: to be better than the primary's share leaves room for."""

from collections.abc import Iterator, Sequence

from mirrorkit.compare import wording
from mirrorkit.compare.pitfalls import Pitfall
from mirrorkit.compare.rows import Row
from mirrorkit.compare.verdict import GateResult

FROM = 100
"""Pairs from which on the primary's share is taken for what it is."""


def out_of_reach(gates: Sequence[GateResult], rows: Sequence[Row]) -> Iterator[Pitfall]:
    """The gates that no silent model can pass while the primary is as good as it is.

    Where the primary fails in 1 % of the requests, none fails 2 points less often.
    """
    shown = {row["metric"]: row for row in reversed(rows)}
    for gate in gates:
        row = shown.get(gate.metric)
        if row is None or row["estimand"] != "difference of shares" or row["n"] < FROM:
            continue
        primary, better = row["primary"], -gate.margin if gate.lower else gate.margin
        room = primary if gate.lower else 1 - primary
        if gate.state != "passed" and better > 0 and room <= better:
            yield Pitfall(
                None,
                gate.arm,
                f"the gate {gate.words} cannot pass: the primary's own share is "
                f"{wording.quantity(primary, 'share')}, which leaves no room to be {100 * better:g} points "
                "better. A margin says how much worse the silent side may be: "
                f"{gate.metric}=0.01 is one point.",
            )
