"""One request's way: decide → primary → hand over → silent calls → pairs → sink."""

import asyncio
import random
import threading
import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any, Literal

from mirrorkit.capture.adapter import ENDPOINTS, Adapter, CallType, Endpoint, as_names
from mirrorkit.capture.dispatch import Dispatcher
from mirrorkit.capture.exchange import Exchange, request_of
from mirrorkit.capture.observe import Pricer, Seen
from mirrorkit.capture.policy import Funnel, Policy, Reason, Spending
from mirrorkit.capture.scrub import Scrubber
from mirrorkit.capture.silent import SILENT_TAG, SilentCall
from mirrorkit.capture.snapshot import snapshot
from mirrorkit.capture.streams import AsyncMirroredStream, MirroredStream
from mirrorkit.errors import MirrorWarning
from mirrorkit.records import CONTROL, Call, Pair, Request


class Mirror:
    """Calls primaries, and mirrors them.

    `silent` maps a primary group to the silent groups that the session was told of; the key None stands for
    every group. Each finished pair goes to `sink`.
    """

    def __init__(
        self,
        adapter: Adapter,
        policy: Policy,
        silent: Mapping[str | None, Sequence[str]],
        where: Callable[[Request], bool] | None,
        redact: Callable[[str], str] | None,
        sink: Callable[[Pair], None],
    ) -> None:
        self.adapter = adapter
        self.policy = policy
        self.dispatcher = Dispatcher(policy.max_in_flight, policy.max_waiting)
        secrets = adapter.secrets()
        self.scrubber = Scrubber(secrets, redact, self.fault)
        # without redact, whose own faults it tells of
        self._faults_scrubber = Scrubber(secrets)
        self.pricer = Pricer(adapter.model_info)
        self.sink = sink
        self.funnel = Funnel()
        self.spending = Spending(policy.budget_usd)
        self.faults = 0
        self.last_fault: str | None = None
        self._silent = silent
        self._where = where
        self._lock = threading.Lock()
        self._ids = None if policy.seed is None else random.Random(policy.seed)  # noqa: S311 (ids, not secrets)
        self._streaming: set[Exchange] = set()
        self._lost: SimpleQueue[tuple[Exchange, Seen]] = SimpleQueue()
        self._warned: set[str] = set()

    def call(self, call_type: CallType, kwargs: dict[str, Any]) -> Any:
        """Call the primary, blocking, and mirror it; gives LiteLLM's answer, raises LiteLLM's exception."""
        exchange = self._open(call_type, kwargs)
        send = self.adapter.method(call_type, is_async=False)
        if exchange is None:
            return send(**kwargs)
        try:
            answer = send(**exchange.sent())
        except BaseException as error:
            exchange.broke(error)
            raise
        return exchange.answered(answer, MirroredStream)

    async def acall(self, call_type: CallType, kwargs: dict[str, Any]) -> Any:
        """The same, awaiting; the mirror runs on the caller's loop."""
        exchange = self._open(call_type, kwargs, asyncio.get_running_loop())
        send = self.adapter.method(call_type, is_async=True)
        if exchange is None:
            return await send(**kwargs)
        try:
            answer = await send(**exchange.sent())
        except BaseException as error:
            exchange.broke(error)
            raise
        return exchange.answered(answer, AsyncMirroredStream)

    def _open(
        self, call_type: CallType, kwargs: Mapping[str, Any], loop: asyncio.AbstractEventLoop | None = None
    ) -> Exchange | None:
        """Decide, before the primary runs, whether its request may be mirrored."""
        self.sweep()
        self.count("opened")
        try:
            self.adapter.take_over()
            found = self._decide(ENDPOINTS[call_type], kwargs, loop)
        except Exception as fault:  # ours or the user's filter's: the primary runs all the same
            self.fault(fault)
            found = "faulted"
        if isinstance(found, Exchange):
            return found
        self.count(found)
        return None

    def _decide(
        self, endpoint: Endpoint, kwargs: Mapping[str, Any], loop: asyncio.AbstractEventLoop | None
    ) -> Exchange | Reason:
        group = kwargs.get("model")
        metadata = kwargs.get(endpoint.metadata)
        metadata = metadata if isinstance(metadata, Mapping) else {}
        if not isinstance(group, str) or metadata.get(SILENT_TAG) or not self._may_mirror(group):
            return "no_silent_model"
        request_id, trace_id = self._new_ids(kwargs)
        if not self.policy.mirrors(request_id):
            return "sampled_out"
        if not self.spending.allows():
            return "over_budget"
        copied = snapshot(dict(kwargs))
        request = request_of(endpoint, copied, group, request_id, trace_id)
        if self._where is not None and not self._where(request):
            return "filtered"
        return Exchange(self, endpoint, kwargs, copied, request, loop)

    def _may_mirror(self, group: str) -> bool:
        names = {None, group, self.adapter.resolved(group)}
        return (
            self.policy.control > 0 or bool(names & self._silent.keys()) or bool(self.adapter.silent_models())
        )

    def most_arms(self) -> int:
        """How many silent calls one request may make."""
        return len(self._silent_groups()) + (self.policy.control > 0)

    def _silent_groups(self) -> set[str]:
        told = {name for names in self._silent.values() for name in names}
        return told | {name for _, own in self.adapter.silent_models() for name in as_names(own)}

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

    def located(self, request: Request, seen: Seen, picked: str | None) -> tuple[Seen, str | None]:
        """What was seen of a primary, and the deployment last picked in the requested group.

        Where the Router moves on to other deployments of the group by their `order`, it calls that a
        fallback, and its metadata still names the one that failed: the answer says which one it was.
        """
        if not seen.fell_back or not self.adapter.serves(request.model_group, seen.deployment_id):
            return seen, picked
        return replace(seen, fell_back=False), seen.deployment_id

    def hand_over(
        self, exchange: Exchange, primary: Seen, picked: str | None
    ) -> Literal["mirrored"] | Reason:
        """The primary has settled: send its mirrors, or say why not."""
        arms = self.arms(exchange.request, picked)
        if not arms:
            return "no_silent_model"
        with self._lock:
            allowed = self.spending.allows()
            expected = self.spending.expect(primary.response_cost)
            if allowed:
                for _ in arms:
                    self.spending = self.spending.reserve(expected)
        if not allowed:
            return "over_budget"
        calls = [SilentCall(self, exchange, primary, arm, group, expected) for arm, group in arms.items()]
        if not self.dispatcher.admit(calls, exchange.loop):
            for call in calls:
                self.settle(call.expected, None)
            return "saturated"
        return "mirrored"

    def count(self, outcome: Literal["opened", "mirrored"] | Reason) -> None:
        """Count a request that came in, or what became of it."""
        with self._lock:
            self.funnel = self.funnel.opened() if outcome == "opened" else self.funnel.settled(outcome)

    def settle(self, expected: float, cost: float | None) -> None:
        """A silent call ended, or was not sent after all."""
        with self._lock:
            self.spending = self.spending.settle(expected, cost)

    def unpriced(self, call: Call) -> None:
        """Warn, once, that a budget cannot be kept because a silent call has no known price."""
        if self.policy.budget_usd is not None and call.status == "ok" and call.cost_usd is None:
            self._warn_once(
                "budget",
                f"budget_usd={self.policy.budget_usd:g} cannot be kept: LiteLLM has no price for "
                f"{call.model!r}. Give its deployment an input_cost_per_token and an output_cost_per_token.",
            )

    def fault(self, error: BaseException) -> None:
        """A fault in the background, ours or of the user's hooks: count it, warn once, never raise."""
        text = self._faults_scrubber.error(str(error))
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

    def _new_ids(self, kwargs: Mapping[str, Any]) -> tuple[str, str]:
        """The ids of a request and of its trace: the caller's, else new ones.

        A seed makes the same request ids in each run; a trace id never comes twice, as loggers would take
        two runs for one.
        """
        request_id, trace_id, fresh = kwargs.get("litellm_call_id"), kwargs.get("litellm_trace_id"), None
        if not isinstance(trace_id, str) or not trace_id:
            trace_id = fresh = str(uuid.uuid4())
        if isinstance(request_id, str) and request_id:
            return request_id, trace_id
        if self._ids is None:
            return fresh or str(uuid.uuid4()), trace_id
        with self._lock:
            return str(uuid.UUID(int=self._ids.getrandbits(128), version=4)), trace_id

    def passing(self, exchange: Exchange) -> None:
        """A primary's stream began."""
        self._streaming.add(exchange)

    def passed(self, exchange: Exchange) -> None:
        """A primary's stream is over, however it ended."""
        self._streaming.discard(exchange)

    def lost(self, exchange: Exchange, seen: Seen) -> None:
        """A primary's stream was dropped unread: settled at the next occasion, as no lock is taken here."""
        self._lost.put((exchange, seen))

    def sweep(self) -> None:
        """Settle the streams that were dropped unread."""
        while True:
            try:
                exchange, seen = self._lost.get_nowait()
            except Empty:
                return
            exchange.settle(seen)

    def leave_streams(self) -> None:
        """Settle the streams that are still open as abandoned: the session ends before they do."""
        self.sweep()
        for exchange in tuple(self._streaming):
            exchange.left(exchange.stream)
