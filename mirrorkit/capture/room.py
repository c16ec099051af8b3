"""Whether this process has room for a silent call: primaries go first."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from time import monotonic, process_time

_CALL_S = 0.008
"""About how long a silent call has a core to itself, in seconds: a primary that comes meanwhile waits."""
_LOOK_S = 0.004
_LOOK_BUSY_S = 0.04
# a timer of an event loop counts in milliseconds, and may be one late by itself
_LATE_S = 0.002
_ANYHOW_S = 0.05
_AT_LAST_S = 0.25
_RECENT_S = 0.25
_NOTE_S = 0.001
_BUSY = 0.45


class Room:
    """Judges by how punctual it is asked, and by the processor time that this process uses, of one core.

    An interpreter that is at work answers no timer: who asks again at the time that it was told, and not
    later, has found it idle. Then a silent call may start. While primaries are under way, none does if they
    have taken 45 % of a core or more in the last 250 ms, and four a second start whatever they take.
    While there are none, silent calls are 50 ms apart at most. The clocks count seconds.

    >>> now, used = [0.0], [0.0]
    >>> room = Room(lambda: now[0], lambda: used[0])
    >>> with room.primary():
    ...     first = room.wait_s     # nothing is known yet
    ...     now[0] = 0.01
    ...     late = room.wait_s
    ...     now[0] += late
    ...     punctual = room.wait_s
    >>> first, late, punctual
    (0.004, 0.004, 0.0)
    """

    def __init__(
        self, clock: Callable[[], float] = monotonic, cpu_clock: Callable[[], float] = process_time
    ) -> None:
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._lock = threading.Lock()
        self._primaries = 0
        self._started = 0
        self._started_at = clock()
        self._due = -inf
        self._notes: deque[tuple[float, float]] = deque()

    def entered(self) -> None:
        """A primary is under way."""
        with self._lock:
            self._primaries += 1

    def left(self) -> None:
        """A primary has settled."""
        with self._lock:
            self._primaries -= 1

    @contextmanager
    def primary(self) -> Iterator[None]:
        """A primary is under way in this block."""
        self.entered()
        try:
            yield
        finally:
            self.left()

    def started(self) -> None:
        """A silent call starts now."""
        self._started_at = self._clock()
        self._due = self._started_at + _CALL_S
        self._started += 1

    @property
    def wait_s(self) -> float:
        """0 where a silent call may start now, else seconds until it is time to ask again.

        Asked by one thread at a time.
        """
        now = self._clock()
        busy = self._note(now)
        if now < self._due:
            return self._due - now
        if self._primaries and now - self._started_at >= _AT_LAST_S:
            # a load that never ends must not keep every mirror waiting
            return 0.0
        if not self._primaries and now - self._started_at >= _ANYHOW_S:
            # what else this process is busy with may not end
            return 0.0
        if self._primaries and busy >= _BUSY:
            # looking costs too
            return self._again(now, _LOOK_BUSY_S)
        return 0.0 if now - self._due < _LATE_S else self._again(now, _LOOK_S)

    def _again(self, now: float, seconds: float) -> float:
        self._due = now + seconds
        return seconds

    def _note(self, now: float) -> float:
        """The share of a core that was used of late, but for silent calls."""
        used = self._cpu_clock() - self._started * _CALL_S
        if not self._notes or now - self._notes[-1][0] >= _NOTE_S:
            self._notes.append((now, used))
        while len(self._notes) > 1 and self._notes[1][0] <= now - _RECENT_S:
            self._notes.popleft()
        at, before = self._notes[0]
        return (used - before) / max(now - at, _RECENT_S)
