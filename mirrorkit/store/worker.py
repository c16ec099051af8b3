"""A thread for what nobody is to wait for: jobs in their order, and a short duty every so often."""

from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Lock, Thread


class Worker:
    """Does jobs one after another on a thread of its own, which starts with the first one.

    `duty` is done about every `every_s` seconds while the thread lives. Neither may raise.
    """

    def __init__(self, duty: Callable[[], None], every_s: float) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._duty = duty
        self._every_s = every_s
        self._starting = Lock()
        self._thread: Thread | None = None

    def start(self) -> None:
        """Have the thread run, if it does not yet."""
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    thread = Thread(target=self._run, name="mirrorkit-journal", daemon=True)
                    thread.start()
                    self._thread = thread

    def do(self, job: Callable[[], None]) -> None:
        """Do this when what came before is done."""
        self._jobs.put(job)
        self.start()

    def close(self) -> None:
        """Do what is left, and wait for the thread to end."""
        with self._starting:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            thread.join()

    def _run(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=self._every_s)
            except Empty:
                self._duty()
                continue
            if job is None:
                return
            job()
