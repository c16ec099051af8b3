"""The session's books: what came in, what it cost, and what went wrong in the background."""

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

from mirrorkit.capture.account import Account
from mirrorkit.capture.policy import Funnel, Reason, Spending
from mirrorkit.capture.scrub import Scrubber
from mirrorkit.errors import MirrorWarning
from mirrorkit.records import Call

_ALIKE = 10
_MIXED = float("-inf")


class Books:
    """Counts, spending and faults, kept for many threads; nothing here ever raises at a caller."""

    def __init__(self, budget_usd: float | None, account: Account | None = None) -> None:
        self._counts: Counter[str] = Counter()
        self._call_types: Counter[str] = Counter()
        self._account = account or Account()
        self._own = object()
        self._spending = Spending(budget_usd)
        self.faults = 0
        self.last_fault: str | None = None
        # without the user's redact, whose own faults are told here
        self._scrubber = Scrubber()
        # one for all on the account, so that together they keep to the budget
        self._lock = self._account.lock
        self._warned: set[str] = set()
        self._failures: dict[str, tuple[str, float]] = {}

    def mask(self, secrets: Iterable[str]) -> None:
        """Learn what must not be shown of a fault."""
        self._scrubber = Scrubber(secrets)

    def count(self, outcome: Literal["opened", "mirrored"] | Reason) -> None:
        """Count a request that came in, or what became of it."""
        with self._lock:
            self._counts[outcome] += 1

    def count_not_mirrored(self, call_type: str) -> None:
        """Count a request of a call type that is not mirrored."""
        with self._lock:
            self._counts.update(("opened", "not_mirrored"))
            self._call_types[call_type] += 1

    @property
    def funnel(self) -> Funnel:
        """How many requests came in, and what became of them."""
        with self._lock:
            settled, call_types = dict(self._counts), dict(self._call_types)
        opened = settled.pop("opened", 0)
        return Funnel(
            requests=opened,
            under_way=opened - sum(settled.values()),
            not_mirrored_by_call_type=call_types,
            **settled,
        )

    @property
    def spending(self) -> Spending:
        """What silent calls and judges of this session have cost, and will, beside those of others."""
        return replace(self._spending, elsewhere=self._account.beside(self._own))

    def _spend(self, spending: Spending) -> None:
        self._spending = spending
        self._account.keep(self._own, spending)

    def reserve(self, expected: Sequence[float]) -> bool:
        """Set aside what a request's silent calls will cost, all or none; False if the budget is spent."""
        with self._lock:
            if not self.spending.allows(*expected):
                return False
            self._spend(self.spending.reserve(*expected))
            return True

    def settle(self, expected: float, call: Call | None = None, group: str = "") -> None:
        """A silent call of a group ended as this Call, or (None) was not sent after all."""
        cost = None if call is None else call.cost_usd
        with self._lock:
            self._spend(self.spending.settle(expected, cost))
        if call is not None:
            self._check_price(call)
            self._check_failures(call, group)

    def _check_failures(self, call: Call, group: str) -> None:
        """Warn once where all silent calls of a group fail for one reason: nothing else will come of it."""
        if call.status not in ("ok", "error", "timeout"):
            return
        why = call.error_type or ""
        with self._lock:
            known, many = self._failures.get(group, (why, 0))
            many = many + 1 if why and why == known else _MIXED
            self._failures[group] = known, many
        if many == _ALIKE:
            self._warn_once(
                f"failures of {group}",
                f"all of the first {_ALIKE} silent calls of {group!r} have failed alike: {why}: "
                f"{self._scrubber.line(call.error_message)}",
            )

    def warn_unknown(self, names: Sequence[str]) -> None:
        """Warn once that parameters were not sent to silent models, as nobody knows what they are."""
        self._warn_once(
            "unknown",
            f"silent calls are sent without {', '.join(names)}, which may be a credential: where it is part "
            f"of the request, name it in `MirrorSession(..., forward=[{names[0]!r}])`. The column "
            "`stripped` has the names for each pair.",
        )

    def reserve_judge(self, expected: float) -> bool:
        """Set aside what a judge's work on a pair will cost; False if the budget is spent."""
        with self._lock:
            if not self.spending.allows():
                return False
            self._spend(self.spending.reserve(expected))
            return True

    def settle_judge(self, expected: float, calls: Sequence[Call]) -> None:
        """A judge's work on a pair ended, with these calls."""
        known = sum(call.cost_usd for call in calls if call.cost_usd is not None)
        with self._lock:
            self._spend(self.spending.settle_judge(expected, known))
        for call in calls:
            self._check_price(call)

    def _check_price(self, call: Call) -> None:
        if call.status == "ok" and call.cost_usd is None and self.spending.limit is not None:
            self._warn_once(
                "budget",
                f"budget_usd={self.spending.limit:g} cannot be kept: LiteLLM has no price for "
                f"{call.model!r}. Give its deployment an input_cost_per_token and an output_cost_per_token.",
            )

    def fault(self, error: BaseException) -> None:
        """A fault in the background, ours or of the user's hooks: count it, warn once."""
        try:
            text = self._scrubber.error(str(error))
        except Exception:  # whatever a foreign __str__ raises
            text = "its text cannot be had"
        with self._lock:
            self.faults += 1
            self.last_fault = f"{type(error).__name__}: {text}"
        self._warn_once(
            "fault",
            f"a mirror had a fault of its own ({self.last_fault}); primaries are not affected. "
            "Further ones are only counted, see repr(session).",
        )

    def _warn_once(self, kind: str, message: str) -> None:
        with self._lock:
            if kind in self._warned:
                return
            self._warned.add(kind)
        # where warnings are errors, this one must still not reach a primary
        try:
            warnings.warn(message, MirrorWarning, stacklevel=2)
        except MirrorWarning:
            self.last_fault = message
