"""An hour compressed to minutes: whatever the silent side does, the sums are right and nothing piles up."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SOAKING = Path(__file__).with_name("soaking.py")


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize(("isolation", "requests"), [("process", 20_000), ("shared", 2_000)])
def test_a_soak_loses_nothing_and_leaves_nothing_behind(isolation: str, requests: int) -> None:
    arguments = ("--requests", str(requests), "--isolation", isolation)
    done = subprocess.run(
        [sys.executable, SOAKING, *arguments], stdout=subprocess.PIPE, text=True, check=True
    )
    told: dict[str, Any] = json.loads(done.stdout)

    # sent = recorded + counted: the silent server was away three times, and answered errors, and hung
    funnel = told["funnel"]
    outcomes = {name: count for name, count in funnel.items() if name != "requests"}
    assert funnel["requests"] == requests == sum(outcomes.values())
    assert funnel["mirrored"] == told["rows"] == told["distinct"] == told["pairs"]
    assert funnel["mirrored"] + funnel["saturated"] == requests
    assert funnel["mirrored"] >= 0.95 * requests
    assert told["server_starts"] == 4
    assert (told["failed"], told["faults"]) == (0, 0)
    assert told["primaries"] == {"ok": told["rows"]}
    statuses = told["statuses"]
    assert set(statuses) == {"ok", "error", "timeout"}
    assert statuses["error"] >= 0.04 * told["rows"]
    assert statuses["timeout"] >= 0.01 * told["rows"]

    # the memory that it has after a tenth is what it has at the end, but for 5 % (and 15 MB that come and go)
    first, last = told["memory_mb"][0], told["memory_mb"][-1]
    assert last["sent"] == requests
    assert last["here"] <= 1.05 * first["here"] + 15
    if "child" in first and requests > 5_000:
        assert last["child"] <= 1.05 * first["child"] + 15

    assert told["after"] == told["before"]
