"""Where silent calls run: on the caller's event loop or on one thread pool; bounded, held, drained."""

import asyncio
import contextlib
import contextvars
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from time import monotonic
from typing import Any, Protocol

from mirrorkit.capture.alarm import Alarm
from mirrorkit.capture.line import Line
from mirrorkit.capture.pace import Pace
from mirrorkit.errors import LoopRunning

_TICK_S = 0.2
_PATIENCE_AT_EXIT_S = 5.0
_STEPS = 3


class Job(Protocol):
    """One silent call, which can be made in any of these ways and records itself, once, when it ends."""

    @property
    def group(self) -> str:
        """The model group that is called."""

    def depart(self, done: Callable[[], None]) -> bool:
        """Start the call in another process, if it can; never raises.

        `done` is called once it ended, from any thread, if this gives True.
        """

    def run(self) -> None:
        """Make the call, blocking; never raises."""

    async def arun(self) -> None:
        """Make the call, awaiting; raises CancelledError if it is cut off, and has then recorded nothing."""

    def drop(self) -> None:
        """Record that the call was given up; called for what never ran to its end."""


class HasRoom(Protocol):
    """Judges whether a job may start now."""

    @property
    def wait_s(self) -> float:
        """0 where one may, else seconds until it is time to ask again."""

    def started(self) -> None:
        """One starts now."""


class _Held:
    """A job under way, where it is to run, and the task that runs it there."""

    __slots__ = ("begun", "job", "loop", "moved", "started", "task")

    def __init__(self, job: Job, loop: asyncio.AbstractEventLoop | None) -> None:
        self.job = job
        self.loop = loop
        self.task: asyncio.Task[None] | None = None
        self.started = False
        self.begun = False
        self.moved = False


