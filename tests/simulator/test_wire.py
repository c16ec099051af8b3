"""OpenAI's shapes, as the openai SDK reads them over real HTTP."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest

from mirrorkit.simulator import Reply, Simulator

Say = Callable[..., str]
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


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


def test_a_chat_answer_has_text_a_reason_and_a_usage_that_adds_up(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="a", messages=user("Where is my parcel?"))
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
    whole = client.chat.completions.create(model="a", messages=user("Where is my parcel?"))
    text = whole.choices[0].message.content
    assert text is not None
    chunks = list(
        client.chat.completions.create(
            model="a",
            messages=user("Where is my parcel?"),
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
    chunks = list(client.chat.completions.create(model="a", messages=user("Hi"), stream=True))
    assert {chunk.usage for chunk in chunks} == {None}
    assert all(chunk.choices for chunk in chunks)


def test_the_wire_is_server_sent_events_that_end_with_done(simulator: Simulator, http: httpx.Client) -> None:
    reply = http.post(
        f"{simulator.url}/chat/completions",
        json={"model": "a", "messages": user("Hi"), "stream": True},
        headers={"Authorization": f"Bearer {simulator.api_key}"},
    )
    events = reply.text.split("\n\n")
    assert reply.headers["content-type"] == "text/event-stream"
    assert events[-2:] == ["data: [DONE]", ""]
    assert all(json.loads(event.removeprefix("data: ")) for event in events[:-2])


def test_a_tool_call_takes_its_arguments_from_the_schema(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="a", messages=user("Find order A-17"), tools=[TOOL], tool_choice="required"
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
        "messages": user("Find order A-17"),
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


def test_after_a_tools_result_the_answer_is_text(client: openai.OpenAI) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
    messages: Any = [
        *user("Find order A-17"),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "on its way"},
    ]
    answer = client.chat.completions.create(model="a", messages=messages, tools=[TOOL])
    assert answer.choices[0].message.content


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_limit_on_tokens_cuts_the_answer(client: openai.OpenAI, name: str, say: Say) -> None:
    limit: Any = {name: 3}
    answer = client.chat.completions.create(model="b", messages=user("Tell me all"), **limit)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 3
    assert say(client, "b", "Tell me all").startswith(answer.choices[0].message.content)


def test_n_gives_several_answers_and_their_tokens_add_up(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="a", messages=user("Where is it?"), n=3)
    texts = [choice.message.content or "" for choice in answer.choices]
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert len(set(texts)) > 1
    assert answer.usage is not None
    assert answer.usage.completion_tokens == sum(-(-len(text) // 4) for text in texts)


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


def test_a_429_says_when_to_come_back(simulator: Simulator, client: openai.OpenAI, say: Say) -> None:
    simulator.script("a", Reply(fault="429"), Reply(fault="429", retry_after_s=7))
    waits = []
    for _ in range(2):
        with pytest.raises(openai.RateLimitError) as caught:
            say(client, "a", "Hi")
        waits.append(caught.value.response.headers["retry-after"])
    assert waits == ["1", "7"]


def test_a_scripted_status_and_message_are_sent_as_they_are(
    simulator: Simulator, client: openai.OpenAI, say: Say
) -> None:
    simulator.script("a", Reply(status=503, error_message="down, key sk-secret"))
    with pytest.raises(openai.InternalServerError, match="down, key sk-secret") as caught:
        say(client, "a", "Hi")
    assert caught.value.status_code == 503


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


def test_a_scripted_tool_call_and_usage_are_sent(simulator: Simulator, client: openai.OpenAI) -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    calls: list[dict[str, Any]] = [
        {"name": "f", "arguments": {"x": 1}},
        {"name": "g", "arguments": "not json"},
    ]
    simulator.script("a", Reply(tool_calls=calls, usage=usage), Reply(usage=False))
    first = client.chat.completions.create(model="a", messages=user("Hi"))
    assert first.choices[0].message.tool_calls is not None
    functions = [call.function for call in first.choices[0].message.tool_calls if call.type == "function"]
    assert [(f.name, f.arguments) for f in functions] == [("f", '{"x": 1}'), ("g", "not json")]
    assert first.usage is not None
    assert first.usage.total_tokens == 12
    assert client.chat.completions.create(model="a", messages=user("Hi")).usage is None


def test_cached_and_reasoning_tokens_are_reported(simulator: Simulator, client: openai.OpenAI) -> None:
    simulator.script("a", *[Reply(text="four", cached_tokens=3, reasoning_tokens=9)] * 2)
    chat: Any = client.chat.completions.create(model="a", messages=user("Hi")).usage
    response: Any = client.responses.create(model="a", input="Hi").usage
    assert chat.prompt_tokens_details.cached_tokens == response.input_tokens_details.cached_tokens == 3
    assert chat.completion_tokens == response.output_tokens == 10
    assert chat.completion_tokens_details.reasoning_tokens == 9
    assert response.output_tokens_details.reasoning_tokens == 9
