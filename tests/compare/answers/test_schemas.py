"""Whether an answer is the JSON that was asked for; what cannot be judged is null."""

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.compare.answers.schemas import Asked

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


def valid(params: Any, answer: str | None) -> bool | None:
    text = params if isinstance(params, str) or params is None else json.dumps(params)
    told: bool | None = (
        Asked().valid(pl.Series([text], dtype=pl.String), pl.Series([answer], dtype=pl.String)).item()
    )
    return told


def with_schema(schema: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}


@pytest.mark.parametrize(
    "params",
    [
        None, "", "not json", "[1]", {}, {"response_format": None}, {"response_format": {"type": "text"}},
        {"response_format": "json_object"}, {"response_format": {"type": "json_object"}, "n": 2},
        "[" * 10_000 + '"response_format"' + "]" * 10_000,
    ],
)  # fmt: skip
def test_where_json_was_not_asked_for_nothing_is_said(params: Any) -> None:
    assert valid(params, '{"a": 1}') is None
    assert valid(params, "text") is None


@pytest.mark.parametrize(
    ("answer", "expected"),
    [('{"a": 1}', True), (" {} ", True), ("[1]", False), ("sure!", False), ("", False),
     ("```json\n{}\n```", False), ('{"a": NaN}', False), (None, None)],
)  # fmt: skip
def test_json_object_asks_for_an_object(answer: str | None, expected: bool | None) -> None:
    assert valid({"response_format": {"type": "json_object"}}, answer) is expected


@pytest.mark.parametrize(
    "params",
    [
        with_schema(SCHEMA),
        {"text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}},
        {"response_format": {**SCHEMA, "title": "AModel"}},
    ],
)
@pytest.mark.parametrize(
    ("answer", "expected"),
    [('{"a": 1}', True), ('{"a": "1"}', False), ("{}", False), ("[]", False), ("{", False)],
)
def test_a_schema_is_held_against_the_answer(params: Any, answer: str, expected: bool) -> None:
    assert valid(params, answer) is expected


@pytest.mark.parametrize(
    "schema",
    [None, {"type": "no type"}, "text", 7, [], {"properties": {"a": {"enum": ["[secret]"]}}},
     {"properties": "[too deep]"}, {"pattern": "("}],
)  # fmt: skip
def test_without_a_schema_to_go_by_an_answer_has_only_to_be_json(schema: Any) -> None:
    assert valid(with_schema(schema), '{"a": 1}') is True
    assert valid(with_schema(schema), '{"a": ') is False


def test_a_reference_elsewhere_is_not_followed() -> None:
    schema = {"properties": {"a": {"$ref": "http://127.0.0.1:9/schema.json"}}}
    assert valid(with_schema(schema), '{"a": 1}') is None
    assert valid(with_schema(schema), "sure!") is False


def test_a_reference_within_is_followed() -> None:
    schema = {"$defs": {"n": {"type": "integer"}}, "properties": {"a": {"$ref": "#/$defs/n"}}}
    assert valid(with_schema(schema), '{"a": 1}') is True
    assert valid(with_schema(schema), '{"a": "x"}') is False


def test_what_cannot_be_judged_is_null() -> None:
    deep = "[" * 10_000 + "]" * 10_000
    assert valid(with_schema({}), deep) is None
    nowhere = {"properties": {"a": {"$ref": "#/$defs/x"}}}
    assert valid(with_schema(nowhere), "{}") is None
    half_a_character = '"' + chr(92) + 'ud800"'
    assert valid(with_schema({"type": "string"}), half_a_character) is None


def test_a_schema_that_refers_to_itself_alone_asks_for_nothing() -> None:
    forever = {"$defs": {"x": {"allOf": [{"$ref": "#/$defs/x"}]}}, "$ref": "#/$defs/x"}
    assert valid(with_schema(forever), "{}") is True


def test_each_answer_keeps_its_row() -> None:
    asks, asks_not = json.dumps(with_schema(SCHEMA)), json.dumps({"temperature": 0})
    told = Asked().valid(pl.Series([asks_not, asks, asks, asks]), pl.Series(["{}", "{}", None, '{"a": 2}']))
    assert told.to_list() == [None, False, None, True]
    nothing = pl.Series([], dtype=pl.String)
    assert Asked().valid(nothing, nothing).to_list() == []


def test_requests_with_a_schema_and_a_seed_of_their_own_are_judged_by_theirs() -> None:
    params = [
        json.dumps({"seed": n, **with_schema({"properties": {"a": {"const": n % 1_500}}})})
        for n in range(3_000)
    ]
    answers = [json.dumps({"a": n % 1_500 + (n % 7 == 0)}) for n in range(3_000)]
    told = Asked().valid(pl.Series(params), pl.Series(answers))
    assert told.to_list() == [n % 7 != 0 for n in range(3_000)]


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5) | st.sampled_from(["object", "$ref", "#"]),
        lambda deep: (
            st.lists(deep, max_size=3)
            | st.dictionaries(
                st.sampled_from(["type", "$ref", "properties", "items", "anyOf", "$schema", "$id", "a"]), deep
            )
        ),
    )
)
def test_any_schema_has_an_answer(schema: Any) -> None:
    assert valid(with_schema(schema), '{"a": [1, "x"]}') in (True, False, None)
    assert valid(with_schema(schema), "{") is False
