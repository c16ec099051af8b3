"""One request's silent calls: made, handed to the dispatcher, and each a pair when it has ended."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from mirrorkit.capture.arms import Arm
from mirrorkit.capture.background import Background
from mirrorkit.capture.books import Books
from mirrorkit.capture.dispatch import Dispatcher
from mirrorkit.capture.exchange import Asked
from mirrorkit.capture.frames import Ended, Order
from mirrorkit.capture.observe import Seen
from mirrorkit.capture.policy import Policy, Reason, cost_by_tokens, guessed_tokens
from mirrorkit.capture.record import Recorder, RequestRecord
from mirrorkit.capture.router.adapter import Adapter
from mirrorkit.capture.silent import Away, SilentCall
from mirrorkit.capture.time_limit import limit_of
from mirrorkit.capture.underway import UnderWay
from mirrorkit.records import Call, Pair


@dataclass(frozen=True, slots=True)
class Services:
    """What a session's mirrored requests are made with.

    `sink` takes a finished pair. Where there is a journal, `begin` takes one that is about to be sent, and
    `withdraw` the id of one that was not sent after all.
    """

    adapter: Adapter
    policy: Policy
    books: Books
    background: Background
    dispatcher: Dispatcher
    under_way: UnderWay
    away: Away | None
    sink: Callable[[Pair], None]
    begin: Callable[[Pair], None] | None
    withdraw: Callable[[str], None]
    is_ours: Callable[[], bool]
    """whether this is still the process that the session was made in, and no fork of it"""


class MirroredRequest:
    """A request that is mirrored to these arms, before its primary has settled or after.

    `ended` is done once each of its silent calls has ended, and its primary has settled.
    """

    def __init__(
        self,
        services: Services,
        asked: Asked,
        arms: Sequence[Arm],
        recorder: Recorder,
    ) -> None:
        self.ended: Future[None] = Future()
        self._services = services
        self._asked = asked
        self._arms = arms
        self._record = RequestRecord(recorder, asked.request, asked.copied)
        self._recorder = recorder
        self._lock = threading.Lock()
        self._primary: Seen | None = None
        self._sent_at: float | None = None
        self.sent = threading.Event()
        """set when the first of them is sent"""
        self._left = len(arms)
        self._early: list[tuple[SilentCall, Ended]] | None = []
        self._expected: dict[str, float] = {}

    def settled(self, primary: Seen, sent_at: float | None) -> None:
        """The primary has settled, once, and was sent at this time of `time.perf_counter`, if one knows."""
        with self._lock:
            if self._early is None:
                return
            self._primary, self._sent_at = primary, sent_at
            early, self._early = self._early or [], None
        for call, ended in early:
            self._services.background.do(partial(self._keep, call, ended))

    def hand_over(self) -> Literal["mirrored"] | Reason:
        """Hand the silent calls to the dispatcher, all or none; says what became of them."""
        services, started_at = self._services, self._asked.request.started_at
        self._expected = {arm.name: self._expect(arm.group) for arm in self._arms}
        if not services.books.reserve(tuple(self._expected.values())):
            return "over_budget"
        services.under_way.expect(started_at, self._expected)
        admitted, calls = False, list[SilentCall]()
        try:
            calls = [self._call(arm) for arm in self._arms]
            loop = None if any(call.leaves for call in calls) else self._asked.loop
            for call in calls:
                self._begin(call)
            admitted = services.dispatcher.admit(calls, loop)
            return "mirrored" if admitted else "saturated"
        finally:
            if not admitted:
                for name, expected in self._expected.items():
                    services.books.settle(expected)
                    services.under_way.leave(started_at, name)
                for call in calls:
                    services.withdraw(call.pair_id)

    def _call(self, arm: Arm) -> SilentCall:
        services, primary = self._services, self._primary
        primary_s = None if primary is None else primary.latency_s
        limit_s, is_own = limit_of(
            services.policy, services.adapter, arm.group, arm.forwarded.kwargs, primary_s
        )
        order = Order(
            replace(self._asked, copied=arm.forwarded.kwargs),
            arm.name,
            arm.group,
            None if primary is None else primary.call_id,
            limit_s,
            is_own,
        )
        return SilentCall(
            order,
            adapter=services.adapter,
            policy=services.policy,
            recorder=self._recorder,
            on_begin=self.sent.set,
            on_done=self._done,
            on_fault=services.books.fault,
            stripped=arm.forwarded.stripped,
            away=services.away,
        )

    def _begin(self, call: SilentCall) -> None:
        """Write down that a call is about to be made, so that it has a row whatever comes between."""
        if self._services.begin is not None:
            primary = self._primary or Seen("unknown")
            silent = Call("unknown")
            self._services.begin(
                self._record.pair(call.pair_id, call.arm, None, primary, silent, call.stripped)
            )

    def _done(self, call: SilentCall, ended: Ended) -> None:
        if ended.retry_after_s is not None:
            self._services.dispatcher.pause(call.group, ended.retry_after_s)
        with self._lock:
            if self._early is not None:
                self._early.append((call, ended))
                return
        self._keep(call, ended)

    def _keep(self, call: SilentCall, ended: Ended) -> None:
        """Make a pair of how a silent call ended; its primary has settled."""
        services, recorded = self._services, None
        if not services.is_ours():
            return
        try:
            assert self._primary is not None
            known = ended.started is not None and self._sent_at is not None
            lag_s = ended.started - self._sent_at if known else None  # type: ignore[operator]
            pair = self._record.pair(call.pair_id, call.arm, lag_s, self._primary, ended.call, call.stripped)
            recorded = pair.silent
            services.sink(pair)
        except Exception as fault:
            services.books.fault(fault)
        finally:
            services.books.settle(self._expected[call.arm], recorded, call.group)
            services.under_way.leave(self._asked.request.started_at, call.arm)
            with self._lock:
                self._left -= 1
                is_last = self._left == 0
            if is_last:
                self.ended.set_result(None)

    def _expect(self, group: str) -> float:
        """What a silent call of this group will cost, in US dollars, as far as can be told beforehand."""
        services, primary = self._services, self._primary
        if services.policy.budget_usd is None:
            return 0.0
        usage = None if primary is None else primary.usage
        tokens = None if usage is None else (usage.input_tokens, usage.output_tokens)
        price = services.adapter.token_price(group)
        by_tokens = cost_by_tokens(price, tokens)
        guess = cost_by_tokens(price, guessed_tokens(self._asked.copied)) if tokens is None else None
        primary_cost = None if primary is None else primary.response_cost
        return services.books.spending.expect(by_tokens, primary_cost, price != (0.0, 0.0), guess)
