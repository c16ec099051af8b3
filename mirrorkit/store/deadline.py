"""Work that may never end: done on a daemon thread, and waited for so long and no longer."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock, Thread
from typing import TypeVar

_Made = TypeVar("_Made")


def begin(work: Callable[[], _Made]) -> "Future[_Made]":
    """Have this done on a thread of its own, which holds up neither the program nor its end.

    Where no thread can start any more, as when the interpreter ends, it is done at once.

    >>> begin(lambda: 6 * 7).result(10)
    42
    """
    future: Future[_Made] = Future()

    def do() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # it is for who waits
            future.set_exception(error)

    try:
        Thread(target=do, name="mirrorkit-store", daemon=True).start()
    except RuntimeError:
        do()
    return future


def result(future: "Future[_Made]", within_s: float) -> _Made:
    """What work gives or raises, or TimeoutError where it is not done within so many seconds.

    >>> from threading import Event
    >>> result(begin(lambda: Event().wait(1)), 0.01)
    Traceback (most recent call last):
        ...
    TimeoutError: there is no answer in time
    """
    try:
        return future.result(max(0.0, within_s))
    except TimeoutError as error:
        if future.done():
            raise
        raise TimeoutError("there is no answer in time") from error


def within(work: Callable[[], _Made], within_s: float) -> _Made:
    """Do this on a thread of its own; see `result`."""
    return result(begin(work), within_s)


class Lane:
    """Does one piece of work at a time, each within a deadline.

    A piece that took too long is not waited for, but the next one only begins when it is done: so none can
    undo what a later one did.
    """

    def __init__(self) -> None:
        self._turn = Lock()

    def do(self, work: Callable[[], object], within_s: float) -> None:
        """Do this; raises what it raises, and TimeoutError where it takes longer than so many seconds."""
        if not self._turn.acquire(timeout=within_s):
            raise TimeoutError("what was asked before is not answered yet")

        def take_turn() -> None:
            try:
                work()
            finally:
                self._turn.release()

        within(take_turn, within_s)
