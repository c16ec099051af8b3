"""One request's way: decide → primary → hand over → silent calls → pairs → sink."""

import asyncio
import os
import random
import uuid
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

from mirrorkit.capture.books import Books
from mirrorkit.capture.dispatch import Dispatcher
from mirrorkit.capture.exchange import Asked, Exchange, request_of
from mirrorkit.capture.frames import Ended, Plan, pack_plan
from mirrorkit.capture.observe import Pricer, Seen
from mirrorkit.capture.policy import Funnel, Policy, Reason, cost_by_tokens, guessed_tokens, is_portable
from mirrorkit.capture.record import Recorder, RequestRecord
from mirrorkit.capture.remote import Remote
from mirrorkit.capture.room import Room
from mirrorkit.capture.router.adapter import ENDPOINTS, Adapter, CallType, Endpoint
from mirrorkit.capture.scrub import Scrubber
from mirrorkit.capture.silent import SILENT_TAG, SilentCall
from mirrorkit.capture.snapshot import snapshot
from mirrorkit.capture.streams import AsyncMirroredStream, MirroredStream, OpenStreams
from mirrorkit.capture.underway import UnderWay
from mirrorkit.capture.watch import Watch
from mirrorkit.errors import MirrorError
from mirrorkit.records import CONTROL, Call, Pair, Request

Isolation = Literal["shared", "process"]


