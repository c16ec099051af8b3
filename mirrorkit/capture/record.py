"""What is recorded of one request: its texts, made safe, and the pairs it takes part in."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mirrorkit.capture.observe import Pricer, Seen
from mirrorkit.capture.portability import recorded
from mirrorkit.capture.scrub import Scrubber, secrets_in
from mirrorkit.records import Call, Pair, Request


@dataclass(frozen=True, slots=True)
class Recorder:
    """What a session needs to turn what was seen into rows."""

    pricer: Pricer
    scrubber: Scrubber
    on_fault: Callable[[BaseException], None]
    forward: tuple[str, ...] = ()
    """names of further parameters that the user lets through"""

    def read(self, seen: Seen, request: Request) -> Call:
        """The Call of what was seen, priced, but not yet safe to record."""
        try:
            return self.pricer.call(seen, request.payload, request.params, request.call_type)
        except Exception as fault:  # a shape we do not know
            self.on_fault(fault)
            return Call(seen.status, latency_s=seen.latency_s, deployment_id=seen.deployment_id)


class RequestRecord:
    """One request's part of its rows, worked out once for all its arms, when the first is recorded.

    `params` are the request's keywords, whose own secrets are masked too.
    """

    def __init__(self, recorder: Recorder, request: Request, params: Mapping[str, Any]) -> None:
        self._recorder = recorder
        self._request = request
        self._params = params
        self._lock = threading.Lock()
        self._primary: Call | None = None
        self._texts: tuple[str | None, str | None, str | None, tuple[str, ...]] | None = None

    def pair(
        self,
        pair_id: str,
        arm: str,
        lag_s: float | None,
        primary: Seen,
        silent: Call,
        stripped: tuple[str, ...] = (),
    ) -> Pair:
        """The row of a silent call as it was read; what cannot be worked out is null, the row is there."""
        request, scrubber = self._request, self._recorder.scrubber.knowing(secrets_in(self._params))
        with self._lock:
            if self._primary is None or self._primary.status == "unknown":
                self._primary = self._safe_call(self._recorder.read(primary, request), scrubber)
            if self._texts is None:
                self._texts = self._safe_texts(scrubber)
        messages, params, cluster, tags = self._texts
        return Pair(
            pair_id=pair_id,
            request_id=request.request_id,
            trace_id=request.trace_id,
            arm=arm,
            call_type=request.call_type,
            started_at=request.started_at,
            lag_s=lag_s,
            cluster=cluster,
            tags=tags,
            model_group=request.model_group,
            messages=messages,
            params=params,
            stream=request.stream,
            primary=self._primary,
            silent=self._safe_call(silent, scrubber),
            stripped=stripped,
        )

    def _safe_call(self, call: Call, scrubber: Scrubber) -> Call:
        try:
            return replace(
                call,
                error_message=scrubber.error(call.error_message),
                output=scrubber.text(call.output),
                tool_calls=scrubber.json_text(call.tool_calls),
            )
        except Exception as fault:  # a shape we do not know
            self._recorder.on_fault(fault)
            return replace(call, error_message=None, output=None, tool_calls=None)

    def _safe_texts(self, scrubber: Scrubber) -> tuple[str | None, str | None, str | None, tuple[str, ...]]:
        request = self._request
        try:
            return (
                scrubber.json(request.payload),
                scrubber.params(recorded(request.params, request.call_type, self._recorder.forward)),
                scrubber.text(request.cluster),
                tuple(scrubber.text(tag) or "" for tag in request.tags),
            )
        except Exception as fault:  # a shape we do not know
            self._recorder.on_fault(fault)
            return None, None, None, ()
