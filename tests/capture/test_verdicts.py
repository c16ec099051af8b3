"""What a judge is shown holds whatever an answer says; what it says is read leniently, and never guessed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.capture.verdicts import ORDERS, RUBRIC, Verdict, prompt, read_verdict, settled


def row(**given: Any) -> dict[str, Any]:
    names = ("messages", "primary_output", "silent_output", "primary_tool_calls", "silent_tool_calls")
    return {**dict.fromkeys(names), **given}


@given(st.text(), st.text(), st.text())
def test_nothing_that_was_said_leaves_its_json_string(asked: str, one: str, other: str) -> None:
    pair = row(messages=asked, primary_output=one, silent_output=other)
    system, user = prompt(pair, "silent", RUBRIC)
    assert json.loads(user["content"]) == {"request": asked, "first": other, "second": one}
    # and the instructions are the same whatever was said
    assert system == prompt(row(), "silent", RUBRIC)[0]


def test_the_two_orders_show_the_same_answers_the_other_way_round() -> None:
    pair = row(primary_output="p", silent_output="s")
    shown = [json.loads(prompt(pair, first, RUBRIC)[1]["content"]) for first in ORDERS]
    assert [(one["first"], one["second"]) for one in shown] == [("s", "p"), ("p", "s")]


def test_the_rubric_is_in_the_instructions_as_it_was_given() -> None:
    assert "Shorter {wins} 100 %." in prompt(row(), "silent", "Shorter {wins} 100 %.")[0]["content"]


def test_an_answer_by_tools_is_shown_with_its_calls() -> None:
    pair = row(primary_output="p", silent_tool_calls='[{"name":"look_up"}]')
    shown = json.loads(prompt(pair, "silent", RUBRIC)[1]["content"])
    assert shown["first"] == {"text": None, "tool_calls": '[{"name":"look_up"}]'}


@pytest.mark.parametrize(
    "text",
    [
        '{"reason": "why", "winner": "first"}',
        '{"winner": "First ", "reason": "why"}',
        '```json\n{"reason": "why", "winner": "first"}\n```',
        '```\n{"reason": "why", "winner": "first"}```',
        'My verdict:\n{"reason": "why", "winner": "first", "confidence": 0.9}\nI hope that helps.',
    ],
)
@pytest.mark.parametrize("first", ORDERS)
def test_a_verdict_is_read_with_fences_and_words_around_it(text: str, first: Any) -> None:
    assert read_verdict(text, first) == Verdict(first, first, "why")


def test_second_is_the_other_side_and_a_tie_is_a_tie() -> None:
    assert read_verdict('{"winner": "second"}', "silent") == Verdict("silent", "primary", None)
    assert read_verdict('{"winner": "second"}', "primary") == Verdict("primary", "silent", None)
    assert read_verdict('{"winner": "tie", "reason": 3}', "primary") == Verdict("primary", "tie", None)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "first",
        "The first answer is better.",
        '{"winner": "third"}',
        '{"winner": null}',
        '{"winner": ["first"]}',
        '{"winner": true}',
        '{"reason": "no winner"}',
        '["first"]',
        '[{"winner": "first"}, {"winner": "second"}]',
        '{"winner": "first"} {"winner": "second"}',
        '{"winner": "first", "winner": "second"}',
        '{"reason": "cut of',
        "}{",
        "[" * 100_000 + "{}",
        '{"a":' * 100_000 + "1" + "}" * 100_000,
    ],
)
def test_what_is_no_verdict_is_not_guessed_at(text: str | None) -> None:
    assert read_verdict(text, "silent") is None


@given(st.one_of(st.none(), st.text(), st.text().map(lambda t: f'{{"winner": {t}}}')))
def test_whatever_a_judge_says_reading_it_does_not_raise(text: str | None) -> None:
    verdict = read_verdict(text, "silent")
    assert verdict is None or verdict.preference in ("primary", "silent", "tie")


@pytest.mark.parametrize(
    ("one", "other", "says"),
    [
        ("silent", "silent", ("silent", False)),
        ("primary", "primary", ("primary", False)),
        ("tie", "tie", ("tie", False)),
        ("silent", "primary", ("tie", True)),
        ("tie", "silent", ("tie", True)),
        ("primary", "tie", ("tie", True)),
    ],
)
def test_orders_that_disagree_are_a_tie_and_marked(one: Any, other: Any, says: Any) -> None:
    assert settled([Verdict("silent", one, None), Verdict("primary", other, None)]) == says
