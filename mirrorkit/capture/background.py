"""A thread for what no caller is to wait for: reading answers, and writing them down."""

import asyncio
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from threading import Lock, Thread, main_thread

_Job = Callable[[], None]


class Background:
    """Does jobs one after another on a thread of its own, which starts with the first and ends with this.

    Jobs must not raise. Where no thread can start any more, as when the interpreter ends, a job is done at
    once by who gives it.

    >>> done = []
    >>> background = Background()
    >>> background.do(lambda: done.append("written"))
    >>> background.flush(), done
    (True, ['written'])
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._jobs: _Jobs | None = None

    def do(self, job: _Job) -> None:
        """Do this when what came before is done."""
        with self._lock:
            if self._jobs is None and main_thread().is_alive():
                self._jobs = _started()
                # the thread does not hold this, which can be let go of
                weakref.finalize(self, self._jobs.put, None).atexit = False
            if self._jobs is not None:
                self._jobs.put(job)
                return
        job()

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until all that was given so far is done; False if time ran out first."""
        try:
            self._mark().result(timeout_s)
        except TimeoutError:
            return False
        return True

    async def aflush(self, timeout_s: float | None = None) -> bool:
        """The same, awaiting."""
        mark = self._mark()
        if not mark.done():
            await asyncio.wait([asyncio.wrap_future(mark)], timeout=timeout_s)
        return mark.done()

    def close(self) -> None:
        """Let the thread end when it has done what it was given; what is given later starts another."""
        with self._lock:
            if self._jobs is not None:
                self._jobs.put(None)
                self._jobs = None

    def _mark(self) -> "Future[None]":
        mark: Future[None] = Future()
        with self._lock:
            if self._jobs is None or self._jobs.are_done:
                mark.set_result(None)
            else:
                # one that is given up must not end the thread
                self._jobs.mark(lambda: None if mark.cancelled() else mark.set_result(None))
        return mark


class _Jobs:
    """A queue that knows whether all that was in it is done; put into by one thread at a time."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._given = 0
        self._done = 0

    @property
    def are_done(self) -> bool:
        return self._given == self._done

    def put(self, job: _Job | None) -> None:
        self._given += 1
        self._queue.put(None if job is None else partial(self._counted, job))

    def mark(self, mark: _Job) -> None:
        """Call this, which is no job itself, when what came before is done."""
        self._queue.put(mark)

    def _counted(self, job: _Job) -> None:
        job()
        self._done += 1

    def work(self) -> None:
        while (job := self._queue.get()) is not None:
            job()
            # what the job holds is not held until the next one comes
            del job


def _started() -> _Jobs:
    jobs = _Jobs()
    Thread(target=jobs.work, name="mirrorkit-background", daemon=True).start()
    return jobs
