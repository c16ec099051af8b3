"""What is to be done when the interpreter ends, and in a process that is forked off."""

import _imp
import atexit
import os
import re
import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Protocol
from weakref import WeakMethod

_QUIET_S = 5.0
"""Seconds that the end of a program waits before it says what for."""
_POOL = re.compile(r"polars-\d")
Hook = WeakMethod[Callable[[], None]]

NO_POLARS = (
    "the pairs cannot be read here: Polars was at work in the process that forked this one, and would wait "
    "for threads that are not here. Fork before the first frame is read, or give the session a journal, and "
    "read that by mirrorkit.load in another process."
)
"""Why a fork has no frame."""


def at_exit(hook: Hook) -> None:
    """Call this method when the interpreter ends, if its object is still there."""
    # atexit is too late: by then thread pools, LiteLLM's among them, take no more work. This hook runs
    # before theirs, and is private in CPython, where concurrent.futures uses it for the same reason.
    threading._register_atexit(calling(hook))  # type: ignore[attr-defined]


def at_fork(hook: Hook) -> None:
    """Call this method in each process that is forked off, if its object is still there."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=calling(hook))


def uses_polars(process: int) -> bool:
    """Whether Polars has been at work in a process; False where the system does not tell.

    >>> uses_polars(1)
    False
    """
    tasks = Path(f"/proc/{process}/task")
    try:
        # its pool's, polars-0 and so on, begin with its first work; another one begins with its import
        return any(_POOL.match((task / "comm").read_text()) for task in tasks.iterdir())
    except OSError:
        return False


def calling(hook: Hook) -> Callable[[], None]:
    """Calls a method if its object is still there: who waits for long is not to keep it alive."""

    def call() -> None:
        if (method := hook()) is not None:
            method()

    return call


@cache
def hold_imports_at_exit() -> None:
    """When the interpreter ends, let no thread begin an import any more.

    A daemon thread whose call was given up may be stopped for good amid an import, as LiteLLM makes some when
    a call fails, and what is finalized after that, and imports too, would wait for it for ever. By atexit, so
    that threads which are waited for have ended; private in CPython, which has no public name for it.
    """
    atexit.register(_imp.acquire_lock)


class EndsInTime(Protocol):
    """What is waited for when the interpreter ends."""

    @property
    def under_way(self) -> int:
        """How many silent calls wait or run."""

    def drain(self, timeout_s: float | None = None) -> bool:
        """Wait until none does; False if time ran out first."""

    def cancel(self) -> None:
        """Drop all of them."""


def finish(dispatcher: EndsInTime, timeout_s: float) -> bool:
    """Finish what is under way when the interpreter ends; whether nothing had to be dropped after all.

    Ctrl-C drops it at once.
    """
    try:
        quiet_s = min(_QUIET_S, timeout_s)
        if not dispatcher.drain(quiet_s):
            left_s = timeout_s - quiet_s
            many = "a silent call" if dispatcher.under_way == 1 else f"{dispatcher.under_way:,} silent calls"
            sys.stderr.write(
                f"mirrorkit: waiting for {many}, at most {left_s:.3g} s more (exit_timeout_s); Ctrl-C drops "
                "what is left.\n"
            )
            dispatcher.drain(left_s)
    except KeyboardInterrupt:
        pass
    finished = not dispatcher.under_way
    dispatcher.cancel()
    return finished
