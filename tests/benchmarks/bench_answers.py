"""How long it takes to compare the answers of a pair, by what they are, and the table of every tag.

    python tests/benchmarks/bench_answers.py [--pairs 20000] [--rounds 5] [--quick] [--json PATH]

Prose of some 800 characters, JSON by a schema with nested objects, and tool calls; of half of the pairs both
answers are the same. The tags are 50, three of them on each of 100,000 pairs.
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import numpy as np
import polars as pl
from answers import KINDS, answers
from bench_compare import pairs
from tables import Goal, Spread, finish, show, three

import mirrorkit as mk
from mirrorkit.compare.answers.differences import differences

MICROSECONDS = {"prose": 15.0, "JSON with a schema": 40.0}
"""The most that a pair should take, on two cores."""
SECONDS_BY_TAG = 3.0
TAGS, TAGS_A_PAIR = 50, 3


def seconds(run: Callable[[], object], rounds: int) -> list[float]:
    """Of each round but the first, which is to warm up."""
    taken = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return taken[1:]


def of_answers(count: int, rounds: int) -> list[dict[str, Any]]:
    """Microseconds a pair, of each kind of answer."""
    rows = []
    for kind in KINDS:
        frame = answers(kind, count)
        taken = seconds(lambda frame=frame: differences(frame), rounds)
        size = sum(
            frame[f"{side}_{name}"].str.len_chars().sum()
            for side in ("primary", "silent")
            for name in ("output", "tool_calls")
        )
        spread = Spread.of([1e6 * each / count for each in taken])
        rows.append({"answers": kind, "microseconds": spread, "characters": size / count / 2})
    return rows


def by_tags(count: int, rounds: int) -> Spread:
    """Seconds for the table of every tag."""
    drawn = np.random.default_rng(1).integers(0, TAGS, (count, TAGS_A_PAIR)).tolist()
    tags = pl.Series("tags", [[f"tag {each}" for each in row] for row in drawn])
    compared = mk.compare(pairs(count).with_columns(tags), outputs=False, progress=False)
    return Spread.of(seconds(lambda: compared.by("tags"), rounds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="does it run? its figures say little")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    count, rounds = (1_000, 1) if options.quick else (options.pairs, options.rounds)
    tagged = 5 * count
    rows = of_answers(count, rounds)
    show(
        f"The answers of {count:,} pairs",
        f"microseconds a pair, median of {rounds} (lowest–highest)",
        ["answers", "characters", "microseconds"],
        [[row["answers"], three(row["characters"]), row["microseconds"]] for row in rows],
    )
    of_tags = by_tags(tagged, rounds)
    print(f"The table of each of {TAGS} tags, {tagged:,} pairs: {of_tags} s")
    goals = [
        Goal(
            f"{row['answers']}, microseconds a pair", row["microseconds"].median, MICROSECONDS[row["answers"]]
        )
        for row in rows
        if row["answers"] in MICROSECONDS
    ]
    goals.append(Goal("by tags, seconds", of_tags.median, SECONDS_BY_TAG))
    finish(options.json, rows, goals, pairs=count, by_tags=of_tags)


if __name__ == "__main__":
    main()
