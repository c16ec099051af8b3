"""Comparing a million pairs, outputs left out, beside a plain Polars aggregate of the same columns.

    python tests/benchmarks/bench_compare.py

Both read the same Parquet file, in turn and warm, in one process; what is compared are the medians over the
rounds, and the ratios within a round. Memory is the high-water mark of a process of its own, over what the
process took before it read the file and after a comparison of a few pairs, in times the size of the columns.
"""

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import numpy as np
import polars as pl

import mirrorkit as mk

SIDE = (
    "status", "attempts", "fell_back", "cache_hit", "latency_s", "ttft_s", "overhead_s", "input_tokens",
    "output_tokens", "usage_source", "cost_usd", "finish_reason",
)  # fmt: skip
READ = [
    "pair_id", "request_id", "arm", "started_at", "lag_s", "model_group", "stream",
    *(f"{side}_{name}" for side in ("primary", "silent") for name in SIDE),
]  # fmt: skip
"""The columns a comparison without outputs reads."""
NUMBERS = [
    "lag_s",
    *(
        f"{side}_{name}"
        for side in ("primary", "silent")
        for name in (
            "attempts",
            "latency_s",
            "ttft_s",
            "overhead_s",
            "input_tokens",
            "output_tokens",
            "cost_usd",
        )
    ),
]
LEVELS = (0.5, 0.95, 0.99)
AGGREGATE, COMPARE = "Polars aggregate", "mirrorkit.compare"


def pairs(count: int) -> pl.DataFrame:
    """Pairs as a day of traffic has them: a third streams, 2 % failures, some retries, costs by tokens."""
    random = np.random.default_rng(1)
    start = np.datetime64("2026-11-01", "us") + np.cumsum(random.integers(1, 10**6, count))
    stream = random.random(count) < 1 / 3
    prompt = np.round(random.lognormal(6, 1, count)).astype(np.int64) + 1
    columns: dict[str, Any] = {
        "pair_id": [f"{number:032x}" for number in range(count)],
        "request_id": [f"{number:032x}" for number in range(count)],
        "trace_id": [f"{number:032x}" for number in range(count)],
        "arm": pl.repeat("next", count, eager=True),
        "call_type": pl.repeat("acompletion", count, eager=True),
        "started_at": pl.Series(start).dt.replace_time_zone("UTC"),
        "lag_s": random.lognormal(0, 0.5, count),
        "model_group": pl.repeat("chat", count, eager=True),
        "stream": stream,
    }
    base = random.lognormal(0, 0.5, count)
    for side, slower, price in (("primary", 1.0, 1e-5), ("silent", 1.05, 0.8e-5)):
        failed = random.random(count) < 0.02
        latency = base * slower * random.lognormal(0, 0.3, count)
        tokens = np.round(random.lognormal(5, 0.8, count)).astype(np.int64) + 1
        known = pl.DataFrame(
            {
                "status": np.where(failed, "error", "ok"),
                "attempts": 1 + (random.random(count) < 0.02).astype(np.int64),
                "fell_back": np.zeros(count, dtype=bool),
                "cache_hit": random.random(count) < 0.01,
                "provider": pl.repeat("openai", count, eager=True),
                "latency_s": latency,
                "ttft_s": np.where(stream, latency * 0.2, np.nan),
                "overhead_s": latency * 0.01,
                "input_tokens": prompt,
                "output_tokens": tokens,
                "usage_source": np.where(random.random(count) < 0.99, "provider", "estimated"),
                "cost_usd": price * (prompt / 4 + tokens),
                "finish_reason": np.where(random.random(count) < 0.97, "stop", "length"),
            }
        ).with_columns(pl.col("ttft_s").fill_nan(None))
        unknown = ["latency_s", "ttft_s", "input_tokens", "output_tokens", "cost_usd", "finish_reason"]
        known = known.with_columns(pl.when(pl.col("status") == "ok").then(pl.col(unknown)))
        columns |= {f"{side}_{name}": known[name] for name in known.columns}
    return pl.DataFrame(columns)


