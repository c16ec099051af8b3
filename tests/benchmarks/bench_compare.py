"""Comparing a million pairs, outputs left out, beside a plain Polars aggregate of the same columns.

Then comparing pairs with texts, outputs and all: of a frame in memory and of a lazy one, without the texts.

    python tests/benchmarks/bench_compare.py

All read the same Parquet file, in turn and warm, in one process; what is compared are the medians over the
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
from answers import prose

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
TEXTS = {"messages": 500, "primary_output": 800, "silent_output": 800}
"""Characters of each text."""
AGGREGATE, COMPARE, LAZILY = "Polars aggregate", "mirrorkit.compare", "mirrorkit.compare, lazily"


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


def with_texts(count: int, path: Path) -> int:
    """Write such pairs with texts, and as many bytes as these have are what it gives."""
    random = np.random.default_rng(2)
    pool = " ".join(prose(random, 60_000))
    texts = {}
    for name, length in TEXTS.items():
        at = random.integers(0, len(pool) - length, count)
        texts[name] = pl.Series([pool[start : start + length] for start in at])
    # of the answers one half is the same, another differs in its end
    other = pl.col("primary_output").str.head(700) + pl.col("silent_output").str.tail(100)
    frame = pairs(count).with_columns(**texts)
    chosen = pl.when(pl.int_range(count) % 2 == 0).then("primary_output").otherwise(other)
    frame = frame.with_columns(chosen.alias("silent_output"))
    frame.write_parquet(path)
    return count * sum(TEXTS.values())


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


def lazily(path: Path) -> mk.Comparison:
    return mk.compare(pl.scan_parquet(path).select(READ), outputs=False, progress=False)


def times(path: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds of each round, one after the other."""
    runs: dict[str, Callable[[Path], object]] = {
        AGGREGATE: aggregate,
        COMPARE: comparison,
        LAZILY: lazily,
    }
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


def memory(path: Path, name: str) -> dict[str, float]:
    """Bytes that a run takes at most and, of a comparison, those of the columns it reads; in this process."""
    mk.compare(pl.read_parquet(path, columns=READ, n_rows=2_000), outputs=False, progress=False)
    before = _high_water()
    if name != COMPARE:
        {AGGREGATE: aggregate, LAZILY: lazily}[name](path)
        return {"peak": _high_water() - before}
    frame = pl.read_parquet(path, columns=READ)
    size, read = int(frame.estimated_size()), _high_water() - before
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the high water starts anew
    loaded = _bytes("VmRSS")
    mk.compare(frame, outputs=False, progress=False)
    peak = _high_water()
    return {"peak": max(peak - before, read), "columns": size, "reading": read, "added": peak - loaded}


def memory_with_texts(path: Path, name: str) -> dict[str, float]:
    """Bytes that a comparison of pairs and their texts takes at most, and its seconds; in this process."""
    mk.compare(pl.read_parquet(path, n_rows=2_000), progress=False)
    before, start = _high_water(), time.perf_counter()
    mk.compare(pl.scan_parquet(path) if name == LAZILY else pl.read_parquet(path), progress=False)
    return {"peak": _high_water() - before, "seconds": time.perf_counter() - start}


def _memory_of(path: Path, name: str, what: str = "--memory") -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, __file__, what, name, str(path)], capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def of_numbers(count: int, rounds: int, path: Path) -> dict[str, Any]:
    """What a million pairs take without their texts; it is printed, too."""
    pairs(count).write_parquet(path)
    taken = times(path, rounds)
    peaks = {name: _memory_of(path, name) for name in taken}
    size = peaks[COMPARE]["columns"]
    ratios = {
        name: [ours / plain for plain, ours in zip(taken[AGGREGATE], taken[name], strict=True)]
        for name in (COMPARE, LAZILY)
    }
    result: dict[str, Any] = {
        "pairs": count,
        "seconds": {name: statistics.median(each) for name, each in taken.items()},
        "ratio": {
            name: {"median": statistics.median(each), "lowest": min(each), "highest": max(each)}
            for name, each in ratios.items()
        },
        "columns_bytes": size,
        "reading_over_columns": peaks[COMPARE]["reading"] / size,
        "added_over_columns": peaks[COMPARE]["added"] / size,
        "peak_over_columns": {name: each["peak"] / size for name, each in peaks.items()},
    }
    print(f"{count:,} pairs, medians of {rounds} rounds; columns read: {size / 1e6:,.0f} MB")
    print(f"{'':<28}{'seconds':>10}{'peak / columns':>17}")
    for name in taken:
        print(f"{name:<28}{result['seconds'][name]:>10.2f}{result['peak_over_columns'][name]:>17.2f}")
    print(f"{'reading alone':<28}{'':>10}{result['reading_over_columns']:>17.2f}")
    print(f"{'comparing, beside':<28}{'':>10}{result['added_over_columns']:>17.2f}  goal 2 at most")
    for name, ratio in result["ratio"].items():
        spread = f"({ratio['lowest']:.2f} – {ratio['highest']:.2f})"
        print(f"{name} / {AGGREGATE}: {ratio['median']:.2f} {spread}, goal 4 at most")
    return result


def of_texts(count: int, path: Path) -> dict[str, Any]:
    """What pairs with texts take at most; it is printed, too."""
    size = with_texts(count, path)
    found = {name: _memory_of(path, name, "--memory-with-texts") for name in (COMPARE, LAZILY)}
    print(f"{count:,} pairs with texts, outputs compared; texts: {size / 1e6:,.0f} MB")
    print(f"{'':<28}{'seconds':>10}{'peak / texts':>17}")
    for name, each in found.items():
        print(f"{name:<28}{each['seconds']:>10.2f}{each['peak'] / size:>17.2f}")
    return {
        "pairs": count,
        "texts_bytes": size,
        "seconds": {name: each["seconds"] for name, each in found.items()},
        "peak_over_texts": {name: each["peak"] / size for name, each in found.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--pairs-with-texts", type=int, help="by default two fifths of --pairs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    for what in ("--memory", "--memory-with-texts"):
        parser.add_argument(what, nargs=2, metavar=("RUN", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    for asked, run in ((options.memory, memory), (options.memory_with_texts, memory_with_texts)):
        if asked:
            print(json.dumps(run(Path(asked[1]), asked[0])))
            return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.parquet"
        result = of_numbers(options.pairs, options.rounds, path)
        result["with_texts"] = of_texts(options.pairs_with_texts or 2 * options.pairs // 5, path)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
