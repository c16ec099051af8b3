"""A model mirrored to itself reads the same tokens and the same price, whatever shape its provider has."""

from collections.abc import Iterator
from typing import Any

import litellm
import pytest

import mirrorkit as mk
from mirrorkit.simulator import Reply, Simulator
from provider_shapes import MODELS, ask, deployments, exists, simulator

pytestmark = pytest.mark.slow

COUNTS = ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens", "cost_usd")


@pytest.fixture(scope="module")
def sim() -> Iterator[Simulator]:
    with simulator() as running:
        yield running


@pytest.fixture(scope="module")
def router(sim: Simulator) -> litellm.Router:
    return litellm.Router(model_list=deployments(sim))


@pytest.fixture
def session(router: litellm.Router) -> Iterator[mk.MirrorSession]:
    with mk.MirrorSession(router, control=1.0, timeout_s=60) as session:
        yield session


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
    if (is_asked and not (stream and is_chat)) or not exists(shape, drive):
        pytest.skip("there is no such call")
    if shape == "gemini" and not is_reported:
        pytest.skip("an answer of Google's without a usage is an error to LiteLLM")
    reply = Reply(cached_tokens=3, reasoning_tokens=40) if is_reported else Reply(usage=False)
    sim.script(MODELS[shape], reply, reply)
    more = {"stream_options": {"include_usage": True}} if is_asked else {}
    row = ask(session, drive, shape, stream, **more)
    assert (row["primary_status"], row["silent_status"]) == ("ok", "ok"), row
    primary, silent = side(row, "primary"), side(row, "silent")
    sources = row["primary_usage_source"], row["silent_usage_source"]
    assert primary["cost_usd"] > 0
    # these two tell nobody who did not ask
    tells = is_asked or not stream or shape not in ("openai", "azure")
    is_told = is_reported and tells
    assert sources == ("provider" if is_told else "estimated",) * 2
    assert primary == silent
    if is_told:
        assert primary["cached_input_tokens"] == 3
        assert primary["output_tokens"] > 40


@pytest.mark.parametrize("shape", ["responses", "messages"])
@pytest.mark.parametrize("group", ["openai", "anthropic", "gemini"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("is_reported", [False, True], ids=["not reported", "reported"])
def test_control_reads_the_same_where_litellm_translates(
    session: mk.MirrorSession,
    sim: Simulator,
    drive: Any,
    shape: str,
    group: str,
    stream: bool,
    is_reported: bool,
) -> None:
    if not exists(shape, drive) or (group == "gemini" and not is_reported):
        pytest.skip("there is no such call")
    reply = Reply() if is_reported else Reply(usage=False)
    sim.script(MODELS[group], reply, reply)
    row = ask(session, drive, shape, stream, group)
    assert (row["primary_status"], row["silent_status"]) == ("ok", "ok"), row
    sources = row["primary_usage_source"], row["silent_usage_source"]
    assert sources == ("provider" if is_reported else "estimated",) * 2
    assert side(row, "primary") == side(row, "silent")
    assert row["primary_cost_usd"] > 0


@pytest.mark.parametrize("options", [None, {"include_usage": True}])
def test_a_control_stream_is_asked_for_its_usage_as_the_primary_is(
    session: mk.MirrorSession, sim: Simulator, drive: Any, options: Any
) -> None:
    """Else the tokens of one would be counted, and those of its twin estimated."""
    ask(session, drive, "openai", stream=True, **({"stream_options": options} if options else {}))
    assert [request.body.get("stream_options") for request in sim.requests[-2:]] == [options] * 2


@pytest.mark.parametrize("shape", MODELS)
def test_a_stream_costs_what_the_whole_answer_costs(
    session: mk.MirrorSession, router: litellm.Router, sim: Simulator, drive: Any, shape: str
) -> None:
    if not exists(shape, drive):
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


DETAILS = {"prompt_tokens_details": {"cached_tokens": 0}}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, **DETAILS},
        {"prompt_tokens": 7, "total_tokens": 7},
        {"prompt_tokens": 7, "completion_tokens": 0, "total_tokens": 7, **DETAILS},
        {"completion_tokens": 9, "total_tokens": 9},
        {"prompt_tokens": 0, "completion_tokens": 9, "total_tokens": 9, **DETAILS},
        {"prompt_tokens": 16, "completion_tokens": -9, "total_tokens": 7},
        {"total_tokens": 16},
        {},
    ],
    ids=str,
)
def test_a_server_that_tells_no_tokens_is_not_free(
    session: mk.MirrorSession, sim: Simulator, drive: Any, stream: bool, usage: dict[str, Any]
) -> None:
    """LiteLLM prices it at 0, which would let any such model win, and never spend a budget."""
    sim.script("gpt-4o", *[Reply(text="On its way.", usage=usage or False)] * 2)
    more = {"stream_options": {"include_usage": True}} if stream else {}
    row = ask(session, drive, "openai", stream, **more)
    for name in ("primary", "silent"):
        assert row[f"{name}_usage_source"] == "estimated"
        assert row[f"{name}_input_tokens"] > 7
        assert row[f"{name}_output_tokens"] == litellm.token_counter("gpt-4o", text="On its way.")
        assert row[f"{name}_cost_usd"] > 0
