"""How the answers of a pair differ: what counts, what does not, and what is left null."""

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrorkit.compare.answers.differences import (
    ALONE,
    COLUMNS,
    LONGEST,
    MOST_CHANGES,
    ROWS_A_STEP,
    differences,
)
from mirrorkit.compare.answers.rules import Rules, make_rules
from mirrorkit.records import SCHEMA

NAMES = [
    "params",
    "call_type",
    *(
        f"{side}_{name}"
        for side in ("primary", "silent")
        for name in ("status", "output_kind", "output", "tool_calls")
    ),
]
OBJECT = json.dumps({"response_format": {"type": "json_object"}})


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    """Chats with the given values, both sides ok, all else null."""
    base = {"primary_status": "ok", "silent_status": "ok", "call_type": "completion"}
    columns = {name: [{**base, **row}.get(name) for row in rows] for name in NAMES}
    made = pl.DataFrame(columns, schema=dict.fromkeys(NAMES, pl.String))
    others = {name: kind for name, kind in SCHEMA.columns.items() if name not in NAMES}
    return made.with_columns(pl.lit(None, dtype=kind).alias(name) for name, kind in others.items())


def texts(one: str | None, other: str | None, rules: Rules = Rules(), **more: Any) -> dict[str, Any]:  # noqa: B008
    return differences(frame({"primary_output": one, "silent_output": other, **more}), rules).row(
        0, named=True
    )


def tools(one: str | None, other: str | None, rules: Rules = Rules()) -> dict[str, Any]:  # noqa: B008
    row = {"primary_tool_calls": one, "silent_tool_calls": other}
    return differences(frame(row), rules).row(0, named=True)


def call(arguments: Any, name: str = "weather") -> str:
    return json.dumps([{"name": name, "arguments": json.dumps(arguments)}])


def places(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(change["path"], change["change"]) for change in found["changes"]]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("Paris", " Paris\n", True),
        ("a\r\nb", "a\nb", True),
        ("a  b\tc", "a b c", True),
        ("caf\u00e9", "cafe\u0301", True),
        ("Paris", "paris", False),
        ("New York", "NewYork", False),
        ("", None, True),
        ("Paris", None, False),
    ],
)
def test_texts_are_identical_but_for_spacing_and_spelling_of_characters(
    one: str | None, other: str | None, expected: bool
) -> None:
    assert texts(one, other)["identical"] is expected
    assert texts(other, one)["identical"] is expected


def test_similarity_is_of_two_texts() -> None:
    assert texts("Paris", "Paris ")["similarity"] == 1
    assert texts("abcd", "abxd")["similarity"] == pytest.approx(0.75)
    assert texts("", "")["similarity"] == 1
    assert texts("", "abc")["similarity"] == 0
    assert texts("abc", None)["similarity"] == texts(None, "abc")["similarity"] == 0
    assert texts(None, None)["similarity"] == 1
    assert texts("abc", None, call_type=None)["similarity"] is None


def test_a_long_text_is_cut_and_says_so() -> None:
    found = texts("a" * LONGEST + "b", "a" * LONGEST + "c")
    assert (found["identical"], found["similarity"], found["cut"]) == (False, 1.0, True)
    assert texts("a" * LONGEST, "a" * (LONGEST - 1))["cut"] is False


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ('{"a": 1, "b": [1, 2]}', '{"b":[1,2],\n"a":1.0}', True),
        ('{"a": "x  y"}', '{"a": "x y"}', True),
        ('{"a": "caf\\u00e9"}', '{"a": "cafe\\u0301"}', True),
        ('{"a": 1}', '{"a": true}', False),
        ("[1]", "[1]", True),
        ("[]", "{}", False),
    ],
)
def test_json_is_compared_as_json(one: str, other: str, equal: bool) -> None:
    found = texts(one, other)
    assert found["json_equal"] is found["identical"] is equal
    assert (found["changes"] == []) is equal
    assert found["similarity"] == 1 if equal else found["similarity"] < 1


@pytest.mark.parametrize(
    ("one", "other"),
    [("1", "1"), ('"a"', '"a"'), ("{a}", "{a}"), ("Paris", None),
     ('{"a": NaN}', '{"a": NaN}'), ("[" * 10_000 + "]" * 10_000,) * 2],
)  # fmt: skip
def test_what_is_json_on_neither_side_is_compared_as_text(one: str, other: str | None) -> None:
    found = texts(one, other)
    assert found["json_answers"] is False
    assert found["json_equal"] is found["changes"] is None
    assert found["identical"] is (one == other)


