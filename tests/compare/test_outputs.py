"""When two answers count as identical."""

import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.compare.outputs import answered, identical

TYPES = {
    f"{side}_{column}": pl.String() for side in ("primary", "silent") for column in ("output", "tool_calls")
}


def same(primary: tuple[str | None, str | None], silent: tuple[str | None, str | None]) -> bool | None:
    """Whether two answers, each (text, tool calls), are identical."""
    frame = pl.DataFrame([(*primary, *silent)], schema=TYPES, orient="row")
    answer: bool | None = frame.select(identical()).item()
    assert (
        answer == pl.DataFrame([(*silent, *primary)], schema=TYPES, orient="row").select(identical()).item()
    )
    return answer


def call(arguments: str, name: str = "weather") -> str:
    return json.dumps([{"name": name, "arguments": arguments}])


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("Paris", "Paris", True),
        ("Paris", " Paris\n", True),
        ("Paris", "paris", False),
        ("New York", "NewYork", False),
        ("", None, True),
        ("Paris", None, False),
    ],
)
def test_texts_are_compared_without_the_whitespace_around_them(
    one: str | None, other: str | None, expected: bool
) -> None:
    assert same((one, None), (other, None)) is expected


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (call('{"city": "Paris"}'), call('{"city":"Paris"}'), True),
        (call('{"city": "Paris"}'), '[ {"name":"weather",  "arguments":"{\\"city\\":\\"Paris\\"}"} ]', True),
        (call('{"city": "New York"}'), call('{"city": "NewYork"}'), False),
        (call('{"city": "Paris"}'), call('{"city": "Paris"}', name="time"), False),
        (call('{"city": "Par'), call('{"city": "Par'), True),
        (call('{"city": "Par'), call('{"city": "Pari'), False),
        (call("{}"), None, False),
        ("[]", None, True),
        ("not json", "not json ", True),
        ("not json", "not  json", False),
        ('[{"name": "f", "arguments": {"a": 1}}]', '[{"name":"f","arguments":{"a":1}}]', True),
        ('[{"name": "f", "arguments": {"a": 1}}]', '[{"name": "f", "arguments": {"a": 2}}]', False),
    ],
)
def test_tool_calls_are_compared_as_json(one: str | None, other: str | None, expected: bool) -> None:
    assert same((None, one), (None, other)) is expected


def test_the_number_of_tool_calls_counts() -> None:
    twice = json.dumps(json.loads(call("{}")) * 2)
    assert same((None, call("{}")), (None, twice)) is False


def test_text_and_tool_calls_must_both_agree() -> None:
    assert same(("a", call("{}")), ("b", call("{}"))) is False
    assert same(("a", call("{}")), ("a", call('{"b": 1}'))) is False


@given(st.none() | st.text(), st.none() | st.text())
def test_any_answer_is_identical_to_itself_and_the_question_is_always_answered(
    text: str | None, calls: str | None
) -> None:
    assert same((text, calls), (text, calls)) is True
    assert same((text, calls), ("another answer than that", None)) in (False, True)


@given(st.recursive(st.none() | st.integers(0, 9) | st.text(), lambda deep: st.dictionaries(st.text(), deep)))
def test_spacing_of_arguments_never_counts(value: object) -> None:
    document = {"argument": value}
    assert same((None, call(json.dumps(document, indent=2))), (None, call(json.dumps(document)))) is True


def test_an_empty_text_is_an_answer_and_nothing_is_none() -> None:
    frame = pl.DataFrame([("", None, None, "[]"), (None, None, "x", None)], schema=TYPES, orient="row")
    assert frame.select(answered("primary"), answered("silent")).rows() == [(True, True), (False, True)]
