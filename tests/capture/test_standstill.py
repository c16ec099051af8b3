"""Nothing of ours is done on the caller's event loop that may take its time: reading, counting, writing."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

import mirrorkit as mk
from mirrorkit.simulator import Reply, SimulatedModel, Simulator

LONG = 60
MESSAGES = [{"role": "user", "content": "Where is my parcel?"}]
PICTURE = {"type": "image_url", "image_url": {"url": "http://127.0.0.1:9/never.png", "detail": "high"}}


class Disk:
    """Stands for a disk that stalls: each text that is about to be written waits until it goes on."""

    def __init__(self) -> None:
        self.goes_on = threading.Event()
        self.threads: set[int] = set()

    def redact(self, text: str) -> str:
        self.threads.add(threading.get_ident())
        assert self.goes_on.wait(LONG)
        return text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("isolation", ["shared", pytest.param("process", marks=pytest.mark.slow)])
def test_the_loop_runs_on_while_what_is_recorded_waits(
    sim: Any, tmp_path: Path, isolation: str, stream: bool
) -> None:
    disk, many = Disk(), 5
    models = [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")]

    async def main() -> mk.MirrorSession:
        options = {"isolation": isolation, "journal": tmp_path, "redact": disk.redact}
        async with mk.MirrorSession(models, silent_model="next", **options) as session:
            for _ in range(many):
                answer = await session.acompletion("chat", MESSAGES, stream=stream)
                if stream:
                    async for _chunk in answer:
                        pass
            # all primaries were made and answered, though not one text could be written yet
            disk.goes_on.set()
            assert await session.adrain(LONG)
            assert threading.get_ident() not in disk.threads
            return session

    session = asyncio.run(main())
    assert session.frame["silent_status"].to_list() == ["ok"] * many
    assert mk.load(tmp_path).frame.height == many


@pytest.mark.slow
def test_what_is_long_is_counted_elsewhere_and_no_image_is_fetched() -> None:
    """A prompt of 150,000 words, an answer of 10 MB and an image, of a provider that counts no tokens."""
    parts = [{"type": "text", "text": "parcel " * 150_000}, PICTURE]
    reply = Reply(text="on its way " * 900_000, usage=False)
    counted_on: set[int] = set()

    def redact(text: str) -> str:
        counted_on.add(threading.get_ident())
        return text[:20]

    async def main(models: Any) -> mk.MirrorSession:
        async with mk.MirrorSession(models, silent_model="next", redact=redact) as session:
            sim.script("gpt-4o", reply)
            answer = await session.acompletion("chat", [{"role": "user", "content": parts}])
            assert len(answer.choices[0].message.content) > 9_000_000
            assert await session.adrain(LONG)
            assert threading.get_ident() not in counted_on
            return session

    with Simulator(
        [SimulatedModel(name, ttft_s=0.0, token_s=0.0) for name in ("gpt-4o", "gpt-4o-mini")]
    ) as sim:
        session = asyncio.run(main([sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")]))
    row = session.frame.row(0, named=True)
    assert row["primary_usage_source"] == "estimated"
    assert row["primary_input_tokens"] > 100_000
    assert row["primary_output_tokens"] > 1_000_000