def test_changes_name_what_only_one_side_has() -> None:
    found = texts('{"a": 1, "b": "x", "c": [1]}', '{"b": "y", "c": ["1"], "d": null}')
    assert places(found) == [("$.a", "removed"), ("$.b", "value"), ("$.c[0]", "type"), ("$.d", "added")]


def test_changes_past_the_first_are_not_kept_but_count() -> None:
    found = texts(json.dumps([0] * 5_000), json.dumps([1] * 5_000))
    assert len(found["changes"]) == MOST_CHANGES
    # strings that only look different come first, and what follows is still seen
    found = texts(json.dumps(["a  b"] * 5_000 + [1]), json.dumps(["a b"] * 5_000 + [2]))
    assert places(found) == [("$[5000]", "value")]
    assert found["json_equal"] is False


@pytest.mark.parametrize(
    ("one", "other", "names", "whole"),
    [
        (call({"city": "Rome", "n": 1}), call({"n": 1.0, "city": "Rome"}), True, True),
        (call({"city": "Rome"}), call({"city": "Paris"}), True, False),
        (call({}), call({}, name="time"), False, False),
        (call({}), json.dumps(json.loads(call({})) * 2), False, False),
        (call({}), None, False, False),
        (call({}), "[]", False, False),
        ("[]", None, None, None),
        (None, None, None, None),
        ("not json", "not json", None, True),
    ],
)
def test_tool_calls_are_compared_by_name_and_argument(
    one: str | None, other: str | None, names: bool | None, whole: bool | None
) -> None:
    for found in (tools(one, other), tools(other, one)):
        assert found["tool_names_equal"] is names
        assert found["tools_equal"] is whole

        if whole is not None:
            assert found["identical"] is whole


def test_the_order_of_tool_calls_counts() -> None:
    one, other = json.loads(call({}, "f")), json.loads(call({}, "g"))
    found = tools(json.dumps(one + other), json.dumps(other + one))
    assert found["tool_names_equal"] is False
    assert places(found) == [("tool_calls[0].name", "value"), ("tool_calls[1].name", "value")]


def test_changes_of_tool_calls_name_the_argument() -> None:
    found = tools(call({"city": "Rome", "days": 1}), call({"city": "Paris", "unit": "C"}))
    assert places(found) == [
        ("tool_calls[0].arguments.city", "value"),
        ("tool_calls[0].arguments.days", "removed"),
        ("tool_calls[0].arguments.unit", "added"),
    ]
    both = {"primary_tool_calls": call({"a": 1}), "silent_tool_calls": call({"a": 2})}
    found = texts('{"b": 1}', '{"b": 2}', **both)
    assert places(found) == [("$.b", "value"), ("tool_calls[0].arguments.a", "value")]
    assert places(tools(call({}), None)) == [("tool_calls", "removed")]
    assert places(tools(None, call({}))) == [("tool_calls", "added")]


def test_text_and_tool_calls_must_both_agree() -> None:
    calls = {"primary_tool_calls": call({}), "silent_tool_calls": call({})}
    assert texts("a", "a", **calls)["identical"] is True
    assert texts("a", "b", **calls)["identical"] is False
    assert texts("a", "a", primary_tool_calls=call({}))["identical"] is False


@pytest.mark.parametrize("status", ["error", "timeout", "cancelled", "abandoned", None])
def test_of_a_side_that_is_not_ok_nothing_is_said(status: str | None) -> None:
    row = {
        "primary_output": '{"a": 1}', "silent_output": '{"a": 1}', "params": OBJECT,
        "primary_tool_calls": call({}), "silent_tool_calls": call({}), "silent_status": status,
    }  # fmt: skip
    found = differences(frame(row)).row(0, named=True)
    said = {name for name, value in found.items() if value not in (None, False) and name not in ALONE}
    assert said == set()
    assert (found["primary_refused"], found["silent_refused"]) == (False, None)
    assert (found["primary_kind"], found["silent_kind"]) == ("tool_calls", None)


def test_two_answers_of_which_nothing_is_known_are_not_identical() -> None:
    assert texts(None, None, call_type=None)["identical"] is None
    assert texts("a", None, call_type=None)["identical"] is None


