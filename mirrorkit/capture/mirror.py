"""One request's way: decide → primary → hand over → silent calls → pairs → sink."""

import asyncio
import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from time import sleep
from typing import Any, Literal

from mirrorkit.capture.account import Account
from mirrorkit.capture.arms import Arms
from mirrorkit.capture.background import Background
from mirrorkit.capture.batch import OnMirrored
from mirrorkit.capture.books import Books
from mirrorkit.capture.deadline import Deadline
from mirrorkit.capture.dispatch import Dispatcher
from mirrorkit.capture.exchange import Asked, Exchange, request_of
from mirrorkit.capture.frames import Plan, pack_plan
from mirrorkit.capture.lifetime import finish
from mirrorkit.capture.mirrored import MirroredRequest, Services
from mirrorkit.capture.observe import Pricer, Seen
from mirrorkit.capture.policy import Policy, Reason
from mirrorkit.capture.portability import obstacle
from mirrorkit.capture.record import Recorder
from mirrorkit.capture.remote import Remote
from mirrorkit.capture.request_ids import RequestIds
from mirrorkit.capture.room import Room
from mirrorkit.capture.router.adapter import ENDPOINTS, Adapter, CallType, Endpoint
from mirrorkit.capture.scrub import Scrubber
from mirrorkit.capture.silent import SILENT_TAG
from mirrorkit.capture.snapshot import snapshot
from mirrorkit.capture.streams import AsyncMirroredStream, MirroredStream, OpenStreams
from mirrorkit.capture.underway import UnderWay
from mirrorkit.errors import ConfigError, MirrorError
from mirrorkit.records import Pair, Request

_FIRST_STEPS, _FIRST_S = 6, 0.05
"""Steps of an event loop, or seconds, within which a silent call that goes first is under way."""
_HAND_OVER = ""
"""Stands among the arms of a request for the handing over of its silent calls."""
_WRITING_S = 10.0
_TICK_S = 0.02
_DISABLED = "MIRRORKIT_DISABLED"
Isolation = Literal["shared", "process"]


