"""Every answer has a kind, and one of few reasons to end."""

from typing import Any

import pytest

from mirrorkit.capture.answer import Answer, finish_of
from mirrorkit.capture.observe import Pricer
from mirrorkit.capture.watch import Watch
from mirrorkit.records import Call


def recorded(answer: Any, call_type: str = "completion") -> Call:
    return Pricer(lambda _id, _model: {}).call(Watch({}).answered(answer), None, None, call_type)


def chat(*messages: dict[str, Any]) -> dict[str, Any]:
    return {"choices": [{"message": message, "finish_reason": "stop"} for message in messages]}


def response(*items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"output": list(items), "status": "completed", **more}


def message(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"type": "message", "content": list(blocks), "stop_reason": "end_turn"}


def text_item(text: str, kind: str = "text") -> dict[str, Any]:
    return {"type": "message", "content": [{"type": f"output_{kind}", kind: text}]}


CALL = {"function": {"name": "f", "arguments": "{}"}}
BLANK = [
    chat({"content": None}),
    chat({"content": ""}),
    chat({}),
    {"choices": []},
    response(),
    response(text_item("")),
    response({"type": "reasoning", "summary": [{"text": "Hm."}]}),
    message(),
    message({"type": "text", "text": ""}),
    message({"type": "thinking", "thinking": "Hm."}),
]


@pytest.mark.parametrize("answer", BLANK)
def test_a_blank_answer_is_an_answer(answer: Any) -> None:
    call = recorded(answer)
    assert (call.status, call.output_kind, call.output, call.tool_calls) == ("ok", "blank", "", None)


@pytest.mark.parametrize("answer", [chat({"content": " \n"}), response(text_item(" \n"))])
def test_whitespace_is_blank_and_recorded_as_it_is(answer: Any) -> None:
    call = recorded(answer)
    assert (call.output_kind, call.output) == ("blank", " \n")


@pytest.mark.parametrize(
    ("answer", "kind", "output"),
    [
        (chat({"content": "Hello"}), "text", "Hello"),
        (chat({"content": "Hello", "tool_calls": [CALL]}), "tool_calls", "Hello"),
        (chat({"content": "", "tool_calls": [CALL]}), "tool_calls", None),
        (chat({"content": None, "refusal": "No."}), "refusal", "No."),
        (chat({"content": "Well.", "refusal": "No."}), "text", "Well."),
        (chat({"content": None, "images": [{}]}), "media", None),
        (chat({"content": "a"}, {"content": None}), "text", '["a", ""]'),
        (chat({"content": None}, {"content": None}), "blank", ""),
        (chat({"refusal": "No."}, {"refusal": "Never."}), "refusal", '["No.", "Never."]'),
        (chat({"content": "a"}, {"refusal": "Never."}), "text", '["a", "Never."]'),
        (response(text_item("Hello")), "text", "Hello"),
        (response(text_item("No.", "refusal")), "refusal", "No."),
        (response({"type": "function_call", "name": "f", "arguments": "{}"}), "tool_calls", None),
        (response({"type": "image_generation_call", "result": "iVBO"}), "media", "data:;base64,iVBO"),
        (message({"type": "text", "text": "Hello"}), "text", "Hello"),
        (message({"type": "tool_use", "name": "f", "input": {}}), "tool_calls", None),
    ],
)
def test_every_answer_has_a_kind(answer: Any, kind: str, output: str | None) -> None:
    call = recorded(answer)
    assert (call.output_kind, call.output) == (kind, output)


def test_what_failed_or_has_no_text_by_its_nature_has_none() -> None:
    assert recorded({"object": "list", "data": [{"embedding": [0.5]}]}, "embedding").output_kind is None
    failed = Pricer(lambda _id, _model: {}).call(Watch({}).failed(ValueError()), None, None, "completion")
    assert (failed.output_kind, failed.output) == (None, None)


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop", "stop"),
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("completed", "stop"),
        ("STOP", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("max_output_tokens", "length"),
        ("MAX_TOKENS", "length"),
        ("pause_turn", "length"),
        ("tool_calls", "tool_calls"),
        ("tool_use", "tool_calls"),
        ("function_call", "tool_calls"),
        ("content_filter", "content_filter"),
        ("refusal", "content_filter"),
        ("SAFETY", "content_filter"),
        ("because", "because"),
        ("", None),
        (None, None),
        (7, None),
    ],
)
def test_reasons_to_end_have_one_vocabulary(word: Any, reason: str | None) -> None:
    assert finish_of(word) == reason


def test_an_answer_with_tool_calls_stops_for_them() -> None:
    assert recorded(chat({"tool_calls": [CALL]})).finish_reason == "tool_calls"
    assert recorded(chat({"content": "Hello"})).finish_reason == "stop"
    assert finish_of("length", has_tool_calls=True) == "length"


def test_an_answer_that_took_no_tokens_says_nothing() -> None:
    assert not Answer().says_something
    assert not Answer(("",)).says_something
    assert Answer((" ",)).says_something
    assert Answer(reasoning="Hm.").says_something
