"""What the dashboard costs: while nothing happens, while pairs come in fast, and each refresh.

    python tests/benchmarks/bench_dashboard.py [--quick]

A session's dashboard ticks on its thread as it does in a notebook; what it would send goes nowhere. Pairs of
so many bytes of text are fed straight into the session's store. What they cost without a dashboard is taken
first, in turn with the same under it; the difference is the dashboard's, in shares of one core. A refresh is
everything made anew, the charts after 500 new pairs and the gates over all.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench_record import Maker
from tables import Goal, finish, show, three

import mirrorkit as mk
from mirrorkit.notebook.dashboard import Dashboard, Ticker
from mirrorkit.notebook.live import board
from mirrorkit.notebook.live.gauges import Tally
from mirrorkit.simulator import Simulator
from mirrorkit.watching import Watched

PER_SECOND = 1_000
NEW = 500
BATCH = 50


@contextmanager
def a_session() -> Iterator[mk.MirrorSession]:
    """A session whose store pairs can be fed into."""
    with Simulator() as sim:
        models = [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")]
        with mk.MirrorSession(models, silent_model="next") as session:
            yield session


def feed(session: mk.MirrorSession, maker: Maker, count: int) -> None:
    """So many pairs, as fast as they go in."""
    for pair in maker.pairs(count):
        session._store.append(pair)


def paced(session: mk.MirrorSession, maker: Maker, seconds: float) -> float:
    """Pairs at PER_SECOND for so long; the process's CPU seconds per second."""
    pairs = maker.pairs(int(seconds * PER_SECOND))
    began, worked = time.monotonic(), time.process_time()
    for start in range(0, len(pairs), BATCH):
        for pair in pairs[start : start + BATCH]:
            session._store.append(pair)
        time.sleep(max(0.0, began + (start + BATCH) / PER_SECOND - time.monotonic()))
    return (time.process_time() - worked) / (time.monotonic() - began)


@contextmanager
def watched(session: mk.MirrorSession) -> Iterator[list[int]]:
    """A dashboard that ticks; gives the sizes of what it sends."""
    sent: list[int] = []
    dashboard = Dashboard(Watched(session), lambda parts: sent.append(sum(map(len, parts.values()))))
    dashboard.tick()
    ticker = Ticker(dashboard.tick)
    ticker.start()
    try:
        yield sent
    finally:
        ticker.stop()
        ticker.join()


def idle(session: mk.MirrorSession, seconds: float) -> float:
    """The share of a core that a dashboard takes while nothing happens, over the session's own."""
    shares = []
    for _ in range(2):
        worked = time.process_time()
        time.sleep(seconds)
        alone = time.process_time() - worked
        with watched(session):
            time.sleep(2)
            worked = time.process_time()
            time.sleep(seconds)
            shares.append((time.process_time() - worked - alone) / seconds)
    return statistics.median(shares)


def busy(session: mk.MirrorSession, maker: Maker, seconds: float) -> tuple[float, float, float]:
    """The share of a core that it takes while pairs come in, messages and kB that it sends a second."""
    alone = paced(session, maker, seconds)
    with watched(session) as sent:
        paced(session, maker, min(seconds, 3))
        sent.clear()
        under = paced(session, maker, seconds)
        messages, size = len(sent) / seconds, sum(sent) / 1_000 / seconds
    return under - alone, messages, size


def refreshes(session: mk.MirrorSession, maker: Maker, size: int, rounds: int) -> dict[str, Any]:
    """Seconds that the charts and the gates take at so many pairs."""
    feed(session, maker, size - len(session))
    source, tally = Watched(session), Tally()
    parts = {
        "charts": lambda: (tally.read(source.pairs()), board.charts(tally)),
        "gates": lambda: board.gates(source.compare()),
    }
    taken: dict[str, list[float]] = {name: [] for name in parts}
    for number in range(rounds + 1):
        feed(session, maker, NEW)
        for name, make in parts.items():
            start = time.perf_counter()
            make()
            if number:  # the first is to warm up
                taken[name].append(time.perf_counter() - start)
    return {"pairs": size, **{f"{name}_s": statistics.median(each) for name, each in taken.items()}}


def report(rows: list[dict[str, Any]], seconds: float) -> list[Goal]:
    """Print the tables; gives the goals."""
    still, fed, *refreshed = rows
    show(
        "Dashboard: share of a core",
        f"over {seconds:g} s each, what the session does without it taken off\n"
        "goal: under 2 % while nothing happens, under 10 % while pairs come in",
        ["while", "% of a core", "messages/s", "kB/s"],
        [
            ["nothing happens", three(100 * still["share"]), "0", "0"],
            [
                f"{PER_SECOND:,} pairs come in a second",
                three(100 * fed["share"]),
                three(fed["messages"]),
                three(fed["kilobytes"]),
            ],
        ],
    )
    show(
        "Dashboard: a refresh",
        f"charts after {NEW} new pairs, gates over all; medians",
        ["pairs", "charts ms", "gates ms"],
        [
            [f"{row['pairs']:,}", f"{1_000 * row['charts_s']:.1f}", f"{1_000 * row['gates_s']:.0f}"]
            for row in refreshed
        ],
    )
    return [
        Goal("share of a core, idle", max(0.0, still["share"]), 0.02),
        Goal(f"share of a core at {PER_SECOND:,} pairs/s", fed["share"], 0.1),
        Goal(
            "charts at the large store over the small",
            refreshed[-1]["charts_s"] / refreshed[0]["charts_s"],
            3,
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--text-bytes", type=int, default=2_000)
    parser.add_argument("--sizes", type=int, nargs=2, default=[10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="does it run? its figures say little")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.sizes, options.rounds = 2, [1_000, 3_000], 2
    maker = Maker(options.text_bytes)
    with a_session() as session:
        feed(session, maker, 1_000)
        rows: list[dict[str, Any]] = [{"bench": "idle", "share": idle(session, options.seconds)}]
        share, messages, size = busy(session, maker, options.seconds)
        rows.append({"bench": "busy", "share": share, "messages": messages, "kilobytes": size})
    with a_session() as session:
        rows += [
            {"bench": "refresh", **refreshes(session, maker, many, options.rounds)} for many in options.sizes
        ]
    finish(options.json, rows, report(rows, options.seconds), options=vars(options))


if __name__ == "__main__":
    main()
