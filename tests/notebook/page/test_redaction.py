"""What a user wants hidden is hidden however it is spelled, and a redaction that fails shows nothing."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.compare.answers.paths import inside
from mirrorkit.notebook.page.redaction import LEFT_OUT, Redaction

SECRET = 'Ada "Ä" King'
TEXT = st.text(max_size=5) | st.just(SECRET)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def hide(text: str) -> str:
    return text.replace(SECRET, "X")


def strings(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for pair in value.items() for each in pair for text in strings(each)]
    if isinstance(value, list):
        return [text for each in value for text in strings(each)]
    return [value] if isinstance(value, str) else []


@given(JSON, st.booleans(), st.booleans(), st.booleans())
def test_no_text_within_a_document_keeps_the_secret(
    document: object, escaped: bool, nested: bool, is_message: bool
) -> None:
    text = json.dumps(document, ensure_ascii=escaped)
    redaction = Redaction(hide)
    redacted = redaction.messages if is_message else redaction.document
    shown = redacted(json.dumps({"arguments": text}) if nested else text)
    assert shown is not None
    read = json.loads(shown)
    inner = read["arguments"] if nested else read
    found = strings(json.loads(inner) if nested and inner[:1] in ("[", "{") else inner)
    assert not any(SECRET in each for each in found)


@pytest.mark.parametrize("key", ["role", "type", "id", "call_id", "tool_call_id", "status"])
@pytest.mark.parametrize("place", ["output", "message", "part", "call", "arguments", "input", "content"])
def test_no_key_lets_a_text_through(key: str, place: str) -> None:
    secret = {key: SECRET}
    inside = {
        "output": secret,
        "message": [{"content": "x", **secret}],
        "part": [{"role": "user", "content": [{"text": "x", **secret}]}],
        "call": [{"role": "assistant", "tool_calls": [{"function": {"name": "f"}, **secret}]}],
        "arguments": [{"name": "f", "arguments": json.dumps(secret)}],
        "input": [{"role": "user", "content": [{"type": "tool_use", "input": secret}]}],
        "content": [{"role": "tool", "content": json.dumps(secret)}],
    }
    redaction, text = Redaction(hide), json.dumps(inside[place])
    shown = (redaction.document if place == "output" else redaction.messages)(text) or ""
    assert "Ada" not in shown
    assert "X" in shown


@pytest.mark.parametrize("place", ["answer", "arguments", "content"])
def test_what_is_a_role_in_a_message_is_a_text_elsewhere(place: str) -> None:
    redaction, text = Redaction(lambda text: text.replace("user", "X")), '{"role": "user"}'
    if place == "answer":
        assert redaction.document(text) == '{"role": "X"}'
    else:
        shown = json.loads(redaction.messages(json.dumps([{"role": "user", place: text}])) or "")
        assert shown == [{"role": "user", place: '{"role": "X"}'}]


def test_numbers_are_redacted() -> None:
    redaction = Redaction(lambda text: re.sub(r"\d{8,}", "[card]", text))
    text = '{"card": 4111111111111111, "cents": -7, "share": 0.5, "more": [{"n": 41111111.25}]}'
    card = '{"card": "[card]", "cents": -7, "share": 0.5, "more": [{"n": "[card].25"}]}'
    assert redaction.document(text) == card
    assert redaction.messages('[{"content": [4111111111111111]}]') == '[{"content": ["[card]"]}]'


def test_keys_that_become_the_same_are_all_there() -> None:
    redaction = Redaction(lambda text: re.sub("ada|bob", "role", text))
    assert (
        redaction.document('{"ada": 1, "role": 2, "bob": 3}') == '{"role": 1, "role (2)": 2, "role (3)": 3}'
    )
    # the key that makes a message is not taken from it
    shown = redaction.messages('[{"ada": 1, "role": "user", "bob": 3}]')
    assert shown == '[{"role (2)": 1, "role": "user", "role (3)": 3}]'


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("$", "$"),
        ("$.ok[*].n", "$.ok[*].n"),
        ('$["Ada \\"Ä\\" King"][2].x', "$.X[2].x"),
        ("tool_calls[0].arguments.n", "tool_calls[0].arguments.n"),
        ('tool_calls["Ada \\"Ä\\" King"]', "tool_calls.X"),
        ("no path " + SECRET, "no path X"),
        (inside("$", SECRET + "y" * 300), '$["…"]'),
    ],
)
def test_the_keys_in_a_path_are_redacted_however_they_are_spelled(path: str, shown: str) -> None:
    assert Redaction(hide).path(path) == shown
    assert Redaction(None).path(path) == path


def test_without_a_redaction_a_document_is_untouched() -> None:
    text = ' {"a":1.0,  "b": "\\u00c4"}'
    assert Redaction(None).document(text) == Redaction(None).text(text) == text


@pytest.mark.parametrize("redact", [lambda text: text[10_000], lambda text: None, lambda text: 5])
def test_a_redaction_that_fails_leaves_the_text_out(redact: object) -> None:
    redaction = Redaction(redact)  # type: ignore[arg-type]
    assert redaction.text("secret") == LEFT_OUT
    assert "secret" not in (redaction.messages('[{"role": "user", "content": "secret"}]') or "")
    assert redaction.failed == 2


def test_the_shape_of_messages_stays_whatever_the_redaction_does() -> None:
    messages = '[{"role": "user", "content": [{"type": "text", "text": "secret"}]}]'
    shown = json.loads(Redaction(lambda text: "█").messages(messages) or "")
    assert shown == [{"role": "user", "content": [{"type": "text", "text": "█"}]}]


@pytest.mark.parametrize("none", [None])
def test_nothing_stays_nothing(none: str | None) -> None:
    assert Redaction(hide).text(none) is None
    assert Redaction(hide).document(none) is None


def test_what_is_nested_too_deep_is_redacted_as_text_or_left_out() -> None:
    for deep in ("[" * 100_000 + SECRET, "[" * 900 + json.dumps(SECRET) + "]" * 900):
        assert SECRET not in (Redaction(hide).document(deep) or "").replace("\\", "")
