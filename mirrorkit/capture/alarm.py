"""A call at a later time, by an event loop or by a thread that is there only while one is due."""

import asyncio
import threading
from collections.abc import Callable
from time import monotonic

# how late a loop may be before a thread rings in its place: it may have stopped, or be held up for long
_PATIENCE_S = 0.25


class Alarm:
    """Calls `ring`, which never raises, when its time has come; the earliest time that was set counts.

    A loop rings cheaper than a thread, which takes the interpreter from whatever runs.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._changed = threading.Condition()
        self._at: float | None = None
        self._wake_at = 0.0
        self._asleep_until = 0.0
        self._thread: threading.Thread | None = None

    def set(self, seconds: float, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Ring in so many seconds, if not before: on this loop, if it is there to do so.

        Raises:
            RuntimeError: the interpreter is going down, and no thread could wait that long.
        """
        at = monotonic() + seconds
        with self._changed:
            if self._at is not None and self._at <= at:
                return
            self._watch(at + _PATIENCE_S if self._asks(loop, seconds, at) else at)
            self._at = at

    def clear(self) -> None:
        """Do not ring, and let the thread end."""
        with self._changed:
            self._at = None
            self._changed.notify()

    def _asks(self, loop: asyncio.AbstractEventLoop | None, seconds: float, at: float) -> bool:
        if loop is None or not loop.is_running():
            return False
        try:
            if loop is _running_loop():
                loop.call_later(seconds, self._ring_for, at)
            else:
                loop.call_soon_threadsafe(loop.call_later, seconds, self._ring_for, at)
        except RuntimeError:  # closed in between
            return False
        return True

    def _watch(self, wake_at: float) -> None:
        self._wake_at = wake_at
        # a thread does not live on in a forked child
        if self._thread is None or not self._thread.is_alive():
            if not threading.main_thread().is_alive():
                raise RuntimeError("the interpreter is going down")
            self._asleep_until = 0.0
            self._thread = threading.Thread(target=self._wait, name="mirrorkit-alarm", daemon=True)
            self._thread.start()
        elif wake_at < self._asleep_until:
            self._changed.notify()

    def _ring_for(self, at: float) -> None:
        with self._changed:
            if self._at != at:
                return
            self._at = None
        self._ring()

    def _wait(self) -> None:
        while True:
            with self._changed:
                while self._at is not None and (left := self._wake_at - monotonic()) > 0:
                    self._asleep_until = self._wake_at
                    self._changed.wait(left)
                if self._at is None:
                    self._thread = None
                    return
                self._at = None
            self._ring()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
