"""CPU time of a request: a plain Router, LiteLLM's own `silent_model`, and sessions, side by side.

    python tests/benchmarks/bench_cpu.py [--variants plain,litellm,shared,process] [--quick]

Each round runs every variant once, in turn, warm, against a simulator in a process of its own, and counts
this process's CPU time (all threads, no children) until every answer, silent ones included, is in. Beside it
stands the CPU time of the child that makes the silent calls of `isolation="process"`. What is compared are
the medians over the rounds of each variant, of the ratios and of the differences within a round.
"""

import argparse
import asyncio
import gc
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from tables import Goal, Spread, finish, show
from variants import MESSAGES, Contest, Name, Variant, contest_of, cpu_of, parser_of

from mirrorkit.simulator import SimulatedModel

MODELS = (SimulatedModel("gpt-4o", ttft_s=0.01), SimulatedModel("gpt-4o-mini", ttft_s=0.01))
STREAM = {"stream": True, "stream_options": {"include_usage": True}}


async def _spread(variant: Variant, requests: int, concurrency: int, **kwargs: Any) -> None:
    turns = iter(range(requests))

    async def work() -> None:
        for _ in turns:
            answer = await variant.acompletion(model="chat", messages=MESSAGES, **kwargs)
            if kwargs.get("stream"):
                async for _chunk in answer:
                    pass

    await asyncio.gather(*(work() for _ in range(concurrency)))
    await variant.settle()


def run_async(loop: asyncio.AbstractEventLoop, variant: Variant, requests: int, **kwargs: Any) -> None:
    """Send so many, eight at once, and wait until all is done."""
    loop.run_until_complete(_spread(variant, requests, 8, **kwargs))


def run_sync(variant: Variant, requests: int) -> None:
    """Send so many, one after the other, and wait until all is done."""
    for _ in range(requests):
        variant.completion(model="chat", messages=MESSAGES)
    variant.settle_blocking()


def measured(contest: Contest, name: Name, requests: int, run: Callable[[Variant], None]) -> dict[str, float]:
    """Milliseconds of CPU a request, of this process and of the child."""
    variant, child = contest.variants[name], contest.find_child() if name is Name.PROCESS else None
    gc.collect()
    theirs = 0.0 if child is None else cpu_of(child)
    start = time.process_time()
    with variant.turn():
        run(variant)
    taken = time.process_time() - start
    theirs = 0.0 if child is None else cpu_of(child) - theirs
    return {"parent": 1_000 * taken / requests, "child": 1_000 * theirs / requests}


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows by mode and variant: medians over the rounds, and the ratios and differences."""
    rows, requests = [], options.requests
    with asyncio.Runner() as runner, contest_of(MODELS, options.variants) as contest:
        loop = runner.get_loop()
        modes: dict[str, Callable[[Variant], None]] = {
            "async": lambda variant: run_async(loop, variant, requests),
            "async stream": lambda variant: run_async(loop, variant, requests, **STREAM),
            "sync": lambda variant: run_sync(variant, requests),
        }
        for mode, run in modes.items():
            for name in contest.variants:
                measured(contest, name, requests, run)
            taken: dict[Name, list[dict[str, float]]] = {name: [] for name in contest.variants}
            for number in range(options.rounds):
                for name, _ in contest.turns(number):
                    taken[name].append(measured(contest, name, requests, run))
            rows += [_row(mode, name, taken) for name in taken]
    return rows


def _row(mode: str, name: Name, taken: dict[Name, list[dict[str, float]]]) -> dict[str, Any]:
    mine = [round_["parent"] for round_ in taken[name]]
    plain = [round_["parent"] for round_ in taken[Name.PLAIN]]
    theirs = [round_["parent"] for round_ in taken.get(Name.LITELLM, ())]
    return {
        "mode": mode,
        "variant": name,
        "ms": statistics.median(mine),
        "above_plain_ms": Spread.of([a - b for a, b in zip(mine, plain, strict=True)]),
        "over_litellm": Spread.of([a / b for a, b in zip(mine, theirs, strict=True)]) if theirs else None,
        "child_ms": statistics.median(round_["child"] for round_ in taken[name]),
    }


def goals_of(rows: Sequence[dict[str, Any]]) -> list[Goal]:
    """What the figures should be, of the variants that ran."""
    goals = []
    for row in rows:
        if row["variant"] is Name.PROCESS:
            what = f"process, {row['mode']}: ms of the parent above plain"
            goals.append(Goal(what, row["above_plain_ms"].median, 0.7))
        if row["variant"] is Name.SHARED and row["over_litellm"] is not None:
            goals.append(Goal(f"shared, {row['mode']}: over LiteLLM's", row["over_litellm"].median, 1.02))
    return goals


def main() -> None:
    parser = parser_of(__doc__, rounds=15)
    parser.add_argument("--requests", type=int, default=100)
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.requests = 1, 8
    rows = measure(options)
    show(
        "CPU of a request in ms, its silent call included",
        f"medians of {options.rounds} rounds of {options.requests} requests; this process's, all threads; "
        "differences and ratios within a round: median (lowest–highest)\n"
        "goal: process ≤ 0.7 ms above plain, shared ≤ 1.02 × LiteLLM's",
        ["mode, variant", "CPU ms", "above plain", "/ LiteLLM's", "child's ms"],
        [
            [
                f"{row['mode']}, {row['variant'].label}",
                f"{row['ms']:.2f}",
                row["above_plain_ms"],
                row["over_litellm"] or "",
                f"{row['child_ms']:.2f}" if row["variant"] is Name.PROCESS else "",
            ]
            for row in rows
        ],
    )
    finish(options.json, rows, goals_of(rows))


if __name__ == "__main__":
    main()
