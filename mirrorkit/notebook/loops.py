"""Event loops inside a running event loop, as a notebook's blocking calls need them: opt-in, in one place."""

import asyncio
import importlib
import importlib.metadata
from collections.abc import Coroutine
from typing import Any


def allow_nested_loops() -> str:
    """Let blocking calls such as `session.drain()` work in a cell whose event loop is running.

    This patches asyncio for the whole process, so it is never done unasked. nest-asyncio 1.6 loses queued
    cells on ipykernel 7.1 and newer ("Run All"), where nest-asyncio2 is safe: each is used where it works.

    Returns:
        The name of the package that was applied.
    """
    name = patcher(_ipykernel_version())
    importlib.import_module(name).apply()
    return name


def patcher(ipykernel: tuple[int, int] | None) -> str:
    """Which package is safe with this (major, minor) version of ipykernel; None where there is none.

    >>> patcher((6, 31)), patcher((7, 1)), patcher(None)
    ('nest_asyncio', 'nest_asyncio2', 'nest_asyncio2')
    """
    return "nest_asyncio" if ipykernel is not None and ipykernel < (7, 1) else "nest_asyncio2"


def nests() -> bool:
    """Whether this thread's running loop can run another coroutine to its end."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return False
    # both packages mark the loop's class so, and offer no public way to ask
    return hasattr(loop, "_nest_patched")


def run_nested(coroutine: Coroutine[Any, Any, bool]) -> bool:
    """Run a coroutine to its end inside the running loop; only where `nests()`."""
    return asyncio.get_running_loop().run_until_complete(coroutine)


def _ipykernel_version() -> tuple[int, int] | None:
    try:
        version = importlib.metadata.version("ipykernel")
    except importlib.metadata.PackageNotFoundError:
        return None
    major, minor, *_ = (*version.split("."), "0")
    return int(major), int("".join(filter(str.isdigit, minor)) or 0)
