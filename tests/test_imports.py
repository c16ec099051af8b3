"""`import mirrorkit` is light, complete and in any order."""

import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import pytest

import mirrorkit as mk

HEAVY = (
    "litellm",
    "openai",
    "plotly",
    "ipywidgets",
    "IPython",
    "scipy",
    "aiohttp",
    "tqdm",
    "nest_asyncio",
    "mcp",
)
HEAVY += ("numpy", "pandas", "pyarrow", "nest_asyncio2", "yaml", "rapidfuzz", "jsonschema", "scipy.stats")
# what a comparison is worked out with; scipy.stats alone would take two seconds
ARITHMETIC = {"numpy", "scipy", "rapidfuzz"}


def run(script: str, *args: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", script, *args], capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    return json.loads(done.stdout)


@pytest.fixture
def recording(tmp_path: Path) -> str:
    file = tmp_path / "pairs.parquet"
    call = mk.Call(status="ok", latency_s=1.0)
    head = {"pair_id": "p", "request_id": "r", "trace_id": "t", "arm": "next", "call_type": "completion"}
    rest = {
        "lag_s": 1.0,
        "cluster": None,
        "tags": (),
        "model_group": "chat",
        "messages": None,
        "params": None,
    }
    pair = mk.Pair(**head, **rest, started_at=datetime.now(UTC), stream=False, primary=call, silent=call)
    mk.Recording(mk.SCHEMA.frame([pair])).to_parquet(file)
    return str(file)


READING = (
    "pass",
    "mk.notebook",
    "mk.compare; mk.Comparison; mk.Request; mk.errors; dir(mk)",
    "mk.load(sys.argv[1])",
    "mk.load(sys.argv[1]).frame",
    "mk.load(sys.argv[1]).label('p', 'tie')",
)
COMPARING = (
    "mk.load(sys.argv[1]).compare()",
    "str(mk.load(sys.argv[1]).compare(gates={'cost': 1.0}).verdict)",
    "mk.compare(mk.load(sys.argv[1]).frame)._repr_mimebundle_()",
)


def loaded_by(uses: Sequence[str], recording: str) -> dict[str, list[str]]:
    """What is loaded after each use, in one process, in which nothing that was loaded goes away."""
    script = f"""
import json, sys
import mirrorkit as mk
loaded = {{}}
for use in {uses!r}:
    exec(use)
    loaded[use] = [name for name in {HEAVY!r} if name in sys.modules]
print(json.dumps(loaded))
"""
    return dict(run(script, recording))


def test_importing_and_reading_load_nothing_heavy(recording: str) -> None:
    assert loaded_by(READING, recording) == {use: [] for use in READING}


def test_comparing_loads_the_arithmetic_and_nothing_else(recording: str) -> None:
    for loaded in loaded_by(COMPARING, recording).values():
        assert "numpy" in loaded
        assert set(loaded) <= ARITHMETIC


def test_the_check_sees_what_is_loaded(recording: str) -> None:
    assert "yaml" in loaded_by(("import yaml",), recording)["import yaml"]


def test_every_public_name_is_there_in_a_fresh_process() -> None:
    script = """
import json, sys
import mirrorkit as mk
missing = [name for name in mk.__all__ if getattr(mk, name, None) is None]
unlisted = [name for name in mk.__all__ if name not in dir(mk)]
print(json.dumps([missing, unlisted, len(mk.__all__) == len(set(mk.__all__))]))
"""
    assert run(script) == [[], [], True]


@pytest.mark.slow
def test_a_star_import_gives_every_public_name() -> None:
    script = """
import json
from mirrorkit import *
import mirrorkit
print(json.dumps([n for n in mirrorkit.__all__ if globals().get(n) is not getattr(mirrorkit, n)]))
"""
    assert run(script) == []


ORDERS = {
    "load first": "r = mk.load(f); c = mk.compare(r.frame)",
    "compare first": "c = mk.compare(pl.read_parquet(f)); r = mk.load(f)",
    "the method first": "r = mk.load(f); c = r.compare(); mk.compare(r.frame)",
    "the room first": "import mirrorkit.compare.estimates; c = mk.compare(mk.load(f).frame); r = mk.load(f)",
    "the room after": "r = mk.load(f); import mirrorkit.compare.gates; c = mk.compare(r.frame)",
    "the session first": "mk.MirrorSession; r = mk.load(f); c = mk.compare(r.frame)",
    "from imports": "from mirrorkit import compare, load; r = load(f); c = compare(r.frame)",
    "the room by name": "from importlib import import_module; import_module('mirrorkit.compare'); "
    "r = mk.load(f); c = mk.compare(r.frame)",
}


RARE = ("compare first", "the method first", "the room after", "the session first", "from imports")


@pytest.mark.parametrize(
    "order", [pytest.param(order, marks=pytest.mark.slow) if order in RARE else order for order in ORDERS]
)
def test_compare_is_the_function_whatever_was_loaded_before(order: str, recording: str) -> None:
    script = f"""
import json, sys
import polars as pl
import mirrorkit as mk
f = sys.argv[1]
{ORDERS[order]}
assert callable(mk.compare) and callable(mk.load)
print(json.dumps([type(r).__name__, type(c).__name__]))
"""
    assert run(script, recording) == ["Recording", "Comparison"]


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nowhere"):
        _ = mk.nowhere  # type: ignore[attr-defined]
    assert not hasattr(mk, "_HOME")


@pytest.mark.slow
def test_importing_costs_little_more_than_polars() -> None:
    timed = (
        "import time, json; t = time.perf_counter(); import {}; print(json.dumps(time.perf_counter() - t))"
    )
    names = ("polars", "mirrorkit")
    for name in names:
        run(timed.format(name))  # so that neither pays for compiling
    rounds = [{name: run(timed.format(name)) for name in names} for _ in range(9)]
    ours, theirs = (median(r[name] for r in rounds) for name in ("mirrorkit", "polars"))
    assert ours <= 1.6 * theirs
