"""What mirroring does to the primaries' latency at growing loads, and to their number at the highest.

    python tests/benchmarks/bench_load.py [--variants plain,litellm,shared,process] [--short] [--quick]

All variants send the same requests through one Router of one process, to a simulator in another that answers
in 50 ms; each round runs every variant once, warm, and waits until a variant's mirrors are done before the
next one begins.

Open loop: requests are sent at times drawn beforehand (Poisson or evenly spaced, the same for each variant of
a round), at shares of the rate at which the plain Router is saturated, as measured at the start; `--short`
takes two of them and three rounds, which is under five minutes. Latency counts from the time at which a
request was due, not from when the busy loop came to send it. Closed loop: workers that send as fast as they
get answers. Ratios to the plain Router are taken within a round.
"""

import argparse
import asyncio
import gc
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tables import Goal, Spread, finish, quantile, show, three
from variants import MESSAGES, Contest, Name, Session, Variant, contest_of, parser_of

from mirrorkit.simulator import SimulatedModel

ANSWER_S = 0.05
LOADS, SHORT_LOADS = (0.25, 0.5, 0.75, 0.9), (0.25, 0.75)
LEVELS = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
MODELS = [SimulatedModel(name, ttft_s=ANSWER_S, token_s=0.0, sigma=0.0) for name in ("gpt-4o", "gpt-4o-mini")]


@dataclass(slots=True)
class Turn:
    """What one variant did in one round."""

    latencies: list[float]
    sent: int
    completed: int = 0
    completed_meanwhile: int = 0
    """mirrors done by the time the last primary was"""
    dropped: int = 0
    drain_s: float = 0.0
    rate: float = 0.0
    waits: list[float] = field(default_factory=list)


def due_times(rate: float, count: int, arrivals: str, seed: str) -> list[float]:
    """When requests are to be sent, in seconds from the start, at so many a second on average."""
    drawn = random.Random(seed)
    times, now = [], 0.0
    for _ in range(count):
        times.append(now)
        now += drawn.expovariate(rate) if arrivals == "poisson" else 1 / rate
    return times


async def open_loop(variant: Variant, due: Sequence[float]) -> Turn:
    """Send each request when it is due, whatever became of those before it."""
    latencies: list[float] = []

    async def send(intended: float) -> None:
        await variant.acompletion(model="chat", messages=MESSAGES)
        latencies.append(time.perf_counter() - intended)

    start = time.perf_counter() + 0.01
    tasks = []
    for after in due:
        await asyncio.sleep(max(0.0, start + after - time.perf_counter()))
        tasks.append(asyncio.create_task(send(start + after)))
    await asyncio.gather(*tasks)
    return Turn(latencies, len(due))


async def closed_loop(variant: Variant, workers: int, seconds: float) -> Turn:
    """Send the next request when one is answered, in each worker, and no more after so many seconds."""
    latencies: list[float] = []
    start = time.perf_counter()

    async def work() -> None:
        while (began := time.perf_counter()) < start + seconds:
            await variant.acompletion(model="chat", messages=MESSAGES)
            latencies.append(time.perf_counter() - began)

    await asyncio.gather(*(work() for _ in range(workers)))
    return Turn(latencies, len(latencies), rate=len(latencies) / (time.perf_counter() - start))


async def take_turn(variant: Variant, work: Any) -> Turn:
    """Let a variant do its work, then wait until it has nothing under way any more."""
    gc.collect()
    done_before, dropped_before = variant.completed, variant.dropped
    with variant.turn():
        turn: Turn = await work
        left, dropped = variant.under_way, variant.dropped - dropped_before
        ended = time.perf_counter()
        await variant.settle()
    turn.drain_s = time.perf_counter() - ended
    turn.completed, turn.dropped = variant.completed - done_before, dropped
    turn.completed_meanwhile = max(0, turn.completed - left)
    if isinstance(variant, Session) and turn.completed:
        turn.waits = variant.waits(turn.completed)
    await asyncio.sleep(0.1)  # what a child process still does for its loggers
    return turn


async def saturated_rate(plain: Variant, workers: int, seconds: float) -> float:
    """Requests per second that the plain Router answers at most: the median of three trials."""
    trials = [await take_turn(plain, closed_loop(plain, workers, seconds)) for _ in range(3)]
    return statistics.median(turn.rate for turn in trials)


