"""Streams: passed on as they come, watched on both sides, and recorded however they end."""

import asyncio
import gc
import json
import threading
from typing import Any

import litellm
import pytest

import mirrorkit as mk
from mirrorkit.simulator import Reply


@pytest.fixture
def session(sim: Any) -> Any:
    models = [
        sim.deployment("chat", "gpt-4o"),
        sim.deployment("next", "gpt-4o-mini"),
    ]
    with mk.MirrorSession(models, silent_model="next") as session:
        yield session


def row(session: Any) -> dict[str, Any]:
    assert session.frame.height == 1
    return session.frame.row(0, named=True)


def text_of(chunks: list[Any]) -> str:
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


def test_chunks_are_litellms_own_and_both_sides_are_recorded(session: Any, drive: Any) -> None:
    chunks = drive.read(drive.chat(session, stream=True))
    drive.drain(session)
    pair = row(session)
    assert all(isinstance(c, litellm.ModelResponseStream) for c in chunks)
    assert pair["stream"] is True
    assert pair["primary_output"] == text_of(chunks)
    assert pair["silent_output"]
    for side in ("primary", "silent"):
        assert pair[f"{side}_status"] == "ok"
        assert pair[f"{side}_finish_reason"] == "stop"
        assert 0 < pair[f"{side}_ttft_s"] < pair[f"{side}_latency_s"]
        assert pair[f"{side}_input_tokens"] > 0
        assert pair[f"{side}_output_tokens"] > 0
        assert pair[f"{side}_cost_usd"] > 0
        assert pair[f"{side}_model"].startswith("gpt-4o")


def test_usage_is_asked_of_the_silent_side_and_estimated_where_the_caller_did_not_ask(
    session: Any, drive: Any, sim: Any
) -> None:
    chunks = drive.read(drive.chat(session, stream=True))
    drive.drain(session)
    pair = row(session)
    assert (pair["primary_usage_source"], pair["silent_usage_source"]) == ("estimated", "provider")
    assert pair["primary_output_tokens"] == litellm.token_counter("gpt-4o", text=text_of(chunks))
    primary, silent = (r.body for r in sim.requests)
    assert "stream_options" not in primary
    assert silent["stream_options"] == {"include_usage": True}


def test_usage_is_the_providers_where_the_caller_asked(session: Any, drive: Any) -> None:
    chunks = drive.read(drive.chat(session, stream=True, stream_options={"include_usage": True}))
    drive.drain(session)
    pair = row(session)
    usage = next(c.usage for c in chunks if getattr(c, "usage", None))
    assert pair["primary_usage_source"] == "provider"
    assert (pair["primary_input_tokens"], pair["primary_output_tokens"]) == (
        usage.prompt_tokens,
        usage.completion_tokens,
    )


def test_the_caller_gets_each_chunk_as_it_arrives(session: Any, drive: Any, sim: Any) -> None:
    gate = threading.Event()
    sim.script("gpt-4o", Reply(text="one two three", chunk_gate=gate))
    stream = drive.chat(session, stream=True)
    first: list[Any] = []
    while not text_of(first):
        first += drive.read(stream, most=1)
    assert text_of(first).strip() == "one"
    assert session.frame.height == 0
    gate.set()
    rest = drive.read(stream)
    drive.drain(session)
    assert text_of(first + rest) == "one two three"
    assert row(session)["primary_output"] == "one two three"


def test_tool_calls_of_a_stream_are_put_together(session: Any, drive: Any, sim: Any) -> None:
    calls = [
        {"name": "look_up", "arguments": {"order": "A-1", "deep": True}},
        {"name": "refund", "arguments": {"amount": 12}},
    ]
    sim.script("gpt-4o", Reply(tool_calls=calls))
    sim.script("gpt-4o-mini", Reply(tool_calls=calls))
    drive.read(drive.chat(session, stream=True))
    drive.drain(session)
    for side in ("primary", "silent"):
        recorded = json.loads(row(session)[f"{side}_tool_calls"])
        assert [{**c, "arguments": json.loads(c["arguments"])} for c in recorded] == calls
        assert row(session)[f"{side}_finish_reason"] == "tool_calls"


def test_a_caller_that_closes_half_way_leaves_an_abandoned_row(session: Any, drive: Any, sim: Any) -> None:
    sim.script("gpt-4o", Reply(text="one two three", chunk_gate=threading.Event()))
    stream = drive.chat(session, stream=True)
    read = drive.read(stream, most=2)
    drive.leave(stream)
    drive.drain(session)
    pair = row(session)
    assert pair["primary_status"] == "abandoned"
    assert pair["primary_latency_s"] is None, "there was no last byte"
    assert pair["primary_ttft_s"] > 0
    assert pair["primary_output"] == text_of(read)
    assert pair["silent_status"] == "ok"


def test_a_caller_that_breaks_and_drops_the_stream_leaves_an_abandoned_row(
    session: Any, drive: Any, sim: Any
) -> None:
    sim.script("gpt-4o", Reply(text="one two three", chunk_gate=threading.Event()))
    stream = drive.chat(session, stream=True)
    drive.read(stream, most=2)
    del stream
    gc.collect()
    drive.drain(session)
    assert row(session)["primary_status"] == "abandoned"