class Mirror:
    """Calls primaries, and mirrors them.

    `silent` maps a primary group to the silent groups that the session was told of; the key None stands for
    every group. Each finished pair goes to `sink`; what is not finished is `under_way`. `mute` says why pairs
    cannot be kept, so that nothing is mirrored, nor paid for; None if they can.
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
        mute: str | None = None,
    ) -> None:
        self.adapter = adapter
        self.policy = policy
        self.books = Books(policy.budget_usd)
        self.room = Room()
        self.streams = OpenStreams()
        self._under_way = under_way
        self._redact = redact
        self._learn_secrets()
        self._silent = silent
        self._where = where
        self._sink = sink
        self._mute = mute
        self._ids = None if policy.seed is None else random.Random(policy.seed)  # noqa: S311 (ids, not secrets)
        # not uuid4, which asks the system: other threads would take the interpreter meanwhile
        self._fresh = random.Random(os.urandom(32))  # noqa: S311
        self._is_parents = False
        self.away = self._child() if isolation == "process" and mute is None else None
        # a child process has room of its own, once it is up
        room = self.away or self.room
        self.dispatcher = Dispatcher(policy.max_in_flight, policy.max_waiting, policy.mirror_rate, room)

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

    def told(self, funnel: Funnel, pairs: int, under_way: int) -> list[str]:
        """What came of these counts, and what it is doing, in a few words each."""
        spending, books = self.books.spending, self.books
        limit = "" if spending.limit is None else f" of ${spending.limit:g}"
        parts = [f"{funnel.requests:,} requests", f"{funnel.mirrored:,} mirrored"]
        parts += [f"{pairs:,} pairs", f"{under_way:,} under way"]
        parts.append(f"${spending.spent:.3g} spent{limit}")
        if self.away is not None and not self.away.closed:
            parts.append(self.away.state)
        rests = self.dispatcher.paused.items()
        parts += [f"{group} asked for {seconds:.3g} s of rest" for group, seconds in rests]
        if books.faults:
            parts.append(f"{books.faults:,} faults (last: {books.last_fault})")
        return parts

    def let_go(self) -> None:
        """In a process that is forked off: what is under way and the child process are the parent's."""
        self._is_parents = True
        if self.away is not None:
            self.away.forget()

    def shut_down(self) -> None:
        """Let threads and the child process end, and give the Router its settings back."""
        self.dispatcher.shut_down()
        if self.away is not None:
            self.away.close()
        self.adapter.give_back()

    def call(self, call_type: CallType, kwargs: dict[str, Any]) -> Any:
        """Call the primary, blocking, and mirror it; gives LiteLLM's answer, raises LiteLLM's exception."""
        method = self.adapter.method(call_type, is_async=False)
        exchange = self._open(call_type, kwargs)
        if exchange is None:
            with self.room.primary():
                return method(**kwargs)
        try:
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

    async def acall(self, call_type: CallType, kwargs: dict[str, Any]) -> Any:
        """The same, awaiting; the mirror runs on the caller's loop."""
        method = self.adapter.method(call_type, is_async=True)
        exchange = self._open(call_type, kwargs, asyncio.get_running_loop())
        if exchange is None:
            with self.room.primary():
                return await method(**kwargs)
        try:
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
            Scrubber(secrets, self._redact, self.books.fault),
            self.books.fault,
        )

    def _open(
        self, call_type: CallType, kwargs: Mapping[str, Any], loop: asyncio.AbstractEventLoop | None = None
    ) -> Exchange | None:
        """Decide, before the primary runs, whether its request may be mirrored."""
        self.streams.sweep()
        self.books.count("opened")
        try:
            if self._mute is not None:
                raise MirrorError(self._mute)
            self.refresh()
            decided = self._decide(ENDPOINTS[call_type], kwargs, loop)
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
        if not isinstance(group, str) or metadata.get(SILENT_TAG) or not self._may_mirror(group):
            return "no_silent_model"
        if not is_portable(kwargs):
            return "not_portable"
        request_id, trace_id = self._new_ids(kwargs)
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

    def _may_mirror(self, group: str) -> bool:
        names = {None, group, self.adapter.resolved(group)}
        return (
            self.policy.control > 0 or bool(names & self._silent.keys()) or self.adapter.has_silent_models()
        )

    def most_arms(self) -> int:
        """How many silent calls one request may make."""
        return len(self._silent_groups()) + (self.policy.control > 0)

    def _silent_groups(self) -> set[str]:
        told = {name for names in self._silent.values() for name in names}
        return told | {name for _, names in self.adapter.silent_models() for name in names}

    def only_primary(self) -> str | None:
        """The one model group that is no silent one, if there is just one."""
        primaries = [group for group in self.adapter.groups() if group not in self._silent_groups()]
        return primaries[0] if len(primaries) == 1 else None

    def arms(self, request: Request, picked: str | None) -> dict[str, str]:
        """The arms of a settled request: arm → the model group it is sent to."""
        own = {request.model_group, self.adapter.resolved(request.model_group)}
        told = [name for key in (None, *sorted(own)) for name in self._silent.get(key, ())]
        arms = {name: name for name in (*told, *self.adapter.targets(picked)) if name not in own}
        if self.policy.controls(request.request_id):
            arms[CONTROL] = request.model_group
        return arms

    def _settled(self, asked: Asked, seen: Seen, watch: Watch) -> None:
        """A primary is done: send its mirrors, or count why not."""
        if self._is_parents:
            return
        self.room.left()
        try:
            outcome = "cancelled" if seen.status == "cancelled" else self._hand_over(asked, seen, watch)
        except Exception as fault:  # the primary has its answer, and keeps it
            self.books.fault(fault)
            outcome = "faulted"
        finally:
            self._under_way.leave(asked.request.started_at)
        self.books.count(outcome)

    def _hand_over(self, asked: Asked, seen: Seen, watch: Watch) -> Literal["mirrored"] | Reason:
        primary, picked = self._located(asked.request, seen, watch.picked)
        arms = self.arms(asked.request, picked)
        if not arms:
            return "no_silent_model"
        expected = {arm: self._expected(group, primary, asked) for arm, group in arms.items()}
        if not self.books.reserve(tuple(expected.values())):
            return "over_budget"
        record = RequestRecord(self._recorder, asked.request, asked.copied)
        started_at = asked.request.started_at

        def done(call: SilentCall, told: Ended) -> None:
            if self._is_parents:
                return
            ended: Call | None = None
            try:
                lag_s = None if told.started is None else told.started - watch.started
                pair = record.pair(call.pair_id, call.arm, lag_s, primary, told.call)
                ended = pair.silent
                self._sink(pair)
            except Exception as fault:
                self.books.fault(fault)
            finally:
                if told.retry_after_s is not None:
                    self.dispatcher.pause(call.group, told.retry_after_s)
                self.books.settle(expected[call.arm], ended)
                self._under_way.leave(started_at, call.arm)

        calls = [
            SilentCall(
                asked,
                arm,
                group,
                adapter=self.adapter,
                policy=self.policy,
                recorder=self._recorder,
                primary_call_id=primary.call_id,
                on_done=done,
                on_fault=self.books.fault,
                away=self.away,
            )
            for arm, group in arms.items()
        ]
        self._under_way.expect(started_at, arms)
        admitted = False
        try:
            loop = None if any(call.leaves for call in calls) else asked.loop
            admitted = self.dispatcher.admit(calls, loop)
            return "mirrored" if admitted else "saturated"
        finally:
            if not admitted:
                for call in calls:
                    self.books.settle(expected[call.arm])
                    self._under_way.leave(started_at, call.arm)

    def _expected(self, group: str, primary: Seen, asked: Asked) -> float:
        """What a silent call of this group will cost, in US dollars, as far as can be told beforehand."""
        if self.policy.budget_usd is None:
            return 0.0
        usage = primary.usage
        tokens = None if usage is None else (usage.input_tokens, usage.output_tokens)
        price = self.adapter.token_price(group)
        by_tokens = cost_by_tokens(price, tokens)
        guess = cost_by_tokens(price, guessed_tokens(asked.copied)) if tokens is None else None
        has_price = price != (0.0, 0.0)
        return self.books.spending.expect(by_tokens, primary.response_cost, has_price, guess)

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

    def _new_ids(self, kwargs: Mapping[str, Any]) -> tuple[str, str]:
        """The ids of a request and of its trace: the caller's, else new ones.

        A seed makes the same request ids in each run; a trace id never comes twice, as loggers would take
        two runs for one.
        """
        request_id, trace_id, fresh = kwargs.get("litellm_call_id"), kwargs.get("litellm_trace_id"), None
        if not isinstance(trace_id, str) or not trace_id:
            trace_id = fresh = _drawn(self._fresh)
        if not isinstance(request_id, str) or not request_id:
            # many requests may be of one trace of the caller's
            request_id = _drawn(self._ids) if self._ids is not None else fresh or _drawn(self._fresh)
        return request_id, trace_id


def _drawn(source: random.Random) -> str:
    # one call in C, which no other thread can get into
    return str(uuid.UUID(int=source.getrandbits(128), version=4))
