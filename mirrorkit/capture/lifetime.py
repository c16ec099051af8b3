"""What is to be done when the interpreter ends, and in a process that is forked off."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from weakref import WeakMethod

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
    threading._register_atexit(_calling(hook))  # type: ignore[attr-defined]


def at_fork(hook: Hook) -> None:
    """Call this method in each process that is forked off, if its object is still there."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_calling(hook))


def runs(process: int, thread: str) -> bool:
    """Whether a process has a thread whose name begins like this; False where the system does not tell.

    >>> runs(os.getpid(), "no such thread")
    False
    """
    tasks = Path(f"/proc/{process}/task")
    try:
        return any((task / "comm").read_text().startswith(thread) for task in tasks.iterdir())
    except OSError:
        return False


def _calling(hook: Hook) -> Callable[[], None]:
    def call() -> None:
        if (method := hook()) is not None:
            method()

    return call
