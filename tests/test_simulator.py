"""The simulator's promises, kept over real HTTP through the openai SDK."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.errors import ConfigError, MirrorError
from mirrorkit.simulated_answers import Ask, agrees, answer_to, embedding_of, slowness
from mirrorkit.simulator import (
    DEFAULT_MODELS,
    Reply,
    SimulatedModel,
    Simulator,
    SimulatorProcess,
    prompts,
)

QUICK: dict[str, Any] = {"ttft_s": 0.0, "token_s": 0.0}
MODELS = (
    SimulatedModel("a", **QUICK),
    SimulatedModel("b", **QUICK, style="chatty", words=40),
    SimulatedModel("vectors", **QUICK),
)
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "look_up",
        "parameters": {
            "type": "object",
            "properties": {
                "order_id": {"type": "string"},
                "limit": {"type": "integer", "minimum": 3, "maximum": 5},
                "kind": {"enum": ["new", "old"]},
                "deep": {"type": "boolean"},
                "places": {"type": "array", "items": {"type": "number"}},
            },
        },
    },
}


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    """One connection pool for all tests, because making one is slow."""
    with httpx.Client() as client:
        yield client


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(MODELS) as running:
        yield running


@pytest.fixture
def client(simulator: Simulator, http: httpx.Client) -> openai.OpenAI:
    return _client(simulator, http)


def _client(simulator: Simulator | SimulatorProcess, http: httpx.Client, **more: Any) -> openai.OpenAI:
    settings = {"api_key": simulator.api_key, "max_retries": 0, "timeout": 20, "http_client": http, **more}
    return openai.OpenAI(base_url=simulator.url, **settings)


def _user(text: str) -> Any:
    return [{"role": "user", "content": text}]


def _say(client: openai.OpenAI, model: str, text: str, **more: Any) -> str:
    answer = client.chat.completions.create(model=model, messages=_user(text), **more)
    said: str = answer.choices[0].message.content
    return said


def _eventually(condition: Callable[[], bool], timeout: float = 10) -> bool:
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            return False
        threading.Event().wait(0.005)
    return True


# ---------------------------------------------------------------- chat


def test_a_chat_answer_has_text_a_reason_and_a_usage_that_adds_up(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="a", messages=_user("Where is my parcel?"))
    text, usage = answer.choices[0].message.content, answer.usage
    assert answer.object == "chat.completion"
    assert answer.model == "a"
    assert text
    assert answer.choices[0].finish_reason == "stop"
    assert usage is not None
    assert usage.completion_tokens == -(-len(text) // 4)
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 0


def test_a_stream_says_word_by_word_what_the_whole_answer_says(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="a", messages=_user("Where is my parcel?"))
    text = whole.choices[0].message.content
    assert text is not None
    chunks = list(
        client.chat.completions.create(
            model="a",
            messages=_user("Where is my parcel?"),
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    first, *middle, last, usage = chunks
    words = [chunk.choices[0].delta.content for chunk in middle]
    assert first.choices[0].delta.role == "assistant"
    assert "".join(word or "" for word in words) == text
    assert len(words) == len(text.split())
    assert [chunk.choices[0].finish_reason for chunk in (*middle, last)] == [None] * len(middle) + ["stop"]
    assert usage.choices == []
    assert usage.usage == whole.usage
    assert all("usage" in chunk.model_fields_set and chunk.usage is None for chunk in chunks[:-1])
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_stream_without_include_usage_has_none(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="a", messages=_user("Hi"), stream=True))
    assert {chunk.usage for chunk in chunks} == {None}
    assert all(chunk.choices for chunk in chunks)


def test_the_wire_is_server_sent_events_that_end_with_done(simulator: Simulator, http: httpx.Client) -> None:
    reply = http.post(
        f"{simulator.url}/chat/completions",
        json={"model": "a", "messages": _user("Hi"), "stream": True},
        headers={"Authorization": f"Bearer {simulator.api_key}"},
    )
    events = reply.text.split("\n\n")
    assert reply.headers["content-type"] == "text/event-stream"
    assert events[-2:] == ["data: [DONE]", ""]
    assert all(json.loads(event.removeprefix("data: ")) for event in events[:-2])


def test_a_tool_call_takes_its_arguments_from_the_schema(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="a", messages=_user("Find order A-17"), tools=[TOOL], tool_choice="required"
    )
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    assert choice.message.tool_calls is not None
    (call,) = choice.message.tool_calls
    assert call.type == "function"
    assert call.function.name == "look_up"
    arguments = json.loads(call.function.arguments)
    assert arguments["order_id"] == "A-17"
    assert 3 <= arguments["limit"] <= 5
    assert arguments["kind"] in ("new", "old")
    assert arguments["deep"] in (True, False)
    assert all(isinstance(place, float) for place in arguments["places"])


def test_a_streamed_tool_call_comes_in_several_deltas_that_join_to_the_whole(client: openai.OpenAI) -> None:
    request: Any = {
        "model": "a",
        "messages": _user("Find order A-17"),
        "tools": [TOOL],
        "tool_choice": "required",
    }
    whole = client.chat.completions.create(**request).choices[0].message.tool_calls[0].function
    chunks = list(client.chat.completions.create(**request, stream=True))
    deltas = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
    assert deltas[0].id
    assert deltas[0].function.name == whole.name
    assert len(deltas) > 3
    assert "".join(delta.function.arguments for delta in deltas) == whole.arguments
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_tools_are_used_on_most_prompts_not_on_all_and_not_after_a_tool_has_answered() -> None:
    schema = TOOL["function"]["parameters"]
    model = SimulatedModel("a")

    def calls(**more: Any) -> int:
        asks = [Ask(f"prompt {i}", "What now?", tools=(("look_up", schema),), **more) for i in range(200)]
        return sum(bool(answer_to(model, ask, 0).tool_calls) for ask in asks)

    assert 120 < calls() < 200
    assert calls(tool_choice="none") == 0
    assert calls(tool_choice="look_up") == 200


def test_after_a_tools_result_the_answer_is_text(client: openai.OpenAI) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
    messages: Any = [
        *_user("Find order A-17"),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "on its way"},
    ]
    answer = client.chat.completions.create(model="a", messages=messages, tools=[TOOL])
    assert answer.choices[0].message.content


@pytest.mark.parametrize("prompt", ["Answer with JSON please", "Sort this"])
def test_json_is_given_when_it_is_asked_for(client: openai.OpenAI, prompt: str) -> None:
    more: Any = {} if "JSON" in prompt else {"response_format": {"type": "json_object"}}
    answer = json.loads(_say(client, "a", prompt, **more))
    assert set(answer) == {"category", "sentiment", "confidence", "summary"}
    assert 0 <= answer["confidence"] <= 1


def test_a_json_schema_is_followed(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": ["string", "null"]},
            "ticket": {"$ref": "#/$defs/Ticket"},
            "tags": {"type": "array", "items": {"enum": ["x", "y"]}, "minItems": 2, "maxItems": 2},
            "either": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        },
        "$defs": {"Ticket": {"type": "object", "properties": {"open": {"type": "boolean"}}}},
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    answer = json.loads(_say(client, "a", "Order A-17 is late", response_format=wanted))
    assert isinstance(answer["name"], str)
    assert answer["ticket"]["open"] in (True, False)
    assert len(answer["tags"]) == 2
    assert set(answer["tags"]) <= {"x", "y"}
    assert isinstance(answer["either"], int)


def test_a_schema_that_contains_itself_comes_to_an_end(client: openai.OpenAI) -> None:
    schema = {"type": "object", "properties": {"child": {"$ref": "#"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert "child" in json.loads(_say(client, "a", "Hi", response_format=wanted))["child"]


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_limit_on_tokens_cuts_the_answer(client: openai.OpenAI, name: str) -> None:
    limit: Any = {name: 3}
    answer = client.chat.completions.create(model="b", messages=_user("Tell me all"), **limit)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 3
    assert _say(client, "b", "Tell me all").startswith(answer.choices[0].message.content)


def test_n_gives_several_answers_and_their_tokens_add_up(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="a", messages=_user("Where is it?"), n=3)
    texts = [choice.message.content or "" for choice in answer.choices]
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert len(set(texts)) > 1
    assert answer.usage is not None
    assert answer.usage.completion_tokens == sum(-(-len(text) // 4) for text in texts)


# ---------------------------------------------------------------- embeddings, responses, models


def test_embeddings_have_length_one_and_depend_on_the_text(client: openai.OpenAI) -> None:
    reply = client.embeddings.create(model="vectors", input=["one", "two", "one"])
    one, two, again = (entry.embedding for entry in reply.data)
    assert len(one) == 8
    assert sum(x * x for x in one) == pytest.approx(1)
    assert one == again
    assert one != two
    assert reply.usage.prompt_tokens == 3


def test_embeddings_are_the_same_as_floats_and_as_base64_and_take_dimensions(client: openai.OpenAI) -> None:
    def embed(encoding: Any) -> list[float]:
        reply = client.embeddings.create(model="vectors", input="one", dimensions=5, encoding_format=encoding)
        return list(reply.data[0].embedding)

    packed = client.embeddings.create(model="vectors", input="one", dimensions=5).data[0].embedding
    assert embed("float") == pytest.approx(packed, abs=1e-6)
    assert len(packed) == 5
    assert isinstance(
        client.embeddings.create(model="vectors", input=[[1, 2]], dimensions=5, encoding_format="base64")
        .data[0]
        .embedding,
        str,
    )


def test_a_response_has_text_and_usage(client: openai.OpenAI) -> None:
    answer = client.responses.create(model="a", input="Where is my parcel?", instructions="Be kind")
    assert answer.status == "completed"
    assert answer.output_text
    assert answer.usage is not None
    assert answer.usage.output_tokens == -(-len(answer.output_text) // 4)
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens


def test_a_streamed_response_sends_typed_events_in_order(client: openai.OpenAI) -> None:
    whole = client.responses.create(model="a", input="Where is my parcel?").output_text
    events: list[Any] = list(client.responses.create(model="a", input="Where is my parcel?", stream=True))
    kinds = [event.type for event in events]
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert list(dict.fromkeys(kinds)) == [
        "response.created",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert "".join(deltas) == whole
    assert len(deltas) == len(whole.split())
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].response.output_text == whole
    assert events[-1].response.usage.output_tokens > 0


def test_a_response_can_call_a_tool_whole_and_streamed(client: openai.OpenAI) -> None:
    request: Any = {
        "model": "a",
        "input": "Find order A-17",
        "tools": [{"type": "function", **TOOL["function"]}],
        "tool_choice": "required",
    }
    (call,) = client.responses.create(**request).output
    events: list[Any] = list(client.responses.create(**request, stream=True))
    deltas = [e.delta for e in events if e.type == "response.function_call_arguments.delta"]
    assert call.type == "function_call"
    assert call.name == "look_up"
    assert "".join(deltas) == call.arguments
    assert len(deltas) > 1


def test_a_response_follows_a_schema_and_a_limit(client: openai.OpenAI) -> None:
    wanted: Any = {
        "format": {
            "type": "json_schema",
            "name": "x",
            "schema": {"type": "object", "properties": {"n": {"type": "integer"}}},
        }
    }
    answer = client.responses.create(model="a", input="Count", text=wanted)
    cut = client.responses.create(model="b", input="Tell me all", max_output_tokens=2)
    assert isinstance(json.loads(answer.output_text)["n"], int)
    assert cut.status == "incomplete"
    assert cut.incomplete_details is not None
    assert cut.incomplete_details.reason == "max_output_tokens"
    assert cut.usage is not None
    assert cut.usage.output_tokens == 2


def test_the_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["a", "b", "vectors"]


def test_without_models_ones_that_have_a_price_are_served(http: httpx.Client) -> None:
    with Simulator() as simulator:
        listed = [model.id for model in _client(simulator, http).models.list()]
    assert listed == [model.name for model in DEFAULT_MODELS]
    assert {"gpt-4o", "gpt-4o-mini", "text-embedding-3-small", "text-embedding-3-large"} <= set(listed)


# ---------------------------------------------------------------- determinism and agreement


def test_two_simulators_of_one_seed_agree_and_of_two_seeds_do_not(http: httpx.Client) -> None:
    def said(seed: int) -> list[str]:
        with Simulator(MODELS, seed=seed) as simulator:
            return [_say(_client(simulator, http), "b", f"Question {i} about shoes") for i in range(10)]

    first = said(1)
    assert first == said(1)
    assert first != said(2)


def test_two_models_agree_on_the_same_prompts_and_differ_on_the_others(client: openai.OpenAI) -> None:
    texts = [f"Question {i} about my shoes" for i in range(40)]
    same = {text for text in texts if _say(client, "a", text) == _say(client, "b", text)}
    assert same == {text for text in texts if agrees(MODELS[0], f"user: {text}", 0)}
    assert 5 < len(same) < 35


def test_json_of_two_models_agrees_in_some_fields_and_differs_in_others(client: openai.OpenAI) -> None:
    equal: list[bool] = []
    for i in range(20):
        one, two = (json.loads(_say(client, model, f"Sort ticket {i} as JSON")) for model in "ab")
        assert set(one) == set(two)
        equal += [one[name] == two[name] for name in one]
    assert any(equal)
    assert not all(equal)


@given(agreement=st.floats(0, 1), prompt=st.text(), seed=st.integers())
def test_a_model_that_agrees_more_agrees_wherever_one_that_agrees_less_does(
    agreement: float, prompt: str, seed: int
) -> None:
    less, more = SimulatedModel("x", agreement=agreement / 2), SimulatedModel("y", agreement=agreement)
    assert agrees(more, prompt, seed) >= agrees(less, prompt, seed)


@given(prompt=st.text(), words=st.integers(1, 60), style=st.sampled_from(["plain", "brief", "chatty"]))
def test_an_answer_is_about_as_long_as_the_models_answers_are(prompt: str, words: int, style: str) -> None:
    model = SimulatedModel("x", words=words, style=style, agreement=0.0)
    text = answer_to(model, Ask(prompt, prompt), 0).text
    assert text is not None
    half_a_sentence = 8
    assert 0.6 * words - half_a_sentence <= len(text.split()) <= 1.4 * words + half_a_sentence


@given(text=st.text(), dimensions=st.integers(1, 64))
def test_an_embedding_of_any_text_has_length_one(text: str, dimensions: int) -> None:
    vector = embedding_of(SimulatedModel("x"), text, 0, dimensions)
    assert len(vector) == dimensions
    assert sum(x * x for x in vector) == pytest.approx(1)


def test_latency_is_log_normal_around_the_median() -> None:
    model = SimulatedModel("x", sigma=0.5)
    factors = sorted(slowness(model, i) for i in range(2001))
    assert factors[1000] == pytest.approx(1, abs=0.1)
    assert factors[1682] == pytest.approx(2.718281828**0.5, abs=0.15)


def test_a_model_is_as_slow_as_it_says_whole_and_streamed(http: httpx.Client) -> None:
    slow = SimulatedModel("slow", ttft_s=0.05, token_s=0.002, sigma=0.0)
    with Simulator([slow]) as simulator:
        client = _client(simulator, http)
        began = time.perf_counter()
        answer = client.chat.completions.create(model="slow", messages=_user("Hi"))
        assert answer.usage is not None
        least = 0.05 + 0.002 * answer.usage.completion_tokens
        assert time.perf_counter() - began >= least
        began = time.perf_counter()
        stream = client.chat.completions.create(model="slow", messages=_user("Hi"), stream=True)
        next(iter(stream))
        first = time.perf_counter() - began
        list(stream)
        assert first >= 0.05
        assert time.perf_counter() - began >= 0.9 * least


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("429", openai.RateLimitError),
        ("500", openai.InternalServerError),
        ("400", openai.BadRequestError),
        ("401", openai.AuthenticationError),
        ("cut", openai.APIConnectionError),
        ("garbage", ValueError),
    ],
)
@pytest.mark.parametrize("scripted", [True, False])
def test_a_fault_reaches_the_client_as_what_it_is(
    http: httpx.Client, fault: Any, error: type[Exception], scripted: bool
) -> None:
    """Whether a script asks for it or the model's own share of errors does."""
    errors = {} if scripted else {fault: 1.0}
    with Simulator([SimulatedModel("x", **QUICK, errors=errors)]) as simulator:
        client = _client(simulator, http)
        if scripted:
            simulator.script("x", Reply(fault=fault))
        with pytest.raises(error):
            _say(client, "x", "Hi")
        if scripted:
            assert _say(client, "x", "Hi")


