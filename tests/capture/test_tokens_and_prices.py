"""A model mirrored to itself reads the same tokens and the same price, whatever shape its provider has."""

from collections.abc import Iterator
from typing import Any

import litellm
import pytest

import mirrorkit as mk
from mirrorkit.simulator import Reply, SimulatedModel, Simulator

ASKED = [{"role": "user", "content": "Where is my parcel?"}]
MODELS = {
    "openai": "gpt-4o",
    "azure": "my-own-name",
    "anthropic": "claude-sonnet-4-5",
    "gemini": "gemini-2.5-flash",
    "responses": "gpt-4o",
    "messages": "claude-sonnet-4-5",
}
COUNTS = ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens", "cost_usd")


@pytest.fixture(scope="module")
def sim() -> Iterator[Simulator]:
    names = sorted({*MODELS.values(), "ollama"})
    with Simulator([SimulatedModel(name, ttft_s=0, token_s=0, sigma=0) for name in names]) as simulator:
        yield simulator


def deployments(sim: Simulator) -> list[dict[str, Any]]:
    root = sim.url.removesuffix("/v1")
    claude = {"model": "anthropic/claude-sonnet-4-5", "api_base": root}
    wheres = {
        "openai": {"model": "openai/gpt-4o", "api_base": sim.url},
        "azure": {
            "model": "azure/my-own-name",
            "api_base": root,
            "api_version": "2024-10-21",
            "base_model": "azure/gpt-4o",
        },
        "anthropic": claude,
        "gemini": {"model": "gemini/gemini-2.5-flash", "api_base": f"{root}/v1beta"},
        "responses": {"model": "openai/gpt-4o", "api_base": sim.url},
        "messages": claude,
    }
    return [
        {"model_name": name, "litellm_params": {**where, "api_key": sim.api_key}}
        for name, where in wheres.items()
    ]


@pytest.fixture(scope="module")
def router(sim: Simulator) -> litellm.Router:
    return litellm.Router(model_list=deployments(sim))


@pytest.fixture
def session(router: litellm.Router) -> Iterator[mk.MirrorSession]:
    with mk.MirrorSession(router, control=1.0, timeout_s=60) as session:
        yield session


def ask(session: mk.MirrorSession, drive: Any, shape: str, stream: bool, **more: Any) -> dict[str, Any]:
    more |= {"stream": True} if stream else {}
    if shape == "responses":
        answer = drive.call(session, "responses", model=shape, input="Where is my parcel?", **more)
    elif shape == "messages":
        answer = drive.call(session, "anthropic_messages", model=shape, messages=ASKED, max_tokens=99, **more)
    else:
        answer = drive.chat(session, model=shape, messages=ASKED, **more)
    if stream:
        drive.read(answer)
    drive.drain(session)
    (row,) = session.frame.rows(named=True)
    assert (row["primary_status"], row["silent_status"]) == ("ok", "ok"), row
    return row


def side(row: dict[str, Any], name: str) -> dict[str, Any]:
    return {count: row[f"{name}_{count}"] for count in COUNTS}


