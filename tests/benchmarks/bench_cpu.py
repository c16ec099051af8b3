"""CPU time of a request: a plain Router, LiteLLM's own `silent_model`, and a session, side by side.

    python tests/benchmarks/bench_cpu.py

Each round runs every variant once, in turn, warm, against a simulator in a process of its own, and counts
this process's CPU time (all threads) until every answer, silent ones included, is in. What is compared are
the medians over the rounds of each variant, and of the ratios within a round.
"""

import argparse
import asyncio
import gc
import json
import os
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import litellm

import mirrorkit as mk
from mirrorkit.simulator import SimulatedModel, SimulatorProcess

MESSAGES = [
    {"role": "system", "content": "You are a support agent of a parcel service. Answer in one sentence."},
    {"role": "user", "content": "Where is my parcel? It was to come on Monday, and it is Thursday."},
]
MODELS = (SimulatedModel("gpt-4o", ttft_s=0.01), SimulatedModel("gpt-4o-mini", ttft_s=0.01))
PLAIN, LITELLM, SESSION = "plain Router", "LiteLLM silent_model", "mirrorkit session"


async def _spread(call: Callable[..., Any], requests: int, concurrency: int, **kwargs: Any) -> None:
    turns = iter(range(requests))

    async def work() -> None:
        for _ in turns:
            answer = await call(model="chat", messages=MESSAGES, **kwargs)
            if kwargs.get("stream"):
                async for _chunk in answer:
                    pass

    await asyncio.gather(*(work() for _ in range(concurrency)))


def _settle_litellm_threads() -> None:
    for thread in threading.enumerate():
        if thread.daemon and getattr(thread, "_target", None) is not None:
            name = getattr(thread._target, "__name__", "")  # type: ignore[attr-defined]
            if name == "_silent_experiment_completion":
                thread.join()


class Variants:
    """The three ways to send the same requests, each on a Router of its own."""

    def __init__(self, sim: SimulatorProcess) -> None:
        def router(**chat: Any) -> litellm.Router:
            return litellm.Router(
                [sim.deployment("chat", "gpt-4o", **chat), sim.deployment("next", "gpt-4o-mini")],
                num_retries=0,
            )

        self.plain = router()
        self.litellm = router(silent_model="next")
        self.session = mk.MirrorSession(router(silent_model="next"))

    def run_async(self, loop: asyncio.AbstractEventLoop, name: str, requests: int, stream: bool) -> float:
        kwargs = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}

        async def go() -> None:
            target: Any = {PLAIN: self.plain, LITELLM: self.litellm, SESSION: self.session}[name]
            before = asyncio.all_tasks()
            await _spread(target.acompletion, requests, 8, **kwargs)
            if name == SESSION:
                await self.session.adrain()
            while [t for t in asyncio.all_tasks() - before if "silent" in repr(t.get_coro())]:  # noqa: ASYNC110
                await asyncio.sleep(0.005)  # LiteLLM offers no event to wait for

        start = time.process_time()
        loop.run_until_complete(go())
        return time.process_time() - start

    def run_sync(self, name: str, requests: int) -> float:
        target: Any = {PLAIN: self.plain, LITELLM: self.litellm, SESSION: self.session}[name]
        start = time.process_time()
        for _ in range(requests):
            target.completion(model="chat", messages=MESSAGES)
        if name == SESSION:
            self.session.drain()
        _settle_litellm_threads()
        return time.process_time() - start


def measure(rounds: int, requests: int) -> list[dict[str, Any]]:
    """Milliseconds of CPU a request by mode and variant, medians over the rounds, and the ratios."""
    rows = []
    loop = asyncio.new_event_loop()
    with SimulatorProcess(MODELS) as sim:
        variants = Variants(sim)
        modes: dict[str, Callable[[str], float]] = {
            "async": lambda name: variants.run_async(loop, name, requests, stream=False),
            "async stream": lambda name: variants.run_async(loop, name, requests, stream=True),
            "sync": lambda name: variants.run_sync(name, requests),
        }
        for mode, run in modes.items():
            names = [PLAIN, LITELLM, SESSION]
            for name in names:
                run(name)
            times: dict[str, list[float]] = {name: [] for name in names}
            for n in range(rounds):
                # a later place in a round may be a warmer one: each variant has each place
                for name in names[n % 3 :] + names[: n % 3]:
                    gc.collect()
                    times[name].append(1_000 * run(name) / requests)
            ratios = [ours / theirs for ours, theirs in zip(times[SESSION], times[LITELLM], strict=True)]
            rows.append(
                {
                    "mode": mode,
                    **{name: statistics.median(values) for name, values in times.items()},
                    "session / LiteLLM": statistics.median(ratios),
                    "lowest": min(ratios),
                    "highest": max(ratios),
                }
            )
        variants.session.close()
    loop.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=60)
    parser.add_argument("--json", type=Path, default=Path("bench-cpu.json"))
    options = parser.parse_args()
    rows = measure(options.rounds, options.requests)
    print(f"CPU ms a request, medians of {options.rounds} rounds of {options.requests} requests")
    print(f"{'mode':<14}{PLAIN:>15}{LITELLM:>23}{SESSION:>20}{'session / LiteLLM':>20}{'range':>16}")
    for row in rows:
        print(
            f"{row['mode']:<14}{row[PLAIN]:>15.1f}{row[LITELLM]:>23.1f}{row[SESSION]:>20.1f}"
            f"{row['session / LiteLLM']:>20.3f}{row['lowest']:>9.2f} –{row['highest']:>5.2f}"
        )
    options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