@pytest.mark.parametrize("call", ["embeddings", "responses"])
def test_faults_reach_every_endpoint(simulator: Simulator, client: openai.OpenAI, call: str) -> None:
    simulator.script("a", Reply(fault="500"))
    with pytest.raises(openai.InternalServerError):
        getattr(client, call).create(model="a", input="Hi")


def test_a_429_says_when_to_come_back(simulator: Simulator, client: openai.OpenAI) -> None:
    simulator.script("a", Reply(fault="429"), Reply(fault="429", retry_after_s=7))
    waits = []
    for _ in range(2):
        with pytest.raises(openai.RateLimitError) as caught:
            _say(client, "a", "Hi")
        waits.append(caught.value.response.headers["retry-after"])
    assert waits == ["1", "7"]


def test_a_scripted_status_and_message_are_sent_as_they_are(
    simulator: Simulator, client: openai.OpenAI
) -> None:
    simulator.script("a", Reply(status=503, error_message="down, key sk-secret"))
    with pytest.raises(openai.InternalServerError, match="down, key sk-secret") as caught:
        _say(client, "a", "Hi")
    assert caught.value.status_code == 503


def test_a_hang_lasts_until_the_client_leaves(simulator: Simulator, http: httpx.Client) -> None:
    simulator.script("a", Reply(fault="hang"))
    impatient = _client(simulator, http, timeout=0.2)
    with pytest.raises(openai.APITimeoutError):
        _say(impatient, "a", "Hi")
    assert _say(impatient, "a", "Hi")


