"""What is to be done when the interpreter ends, and in a process that is forked off."""

import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from weakref import WeakMethod

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
