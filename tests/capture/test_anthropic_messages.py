"""Anthropic's messages are mirrored as they are asked for, and recorded in the words of chat answers."""

import asyncio
import json
from typing import Any

import litellm
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mirrorkit as mk
from mirrorkit.capture.anthropic_messages import MessageStream, as_chat, is_message
from mirrorkit.capture.observe import answer_of
from mirrorkit.simulator import Reply, SimulatedModel, Simulator

MESSAGES = [{"role": "user", "content": "Where is my parcel?"}]
TOOL = {
    "name": "look_up",
    "description": "Looks a parcel up.",
    "input_schema": {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]},
}


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def delta(index: int, **fields: Any) -> bytes:
    return event("content_block_delta", index=index, delta=fields)


STREAM = b"".join(
    [
        event("message_start", message={"model": "claude", "content": [], "usage": {"input_tokens": 9}}),
        event("ping"),
        event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        delta(0, type="text_delta", text="Your pärcel "),
        delta(0, type="text_delta", text="is here."),
        event("content_block_stop", index=0),
        event("content_block_start", index=1, content_block={"type": "tool_use", "name": "f", "input": {}}),
        delta(1, type="input_json_delta", partial_json='{"id": '),
        delta(1, type="input_json_delta", partial_json='"7"}'),
        event("content_block_stop", index=1),
        event("message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 5}),
        event("message_stop"),
    ]
)


class TestReading:
    @given(st.lists(st.integers(0, len(STREAM)), max_size=20), st.booleans())
    def test_a_stream_reads_the_same_wherever_its_bytes_are_cut(self, cuts: list[int], crlf: bool) -> None:
        raw = STREAM.replace(b"\n", b"\r\n") if crlf else STREAM
        stream = MessageStream()
        for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(raw)], strict=True):
            stream.feed(raw[begin:end])
        answer = as_chat(stream.message)
        (choice,) = answer["choices"]
        assert choice["message"]["content"] == "Your pärcel is here."
        assert choice["message"]["tool_calls"] == [{"function": {"name": "f", "arguments": '{"id": "7"}'}}]
        assert choice["finish_reason"] == "tool_use"
        assert answer["model"] == "claude"
        assert (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (9, 5)
        assert stream.error is None

    def test_what_the_provider_says_amid_a_stream_is_its_error(self) -> None:
        """LiteLLM passes it on and raises nothing: half an answer would count as a whole one."""
        stream = MessageStream()
        stream.feed(STREAM[:200] + b"\n\n")
        assert str(stream.error) == "the stream ended before its message did"
        stream.feed(event("error", error={"type": "overloaded_error", "message": "Overloaded"}))
        assert str(stream.error) == "overloaded_error: Overloaded"

    def test_a_tool_without_arguments_has_an_empty_object_streamed_or_whole(self) -> None:
        block = {"type": "tool_use", "name": "f", "input": {}}
        stream = MessageStream()
        stream.feed(event("content_block_start", index=0, content_block=block))
        assert as_chat(stream.message)["choices"] == as_chat({"content": [block]})["choices"]

    def test_an_odd_event_costs_no_other_one(self) -> None:
        stream = MessageStream()
        stream.feed(event("content_block_delta", index=["x"], delta={"text": "?"}) + STREAM)
        assert as_chat(stream.message)["usage"]["completion_tokens"] == 5

    @given(st.binary(max_size=200))
    def test_bytes_that_are_no_events_say_nothing_and_raise_nothing(self, raw: bytes) -> None:
        stream = MessageStream()
        stream.feed(raw + b"\n\ndata: [1]\ndata: {oops\n\n")
        assert as_chat(stream.message)["usage"] is None

    @pytest.mark.parametrize(
        ("stop", "finish"),
        [
            ("end_turn", "stop"),
            ("stop_sequence", "stop"),
            ("max_tokens", "length"),
            ("tool_use", "tool_calls"),
            ("refusal", "content_filter"),
            ("pause_turn", "length"),
            (None, None),
        ],
    )
    def test_finish_reasons_are_those_that_chat_answers_have(self, stop: Any, finish: Any) -> None:
        assert answer_of({"type": "message", "stop_reason": stop}).finish_reason == finish

    def test_what_the_cache_had_counts_as_input(self) -> None:
        """Anthropic counts it apart; without it a cached prompt would seem to have no tokens."""
        usage = {
            "input_tokens": 10,
            "cache_read_input_tokens": 300,
            "cache_creation_input_tokens": 40,
            "output_tokens": 5,
        }
        assert as_chat({"usage": usage})["usage"] == {
            "prompt_tokens": 350,
            "completion_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 300},
            "cache_creation_input_tokens": 40,
        }

    @pytest.mark.parametrize("usage", [None, {}, {"input_tokens": 3}, {"output_tokens": 3}, "many"])
    def test_half_a_usage_is_none(self, usage: Any) -> None:
        assert as_chat({"usage": usage})["usage"] is None

    def test_an_answer_without_text_has_none_and_a_blank_one_is_blank(self) -> None:
        assert as_chat({"content": []})["choices"][0]["message"]["content"] is None
        blank = as_chat({"content": [{"type": "text", "text": ""}]})
        assert blank["choices"][0]["message"]["content"] == ""

    def test_only_messages_are_messages(self) -> None:
        assert is_message({"type": "message"})
        assert not is_message({"choices": []})
        assert not is_message(litellm.ModelResponse())


@pytest.fixture
def sim() -> Any:
    models = [
        SimulatedModel(name, ttft_s=0.002, token_s=0.0001, words=8)
        for name in ("claude-sonnet-4-5", "gpt-4o")
    ]
    with Simulator(models) as simulator:
        yield simulator


def claude(sim: Simulator, group: str, **params: Any) -> dict[str, Any]:
    made = sim.deployment(group, "claude-sonnet-4-5", **params)
    made["litellm_params"] |= {
        "model": "anthropic/claude-sonnet-4-5",
        "api_base": sim.url.removesuffix("/v1"),
    }
    return made


def row(session: mk.MirrorSession, at: int = 0) -> dict[str, Any]:
    return session.frame.row(at, named=True)


@pytest.mark.parametrize("stream", [False, True])
class TestMirroring:
    def mirrored(
        self, sim: Simulator, isolation: Any = "shared", **request: Any
    ) -> tuple[Any, dict[str, Any], Any]:
        models = [claude(sim, "chat", silent_model="next"), sim.deployment("next", "gpt-4o")]

        async def main() -> tuple[Any, dict[str, Any], Any]:
            async with mk.MirrorSession(models, isolation=isolation) as session:
                answer = await session.aanthropic_messages("chat", MESSAGES, max_tokens=50, **request)
                if request["stream"]:
                    answer = b"".join([chunk async for chunk in answer])
                await session.adrain()
                return answer, row(session), session

        return asyncio.run(main())

    @pytest.mark.parametrize("isolation", ["shared", pytest.param("process", marks=pytest.mark.slow)])
    def test_both_sides_are_recorded_whole(self, sim: Simulator, stream: bool, isolation: Any) -> None:
        answer, pair, session = self.mirrored(sim, isolation, stream=stream, system="Be kind.")
        assert pair["call_type"] == "anthropic_messages"
        assert (pair["primary_status"], pair["silent_status"]) == ("ok", "ok"), pair
        assert (pair["primary_model"], pair["silent_model"]) == ("claude-sonnet-4-5", "gpt-4o")
        assert (pair["primary_provider"], pair["silent_provider"]) == ("anthropic", "openai")
        assert (pair["primary_finish_reason"], pair["silent_finish_reason"]) == ("stop", "stop")
        for side in ("primary", "silent"):
            assert pair[f"{side}_output"]
            assert pair[f"{side}_input_tokens"] > 0
            assert pair[f"{side}_usage_source"] == "provider"
            assert pair[f"{side}_cost_usd"] > 0
            assert (pair[f"{side}_ttft_s"] is not None) == stream
        if stream:
            assert pair["primary_output"].split()[0].encode() in answer
        else:
            assert pair["primary_output"] == answer["content"][0]["text"]
        assert json.loads(pair["params"])["system"] == "Be kind."
        assert session.funnel.mirrored == session.funnel.requests == 1

    def test_tool_calls_are_recorded(self, sim: Simulator, stream: bool) -> None:
        wanted = {"type": "tool", "name": "look_up"}
        _, pair, _ = self.mirrored(sim, stream=stream, tools=[TOOL], tool_choice=wanted)
        for side in ("primary", "silent"):
            (call,) = json.loads(pair[f"{side}_tool_calls"])
            assert call["name"] == "look_up"
            assert "id" in json.loads(call["arguments"])
            assert pair[f"{side}_finish_reason"] == "tool_calls"

    def test_the_cache_is_priced_as_litellm_prices_it(self, sim: Simulator, stream: bool) -> None:
        sim.script("claude-sonnet-4-5", Reply(cached_tokens=1_000))
        _, pair, _ = self.mirrored(sim, stream=stream)
        price = litellm.get_model_info("claude-sonnet-4-5")
        assert pair["primary_cached_input_tokens"] == 1_000
        assert pair["primary_input_tokens"] == 1_000
        assert pair["primary_cost_usd"] == pytest.approx(
            1_000 * price["cache_read_input_token_cost"]
            + pair["primary_output_tokens"] * price["output_cost_per_token"]
        )

    def test_a_silent_failure_is_a_row_and_no_more(self, sim: Simulator, stream: bool) -> None:
        sim.script("gpt-4o", Reply(fault="400"))
        answer, pair, _ = self.mirrored(sim, stream=stream)
        assert answer
        assert (pair["primary_status"], pair["silent_status"]) == ("ok", "error")
        assert pair["silent_cost_usd"] is None

    def test_nothing_of_ours_reaches_the_provider(self, sim: Simulator, stream: bool) -> None:
        self.mirrored(sim, stream=stream)
        theirs = {"model", "messages", "max_tokens", "stream", "input", "include", "max_output_tokens"}
        assert all(set(request.body) <= theirs for request in sim.requests), sim.requests


def test_a_stream_that_is_cut_is_an_error_on_either_side(sim: Simulator) -> None:
    models = [claude(sim, "chat", silent_model="next"), claude(sim, "next")]
    sim.script("claude-sonnet-4-5", Reply(), Reply(cut_after_chunks=4))

    async def main() -> dict[str, Any]:
        async with mk.MirrorSession(models, silent_retries=0) as session:
            stream = await session.aanthropic_messages("chat", MESSAGES, max_tokens=50, stream=True)
            async for _ in stream:
                pass
            await session.adrain()
            return row(session)

    pair = asyncio.run(main())
    assert (pair["primary_status"], pair["silent_status"]) == ("ok", "error")
    assert pair["silent_error_type"]


def test_a_stream_that_is_left_half_way_is_abandoned(sim: Simulator) -> None:
    models = [claude(sim, "next"), sim.deployment("chat", "gpt-4o", silent_model="next")]

    async def main() -> dict[str, Any]:
        async with mk.MirrorSession(models) as session:
            stream = await session.aanthropic_messages("chat", MESSAGES, max_tokens=50, stream=True)
            async for _ in stream:
                break
            await stream.aclose()
            await session.adrain()
            return row(session)

    pair = asyncio.run(main())
    assert (pair["primary_status"], pair["silent_status"]) == ("abandoned", "ok")
    assert pair["primary_latency_s"] is None


def test_a_loop_that_ends_first_loses_no_mirror(sim: Simulator) -> None:
    """The Router has no blocking way to ask for a message: what is left is made on a loop of its own."""
    models = [claude(sim, "chat", silent_model="next"), sim.deployment("next", "gpt-4o")]
    with mk.MirrorSession(models) as session:

        async def main() -> None:
            await asyncio.gather(
                *(session.anthropic_messages("chat", MESSAGES, max_tokens=50) for _ in range(4))
            )

        asyncio.run(main())
        assert session.drain(60)
        assert session.frame["silent_status"].to_list() == ["ok"] * 4
    assert sim.count("gpt-4o") == 4