def test_a_stream_cut_by_a_fault_gives_some_words_and_then_breaks(
    simulator: Simulator, client: openai.OpenAI
) -> None:
    simulator.script("a", Reply(fault="cut"))
    chunks: list[Any] = []
    stream = client.chat.completions.create(model="a", messages=_user("Hi"), stream=True)
    with pytest.raises((httpx.RemoteProtocolError, openai.APIConnectionError)):
        chunks.extend(stream)
    assert chunks


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_stream_is_cut_after_the_scripted_number_of_chunks(
    simulator: Simulator, client: openai.OpenAI, after: int
) -> None:
    simulator.script("a", Reply(cut_after_chunks=after))
    chunks: list[Any] = []
    stream = client.chat.completions.create(model="a", messages=_user("Hi"), stream=True)
    with pytest.raises((httpx.RemoteProtocolError, openai.APIConnectionError)):
        chunks.extend(stream)
    assert len(chunks) == after


def test_a_stream_of_garbage_is_no_json(simulator: Simulator, client: openai.OpenAI) -> None:
    simulator.script("a", Reply(fault="garbage"))
    with pytest.raises(ValueError):
        list(client.chat.completions.create(model="a", messages=_user("Hi"), stream=True))


def test_faults_come_in_their_shares_and_a_run_can_be_repeated(http: httpx.Client) -> None:
    model = SimulatedModel("x", **QUICK, errors={"500": 0.2, "429": 0.2})

    def outcomes() -> list[int]:
        with Simulator([model]) as simulator:
            client = _client(simulator, http)
            return [_status(client, f"Question {i // 2}") for i in range(120)]

    first = outcomes()
    assert first == outcomes()
    assert {first.count(200) > 48, first.count(500) > 8, first.count(429) > 8} == {True}
    pairs = list(zip(first[::2], first[1::2], strict=True))
    assert any(one != 200 and two == 200 for one, two in pairs), "a retry may succeed"


