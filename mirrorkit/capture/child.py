"""The child process: makes the silent calls that its parent orders, and says how each ended.

It speaks by its standard input and output, and ends with its parent, however that ends.
"""

import asyncio
import atexit
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from time import sleep
from typing import IO, Any, Protocol

from mirrorkit.capture import frames
from mirrorkit.capture.observe import Pricer
from mirrorkit.capture.record import Recorder
from mirrorkit.capture.router.adapter import Adapter, warm_up
from mirrorkit.capture.router.blueprint import flush_loggers
from mirrorkit.capture.router.entry_points import EntryPoints
from mirrorkit.capture.scrub import Scrubber, is_secret_variable
from mirrorkit.capture.silent import SilentCall
from mirrorkit.errors import MirrorError

_PARENT_CHECK_S = 1.0
_FLUSH_S = 10.0


class Say(Protocol):
    """A way to speak to the parent."""

    def __call__(self, message: Any, ticket: int = frames.NO_ORDER) -> None:
        """Say something about an order, or about none."""


def main() -> None:
    """Serve until the parent says stop, or is gone."""
    # a service manager asks all processes to end: the parent, which may have calls to finish, is asked too
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    code = 0
    try:
        asyncio.run(_serve(*_pipes()))
    except SystemExit:
        code = 1
    _leave(code)


def _leave(code: int) -> None:
    """End the process as the interpreter would, but for taking its modules apart, which takes seconds.

    What is to be done at the end is done: threads that LiteLLM's loggers write in end, and exit handlers run.
    Both have private names in CPython, where nothing public runs them without ending the interpreter.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


async def _serve(orders: IO[bytes], say: Say) -> None:
    """Be set up, within the loop that some of what a Router holds is bound to; and serve."""
    secrets = frozenset(v for k, v in os.environ.items() if is_secret_variable(k) and len(v) >= 12)
    try:
        _, data = frames.read(orders) or (frames.NO_ORDER, b"")
        plan: frames.Plan = frames.unpack(data)
        secrets |= plan.blueprint.secrets()
        serving = _Serving(plan, say)
    except BaseException as error:  # what LiteLLM and modules of the user's raise, who may also exit
        # the user is shown it as it is
        say(frames.Failed(Scrubber(secrets).error(_words(error)) or ""))
        raise SystemExit(1) from None
    say(frames.Ready())
    await serving.serve(orders)


def _pipes() -> tuple[IO[bytes], Say]:
    """Where orders come from, and a way to answer; nothing that is printed here gets in between."""
    orders, answers = os.fdopen(os.dup(0), "rb"), os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    lock = threading.Lock()

    def say(message: Any, ticket: int = frames.NO_ORDER) -> None:
        frame = frames.framed(frames.pack(message), ticket)
        with lock:
            try:
                frames.write(answers, frame)
            except BrokenPipeError:  # the parent is gone
                os._exit(1)

    return orders, say


def _end_with_parent(parent: int) -> None:
    # the end of standard input tells it too, unless a fork of the parent's still holds the other end
    while os.getppid() == parent:
        sleep(_PARENT_CHECK_S)
    os._exit(1)


class _Serving:
    """Makes silent calls on this process's one event loop."""

    def __init__(self, plan: frames.Plan, say: Say) -> None:
        self._say = say
        self._policy = plan.policy
        router = plan.blueprint.build()
        self._adapter = Adapter(router)
        self._entry = EntryPoints(router)
        self._models = _by_id(plan.blueprint.model_list)
        # what is said here is made safe by the parent, which has the user's `redact`
        self._recorder = Recorder(Pricer(self._adapter.model_info), Scrubber(), self._fault)
        self._tasks: set[asyncio.Task[None]] = set()
        warm_up()

    async def serve(self, orders: IO[bytes]) -> None:
        """Take orders until told to stop, finish them, and have the loggers send what they hold."""
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        reading = (orders, loop, stopped)
        threading.Thread(target=self._read, args=reading, daemon=True).start()
        await stopped.wait()
        while self._tasks:
            await asyncio.wait(self._tasks)
        try:
            await asyncio.wait_for(flush_loggers(), _FLUSH_S)
        except Exception as error:
            self._fault(error)

    def _read(self, orders: IO[bytes], loop: asyncio.AbstractEventLoop, stopped: asyncio.Event) -> None:
        while (frame := frames.read(orders)) is not None:
            ticket, data = frame
            if ticket != frames.NO_ORDER:
                loop.call_soon_threadsafe(self._take, ticket, data)
                continue
            message = frames.unpack(data)
            if isinstance(message, frames.Stop):
                loop.call_soon_threadsafe(stopped.set)
                return
            loop.call_soon_threadsafe(self._renew, message.model_list)
        # the parent is gone, and nobody would hear how the calls end
        os._exit(1)

    def _renew(self, model_list: Sequence[Mapping[str, Any]]) -> None:
        """The Router's deployments are these from now on; without those that cannot be built."""
        models = _by_id(model_list)
        for own_id, deployment in models.items():
            if deployment != self._models.get(own_id):
                self._change(deployment, upsert=[deployment])
        for own_id, deployment in self._models.items():
            if own_id not in models:
                self._change(deployment, delete=[own_id])
        self._models = models

    def _change(self, deployment: Mapping[str, Any], **change: Any) -> None:
        # one at a time: one that cannot be built takes none of the others with it
        try:
            self._entry.change(**change)
        except Exception as error:  # LiteLLM raises what it likes
            name = deployment["model_name"]
            self._fault(MirrorError(f"deployment {name!r} cannot be changed here ({_words(error)})"))

    def _take(self, ticket: int, order: bytes) -> None:
        task = asyncio.get_running_loop().create_task(self._make(ticket, order))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _make(self, ticket: int, data: bytes) -> None:
        told = False

        def tell(ended: frames.Ended) -> None:
            nonlocal told
            self._say(ended, ticket)
            told = True

        why = "it was cut off"
        try:
            order: frames.Order = frames.unpack(data)
            call = SilentCall(
                order,
                adapter=self._adapter,
                policy=self._policy,
                recorder=self._recorder,
                on_done=lambda _, ended: tell(ended),
                on_fault=self._fault,
            )
            await call.arun()
            call.record()
        except Exception as error:  # a class that cannot be imported here, or whatever unpacking runs
            why = _words(error)
        finally:
            # each order has an answer, or its pair would be under way for ever
            if not told:
                self._say(frames.Failed(why), ticket)

    def _fault(self, error: BaseException) -> None:
        self._say(frames.Fault(_words(error)))


def _by_id(model_list: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {str(deployment["model_info"]["id"]): deployment for deployment in model_list}


def _words(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # whatever a foreign __str__ raises
        return type(error).__name__