async def rounds_of(contest: Contest, rounds: int, work: Any) -> dict[Name, list[Turn]]:
    """Each variant's turns, one a round; `work(variant, round)` is what it does in one."""
    turns: dict[Name, list[Turn]] = {name: [] for name in contest.variants}
    for number in range(rounds):
        for name, variant in contest.turns(number):
            turns[name].append(await take_turn(variant, work(variant, number)))
    return turns


def latency_row(name: Name, load: float, rate: float, turns: dict[Name, list[Turn]]) -> dict[str, Any]:
    """A variant's latencies at one load: ratios to plain within each round, and milliseconds."""
    mine, plain = turns[name], turns[Name.PLAIN]
    row: dict[str, Any] = {"bench": "open loop", "variant": name, "load": load, "rate": rate}
    for level, at in LEVELS.items():
        ratios = [
            quantile(turn.latencies, at) / quantile(base.latencies, at)
            for turn, base in zip(mine, plain, strict=True)
        ]
        everything = [latency for turn in mine for latency in turn.latencies]
        row[level] = Spread.of(ratios)
        row[f"{level}_ms"] = 1_000 * statistics.median(quantile(turn.latencies, at) for turn in mine)
        row[f"{level}_ms_of_all_rounds"] = 1_000 * quantile(everything, at)
    return row | mirrors_of(mine)


def mirrors_of(turns: Sequence[Turn]) -> dict[str, Any]:
    """What became of a variant's mirrors over all rounds, as shares of the requests."""
    sent = sum(turn.sent for turn in turns)
    waits = [wait for turn in turns for wait in turn.waits]
    return {
        "requests": sent,
        "completed": sum(turn.completed for turn in turns) / sent,
        "completed_meanwhile": sum(turn.completed_meanwhile for turn in turns) / sent,
        "dropped": sum(turn.dropped for turn in turns) / sent,
        "drain_s": statistics.median(turn.drain_s for turn in turns),
        "wait_p50_s": quantile(waits, 0.5) if waits else None,
        "wait_p95_s": quantile(waits, 0.95) if waits else None,
    }


