"""Jobs are taken or refused exactly, run once, and waited for: on threads, on loops, and when a loop ends."""

import asyncio
import contextvars
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mirrorkit.capture.dispatch import Dispatcher
from mirrorkit.capture.lifetime import finish
from mirrorkit.capture.room import Room
from mirrorkit.errors import LoopRunning

LONG = 30


class Job:
    """Waits at its gate, by whichever way it is run, and notes how it ended."""

    def __init__(
        self,
        gate: threading.Event | None = None,
        watch: "Watch | None" = None,
        group: str = "next",
        limit_s: float = 600.0,
    ) -> None:
        self.limit_s = limit_s
        self.gate = gate
        self.watch = watch
        self.group = group
        self.started = threading.Event()
        self.ended = threading.Event()
        self.endings: list[str] = []
        self._lock = threading.Lock()

    def depart(self, done: Callable[[], None]) -> bool:
        return False

    def run(self) -> None:
        with self.watch or Watch():
            self.started.set()
            assert self.gate is None or self.gate.wait(LONG)
        self._end("thread")

    async def arun(self) -> None:
        with self.watch or Watch():
            self.started.set()
            while self.gate is not None and not self.gate.is_set():  # noqa: ASYNC110 (threads open it)
                await asyncio.sleep(0.001)
        self._end("loop")

    def record(self) -> None:
        pass

    def drop(self, why: str) -> None:
        self._end("dropped")

    def expire(self) -> None:
        self._end("expired")

    def _end(self, how: str) -> None:
        with self._lock:
            self.endings.append(how)
        self.ended.set()


class Watch:
    """Counts how many are inside at once, and the most there ever were."""

    def __init__(self) -> None:
        self.inside = self.most = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            self.inside -= 1


class Broken(Job):
    """Breaks the promise that a job never raises."""

    def run(self) -> None:
        self._end("raised")
        raise RuntimeError("a job that breaks its promise")

    async def arun(self) -> None:
        self.run()


