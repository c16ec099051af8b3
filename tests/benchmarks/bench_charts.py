"""Drawing 100,000 pairs: how long each figure takes, and how large it is when it goes to a browser.

    python tests/benchmarks/bench_charts.py [--pairs 100000] [--rounds 5] [--quick] [--json PATH]

A figure is made and written as JSON, which is what Plotly draws; the comparison is there before. With one arm
and with three, prompts and streams among them.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import polars as pl
from bench_compare import pairs
from tables import Goal, Spread, finish, show, three

import mirrorkit as mk

CHARTS: dict[str, Callable[[mk.Comparison], Any]] = {
    "plot": mk.Comparison.plot,
    "latency": mk.Comparison.latency,
    "cost": mk.Comparison.cost,
    "outputs": mk.Comparison.outputs,
    "errors": mk.Comparison.errors,
    "lag": mk.Comparison.lag,
    "trajectory": mk.Comparison.trajectory,
}
SECONDS, KILOBYTES = 2.0, 300.0
"""The most that a figure of one arm should take."""


def with_prompts(count: int, arms: int) -> pl.DataFrame:
    """The pairs of as many requests as there are pairs in an arm, with a prompt each."""
    frame = pairs(count // arms)
    prompt = pl.format(
        "Question {}: how high is that mountain, and who was on it first?", pl.int_range(pl.len())
    )
    # JSON has quotes and braces, of which a format string's would be its own
    messages = pl.concat_str(pl.lit('[{"role": "user", "content": "'), prompt, pl.lit('"}]'))
    frame = frame.with_columns(messages=messages)
    names = ("next", "other", "control")[-arms:] if arms > 1 else ("next",)
    return pl.concat(
        frame.with_columns(arm=pl.lit(name), pair_id=pl.format("{} {}", pl.lit(name), "pair_id"))
        for name in names
    )


def measured(count: int, arms: int, rounds: int) -> list[dict[str, Any]]:
    """Seconds and kilobytes of each figure."""
    compared = mk.compare(with_prompts(count, arms), outputs=False, progress=False)
    rows = []
    for name, chart in CHARTS.items():
        taken, text = [], ""
        for number in range(rounds + 1):
            start = time.perf_counter()
            text = chart(compared).to_json()
            if number:  # the first is to warm up
                taken.append(time.perf_counter() - start)
        points = sum(_points(trace) for trace in json.loads(text)["data"])
        rows.append(
            {
                "figure": name,
                "arms": arms,
                "seconds": Spread.of(taken),
                "points": points,
                "kB": len(text) / 1e3,
            }
        )
    return rows


def _points(trace: dict[str, Any]) -> int:
    if trace["type"] == "heatmap":
        return sum(len(row) for row in trace["z"])
    return len(trace.get("x") or [])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="does it run? its figures say little")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    count, rounds = (2_000, 1) if options.quick else (options.pairs, options.rounds)
    rows = [row for arms in (1, 3) for row in measured(count, arms, rounds)]
    show(
        f"Figures of {count:,} pairs",
        f"seconds to make a figure and write it as JSON, median of {rounds} (lowest–highest)",
        ["figure", "arms", "seconds", "points", "kB"],
        [
            [row["figure"], row["arms"], row["seconds"], f"{row['points']:,}", three(row["kB"])]
            for row in rows
        ],
    )
    goals = [
        goal
        for row in rows
        if row["arms"] == 1
        for goal in (
            Goal(f"{row['figure']}, seconds", row["seconds"].median, SECONDS),
            Goal(f"{row['figure']}, kB", row["kB"], KILOBYTES),
        )
    ]
    finish(options.json, rows, goals, pairs=count)


if __name__ == "__main__":
    main()
