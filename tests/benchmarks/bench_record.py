"""What recording costs: pairs a second, memory of a pair, and a look at the frame as it grows.

    python tests/benchmarks/bench_record.py [--quick]

Every pair has so many bytes of text: half of it messages, a quarter each answer, all texts different. Pairs
go the way that they go in a session, through `FrameStore.append` (which writes the journal first, where there
is one), with a look at the frame after every 1,000; making the pairs is not timed. Memory is what a process
of its own holds more, after a look, than before the first pair, once Polars' allocator has given back what
it keeps for ten seconds in case it is asked again. Looks at a small and at a large store, 100
new pairs each time, are taken in turn.
"""

import argparse
import contextlib
import gc
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from tables import Goal, Spread, finish, show, three

from mirrorkit.records import Call, Pair
from mirrorkit.store.frame import FrameStore
from mirrorkit.store.journal import Journal

LOOK_EVERY = 1_000
NEW = 100
ALONE, JOURNALED = "frame alone", "journal and frame"
WORDS = ("parcel", "invoice", "arrives", "Monday", "please", "check", "whether", "the", "courier", "left")


class Maker:
    """Makes pairs, no two with the same text."""

    def __init__(self, text_bytes: int) -> None:
        drawn = random.Random(1)
        self._pool = " ".join(drawn.choices(WORDS, k=200_000))
        self._bytes = text_bytes
        self._made = 0
        self._start = datetime(2026, 11, 1, tzinfo=UTC)

    def pairs(self, count: int) -> list[Pair]:
        """The next so many."""
        return [self._pair() for _ in range(count)]

    def _text(self, length: int) -> str:
        at = (self._made * 7_919 + length) % (len(self._pool) - length)
        return f"{self._made:09d} {self._pool[at : at + length]}"[:length]

    def _call(self, model: str, text: str) -> Call:
        return Call(
            "ok",
            attempts=1,
            fell_back=False,
            cache_hit=False,
            model=model,
            provider="openai",
            deployment_id="5d41402abc4b2a76b9719d911017c592",
            latency_s=0.5 + self._made % 100 / 1_000,
            overhead_s=0.01,
            input_tokens=300,
            output_tokens=120,
            usage_source="provider",
            cost_usd=0.001 + self._made % 10 / 10_000,
            output=text,
            finish_reason="stop",
        )

    def _pair(self) -> Pair:
        self._made += 1
        number, quarter = self._made, self._bytes // 4
        head = '[{"role":"user","content":"'
        return Pair(
            pair_id=f"{number:08x}-aaaa-4bbb-8ccc-{number:012x}",
            request_id=f"{number:08x}-dddd-4eee-8fff-{number:012x}",
            trace_id=f"{number:08x}-1111-4222-8333-{number:012x}",
            arm="next",
            call_type="completion",
            started_at=self._start + timedelta(seconds=number),
            lag_s=0.6,
            cluster=None,
            tags=(),
            model_group="chat",
            messages=f'{head}{self._text(2 * quarter - len(head) - 3)}"}}]',
            params="{}",
            stream=False,
            primary=self._call("gpt-4o", self._text(quarter)),
            silent=self._call("gpt-4o-mini", self._text(quarter - 1)),
        )


@contextlib.contextmanager
def a_store(journaled: bool) -> Iterator[FrameStore]:
    """A new store, with a journal in a folder of its own or without."""
    with contextlib.ExitStack() as stack:
        journal = None
        if journaled:
            journal = stack.enter_context(Journal(stack.enter_context(tempfile.TemporaryDirectory())))
        yield FrameStore(journal=journal)


@dataclass(slots=True)
class Pace:
    """How fast pairs went through, and what closing the journal took."""

    per_second: float
    close_s: float