class Mirror:
    """Calls primaries, and mirrors them.

    `silent` maps a primary group to the silent groups that the session was told of; the key None stands for
    every group. Each finished pair goes to `sink`; what is not finished is `under_way`. Where there is a
    journal, `begin` is given a pair whose silent call is about to be made, and `withdraw` its id if it is not
    made after all. `mute` says why pairs cannot be kept, so that nothing is mirrored, nor paid for; None if
    they can. `account` is that of the record, where other sessions may be on it too.
    """

    def __init__(
        self,
        adapter: Adapter,
        policy: Policy,
        silent: Mapping[str | None, Sequence[str]],
        where: Callable[[Request], bool] | None,
        redact: Callable[[str], str] | None,
        isolation: Isolation,
        under_way: UnderWay,
        sink: Callable[[Pair], None],
        begin: Callable[[Pair], None] | None = None,
        withdraw: Callable[[str], None] = lambda _: None,
        mute: str | None = None,
        account: Account | None = None,
    ) -> None:
        self.adapter = adapter
        self.is_paused = False
        self.policy = policy
        self.books = Books(policy.budget_usd, account)
        self.room = Room()
        self.streams = OpenStreams()
        self._under_way = under_way
        self._redact = redact
        self._learn_secrets()
        self.arms = Arms(adapter, policy, silent, self.books)
        self._where = where
        self._mute = mute
        self._ids = RequestIds(policy.seed)
        self._is_parents = False
        self._is_closing = False
        self._early: set[MirroredRequest] = set()
        self.away = self._child() if isolation == "process" and mute is None else None
        # a child process has room of its own, once it is up
        room = self.away or self.room
        background = Background()
        self.dispatcher = Dispatcher(
            policy.max_in_flight, policy.max_waiting, policy.mirror_rate, room, background
        )
        self._services = Services(
            adapter=adapter,
            policy=policy,
            books=self.books,
            background=background,
            dispatcher=self.dispatcher,
            under_way=under_way,
            away=self.away,
            sink=sink,
            begin=begin,
            withdraw=withdraw,
            is_ours=lambda: not self._is_parents,
        )

    def _child(self) -> Remote:
        plan = Plan(self.adapter.blueprint(), self.policy)
        pack_plan(plan)  # what cannot be taken along is said here, at the door
        # not the adapter, which gives the Router back when nobody holds it any more
        entry = self.adapter.entry

        def today() -> bytes:
            return pack_plan(replace(plan, blueprint=plan.blueprint.with_models(entry.deployments())))

        away = Remote(today, self.books.fault)
        # a session that is dropped unclosed leaves no process behind
        weakref.finalize(self, away.close, wait=False)
        return away

    def let_go(self) -> None:
        """In a process that is forked off: what is under way and the child process are the parent's."""
        self._is_parents = True
        if self.away is not None:
            self.away.forget()

    def cancel(self) -> None:
        """Give up what is under way, here and in the child process, and record that."""
        # nothing is handed over any more, and what waits to be is counted
        self._is_closing = True
        self._services.background.flush(_WRITING_S)
        self.dispatcher.cancel()
        for mirrored in tuple(self._early):
            mirrored.settled(Seen("unknown"), None)
        self._early.clear()
        if self.away is not None:
            # what it still does is of no use to anybody
            self.away.kill()
        # what was just recorded may be waiting to be written down
        self._services.background.flush(_WRITING_S)

    def finish_at_exit(self, timeout_s: float) -> None:
        """Finish what is under way when the program ends, within so many seconds."""
        if not finish(self.dispatcher, timeout_s) or self._early:
            self.cancel()

    def drain(self, timeout_s: float | None) -> bool:
        """Wait until nothing is under way, and no pair waits for its primary; False if time ran out."""
        deadline = Deadline.after(timeout_s)
        while self.dispatcher.drain(deadline.left_s):
            if not self._early:
                return True
            if deadline.is_over:
                return False
            sleep(deadline.within(_TICK_S))
        return False

    async def adrain(self, timeout_s: float | None) -> bool:
        """The same, awaiting."""
        deadline = Deadline.after(timeout_s)
        while await self.dispatcher.adrain(deadline.left_s):
            if not self._early:
                return True
            if deadline.is_over:
                return False
            await asyncio.sleep(deadline.within(_TICK_S))
        return False

    def check_group(self, group: str) -> None:
        """Raise ConfigError if the Router has no such model group, nor falls back from any."""
        if not self.adapter.knows(group) and not self.adapter.entry.setting("default_fallbacks"):
            raise ConfigError(
                f"model: {group!r} is no model group of this Router, which has {self.adapter.groups()}."
            )

    def shut_down(self) -> None:
        """Let threads and the child process end, and give the Router its settings back."""
        self.dispatcher.shut_down()
        if self.away is not None:
            self.away.close()
        self.adapter.give_back()

    def call(self, call_type: CallType, kwargs: dict[str, Any], on_mirrored: OnMirrored | None = None) -> Any:
        """Call the primary, blocking, and mirror it; gives LiteLLM's answer, raises LiteLLM's exception.

        With `on_mirrored` nobody waits for this primary: its silent calls are sent together with it, and
        `on_mirrored` is given what is done when they have ended.
        """
        method = self.adapter.method(call_type, is_async=False)
        exchange = self._open(call_type, kwargs, on_mirrored=on_mirrored)
        if exchange is None:
            with self.room.primary():
                return method(**kwargs)
        try:
            if exchange.mirrored is not None:
                self._services.background.do(partial(self._send_early, exchange))
                if self.policy.sends_silent_first(exchange.asked.request.request_id):
                    exchange.mirrored.sent.wait(_FIRST_S)
            answer = method(**exchange.sent())
        except BaseException as error:
            exchange.broke(error)
            raise
        return exchange.answered(answer, MirroredStream)

    def forward(self, call_type: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Have the Router make a call of a type that is not mirrored, blocking."""
        self.books.count_not_mirrored(call_type)
        with self.room.primary():
            return self.adapter.entry.method(call_type)(*args, **kwargs)

    async def aforward(self, call_type: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The same, awaiting."""
        self.books.count_not_mirrored(call_type)
        with self.room.primary():
            return await self.adapter.entry.method(f"a{call_type}")(*args, **kwargs)

    async def acall(
        self, call_type: CallType, kwargs: dict[str, Any], on_mirrored: OnMirrored | None = None
    ) -> Any:
        """The same, awaiting; the mirror runs on the caller's loop."""
        method, loop = self.adapter.method(call_type, is_async=True), asyncio.get_running_loop()
        exchange = self._open(call_type, kwargs, loop, on_mirrored)
        if exchange is None:
            with self.room.primary():
                return await method(**kwargs)
        try:
            if exchange.mirrored is not None:
                await self._start_early(exchange, loop)
            answer = await method(**exchange.sent())
        except BaseException as error:
            exchange.broke(error)
            raise
        return exchange.answered(answer, AsyncMirroredStream)

    @property
    def complete_before(self) -> datetime:
        """Each pair of a request that started before this is in the sink, and no more of them will come."""
        self.streams.sweep()
        # what a loop held that was closed under it would be under way for ever
        self.dispatcher.rescue_closed()
        return self._under_way.oldest()

    @property
    def is_off(self) -> bool:
        """Whether nothing is mirrored just now, by `pause` or by the environment."""
        return self.is_paused or os.environ.get(_DISABLED, "") not in ("", "0")

    @property
    def recorder(self) -> Recorder:
        """What makes calls and texts fit to be recorded."""
        return self._recorder

    def refresh(self) -> None:
        """See which deployments the Router has today, and learn their secrets."""
        if self.adapter.take_over():
            self._learn_secrets()
            if self.away is not None:
                self.away.models(self.adapter.entry.deployments())

    def _learn_secrets(self) -> None:
        secrets = self.adapter.secrets()
        self.books.mask(secrets)
        self._recorder = Recorder(
            Pricer(self.adapter.model_info, self.books.fault),
            Scrubber(secrets, self._redact, self.books.fault, keep_media=self.policy.keep_media),
            self.books.fault,
            self.policy.forward,
        )

    def _open(
        self,
        call_type: CallType,
        kwargs: Mapping[str, Any],
        loop: asyncio.AbstractEventLoop | None = None,
        on_mirrored: OnMirrored | None = None,
    ) -> Exchange | None:
        """Decide, before the primary runs, whether its request may be mirrored."""
        self.streams.sweep()
        self.books.count("opened")
        try:
            if self._mute is not None:
                raise MirrorError(self._mute)
            self.refresh()
            decided = self._decide(ENDPOINTS[call_type], kwargs, loop)
            if isinstance(decided, Exchange) and on_mirrored is not None:
                self._prepare(decided, on_mirrored)
        except Exception as fault:  # ours or the user's filter's: the primary runs all the same
            self.books.fault(fault)
            decided = "faulted"
        if isinstance(decided, Exchange):
            self.room.entered()
            return decided
        self.books.count(decided)
        return None

    def _decide(
        self, endpoint: Endpoint, kwargs: Mapping[str, Any], loop: asyncio.AbstractEventLoop | None
    ) -> Exchange | Reason:
        group = kwargs.get("model")
        metadata = kwargs.get(endpoint.metadata)
        metadata = metadata if isinstance(metadata, Mapping) else {}
        if not isinstance(group, str) or metadata.get(SILENT_TAG) or not self.arms.may_be(group):
            return "no_silent_model"
        if self.is_off:
            return "paused"
        if obstacle(kwargs, endpoint.payload) == "action" and not self.policy.repeat_actions:
            return "not_portable"
        request_id, trace_id = self._ids.of(kwargs)
        if not self.policy.mirrors(request_id):
            return "sampled_out"
        if not self.books.spending.allows():
            return "over_budget"
        started_at = self._under_way.enter()
        try:
            copied = snapshot(dict(kwargs))
            request = request_of(endpoint, copied, group, request_id, trace_id, started_at)
            if self._where is None or self._where(request):
                asked = Asked(request, endpoint, copied, loop)
                return Exchange(asked, kwargs, self.streams, self._settled, self.books.fault)
        except BaseException:
            self._under_way.leave(started_at)
            raise
        self._under_way.leave(started_at)
        return "filtered"

    def _prepare(self, exchange: Exchange, on_mirrored: OnMirrored) -> None:
        """Make the silent calls of a request whose primary is yet to be sent, unless that one decides."""
        exchange.on_mirrored, asked = on_mirrored, exchange.asked
        if self.policy.budget_usd is not None:
            # what a silent call will cost is known by the tokens of its primary
            return
        deployments = self.adapter.ids_of(asked.request.model_group)
        if len({self.adapter.targets(each) for each in deployments}) == 1:
            mirrored = self._mirrored(asked, deployments)
            if isinstance(mirrored, MirroredRequest):
                exchange.mirrored = self._announced(exchange, mirrored)
                self._early.add(mirrored)

    def _announced(self, exchange: Exchange, mirrored: MirroredRequest) -> MirroredRequest:
        """A request is under way until its silent calls are handed over too."""
        self._under_way.expect(exchange.asked.request.started_at, (_HAND_OVER,))
        if exchange.on_mirrored is not None:
            exchange.on_mirrored(mirrored.ended)
        return mirrored

    def _mirrored(self, asked: Asked, deployments: Sequence[str]) -> MirroredRequest | Reason:
        arms = self.arms.of(asked, deployments)
        if isinstance(arms, str):
            return arms
        return MirroredRequest(self._services, asked, arms, self._recorder)

    async def _start_early(self, exchange: Exchange, loop: asyncio.AbstractEventLoop) -> None:
        """Have silent calls sent before their primary, or as soon as that is sent and waits."""
        background, goes_first = self._services.background, self.policy.sends_silent_first
        is_first = goes_first(exchange.asked.request.request_id)
        if self._services.begin is not None:
            # writing to a disk may take its time
            background.do(partial(self._send_early, exchange))
            if is_first:
                await background.aflush(_FIRST_S)
        elif is_first:
            self._send_early(exchange)
        else:
            loop.call_soon(self._send_early, exchange)
        for _ in range(_FIRST_STEPS if is_first else 0):
            await asyncio.sleep(0)

    def _send_early(self, exchange: Exchange) -> None:
        """Hand over silent calls that wait for no primary; none where that one was cancelled before."""
        if exchange.mirrored is not None:
            self._hand_over(exchange.asked, exchange.mirrored, is_over=exchange.is_cancelled)

    def _settled(self, exchange: Exchange, seen: Seen) -> None:
        """A primary is done: send its mirrors, or count why not."""
        if self._is_parents:
            return
        self.room.left()
        asked, watch = exchange.asked, exchange.watch
        mirrored: MirroredRequest | Reason
        try:
            primary, picked = self._located(asked.request, seen, watch.picked)
            if exchange.mirrored is not None:
                self._early.discard(exchange.mirrored)
                exchange.is_cancelled = seen.status == "cancelled"
                exchange.mirrored.settled(primary, watch.started)
                return
            if seen.status == "cancelled":
                mirrored = "cancelled"
            else:
                mirrored = self._mirrored(asked, () if picked is None else (picked,))
            if seen.status == "error" and picked is None and not self._is_served(asked.request, mirrored):
                mirrored = "refused"
            if isinstance(mirrored, MirroredRequest):
                self._announced(exchange, mirrored).settled(primary, watch.started)
        except Exception as fault:  # the primary has its answer, and keeps it
            self.books.fault(fault)
            mirrored = "faulted"
        finally:
            self._under_way.leave(asked.request.started_at)
        if not isinstance(mirrored, MirroredRequest):
            self.books.count(mirrored)
        elif self._services.begin is None:
            self._hand_over(asked, mirrored)
        else:
            # writing to a disk may take its time
            self._services.background.do(partial(self._hand_over, asked, mirrored))

    def _is_served(self, request: Request, mirrored: MirroredRequest | Reason) -> bool:
        """Whether a request whose primary no deployment was picked for is one to be mirrored all the same."""
        return mirrored != "no_silent_model" and self.adapter.knows(request.model_group)

    def _hand_over(self, asked: Asked, mirrored: MirroredRequest, is_over: bool = False) -> None:
        outcome: Literal["mirrored"] | Reason
        try:
            outcome = "cancelled" if is_over or self._is_closing else mirrored.hand_over()
        except Exception as fault:  # the primary has its answer, and keeps it
            self.books.fault(fault)
            outcome = "faulted"
        finally:
            self._under_way.leave(asked.request.started_at, _HAND_OVER)
        self.books.count(outcome)
        if outcome != "mirrored":
            mirrored.ended.set_result(None)

    def _located(self, request: Request, seen: Seen, picked: str | None) -> tuple[Seen, str | None]:
        """What was seen of a primary, and the deployment last picked in the requested group.

        Where the Router moves on to other deployments of the group by their `order`, it calls that a
        fallback, and its metadata still names the one that failed: the answer says which one it was.
        """
        in_group = seen.deployment_id != picked and self.adapter.serves(
            request.model_group, seen.deployment_id
        )
        if not seen.fell_back or not in_group:
            return seen, picked
        return replace(seen, fell_back=False), seen.deployment_id