def test_matches_of_an_expression_are_left_out_of_texts_and_of_strings() -> None:
    rules = make_rules([r"\d{4}-\d\d-\d\d"])
    assert texts("On 2024-01-01 it rained", "On 2025-12-31 it rained", rules)["identical"] is True
    assert texts("On 2024-01-01 it rained", "On Monday it rained", rules)["identical"] is False
    assert texts('{"at": "2024-01-01", "n": 1}', '{"at": "2025-01-01", "n": 1}', rules)["json_equal"] is True
    one, other = call({"at": "2024-01-01"}), call({"at": "2025-01-01"})
    assert tools(one, other, rules)["identical"] is True
    # a number is no text, however it is written
    assert texts('{"n": 1}', '{"n": 2}', make_rules([r"\d"]))["identical"] is False


def test_ignored_paths_do_not_count() -> None:
    one, other = '{"id": 1, "items": [{"p": 1, "q": 1}]}', '{"id": 2, "items": [{"p": 2, "q": 1}]}'
    assert places(texts(one, other, make_rules(["$.id"]))) == [("$.items[0].p", "value")]
    found = texts(one, other, make_rules(["$.id", "$.items[*].p"]))
    assert (found["identical"], found["changes"], found["similarity"]) == (True, [], 1.0)
    for path in ("tool_calls[0].arguments.id", "$.tool_calls[*].arguments.id"):
        assert tools(call({"id": 1}), call({"id": 2}), make_rules([path]))["tools_equal"] is True
    assert tools(call({"id": 1}), call({"id": 2}), make_rules(["$.id"]))["tools_equal"] is False


def test_numbers_in_json_are_equal_within_the_tolerance() -> None:
    assert texts('{"a": 1.0}', '{"a": 1.001}', make_rules(tolerance=0.01))["identical"] is True
    assert texts('{"a": 1.0}', '{"a": 1.001}')["identical"] is False


def test_texts_are_compared_as_the_users_function_returns_them() -> None:
    rules = make_rules(clean=lambda text: text.removeprefix("```json").removesuffix("```"))
    found = texts('```json{"a": 1}```', '{"a":1}', rules, params=OBJECT)
    assert found["identical"] is True
    assert found["json_equal"] is True
    # whether it is what was asked for is told of the answer itself
    assert (found["primary_json_valid"], found["silent_json_valid"]) == (False, True)


@pytest.mark.parametrize("made", [None, 3, "\ud800"])
def test_a_function_that_gives_no_text_leaves_the_pair_uncompared(made: Any) -> None:
    found = texts('{"a": 1}', '{"a": 1}', make_rules(clean=lambda text: made))
    assert found["primary_clean_failed"] is found["silent_clean_failed"] is True
    for name in ("identical", "similarity", "json_equal", "changes"):
        assert found[name] is None


def test_a_function_that_raises_is_counted_and_the_others_are_compared() -> None:
    rows = [{"primary_output": text, "silent_output": text} for text in ("ab", "c", "", "da")]
    found = differences(frame(*rows), make_rules(clean=lambda text: text[1]))
    assert found["silent_clean_failed"].to_list() == [False, True, False, False], (
        "a blank text is not cleaned"
    )
    assert found["identical"].to_list() == [True, None, True, True]


@pytest.mark.slow
def test_every_row_keeps_its_place_over_several_steps() -> None:
    rows = [
        {"primary_output": "abcd", "silent_output": "abxd"},
        {"primary_output": '{"a":1}', "silent_output": "{}"},
    ]
    many = pl.concat([frame(*rows)] * ROWS_A_STEP)
    steps: list[int] = []
    found = differences(many, step=steps.append)
    assert steps == [ROWS_A_STEP, 2 * ROWS_A_STEP]
    assert found.equals(pl.concat([differences(frame(*rows))] * ROWS_A_STEP))


def test_without_pairs_there_are_no_rows_but_all_columns() -> None:
    assert dict(differences(SCHEMA.frame()).schema) == COLUMNS
    assert dict(differences(frame({})).schema) == COLUMNS


