"""The silent half: what a silent call sends, and the job that sends it."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import blake2b
from time import perf_counter
from typing import Any, Protocol

from mirrorkit.capture.exchange import Asked
from mirrorkit.capture.frames import Ended, Order, pack
from mirrorkit.capture.observe import Seen, message_of
from mirrorkit.capture.policy import Policy
from mirrorkit.capture.record import Recorder
from mirrorkit.capture.router.adapter import Adapter, Endpoint
from mirrorkit.capture.router.entry_points import mirrored_call
from mirrorkit.capture.router.tokens import spare_images
from mirrorkit.capture.snapshot import snapshot
from mirrorkit.capture.streams import is_stream
from mirrorkit.capture.watch import Watch
from mirrorkit.errors import MirrorError
from mirrorkit.records import CONTROL

# LiteLLM's own time-out comes first, so that its loggers hear of it; this backstop ends what trickles on.
_BACKSTOP_S = 0.2
SILENT_TAG = "is_silent_experiment"
_STREAM_OPTIONS = "stream_options"
_BAD_REQUEST = 400
_ONE_LOOP = threading.Lock()


def silent_kwargs(
    kwargs: Mapping[str, Any],
    endpoint: Endpoint,
    *,
    group: str,
    trace_id: str,
    marks: Mapping[str, Any],
    add_tag: bool,
    retries: int | None,
    timeout_s: float | None,
    ask_for_usage: bool = True,
) -> dict[str, Any]:
    """The keywords of one silent call.

    Args:
        kwargs: what of the caller's keywords may be forwarded; copied again, LiteLLM changes it.
        endpoint: the call type's endpoint.
        group: the model group that is called.
        trace_id: the trace that primary and silent share.
        marks: what tells this call from a primary and joins it with one.
        add_tag: whether the request's tags may be added to.
        retries: how often LiteLLM may retry; None leaves that to the caller's keywords and the Router.
        timeout_s: seconds until LiteLLM gives an attempt up; None leaves that to them too.
        ask_for_usage: whether a chat stream is asked for its tokens.
    """
    silent: dict[str, Any] = snapshot(dict(kwargs))
    silent |= {
        "model": group,
        "litellm_trace_id": trace_id,
        "disable_fallbacks": True,
        "cache": {"no-cache": True, "no-store": True},
        # a failing mirror must not take a deployment away from the primaries
        "cooldown_time": 0,
        endpoint.metadata: _marked(silent.get(endpoint.metadata), group, marks, add_tag),
    }
    if retries is not None:
        silent.pop("max_retries", None)
        silent["num_retries"] = retries
    if timeout_s is not None:
        silent["timeout"] = timeout_s
    if ask_for_usage and silent.get("stream") and endpoint.call_type == "completion":
        silent[_STREAM_OPTIONS] = {**(silent.get(_STREAM_OPTIONS) or {}), "include_usage": True}
    return silent


def _marked(metadata: Any, group: str, marks: Mapping[str, Any], add_tag: bool) -> dict[str, Any]:
    marked = dict(metadata) if isinstance(metadata, Mapping) else {}
    logged = marked.get("spend_logs_metadata")
    marked |= {
        **marks,
        "model_group": group,
        # LiteLLM's standard payload keeps these two and drops unknown names
        "spend_logs_metadata": {**(logged if isinstance(logged, Mapping) else {}), **marks},
    }
    if add_tag:
        tags = marked.get("tags")
        marked["tags"] = [*(tags if isinstance(tags, list | tuple) else ()), SILENT_TAG]
    return marked


def _unpacked(kwargs: Mapping[str, Any], metadata: str) -> str:
    """The name of the keyword, or of the value in its metadata, that cannot be packed."""
    given = kwargs.get(metadata)
    inner = given.items() if type(given) is dict else ()
    named = [(f"{metadata}[{key!r}]", value) for key, value in inner if type(key) is str]
    for name, value in (*named, *kwargs.items()):
        try:
            pack(value)
        except Exception:  # whatever an object raises that will not be copied
            return name
    return "a value"


def _was_refused(loop: asyncio.AbstractEventLoop, error: BaseException) -> bool:
    """Whether a call failed as its loop is shut down, and runs nothing in a thread, where LiteLLM begins."""
    try:
        loop.run_in_executor(None, int)
    except RuntimeError as refusal:
        return str(refusal) in (message_of(error) or "")
    return False


def _pair_id(asked: Asked, arm: str) -> str:
    """An id that no other pair has, although a seed or the caller may give a request id twice."""
    request = asked.request
    name = f"{request.trace_id}/{request.request_id}/{request.started_at.timestamp()}/{arm}"
    return blake2b(name.encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()


class Away(Protocol):
    """Another process that makes silent calls."""

    def take(self, order: bytes, heard: Callable[[Ended], None]) -> bool:
        """Have a packed order carried out there; False if it takes no more."""


class SilentCall:
    """One silent call: a Job that can be made blocking, awaiting or `away`, and is recorded once."""

    def __init__(
        self,
        order: Order,
        *,
        adapter: Adapter,
        policy: Policy,
        recorder: Recorder,
        on_begin: Callable[[], object] = lambda: None,
        on_done: Callable[["SilentCall", Ended], None],
        on_fault: Callable[[BaseException], None],
        stripped: tuple[str, ...] = (),
        away: Away | None = None,
    ) -> None:
        self.arm = order.arm
        self.group = order.group
        self.limit_s = order.limit_s
        self.pair_id = _pair_id(order.asked, order.arm)
        self.stripped = stripped
        self._order = order
        self._asked = order.asked
        self._adapter = adapter
        self._policy = policy
        self._recorder = recorder
        self._on_begin = on_begin
        self._on_done = on_done
        self._on_fault = on_fault
        self._lock = threading.Lock()
        self._done = False
        self._cut_off = 0
        self._asked_anew = False
        self._started: float | None = None
        self._ended: tuple[Seen, float] | None = None
        self._away = away
        self._departed = False
        self._packed = None if away is None else self._pack()

    @property
    def leaves(self) -> bool:
        """Whether the call is to be made in another process: it is not if its request cannot be copied."""
        return self._packed is not None

    def depart(self, done: Callable[[], None]) -> bool:
        """Have the call made in another process, if it can be; `done` hears of its end in another thread."""
        packed, self._packed = self._packed, None
        if packed is None or self._away is None:
            return False

        def heard(ended: Ended) -> None:
            try:
                self._tell(ended)
            finally:
                done()

        self._departed = self._away.take(packed, heard)
        self._on_begin()
        return self._departed

    def _pack(self) -> bytes | None:
        asked = self._asked
        try:
            return pack(replace(self._order, asked=asked.moved(asked.copied)))
        except Exception as error:  # whatever an object raises that will not be copied
            self._on_fault(
                MirrorError(
                    f"{_unpacked(asked.copied, asked.endpoint.metadata)} cannot be copied to the child "
                    f"process ({type(error).__name__}), so its silent call is made in this one"
                )
            )
            return None

    def run(self) -> None:
        """Make the call, blocking, and record it; one that was made already, on a loop, is not made again."""
        if self._ended is None and not self._done:
            if self._asked.endpoint.blocks:
                self._run()
            else:
                self._run_awaited()
        self.record()

    def _run(self) -> None:
        watch, stream = Watch({}), None
        try:
            watch, kwargs = self._begin()
            with mirrored_call():
                answer = self._method(is_async=False)(**kwargs)
                if is_stream(answer):
                    stream = answer
                    spare_images(stream)
                    for chunk in stream:
                        watch.chunk(chunk)
                        self._check_time(watch)
                    seen = watch.streamed(stream)
                else:
                    seen = watch.answered(answer)
        except BaseException as error:
            if self._asks_anew(error):
                self._run()
                return
            seen = watch.failed(error, stream)
        self._ended = seen, watch.started

    def _run_awaited(self) -> None:
        """Make a call that can only be awaited, after the caller's loop has ended."""
        # LiteLLM logs on one loop at a time
        with _ONE_LOOP:
            try:
                asyncio.run(self.arun())
            except asyncio.CancelledError as error:
                watch = Watch({})
                self._ended = watch.failed(error), watch.started

    async def arun(self) -> None:
        """Make the call, awaiting; `record` records it."""
        watch, stream = Watch({}), None
        try:
            watch, kwargs = self._begin()
            # until it has ended: nobody tells a call whose loop is gone
            self._cut_off += 1
            with mirrored_call():
                async with asyncio.timeout(self.limit_s + _BACKSTOP_S):
                    answer = await self._method(is_async=True)(**kwargs)
                    if is_stream(answer):
                        stream = answer
                        spare_images(stream)
                        async for chunk in stream:
                            watch.chunk(chunk)
                        seen = watch.streamed(stream)
                    else:
                        seen = watch.answered(answer)
        except (KeyboardInterrupt, SystemExit) as error:
            self._ended = watch.failed(error, stream), watch.started
            self.record()
            raise
        except GeneratorExit:
            # its loop ended without it: it is made again elsewhere, or was
            raise
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            if _was_refused(asyncio.get_running_loop(), error):
                # not the provider's failure, and nothing was sent: it is made elsewhere
                self._cut_off -= 1
                raise asyncio.CancelledError("its loop is being shut down") from error
            if self._asks_anew(error):
                self._cut_off -= 1
                await self.arun()
                return
            seen = watch.failed(self._named(error), stream)
        self._cut_off = max(0, self._cut_off - 1)
        self._ended = seen, watch.started

    def record(self) -> None:
        """Record how the call ended."""
        if self._ended is not None:
            self._finish(*self._ended)

    def drop(self, why: str) -> None:
        """Record that the call was given up, and why."""
        was_sent = self._started is not None or self._departed
        error = asyncio.CancelledError(f"{why} ({'it was under way' if was_sent else 'it was not sent'})")
        self._finish(Seen("cancelled", error=error, attempts=None if was_sent else 0), self._started)

    def expire(self) -> None:
        """Record that the call took longer than it may."""
        latency_s = None if self._started is None else perf_counter() - self._started
        self._finish(Seen("timeout", latency_s, error=self._timed_out()), self._started)

    def _begin(self) -> tuple[Watch, dict[str, Any]]:
        asked = self._asked
        kwargs = silent_kwargs(
            asked.copied,
            asked.endpoint,
            group=self.group,
            trace_id=asked.request.trace_id,
            marks={
                SILENT_TAG: True,
                "mirrorkit_pair_id": self.pair_id,
                "mirrorkit_request_id": asked.request.request_id,
                "mirrorkit_arm": self.arm,
                "mirrorkit_primary_call_id": self._order.primary_call_id,
            },
            add_tag=not self._adapter.filters_by_tags(),
            retries=self._policy.silent_retries,
            timeout_s=self.limit_s if self._order.sets_timeout else None,
            # a control call is the primary's twin: where one is not asked, the tokens of both are estimated
            ask_for_usage=self.arm != CONTROL and self.group not in self._adapter.refusing_stream_options,
        )
        watch = Watch(kwargs[asked.endpoint.metadata], self._on_fault)
        self._started = watch.started
        self._on_begin()
        return watch, kwargs

    def _asks_anew(self, error: BaseException) -> bool:
        """Whether to ask again without `stream_options`, which some servers refuse; they are remembered."""
        added = self._asked.request.stream and not self._asked.copied.get(_STREAM_OPTIONS)
        if not added or self._asked_anew or getattr(error, "status_code", None) != _BAD_REQUEST:
            return False
        if _STREAM_OPTIONS not in (message_of(error) or ""):
            return False
        self._adapter.refusing_stream_options.add(self.group)
        self._asked_anew = True
        return True

    def _method(self, is_async: bool) -> Callable[..., Any]:
        return self._adapter.method(self._asked.endpoint.call_type, is_async)

    def _check_time(self, watch: Watch) -> None:
        if perf_counter() - watch.started > self.limit_s + _BACKSTOP_S:
            raise self._timed_out()

    def _named(self, error: BaseException) -> BaseException:
        return self._timed_out() if isinstance(error, TimeoutError) and not str(error) else error

    def _timed_out(self) -> TimeoutError:
        name = "" if self._policy.timeout_s is None else "timeout_s="
        return TimeoutError(f"no whole answer within {name}{self.limit_s:.3g} s")

    def _finish(self, seen: Seen, started: float | None) -> None:
        if seen.attempts is not None:
            # those that were cut off by their loop's end, or refused for what was added, had been sent
            seen = replace(seen, attempts=seen.attempts + self._cut_off + self._asked_anew)
        if not self._done:
            self._tell(Ended(self._recorder.read(seen, self._asked.request), started, seen.retry_after_s))

    def _tell(self, ended: Ended) -> None:
        with self._lock:
            if self._done:
                return
            self._done = True
        try:
            self._on_done(self, ended)
        except Exception as fault:
            self._on_fault(fault)
