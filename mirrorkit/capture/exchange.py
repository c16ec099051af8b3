"""The primary's half: one request that may be mirrored, from before it is sent until it has settled."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mirrorkit.capture.adapter import Endpoint
from mirrorkit.capture.observe import Seen, Watch
from mirrorkit.capture.scrub import Scrubber, secrets_in
from mirrorkit.capture.streams import is_stream
from mirrorkit.records import Call, Request

if TYPE_CHECKING:
    from mirrorkit.capture.mirror import Mirror


class Exchange:
    """One request that may be mirrored, from before its primary is sent until it has settled."""

    def __init__(
        self,
        mirror: "Mirror",
        endpoint: Endpoint,
        kwargs: Mapping[str, Any],
        copied: Mapping[str, Any],
        request: Request,
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        self.endpoint = endpoint
        self.copied = copied
        self.request = request
        self.loop = loop
        self.stream: Any = None
        self._mirror = mirror
        self._settled = False
        # The Router writes into this dict what it did; the caller's own stays as it is.
        self._metadata: dict[str, Any] = _loose_copy(kwargs.get(endpoint.metadata))
        self._kwargs = {**kwargs, endpoint.metadata: self._metadata, "litellm_trace_id": request.trace_id}
        self._lock = threading.Lock()
        self._primary: Call | None = None
        self._texts: tuple[str | None, str | None] | None = None

    def sent(self) -> dict[str, Any]:
        """The primary's keywords; its clock starts here."""
        kwargs, self._kwargs = self._kwargs, {}
        self.watch = Watch(self._metadata)
        return kwargs

    def answered(self, answer: Any, stream_type: Callable[[Any, "Exchange"], Any]) -> Any:
        """The primary answered: what the caller gets, which is the answer itself unless it is a stream."""
        if self.request.stream and is_stream(answer):
            self.stream = answer
            self._mirror.passing(self)
            return stream_type(answer, self)
        self._observe(self.watch.answered, answer)
        return answer

    def chunk(self, chunk: Any) -> None:
        """A chunk of the primary's stream passes."""
        try:
            self.watch.chunk(chunk)
        except Exception as fault:  # a shape we do not know: the caller gets its chunk all the same
            self._mirror.fault(fault)

    def ended(self, stream: Any) -> None:
        """The primary's stream came to its end."""
        self._observe(self.watch.streamed, stream)

    def broke(self, error: BaseException, stream: Any = None) -> None:
        """The primary raised, before or amid its stream."""
        self._observe(self.watch.failed, error, stream)

    def left(self, stream: Any) -> None:
        """The caller stopped reading the primary's stream."""
        self._observe(self.watch.abandoned, stream)

    def lost(self, stream: Any) -> None:
        """The caller dropped the primary's stream."""
        if not self._settled:
            self._mirror.lost(self, self.watch.abandoned(stream))

    def _observe(self, see: Callable[..., Seen], *shown: Any) -> None:
        if self._settled:
            return
        try:
            seen = see(*shown)
        except Exception as fault:  # a shape we do not know: the pair is recorded with what is known
            self._mirror.fault(fault)
            seen = self.watch.bare("ok")
        self.settle(seen)

    def settle(self, seen: Seen) -> None:
        """The primary is done, once: mirror it, or count that it was cancelled."""
        with self._lock:
            if self._settled:
                return
            self._settled = True
        self._mirror.passed(self)
        try:
            seen, picked = self._mirror.located(self.request, seen, self.watch.picked)
            cancelled = seen.status == "cancelled"
            outcome = "cancelled" if cancelled else self._mirror.hand_over(self, seen, picked)
        except Exception as fault:  # the primary has its answer, and keeps it
            self._mirror.fault(fault)
            outcome = "faulted"
        self._mirror.count(outcome)

    def texts(self, scrubber: Scrubber) -> tuple[str | None, str | None]:
        """The request's messages and parameters as they are recorded, worked out once for all arms."""
        with self._lock:
            if self._texts is None:
                self._texts = scrubber.json(self.request.payload), scrubber.params(self.request.params)
            return self._texts

    def primary(self, seen: Seen, scrubber: Scrubber) -> Call:
        """The primary's Call as it is recorded, worked out once for all arms."""
        with self._lock:
            if self._primary is None:
                self._primary = self.priced(seen, scrubber)
            return self._primary

    def priced(self, seen: Seen, scrubber: Scrubber) -> Call:
        """One side's Call as it is recorded."""
        tools = self.request.params.get("tools")
        call = self._mirror.pricer.call(seen, self.request.payload, tools, self.request.call_type)
        return _clean(call, scrubber)

    def scrubber(self) -> Scrubber:
        """The session's scrubber, knowing this request's own secrets too."""
        return self._mirror.scrubber.knowing(secrets_in(self.copied))


def request_of(
    endpoint: Endpoint, copied: Mapping[str, Any], group: str, request_id: str, trace_id: str
) -> Request:
    """The request that a caller's keywords make; `copied` is a copy of them."""
    metadata = copied.get(endpoint.metadata)
    metadata = metadata if isinstance(metadata, Mapping) else {}
    apart = {endpoint.payload, endpoint.metadata, "model", "stream", "litellm_call_id", "litellm_trace_id"}
    tags = metadata.get("tags")
    cluster = metadata.get("session_id") or copied.get("litellm_session_id") or copied.get("user")
    return Request(
        request_id=request_id,
        trace_id=trace_id,
        call_type=endpoint.call_type,
        model_group=group,
        payload=copied.get(endpoint.payload),
        params={k: v for k, v in copied.items() if k not in apart},
        metadata=metadata,
        tags=tuple(str(tag) for tag in tags) if isinstance(tags, list | tuple) else (),
        cluster=None if cluster is None else str(cluster),
        stream=bool(copied.get("stream")),
        started_at=datetime.now(UTC),
    )


def _loose_copy(metadata: Any) -> dict[str, Any]:
    """The caller's metadata for LiteLLM to write into: new containers, the caller's values."""
    if not isinstance(metadata, Mapping):
        return {}
    return {k: v.copy() if isinstance(v, dict | list) else v for k, v in metadata.items()}


def _clean(call: Call, scrubber: Scrubber) -> Call:
    return replace(
        call,
        error_message=scrubber.error(call.error_message),
        output=scrubber.text(call.output),
        tool_calls=scrubber.json_text(call.tool_calls),
    )