def _status(client: openai.OpenAI, text: str) -> int:
    try:
        _say(client, "x", text)
    except openai.APIStatusError as error:
        return error.status_code
    return 200


# ---------------------------------------------------------------- refusals


def test_a_wrong_key_is_refused_and_echoed(simulator: Simulator, http: httpx.Client) -> None:
    stranger = _client(simulator, http, api_key="sk-wrong-key")
    with pytest.raises(openai.AuthenticationError, match="sk-wrong-key"):
        _say(stranger, "a", "Hi")
    with pytest.raises(openai.AuthenticationError):
        stranger.models.list()
    assert http.post(f"{simulator.url}/chat/completions", json={"model": "a"}).status_code == 401


def test_an_unknown_model_is_named_in_a_404(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="gpt-9"):
        _say(client, "gpt-9", "Hi")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("chat/completions", {"messages": []}),
        ("chat/completions", {"messages": "Hi", "n": "many"}),
        ("chat/completions", {"messages": [1]}),
        ("chat/completions", {"messages": "Hi", "max_tokens": 0}),
        ("chat/completions", {"messages": "Hi", "response_format": "json"}),
        ("responses", {}),
        ("embeddings", {"input": []}),
        ("embeddings", {"input": "Hi", "dimensions": 0}),
    ],
)
def test_a_malformed_request_gets_a_400(
    simulator: Simulator, http: httpx.Client, path: str, body: dict[str, Any]
) -> None:
    headers = {"Authorization": f"Bearer {simulator.api_key}"}
    reply = http.post(f"{simulator.url}/{path}", json={"model": "a", **body}, headers=headers)
    assert reply.status_code == 400
    assert reply.json()["error"]["type"] == "invalid_request_error"


