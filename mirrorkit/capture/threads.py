"""Threads for blocking calls, which no end of the program waits for."""

from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Lock, Thread, main_thread

_IDLE_S = 10.0


class Threads:
    """Runs jobs, each on a thread: on one that is free, else on a new one.

    The threads are daemons, unlike those of `concurrent.futures`: a call that hangs does not keep the program
    from ending. How many there are at once is for who gives the jobs to bound; a free one ends after 10 s.

    >>> import threading
    >>> ran = threading.Event()
    >>> Threads("example").run(ran.set)
    >>> ran.wait(10)
    True
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = Lock()
        self._free = 0
        self._is_closed = False

    def run(self, job: Callable[[], None]) -> None:
        """Run this job, which must not raise.

        Raises:
            RuntimeError: the interpreter is going down, and would not wait for a thread.
        """
        if not main_thread().is_alive():
            raise RuntimeError("the interpreter is going down")
        with self._lock:
            is_new = not self._free
            self._free -= not is_new
            # by the queue, as a thread holds its arguments for as long as it lives
            self._jobs.put(job)
        if is_new:
            Thread(target=self._work, name=self._name, daemon=True).start()

    def close(self) -> None:
        """Let the threads end, each when its job is done."""
        with self._lock:
            self._is_closed = True
            for _ in range(self._free):
                self._jobs.put(None)
            self._free = 0

    def _work(self) -> None:
        job = self._jobs.get()
        while job is not None:
            job()
            job = None
            with self._lock:
                if self._is_closed:
                    return
                self._free += 1
            job = self._next()

    def _next(self) -> Callable[[], None] | None:
        try:
            return self._jobs.get(timeout=_IDLE_S)
        except Empty:
            pass
        with self._lock:
            if self._free:
                self._free -= 1
                return None
        # the last place of a free thread was given away in this very moment
        return self._jobs.get()