def throughput(count: int, text_bytes: int, journaled: bool) -> Pace:
    """Append so many, with a look after every 1,000."""
    maker, taken = Maker(text_bytes), 0.0
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(a_store(journaled))
        for _ in range(max(1, count // LOOK_EVERY)):
            pairs = maker.pairs(LOOK_EVERY)
            gc.collect()
            start = time.perf_counter()
            for pair in pairs:
                store.append(pair)
            store.frame()
            taken += time.perf_counter() - start
        assert store.frame().height == len(store)
        start = time.perf_counter()
        rows = len(store)
        stack.close()
    return Pace(rows / taken, time.perf_counter() - start)


def _resident() -> int:
    """Bytes of memory that this process has now; Linux alone."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(status.partition("VmRSS:")[2].split()[0])


def _settle() -> None:
    """Let Polars' allocator (jemalloc, `dirty_decay_ms` 10,000) give memory back, which it does when used."""
    time.sleep(10)
    for _ in range(1_000):
        pl.DataFrame({"n": range(1_000)}).sort("n")


def memory(count: int, text_bytes: int, journaled: bool) -> dict[str, float]:
    """Bytes a pair takes in this process, over those of its text."""
    maker = Maker(text_bytes)
    with a_store(journaled=False) as warm:
        for pair in maker.pairs(2 * LOOK_EVERY):
            warm.append(pair)
        warm.frame()
    del warm
    with a_store(journaled) as store:
        gc.collect()
        before = _resident()
        for _ in range(max(1, count // LOOK_EVERY)):
            for pair in maker.pairs(LOOK_EVERY):
                store.append(pair)
            store.frame()
        gc.collect()
        _settle()
        after, pairs = _resident(), len(store)
        texts = ("messages", "primary_output", "silent_output")
        frame = store.frame()
        text = sum(int(frame[name].str.len_bytes().sum()) for name in texts)
    return {"bytes_per_pair": (after - before) / pairs, "over_text": (after - before) / text, "pairs": pairs}


def _memory_of(options: argparse.Namespace, journaled: bool) -> dict[str, float]:
    asked = ["--memory", JOURNALED if journaled else ALONE]
    asked += ["--memory-pairs", str(options.memory_pairs), "--text-bytes", str(options.text_bytes)]
    done = subprocess.run([sys.executable, __file__, *asked], stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def looks(sizes: Sequence[int], rounds: int, text_bytes: int) -> dict[int, list[float]]:
    """Seconds of each look at stores of these sizes, after 100 new pairs, the stores in turn."""
    maker = Maker(text_bytes)
    stores = {size: FrameStore() for size in sizes}
    for size, store in stores.items():
        for _ in range(size // LOOK_EVERY):
            for pair in maker.pairs(LOOK_EVERY):
                store.append(pair)
            store.frame()
    taken: dict[int, list[float]] = {size: [] for size in sizes}
    for number in range(rounds + 1):
        for size in sizes if number % 2 else reversed(sizes):
            for pair in maker.pairs(NEW):
                stores[size].append(pair)
            start = time.perf_counter()
            stores[size].frame()
            if number:  # the first is to warm up
                taken[size].append(time.perf_counter() - start)
    return taken


def bench_throughput(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows by way of recording, the two in turn."""
    paces: dict[str, list[Pace]] = {ALONE: [], JOURNALED: []}
    for number in range(options.rounds + 1):
        for name in paces:
            pace = throughput(options.pairs if number else LOOK_EVERY, options.text_bytes, name == JOURNALED)
            if number:  # the first is to warm up
                paces[name].append(pace)
    return [
        {
            "bench": "throughput",
            "way": name,
            "pairs_per_second": Spread.of([pace.per_second for pace in each]),
            "close_s": statistics.median(pace.close_s for pace in each),
        }
        for name, each in paces.items()
    ]


def bench_looks(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows by size of the store; the last has the ratios to the smallest."""
    taken = looks(options.sizes, options.looks, options.text_bytes)
    small = taken[options.sizes[0]]
    return [
        {
            "bench": "look",
            "pairs": size,
            "median_ms": 1_000 * statistics.median(each),
            "mean_ms": 1_000 * statistics.fmean(each),
            "ratio": statistics.median(each) / statistics.median(small),
            "ratio_of_means": statistics.fmean(each) / statistics.fmean(small),
        }
        for size, each in taken.items()
    ]


def report(paces: Sequence[Any], peaks: dict[str, Any], seen: Sequence[Any], options: Any) -> list[Goal]:
    """Print the three tables; gives the goals."""
    text = f"{options.text_bytes:,} bytes of text each"
    show(
        "Recording: pairs per second",
        f"{options.rounds} rounds of {options.pairs:,} pairs, {text}, a look at the frame after every "
        f"{LOOK_EVERY:,}; median (lowest–highest)\ngoal: 20,000/s through sink, journal and frame",
        ["way", "pairs/s", "range", "closing, s"],
        [
            [
                row["way"],
                three(row["pairs_per_second"].median),
                f"{three(row['pairs_per_second'].lowest)}–{three(row['pairs_per_second'].highest)}",
                f"{row['close_s']:.2f}",
            ]
            for row in paces
        ],
    )
    show(
        "Recording: memory of a pair",
        f"resident memory after {int(peaks[ALONE]['pairs']):,} pairs, {text}\ngoal: 1.3 at most",
        ["way", "bytes a pair", "over its text"],
        [[way, three(row["bytes_per_pair"]), f"{row['over_text']:.2f}"] for way, row in peaks.items()],
    )
    show(
        f"Recording: a look at the frame after {NEW} new pairs",
        f"{options.looks} looks at each, in turn; {text}\ngoal: the same within a factor of 2",
        ["pairs in the store", "median ms", "mean ms", "ratio", "ratio of means"],
        [
            [
                f"{row['pairs']:,}",
                f"{row['median_ms']:.2f}",
                f"{row['mean_ms']:.2f}",
                f"{row['ratio']:.2f}",
                f"{row['ratio_of_means']:.2f}",
            ]
            for row in seen
        ],
    )
    return [
        Goal("pairs/s through sink, journal and frame", paces[1]["pairs_per_second"].median, 20_000, True),
        *(Goal(f"memory over text, {way}", row["over_text"], 1.3) for way, row in peaks.items()),
        Goal("a look at the large store over one at the small", seen[-1]["ratio"], 2.0),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=60_000)
    parser.add_argument("--text-bytes", type=int, default=2_000)
    parser.add_argument("--memory-pairs", type=int, default=200_000)
    parser.add_argument("--looks", type=int, default=41)
    parser.add_argument("--sizes", type=int, nargs=2, default=[10_000, 1_000_000])
    parser.add_argument("--quick", action="store_true", help="does it run? its figures say little")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        print(json.dumps(memory(options.memory_pairs, options.text_bytes, options.memory == JOURNALED)))
        return
    if options.quick:
        options.rounds, options.pairs, options.memory_pairs, options.looks = 1, 3_000, 5_000, 5
        options.sizes = [1_000, 5_000]
    paces = bench_throughput(options)
    peaks = {way: _memory_of(options, way == JOURNALED) for way in (ALONE, JOURNALED)}
    seen = bench_looks(options)
    goals = report(paces, peaks, seen, options)
    rows = [*paces, *({"bench": "memory", "way": way, **row} for way, row in peaks.items()), *seen]
    finish(options.json, rows, goals, options=vars(options))


if __name__ == "__main__":
    main()