async def bench_open_loop(contest: Contest, top: float, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Bench 1: rows by load and variant."""
    rows = []
    for load in SHORT_LOADS if options.short else LOADS:
        rate = load * top
        count = max(options.requests, round(rate * options.seconds))
        due = [due_times(rate, count, options.arrivals, f"{load} {n}") for n in range(options.rounds)]
        turns = await rounds_of(contest, options.rounds, lambda v, n, due=due: open_loop(v, due[n]))
        rows += [latency_row(name, load, rate, turns) for name in turns]
        show_open_loop(rows[-len(turns) :], count, options)
    return rows


async def bench_saturated(contest: Contest, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Bench 2: rows by variant."""
    turns = await rounds_of(
        contest, options.rounds, lambda v, _: closed_loop(v, options.workers, options.seconds)
    )
    rows = []
    for name, mine in turns.items():
        ratios = [turn.rate / base.rate for turn, base in zip(mine, turns[Name.PLAIN], strict=True)]
        row = {"bench": "saturated", "variant": name, "ratio": Spread.of(ratios)}
        rows.append(row | {"rate": statistics.median(turn.rate for turn in mine)} | mirrors_of(mine))
    show_saturated(rows, options)
    return rows


def show_open_loop(rows: Sequence[dict[str, Any]], count: int, options: argparse.Namespace) -> None:
    load, rate = rows[0]["load"], rows[0]["rate"]
    show(
        f"Open loop at {load:.0%} of the plain Router's saturated rate: {three(rate)} requests/s",
        f"arrivals: {options.arrivals}; {options.rounds} rounds of {count} requests, answers of "
        f"{1_000 * ANSWER_S:.0f} ms; latency from the due time; ratios to plain within a round: median "
        "(lowest–highest); wait: from the primary's answer to the silent call\n"
        "goal: process p50 ≤ 1.03, p99 ≤ 1.10 up to 75 %, every mirror completed; shared better than LiteLLM",
        ["variant", *LEVELS, "p50 ms", "p99 ms", "mirrors done", "dropped", "wait p50 s", "wait p95 s"],
        [
            [
                row["variant"].label,
                *(row[level] for level in LEVELS),
                f"{row['p50_ms']:.1f}",
                f"{row['p99_ms']:.1f}",
                *_mirrors(row),
                *("" if row[wait] is None else three(row[wait]) for wait in ("wait_p50_s", "wait_p95_s")),
            ]
            for row in rows
        ],
    )


def show_saturated(rows: Sequence[dict[str, Any]], options: argparse.Namespace) -> None:
    show(
        f"Saturated: {options.workers} workers, each sending when it is answered",
        f"{options.rounds} rounds of {options.seconds:g} s, answers of {1_000 * ANSWER_S:.0f} ms; ratio to "
        "plain within a round: median (lowest–highest); mirrors as shares of the requests\n"
        "goal: process ≥ 0.95",
        ["variant", "primaries/s", "ratio", "mirrors done", "of them meanwhile", "dropped", "drain s"],
        [
            [
                row["variant"].label,
                three(row["rate"]),
                row["ratio"],
                _mirrors(row)[0],
                f"{row['completed_meanwhile']:.1%}" if row["completed"] else "",
                _mirrors(row)[1],
                f"{row['drain_s']:.1f}",
            ]
            for row in rows
        ],
    )


def _mirrors(row: dict[str, Any]) -> list[str]:
    mirrors = row["variant"] in (Name.LITELLM, Name.SHARED, Name.PROCESS)
    return [f"{row[name]:.1%}" if mirrors else "" for name in ("completed", "dropped")]


def goals_of(rows: Sequence[dict[str, Any]]) -> list[Goal]:
    """What the figures should be, of the variants that ran."""
    goals = []
    opened = {(row["load"], row["variant"]): row for row in rows if row["bench"] == "open loop"}
    for (load, name), row in opened.items():
        at = f"at {load:.0%}"
        if name is Name.PROCESS and load <= 0.75:
            goals.append(Goal(f"process, p50 {at}", row["p50"].median, 1.03))
            goals.append(Goal(f"process, p99 {at}", row["p99"].median, 1.10))
        if name is Name.PROCESS:
            goals.append(Goal(f"process, mirrors completed {at}", row["completed"], 1.0, at_least=True))
        if name is Name.SHARED and (load, Name.LITELLM) in opened:
            theirs = opened[load, Name.LITELLM]
            goals += [
                Goal(f"shared, {level} {at}, against LiteLLM's", row[level].median, theirs[level].median)
                for level in ("p50", "p99")
            ]
    for row in rows:
        if row["bench"] == "saturated" and row["variant"] is Name.PROCESS:
            goals.append(Goal("process, saturated", row["ratio"].median, 0.95, at_least=True))
    return goals


async def run(options: argparse.Namespace) -> tuple[list[dict[str, Any]], float]:
    """Both benches; gives their rows and the plain Router's saturated rate."""
    rows: list[dict[str, Any]] = []
    with contest_of(MODELS, options.variants) as contest:
        for variant in contest.variants.values():
            await take_turn(variant, closed_loop(variant, 8, options.warm_up))
        top = await saturated_rate(contest.variants[Name.PLAIN], options.workers, options.seconds)
        if "open" in options.only:
            rows += await bench_open_loop(contest, top, options)
        if "saturated" in options.only:
            rows += await bench_saturated(contest, options)
    return rows, top


def main() -> None:
    parser = parser_of(__doc__, rounds=7)
    parser.add_argument("--only", default="open,saturated")
    parser.add_argument("--short", action="store_true", help="two loads and three rounds")
    parser.add_argument("--arrivals", choices=("poisson", "even"), default="poisson")
    parser.add_argument("--seconds", type=float, default=4.0, help="least length of a variant's turn")
    parser.add_argument("--requests", type=int, default=200, help="least number of requests of a turn")
    parser.add_argument("--workers", type=int, default=32)
    parser.add_argument("--warm-up", type=float, default=2.0, help="seconds")
    options = parser.parse_args()
    if options.short:
        options.rounds = 3
    if options.quick:
        options.rounds, options.seconds, options.requests, options.warm_up = 1, 0.4, 12, 0.3
    rows, top = asyncio.run(run(options))
    print(f"\nplain Router, saturated: {three(top)} requests/s, before the rounds")
    finish(options.json, rows, goals_of(rows), saturated_rate=top, options=vars(options))


if __name__ == "__main__":
    main()