def test_a_stream_still_open_when_the_session_closes_is_abandoned(session: Any, drive: Any) -> None:
    stream = drive.chat(session, stream=True)
    drive.read(stream, most=1)
    drive.close(session)
    assert row(session)["primary_status"] == "abandoned"
    assert session.funnel.under_way == 0


def test_reading_on_after_the_end_records_no_second_row(session: Any, drive: Any) -> None:
    stream = drive.chat(session, stream=True)
    drive.read(stream)
    assert drive.read(stream) == []
    drive.leave(stream)
    drive.drain(session)
    assert session.frame.height == 1
    assert row(session)["primary_status"] == "ok"


def test_a_stream_that_breaks_raises_litellms_error_and_keeps_what_came(
    session: Any, drive: Any, sim: Any
) -> None:
    sim.script("gpt-4o", Reply(text="one two three four", cut_after_chunks=3))
    stream = drive.chat(session, stream=True)
    got: list[Any] = []
    with pytest.raises(litellm.exceptions.APIConnectionError):
        while True:
            read = drive.read(stream, most=1)
            got += read
            assert read, "the stream ended as if it were whole"
    drive.drain(session)
    pair = row(session)
    assert pair["primary_status"] == "error"
    assert pair["primary_error_type"]
    # the transport may drop what it had not handed on yet
    assert (pair["primary_output"] or "") == text_of(got)
    assert pair["primary_cost_usd"] is None


def test_a_silent_stream_that_breaks_or_hangs_is_only_recorded(session: Any, drive: Any, sim: Any) -> None:
    sim.script("gpt-4o-mini", Reply(text="one two three", cut_after_chunks=2))
    assert drive.read(drive.chat(session, stream=True))
    drive.drain(session)
    assert row(session)["silent_status"] == "error"


def test_a_silent_stream_that_trickles_past_timeout_s_is_a_timeout(sim: Any, drive: Any) -> None:
    sim.script("gpt-4o-mini", Reply(text="one two three", chunk_gate=threading.Event()))
    models = [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")]
    with mk.MirrorSession(models, silent_model="next", timeout_s=0.4) as session:
        drive.read(drive.chat(session, stream=True))
        drive.drain(session)
        assert row(session)["silent_status"] == "timeout"


def test_a_primary_stream_that_fails_before_its_first_chunk_is_recorded(
    session: Any, drive: Any, sim: Any
) -> None:
    sim.script("gpt-4o", Reply(fault="400"))
    with pytest.raises(litellm.BadRequestError):
        drive.chat(session, stream=True)
    drive.drain(session)
    assert (row(session)["primary_status"], row(session)["silent_status"]) == ("error", "ok")


def test_streams_of_the_responses_api_are_recorded(session: Any, drive: Any) -> None:
    events = drive.read(drive.call(session, "responses", "chat", "Where is my parcel?", stream=True))
    drive.drain(session)
    pair = row(session)
    assert events[-1].type == "response.completed"
    assert pair["primary_output"] == events[-1].response.output_text
    for side in ("primary", "silent"):
        assert pair[f"{side}_status"] == "ok"
        assert pair[f"{side}_usage_source"] == "provider"
        assert pair[f"{side}_cost_usd"] > 0
        assert 0 < pair[f"{side}_ttft_s"] < pair[f"{side}_latency_s"]


@pytest.mark.parametrize("name", ["completion", "responses"])
def test_a_stream_costs_what_the_same_answer_costs_whole_cached_tokens_and_all(
    session: Any, drive: Any, sim: Any, name: str
) -> None:
    prompt: Any = "word " * 500
    payload = [{"role": "user", "content": prompt}] if name == "completion" else prompt
    asked = {"stream_options": {"include_usage": True}} if name == "completion" else {}
    for kwargs in ({}, {"stream": True, **asked}):
        sim.script("gpt-4o", Reply(text="yes", cached_tokens=400))
        answer = drive.call(session, name, "chat", payload, **kwargs)
        if kwargs:
            drive.read(answer)
    drive.drain(session)
    whole, streamed = session.frame.sort("stream")["primary_cost_usd"]
    assert streamed == pytest.approx(whole)
    assert session.frame["primary_cached_input_tokens"].to_list() == [400, 400]


def test_streams_are_context_managers_and_offer_what_litellms_offer(session: Any, drive: Any) -> None:
    stream = drive.chat(session, stream=True)
    assert stream.model == "gpt-4o"
    if drive.is_async:

        async def read() -> int:
            async with stream:
                return len([chunk async for chunk in stream])

        assert drive.run(read())
    else:
        with stream:
            assert list(stream)
    drive.drain(session)
    assert row(session)["primary_status"] == "ok"


def test_a_reader_that_is_cancelled_amid_a_stream_leaves_an_abandoned_row(session: Any, sim: Any) -> None:
    sim.script("gpt-4o", Reply(text="one two", chunk_gate=threading.Event()))

    async def main() -> None:
        got = asyncio.Event()

        async def read() -> None:
            async for chunk in await session.acompletion(
                "chat", [{"role": "user", "content": "Hi"}], stream=True
            ):
                if text_of([chunk]):
                    got.set()

        task = asyncio.create_task(read())
        await got.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await session.adrain(20)

    asyncio.run(main())
    assert row(session)["primary_status"] == "abandoned"
