"""What the pair browser takes: opening, the next pair, a filter, a sort, a vote, at few pairs and at many.

    python tests/benchmarks/bench_browser.py [--quick]

Every pair has so many bytes of text: half of it messages, a quarter each answer, all texts different. Each
figure is the time in Python from the page's message until what the page is to draw is ready as JSON; a
network and a browser come on top, the same for any number of pairs, as the bytes that cross are. Small and
large are measured in turn. A sort by similarity compares all answers the first time, unless `compare()` has.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench_record import Maker
from tables import Goal, finish, show, three

from mirrorkit.notebook.reading.reader import Reader
from mirrorkit.store.frame import FrameStore

AT_ONCE = 5_000


@dataclass(slots=True)
class Deed:
    """What a reader does, and how long the page waits for it."""

    name: str
    message: dict[str, Any]
    limit_ms: float


DEEDS = (
    Deed("next", {"do": "next"}, 50),
    Deed("page", {"do": "go", "to": 60}, 50),
    Deed("vote", {"do": "vote", "choice": "left"}, 50),
    Deed("undo", {"do": "undo"}, 50),
    Deed("filter: differs", {"do": "query", "query": {"differs": True}}, 500),
    Deed("filter: none", {"do": "query", "query": {"differs": False}}, 500),
    Deed(
        "filter: expression",
        {"do": "query", "query": {"expression": 'pl.col("primary_latency_s") > 0.55'}},
        500,
    ),
    Deed("filter: cleared", {"do": "query", "query": {"expression": ""}}, 500),
    Deed("sort: latency", {"do": "query", "query": {"sort": "latency"}}, 500),
    Deed("sort: newest", {"do": "query", "query": {"sort": "newest"}}, 500),
)


def a_store(pairs: int, text_bytes: int) -> FrameStore:
    """A store of so many pairs, as a session has one."""
    maker, store = Maker(text_bytes), FrameStore()
    for start in range(0, pairs, AT_ONCE):
        for pair in maker.pairs(min(AT_ONCE, pairs - start)):
            store.append(pair)
        store.frame()
    return store


def timed(do: Callable[[], Reader]) -> tuple[float, int]:
    """Seconds, and bytes that cross."""
    start = time.perf_counter()
    crossed = len(json.dumps(do().view()))
    return time.perf_counter() - start, crossed


def round_of(store: FrameStore) -> dict[str, tuple[float, int]]:
    """Each deed once, beginning with opening."""
    readers: list[Reader] = []

    def opened() -> Reader:
        readers.append(Reader(store.frame, store.label))
        return readers[0]

    def done(message: dict[str, Any]) -> Reader:
        readers[0].do({**message, "pair": readers[0].pair_id})
        return readers[0]

    found = {"open": timed(opened)}
    for deed in DEEDS:
        found[deed.name] = timed(lambda deed=deed: done(deed.message))  # type: ignore[misc]
    return found


def bench(sizes: Sequence[int], rounds: int, text_bytes: int) -> list[dict[str, Any]]:
    """A row for each deed, with the medians at each size."""
    stores = {size: a_store(size, text_bytes) for size in sizes}
    taken: dict[int, list[dict[str, tuple[float, int]]]] = {size: [] for size in sizes}
    for number in range(rounds + 1):
        for size in sizes if number % 2 else reversed(sizes):
            found = round_of(stores[size])
            if number:  # the first is to warm up
                taken[size].append(found)
    return [
        {
            "bench": "browser",
            "deed": name,
            **{f"ms_{size}": 1_000 * median(each[name][0] for each in taken[size]) for size in sizes},
            **{f"bytes_{size}": int(median(each[name][1] for each in taken[size])) for size in sizes},
        }
        for name in ("open", *(deed.name for deed in DEEDS))
    ]


def similarity(store: FrameStore) -> dict[str, float]:
    """Seconds of a sort by similarity: the first, which compares all answers, and the next."""
    reader = Reader(store.frame, store.label)
    asked = {"do": "query", "query": {"sort": "similarity"}}
    first, again = (timed(lambda: (reader.do(asked), reader)[1])[0] for _ in range(2))
    return {"first_s": first, "again_s": again}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--text-bytes", type=int, default=2_000)
    parser.add_argument("--sizes", type=int, nargs=2, default=[100, 100_000])
    parser.add_argument("--quick", action="store_true", help="does it run? its figures say little")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.sizes = 2, [100, 2_000]
    rows = bench(options.sizes, options.rounds, options.text_bytes)
    small, large = options.sizes
    show(
        "The pair browser: milliseconds until what the page draws is ready",
        f"{options.rounds} rounds, {options.text_bytes:,} bytes of text a pair; medians\n"
        "goal: 50 ms for a key, 500 ms to open, filter or sort; as many bytes at any number of pairs",
        ["deed", f"{small:,} pairs", f"{large:,} pairs", "kB that cross", "kB that cross"],
        [
            [
                row["deed"],
                *(three(row[f"ms_{size}"]) for size in (small, large)),
                *(three(row[f"bytes_{size}"] / 1_000) for size in (small, large)),
            ]
            for row in rows
        ],
    )
    answers = similarity(a_store(large, options.text_bytes))
    print(
        f"a sort by similarity at {large:,} pairs: {three(answers['first_s'])} s the first time, "
        f"{three(answers['again_s'])} s again"
    )
    limits = {"open": 500.0, **{deed.name: deed.limit_ms for deed in DEEDS}}
    goals = [
        Goal(f"ms, {row['deed']}, at {large:,} pairs", row[f"ms_{large}"], limits[row["deed"]])
        for row in rows
    ]
    most = max(row[f"bytes_{large}"] / row[f"bytes_{small}"] for row in rows)
    goals.append(Goal("bytes that cross, at the large number of pairs over the small", most, 1.2))
    finish(options.json, rows, goals, options=vars(options), similarity=answers)


if __name__ == "__main__":
    main()