def aggregate(path: Path) -> pl.DataFrame:
    return (
        pl.scan_parquet(path)
        .select(
            pl.col(NUMBERS).mean().name.suffix(" mean"),
            *(pl.col(NUMBERS).quantile(level).name.suffix(f" {level}") for level in LEVELS),
        )
        .collect()
    )


def comparison(path: Path) -> mk.Comparison:
    return mk.compare(pl.read_parquet(path, columns=READ), outputs=False, progress=False)


def times(path: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds of each round, the two in turn."""
    runs: dict[str, Callable[[Path], object]] = {AGGREGATE: aggregate, COMPARE: comparison}
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            gc.collect()
            start = time.perf_counter()
            run(path)
            if number:  # the first is to warm up
                taken[name].append(time.perf_counter() - start)
    return taken


def _bytes(what: str) -> int:
    """VmHWM, the most so far, or VmRSS, now; Linux alone: `ru_maxrss` is at least the parent process's."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(status.partition(f"{what}:")[2].split()[0])


def _high_water() -> int:
    return _bytes("VmHWM")


def memory(path: Path, name: str) -> dict[str, int]:
    """Bytes that a run takes at most and, of a comparison, those of the columns it reads; in this process."""
    mk.compare(pl.read_parquet(path, columns=READ, n_rows=2_000), outputs=False, progress=False)
    before = _high_water()
    if name == AGGREGATE:
        aggregate(path)
        return {"peak": _high_water() - before}
    frame = pl.read_parquet(path, columns=READ)
    size, read = int(frame.estimated_size()), _high_water() - before
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the high water starts anew
    loaded = _bytes("VmRSS")
    mk.compare(frame, outputs=False, progress=False)
    peak = _high_water()
    return {"peak": max(peak - before, read), "columns": size, "reading": read, "added": peak - loaded}


def _memory_of(path: Path, name: str) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, __file__, "--memory", name, str(path)], capture_output=True, text=True, check=True
    )
    found: dict[str, int] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--memory", nargs=2, metavar=("RUN", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        print(json.dumps(memory(Path(options.memory[1]), options.memory[0])))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.parquet"
        pairs(options.pairs).write_parquet(path)
        taken = times(path, options.rounds)
        peaks = {name: _memory_of(path, name) for name in taken}
    ratios = [ours / plain for plain, ours in zip(taken[AGGREGATE], taken[COMPARE], strict=True)]
    size = peaks[COMPARE]["columns"]
    result = {
        "pairs": options.pairs,
        "seconds": {name: statistics.median(each) for name, each in taken.items()},
        "ratio": {"median": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)},
        "columns_bytes": size,
        "reading_over_columns": peaks[COMPARE]["reading"] / size,
        "added_over_columns": peaks[COMPARE]["added"] / size,
        "peak_over_columns": {name: each["peak"] / size for name, each in peaks.items()},
    }
    print(f"{options.pairs:,} pairs, medians of {options.rounds} rounds; columns read: {size / 1e6:,.0f} MB")
    print(f"{'':<20}{'seconds':>10}{'peak / columns':>17}")
    for name in taken:
        peak = result["peak_over_columns"][name]
        print(f"{name:<20}{result['seconds'][name]:>10.2f}{peak:>17.2f}")
    print(f"{'reading alone':<20}{'':>10}{result['reading_over_columns']:>17.2f}")
    print(f"{'comparing, beside':<20}{'':>10}{result['added_over_columns']:>17.2f}  goal 2 at most")
    low, high = result["ratio"]["lowest"], result["ratio"]["highest"]
    print(
        f"{COMPARE} / {AGGREGATE}: {result['ratio']['median']:.2f} ({low:.2f} – {high:.2f}), goal 4 at most"
    )
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
