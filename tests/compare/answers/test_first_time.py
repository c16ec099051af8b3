"""The first comparison of a process waits for no module that it can do without."""

import json
import subprocess
import sys

import pytest

SLOW = ("scipy.stats", "jsonschema", "rfc3987_syntax")
"""Modules of which each takes a second or more to import."""

SCRIPT = f"""
import json, sys
import polars as pl
import mirrorkit as mk
schema = {{"type": "object", "properties": {{"a": {{"type": "string", "format": "iri"}}}}, "required": ["a"]}}
asked = {{"response_format": {{"type": "json_schema", "json_schema": {{"name": "x", "schema": schema}}}}}}
count = 400
seen = mk.compare(pl.DataFrame({{
    "pair_id": [f"p{{n}}" for n in range(count)], "arm": "mini", "call_type": "completion",
    "params": json.dumps(asked), "primary_status": "ok", "silent_status": "ok",
    "primary_latency_s": [1.0 + n % 7 for n in range(count)], "silent_latency_s": 1.5,
    "primary_cost_usd": 0.1, "silent_cost_usd": 0.2, "primary_input_tokens": 9, "silent_input_tokens": 9,
    "primary_output": '{{"a": "b"}}', "silent_output": '{{"b": 1}}',
}}))
valid = seen.table.filter(metric="json_valid").row(0, named=True)
print(json.dumps([valid["primary"], valid["silent"], [name for name in {SLOW!r} if name in sys.modules]]))
"""


@pytest.mark.slow
def test_comparing_json_with_a_schema_imports_nothing_slow() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    assert json.loads(done.stdout) == [1.0, 0.0, []]
