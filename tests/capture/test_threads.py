"""Blocking calls run on daemon threads: as many as there are calls, and a free one is taken again."""

import threading
from queue import SimpleQueue

from mirrorkit.capture.threads import Threads

LONG = 30


def test_all_run_at_once_whatever_their_number() -> None:
    threads, barrier, passed = Threads("test"), threading.Barrier(9), SimpleQueue[int]()

    def meet() -> None:
        passed.put(barrier.wait(LONG))

    for _ in range(8):
        threads.run(meet)
    barrier.wait(LONG)
    assert len({passed.get(timeout=LONG) for _ in range(8)}) == 8


def test_a_free_thread_is_taken_again_and_is_a_daemon() -> None:
    threads, seen = Threads("test"), SimpleQueue[threading.Thread]()
    threads.run(lambda: seen.put(threading.current_thread()))
    first = seen.get(timeout=LONG)
    while not threads._free:
        pass
    threads.run(lambda: seen.put(threading.current_thread()))
    assert seen.get(timeout=LONG) is first
    assert first.daemon
