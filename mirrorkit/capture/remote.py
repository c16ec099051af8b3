"""The child process as its parent sees it: started, fed, heard, and started anew when it dies."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from time import monotonic
from typing import IO, Any

from mirrorkit.capture import frames
from mirrorkit.capture.scrub import is_secret_variable
from mirrorkit.errors import ConfigError
from mirrorkit.records import Call

_NICE = 15
_HOPELESS = 3
"""Starts in a row that fail before those who wait are told so."""
_SHORT_LIFE_S = 60.0
_PATIENCE_S = 15.0

_START_S = 60.0
"""How long a child that starts is waited for: some seconds are enough where the machine is not busy."""
_STARTING_S = 0.05
"""Seconds between questions whether the child is up."""

# The first line says where modules are found, as nothing can be imported rightly before that; and it has the
# variables with keys, which would be seen in a listing of the child's environment.
_START = (
    "import sys, os, json; world = json.loads(sys.stdin.buffer.raw.readline()); "
    "sys.path[:] = world['path']; os.environ.update(world['environ']); "
    "from mirrorkit.capture.child import main; main()"
)

Heard = Callable[[frames.Ended], None]


class Remote:
    """Has silent calls made in a child process of lower priority.

    The child is started with this and again when it dies, after a pause that grows while it dies at once.
    Of the calls that it had then, nobody knows how they ended: they are `cancelled`, and say so. Those that
    it had not been given wait for the next one. `plan` gives what the child is set up by, packed; `on_fault`
    hears what goes wrong there.
    `back_off_s` are the seconds from one start to the next, after the first failure, the second, and so on.
    """

    def __init__(
        self,
        plan: Callable[[], bytes],
        on_fault: Callable[[BaseException], None],
        *,
        back_off_s: Sequence[float] = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0),
    ) -> None:
        self._back_off_s = back_off_s
        self._plan = plan
        self._on_fault = on_fault
        self._changed = threading.Condition()
        self._tickets = count(frames.NO_ORDER + 1)
        self._heard: dict[int, Heard] = {}
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._given: set[int] = set()
        self._process: subprocess.Popen[bytes] | None = None
        self._ready = False
        self._refused = False
        self._failures = 0
        self._short_lives = 0
        self._why = ""
        self._closing = False
        self._starts = 0
        # between the number of a pipe and writing to it, nobody may close it: the number could be another's
        self._piping = threading.Lock()
        for work in (self._keep_alive, self._feed):
            threading.Thread(target=work, name="mirrorkit-child", daemon=True).start()

    @property
    def pid(self) -> int | None:
        """The child's process id, while there is one."""
        process = self._process
        return None if process is None else process.pid

    @property
    def state(self) -> str:
        """What the child is doing, in a few words."""
        if self._ready:
            return f"child process {self.pid}" + (f", start {self._starts}" if self._starts > 1 else "")
        return "child process starting" if self._failures == 0 else "child process down"

    @property
    def closed(self) -> bool:
        """Whether it is told to end."""
        return self._closing

    @property
    def wait_s(self) -> float:
        """0 where an order can be carried out or refused now, else seconds until it is time to ask again."""
        return 0.0 if self._ready or self._closing or self._failures >= _HOPELESS else _STARTING_S

    def wait_until_ready(self, timeout_s: float = _START_S) -> None:
        """Wait for the first child; one that is not up in time goes on starting.

        Raises:
            ConfigError: it cannot be set up, and none is started any more.
        """
        with self._changed:
            self._changed.wait_for(self._is_decided, timeout_s)
            failed, why = not self._ready and self._is_decided() and not self._closing, self._why
        if failed:
            self.close(wait=False)
            raise ConfigError(
                f'isolation="process": the child process cannot be set up ({why}). Mend that, or use '
                'isolation="shared".'
            )

    def _is_decided(self) -> bool:
        # one that dies without a word may have been killed: the next one may do better
        return self._ready or self._closing or self._refused or self._failures >= _HOPELESS

    def started(self) -> None:
        """An order is about to come: nothing to do."""

    def take(self, order: bytes, heard: Heard) -> bool:
        """Have a packed order carried out; `heard` is called, in another thread, when the call has ended."""
        if self._failures >= _HOPELESS:
            self._tell(heard, _lost(f"the child process does not start: {self._why}"))
            return True
        with self._changed:
            if self._closing:
                return False
            ticket = next(self._tickets)
            self._heard[ticket] = heard
            frame = frames.framed(order, ticket)
            process = self._process
            # nearly always the pipe is free, and waking a thread to write to it would cost more than writing
            if process is None or not self._ready or self._waiting or not self._piping.acquire(False):
                self._wait_for_feeding(ticket, frame)
                return True
            self._given.add(ticket)
        try:
            with contextlib.suppress(OSError, ValueError):  # that it is gone is told by who hears it
                written = frames.write_some(_fd(process.stdin), frame)
                if written < len(frame):
                    with self._changed:
                        # before the pipe is free for others: the rest must be the next in it
                        if self._process is process:
                            self._waiting.appendleft((frames.NO_ORDER, frame[written:]))
                            self._changed.notify_all()
        finally:
            self._piping.release()
        return True

    def models(self, deployments: Iterable[Mapping[str, Any]]) -> None:
        """Tell the child that the Router's deployments are others now."""
        try:
            frame = frames.framed(frames.pack_models(deployments))
        except ConfigError as fault:
            self._on_fault(fault)
            return
        with self._changed:
            self._wait_for_feeding(frames.NO_ORDER, frame)

    def _wait_for_feeding(self, ticket: int, frame: bytes) -> None:
        self._waiting.append((ticket, frame))
        self._changed.notify_all()

    def close(self, wait: bool = True) -> None:
        """Let the child finish what it has, and end; one that has nothing yet is ended at once."""
        with self._changed:
            self._closing = True
            process = self._process
            if process is not None and not self._ready:
                process.kill()
            self._changed.notify_all()
        if process is not None and wait:
            try:
                process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def kill(self) -> None:
        """End the child at once, whatever it does."""
        with self._changed:
            self._closing = True
            process = self._process
            self._changed.notify_all()
        if process is not None:
            process.kill()

    def forget(self) -> None:
        """In a fork of the process that the child belongs to: let go of it, so that it can end."""
        # a thread that is not here may have held it
        self._changed = threading.Condition()
        process, self._process = self._process, None
        if process is not None:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def _keep_alive(self) -> None:
        """Start the child, hear it until it ends, and start it again."""
        while not self._closing:
            began = monotonic()
            try:
                process = self._start()
            except Exception as error:
                self._failed(f"{type(error).__name__}: {error}")
            else:
                refusal = ""
                try:
                    refusal = self._hear(process)
                except Exception as fault:  # what it says makes no sense: another one may make some
                    self._on_fault(fault)
                    process.kill()
                self._ended(process, monotonic() - began, refusal)
            with self._changed:
                step = max(self._failures + self._short_lives - 1, 0)
                pause = self._back_off_s[min(step, len(self._back_off_s) - 1)]
                self._changed.wait_for(lambda: self._closing, max(0.0, began + pause - monotonic()))
        self._lose(tuple(self._heard), "the session was closed")

    def _start(self) -> "subprocess.Popen[bytes]":
        lower = getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0)
        secret = {name: value for name, value in os.environ.items() if is_secret_variable(name)}
        world = {"path": [str(path) for path in sys.path], "environ": secret}
        shown = {name: value for name, value in os.environ.items() if name not in secret}
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", _START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            # the parent's prices come by pipe: fetching others would make two tables
            env={**shown, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
            creationflags=lower,
            # an interrupt of the terminal or the notebook is not meant for it
            process_group=0 if os.name == "posix" else None,
        )
        try:
            with self._changed:
                self._process = process
                self._starts += 1
                if self._closing:
                    process.kill()
            _lower(process.pid)
            into = _fd(process.stdin)
            with contextlib.suppress(BrokenPipeError):  # it died at once: hearing it says so
                frames.write(into, json.dumps(world).encode() + b"\n")
                frames.write(into, frames.framed(self._plan()))
            # so that who hands an order over never waits for the child
            os.set_blocking(into, False)
        except BaseException:
            process.kill()
            process.wait()
            raise
        return process

    def _hear(self, process: "subprocess.Popen[bytes]") -> str:
        """Hear the child until it ends; gives why it cannot be set up, if it says so."""
        refusal, raw = "", process.stdout
        answers = io.BufferedReader(raw)  # type: ignore[type-var]
        while (frame := frames.read(answers)) is not None:
            ticket, data = frame
            message = frames.unpack(data)
            if ticket != frames.NO_ORDER:
                self._arrived(ticket, message)
            elif isinstance(message, frames.Ready):
                _idle(process.pid)
                with self._changed:
                    self._ready, self._refused, self._failures = True, False, 0
                    self._changed.notify_all()
            elif isinstance(message, frames.Failed):
                refusal = message.why
                with self._changed:
                    self._why, self._refused = refusal, True
                    self._changed.notify_all()
            elif isinstance(message, frames.Fault):
                self._on_fault(RuntimeError(f"in the child process: {message.text}"))
        return refusal

    def _arrived(self, ticket: int, content: frames.Ended | frames.Failed) -> None:
        with self._changed:
            heard = self._heard.pop(ticket, None)
            self._given.discard(ticket)
        if isinstance(content, frames.Failed):
            content = _lost(f"the child process could not make the call ({content.why})")
        if heard is not None:
            self._tell(heard, content)

    def _tell(self, heard: Heard, ended: frames.Ended) -> None:
        try:
            heard(ended)
        except Exception as fault:  # the thread must hear on
            self._on_fault(fault)

    def _ended(self, process: "subprocess.Popen[bytes]", lived_s: float, refusal: str) -> None:
        """The child is gone: what it had is lost, and said to be."""
        with self._changed:
            was_ready, self._ready, self._process = self._ready, False, None
            given, self._given = tuple(self._given), set()
            # the rest of a frame that the child had the beginning of is not for the next one
            self._waiting = deque(one for one in self._waiting if one[0] != frames.NO_ORDER)
            self._changed.notify_all()
        with self._piping:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        how = _how_it_ended(process.wait())
        if self._closing:
            return
        if was_ready:
            self._on_fault(ChildProcessError(f"the child process {how}; it is started again"))
            self._lose(given, f"the child process that made this call {how}")
            self._short_lives = self._short_lives + 1 if lived_s < _SHORT_LIFE_S else 0
        else:
            self._failed(refusal or how)

    def _failed(self, why: str) -> None:
        """The child could not be set up: said once it is hopeless, as those who wait would wait for ever."""
        with self._changed:
            self._why = why
            self._failures += 1
            self._changed.notify_all()
        self._on_fault(ChildProcessError(f"the child process did not start: {why}"))
        if self._failures >= _HOPELESS:
            self._lose(tuple(self._heard), f"the child process does not start: {why}")

    def _lose(self, tickets: Sequence[int], why: str) -> None:
        for ticket in tickets:
            with self._changed:
                heard = self._heard.pop(ticket, None)
            if heard is not None:
                self._tell(heard, _lost(why))

    def _feed(self) -> None:
        """Give the child what waits, as long as it is ready; in a thread, as a pipe may be full."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._can_feed() or self._closing)
                if self._closing and not self._can_feed():
                    break
            # in this order everywhere: the pipe, then the rest
            with self._piping:
                self._give_next()
        with self._piping:
            if (process := self._process) is not None and self._ready:
                _write(process, frames.framed(frames.pack(frames.Stop())))

    def _can_feed(self) -> bool:
        return self._ready and bool(self._waiting)

    def _give_next(self) -> None:
        with self._changed:
            process = self._process
            if process is None or not self._can_feed():
                return
            ticket, frame = self._waiting.popleft()
            if ticket != frames.NO_ORDER:
                if ticket not in self._heard:
                    return  # it was told to be lost
                self._given.add(ticket)
        _write(process, frame)


def _write(process: "subprocess.Popen[bytes]", frame: bytes) -> None:
    try:
        frames.write(_fd(process.stdin), frame)
    except (OSError, ValueError):
        # half a frame would be the beginning of the next; that it is gone is told by who hears it
        process.kill()


def _lower(process: int) -> None:
    """Have a process give way to others, and come up all the same where the machine is busy."""
    if hasattr(os, "setpriority"):
        os.setpriority(os.PRIO_PROCESS, process, _NICE)


def _idle(process: int) -> None:
    """Have a process run when no other would.

    Being nice alone, it still is in the way of who wakes up on its core.
    """
    if not hasattr(os, "SCHED_IDLE"):
        return
    with contextlib.suppress(FileNotFoundError):  # it is gone: hearing it says so
        for thread in os.listdir(f"/proc/{process}/task"):
            with contextlib.suppress(OSError):  # one that has ended meanwhile
                os.sched_setscheduler(int(thread), os.SCHED_IDLE, os.sched_param(0))


def _fd(pipe: IO[bytes] | None) -> int:
    if pipe is None:
        raise ValueError("the process has no such pipe")
    return pipe.fileno()


def _lost(why: str) -> frames.Ended:
    call = Call(status="cancelled", error_type="ChildProcessError", error_message=why)
    return frames.Ended(call)


def _how_it_ended(code: int) -> str:
    """How a process ended, by its return code.

    >>> _how_it_ended(-9), _how_it_ended(1)
    ('was killed by SIGKILL', 'ended with code 1')
    """
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
