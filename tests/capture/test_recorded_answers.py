"""What is recorded of an answer is what was answered: for every shape of provider, whole and streamed."""

import json
from collections.abc import Iterator
from typing import Any

import litellm
import pytest

import mirrorkit as mk
from mirrorkit.simulator import Reply, Simulator
from provider_shapes import ASKED, MODELS, ask, deployments, exists, simulator

pytestmark = pytest.mark.slow

HEAD = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}


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


def events(*deltas: dict[str, Any], finish: str = "stop") -> list[dict[str, Any]]:
    """Chunks of one choice each; `at` in a delta says of which."""
    chunks, choices = [], set()
    for delta in deltas:
        at = delta.pop("at", 0)
        choices.add(at)
        chunks.append({**HEAD, "choices": [{"index": at, "delta": delta, "finish_reason": None}]})
    ends = [{"index": at, "delta": {}, "finish_reason": finish} for at in sorted(choices)]
    return chunks + [{**HEAD, "choices": [end]} for end in ends]


def whole(*messages: dict[str, Any], finish: str = "stop") -> dict[str, Any]:
    choices = [
        {"index": at, "message": {"role": "assistant", **message}, "finish_reason": finish}
        for at, message in enumerate(messages)
    ]
    return {**HEAD, "object": "chat.completion", "choices": choices}


def said(row: dict[str, Any], side: str) -> tuple[Any, ...]:
    names = ("status", "output_kind", "output", "tool_calls", "finish_reason")
    return tuple(row[f"{side}_{name}"] for name in names)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("shape", MODELS)
def test_a_blank_answer_is_recorded_as_one(
    session: mk.MirrorSession, sim: Simulator, drive: Any, shape: str, stream: bool
) -> None:
    if not exists(shape, drive):
        pytest.skip("there is no such call")
    sim.script(MODELS[shape], Reply(text="On its way."), Reply(text=""))
    row = ask(session, drive, shape, stream)
    assert said(row, "primary") == ("ok", "text", "On its way.", None, "stop")
    assert said(row, "silent") == ("ok", "blank", "", None, "stop")


@pytest.mark.parametrize("shape", MODELS)
def test_a_stream_with_nothing_in_it_is_an_error(
    router: litellm.Router, sim: Simulator, drive: Any, shape: str
) -> None:
    if not exists(shape, drive):
        pytest.skip("there is no such call")
    sim.script(MODELS[shape], Reply(text="On its way."), Reply(body=[]))
    with mk.MirrorSession(router, control=1.0, silent_retries=0) as session:
        row = ask(session, drive, shape, stream=True)
        drive.close(session)
    assert said(row, "primary") == ("ok", "text", "On its way.", None, "stop")
    assert said(row, "silent") == ("error", None, None, None, None)
    assert row["silent_error_message"]
    assert row["silent_cost_usd"] is None


@pytest.mark.parametrize("shape", ["openai", "azure", "anthropic", "gemini", "responses"])
def test_a_stream_calls_tools_as_the_whole_answer_does(
    session: mk.MirrorSession, sim: Simulator, drive: Any, shape: str
) -> None:
    calls = [{"name": "look_up", "arguments": {"id": number}} for number in (7, 8)]
    tool = {"type": "function", **TOOL["function"]} if shape == "responses" else TOOL  # type: ignore[dict-item]
    read = []
    for stream in (False, True):
        sim.script(MODELS[shape], *[Reply(tool_calls=calls)] * 2)
        row = ask(session, drive, shape, stream, tools=[tool])
        made = [
            (call["name"], json.loads(call["arguments"])) for call in json.loads(row["primary_tool_calls"])
        ]
        assert made == [("look_up", {"id": 7}), ("look_up", {"id": 8})]
        assert (row["primary_output_kind"], row["primary_finish_reason"]) == ("tool_calls", "tool_calls")
        assert said(row, "primary") == said(row, "silent")
        read.append(said(row, "primary"))
    assert read[0][-1] == read[1][-1]


