"""Answers of the Responses API: what the caller is to do, what failed, what is yet to come."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.capture.observe import Pricer, Seen
from mirrorkit.capture.watch import Watch
from mirrorkit.records import Call

USAGE = {"input_tokens": 7, "output_tokens": 3, "input_tokens_details": {"cached_tokens": 2}}


def call_of(seen: Seen) -> Call:
    return Pricer(lambda _id, _model: {}).call(seen, "Hello", None, "responses")


def whole(*items: dict[str, Any], **more: Any) -> Call:
    return call_of(Watch({}).answered({"output": list(items), "status": "completed", **more}))


def streamed(*events: dict[str, Any]) -> Call:
    watch = Watch({})
    for event in events:
        watch.chunk(event)
    return call_of(watch.streamed(SimpleNamespace()))


def text(*parts: str) -> dict[str, Any]:
    return {"type": "message", "content": [{"type": "output_text", "text": part} for part in parts]}


@pytest.mark.parametrize(
    ("item", "name", "arguments"),
    [
        ({"type": "function_call", "name": "f", "arguments": "{}"}, "f", "{}"),
        ({"type": "custom_tool_call", "name": "shell", "input": "ls"}, "shell", "ls"),
        ({"type": "computer_call", "action": {"type": "click"}}, "computer", '{"type": "click"}'),
        ({"type": "mcp_approval_request", "name": "pay", "arguments": "{}"}, "pay", "{}"),
    ],
)
def test_what_the_caller_is_to_do_is_a_tool_call(item: dict[str, Any], name: str, arguments: str) -> None:
    call = whole(item)
    assert json.loads(call.tool_calls or "") == [{"name": name, "arguments": arguments}]
    assert (call.output_kind, call.finish_reason) == ("tool_calls", "tool_calls")


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_an_answer_that_failed_is_an_error(status: str) -> None:
    error = {"code": "server_error", "message": "The model had an error."}
    call = whole(status=status, error=error, usage=None)
    assert (call.status, call.error_type) == ("error", "ResponseFailed")
    assert call.error_message == "server_error: The model had an error."
    assert call.output_kind is None


def test_a_failure_without_words_names_the_status() -> None:
    assert "'failed'" in (whole(status="failed").error_message or "")


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_an_answer_that_is_yet_to_be_made_is_not_known(status: str) -> None:
    call = whole(status=status)
    assert (call.status, call.output_kind, call.output) == ("unknown", None, None)


@pytest.mark.parametrize(("details", "finish"), [(None, "stop"), ({"reason": "max_output_tokens"}, "length")])
def test_it_ends_for_the_reasons_that_chat_answers_have(details: Any, finish: str) -> None:
    assert whole(text("Hi"), incomplete_details=details).finish_reason == finish


@given(st.lists(st.text(max_size=5), max_size=5))
def test_a_stream_is_its_last_event(parts: list[str]) -> None:
    answer = {"output": [text(*parts)], "status": "completed", "usage": USAGE, "model": "m"}
    events = [{"type": "response.output_text.delta", "delta": part} for part in parts]
    last = {"type": "response.completed", "response": answer}
    by_stream, by_answer = streamed(*events, last), call_of(Watch({}).answered(answer))
    assert by_stream.output == by_answer.output == "".join(parts)
    assert (by_stream.input_tokens, by_stream.cached_input_tokens) == (7, 2)
    assert by_stream.output_kind == by_answer.output_kind


def test_a_stream_without_its_last_event_is_an_error_with_what_came() -> None:
    call = streamed({"type": "response.output_text.delta", "delta": "Hel"})
    assert (call.status, call.error_type, call.output) == ("error", "StreamError", "Hel")


def test_a_stream_with_nothing_in_it_is_an_error() -> None:
    assert streamed({"type": "response.created", "response": {}}).error_type == "EmptyStream"


def test_a_stream_that_ends_with_a_failure_is_an_error() -> None:
    answer = {"output": [], "status": "failed", "error": {"code": "rate_limit_exceeded", "message": "No."}}
    call = streamed({"type": "response.failed", "response": answer})
    assert (call.status, call.error_message) == ("error", "rate_limit_exceeded: No.")


def test_reasoning_is_counted_where_nobody_else_did() -> None:
    call = whole({"type": "reasoning", "summary": [{"text": "Let me think."}]}, text("Yes."))
    assert call.usage_source == "estimated"
    assert (call.output_tokens or 0) > (call.reasoning_tokens or 0) > 0