def test_what_is_recorded_is_not_changed() -> None:
    before = frame({"primary_output": " a ", "silent_output": "b"})
    copy = before.clone()
    differences(before, make_rules(["b"], clean=str.upper))
    assert before.equals(copy)


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda deep: st.lists(deep, max_size=3) | st.dictionaries(st.text(max_size=3), deep, max_size=3),
    max_leaves=6,
).map(json.dumps)
ANSWERS = st.none() | st.text(max_size=20) | JSONISH
STATUSES = st.sampled_from(["ok", "ok", "ok", "error", None])


@settings(max_examples=50)
@given(st.lists(st.tuples(ANSWERS, ANSWERS, ANSWERS, ANSWERS, STATUSES, ANSWERS), max_size=4))
def test_any_answers_can_be_compared(rows: list[tuple[Any, ...]]) -> None:
    names = (
        "primary_output",
        "silent_output",
        "primary_tool_calls",
        "silent_tool_calls",
        "silent_status",
        "params",
    )
    pairs = frame(*(dict(zip(names, row, strict=True)) for row in rows))
    found = differences(pairs, make_rules(["$.a", "[0-9]+"], tolerance=0.1))
    assert found.height == len(rows)
    assert dict(found.schema) == COLUMNS
    assert found["similarity"].drop_nulls().is_between(0, 1).all()


@settings(max_examples=50)
@given(ANSWERS, ANSWERS)
def test_an_answer_is_identical_to_itself(text: str | None, calls: str | None) -> None:
    row = {
        "primary_output": text, "silent_output": text, "primary_tool_calls": calls, "silent_tool_calls": calls
    }  # fmt: skip
    found = differences(frame(row)).row(0, named=True)
    assert found["identical"] is True
    assert found["changes"] in (None, [])


# answers of other kinds


@pytest.mark.parametrize(
    ("one", "other", "equal", "changes"),
    [
        ("Paris", '{"a": 1}', False, [("$", "added")]),
        ('{"a": 1}', "Paris", False, [("$", "removed")]),
        ('{"a": 1}', None, False, [("$", "removed")]),
        ('{"a": 1}', '{"a": 1', False, [("$", "removed")]),
        ("{a}", "[1]", False, [("$", "added")]),
    ],
)
def test_json_on_one_side_alone_is_unlike_and_one_change(
    one: str, other: str | None, equal: bool, changes: list[tuple[str, str]]
) -> None:
    found = texts(one, other)
    assert (found["json_answers"], found["json_equal"], found["identical"]) == (True, equal, False)
    assert places(found) == changes


def test_json_and_a_text_that_differ_by_what_is_ignored_are_identical_and_not_both_json() -> None:
    found = texts('Sure: {"a": 1}', '{"a": 1}', make_rules(["^Sure: "]))
    assert (found["identical"], found["similarity"], found["json_equal"]) == (True, 1, False)


BLANKS = (None, "", " \n")


@pytest.mark.parametrize("blank", BLANKS)
def test_a_blank_answer_is_like_another_one_and_unlike_any_text(blank: str | None) -> None:
    for rules in (Rules(), make_rules([".*"]), make_rules(clean=lambda text: "")):
        for found in (texts("Paris", blank, rules), texts(blank, "Paris", rules)):
            assert (found["identical"], found["similarity"], found["cut"]) == (False, 0, False)
        for other in BLANKS:
            found = texts(blank, other, rules)
            assert (found["identical"], found["similarity"]) == (True, 1)
    found = texts("Paris", blank, params=OBJECT)
    assert found["silent_json_valid"] is False
    assert (found["silent_kind"], found["silent_refused"]) == ("blank", False)
    assert found["silent_language"] is None
    assert texts("Paris", None)["silent_output_length"] == 0


def test_a_text_and_a_tool_call_are_unlike_whatever_is_said_beside_the_call() -> None:
    for words in (None, "Paris"):
        found = texts("Paris", words, silent_tool_calls=call({}), params=OBJECT)
        assert (found["identical"], found["similarity"], found["tools_equal"]) == (False, 0, False)
        assert found["silent_json_valid"] is None
    found = tools(call({}), "[]")
    assert (found["identical"], found["similarity"], found["silent_kind"]) == (False, 0, "blank")


def test_tool_calls_without_a_text_have_no_similarity_and_with_one_that_of_the_text() -> None:
    assert tools(call({}), call({}))["similarity"] is None
    both = {"primary_tool_calls": call({}), "silent_tool_calls": call({})}
    assert texts("abcd", "abxd", **both)["similarity"] == pytest.approx(0.75)
    assert texts("abcd", None, **both)["similarity"] == 0


