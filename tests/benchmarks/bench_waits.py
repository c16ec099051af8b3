"""What has to be waited for beside the calls: a standstill of the event loop, a session's begin and its end.

    python tests/benchmarks/bench_waits.py [--rounds 5] [--quick]

A standstill is the longest time for which a task that wants to run every 5 ms does not, while one request is
made and mirrored, with a plain Router and with a session in turn. The begin is `MirrorSession(...)`, with
`isolation="process"` until its child can take orders; the end is `close()` with nothing under way.
"""

import asyncio
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import litellm
from tables import Goal, Spread, finish, show
from variants import MESSAGES, parser_of

import mirrorkit as mk
from mirrorkit.simulator import SimulatedModel, SimulatorProcess

MODELS = [SimulatedModel(name, ttft_s=0.0, token_s=0.0, sigma=0.0) for name in ("gpt-4o", "gpt-4o-mini")]
BEAT_S = 0.005
REST_S = 0.3
STALL_S = 0.5
IMAGE = {"type": "image_url", "image_url": {"url": "http://127.0.0.1:9/never.png", "detail": "high"}}
SCENES: Mapping[str, Any] = {
    "an image": [{"type": "text", "text": "What is this?"}, IMAGE],
    "a prompt of 150,000 words": "parcel " * 150_000,
    "a disk that stalls": MESSAGES[0]["content"],
}


async def longest_standstill(call: Callable[..., Any], content: Any, settle: Callable[[], Any]) -> float:
    """The longest standstill in seconds while one request is made, and what follows it is done."""
    worst, beats = 0.0, True

    async def beat() -> None:
        nonlocal worst
        while beats:
            began = time.perf_counter()
            await asyncio.sleep(BEAT_S)
            worst = max(worst, time.perf_counter() - began - BEAT_S)

    beating = asyncio.create_task(beat())
    await call(model="chat", messages=[{"role": "user", "content": content}])
    await settle()
    await asyncio.sleep(REST_S)
    beats = False
    await beating
    return worst


async def standstills(models: list[Any], rounds: int) -> dict[str, dict[str, list[float]]]:
    """The longest standstills of each round, by scene and variant."""
    found: dict[str, dict[str, list[float]]] = {}
    router = litellm.Router(models)
    for scene, content in SCENES.items():
        stalls = "disk" in scene

        def redact(text: str, stalls: bool = stalls) -> str:
            if stalls:
                threading.Event().wait(STALL_S)
            return text

        found[scene] = {"plain": [], "shared": []}
        with tempfile.TemporaryDirectory() as journal:
            async with mk.MirrorSession(
                router, silent_model="next", journal=journal, redact=redact
            ) as session:
                for turn in range(rounds + 1):
                    plain = await longest_standstill(router.acompletion, content, lambda: asyncio.sleep(0))
                    mirrored = await longest_standstill(session.acompletion, content, session.adrain)
                    if turn:  # the first warms up
                        found[scene]["plain"].append(plain)
                        found[scene]["shared"].append(mirrored)
    return found


def begins_and_ends(models: list[Any], rounds: int) -> dict[str, dict[str, list[float]]]:
    """The seconds that making and closing a session take, by isolation."""
    found: dict[str, dict[str, list[float]]] = {
        name: {"begin": [], "end": []} for name in ("shared", "process")
    }
    for turn in range(rounds + 1):
        for isolation, times in found.items():
            began = time.perf_counter()
            session = mk.MirrorSession(models, silent_model="next", isolation=isolation)
            made = time.perf_counter()
            session.completion("chat", MESSAGES)
            session.drain()
            settled = time.perf_counter()
            session.close()
            if turn:
                times["begin"].append(made - began)
                times["end"].append(time.perf_counter() - settled)
    return found


def main() -> None:
    parser = parser_of(__doc__, rounds=5)
    options = parser.parse_args()
    if options.quick:
        options.rounds = 1
    with SimulatorProcess(MODELS) as sim:
        models = [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")]
        waits = begins_and_ends(models, options.rounds)
        stands = asyncio.run(standstills(models, options.rounds))
    rows = [
        {
            "what": scene,
            **{
                f"{name}_ms": Spread.of([1_000 * each for each in seconds]) for name, seconds in times.items()
            },
        }
        for scene, times in stands.items()
    ]
    show(
        "Longest standstill of the event loop, in ms",
        f"medians of {options.rounds} rounds; a goal is that mirroring adds no standstill of its own",
        ["one request with", "plain Router", "session shared"],
        [[row["what"], row["plain_ms"], row["shared_ms"]] for row in rows],
    )
    ends = [
        {"what": name, "begin_s": Spread.of(times["begin"]), "end_s": Spread.of(times["end"])}
        for name, times in waits.items()
    ]
    show(
        "A session's begin and end, in seconds",
        f"medians of {options.rounds} rounds",
        ["isolation", "MirrorSession(...)", "close()"],
        [[row["what"], row["begin_s"], row["end_s"]] for row in ends],
    )
    goals = [
        Goal(
            f"{row['what']}: standstill beside a plain Router's",
            row["shared_ms"].median,
            2 * row["plain_ms"].median,
        )
        for row in rows
    ]
    finish(options.json, [*rows, *ends], goals, options=vars(options))


if __name__ == "__main__":
    main()