@pytest.mark.parametrize("shape", MODELS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("is_asked", [False, True], ids=["not asked", "asked"])
@pytest.mark.parametrize("is_reported", [False, True], ids=["not reported", "reported"])
def test_control_reads_the_same_for_every_shape(
    session: mk.MirrorSession,
    sim: Simulator,
    drive: Any,
    shape: str,
    stream: bool,
    is_asked: bool,
    is_reported: bool,
) -> None:
    is_chat = shape not in ("responses", "messages")
    if (is_asked and not (stream and is_chat)) or (shape == "messages" and not drive.is_async):
        pytest.skip("there is no such call")
    if shape == "gemini" and not is_reported:
        pytest.skip("an answer of Google's without a usage is an error to LiteLLM")
    reply = Reply(cached_tokens=3, reasoning_tokens=40) if is_reported else Reply(usage=False)
    sim.script(MODELS[shape], reply, reply)
    more = {"stream_options": {"include_usage": True}} if is_asked else {}
    row = ask(session, drive, shape, stream, **more)
    primary, silent = side(row, "primary"), side(row, "silent")
    sources = row["primary_usage_source"], row["silent_usage_source"]
    assert primary["cost_usd"] > 0
    if shape in ("openai", "azure") and stream and is_reported and not is_asked:
        # these tell nobody who did not ask, and the silent side asked
        assert sources == ("estimated", "provider")
        assert row["silent_output_tokens"] > 40
        return
    assert sources == ("provider" if is_reported else "estimated",) * 2
    assert primary == silent
    if is_reported:
        assert primary["cached_input_tokens"] == 3
        assert primary["output_tokens"] > 40


@pytest.mark.parametrize("shape", MODELS)
def test_a_stream_costs_what_the_whole_answer_costs(
    session: mk.MirrorSession, router: litellm.Router, sim: Simulator, drive: Any, shape: str
) -> None:
    if shape == "messages" and not drive.is_async:
        pytest.skip("there is no such call")
    replies = [Reply(text="On its way.", cached_tokens=3)] * 2
    chat = {"stream_options": {"include_usage": True}} if shape in ("openai", "azure") else {}
    sim.script(MODELS[shape], *replies)
    streamed = side(ask(session, drive, shape, True, **chat), "primary")
    with mk.MirrorSession(router, control=1.0) as second:
        sim.script(MODELS[shape], *replies)
        whole = side(ask(second, drive, shape, False), "primary")
        drive.close(second)
    assert streamed["cost_usd"] == pytest.approx(whole["cost_usd"])
    assert {**streamed, "cost_usd": None} == {**whole, "cost_usd": None}


@pytest.mark.parametrize("place", ["model_info", "litellm_params"])
@pytest.mark.parametrize("stream", [False, True])
def test_the_base_model_gives_the_price_wherever_it_is_named(
    sim: Simulator, drive: Any, place: str, stream: bool
) -> None:
    *_, azure = (each for each in deployments(sim) if each["model_name"] == "azure")
    base = azure["litellm_params"].pop("base_model")
    azure.setdefault(place, {})["base_model"] = base
    with mk.MirrorSession([azure], control=1.0) as session:
        row = ask(session, drive, "azure", stream)
        drive.close(session)
    price = litellm.model_cost["azure/gpt-4o"]
    for name in ("primary", "silent"):
        assert row[f"{name}_cost_usd"] == pytest.approx(
            row[f"{name}_input_tokens"] * price["input_cost_per_token"]
            + row[f"{name}_output_tokens"] * price["output_cost_per_token"]
        )


@pytest.mark.parametrize("stream", [False, True])
def test_a_server_that_tells_no_tokens_is_not_free(
    session: mk.MirrorSession, sim: Simulator, drive: Any, stream: bool
) -> None:
    """LiteLLM prices it at 0, which would let any such model win, and never spend a budget."""
    zeros = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    sim.script("gpt-4o", Reply(usage=zeros), Reply(usage=zeros))
    more = {"stream_options": {"include_usage": True}} if stream else {}
    row = ask(session, drive, "openai", stream, **more)
    for name in ("primary", "silent"):
        assert row[f"{name}_usage_source"] == "estimated"
        assert row[f"{name}_input_tokens"] > 0
        assert row[f"{name}_cost_usd"] > 0


def test_a_stream_with_nothing_in_it_is_an_error(
    session: mk.MirrorSession, sim: Simulator, drive: Any
) -> None:
    sim.script("gpt-4o", Reply(), Reply(body=[]))
    drive.read(drive.chat(session, model="openai", messages=ASKED, stream=True))
    drive.drain(session)
    (row,) = session.frame.rows(named=True)
    assert (row["primary_status"], row["silent_status"]) == ("ok", "error"), row
    assert row["silent_error_type"] == "EmptyStream"
    assert row["silent_output_kind"] is None


@pytest.mark.parametrize("stream", [False, True])
def test_a_blank_answer_is_recorded_as_one(
    session: mk.MirrorSession, sim: Simulator, drive: Any, stream: bool
) -> None:
    sim.script("gpt-4o", Reply(text="On its way."), Reply(text=""))
    row = ask(session, drive, "openai", stream)
    assert (row["primary_output_kind"], row["silent_output_kind"]) == ("text", "blank")
    assert row["silent_output"] == ""


def test_parallel_tool_calls_under_one_index_are_two(
    session: mk.MirrorSession, sim: Simulator, drive: Any
) -> None:
    calls = [
        {"index": 0, "id": id_, "type": "function", "function": {"name": name, "arguments": "{}"}}
        for id_, name in (("a", "weather"), ("b", "clock"))
    ]
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}
    events = [
        {**head, "choices": [{"index": 0, "delta": {"role": "assistant", "tool_calls": [call]}}]}
        for call in calls
    ]
    events.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    sim.script("gpt-4o", *[Reply(body=events)] * 2)
    row = ask(session, drive, "openai", True)
    for name in ("primary", "silent"):
        assert row[f"{name}_tool_calls"].count('"name"') == 2
        assert row[f"{name}_output_kind"] == "tool_calls"


def test_a_failed_primary_is_of_the_same_model_called_either_way(
    session: mk.MirrorSession, sim: Simulator, drive: Any
) -> None:
    sim.script("gpt-4o", *[Reply(fault="400")] * 2)
    with pytest.raises(litellm.BadRequestError):
        drive.chat(session, model="openai", messages=ASKED)
    drive.drain(session)
    (row,) = session.frame.rows(named=True)
    assert (row["primary_status"], row["primary_model"]) == ("error", "gpt-4o")
