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
from mirrorkit.capture.scrub import is_credential_header
from mirrorkit.capture.snapshot import snapshot
from mirrorkit.capture.streams import is_stream
from mirrorkit.capture.watch import Watch
from mirrorkit.errors import MirrorError
from mirrorkit.records import CONTROL

# LiteLLM's own time-out comes first, so that its loggers hear of it; this backstop ends what trickles on.
_BACKSTOP_S = 0.2
SILENT_TAG = "is_silent_experiment"
_ONE_LOOP = threading.Lock()

# LiteLLM keeps one of these for each call: with the primary's, one log entry would overwrite the other.
_LOGGING = ("litellm_call_id", "litellm_logging_obj", "standard_logging_object")
# Where the primary's own wishes end: retries and fallbacks are the session's, a picked deployment is its own.
_ROUTING = (
    "num_retries",
    "max_retries",
    "specific_deployment",
    "fallbacks",
    "context_window_fallbacks",
    "content_policy_fallbacks",
)
# Another provider's: they would send one vendor's key to another, or the mirror back to the primary.
_CREDENTIALS = (
    "api_key",
    "api_base",
    "base_url",
    "api_version",
    "organization",
    "custom_llm_provider",
    "client",
    "user_config",
    "litellm_credential_name",
)
_CREDENTIAL_PREFIXES = ("aws_", "azure_", "vertex_", "watsonx_")
# A failure that the caller wants LiteLLM to make up is the primary's alone.
_MADE_UP = "mock_testing_"
_HEADERS = ("headers", "extra_headers", "default_headers")


def silent_kwargs(
    kwargs: Mapping[str, Any],
    endpoint: Endpoint,
    *,
    group: str,
    own_group: bool,
    trace_id: str,
    marks: Mapping[str, Any],
    add_tag: bool,
    retries: int,
    timeout_s: float | None,
) -> dict[str, Any]:
    """The keywords of one silent call.

    Args:
        kwargs: the request as the caller passed it, payload included; copied again, LiteLLM changes it.
        endpoint: the call type's endpoint.
        group: the model group that is called.
        own_group: whether that is the primary's own group (the control arm), whose credentials it may use.
        trace_id: the trace that primary and silent share.
        marks: what tells this call from a primary and joins it with one.
        add_tag: whether the request's tags may be added to.
        retries: how often LiteLLM may retry.
        timeout_s: seconds until LiteLLM gives the call up; None leaves that to the Router.
    """
    silent: dict[str, Any] = snapshot(_mirrored(kwargs, own_group))
    silent |= {
        "model": group,
        "litellm_trace_id": trace_id,
        "num_retries": retries,
        "disable_fallbacks": True,
        "cache": {"no-cache": True, "no-store": True},
        # a failing mirror must not take a deployment away from the primaries
        "cooldown_time": 0,
        endpoint.metadata: _marked(silent.get(endpoint.metadata), group, marks, add_tag),
    }
    if timeout_s is not None:
        silent["timeout"] = timeout_s
    if silent.get("stream") and endpoint.call_type == "completion":
        silent["stream_options"] = {**(silent.get("stream_options") or {}), "include_usage": True}
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


def _mirrored(kwargs: Mapping[str, Any], own_group: bool) -> dict[str, Any]:
    """What of a request's keywords may be mirrored."""
    kept = {
        name: value
        for name, value in kwargs.items()
        if name not in _LOGGING and name not in _ROUTING and not name.startswith(_MADE_UP)
    }
    if not own_group:
        _drop_credentials(kept)
    return kept


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


