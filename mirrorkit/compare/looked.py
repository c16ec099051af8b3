"""The looks that were taken at a record: by which plan, and what need not be worked out again."""

from collections.abc import Sequence
from typing import Any

from mirrorkit.compare.measured import Kept
from mirrorkit.compare.plan import Look, Plan, look_of, plan_of


class Looked:
    """What is kept from one look at a record to the next.

    A plan that was set stays until it is changed, and each plan that was looked by is remembered, with the
    number of pairs at its first look.

    >>> looked = Looked()
    >>> plan = looked.plan(gates={"cost": 0.8})
    >>> looked.remember(plan, 240)
    >>> looked.plan(alpha=0.1).words(), [look.pairs for look in looked.looks]
    ('gates: cost < ×0.8; alpha 0.1', [240])
    """

    def __init__(self, looks: Sequence[Look] = ()) -> None:
        self.looks = tuple(looks)
        self.kept = Kept()
        self._plan: Plan | None = None

    def plan(self, **changes: Any) -> Plan:
        """The last plan, changed by what is given; raises CompareError if that is out of range."""
        last = self._plan or (plan_of(self.looks[-1]) if self.looks else Plan())
        return last.with_changes(**changes)

    def with_look(self, plan: Plan, pairs: int) -> tuple[Look, ...]:
        """The looks so far and one more, if it is by another plan than the last."""
        look = look_of(plan, pairs)
        if self.looks and self.looks[-1].given == look.given:
            return self.looks
        return (*self.looks, look)

    def intend(self, plan: Plan) -> None:
        """A plan was set, by which nothing has been looked at yet."""
        self._plan = plan

    def remember(self, plan: Plan, pairs: int) -> None:
        """A look was taken by this plan."""
        self._plan, self.looks = plan, self.with_look(plan, pairs)