class LoopThread:
    """An event loop that runs in a thread of its own, and can be stopped, and go on, without being closed."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.go()

    def go(self) -> None:
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()

    def do(self, what: Callable[[], Any]) -> Any:
        async def call() -> Any:
            return what()

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(LONG)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(LONG)

    def close(self) -> None:
        if self.thread.is_alive():
            self.stop()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
            self.loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        self.loop.close()


@pytest.fixture
def dispatcher() -> Iterator[Callable[..., Dispatcher]]:
    made: list[Dispatcher] = []
    before = set(threading.enumerate())

    def make(max_in_flight: int, max_waiting: int, **options: Any) -> Dispatcher:
        made.append(Dispatcher(max_in_flight, max_waiting, **options))
        return made[-1]

    yield make
    for one in made:
        assert one.drain(LONG)
        one.shut_down()
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("mirrorkit"):
            thread.join(LONG)
            assert not thread.is_alive()


@pytest.fixture
def elsewhere() -> Iterator[LoopThread]:
    loop = LoopThread()
    yield loop
    loop.close()


class TestAdmission:
    def test_takes_exactly_what_fits_whoever_asks_at_once(self, dispatcher: Any, together: Any) -> None:
        gate, watch, d = threading.Event(), Watch(), dispatcher(3, 7)
        jobs = [Job(gate, watch) for _ in range(64)]
        taken: list[Job] = []

        def ask(mine: list[Job]) -> None:
            taken.extend(job for job in mine if d.admit([job], None))

        together(*(lambda mine=jobs[n::8]: ask(mine) for n in range(8)))
        assert len(taken) == 10
        assert d.under_way == 10
        gate.set()
        assert d.drain(LONG)
        assert watch.most == 3
        assert [job.endings for job in taken] == [["thread"]] * 10
        assert all(not job.endings for job in jobs if job not in taken)

    def test_several_jobs_are_taken_all_or_none(self, dispatcher: Any) -> None:
        gate, d = threading.Event(), dispatcher(2, 1)
        assert d.admit([Job(gate), Job(gate)], None)
        refused = [Job(gate), Job(gate)]
        assert not d.admit(refused, None)
        assert d.under_way == 2
        assert d.admit([Job(gate)], None)
        assert not d.admit([Job(gate)], None)
        gate.set()
        assert d.drain(LONG)
        assert [job.endings for job in refused] == [[], []]

    @pytest.mark.parametrize("on_loop", [True, False])
    def test_those_that_wait_run_in_their_turn(
        self, dispatcher: Any, elsewhere: LoopThread, on_loop: bool
    ) -> None:
        gate, watch, d = threading.Event(), Watch(), dispatcher(2, 50)
        jobs = [Job(gate, watch) for _ in range(20)]
        loop = elsewhere.loop if on_loop else None
        assert d.admit(jobs, loop)
        assert jobs[0].started.wait(LONG)
        assert jobs[1].started.wait(LONG)
        assert sum(job.started.is_set() for job in jobs) == 2
        gate.set()
        assert d.drain(LONG)
        assert watch.most == 2
        assert [job.endings for job in jobs] == [["loop" if on_loop else "thread"]] * 20


class TestPace:
    @pytest.mark.parametrize("on_loop", [True, False])
    def test_jobs_start_at_most_at_the_rate(
        self, dispatcher: Any, elsewhere: LoopThread, on_loop: bool
    ) -> None:
        d, jobs = dispatcher(16, 50, rate=200.0), [Job() for _ in range(11)]
        began = time.monotonic()
        assert d.admit(jobs[:6], elsewhere.loop if on_loop else None)
        assert d.admit(jobs[6:], None)
        assert d.drain(LONG)
        assert time.monotonic() - began >= 10 / 200
        assert [len(job.endings) for job in jobs] == [1] * 11

    def test_those_that_the_rate_holds_back_wait_and_past_max_waiting_are_refused(
        self, dispatcher: Any
    ) -> None:
        d, jobs = dispatcher(4, 2, rate=1e-6), [Job() for _ in range(6)]
        assert d.admit(jobs[:1], None)
        assert jobs[0].ended.wait(LONG)
        assert d.drain(LONG)
        # four that could be in flight and two that could wait, all of them waiting
        assert d.admit(jobs, None)
        assert not d.admit([Job()], None)
        assert d.drain(0.01) is False
        d.give_up()
        assert d.under_way == 0

    def test_only_the_group_that_was_refused_is_given_time(self, dispatcher: Any) -> None:
        d = dispatcher(4, 10)
        d.pause("next", 20)
        held, free = [Job(), Job()], [Job(group="other"), Job(group="other")]
        assert d.admit([held[0], free[0], held[1], free[1]], None)
        for job in free:
            assert job.ended.wait(LONG)
        assert d.drain(0.01) is False
        assert not any(job.started.is_set() for job in held)
        assert d.paused.keys() == {"next"}
        assert 0 < d.paused["next"] <= 20
        d.give_up()
        assert d.drain(LONG)
        assert [job.endings for job in held] == [["dropped"]] * 2

    def test_a_group_goes_on_when_its_time_is_over(self, dispatcher: Any, elsewhere: LoopThread) -> None:
        d, jobs = dispatcher(4, 10), [Job(), Job()]
        began = time.monotonic()
        d.pause("next", 0.03)
        assert d.admit(jobs[:1], None)
        elsewhere.do(lambda: d.admit(jobs[1:], elsewhere.loop))
        assert d.drain(LONG)
        assert time.monotonic() - began >= 0.03
        assert [job.endings for job in jobs] == [["thread"], ["loop"]]
        assert d.paused == {}

    def test_what_waits_for_its_time_is_waited_for_when_its_loop_has_ended(self, dispatcher: Any) -> None:
        d, jobs = dispatcher(1, 10, rate=100.0), [Job() for _ in range(4)]

        async def main() -> None:
            assert d.admit(jobs, asyncio.get_running_loop())

        asyncio.run(main())
        # nobody waits for them: they end by themselves
        for job in jobs:
            assert job.ended.wait(LONG)
        assert d.drain(LONG)
        assert [len(job.endings) for job in jobs] == [1] * 4

    def test_no_thread_is_left_of_what_waited_for_its_time(self) -> None:
        before, d = set(threading.enumerate()), Dispatcher(4, 4, rate=1e-6)
        job = Job()
        assert d.admit([job, Job()], None)
        assert job.ended.wait(LONG)
        mine = set(threading.enumerate()) - before
        assert any(thread.name == "mirrorkit-alarm" for thread in mine)
        assert all(thread.daemon for thread in mine if thread.name == "mirrorkit-alarm")
        d.give_up()
        assert d.drain(LONG)
        d.shut_down()
        for thread in mine:
            thread.join(LONG)
        assert not any(thread.is_alive() for thread in mine)

    def test_at_exit_what_waits_for_its_time_is_finished(self) -> None:
        script = """
