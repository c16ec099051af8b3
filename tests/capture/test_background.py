"""What no caller waits for is done in order, on one thread, and can be waited for."""

import asyncio
import gc
import threading

from mirrorkit.capture.background import Background

LONG = 30


def test_jobs_are_done_in_their_order_on_another_thread() -> None:
    background, seen = Background(), list[tuple[int, int]]()
    for n in range(50):
        background.do(lambda n=n: seen.append((n, threading.get_ident())))
    assert background.flush(LONG)
    assert [n for n, _ in seen] == list(range(50))
    assert {thread for _, thread in seen} & {threading.get_ident()} == set()


def test_flush_says_whether_time_was_enough() -> None:
    background, gate = Background(), threading.Event()
    background.do(lambda: gate.wait(LONG) and None)
    assert not background.flush(0.01)
    gate.set()
    assert background.flush(LONG)


def test_the_loop_runs_on_while_it_is_awaited() -> None:
    background, gate = Background(), threading.Event()

    async def main() -> list[bool]:
        background.do(lambda: gate.wait(LONG) and None)
        slow = await background.aflush(0.01)
        asyncio.get_running_loop().call_soon(gate.set)
        return [slow, await background.aflush(LONG), await background.aflush(LONG)]

    assert asyncio.run(main()) == [False, True, True]


def test_nothing_to_do_is_done_and_takes_no_thread() -> None:
    before = threading.active_count()
    assert Background().flush(0)
    assert threading.active_count() == before


def test_the_thread_ends_with_its_owner() -> None:
    background, threads = Background(), list[threading.Thread]()
    background.do(lambda: threads.append(threading.current_thread()))
    assert background.flush(LONG)
    del background
    gc.collect()
    threads[0].join(LONG)
    assert not threads[0].is_alive()
    assert threads[0].daemon
