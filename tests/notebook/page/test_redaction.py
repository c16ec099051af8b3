"""What a user wants hidden is hidden however it is spelled, and a redaction that fails shows nothing."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


@given(JSON, st.booleans(), st.booleans())
def test_no_text_within_a_document_keeps_the_secret(document: object, escaped: bool, nested: bool) -> None:
    text = json.dumps(document, ensure_ascii=escaped)
    shown = Redaction(hide).document(json.dumps({"arguments": text}) if nested else text)
    assert shown is not None
    read = json.loads(shown)
    inner = read["arguments"] if nested else read
    found = strings(json.loads(inner) if nested and inner[:1] in ("[", "{") else inner)
    assert not any(SECRET in each for each in found)


def test_without_a_redaction_a_document_is_untouched() -> None:
    text = ' {"a":1.0,  "b": "\\u00c4"}'
    assert Redaction(None).document(text) == Redaction(None).text(text) == text


@pytest.mark.parametrize("redact", [lambda text: text[10_000], lambda text: None, lambda text: 5])
def test_a_redaction_that_fails_leaves_the_text_out(redact: object) -> None:
    redaction = Redaction(redact)  # type: ignore[arg-type]
    assert redaction.text("secret") == LEFT_OUT
    assert "secret" not in (redaction.document('[{"role": "user", "content": "secret"}]') or "")
    assert redaction.failed == 2


def test_the_shape_of_messages_stays_whatever_the_redaction_does() -> None:
    messages = '[{"role": "user", "content": [{"type": "text", "text": "secret"}]}]'
    shown = json.loads(Redaction(lambda text: "█").document(messages) or "")
    assert shown == [{"role": "user", "content": [{"type": "text", "text": "█"}]}]


@pytest.mark.parametrize("none", [None])
def test_nothing_stays_nothing(none: str | None) -> None:
    assert Redaction(hide).text(none) is None
    assert Redaction(hide).document(none) is None


def test_what_is_nested_too_deep_is_redacted_as_text_or_left_out() -> None:
    for deep in ("[" * 100_000 + SECRET, "[" * 900 + json.dumps(SECRET) + "]" * 900):
        assert SECRET not in (Redaction(hide).document(deep) or "").replace("\\", "")
