"""The primary's half: one request that may be mirrored, from before it is sent until it has settled."""

import asyncio
import copy
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mirrorkit.capture.observe import Seen
from mirrorkit.capture.router.adapter import Endpoint
from mirrorkit.capture.router.tokens import COUNTED
from mirrorkit.capture.streams import OpenStreams, is_stream
from mirrorkit.capture.watch import Watch
from mirrorkit.records import Request

if TYPE_CHECKING:
    from mirrorkit.capture.mirrored import MirroredRequest


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came in, with what its silent calls need of it."""

    request: Request
    endpoint: Endpoint
    copied: Mapping[str, Any]
    """a deep copy of the caller's keywords, made before the primary ran"""
    loop: asyncio.AbstractEventLoop | None
    """the caller's event loop; None for a blocking call"""

    def moved(self, copied: Mapping[str, Any]) -> "Asked":
        """The same for another process, with these keywords alone; it has no such loop."""
        request = replace(self.request, params={name: copied.get(name) for name in COUNTED}, metadata={})
        return replace(self, request=request, copied=copied, loop=None)


class Exchange:
    """A primary's call: sent, watched, and settled once, however it ends.

    `on_settled` hears what was seen of it. `mirrored` are the silent calls that are sent together with it,
    and `on_mirrored` wants to know when they have ended.
    """

    mirrored: "MirroredRequest | None" = None
    on_mirrored: "Callable[[Future[None]], None] | None" = None

    def __init__(
        self,
        asked: Asked,
        kwargs: Mapping[str, Any],
        streams: OpenStreams,
        on_settled: Callable[["Exchange", Seen], None],
        on_fault: Callable[[BaseException], None],
    ) -> None:
        self.asked = asked
        self.is_settled = False
        self.is_cancelled = False
        self._streams = streams
        self._on_settled = on_settled
        self._on_fault = on_fault
        self._lock = threading.Lock()
        self._stream: Any = None
        self._kwargs, self._metadata = _to_send(asked, kwargs)
        # a new one when it is sent; until then it may still be given up
        self.watch = Watch(self._metadata, on_fault)

    def sent(self) -> dict[str, Any]:
        """The primary's keywords; its clock starts here."""
        kwargs, self._kwargs = self._kwargs, {}
        self.watch = Watch(self._metadata, self._on_fault)
        return kwargs

    def answered(self, answer: Any, stream_type: Callable[[Any, "Exchange"], Any]) -> Any:
        """The primary answered: what the caller gets, which is the answer itself unless it is a stream."""
        if self.asked.request.stream and is_stream(answer):
            self._stream = answer
            self._streams.add(self)
            return stream_type(answer, self)
        self._observe(self.watch.answered, answer)
        return answer

    def chunk(self, chunk: Any) -> None:
        """A chunk of the primary's stream passes."""
        self.watch.chunk(chunk)

    def ended(self, stream: Any) -> None:
        """The primary's stream came to its end."""
        self._observe(self.watch.streamed, stream)

    def broke(self, error: BaseException, stream: Any = None) -> None:
        """The primary raised, before or amid its stream."""
        self._observe(self.watch.failed, error, stream)

    def left(self) -> None:
        """The caller stopped reading the primary's stream."""
        self._observe(self.watch.abandoned, self._stream)

    def lost(self) -> None:
        """The caller dropped the primary's stream."""
        if not self.is_settled:
            seen = self.watch.abandoned(self._stream)
            self._streams.lost(lambda: self._settle(seen))

    def _observe(self, see: Callable[..., Seen], *shown: Any) -> None:
        if not self.is_settled:
            self._settle(see(*shown))

    def _settle(self, seen: Seen) -> None:
        with self._lock:
            if self.is_settled:
                return
            self.is_settled = True
        self._streams.discard(self)
        self._on_settled(self, seen)


def request_of(
    endpoint: Endpoint,
    copied: Mapping[str, Any],
    group: str,
    request_id: str,
    trace_id: str,
    started_at: datetime | None = None,
) -> Request:
    """The request that a caller's keywords make, started now by default; `copied` is a copy of them."""
    given = copied.get(endpoint.metadata)
    metadata: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    apart = {endpoint.payload, endpoint.metadata, "model", "stream", "litellm_call_id", "litellm_trace_id"}
    tags: Any = metadata.get("tags")
    tags = tags if issubclass(type(tags), list | tuple) else ()
    # not the user: a service account is one for all, whose pairs would then tell nothing
    clusters = metadata.get("session_id"), copied.get("litellm_session_id")
    return Request(
        request_id=request_id,
        trace_id=trace_id,
        call_type=endpoint.call_type,
        model_group=group,
        payload=copied.get(endpoint.payload),
        params={k: v for k, v in copied.items() if k not in apart},
        metadata=metadata,
        tags=tuple(text for tag in tags if (text := _text(tag)) is not None),
        cluster=next((text for c in clusters if _is_true(c) and (text := _text(c)) is not None), None),
        stream=_is_true(copied.get("stream")),
        started_at=started_at or datetime.now(UTC),
    )


def _text(value: Any) -> str | None:
    try:
        return str(value)
    except Exception:  # whatever a foreign __str__ raises
        return None


def _is_true(value: Any) -> bool:
    try:
        return bool(value)
    except Exception:  # an array of numbers is neither, and a foreign __bool__ raises what it likes
        return False


def _to_send(asked: Asked, kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """The primary's keywords, and the metadata in them, for the Router to write into.

    The caller's own stays as it is. What is no dict, or no trace id, goes on as it came: it is for LiteLLM to
    refuse.
    """
    name, trace_id = asked.endpoint.metadata, kwargs.get("litellm_trace_id")
    metadata = _loose_copy(kwargs[name]) if name in kwargs else {}
    sent = {**kwargs, name: metadata}
    if trace_id is None or type(trace_id) is str:
        sent["litellm_trace_id"] = asked.request.trace_id
    return sent, metadata if issubclass(type(metadata), dict) else {}


def _loose_copy(metadata: Any) -> Any:
    """The caller's metadata for LiteLLM to write into: new containers, the caller's values."""
    copied = _shallow(metadata, dict)
    if type(copied) is dict:
        return {k: _shallow(v, dict, list) for k, v in copied.items()}
    return copied


def _shallow(value: Any, *kinds: type) -> Any:
    # by type: a foreign object's __class__ may raise
    if not issubclass(type(value), kinds):
        return value
    try:
        return copy.copy(value)
    except Exception:  # whatever a foreign __copy__ raises
        return value
