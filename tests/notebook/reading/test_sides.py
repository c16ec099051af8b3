"""One pair as it is shown: what is told, what is hidden, what is cut, and that all of it is harmless."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.notebook.plain import on_one_line, plain
from mirrorkit.notebook.reading import still
from mirrorkit.notebook.reading.sides import FIRST, STEP, shown, snippet

WHO = "name-of-a-model"


def row(**values: Any) -> dict[str, Any]:
    given = {"pair_id": "p1", "primary_status": "ok", "silent_status": "ok"}
    return {**given, "primary_output": "The sky is blue.", "silent_output": "The sky is red.", **values}


def pair(
    revealed: bool = False, silent_left: bool = False, limits: Any = None, **values: Any
) -> dict[str, Any]:
    return shown(row(**values), silent_left=silent_left, revealed=revealed, limits=limits)


def text_of(side: dict[str, Any]) -> str:
    return "".join(text for _, text in side["segments"])


@given(st.text(max_size=200), st.text(max_size=200), st.booleans())
def test_each_side_shows_its_whole_text_with_nothing_hidden(one: str, other: str, silent_left: bool) -> None:
    told = pair(primary_output=one, silent_output=other, silent_left=silent_left)
    left, right = (other, one) if silent_left else (one, other)
    assert text_of(told["left"]) == plain(left)
    assert text_of(told["right"]) == plain(right)


def test_what_only_one_side_says_is_marked() -> None:
    told = pair()
    assert told["left"]["segments"] == [("same", "The sky is "), ("only", "blue"), ("same", ".")]
    assert told["right"]["segments"] == [("same", "The sky is "), ("only", "red"), ("same", ".")]


@pytest.mark.parametrize(
    ("one", "other", "says"),
    [
        ("a\r\nb", "a\nb", "line endings"),
        ("word " * 5_000 + "yes", "word " * 5_000 + "no", "The first 20,000 characters are the same"),
        ("a b", "a c", ""),
        ("the same", "the same", ""),
        ("", "a", ""),
    ],
)
def test_answers_that_differ_where_nothing_is_marked_are_told_of(one: str, other: str, says: str) -> None:
    told = pair(primary_output=one, silent_output=other)
    assert told["unmarked"].startswith(says) or says in told["unmarked"]
    assert bool(told["unmarked"]) == bool(says)
    view = {"count": {"all": 1, "shown": 1, "voted": 0}, "at": 0, "pair": told}
    assert says in still.text(view)
    assert says in still.html(view)


def test_until_it_is_told_nothing_names_who_wrote_which() -> None:
    secrets: dict[str, Any] = {
        "arm": WHO,
        "model_group": WHO,
        "judge_preference": WHO,
        "preference": None,
        "silent_status": "error",
        "trace_id": WHO,
    }
    names = ("model", "provider", "deployment_id", "error_type", "error_message", "finish_reason")
    secrets |= {f"{side}_{name}": WHO for side in ("primary", "silent") for name in names}
    secrets |= {"primary_latency_s": 9.87654, "silent_cost_usd": 9.87654, "silent_output_tokens": 987654}
    hidden = json.dumps(pair(**secrets))
    assert WHO not in hidden
    assert "987" not in hidden
    assert "primary" not in hidden
    assert "silent" not in hidden
    told = json.dumps(pair(revealed=True, **secrets))
    assert WHO in told
    assert "987,654 tokens" in told
    assert "9.88 s" in told


def test_long_texts_are_cut_and_shown_in_steps() -> None:
    text = "x" * 1_000_000
    told = pair(primary_output=text, silent_output="y")
    assert len(text_of(told["left"])) == FIRST
    assert told["left"]["cut"] == {"shown": FIRST, "of": 1_000_000, "step": STEP}
    assert len(json.dumps(told)) < 2 * FIRST
    told = pair(primary_output=text, silent_output="y", limits={"left": FIRST + STEP})
    assert [kind for kind, _ in told["left"]["segments"]][-1] == "rest"
    assert len(text_of(told["left"])) == FIRST + STEP
    told = pair(primary_output=text, silent_output="y", limits={"left": 1_000_000})
    assert told["left"]["cut"] is None


@pytest.mark.parametrize("kind", ["one long turn", "many turns"])
def test_a_long_conversation_is_cut_from_its_beginning(kind: str) -> None:
    many = 1 if kind == "one long turn" else 50
    turns = [{"role": "user", "content": f"{n:06d}" + "z" * (1_000_000 // many - 6)} for n in range(many)]
    told = pair(messages=json.dumps(turns))["conversation"]
    assert sum(len(text) for _, text in told["turns"]) == FIRST
    assert told["cut"] == {"shown": FIRST, "of": 1_000_000, "step": STEP}
    assert told["turns"][-1][1].startswith(f"{many - 1:06d}")
    assert told["before"] == many - len(told["turns"])
    whole = pair(messages=json.dumps(turns), limits={"conversation": 1_000_000})["conversation"]
    assert whole["cut"] is None
    assert len(whole["turns"]) == many


def test_json_answers_are_compared_field_by_field() -> None:
    told = pair(
        primary_output='{"city": "Paris", "n": 1}', silent_output='{"n": 1, "city": "Rome", "x": null}'
    )
    assert told["fields"]["rows"] == [("$.city", '"Paris"', '"Rome"'), ("$.x", None, "null")]
    assert told["fields"]["same"] == 1
    assert pair()["fields"] is None


def test_tool_calls_are_lined_up_on_the_sides_where_they_are() -> None:
    call = [{"function": {"name": "look", "arguments": '{"q": 1}'}}]
    told = pair(silent_tool_calls=json.dumps(call), silent_left=True)["calls"]
    assert told["rows"] == [('look({"q": 1})', None, False)]
    assert pair()["calls"] is None


def test_a_call_that_failed_says_so_and_why_only_when_told() -> None:
    values = {"silent_status": "timeout", "silent_error_message": "too\nlate", "silent_output": None}
    hidden = pair(**values)["right"]
    assert hidden["failure"].startswith("This call gave no whole answer")
    assert pair(revealed=True, **values)["right"]["failure"] == "timeout: too late"


def test_what_is_hidden_in_a_text_is_shown_everywhere() -> None:
    nasty = "a\x1b[31m\u202eb\u200b"
    call = [{"function": {"name": nasty, "arguments": nasty}}]
    values = {f"{side}_{name}": nasty for side in ("primary", "silent") for name in ("output", "model")}
    told = pair(
        revealed=True,
        **values,
        messages=json.dumps([{"role": nasty, "content": nasty}]),
        primary_tool_calls=json.dumps(call),
        silent_error_type=nasty,
        arm=nasty,
        tags=[nasty],
        model_group=nasty,
    )
    found = json.dumps({**told, "id": ""}, ensure_ascii=False)
    assert not {"\x1b", "\\u001b", "\u202e", "\u200b"} & {*found, *found.split("[31m")}
    assert "⟨U+202E⟩" in found


@pytest.mark.parametrize(
    "messages", [None, "", "{", "[]", "null", "3", '"<b>"', "[[1, 2]]", '[{"content": {}}]']
)
def test_whatever_was_asked_it_can_be_shown(messages: str | None) -> None:
    assert isinstance(snippet(messages), str)
    assert isinstance(pair(messages=messages)["conversation"]["turns"], list)


def test_a_snippet_is_of_what_was_asked_last_on_one_line() -> None:
    turns = [{"role": "user", "content": "first"}, {"role": "user", "content": "  the\nlast " + "x" * 200}]
    turns.append({"role": "assistant", "content": "yes"})
    assert snippet(json.dumps(turns)).startswith("the last xx")
    assert len(snippet(json.dumps(turns))) == 90


@given(st.text())
def test_what_is_plain_stays_as_it_is(text: str) -> None:
    assert plain(plain(text)) == plain(text)
    line = on_one_line(text, 10)
    assert len(line) <= 10
    assert "\n" not in line


@pytest.mark.parametrize(
    ("text", "shown_as"),
    [
        ("a\ufe01b", "a⟨U+FE01⟩b"),
        ("a\ufe0fb", "a⟨U+FE0F⟩b"),
        ("\u2764\ufe0f \U0001f3f3\ufe0f\u200d\U0001f308 1\ufe0f\u20e3", None),
        ("\u2764\ufe0f\ufe0f", "\u2764\ufe0f⟨U+FE0F⟩"),
        ("1\ufe0f2", "1⟨U+FE0F⟩2"),
        ("\u2800", "⟨U+2800⟩"),
    ],
)
def test_a_variation_is_named_unless_an_emoji_is_drawn_by_it(text: str, shown_as: str | None) -> None:
    assert plain(text) == (shown_as or text)


def test_the_still_picture_has_what_was_said_before_a_call_failed() -> None:
    told = pair(revealed=True, silent_status="timeout", silent_output="The sky is")
    view = {"count": {"all": 1, "shown": 1, "voted": 0}, "at": 0, "pair": told}
    for made in (still.text(view), re.sub("<[^>]+>", "", still.html(view))):
        assert "timeout" in made
        assert made.count("The sky is") == 2


def test_the_still_picture_counts_in_words_that_fit() -> None:
    view = {"count": {"all": 1, "shown": 0, "voted": 0}, "at": 0, "pair": None}
    assert still.text(view) == "The one pair does not fit the filter."
    view = {"count": {"all": 2, "shown": 0, "voted": 0}, "at": 0, "pair": None, "left_out": "1 row is out"}
    assert still.text(view) == "None of the 2 pairs fits the filter. 1 row is out."


HOSTILE = "</pre><script>x</script><img src=x onerror=x>\x1b[31m"


def test_the_still_picture_is_escaped_and_names_nobody_before_the_vote() -> None:
    told = pair(
        primary_output=HOSTILE,
        silent_output=HOSTILE + "!",
        messages=json.dumps([{"role": HOSTILE, "content": HOSTILE}]),
        arm=WHO,
        primary_model=WHO,
    )
    view = {"count": {"all": 1, "shown": 1, "voted": 0}, "at": 0, "pair": told}
    page, lines = still.html(view), still.text(view)
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;" in page
    assert "still picture" in page
    assert WHO not in page + lines
    assert "\x1b" not in page + lines
    assert "Pair 1 of 1, 0 voted, 1 left." in lines
    assert max(map(len, lines.splitlines())) <= 100
