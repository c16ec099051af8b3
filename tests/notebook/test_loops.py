"""Nested event loops are opt-in, and applied by the package that is safe with this ipykernel."""

import asyncio
import subprocess
import sys

import pytest

from mirrorkit.notebook import loops


@pytest.mark.parametrize(
    ("ipykernel", "package"),
    [
        ((4, 10), "nest_asyncio"),
        ((6, 31), "nest_asyncio"),
        ((7, 0), "nest_asyncio"),
        ((7, 1), "nest_asyncio2"),
        ((7, 10), "nest_asyncio2"),
        ((8, 0), "nest_asyncio2"),
        (None, "nest_asyncio2"),
    ],
)
def test_the_package_is_chosen_by_ipykernels_version(ipykernel: tuple[int, int] | None, package: str) -> None:
    assert loops.patcher(ipykernel) == package


def test_no_loop_nests_unless_asked() -> None:
    async def ask() -> bool:
        return loops.nests()

    assert not loops.nests()
    assert not asyncio.run(ask())


def run(script: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=110, check=True
    )
    return done.stdout.split()


@pytest.mark.slow
def test_importing_mirrorkit_leaves_asyncio_as_it_is() -> None:
    script = """
import asyncio, sys
names = ("run", "Task", "Future", "get_event_loop", "new_event_loop")
before = {name: getattr(asyncio, name) for name in names}
run_until_complete, policy = asyncio.BaseEventLoop.run_until_complete, asyncio.get_event_loop_policy()
import mirrorkit, mirrorkit.session, mirrorkit.notebook.loops
assert all(getattr(asyncio, name) is value for name, value in before.items())
assert asyncio.BaseEventLoop.run_until_complete is run_until_complete
assert asyncio.get_event_loop_policy() is policy
assert not any(hasattr(kind, "_nest_patched") for kind in asyncio.SelectorEventLoop.__mro__)
print(*[name for name in sys.modules if name.startswith("nest_asyncio")], "unpatched")
"""
    assert run(script) == ["unpatched"]


def test_once_asked_a_blocking_call_works_in_a_running_loop() -> None:
    script = """
import asyncio
from mirrorkit.notebook import allow_nested_loops, loops

async def inner():
    await asyncio.sleep(0)
    return True

async def cell():
    name = allow_nested_loops()
    assert name == loops.patcher(loops._ipykernel_version())
    assert loops.nests()
    return loops.run_nested(inner()), name

print(*asyncio.run(cell()))
"""
    worked, name = run(script)
    assert worked == "True"
    assert name.startswith("nest_asyncio")
