"""What can be told of an event loop: which one runs here, and whether it is being shut down."""

import asyncio
from typing import Any


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs in this thread; None where there is none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def is_ending(loop: asyncio.AbstractEventLoop) -> bool:
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