def test_a_body_that_is_no_json_gets_a_400(simulator: Simulator, http: httpx.Client) -> None:
    headers = {"Authorization": f"Bearer {simulator.api_key}"}
    assert http.post(f"{simulator.url}/embeddings", content=b"{", headers=headers).status_code == 400


# ---------------------------------------------------------------- control by tests


def test_scripted_replies_come_in_order_and_then_it_is_as_usual(
    simulator: Simulator, client: openai.OpenAI
) -> None:
    usual = _say(client, "a", "Hi")
    simulator.script("a", Reply(text="one"), Reply(text="two three"))
    assert [_say(client, "a", "Hi") for _ in range(3)] == ["one", "two three", usual]


def test_a_script_for_one_model_leaves_the_others_alone(simulator: Simulator, client: openai.OpenAI) -> None:
    simulator.script("a", Reply(text="scripted"))
    assert _say(client, "b", "Hi") != "scripted"
    assert _say(client, "a", "Hi") == "scripted"


def test_a_scripted_tool_call_and_usage_are_sent(simulator: Simulator, client: openai.OpenAI) -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    calls: list[dict[str, Any]] = [
        {"name": "f", "arguments": {"x": 1}},
        {"name": "g", "arguments": "not json"},
    ]
    simulator.script("a", Reply(tool_calls=calls, usage=usage), Reply(usage=False))
    first = client.chat.completions.create(model="a", messages=_user("Hi"))
    assert first.choices[0].message.tool_calls is not None
    functions = [call.function for call in first.choices[0].message.tool_calls if call.type == "function"]
    assert [(f.name, f.arguments) for f in functions] == [("f", '{"x": 1}'), ("g", "not json")]
    assert first.usage is not None
    assert first.usage.total_tokens == 12
    assert client.chat.completions.create(model="a", messages=_user("Hi")).usage is None


