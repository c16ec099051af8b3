"""The child process as its parent sees it: started, fed, heard, and started anew when it dies."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from time import monotonic
from typing import IO, Any

from mirrorkit.capture import frames
from mirrorkit.records import Call

_NICE = 15
_HOPELESS = 3
"""Starts in a row that fail before those who wait are told so."""
_PATIENCE_S = 15.0

# The first line says where modules are found, as nothing can be imported rightly before that.
_START = (
    "import sys, json; sys.path[:] = json.loads(sys.stdin.buffer.raw.readline()); "
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
        self._tickets = count()
        self._heard: dict[int, Heard] = {}
        self._waiting: deque[tuple[int | None, bytes]] = deque()
        self._given: set[int] = set()
        self._process: subprocess.Popen[bytes] | None = None
        self._ready = False
        self._failures = 0
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
        return "child process starting" if self._failures == 0 else f"child process down ({self._why})"

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
            self._waiting.append((ticket, order))
            self._changed.notify_all()
        return True

    def models(self, model_list: Sequence[Any]) -> None:
        """Tell the child that the Router's deployments are others now."""
        data = frames.pack(frames.Models(model_list))
        with self._changed:
            self._waiting.append((None, data))
            self._changed.notify_all()

    def close(self, wait: bool = True) -> None:
        """Let the child finish what it has, and end."""
        with self._changed:
            self._closing = True
            process = self._process
            self._changed.notify_all()
        if process is not None and wait:
            try:
                process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def forget(self) -> None:
        """In a fork of the process that the child belongs to: let go of it, so that it can end."""
        # a thread that is not here may have held it
        self._changed = threading.Condition()
        process, self._process = self._process, None
        if process is not None:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    os.close(pipe.fileno())

    def _keep_alive(self) -> None:
        """Start the child, hear it until it ends, and start it again."""
        while not self._closing:
            began = monotonic()
            try:
                process = self._start()
            except Exception as error:
                self._failed(f"{type(error).__name__}: {error}")
            else:
                self._hear(process)
                self._ended(process)
            with self._changed:
                pause = self._back_off_s[min(max(self._failures - 1, 0), len(self._back_off_s) - 1)]
                self._changed.wait_for(lambda: self._closing, max(0.0, began + pause - monotonic()))
        self._lose(tuple(self._heard), "the session was closed")

    def _start(self) -> "subprocess.Popen[bytes]":
        lower = getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0)
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", _START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            # the parent's prices come by pipe: fetching others would make two tables
            env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
            creationflags=lower,
            # an interrupt of the terminal or the notebook is not meant for it
            process_group=0 if os.name == "posix" else None,
        )
        if hasattr(os, "setpriority"):
            os.setpriority(os.PRIO_PROCESS, process.pid, _NICE)
        with self._changed:
            self._process = process
            self._starts += 1
        try:
            into = _fd(process.stdin)
            frames.write_line(into, json.dumps(sys.path).encode())
            frames.write(into, self._plan())
        except BrokenPipeError:  # it died at once: hearing it says so
            pass
        return process

    def _hear(self, process: "subprocess.Popen[bytes]") -> None:
        answers: IO[bytes] = os.fdopen(os.dup(_fd(process.stdout)), "rb")
        with answers:
            while (data := frames.read(answers)) is not None:
                message = frames.unpack(data)
                if isinstance(message, frames.Ticketed):
                    self._arrived(message.ticket, message.content)
                elif isinstance(message, frames.Ready):
                    with self._changed:
                        self._ready, self._failures = True, 0
                        self._changed.notify_all()
                elif isinstance(message, frames.Failed):
                    self._why = message.why
                elif isinstance(message, frames.Fault):
                    self._on_fault(RuntimeError(f"in the child process: {message.text}"))

    def _arrived(self, ticket: int, content: frames.Ended | frames.Failed) -> None:
        with self._changed:
            heard = self._heard.pop(ticket, None)
            self._given.discard(ticket)
        if isinstance(content, frames.Failed):
            content = _lost(f"the child process could not read the request ({content.why})")
        if heard is not None:
            self._tell(heard, content)

    def _tell(self, heard: Heard, ended: frames.Ended) -> None:
        try:
            heard(ended)
        except Exception as fault:  # the thread must hear on
            self._on_fault(fault)

    def _ended(self, process: "subprocess.Popen[bytes]") -> None:
        """The child is gone: what it had is lost, and said to be."""
        with self._changed:
            was_ready, self._ready, self._process = self._ready, False, None
            given, self._given = tuple(self._given), set()
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
            self._failures = 0
        else:
            self._failed(self._why or how)

    def _failed(self, why: str) -> None:
        """The child could not be set up: said once it is hopeless, as those who wait would wait for ever."""
        self._why = why
        self._failures += 1
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
                self._changed.wait_for(lambda: (self._ready and self._waiting) or self._closing)
                if self._closing and not (self._ready and self._waiting):
                    break
                ticket, order = self._waiting.popleft()
                process = self._process
                if process is None or (ticket is not None and ticket not in self._heard):
                    continue
                if ticket is not None:
                    self._given.add(ticket)
            data = order if ticket is None else frames.pack(frames.Ticketed(ticket, order))
            self._write(process, data)
        if (process := self._process) is not None:
            self._write(process, frames.pack(frames.Stop()))

    def _write(self, process: "subprocess.Popen[bytes]", data: bytes) -> None:
        with self._piping, contextlib.suppress(OSError, ValueError):
            # if it is gone, the other thread hears of it, and tells
            frames.write(_fd(process.stdin), data)


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