def _drop_credentials(kwargs: dict[str, Any]) -> None:
    for name in list(kwargs):
        if name in _CREDENTIALS or name.startswith(_CREDENTIAL_PREFIXES):
            del kwargs[name]
    for name in _HEADERS:
        if isinstance(headers := kwargs.get(name), Mapping):
            kwargs[name] = {k: v for k, v in headers.items() if not is_credential_header(k)}


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
        asked: Asked,
        arm: str,
        group: str,
        *,
        adapter: Adapter,
        policy: Policy,
        recorder: Recorder,
        primary_call_id: str | None,
        on_done: Callable[["SilentCall", Ended], None],
        on_fault: Callable[[BaseException], None],
        away: Away | None = None,
    ) -> None:
        self.arm = arm
        self.group = group
        self.pair_id = _pair_id(asked, arm)
        self._asked = asked
        self._adapter = adapter
        self._policy = policy
        self._recorder = recorder
        self._primary_call_id = primary_call_id
        self._on_done = on_done
        self._on_fault = on_fault
        self._lock = threading.Lock()
        self._done = False
        self._cut_off = 0
        self._away = away
        self._order = None if away is None else self._packed()

    @property
    def leaves(self) -> bool:
        """Whether the call is to be made in another process: it is not if its request cannot be copied."""
        return self._order is not None

    def depart(self, done: Callable[[], None]) -> bool:
        """Have the call made in another process, if it can be; `done` hears of its end in another thread."""
        order, self._order = self._order, None
        if order is None or self._away is None:
            return False

        def heard(ended: Ended) -> None:
            try:
                self._tell(ended)
            finally:
                done()

        return self._away.take(order, heard)

    def _packed(self) -> bytes | None:
        asked = self._asked
        try:
            asked = asked.moved(_mirrored(asked.copied, self.arm == CONTROL))
            return pack(Order(asked, self.arm, self.group, self._primary_call_id))
        except Exception as error:  # whatever an object raises that will not be copied
            self._on_fault(
                MirrorError(
                    f"{_unpacked(asked.copied, asked.endpoint.metadata)} cannot go to the child process "
                    f"({type(error).__name__}), so its request is mirrored from this one"
                )
            )
            return None

    def run(self) -> None:
        """Make the call, blocking; nothing where it was made already, on a loop that then stood still."""
        if self._done:
            return
        if not self._asked.endpoint.blocks:
            self._run_awaited()
            return
        watch, stream = Watch({}), None
        try:
            watch, kwargs = self._begin()
            with mirrored_call():
                answer = self._method(is_async=False)(**kwargs)
                if is_stream(answer):
                    stream = answer
                    for chunk in stream:
                        watch.chunk(chunk)
                        self._check_time(watch)
                    seen = watch.streamed(stream)
                else:
                    seen = watch.answered(answer)
        except BaseException as error:
            seen = watch.failed(error, stream)
        self._finish(seen, watch.started)

    def _run_awaited(self) -> None:
        """Make a call that can only be awaited, after the caller's loop has ended."""
        # LiteLLM logs on one loop at a time
        with _ONE_LOOP:
            try:
                asyncio.run(self.arun())
            except asyncio.CancelledError as error:
                self._finish(Watch({}).failed(error), None)

    async def arun(self) -> None:
        """Make the call, awaiting."""
        watch, stream = Watch({}), None
        try:
            watch, kwargs = self._begin()
            # until it has ended: nobody tells a call whose loop is gone
            self._cut_off += 1
            with mirrored_call():
                async with asyncio.timeout(self._backstop()):
                    answer = await self._method(is_async=True)(**kwargs)
                    if is_stream(answer):
                        stream = answer
                        async for chunk in stream:
                            watch.chunk(chunk)
                        seen = watch.streamed(stream)
                    else:
                        seen = watch.answered(answer)
        except (KeyboardInterrupt, SystemExit) as error:
            # it was meant for whatever the loop runs, not for this task, which it hit
            self._cut_off -= 1
            self._finish(watch.failed(error, stream), watch.started)
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
            seen = watch.failed(self._named(error), stream)
        self._cut_off = max(0, self._cut_off - 1)
        self._finish(seen, watch.started)

    def drop(self) -> None:
        """Record that the call was given up."""
        error = asyncio.CancelledError("the session ended before this silent call was made")
        self._finish(Seen("cancelled", error=error, attempts=0), None)

    def _begin(self) -> tuple[Watch, dict[str, Any]]:
        asked = self._asked
        kwargs = silent_kwargs(
            asked.copied,
            asked.endpoint,
            group=self.group,
            own_group=self.arm == CONTROL,
            trace_id=asked.request.trace_id,
            marks={
                SILENT_TAG: True,
                "mirrorkit_pair_id": self.pair_id,
                "mirrorkit_request_id": asked.request.request_id,
                "mirrorkit_arm": self.arm,
                "mirrorkit_primary_call_id": self._primary_call_id,
            },
            add_tag=not self._adapter.filters_by_tags(),
            retries=self._policy.silent_retries,
            timeout_s=self._policy.timeout_s,
        )
        return Watch(kwargs[asked.endpoint.metadata], self._on_fault), kwargs

    def _method(self, is_async: bool) -> Callable[..., Any]:
        return self._adapter.method(self._asked.endpoint.call_type, is_async)

    def _backstop(self) -> float | None:
        timeout_s = self._policy.timeout_s
        return None if timeout_s is None else timeout_s + _BACKSTOP_S

    def _check_time(self, watch: Watch) -> None:
        backstop = self._backstop()
        if backstop is not None and perf_counter() - watch.started > backstop:
            raise self._timed_out()

    def _named(self, error: BaseException) -> BaseException:
        return self._timed_out() if isinstance(error, TimeoutError) and not str(error) else error

    def _timed_out(self) -> TimeoutError:
        return TimeoutError(f"no whole answer within timeout_s={self._policy.timeout_s:g} s")

    def _finish(self, seen: Seen, started: float | None) -> None:
        if seen.attempts is not None:
            # a call that was cut off by its loop's end had been sent, and counts
            seen = replace(seen, attempts=seen.attempts + self._cut_off)
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