def test_cached_and_reasoning_tokens_are_reported(simulator: Simulator, client: openai.OpenAI) -> None:
    simulator.script("a", *[Reply(text="four", cached_tokens=3, reasoning_tokens=9)] * 2)
    chat: Any = client.chat.completions.create(model="a", messages=_user("Hi")).usage
    response: Any = client.responses.create(model="a", input="Hi").usage
    assert chat.prompt_tokens_details.cached_tokens == response.input_tokens_details.cached_tokens == 3
    assert chat.completion_tokens == response.output_tokens == 10
    assert chat.completion_tokens_details.reasoning_tokens == 9
    assert response.output_tokens_details.reasoning_tokens == 9


def test_a_delayed_reply_is_late(simulator: Simulator, client: openai.OpenAI) -> None:
    simulator.script("a", Reply(delay_s=0.1))
    began = time.perf_counter()
    _say(client, "a", "Hi")
    assert time.perf_counter() - began >= 0.1


def test_a_gate_holds_a_stream_after_its_first_word_and_nothing_else(
    simulator: Simulator, client: openai.OpenAI
) -> None:
    gate = threading.Event()
    simulator.script("a", Reply(text="one two three", chunk_gate=gate))
    stream = iter(client.chat.completions.create(model="a", messages=_user("Hi"), stream=True))
    before = [next(stream).choices[0].delta.content for _ in range(2)]
    assert _say(client, "a", "the server still answers")
    gate.set()
    after = [chunk.choices[0].delta.content for chunk in stream]
    assert before == ["", "one"]
    assert after == [" two", " three", None]


def test_held_requests_are_logged_and_wait_for_their_release(simulator: Simulator) -> None:
    async def scenario() -> None:
        async with openai.AsyncOpenAI(
            base_url=simulator.url, api_key=simulator.api_key, max_retries=0
        ) as client:
            with simulator.hold("a") as hold:
                calls = [
                    asyncio.create_task(client.chat.completions.create(model="a", messages=_user(f"Hi {i}")))
                    for i in range(3)
                ]
                await asyncio.to_thread(hold.wait_for, 3)
                assert simulator.count("a") == 3
                other = await client.chat.completions.create(model="b", messages=_user("Hi"))
                assert other.choices
                assert not any(call.done() for call in calls)
                hold.release()
                assert all([(await call).choices for call in calls])

    asyncio.run(scenario())


def test_waiting_for_more_requests_than_come_times_out(simulator: Simulator) -> None:
    with simulator.hold("a") as hold, pytest.raises(TimeoutError, match="0 of 1"):
        hold.wait_for(1, timeout=0.01)