def test_media_are_compared_by_what_they_say_where_that_is_known() -> None:
    media = {"primary_output_kind": "media", "silent_output_kind": "media"}
    assert texts("Hello", "Hello", **media)["identical"] is True
    assert texts("Hello", None, **media)["identical"] is None
    assert texts(None, None, **media)["similarity"] is None
    found = texts('{"a": 1}', None, silent_output_kind="media")
    assert (found["identical"], found["similarity"], found["json_equal"]) == (False, 0, False)


def test_where_cleaning_failed_on_one_side_alone_it_is_known_which() -> None:
    rules = make_rules(clean=lambda text: {"a": "A"}[text])
    found = texts("a", "b", rules, primary_tool_calls=call({}), silent_tool_calls=call({}))
    assert (found["primary_clean_failed"], found["silent_clean_failed"]) == (False, True)
    assert found["identical"] is found["similarity"] is None
    assert (found["tools_equal"], found["json_answers"]) == (True, True)
    # of another kind it is unlike, cleaned or not
    assert texts("b", "", rules)["identical"] is False


CALLED = st.none() | st.sampled_from(["[]", "null", call({}), call({"a": 1}), call({}, "time")])
SAID = (
    st.none()
    | st.sampled_from(["", " ", "Paris", "paris", "2", '{"a": 1}', '{"a": "2"}', "[]", "{"])
    | ANSWERS
)
KINDS = st.sampled_from([None, None, "text", "media", "blank", "tool_calls", "refusal"])
CALL_TYPES = st.sampled_from(["completion", "responses", "embedding", None])
RULES = st.sampled_from([
    Rules(), make_rules(["[0-9]+", "$.a"], tolerance=0.1), make_rules([".*"]),
    make_rules(clean=lambda text: text[1]),
])  # fmt: skip
SYMMETRIC = (
    "identical",
    "similarity",
    "cut",
    "json_answers",
    "json_equal",
    "tools_equal",
    "tool_names_equal",
)
LIKENESS = ("identical", "similarity", "json_equal", "tools_equal")


@settings(max_examples=150, deadline=None)
@given(SAID, SAID, CALLED, CALLED, KINDS, KINDS, STATUSES, CALL_TYPES, RULES)
@pytest.mark.slow
def test_swapping_the_sides_changes_nothing_but_the_sides(
    one: Any,
    other: Any,
    calls: Any,
    others: Any,
    kind: Any,
    another: Any,
    status: Any,
    how: Any,
    rules: Rules,
) -> None:
    names = ("output", "tool_calls", "output_kind", "status")
    sides = ((one, calls, kind, "ok"), (other, others, another, status))
    found = []
    for primary, silent in (sides, sides[::-1]):
        row = {"call_type": how, "params": OBJECT}
        for side, values in (("primary", primary), ("silent", silent)):
            row |= {f"{side}_{name}": value for name, value in zip(names, values, strict=True)}
        found.append(differences(frame(row), rules).row(0, named=True))
    for name in SYMMETRIC:
        assert found[0][name] == found[1][name], name
    for name in COLUMNS:
        if name.startswith("primary_"):
            mirrored = name.replace("primary_", "silent_")
            assert (found[0][name], found[0][mirrored]) == (found[1][mirrored], found[1][name]), name


@settings(max_examples=150, deadline=None)
@given(SAID, SAID, CALLED, CALLED, RULES, st.sampled_from(BLANKS))
@pytest.mark.slow
def test_a_blank_answer_in_place_of_any_other_improves_no_likeness(
    one: Any, other: Any, calls: Any, others: Any, rules: Rules, blank: Any
) -> None:
    primary = {"primary_output": one, "primary_tool_calls": calls, "params": OBJECT}
    given_ = differences(frame({**primary, "silent_output": other, "silent_tool_calls": others}), rules)
    instead = differences(frame({**primary, "silent_output": blank}), rules)
    before, after = given_.row(0, named=True), instead.row(0, named=True)
    assert after["silent_kind"] == "blank"
    if before["primary_kind"] == "blank":
        assert (after["identical"], after["similarity"]) == (True, 1)
        return
    assert (after["identical"], after["similarity"]) == (False, 0)
    assert after["silent_json_valid"] is False
    for name in LIKENESS:
        if before[name] is not None:
            assert not after[name]
