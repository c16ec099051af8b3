"""Where silent calls run: on the caller's event loop or on threads; bounded, held, drained, given up."""

import asyncio
import contextlib
import contextvars
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from functools import partial
from time import monotonic

from mirrorkit.capture.alarm import Alarm
from mirrorkit.capture.background import Background
from mirrorkit.capture.deadline import Deadline
from mirrorkit.capture.jobs import HasRoom, Held, Job
from mirrorkit.capture.lifetime import calling, hold_imports_at_exit
from mirrorkit.capture.line import Line
from mirrorkit.capture.loop_state import is_ending, running_loop
from mirrorkit.capture.pace import Pace
from mirrorkit.capture.threads import Threads
from mirrorkit.errors import LoopRunning

_TICK_S = 0.2
_GRACE_S = 2.0
"""Seconds that a call which is past its limit has to end by itself."""
_LONG_PAUSE_S = 30.0
_GIVEN_UP = "the session gave up this silent call"
_PAUSED = f"the provider asks for a pause of more than {_LONG_PAUSE_S:g} s, which no silent call waits for"
_STEPS = 3


class Dispatcher:
    """Runs at most `max_in_flight` jobs at once, and lets at most `max_waiting` wait.

    A job handed over on an event loop runs there as a task, held until it is done. If the loop ends first,
    as when `asyncio.run` returns, it is finished on a thread, like one that was handed over without a loop. A
    job that departs to another process is in flight until that one is done with it. One that takes longer
    than it may is given up, however it runs.

    At most `rate` jobs a second start, and none but where `room`, if given, has any. What was made on a loop
    is recorded in the `background`.
    """

    def __init__(
        self,
        max_in_flight: int,
        max_waiting: int,
        rate: float | None = None,
        room: HasRoom | None = None,
        background: Background | None = None,
    ) -> None:
        self._max_in_flight = max_in_flight
        self._max_waiting = max_waiting
        # reentrant: what ends makes room, and what takes the room is started at once
        self._lock = threading.RLock()
        self._held: set[Held] = set()
        self._waiting = Line[Held]()
        self._in_flight = 0
        self._filling = False
        self._pace = Pace(rate)
        self._room = room
        self._regardless: list[None] = []
        self._alarm = Alarm(self._fill)
        self._deadlines = Alarm(calling(weakref.WeakMethod(self._expire)))
        self._idle: list[Future[None]] = []
        self._ended: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()
        self._threads = Threads("mirrorkit")
        self._background = background or Background()
        self.ended_at = monotonic()
        """when a call last ended by itself, in seconds of the monotonic clock"""

    @property
    def under_way(self) -> int:
        """How many jobs wait or run."""
        return len(self._held)

    @property
    def oldest_at(self) -> float:
        """When the oldest job under way was taken, in monotonic seconds; 0 if there is none."""
        return min((held.at for held in tuple(self._held)), default=0.0)

    @contextlib.contextmanager
    def regardless_of_room(self) -> Iterator[None]:
        """Start jobs in this block whatever room there is: nobody waits for the primaries."""
        self._regardless.append(None)
        try:
            yield
        finally:
            self._regardless.pop()

    def admit(self, jobs: Sequence[Job], loop: asyncio.AbstractEventLoop | None) -> bool:
        """Take all of these jobs, to run on this loop or (None) on the pool, or none if there is no room."""
        with self._lock:
            if len(jobs) > self._max_in_flight + self._max_waiting - len(self._held):
                return False
            if loop is not None:
                # it speaks, so it lives, whatever was cut off on it before
                self._ended.discard(loop)
            for held in (new := [Held(job, loop) for job in jobs]):
                self._held.add(held)
                if not self.has_long_pause(held.job.group):
                    self._waiting.push(held.job.group, held)
        if late := [held for held in new if self.has_long_pause(held.job.group)]:
            self._background.do(partial(self._drop, late, _PAUSED))
        self._fill()
        return True

    def pause(self, group: str, seconds: float) -> None:
        """Let no job of this group start for so long: its provider asked for that time.

        Where that is more than 30 s, those that wait are dropped.
        """
        with self._lock:
            self._pace.pause(group, seconds)
            dropped = self._waiting.clear(group) if self.has_long_pause(group) else []
        self._drop(dropped, _PAUSED)

    def has_long_pause(self, group: str) -> bool:
        """Whether a group's provider has asked for more time than a job is to wait."""
        with self._lock:
            return self._pace.pause_s(group) > _LONG_PAUSE_S

    @property
    def paused(self) -> dict[str, float]:
        """The groups that are given time, and the seconds left of it."""
        with self._lock:
            return self._pace.paused

    def _fill(self) -> None:
        """Start what may start now."""
        with self._lock:
            if self._filling:
                # whoever fills sees what has changed before it stops
                return
            self._filling = True
        try:
            while (held := self._next()) is not None:
                self._start(held)
        except BaseException:  # an interrupt
            self._filling = False
            raise

    def _next(self) -> Held | None:
        """The job to start now; filling ends where there is none."""
        with self._lock:
            if not self._waiting or self._in_flight >= self._max_in_flight:
                self._filling = False
                return None
            wait_s = self._wait_s()
            held = None if wait_s else self._waiting.pop(lambda group: not self._pace.pause_s(group))
            if held is None:
                self._filling = False
                self._look_again(wait_s)
                return None
            held.started = True
            self._in_flight += 1
            self._pace.started()
            if self._room is not None:
                self._room.started()
            self._limit(held)
            return held

    def _limit(self, held: Held) -> None:
        seconds = held.job.limit_s + _GRACE_S
        held.deadline = monotonic() + seconds
        # at the end of the program there is another limit
        with contextlib.suppress(RuntimeError):
            self._deadlines.set(seconds)

    def _expire(self) -> None:
        """Give up the jobs that have taken longer than they may, and look again when the next one would."""
        now = monotonic()
        with self._lock:
            due = [held for held in self._held if held.deadline <= now]
            rest = min((held.deadline for held in self._held if held.deadline > now), default=None)
        for held in due:
            if held.task is None or held.moved:
                self._abandon(held, held.job.expire)
            elif not held.begun:
                self._rescue_one(held)
            # else its loop has a time-out for it, which counts only while the loop turns
        if rest is not None and rest < float("inf"):
            with contextlib.suppress(RuntimeError):
                self._deadlines.set(rest - now)

    def _abandon(self, held: Held, record: Callable[[], None]) -> None:
        """Let go of a job, however it runs: what it still does is not recorded any more."""
        with self._lock:
            if held not in self._held:
                return
            held.moved = True
            task = held.task
        if task is None:
            hold_imports_at_exit()
        elif not task.done():
            with contextlib.suppress(RuntimeError):  # its loop is closed
                task.get_loop().call_soon_threadsafe(task.cancel)
        record()
        self._done(held)

    def _look_again(self, wait_s: float) -> None:
        try:
            self._alarm.set(wait_s, self._waiting.first.loop)
        except RuntimeError:  # the interpreter is going down
            self.give_up()

    def _wait_s(self) -> float:
        """Seconds until a job that waits may start, or until it is time to ask again; 0 if one may now."""
        pause_s = min(self._pace.pause_s(group) for group in self._waiting.groups)
        wait_s = max(pause_s, self._pace.wait_s)
        return wait_s if wait_s or self._room is None or self._regardless else self._room.wait_s

    def _start(self, held: Held) -> None:
        # not under the lock: what takes the job away may have to wait, and what comes back needs the lock
        if held.job.depart(partial(self._ended_elsewhere, held)):
            held.moved = True
            return
        loop = held.loop
        if loop is None or loop in self._ended or loop.is_closed():
            self._to_thread(held)
            return
        if loop is running_loop():
            self._spawn(held, loop)
            return
        try:
            loop.call_soon_threadsafe(self._spawn, held, loop)
        except RuntimeError:  # closed in between
            self._to_thread(held)

    def _ended_elsewhere(self, held: Held) -> None:
        self.ended_at = monotonic()
        self._done(held)

    def _spawn(self, held: Held, loop: asyncio.AbstractEventLoop) -> None:
        if held.moved:
            return
        if loop in self._ended or is_ending(loop):
            # it is being shut down, and would never run the task to its end
            self._to_thread(held)
            return
        work = self._arun(held)
        try:
            # a context of its own: the caller's spans and variables belong to the primary; made this way,
            # as a task factory of the caller's may not know the argument
            held.task = contextvars.Context().run(loop.create_task, work)
        except Exception:  # or may raise: the call is not lost
            work.close()
            self._to_thread(held)
            return
        held.task.add_done_callback(lambda task: self._task_ended(held, task))

    def _to_thread(self, held: Held) -> None:
        with self._lock:
            if held.moved:
                return
            held.moved = True
            try:
                self._threads.run(partial(self._run, held))
                return
            except RuntimeError:  # the interpreter is going down
                pass
        held.job.drop(_GIVEN_UP)
        self._done(held)

    def _run(self, held: Held) -> None:
        if held not in self._held:
            return  # given up before its thread began
        # a job that breaks its promise ends no thread
        with contextlib.suppress(Exception):
            held.job.run()
        self.ended_at = monotonic()
        self._done(held)

    async def _arun(self, held: Held) -> None:
        # A loop that ends right after its last primary cuts off here, before anything was sent; one that has
        # cancelled its tasks just before this one came says so within as many steps.
        for _ in range(_STEPS):
            await asyncio.sleep(0)
        if is_ending(asyncio.get_running_loop()):
            self._to_thread(held)
            return
        held.begun = True
        await held.job.arun()
        held.made = True
        self.ended_at = monotonic()
        if not held.moved:
            # its turn is over, and the loop does not wait until it is written down
            self._release(held)
            self._background.do(partial(self._conclude, held))

    def _conclude(self, held: Held) -> None:
        held.job.record()
        self._done(held)

    def _release(self, held: Held) -> None:
        """Let another job start in this one's place."""
        with self._lock:
            self._in_flight -= held.started
            held.started, held.deadline = False, float("inf")
        self._fill()

    def _task_ended(self, held: Held, task: "asyncio.Task[None]") -> None:
        # A task that is cancelled before its first step runs no line of its own: only this hears of it.
        if held.moved:
            return
        if task.cancelled():
            self._ended.add(task.get_loop())
            self._to_thread(held)
        elif task.exception() is not None:
            # an interrupt can hit the task before the job, which then knows nothing of it
            self._done(held) if held.begun else self._to_thread(held)

    def _done(self, held: Held) -> None:
        with self._lock:
            if held not in self._held:
                return
            self._held.discard(held)
        self._release(held)
        with self._lock:
            idle = self._idle if not self._held else []
            self._idle = self._idle if self._held else []
        for waiter in idle:
            # one that is given up in this very moment must not keep the others from hearing
            with contextlib.suppress(InvalidStateError):
                waiter.set_result(None)

    def rescue_closed(self) -> None:
        """Move what a closed loop holds to threads."""
        self._rescue(standing=False)

    def _rescue(self, standing: bool = True) -> None:
        """Move what a dead or standing loop holds to threads: nothing there would ever finish it."""
        with self._lock:
            for held in tuple(self._held):
                loop = held.loop
                if loop is None or held.moved or (loop.is_running() and not loop.is_closed()):
                    continue
                if not standing and not loop.is_closed():
                    continue
                if held.made:
                    continue  # it is being recorded
                if not held.started:
                    held.loop = None
                    continue
                self._rescue_one(held)

    def _rescue_one(self, held: Held) -> None:
        task = held.task
        self._to_thread(held)
        if task is not None and not task.get_loop().is_closed():
            # should the loop run again, the task must not call a second time
            task.get_loop().call_soon_threadsafe(task.cancel)

    def _waiter(self) -> "Future[None]":
        waiter: Future[None] = Future()
        with self._lock:
            if self._held:
                self._idle.append(waiter)
            else:
                waiter.set_result(None)
        return waiter

    def blocks(self) -> bool:
        """Whether a blocking wait in this thread would wait for ever: its own running loop holds jobs."""
        here = running_loop()
        return here is not None and any(h.loop is here and not h.moved for h in tuple(self._held))

    def drain(self, timeout_s: float | None = None) -> bool:
        """Wait until no job is under way; False if time ran out first.

        Raises:
            LoopRunning: the jobs are on this thread's own running loop, which this wait would stop.
        """
        if self.blocks():
            raise LoopRunning(
                "mirrors are under way on this thread's event loop, which a blocking wait would stop: "
                "use `await session.adrain()` or `await session.aclose()`, or call "
                "`mirrorkit.notebook.allow_nested_loops()` first."
            )
        deadline = Deadline.after(timeout_s)
        # what is handed over in the background is among the jobs once that is done
        if not self._background.flush(deadline.left_s):
            return False
        waiter = self._waiter()
        while not waiter.done():
            self._rescue()
            try:
                waiter.result(timeout=deadline.within(_TICK_S))
            except TimeoutError:
                if deadline.is_over:
                    self._forget(waiter)
                    return False
        return self._background.flush(deadline.left_s)

    async def adrain(self, timeout_s: float | None = None) -> bool:
        """Wait until no job is under way, while the loop runs on; False if time ran out first."""
        deadline = Deadline.after(timeout_s)
        if not await self._background.aflush(deadline.left_s):
            return False
        waiter = self._waiter()
        awaited = asyncio.wrap_future(waiter)
        try:
            while not awaited.done():
                self._rescue()
                # the tick lets an interrupt through to a loop that has nothing else to do
                await asyncio.wait([awaited], timeout=deadline.within(_TICK_S))
                if not awaited.done() and deadline.is_over:
                    return False
            return await self._background.aflush(deadline.left_s)
        finally:
            self._forget(waiter)

    def _forget(self, waiter: "Future[None]") -> None:
        with self._lock:
            if waiter in self._idle:
                self._idle.remove(waiter)

    def give_up(self) -> int:
        """Drop the jobs that wait, and give how many they were; those in flight end by themselves."""
        with self._lock:
            dropped = self._waiting.clear()
            self._alarm.clear()
        self._drop(dropped, _GIVEN_UP)
        return len(dropped)

    def _drop(self, dropped: Sequence[Held], why: str) -> None:
        for held in dropped:
            held.job.drop(why)
            self._done(held)

    def cancel(self) -> None:
        """Drop the jobs that wait, and let go of those in flight, which are cancelled where they can be."""
        self.give_up()
        # one that is made is about to be recorded
        for held in [each for each in tuple(self._held) if not each.made]:
            self._abandon(held, partial(held.job.drop, _GIVEN_UP))

    def shut_down(self) -> None:
        """Let the threads end."""
        self._threads.close()
        self._background.close()
        with self._lock:
            self._deadlines.clear()
            if not self._waiting:
                self._alarm.clear()