@pytest.mark.parametrize(
    ("message", "deltas", "kind"),
    [
        (
            {"content": None, "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f"}}]},
            [{"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f"}}]}],
            "tool_calls",
        ),
        (
            {"content": None, "function_call": {"name": "f", "arguments": '{"a":1}'}},
            [{"function_call": {"name": "f", "arguments": '{"a"'}}, {"function_call": {"arguments": ":1}"}}],
            "tool_calls",
        ),
        (
            {
                "content": None,
                "tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "sh", "input": "ls -l"}}],
            },
            [
                {
                    "tool_calls": [
                        {"index": 0, "id": "a", "type": "custom", "custom": {"name": "sh", "input": "ls"}}
                    ]
                },
                {"tool_calls": [{"index": 0, "custom": {"input": " -l"}}]},
            ],
            "tool_calls",
        ),
        (
            {
                "content": None,
                "audio": {"id": "a", "data": "UklGUg==", "transcript": "Hello", "expires_at": 9},
            },
            [
                {"audio": {"id": "a", "transcript": "Hel"}},
                {"audio": {"transcript": "lo", "data": "UklGUg=="}},
            ],
            "media",
        ),
        (
            {"content": "Yes.", "reasoning_content": "Hm."},
            [{"reasoning_content": "H"}, {"reasoning_content": "m."}, {"content": "Yes."}],
            "text",
        ),
        ({"content": "😀!"}, [{"content": "😀"}, {"content": "!"}], "text"),
    ],
)
def test_a_stream_is_the_whole_answer_after_litellm_has_had_it(
    session: mk.MirrorSession, sim: Simulator, drive: Any, message: Any, deltas: Any, kind: str
) -> None:
    for answer, stream in ((whole(message), False), (events({"role": "assistant"}, *deltas), True)):
        sim.script("gpt-4o", *[Reply(body=json.loads(json.dumps(answer)))] * 2)
        row = ask(session, drive, "openai", stream)
        assert said(row, "primary") == said(row, "silent")
        assert (row["primary_status"], row["primary_output_kind"]) == ("ok", kind)
    first, second = (said(row, "primary") for row in session.frame.rows(named=True))
    assert first == second


def test_a_refusal_is_an_answer(session: mk.MirrorSession, sim: Simulator, drive: Any) -> None:
    """Of a whole answer: LiteLLM drops what a stream says of one, and the caller gets a blank."""
    sim.script("gpt-4o", *[Reply(body=whole({"content": None, "refusal": "I will not."}))] * 2)
    row = ask(session, drive, "openai")
    assert said(row, "primary") == said(row, "silent") == ("ok", "refusal", "I will not.", None, "stop")


def test_several_choices_are_put_together(session: mk.MirrorSession, sim: Simulator, drive: Any) -> None:
    texts = ("one way", "another")
    deltas = [{"at": at, "content": text[part]} for part in (slice(4), slice(4, None)) for at, text in
              enumerate(texts)]  # fmt: skip
    answers = (whole(*({"content": text} for text in texts)), False), (events(*deltas), True)
    for answer, stream in answers:
        sim.script("gpt-4o", *[Reply(body=answer)] * 2)
        row = ask(session, drive, "openai", stream, n=2)
        assert json.loads(row["primary_output"]) == list(texts)
        assert said(row, "primary") == said(row, "silent")


def test_parallel_tool_calls_under_one_index_are_two(
    session: mk.MirrorSession, sim: Simulator, drive: Any
) -> None:
    calls = [
        {"index": 0, "id": id_, "type": "function", "function": {"name": name, "arguments": "{}"}}
        for id_, name in (("a", "weather"), ("b", "clock"))
    ]
    deltas = [{"tool_calls": [call]} for call in calls]
    sim.script("gpt-4o", *[Reply(body=events(*deltas, finish="tool_calls"))] * 2)
    row = ask(session, drive, "openai", stream=True)
    for side in ("primary", "silent"):
        assert [call["name"] for call in json.loads(row[f"{side}_tool_calls"])] == ["weather", "clock"]


def test_a_response_that_failed_is_an_error(session: mk.MirrorSession, sim: Simulator, drive: Any) -> None:
    failed = {"id": "r", "object": "response", "created_at": 1, "model": "gpt-4o", "output": []}
    failed |= {"status": "failed", "error": {"code": "server_error", "message": "The model had an error."}}
    sim.script("gpt-4o", Reply(), Reply(body=failed))
    row = ask(session, drive, "responses")
    assert (row["primary_status"], row["silent_status"]) == ("ok", "error")
    assert row["silent_error_type"] == "ResponseFailed"
    assert row["silent_error_message"] == "server_error: The model had an error."


def test_a_response_that_is_yet_to_be_made_is_not_known(
    session: mk.MirrorSession, sim: Simulator, drive: Any
) -> None:
    queued = {"id": "r", "object": "response", "created_at": 1, "model": "gpt-4o", "output": []}
    queued |= {"status": "queued", "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
    sim.script("gpt-4o", *[Reply(body=queued)] * 2)
    row = ask(session, drive, "responses")
    for side in ("primary", "silent"):
        assert said(row, side) == ("unknown", None, None, None, None)


@pytest.mark.parametrize("fault", ["400", "401", "429", "500"])
def test_a_failed_primary_is_of_the_same_model_called_either_way(
    sim: Simulator, drive: Any, fault: Any
) -> None:
    models = [each for each in deployments(sim) if each["model_name"] == "openai"]
    router = litellm.Router(model_list=models, num_retries=0)
    sim.script("gpt-4o", *[Reply(fault=fault)] * 2)
    with mk.MirrorSession(router, control=1.0) as session:
        with pytest.raises(Exception, match=r"OpenAI|Rate|key"):
            drive.chat(session, model="openai", messages=ASKED)
        drive.drain(session)
        (row,) = session.frame.rows(named=True)
        drive.close(session)
    assert (row["primary_status"], row["primary_model"]) == ("error", "gpt-4o")
