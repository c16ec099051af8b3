"""The alarm rings in time, on a loop or on a thread, and keeps no thread when it has nothing to ring for."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from mirrorkit.capture.alarm import Alarm

LONG = 30


class Bell:
    """Notes where and when it was rung."""

    def __init__(self) -> None:
        self.rung: list[tuple[str, float]] = []
        self.heard = threading.Event()
        self.alarm = Alarm(self.ring)

    def ring(self) -> None:
        self.rung.append((threading.current_thread().name, time.monotonic()))
        self.heard.set()


@pytest.fixture
def bell() -> Iterator[Bell]:
    before = set(threading.enumerate())
    bell = Bell()
    yield bell
    bell.alarm.clear()
    for thread in set(threading.enumerate()) - before:
        thread.join(LONG)
        assert not thread.is_alive()


def test_it_rings_once_on_a_thread_when_its_time_has_come(bell: Bell) -> None:
    began = time.monotonic()
    bell.alarm.set(0.02)
    assert bell.heard.wait(LONG)
    ((where, when),) = bell.rung
    assert when - began >= 0.02
    assert where == "mirrorkit-alarm"


def test_the_earliest_time_counts(bell: Bell) -> None:
    bell.alarm.set(1_000)
    bell.alarm.set(0.001)
    bell.alarm.set(2_000)
    assert bell.heard.wait(LONG)
    assert len(bell.rung) == 1


def test_it_can_be_set_again_when_it_rings() -> None:
    count, done = 0, threading.Event()

    def ring() -> None:
        nonlocal count
        count += 1
        if count < 20:
            alarm.set(0.001)
        else:
            done.set()

    alarm = Alarm(ring)
    alarm.set(0.001)
    assert done.wait(LONG)
    assert count == 20


def test_a_running_loop_rings_by_itself(bell: Bell) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        bell.alarm.set(0.01, loop)
        while not bell.heard.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        bell.heard.clear()
        await asyncio.to_thread(bell.alarm.set, 0.01, loop)
        while not bell.heard.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    asyncio.run(main())
    assert [where for where, _ in bell.rung] == ["MainThread"] * 2


@pytest.mark.parametrize("closed", [True, False])
def test_where_the_loop_ends_first_a_thread_rings(bell: Bell, closed: bool) -> None:
    loop = asyncio.new_event_loop()

    async def main() -> None:
        bell.alarm.set(0.1, loop)

    loop.run_until_complete(main())
    if closed:
        loop.close()
    assert bell.heard.wait(LONG)
    loop.close()
    assert len(bell.rung) == 1


def test_a_loop_that_is_not_running_is_not_asked(bell: Bell) -> None:
    loop = asyncio.new_event_loop()
    bell.alarm.set(0.001, loop)
    assert bell.heard.wait(LONG)
    loop.close()


def test_cleared_it_does_not_ring_and_its_thread_ends() -> None:
    before, bell = set(threading.enumerate()), Bell()
    bell.alarm.set(1_000)
    (thread,) = set(threading.enumerate()) - before
    assert thread.daemon
    bell.alarm.clear()
    thread.join(LONG)
    assert not thread.is_alive()
    assert not bell.rung
    bell.alarm.set(0.001)
    assert bell.heard.wait(LONG)
