"""Whether this process has room for a silent call: primaries go first."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, process_time

# A silent call takes some 8 ms of a core to be sent, which nothing interrupts: a primary that comes
# meanwhile is that much later. Found by a bench of open-loop load, as is that a look out of an idle loop
# takes 0.2 ms itself.
_NOW_S = 0.008
_LONG_AGO_S = 0.06
_LOOK_S = 0.02
_LOOK_BUSY_S = 0.04
_LOOK_ALONE_S = 0.002
_ANYHOW_S = 0.05
_AT_LAST_S = 0.25
_RECENT_S = 0.25
_NOTE_S = 0.001
_IDLE_NOW = 0.1
_IDLE_RECENTLY = 0.5
_FREE_ALONE = 0.9


class Room:
    """Judges by the processor time that this process uses, of one core, as one interpreter has no more.

    While primaries are under way, a silent call may start if the process does nothing just now (a tenth of
    the last 8 ms or more) and little of late (half of the last 250 ms), and four a second whatever it does.
    While there are none, silent calls follow one another as fast as the core sends them, and 50 ms apart if
    other threads keep it busy. The clocks count seconds.

    >>> now, used = [0.0], [0.0]
    >>> room = Room(lambda: now[0], lambda: used[0])
    >>> with room.primary():
    ...     first = room.wait_s     # what was before is not known yet
    ...     now[0], used[0] = 0.01, 0.008
    ...     busy = room.wait_s
    ...     now[0] = 0.02
    ...     idle = room.wait_s
    >>> first, busy, idle
    (0.008, 0.02, 0.0)
    """

    def __init__(
        self, clock: Callable[[], float] = monotonic, cpu_clock: Callable[[], float] = process_time
    ) -> None:
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._lock = threading.Lock()
        self._primaries = 0
        self._looks: deque[tuple[float, float]] = deque()
        self._started_at = clock()

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

    @property
    def wait_s(self) -> float:
        """0 where a silent call may start now, else seconds until it is time to ask again.

        Asked by one thread at a time.
        """
        now, cpu = self._clock(), self._cpu_clock()
        self._note(now, cpu)
        if now - self._started_at < _NOW_S:
            # what has just been started does not show yet
            return _NOW_S
        share = self._share_now(now, cpu)
        if share is None:
            return _NOW_S
        if not self._primaries:
            # what else this process is busy with may not end
            free = share < _FREE_ALONE or now - self._started_at >= _ANYHOW_S
            return 0.0 if free else _LOOK_ALONE_S
        if now - self._started_at >= _AT_LAST_S:
            # a load that never ends must not keep every mirror waiting
            return 0.0
        if self._share_recently(now, cpu) >= _IDLE_RECENTLY:
            # looking costs too
            return _LOOK_BUSY_S
        return 0.0 if share < _IDLE_NOW else _LOOK_S

    def _note(self, now: float, cpu: float) -> None:
        if not self._looks or now - self._looks[-1][0] >= _NOTE_S:
            self._looks.append((now, cpu))
        while len(self._looks) > 1 and self._looks[1][0] <= now - _RECENT_S:
            self._looks.popleft()

    def _share_now(self, now: float, cpu: float) -> float | None:
        for at, used in reversed(self._looks):
            if now - at >= _NOW_S:
                # a look of long ago says nothing of now
                return (cpu - used) / (now - at) if now - at < _LONG_AGO_S else None
        return None

    def _share_recently(self, now: float, cpu: float) -> float:
        at, used = self._looks[0]
        return (cpu - used) / max(now - at, _RECENT_S)
