"""The ids of requests and of their traces: the caller's, else new ones."""

import os
import random
import uuid
from collections.abc import Mapping
from typing import Any


class RequestIds:
    """Gives each request its id and that of its trace.

    A seed makes the same request ids in each run; a trace id never comes twice, as loggers would take two
    runs for one.

    >>> RequestIds(seed=1).of({})[0] == RequestIds(seed=1).of({})[0]
    True
    >>> RequestIds().of({"litellm_call_id": "r1", "litellm_trace_id": "t1"})
    ('r1', 't1')
    """

    def __init__(self, seed: int | None = None) -> None:
        self._seeded = None if seed is None else random.Random(seed)  # noqa: S311 (ids, not secrets)
        # not uuid4, which asks the system: other threads would take the interpreter meanwhile
        self._fresh = random.Random(os.urandom(32))  # noqa: S311

    def of(self, kwargs: Mapping[str, Any]) -> tuple[str, str]:
        """The ids of a request with these keywords, and of its trace."""
        request_id, trace_id, fresh = kwargs.get("litellm_call_id"), kwargs.get("litellm_trace_id"), None
        if not isinstance(trace_id, str) or not trace_id:
            trace_id = fresh = _drawn(self._fresh)
        if not isinstance(request_id, str) or not request_id:
            # many requests may be of one trace of the caller's
            request_id = _drawn(self._seeded) if self._seeded is not None else fresh or _drawn(self._fresh)
        return request_id, trace_id


def _drawn(source: random.Random) -> str:
    # one call in C, which no other thread can get into
    return str(uuid.UUID(int=source.getrandbits(128), version=4))