import threading
from mirrorkit.capture.dispatch import Dispatcher
from mirrorkit.capture.lifetime import finish

class Job:
    group, limit_s = "next", 60.0
    def depart(self, done): return False
    def run(self): print("ran")
    async def arun(self): print("ran")
    def record(self): pass
    def drop(self, why): print("dropped")

dispatcher = Dispatcher(4, 100, rate=100.0)
threading._register_atexit(finish, dispatcher, 15.0)
dispatcher.admit([Job() for _ in range(10)], None)
"""
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
        assert done.stdout.split() == ["ran"] * 10, done.stderr[-500:]


class TestRoom:
    @pytest.mark.parametrize("on_loop", [True, False])
    def test_jobs_wait_while_primaries_need_the_process_and_start_when_they_do_not(
        self, dispatcher: Any, elsewhere: LoopThread, on_loop: bool
    ) -> None:
        # this process has been busy on a hundred cores since the room was made
        room = Room(cpu_clock=lambda: 100 * time.monotonic())
        d, jobs = dispatcher(2, 10, room=room), [Job() for _ in range(5)]
        with room.primary():
            assert d.admit(jobs, elsewhere.loop if on_loop else None)
            assert d.drain(0.05) is False
            assert not any(job.started.is_set() for job in jobs)
        d.give_up()
        assert d.drain(LONG)

    @pytest.mark.parametrize("on_loop", [True, False])
    def test_nobody_need_ask_for_them_to_start_when_there_is_room(
        self, dispatcher: Any, elsewhere: LoopThread, on_loop: bool
    ) -> None:
        room = Room(cpu_clock=lambda: 0.0)
        d, jobs = dispatcher(2, 10, room=room), [Job() for _ in range(5)]
        with room.primary():
            assert d.admit(jobs, elsewhere.loop if on_loop else None)
            for job in jobs:
                assert job.ended.wait(LONG)
        assert d.drain(LONG)
        assert [job.endings for job in jobs] == [["loop" if on_loop else "thread"]] * 5

    def test_what_a_loop_that_ended_was_to_start_is_started_all_the_same(self, dispatcher: Any) -> None:
        d, jobs = dispatcher(2, 10, room=Room(cpu_clock=lambda: 0.0)), [Job() for _ in range(5)]

        async def main() -> None:
            assert d.admit(jobs, asyncio.get_running_loop())

        asyncio.run(main())
        for job in jobs:
            assert job.ended.wait(LONG)
        assert d.drain(LONG)
        assert [len(job.endings) for job in jobs] == [1] * 5


class Away(Job):
    """Goes to another process, and comes back when it is told to."""

    def depart(self, done: Callable[[], None]) -> bool:
        self.done = done
        self.started.set()
        return True

    def back(self) -> None:
        self._end("away")
        self.done()


class BackAtOnce(Away):
    def depart(self, done: Callable[[], None]) -> bool:
        super().depart(done)
        self.back()
        return True


class TestDeparture:
    def test_a_job_that_is_away_is_in_flight_until_it_is_back(self, dispatcher: Any, together: Any) -> None:
        d, jobs = dispatcher(2, 10), [Away() for _ in range(5)]
        assert d.admit(jobs, None)
        assert [job.started.is_set() for job in jobs] == [True, True, False, False, False]
        assert d.drain(0.01) is False
        assert d.under_way == 5
        together(jobs[0].back, jobs[1].back)
        assert [job.started.is_set() for job in jobs] == [True, True, True, True, False]
        jobs[2].back()
        jobs[2].done()
        assert d.under_way == 2
        together(jobs[3].back, jobs[4].back)
        assert d.drain(LONG)
        assert [job.endings for job in jobs] == [["away"]] * 5

    def test_a_job_that_is_away_or_is_to_go_blocks_no_wait_on_the_loop_it_came_from(
        self, dispatcher: Any
    ) -> None:
        d, jobs = dispatcher(1, 10), [Away(), Away()]

        async def main() -> None:
            assert d.admit(jobs, None)
            assert not d.blocks()
            assert d.drain(0.3) is False

        asyncio.run(main())
        assert not d.blocks()
        d.rescue_closed()
        assert [job.started.is_set() for job in jobs] == [True, False]
        jobs[0].back()
        jobs[1].back()
        assert d.drain(LONG)
        assert [job.endings for job in jobs] == [["away"]] * 2

    def test_those_that_wait_to_depart_are_dropped_when_given_up(self, dispatcher: Any) -> None:
        d, jobs = dispatcher(1, 10), [Away(), Away(), Away()]
        assert d.admit(jobs, None)
        d.give_up()
        assert [job.endings for job in jobs] == [[], ["dropped"], ["dropped"]]
        jobs[0].back()
        assert d.drain(LONG)

    def test_jobs_that_are_back_at_once_follow_each_other(self, dispatcher: Any) -> None:
        d, jobs = dispatcher(2, 5_000), [BackAtOnce() for _ in range(5_000)]
        assert d.admit(jobs, None)
        assert d.drain(LONG)
        assert [job.endings for job in jobs] == [["away"]] * 5_000

    def test_one_that_cannot_depart_runs_here(self, dispatcher: Any) -> None:
        d, away, here = dispatcher(2, 2), Away(), Job()
        assert d.admit([away, here], None)
        assert here.ended.wait(LONG)
        away.back()
        assert d.drain(LONG)
        assert (away.endings, here.endings) == (["away"], ["thread"])


class TestLoops:
    def test_a_job_runs_on_the_loop_it_came_from_without_its_callers_context(self, dispatcher: Any) -> None:
        span, d, seen = contextvars.ContextVar("span", default="none"), dispatcher(2, 2), []

        class Looks(Job):
            async def arun(self) -> None:
                seen.append((asyncio.get_running_loop(), span.get()))
                self._end("loop")

        async def main() -> asyncio.AbstractEventLoop:
            span.set("the primary's")
            assert d.admit([Looks()], asyncio.get_running_loop())
            assert await d.adrain(LONG)
            return asyncio.get_running_loop()

        loop = asyncio.run(main())
        assert seen == [(loop, "none")]

    def test_a_task_factory_of_the_callers_that_knows_no_context_makes_the_tasks(
        self, dispatcher: Any
    ) -> None:
        d, job = dispatcher(2, 2), Job()

        async def go() -> None:
            loop = asyncio.get_running_loop()
            loop.set_task_factory(lambda loop, coro: asyncio.Task(coro, loop=loop))
            assert d.admit([job], loop)
            assert await d.adrain(LONG)

        asyncio.run(go())
        assert job.endings == ["loop"]

    def test_a_task_factory_that_raises_loses_no_job(self, dispatcher: Any) -> None:
        d, job = dispatcher(2, 2), Job()

        def refuse(*_: Any, **__: Any) -> Any:
            raise TypeError("no tasks today")

        async def go() -> None:
            loop = asyncio.get_running_loop()
            loop.set_task_factory(refuse)
            assert d.admit([job], loop)
            loop.set_task_factory(None)
            assert await d.adrain(LONG)

        asyncio.run(go())
        assert job.endings == ["thread"]

    @pytest.mark.parametrize("in_flight", [1, 2, 8])
    def test_what_a_closing_loop_cuts_off_is_finished_on_the_pool_once(
        self, dispatcher: Any, in_flight: int
    ) -> None:
        gate, d = threading.Event(), dispatcher(in_flight, 50)
        jobs = [Job(gate) for _ in range(6)]

        async def main() -> None:
            assert d.admit(jobs, asyncio.get_running_loop())

        asyncio.run(main())
        gate.set()
        # nobody waits for them: they end by themselves
        for job in jobs:
            assert job.ended.wait(LONG)
        assert d.drain(LONG)
        assert [job.endings for job in jobs] == [["thread"]] * 6

    def test_a_task_cancelled_before_its_first_step_is_finished_on_the_pool_unasked(
        self, dispatcher: Any
    ) -> None:
        d = dispatcher(1, 5)
        job = Job()

        async def main() -> None:
            d.admit([job], asyncio.get_running_loop())
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

        asyncio.run(main())
        # nobody drains: the place it took must be free again all the same
        assert job.ended.wait(LONG)
        assert job.endings == ["thread"]

    def test_many_short_lived_loops_do_not_use_up_the_room(self, dispatcher: Any) -> None:
        d = dispatcher(2, 2)

        async def main(job: Job) -> bool:
            return d.admit([job], asyncio.get_running_loop())

        for _ in range(20):
            job = Job()
            assert asyncio.run(main(job))
            assert job.ended.wait(LONG)
            assert job.endings == ["thread"]
            assert d.drain(LONG)

    def test_a_task_that_is_cancelled_on_a_living_loop_is_finished_on_the_pool_once(
        self, dispatcher: Any
    ) -> None:
        gate, d = threading.Event(), dispatcher(4, 4)
        jobs = [Job(gate) for _ in range(3)]

        async def main() -> None:
            d.admit(jobs, asyncio.get_running_loop())
            while not all(job.started.is_set() for job in jobs):  # noqa: ASYNC110
                await asyncio.sleep(0)
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await asyncio.sleep(0)
            gate.set()
            assert await d.adrain(LONG)
            after = Job()
            assert d.admit([after], asyncio.get_running_loop())
            assert await d.adrain(LONG)
            assert after.endings == ["loop"]

        asyncio.run(main())
        assert [job.endings for job in jobs] == [["thread"]] * 3

    def test_a_turn_that_comes_as_the_loop_is_shut_down_is_taken_on_the_pool(self, dispatcher: Any) -> None:
        gate, ending, d = threading.Event(), threading.Event(), dispatcher(1, 5)
        first, later = Job(gate), Job()
        assert d.admit([first], None)

        async def linger() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ending.set()

        def make_way() -> bool:
            assert ending.wait(LONG)
            gate.set()
            return later.ended.wait(LONG)

        async def main() -> Any:
            loop = asyncio.get_running_loop()
            assert d.admit([later], loop)
            tasks = [loop.create_task(linger()), loop.run_in_executor(None, make_way)]
            await asyncio.sleep(0)
            return tasks

        # it cancels its tasks, and then waits for its threads, while a task that came meanwhile would begin
        asyncio.run(main())
        assert d.drain(LONG)
        assert later.endings == ["thread"]

    def test_a_turn_that_comes_as_the_loops_tasks_are_cancelled_is_taken_on_the_pool(
        self, dispatcher: Any
    ) -> None:
        gate, d = threading.Event(), dispatcher(1, 5)
        first, later = Job(gate), Job(threading.Event())
        assert d.admit([first], None)

        async def linger() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                # all that was is cancelled by now, and this is waited for
                gate.set()
                while not later.started.is_set():  # noqa: ASYNC110 (a thread starts it)
                    await asyncio.sleep(0.001)
                later.gate.set()

        async def main() -> Any:
            task = asyncio.create_task(linger())
            assert d.admit([later], asyncio.get_running_loop())
            await asyncio.sleep(0)
            return task

        asyncio.run(main())
        assert d.drain(LONG)
        assert later.endings == ["thread"]

    def test_a_loop_that_is_closed_already_hands_its_jobs_to_the_pool(self, dispatcher: Any) -> None:
        d, loop, job = dispatcher(1, 1), asyncio.new_event_loop(), Job()
        loop.close()
        assert d.admit([job], loop)
        assert d.drain(LONG)
        assert job.endings == ["thread"]

    def test_drain_rescues_what_a_standing_loop_holds_and_the_loop_does_not_run_it_again(
        self, dispatcher: Any, elsewhere: LoopThread
    ) -> None:
        gate, d = threading.Event(), dispatcher(2, 10)
        jobs = [Job(gate) for _ in range(4)]
        elsewhere.do(lambda: d.admit(jobs, elsewhere.loop))
        assert jobs[0].started.wait(LONG)
        assert jobs[1].started.wait(LONG)
        elsewhere.stop()
        gate.set()
        assert d.drain(LONG)
        elsewhere.go()
        later = Job()
        elsewhere.do(lambda: d.admit([later], elsewhere.loop))
        assert d.drain(LONG)
        elsewhere.stop()
        assert [job.endings for job in jobs] == [["thread"]] * 4
        assert later.endings == ["loop"]

    def test_a_job_whose_loop_stops_before_it_begins_is_rescued(self, dispatcher: Any) -> None:
        d, loop, job = dispatcher(1, 1), asyncio.new_event_loop(), Job()
        assert d.admit([job], loop)
        assert d.drain(LONG)
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        assert job.endings == ["thread"]

    def test_a_standing_loop_that_goes_on_finishes_its_own_jobs(self, dispatcher: Any) -> None:
        gate, d, job = threading.Event(), dispatcher(1, 1), Job()
        job.gate = gate
        loop = asyncio.new_event_loop()

        async def admit() -> None:
            d.admit([job], loop)

        loop.run_until_complete(admit())
        gate.set()
        loop.run_until_complete(d.adrain(LONG))
        loop.close()
        assert job.endings == ["loop"]


class TestWaiting:
    def test_drain_says_false_when_time_runs_out_and_true_when_all_is_done(self, dispatcher: Any) -> None:
        gate, d = threading.Event(), dispatcher(1, 1)
        assert d.drain(0)
        d.admit([Job(gate)], None)
        assert d.drain(0) is False
        assert d.drain(0.01) is False
        gate.set()
        assert d.drain(LONG) is True

    def test_adrain_says_false_when_time_runs_out_and_lets_the_loop_run_on(self, dispatcher: Any) -> None:
        gate, d = threading.Event(), dispatcher(2, 2)
        jobs = [Job(gate), Job(gate)]

        async def main() -> None:
            assert await d.adrain(0)
            d.admit(jobs[:1], asyncio.get_running_loop())
            d.admit(jobs[1:], None)
            assert await d.adrain(0) is False
            assert await d.adrain(0.01) is False
            gate.set()
            assert await d.adrain(LONG) is True

        asyncio.run(main())
        assert sorted(job.endings[0] for job in jobs) == ["loop", "thread"]

    def test_several_may_wait_and_all_are_told(
        self, dispatcher: Any, elsewhere: LoopThread, together: Any
    ) -> None:
        gate, d, heard = threading.Event(), dispatcher(2, 2), []
        d.admit([Job(gate)], None)
        d.admit([Job(gate)], elsewhere.loop)

        def blocking() -> None:
            heard.append(d.drain(LONG))

        def awaiting() -> None:
            heard.append(asyncio.run(d.adrain(LONG)))

        together(blocking, blocking, awaiting, awaiting, gate.set)
        assert heard == [True] * 4

    def test_a_blocking_wait_is_refused_only_where_its_own_loop_holds_jobs(
        self, dispatcher: Any, elsewhere: LoopThread
    ) -> None:
        gate, d = threading.Event(), dispatcher(4, 4)

        async def main() -> None:
            assert not d.blocks()
            d.admit([Job(gate)], None)
            d.admit([Job(gate)], elsewhere.loop)
            assert not d.blocks()
            assert d.drain(0.01) is False
            d.admit([Job(gate)], asyncio.get_running_loop())
            assert d.blocks()
            with pytest.raises(LoopRunning, match="adrain"):
                d.drain(0.01)
            assert not await asyncio.to_thread(d.blocks)
            gate.set()
            assert await d.adrain(LONG)
            assert not d.blocks()
            assert d.drain(0)

        asyncio.run(main())
        assert not d.blocks()

    def test_a_cancelled_wait_leaves_the_jobs_and_other_waits_alone(self, dispatcher: Any) -> None:
        gate, d, job = threading.Event(), dispatcher(1, 1), Job()
        job.gate = gate

        async def main() -> None:
            d.admit([job], asyncio.get_running_loop())
            waits = [asyncio.create_task(d.adrain(LONG)) for _ in range(2)]
            await asyncio.sleep(0)
            waits[0].cancel()
            await asyncio.gather(waits[0], return_exceptions=True)
            gate.set()
            assert await waits[1] is True

        asyncio.run(main())
        assert job.endings == ["loop"]


class TestEnding:
    @pytest.mark.parametrize("on_loop", [True, False])
    def test_give_up_drops_what_waits_and_lets_the_rest_end(
        self, dispatcher: Any, elsewhere: LoopThread, on_loop: bool
    ) -> None:
        gate, d = threading.Event(), dispatcher(2, 10)
        jobs = [Job(gate) for _ in range(7)]
        d.admit(jobs, elsewhere.loop if on_loop else None)
        assert jobs[0].started.wait(LONG)
        assert jobs[1].started.wait(LONG)
        d.give_up()
        assert d.under_way == 2
        d.give_up()
        gate.set()
        assert d.drain(LONG)
        assert [job.endings for job in jobs[2:]] == [["dropped"]] * 5
        assert [job.endings for job in jobs[:2]] == [["loop" if on_loop else "thread"]] * 2

    def test_no_task_is_left_of_what_was_given_up_on_a_living_loop(
        self, dispatcher: Any, elsewhere: LoopThread
    ) -> None:
        gate, d = threading.Event(), dispatcher(1, 5)
        jobs = [Job(gate), Job(gate), Job(gate)]
        elsewhere.do(lambda: d.admit(jobs, elsewhere.loop))
        d.give_up()
        gate.set()
        assert d.drain(LONG)

        async def rest() -> int:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            return len((await asyncio.wait(others, timeout=LONG))[1]) if others else 0

        assert asyncio.run_coroutine_threadsafe(rest(), elsewhere.loop).result(2 * LONG) == 0
        assert [job.endings for job in jobs] == [["loop"], ["dropped"], ["dropped"]]

    @pytest.mark.parametrize("on_loop", [True, False])
    def test_a_job_that_raises_loses_no_other(
        self, dispatcher: Any, elsewhere: LoopThread, on_loop: bool
    ) -> None:
        d = dispatcher(1, 50)
        elsewhere.loop.set_exception_handler(lambda *_: None)
        jobs = [Broken() if n % 2 else Job() for n in range(10)]
        assert d.admit(jobs, elsewhere.loop if on_loop else None)
        assert d.drain(LONG)
        assert [len(job.endings) for job in jobs] == [1] * 10

    def test_no_thread_is_left_after_shut_down(self) -> None:
        before, d = set(threading.enumerate()), Dispatcher(4, 4)
        gate, barrier_jobs = threading.Event(), [Job() for _ in range(4)]
        for job in barrier_jobs:
            job.gate = gate
        d.admit(barrier_jobs, None)
        for job in barrier_jobs:
            assert job.started.wait(LONG)
        mine = set(threading.enumerate()) - before
        # one of them watches how long the others take
        assert len(mine) == 5
        gate.set()
        assert d.drain(LONG)
        d.shut_down()
        d.shut_down()
        for thread in mine:
            thread.join(LONG)
        assert not any(thread.is_alive() for thread in mine)

    def test_no_thread_is_started_before_it_is_needed(self) -> None:
        before, d = set(threading.enumerate()), Dispatcher(4, 4)
        assert d.drain(0)
        d.shut_down()
        assert set(threading.enumerate()) <= before

    def test_at_exit_what_waits_is_finished_or_given_up_by_an_interrupt(self, dispatcher: Any) -> None:
        d = dispatcher(1, 5)
        jobs = [Job() for _ in range(3)]
        d.admit(jobs, None)
        finish(d, 15.0)
        assert [job.endings for job in jobs] == [["thread"]] * 3

    @pytest.mark.parametrize("on_loop", [True, False])
    def test_cancel_lets_go_of_what_waits_and_of_what_runs(
        self, dispatcher: Any, elsewhere: LoopThread, on_loop: bool
    ) -> None:
        gate, d = threading.Event(), dispatcher(2, 10)
        jobs = [Job(gate) for _ in range(4)]
        d.admit(jobs, elsewhere.loop if on_loop else None)
        assert jobs[0].started.wait(LONG)
        assert jobs[1].started.wait(LONG)
        d.cancel()
        assert d.under_way == 0
        assert [job.endings for job in jobs] == [["dropped"]] * 4
        gate.set()

    def test_a_job_that_takes_longer_than_it_may_is_given_up_and_makes_room(
        self, dispatcher: Any, monkeypatch: Any
    ) -> None:
        monkeypatch.setattr("mirrorkit.capture.dispatch._GRACE_S", 0.0)
        gate, d = threading.Event(), dispatcher(1, 10)
        slow, quick = Job(gate, limit_s=0.05), Job()
        d.admit([slow, quick], None)
        assert quick.ended.wait(LONG)
        assert d.drain(LONG)
        assert slow.endings == ["expired"]
        gate.set()

    def test_at_exit_what_does_not_end_in_time_is_dropped(self, dispatcher: Any) -> None:
        gate, d = threading.Event(), dispatcher(1, 5)
        jobs = [Job(gate), Job(gate)]
        d.admit(jobs, None)
        assert jobs[0].started.wait(LONG)
        assert not finish(d, 0.01)
        assert [job.endings for job in jobs] == [["dropped"]] * 2
        gate.set()

    def test_a_long_pause_drops_what_waits_for_that_group_alone(self, dispatcher: Any) -> None:
        gate, d = threading.Event(), dispatcher(1, 10)
        jobs = [Job(gate), Job(gate, group="next"), Job(gate, group="other")]
        d.admit(jobs, None)
        assert jobs[0].started.wait(LONG)
        d.pause("next", 20)
        assert (d.has_long_pause("next"), jobs[1].endings) == (False, [])
        d.pause("next", 3_600)
        late = Job(gate)
        assert d.admit([late], None)
        assert late.ended.wait(LONG)
        assert late.endings == ["dropped"]
        assert (d.has_long_pause("next"), d.has_long_pause("other")) == (True, False)
        assert jobs[1].endings == ["dropped"]
        gate.set()
        assert d.drain(LONG)
        assert jobs[2].endings == ["thread"]

    @pytest.mark.parametrize("n", [50, 1_000])
    def test_jobs_handed_over_when_the_interpreter_is_going_down_are_dropped_not_lost(self, n: int) -> None:
        script = f"""
