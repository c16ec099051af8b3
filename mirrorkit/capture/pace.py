"""When the next silent call may start: so many a second, and none of a group that is given time."""

from collections.abc import Callable
from time import monotonic


class Pace:
    """Evenly paced starts, and groups that are given time.

    `rate` is in starts a second, None for as many as there are; `clock` counts seconds. Not locked: who
    starts the calls asks here under a lock of their own.

    >>> now = [0.0]
    >>> pace = Pace(4, lambda: now[0])
    >>> pace.started()
    >>> pace.wait_s
    0.25
    >>> pace.pause("next", 20)
    >>> pace.pause_s("next"), pace.pause_s("other")
    (20.0, 0.0)
    """

    def __init__(self, rate: float | None = None, clock: Callable[[], float] = monotonic) -> None:
        self._gap_s = 0.0 if rate is None else 1 / rate
        self._clock = clock
        self._next_at = 0.0
        self._until: dict[str, float] = {}

    @property
    def wait_s(self) -> float:
        """Seconds until the rate allows a start; 0 where it does now."""
        return max(0.0, self._next_at - self._clock()) if self._gap_s else 0.0

    def started(self) -> None:
        """A call starts now."""
        if self._gap_s:
            # what was not used before is not made up for: a provider would see it as a burst
            self._next_at = self._clock() + self._gap_s

    def pause(self, group: str, seconds: float) -> None:
        """Let no call of this group start for so long; never shortens a pause."""
        self._until[group] = max(self._until.get(group, 0.0), self._clock() + seconds)

    def pause_s(self, group: str) -> float:
        """Seconds until calls of this group may start; 0 where they may now."""
        if not self._until:
            return 0.0
        return max(0.0, self._until.get(group, 0.0) - self._clock())

    @property
    def paused(self) -> dict[str, float]:
        """The groups that are given time, and the seconds left of it."""
        return {group: left for group in tuple(self._until) if (left := self.pause_s(group)) > 0}