def test_a_client_that_leaves_is_no_longer_held(simulator: Simulator, http: httpx.Client) -> None:
    with simulator.hold("a") as hold:
        with pytest.raises(openai.APITimeoutError):
            _say(_client(simulator, http, timeout=0.2), "a", "Hi")
        assert _eventually(lambda: hold.held == 0)
    assert simulator.count("a") == 1


def test_every_request_is_logged_in_order_with_what_it_carried(
    simulator: Simulator, client: openai.OpenAI
) -> None:
    _say(client, "a", "first", extra_headers={"X-Trace": "t1"})
    client.embeddings.create(model="vectors", input="second")
    one, two = simulator.requests
    assert (one.model, two.model) == ("a", "vectors")
    assert (one.path, two.path) == ("/v1/chat/completions", "/v1/embeddings")
    assert one.body["messages"] == _user("first")
    assert one.headers["X-Trace"] == "t1"
    assert one.received_at <= two.received_at <= time.monotonic()
    assert [simulator.count(name) for name in ("a", "b", "vectors")] == [1, 0, 1]
    assert simulator.api_key not in repr(one)


def test_a_deployment_is_an_entry_of_a_litellm_model_list(simulator: Simulator) -> None:
    assert simulator.deployment("chat", "a", silent_model="shadow") == {
        "model_name": "chat",
        "litellm_params": {
            "model": "openai/a",
            "api_base": simulator.url,
            "api_key": simulator.api_key,
            "silent_model": "shadow",
        },
    }


# ---------------------------------------------------------------- start and stop


def test_stop_is_prompt_and_leaves_no_thread_and_no_socket_behind() -> None:
    """Even with requests that are held, hang, or wait for a gate."""
    threads = set(threading.enumerate())
    simulator = Simulator(MODELS)
    simulator.start()
    port = httpx.URL(simulator.url).port
    simulator.script("b", Reply(fault="hang"), Reply(chunk_gate=threading.Event()))
    hold = simulator.hold("a")

    async def scenario() -> list[BaseException | object]:
        async with openai.AsyncOpenAI(
            base_url=simulator.url, api_key=simulator.api_key, max_retries=0
        ) as client:
            calls = [
                asyncio.create_task(_read_all(client, model, stream))
                for model, stream in (("a", False), ("b", False), ("b", True))
            ]
            assert await asyncio.to_thread(
                _eventually, lambda: simulator.count("a") == 1 and simulator.count("b") == 2
            )
            await asyncio.to_thread(hold.wait_for, 1)
            began = time.perf_counter()
            await asyncio.to_thread(simulator.stop)
            assert time.perf_counter() - began < 5
            return await asyncio.gather(*calls, return_exceptions=True)

    outcomes = asyncio.run(scenario())
    assert all(isinstance(outcome, Exception) for outcome in outcomes)
    assert _eventually(lambda: set(threading.enumerate()) <= threads)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port or 0), timeout=1)
    hold.release()


async def _read_all(client: openai.AsyncOpenAI, model: str, stream: bool) -> object:
    answer = await client.chat.completions.create(model=model, messages=_user("Hi"), stream=stream)
    return [chunk async for chunk in answer] if isinstance(answer, openai.AsyncStream) else answer


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files by /proc")
def test_many_starts_and_stops_leave_no_open_files() -> None:
    def opened() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    with Simulator(MODELS):
        pass
    before = opened()
    for _ in range(5):
        with Simulator(MODELS):
            pass
    assert opened() <= before


def test_a_simulator_starts_again_after_a_stop(http: httpx.Client) -> None:
    simulator = Simulator(MODELS)
    for _ in range(2):
        with simulator:
            assert _say(_client(simulator, http), "a", "Hi")
    with pytest.raises(MirrorError, match="not running"):
        _ = simulator.url


def test_a_port_that_is_taken_is_an_error_and_leaves_no_thread(simulator: Simulator) -> None:
    threads = set(threading.enumerate())
    with pytest.raises(OSError, match="in use"):
        Simulator(MODELS, port=httpx.URL(simulator.url).port or 0).start()
    assert set(threading.enumerate()) <= threads


