"""The silent half: what a silent call sends, and the job that sends it and records the pair."""

import asyncio
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

from mirrorkit.capture.adapter import Endpoint
from mirrorkit.capture.observe import Seen, Watch
from mirrorkit.capture.scrub import Scrubber
from mirrorkit.capture.snapshot import snapshot
from mirrorkit.capture.streams import is_stream
from mirrorkit.records import CONTROL, Call, Pair

if TYPE_CHECKING:
    from mirrorkit.capture.exchange import Exchange
    from mirrorkit.capture.mirror import Mirror

# LiteLLM's own time-out comes first, so that its loggers hear of it; this backstop ends what trickles on.
_BACKSTOP_S = 0.2
SILENT_TAG = "is_silent_experiment"

# LiteLLM keeps one of these for each call: with the primary's, one log entry would overwrite the other.
_LOGGING = ("litellm_call_id", "litellm_logging_obj", "standard_logging_object")
# Where the primary's own wishes end: retries and fallbacks are the session's, a picked deployment is its own.
_ROUTING = (
    "num_retries",
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
)
_CREDENTIAL_PREFIXES = ("aws_", "azure_", "vertex_", "watsonx_")
_HEADERS = ("headers", "extra_headers")
_CREDENTIAL_HEADERS = ("authorization", "api-key", "api_key", "token", "cookie", "secret")


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
    silent: dict[str, Any] = snapshot(dict(kwargs))
    for name in (*_LOGGING, *_ROUTING):
        silent.pop(name, None)
    if not own_group:
        _drop_credentials(silent)
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


def _drop_credentials(kwargs: dict[str, Any]) -> None:
    for name in list(kwargs):
        if name in _CREDENTIALS or name.startswith(_CREDENTIAL_PREFIXES):
            del kwargs[name]
    for name in _HEADERS:
        if isinstance(headers := kwargs.get(name), Mapping):
            kwargs[name] = {k: v for k, v in headers.items() if not _is_credential_header(k)}


def _is_credential_header(name: object) -> bool:
    return any(word in str(name).lower() for word in _CREDENTIAL_HEADERS)


class SilentCall:
    """One silent call: a Job that can be made blocking or awaiting, and is recorded once."""

    def __init__(
        self, mirror: "Mirror", exchange: "Exchange", primary: Seen, arm: str, group: str, expected: float
    ) -> None:
        self.expected = expected
        self._mirror = mirror
        self._exchange = exchange
        self._primary = primary
        self._arm = arm
        self._group = group
        self._pair_id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{exchange.request.request_id}/{arm}"))
        self._lock = threading.Lock()
        self._recorded = False
        self._cut_off = 0

    def run(self) -> None:
        """Make the call, blocking."""
        watch, kwargs = self._begin()
        stream: Any = None
        try:
            answer = self._send(is_async=False)(**kwargs)
            if not is_stream(answer):
                seen = watch.answered(answer)
            else:
                stream = answer
                for chunk in stream:
                    watch.chunk(chunk)
                    self._check_time(watch)
                seen = watch.streamed(stream)
        except BaseException as error:
            seen = watch.failed(error, stream)
        self._record(watch, seen)

    async def arun(self) -> None:
        """Make the call, awaiting."""
        watch, kwargs = self._begin()
        stream: Any = None
        try:
            async with asyncio.timeout(self._backstop()):
                answer = await self._send(is_async=True)(**kwargs)
                if not is_stream(answer):
                    seen = watch.answered(answer)
                else:
                    stream = answer
                    async for chunk in stream:
                        watch.chunk(chunk)
                    seen = watch.streamed(stream)
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                self._cut_off += 1
                raise
            seen = watch.failed(self._named(error), stream)
        self._record(watch, seen)

    def drop(self) -> None:
        """Record that the call was given up."""
        watch = Watch({})
        self._record(
            watch,
            watch.failed(asyncio.CancelledError("the session ended before this silent call")),
            sent=False,
        )

    def _begin(self) -> tuple[Watch, dict[str, Any]]:
        request, policy = self._exchange.request, self._mirror.policy
        kwargs = silent_kwargs(
            self._exchange.copied,
            self._exchange.endpoint,
            group=self._group,
            own_group=self._arm == CONTROL,
            trace_id=request.trace_id,
            marks={
                SILENT_TAG: True,
                "mirrorkit_pair_id": self._pair_id,
                "mirrorkit_request_id": request.request_id,
                "mirrorkit_arm": self._arm,
                "mirrorkit_primary_call_id": self._primary.call_id,
            },
            add_tag=not self._mirror.adapter.filters_by_tags(),
            retries=policy.silent_retries,
            timeout_s=policy.timeout_s,
        )
        return Watch(kwargs[self._exchange.endpoint.metadata]), kwargs

    def _send(self, is_async: bool) -> Callable[..., Any]:
        return self._mirror.adapter.method(self._exchange.endpoint.call_type, is_async)

    def _backstop(self) -> float | None:
        timeout_s = self._mirror.policy.timeout_s
        return None if timeout_s is None else timeout_s + _BACKSTOP_S

    def _check_time(self, watch: Watch) -> None:
        backstop = self._backstop()
        if backstop is not None and perf_counter() - watch.started > backstop:
            raise self._timed_out()

    def _named(self, error: BaseException) -> BaseException:
        return self._timed_out() if isinstance(error, TimeoutError) and not str(error) else error

    def _timed_out(self) -> TimeoutError:
        return TimeoutError(f"no whole answer within timeout_s={self._mirror.policy.timeout_s:g} s")

    def _record(self, watch: Watch, seen: Seen, sent: bool = True) -> None:
        with self._lock:
            if self._recorded:
                return
            self._recorded = True
        cost: float | None = None
        try:
            pair = self._pair(watch, seen, sent)
            cost = pair.silent.cost_usd
            self._mirror.unpriced(pair.silent)
            self._mirror.sink(pair)
        except Exception as fault:
            self._mirror.fault(fault)
        finally:
            self._mirror.settle(self.expected, cost)

    def _pair(self, watch: Watch, seen: Seen, sent: bool) -> Pair:
        exchange, request = self._exchange, self._exchange.request
        scrubber = exchange.scrubber()
        messages, params = exchange.texts(scrubber)
        return Pair(
            pair_id=self._pair_id,
            request_id=request.request_id,
            trace_id=request.trace_id,
            arm=self._arm,
            call_type=request.call_type,
            started_at=request.started_at,
            lag_s=watch.started - exchange.watch.started if sent else None,
            cluster=scrubber.text(request.cluster),
            tags=tuple(scrubber.text(tag) or "" for tag in request.tags),
            model_group=request.model_group,
            messages=messages,
            params=params,
            stream=request.stream,
            primary=exchange.primary(self._primary, scrubber),
            silent=self._silent(seen, scrubber, sent),
        )

    def _silent(self, seen: Seen, scrubber: Scrubber, sent: bool) -> Call:
        call = self._exchange.priced(seen, scrubber)
        if not sent:
            return replace(call, attempts=self._cut_off, latency_s=None)
        # a call that was cut off by its loop's end had been sent, and counts
        return replace(call, attempts=None if call.attempts is None else call.attempts + self._cut_off)
