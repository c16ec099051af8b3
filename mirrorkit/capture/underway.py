"""What is under way: which requests may still become rows, by when they started."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from threading import Lock

_TICK = timedelta(microseconds=1)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class UnderWay:
    """The requests whose pairs are not all recorded yet.

    A request is under way from `enter`, which gives it its start, until it and each arm that it was told to
    `expect` has left. Starts and answers of `oldest` are times of one clock that only goes forward, whatever
    is done to the computer's: so nothing can start before what `oldest` has said.

    >>> requests = UnderWay()
    >>> started_at = requests.enter()
    >>> requests.expect(started_at, ["next"])
    >>> requests.leave(started_at)
    >>> requests.oldest() == started_at
    True
    >>> requests.leave(started_at, "next")
    >>> requests.oldest() > started_at
    True
    """

    def __init__(self, clock: Callable[[], datetime] = _utc_now) -> None:
        self._clock = clock
        # A start must be among those open before anyone can read a later time.
        self._lock = Lock()
        self._latest = datetime.min.replace(tzinfo=UTC)
        # By start, so that the first is the oldest; who has still to leave. Changed and read in single steps
        # of the interpreter, as the garbage collector may end a request anywhere: leaving takes no lock.
        self._open: OrderedDict[datetime, set[str | None]] = OrderedDict()

    def enter(self) -> datetime:
        """A request starts now, later than every other: its start (UTC), which is its name here."""
        with self._lock:
            started_at = self._next()
            self._open[started_at] = {None}
            return started_at

    def expect(self, started_at: datetime, arms: Iterable[str]) -> None:
        """Silent calls of these arms are about to be made for a request that is under way."""
        self._open[started_at].update(arms)

    def leave(self, started_at: datetime, arm: str | None = None) -> None:
        """This arm's pair is recorded, or will never come; without an arm: it is settled what is expected."""
        left = self._open.get(started_at)
        if left is not None:
            left.discard(arm)
            if not left:
                self._open.pop(started_at, None)

    def oldest(self) -> datetime:
        """The start of the oldest request under way, else now: what started before is recorded, all of it."""
        with self._lock:
            now = self._next()
        while True:
            try:
                return next(iter(self._open), now)
            except RuntimeError:  # another thread changed it in between
                continue

    def _next(self) -> datetime:
        now = self._clock()
        self._latest = now if now > self._latest else self._latest + _TICK
        return self._latest