@pytest.mark.parametrize(
    "settings",
    [
        {"style": "rude"},
        {"ttft_s": -1},
        {"token_s": float("nan")},
        {"words": 0},
        {"agreement": 1.5},
        {"errors": {"418": 0.1}},
        {"errors": {"500": -0.1}},
        {"errors": {"500": 0.6, "429": 0.6}},
    ],
)
def test_a_model_out_of_range_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="'x'"):
        SimulatedModel("x", **settings)


def test_what_cannot_be_simulated_is_refused() -> None:
    bad: Any = "teapot"
    with pytest.raises(ConfigError, match="teapot"):
        Reply(fault=bad)
    with pytest.raises(ConfigError, match="same name"):
        Simulator([MODELS[0], MODELS[0]])
    with pytest.raises(ConfigError, match="no model 'c'"):
        Simulator(MODELS).script("c", Reply())
    with pytest.raises(ConfigError, match="no model 'c'"):
        Simulator(MODELS).hold("c")


# ---------------------------------------------------------------- a process of its own


def test_a_simulator_process_answers_like_a_simulator_and_is_gone_afterwards(http: httpx.Client) -> None:
    models = [SimulatedModel("a", **QUICK, errors={"500": 0.0}), *MODELS[1:]]
    with Simulator(models, seed=5) as here:
        expected = _say(_client(here, http), "b", "Where is it?")
    with SimulatorProcess(models, seed=5) as there:
        assert there.deployment("g", "b")["litellm_params"]["api_base"] == there.url
        assert _say(_client(there, http), "b", "Where is it?") == expected
        port = httpx.URL(there.url).port or 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)
    with pytest.raises(MirrorError, match="not running"):
        _ = there.url


@pytest.mark.parametrize("end", ["stdin", "sigterm"])
def test_the_process_ends_when_its_stdin_closes_or_it_is_told_to(end: str) -> None:
    """Also with a request that hangs."""
    models = json.dumps([{"name": "x", "errors": {"hang": 1.0}}])
    with subprocess.Popen(
        [sys.executable, "-m", "mirrorkit.simulator", "--models", models],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            said = json.loads(process.stdout.readline())
            with (
                openai.OpenAI(
                    base_url=said["url"], api_key=said["api_key"], max_retries=0, timeout=0.3
                ) as client,
                pytest.raises(openai.APITimeoutError),
            ):
                _say(client, "x", "Hi")
            if end == "stdin":
                process.stdin.close()
            else:
                os.kill(process.pid, signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()


def test_the_process_does_not_outlive_a_parent_that_is_killed() -> None:
    code = (
        "from mirrorkit.simulator import SimulatorProcess; import sys\n"
        "p = SimulatorProcess(); p.start(); print(p.url, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        port = httpx.URL(parent.stdout.readline().strip()).port or 0
        parent.kill()
    assert _eventually(lambda: not _accepts(port))


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def test_a_process_that_cannot_start_says_so() -> None:
    model = SimulatedModel("x")
    with pytest.raises(MirrorError, match="did not start"):
        SimulatorProcess([model, model]).start()


def test_importing_the_simulator_imports_neither_aiohttp_nor_litellm() -> None:
    code = "import sys, mirrorkit.simulator; print({'aiohttp', 'litellm', 'openai'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "set()"


# ---------------------------------------------------------------- prompts


def test_prompts_are_varied_repeatable_and_sliced_by_tags_and_sessions() -> None:
    requests = prompts(200, seed=1)
    assert requests == prompts(200, seed=1) != prompts(200, seed=2)
    assert requests[:50] == prompts(50, seed=1)
    assert not any("model" in request for request in requests)
    assert len({request["messages"][-1]["content"] for request in requests}) > 190
    kinds = [request["metadata"]["tags"][0] for request in requests]
    assert all(kinds.count(kind) > 20 for kind in ("support", "extraction", "tools"))
    assert all(("tools" in r) == (k == "tools") for r, k in zip(requests, kinds, strict=True))
    assert all(("response_format" in r) == (k == "extraction") for r, k in zip(requests, kinds, strict=True))
    assert 60 <= len({request["metadata"]["session_id"] for request in requests}) <= 70


def test_every_prompt_is_answered_in_the_form_it_asks_for(client: openai.OpenAI) -> None:
    called = 0
    for request in prompts(30):
        kind = request.pop("metadata")["tags"][0]
        choice = client.chat.completions.create(model="a", **request).choices[0]
        if kind == "extraction":
            assert json.loads(choice.message.content)["summary"]
        elif kind == "tools":
            called += bool(choice.message.tool_calls)
        else:
            assert choice.message.content
    assert called