class Dispatcher:
    """Runs at most `max_in_flight` jobs at once, and lets at most `max_waiting` wait.

    A job handed over on an event loop runs there as a task, held until it is done. If the loop ends first,
    as when `asyncio.run` returns, the job is finished on the pool, like a job that was handed over without
    a loop. A job that departs to another process is in flight until that one is done with it.

    At most `rate` jobs a second start, and none but where `room`, if given, has any.
    """

    def __init__(
        self, max_in_flight: int, max_waiting: int, rate: float | None = None, room: HasRoom | None = None
    ) -> None:
        self._max_in_flight = max_in_flight
        self._max_waiting = max_waiting
        # reentrant: what ends makes room, and what takes the room is started at once
        self._lock = threading.RLock()
        self._held: set[_Held] = set()
        self._waiting = Line[_Held]()
        self._in_flight = 0
        self._filling = False
        self._pace = Pace(rate)
        self._room = room
        self._alarm = Alarm(self._fill)
        self._idle: list[Future[None]] = []
        self._ended: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()
        self._pool: ThreadPoolExecutor | None = None

    @property
    def under_way(self) -> int:
        """How many jobs wait or run."""
        return len(self._held)

    def has_room(self, jobs: int) -> bool:
        """Whether this many jobs more could be taken now, or nothing is under way at all."""
        room = self._max_in_flight + self._max_waiting - len(self._held)
        return room >= jobs or not self._held

    def admit(self, jobs: Sequence[Job], loop: asyncio.AbstractEventLoop | None) -> bool:
        """Take all of these jobs, to run on this loop or (None) on the pool, or none if there is no room."""
        with self._lock:
            if len(jobs) > self._max_in_flight + self._max_waiting - len(self._held):
                return False
            if loop is not None:
                # it speaks, so it lives, whatever was cut off on it before
                self._ended.discard(loop)
            for job in jobs:
                held = _Held(job, loop)
                self._held.add(held)
                self._waiting.push(job.group, held)
        self._fill()
        return True

    def pause(self, group: str, seconds: float) -> None:
        """Let no job of this group start for so long: its provider asked for that time."""
        with self._lock:
            self._pace.pause(group, seconds)

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

    def _next(self) -> _Held | None:
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
            return held

    def _look_again(self, wait_s: float) -> None:
        try:
            self._alarm.set(wait_s, self._waiting.first.loop)
        except RuntimeError:  # the interpreter is going down
            self.give_up()

    def _wait_s(self) -> float:
        """Seconds until a job that waits may start, or until it is time to ask again; 0 if one may now."""
        pause_s = min(self._pace.pause_s(group) for group in self._waiting.groups)
        wait_s = max(pause_s, self._pace.wait_s)
        return wait_s if wait_s or self._room is None else self._room.wait_s

    def _start(self, held: _Held) -> None:
        # not under the lock: what takes the job away may have to wait, and what comes back needs the lock
        if held.job.depart(lambda: self._done(held)):
            held.moved = True
            return
        loop = held.loop
        if loop is None or loop in self._ended or loop.is_closed():
            self._to_pool(held)
            return
        if loop is _running_loop():
            self._spawn(held, loop)
            return
        try:
            loop.call_soon_threadsafe(self._spawn, held, loop)
        except RuntimeError:  # closed in between
            self._to_pool(held)

    def _spawn(self, held: _Held, loop: asyncio.AbstractEventLoop) -> None:
        if held.moved:
            return
        if loop in self._ended or _is_ending(loop):
            # it is being shut down, and would never run the task to its end
            self._to_pool(held)
            return
        work = self._arun(held)
        try:
            # a context of its own: the caller's spans and variables belong to the primary; made this way,
            # as a task factory of the caller's may not know the argument
            held.task = contextvars.Context().run(loop.create_task, work)
        except Exception:  # or may raise: the call is not lost
            work.close()
            self._to_pool(held)
            return
        held.task.add_done_callback(lambda task: self._task_ended(held, task))

    def _to_pool(self, held: _Held) -> None:
        with self._lock:
            if held.moved:
                return
            held.moved = True
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._max_in_flight, thread_name_prefix="mirrorkit")
            try:
                self._pool.submit(self._run, held)
                return
            except RuntimeError:  # the interpreter is going down
                pass
        held.job.drop()
        self._done(held)

    def _run(self, held: _Held) -> None:
        try:
            held.job.run()
        finally:
            self._done(held)

    async def _arun(self, held: _Held) -> None:
        # A loop that ends right after its last primary cuts off here, before anything was sent; one that has
        # cancelled its tasks just before this one came says so within as many steps.
        for _ in range(_STEPS):
            await asyncio.sleep(0)
        if _is_ending(asyncio.get_running_loop()):
            self._to_pool(held)
            return
        held.begun = True
        await held.job.arun()
        if not held.moved:
            self._done(held)

    def _task_ended(self, held: _Held, task: "asyncio.Task[None]") -> None:
        # A task that is cancelled before its first step runs no line of its own: only this hears of it.
        if task.cancelled():
            self._ended.add(task.get_loop())
            self._to_pool(held)
        elif task.exception() is not None and not held.moved:
            # an interrupt can hit the task before the job, which then knows nothing of it
            self._done(held) if held.begun else self._to_pool(held)

    def _done(self, held: _Held) -> None:
        with self._lock:
            if held not in self._held:
                return
            self._held.discard(held)
            if held.started:
                self._in_flight -= 1
        self._fill()
        with self._lock:
            idle = self._idle if not self._held else []
            self._idle = self._idle if self._held else []
        for waiter in idle:
            # one that is given up in this very moment must not keep the others from hearing
            with contextlib.suppress(InvalidStateError):
                waiter.set_result(None)

    def rescue_closed(self) -> None:
        """Move what a closed loop holds to the pool."""
        self._rescue(standing=False)

    def _rescue(self, standing: bool = True) -> None:
        """Move what a dead or standing loop holds to the pool: nothing there would ever finish it."""
        with self._lock:
            for held in tuple(self._held):
                loop = held.loop
                if loop is None or held.moved or (loop.is_running() and not loop.is_closed()):
                    continue
                if not standing and not loop.is_closed():
                    continue
                if not held.started:
                    held.loop = None
                    continue
                task = held.task
                self._to_pool(held)
                if task is not None and not loop.is_closed():
                    # should the loop run again, the task must not call a second time
                    loop.call_soon_threadsafe(task.cancel)

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
        here = _running_loop()
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
        waiter, deadline = self._waiter(), _deadline(timeout_s)
        while not waiter.done():
            self._rescue()
            try:
                waiter.result(timeout=_left(deadline))
            except TimeoutError:
                if monotonic() >= deadline:
                    self._forget(waiter)
                    return False
        return True

    async def adrain(self, timeout_s: float | None = None) -> bool:
        """Wait until no job is under way, while the loop runs on; False if time ran out first."""
        waiter, deadline = self._waiter(), _deadline(timeout_s)
        awaited = asyncio.wrap_future(waiter)
        try:
            while not awaited.done():
                self._rescue()
                # the tick lets an interrupt through to a loop that has nothing else to do
                await asyncio.wait([awaited], timeout=_left(deadline))
                if not awaited.done() and monotonic() >= deadline:
                    return False
            return True
        finally:
            self._forget(waiter)

    def _forget(self, waiter: "Future[None]") -> None:
        with self._lock:
            if waiter in self._idle:
                self._idle.remove(waiter)

    def give_up(self) -> None:
        """Drop the jobs that wait; those in flight end by themselves."""
        with self._lock:
            dropped = self._waiting.clear()
            self._alarm.clear()
        for held in dropped:
            held.job.drop()
            self._done(held)

    def shut_down(self) -> None:
        """Let the threads end."""
        with self._lock:
            pool, self._pool = self._pool, None
            if not self._waiting:
                self._alarm.clear()
        if pool is not None:
            pool.shutdown(wait=False)

    def finish_at_exit(self) -> None:
        """Finish what is under way when the interpreter ends; Ctrl-C gives up what still waits."""
        try:
            if not self.drain(_PATIENCE_AT_EXIT_S):
                sys.stderr.write(
                    f"mirrorkit: waiting for {self.under_way} silent calls; Ctrl-C gives them up.\n"
                )
                self.drain()
        except KeyboardInterrupt:
            self.give_up()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _is_ending(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether `asyncio.run` is shutting the running loop down: it has cancelled its tasks, once, for good.

    A loop that does not tell is found out by the calls that fail on it, see `SilentCall.arun`.
    """
    if getattr(loop, "_asyncgens_shutdown_called", False):
        return True
    here = asyncio.current_task(loop)
    if here is not None and not _is_cancelled(here):
        return False
    tasks = asyncio.all_tasks(loop)
    return bool(tasks) and all(map(_is_cancelled, tasks))


def _is_cancelled(task: "asyncio.Task[Any]") -> bool:
    # a task of the caller's own making may know no more than to be a future
    return isinstance(task, asyncio.Task) and task.cancelling() > 0


def _deadline(timeout_s: float | None) -> float:
    return float("inf") if timeout_s is None else monotonic() + timeout_s


def _left(deadline: float) -> float:
    return max(0.0, min(_TICK_S, deadline - monotonic()))
