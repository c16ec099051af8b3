"""Shared by the store's tests: how to make a pair, and a script that other processes run."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mirrorkit.records import Call, Pair

STARTED = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


def make_pair(number: int = 0, **given: Any) -> Pair:
    """The pair with this number; they start a second apart."""
    call = Call("ok", latency_s=0.5, input_tokens=12, output=f"answer {number}")
    values = {
        "pair_id": f"p{number}",
        "request_id": f"r{number}",
        "trace_id": "t",
        "arm": "mini",
        "call_type": "completion",
        "started_at": STARTED + timedelta(seconds=number),
        "lag_s": 0.1,
        "cluster": None,
        "tags": ("a",),
        "model_group": "big",
        "messages": "[]",
        "params": "{}",
        "stream": False,
        "primary": call,
        "silent": call,
    }
    return Pair(**{**values, **given})


@pytest.fixture(name="make", scope="session")
def make_fixture() -> Callable[..., Pair]:
    return make_pair


PRELUDE = f"""
import os, sys, time
sys.path.insert(0, {__file__.rpartition("/")[0]!r})
from conftest import make_pair, STARTED
from mirrorkit.store.journal import Journal
from mirrorkit.store.frame import FrameStore
place = sys.argv[1]
"""


@pytest.fixture
def start() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts another process that runs a script with `place`, Journal and make_pair at hand."""
    running: list[subprocess.Popen[str]] = []

    def begin(script: str, *args: Any) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", PRELUDE + script, *map(str, args)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate()
