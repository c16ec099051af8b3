"""Two JSON documents: read strictly, compared wholly, however odd they are."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.compare.answers.documents import (
    BeyondReading,
    NoJson,
    compare,
    names,
    read,
    read_calls,
    reader,
)
from mirrorkit.compare.answers.paths import read_path

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def changes(one: Any, other: Any, *ignore: str, tolerance: float = 0.0) -> list[tuple[str, str]]:
    found = compare(one, other, ignore=[read_path(path) for path in ignore], tolerance=tolerance)
    return [(change.path, change.change) for change in found]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, []),
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": 1}, {"a": True}, [("$.a", "type")]),
        ({"a": 0}, {"a": False}, [("$.a", "type")]),
        ({"a": False}, {"a": True}, [("$.a", "value")]),
        ({"a": None}, {}, [("$.a", "removed")]),
        ({}, {"a": None}, [("$.a", "added")]),
        ({"a": None}, {"a": 0}, [("$.a", "type")]),
        ({"a": {"b": 1}}, {}, [("$.a", "removed")]),
        ({"a": {"b": 1}}, {"a": {}}, [("$.a.b", "removed")]),
        ({"a": []}, {"a": {}}, [("$.a", "type")]),
        ([1, 2], [1, 2, 3], [("$[2]", "added")]),
        ([1, 2, 3], [1], [("$[1]", "removed"), ("$[2]", "removed")]),
        ({"items": [{"p": 1}, {"p": 2}]}, {"items": [{"p": 1}, {"p": 3}]}, [("$.items[1].p", "value")]),
        ({"a": "1"}, {"a": 1}, [("$.a", "type")]),
        ([], {}, [("$", "type")]),
        ({"odd key": 1, "": 2}, {}, [('$["odd key"]', "removed"), ('$[""]', "removed")]),
        ({"a": 1, "b": [1, 2], "c": 3}, {"c": 4, "b": [2, 2], "d": 1},
         [("$.a", "removed"), ("$.b[0]", "value"), ("$.c", "value"), ("$.d", "added")]),
    ],
)  # fmt: skip
def test_each_place_that_differs_is_named_in_order(one: Any, other: Any, expected: Any) -> None:
    assert changes(one, other) == expected


def test_numbers_are_equal_within_the_tolerance() -> None:
    assert changes({"a": 100}, {"a": 100.9}, tolerance=0.01) == []
    assert changes({"a": 100}, {"a": 102}, tolerance=0.01) == [("$.a", "value")]
    assert changes({"a": True}, {"a": False}, tolerance=0.99) == [("$.a", "value")]
    assert changes({"a": 10**299}, {"a": 10**290}, tolerance=0.01) == [("$.a", "value")]
    assert changes(read("1" * 5_000), read("1" * 5_000), tolerance=0.01) == []
    assert changes(read("1" * 5_000), 1, tolerance=0.01) == [("$", "value")]


@pytest.mark.parametrize(
    ("path", "left"),
    [
        ("$.items", []),
        ("$.items[*]", []),
        ("$.items[0]", ["$.items[1].price", "$.items[1].id"]),
        ("$.items[*].id", ["$.items[0].price", "$.items[1].price"]),
        ("$.*[1]", ["$.items[0].price", "$.items[0].id"]),
        ("$.price", ["$.items[0].price", "$.items[0].id", "$.items[1].price", "$.items[1].id"]),
    ],
)
def test_an_ignored_path_leaves_out_all_that_lies_there(path: str, left: list[str]) -> None:
    one = {"items": [{"price": 1, "id": 1}, {"price": 2, "id": 2}]}
    other = {"items": [{"price": 3, "id": 3}, {"price": 4, "id": 4}]}
    assert [found for found, _ in changes(one, other, path)] == left


def test_what_is_added_or_removed_can_be_ignored_too() -> None:
    assert changes({"id": 1, "a": [1]}, {"a": [1, 2], "at": 2}, "$.id", "$.at", "$.a[1]") == []


@pytest.mark.parametrize(
    "text", ["", "{", "NaN", '{"a": Infinity}', "[-Infinity]", "{'a': 1}", "[1,]", "sure!"]
)
def test_what_is_no_json_is_said_to_be_none(text: str) -> None:
    with pytest.raises(NoJson):
        read(text)


def test_numbers_of_any_size_keep_their_value() -> None:
    assert read("9" * 6_000) == read("9" * 6_000) != read("9" * 5_999 + "8")
    assert read("1e999") == read("10e998") != read("1e998")
    assert read("1e308") != read("1e999")
    assert read("[0.1, -0.0, 5]") == [0.1, -0.0, 5]


@given(st.integers() | st.integers(2**63 - 2, 2**64 + 2) | st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_read_as_it_is_written(number: float) -> None:
    found = read(f'{{"a": [{number!r}, "é"]}}')["a"][0]
    assert (type(found), found) == (type(number), number)


def test_a_text_is_read_once_and_what_cannot_be_read_fails_each_time() -> None:
    once = reader()
    assert once("[1]") is once("[1]")
    for text, error in (("sure!", NoJson), ("[" * 10_000 + "]" * 10_000, BeyondReading)):
        for _ in range(2):
            with pytest.raises(error):
                once(text)


def test_half_a_character_is_read() -> None:
    assert read(r'["\ud800"]') == ["\ud800"]


@pytest.mark.parametrize("text", ["[" * 10_000 + "]" * 10_000, '{"a":' * 10_000 + "1" + "}" * 10_000])
def test_what_is_too_deep_is_said_to_be_beyond_reading(text: str) -> None:
    with pytest.raises(BeyondReading):
        read(text)


def test_an_exponent_of_any_size_is_no_crash() -> None:
    text = "1e" + "9" * 30
    with suppress(BeyondReading):
        assert changes(read(text), read(text)) == []


def test_of_equal_keys_the_last_counts() -> None:
    assert read('{"a": 1, "a": 2}') == {"a": 2}


def test_half_a_character_does_not_stop_it() -> None:
    one, other = read(r'{"\ud800 x": 1, "a": "\udfff"}'), read(r'{"a": "\udffe"}')
    for change in compare(one, other):
        for said in change:
            assert said is None or said.encode()


def test_a_key_as_long_as_a_book_is_shown_cut() -> None:
    [(path, _)] = changes({"k" * 1_000_000: 1}, {})
    assert len(path) < 300


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[{"name": "f", "arguments": "{\\"a\\": 1}"}]', [{"name": "f", "arguments": {"a": 1}}]),
        ('[{"name": "f", "arguments": {"a": 1}}]', [{"name": "f", "arguments": {"a": 1}}]),
        ('[{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]',
         [{"name": "f", "arguments": {}}]),
        ('[{"name": "f", "arguments": "{\\"a\\": NaN}"}]', [{"name": "f", "arguments": '{"a": NaN}'}]),
        ('[{"name": "f", "arguments": "{\\"a"}]', [{"name": "f", "arguments": '{"a'}]),
        ('[{"name": "f", "arguments": ""}]', [{"name": "f", "arguments": {}}]),
        ('[{"name": "f"}]', [{"name": "f", "arguments": {}}]),
        ("[1]", [1]),
        ('{"a": 1}', '{"a": 1}'),
        ("not json", "not json"),
    ],
)  # fmt: skip
def test_tool_calls_are_read_with_their_arguments(text: str, expected: Any) -> None:
    assert read_calls(text) == expected


def test_names_are_those_of_tool_calls_alone() -> None:
    assert names(read_calls('[{"name": "f"}, {"name": "g"}]')) == ["f", "g"]
    assert names([1]) is None
    assert names("text") is None


@given(VALUES)
def test_a_document_is_equal_to_itself_written_otherwise(value: Any) -> None:
    assert changes(value, read(json.dumps(value, indent=3, sort_keys=True))) == []


@given(VALUES, VALUES)
def test_the_other_way_round_the_same_places_differ(one: Any, other: Any) -> None:
    turned = {"added": "removed", "removed": "added"}
    there = sorted((path, turned.get(change, change)) for path, change in changes(one, other))
    assert there == sorted(changes(other, one))


@given(VALUES, VALUES)
def test_ignoring_each_place_that_differs_leaves_none(one: Any, other: Any) -> None:
    places = [path for path, _ in changes([one], [other])]
    assert changes([one], [other], *places) == []
