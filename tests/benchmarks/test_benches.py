"""The benches run: what they measure is for quiet machines, not for tests."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "name", ["load", "cpu", "waits", "record", "compare", "answers", "charts", "browser", "dashboard"]
)
def test_each_bench_runs_in_its_quickest_form_and_writes_what_it_found(name: str, tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    command = [sys.executable, str(HERE / "run.py"), name, "--quick", "--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    assert "goal" in done.stdout
    assert json.loads(path.read_text(encoding="utf-8"))[name]
