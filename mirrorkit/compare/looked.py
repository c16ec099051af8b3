"""The looks that were taken at a record: by which plan, and what need not be worked out again."""

from collections.abc import Callable, Sequence
from threading import RLock
from typing import Any

from mirrorkit.compare.measured import Kept
from mirrorkit.compare.plan import Look, Plan, look_of, looks_to_json, plan_of


class Looked:
    """What is kept from one look at a record to the next.

    A plan that was set stays until it is changed, and each plan that was looked by is remembered, with the
    number of pairs at its first look. Each change is one step, as a dashboard's thread looks too.

    >>> looked = Looked()
    >>> plan = looked.plan(gates={"cost": 0.8})
    >>> looked.remember(plan, 240)
    >>> looked.plan(alpha=0.1).words(), [look.pairs for look in looked.looks]
    ('gates: cost < ×0.8; alpha 0.1', [240])
    """

    def __init__(self, looks: Sequence[Look] = ()) -> None:
        self._changing = RLock()
        self.looks = tuple(looks)
        self.kept = Kept()
        self._plan: Plan | None = None

    def recall(self, looks: Sequence[Look]) -> None:
        """Go on from looks that were taken earlier, unless one was taken since."""
        with self._changing:
            self.looks = self.looks or tuple(looks)

    def plan(self, **changes: Any) -> Plan:
        """The last plan, changed by what is given; raises CompareError if that is out of range."""
        with self._changing:
            last = self._plan or (plan_of(self.looks[-1]) if self.looks else Plan())
        return last.with_changes(**changes)

    def with_look(self, plan: Plan, pairs: int) -> tuple[Look, ...]:
        """The looks so far and one more, if it is by another plan than the last."""
        look, looks = look_of(plan, pairs), self.looks
        return looks if looks and looks[-1].given == look.given else (*looks, look)

    def intend(self, plan: Plan) -> None:
        """A plan was set, by which nothing has been looked at yet."""
        with self._changing:
            self._plan = plan

    def remember(self, plan: Plan, pairs: int) -> None:
        """A look was taken by this plan, which is the one that is set from now on."""
        with self._changing:
            self._plan, self.looks = plan, self.with_look(plan, pairs)

    def watch(self, pairs: int) -> tuple[Plan, tuple[Look, ...]]:
        """A look is taken by what is set, which stays as it is: the plan, and the looks with this one."""
        with self._changing:
            plan = self.plan()
            self.looks = self.with_look(plan, pairs)
            return plan, self.looks

    def keep(self, where: Callable[[str], object]) -> None:
        """Write the looks down, as JSON; of two writers, the one with fewer is never the last."""
        with self._changing:
            where(looks_to_json(self.looks))