import atexit
from mirrorkit.capture.dispatch import Dispatcher

class Job:
    endings, group, limit_s = 0, "next", 60.0
    def depart(self, done): return False
    def run(self): print("ran")
    async def arun(self): print("ran")
    def record(self): pass
    def drop(self, why): Job.endings += 1

def late():
    dispatcher = Dispatcher(4, 1_000)
    dispatcher.admit([Job() for _ in range({n})], None)
    print(Job.endings, dispatcher.under_way)

atexit.register(late)
"""
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
        assert done.stdout.split() == [str(n), "0"], done.stderr[-500:]


class TestStress:
    @pytest.mark.parametrize(
        ("options", "seed"),
        [
            *(({}, seed) for seed in range(3)),
            ({"rate": 5_000.0}, 3),
            ({"room": Room()}, 4),
            *(pytest.param({"rate": 5_000.0}, seed, marks=pytest.mark.slow) for seed in (5, 6)),
            *(pytest.param({"room": Room()}, seed, marks=pytest.mark.slow) for seed in (7, 8)),
        ],
    )
    def test_threads_and_loops_that_come_and_go_lose_and_double_nothing(
        self, dispatcher: Any, options: Any, seed: int, together: Any
    ) -> None:
        d, watch = dispatcher(5, 100_000, **options), Watch()
        taken: list[Job] = []

        def from_a_thread(rng: random.Random) -> None:
            for _ in range(40):
                jobs = [Job(None, watch) for _ in range(rng.randint(1, 3))]
                assert d.admit(jobs, None)
                taken.extend(jobs)

        def from_loops_that_end(rng: random.Random) -> None:
            async def main() -> None:
                for _ in range(rng.randint(1, 8)):
                    jobs = [Job(None, watch) for _ in range(rng.randint(1, 3))]
                    assert d.admit(jobs, asyncio.get_running_loop())
                    taken.extend(jobs)
                    await asyncio.sleep(0)

            for _ in range(10):
                asyncio.run(main())

        def from_a_loop_that_stays(rng: random.Random) -> None:
            async def main() -> None:
                for _ in range(30):
                    jobs = [Job(None, watch) for _ in range(rng.randint(1, 3))]
                    assert d.admit(jobs, asyncio.get_running_loop())
                    taken.extend(jobs)
                    if rng.random() < 0.3:
                        await d.adrain(0.001)
                assert await d.adrain(LONG)

            asyncio.run(main())

        def waits(rng: random.Random) -> None:
            for _ in range(30):
                d.drain(rng.random() / 1_000)

        kinds = [from_a_thread, from_loops_that_end, from_a_loop_that_stays, waits] * 2
        together(*(lambda w=w, n=n: w(random.Random(100 * seed + n)) for n, w in enumerate(kinds)))
        assert d.drain(LONG)
        assert d.under_way == 0
        assert watch.inside == 0
        assert watch.most <= 5
        endings = [job.endings for job in taken]
        assert all(len(how) == 1 for how in endings), [how for how in endings if len(how) != 1]
        assert {how for (how,) in endings} >= {"thread", "loop"}
