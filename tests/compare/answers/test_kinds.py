"""What an answer is: as it was recorded, or as far as an older recording lets it be told, and no further."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.compare.answers.kinds import calls, kind, length, text

CALL = '[{"name": "weather", "arguments": "{}"}]'
NAMES = ("call_type", "silent_status", "silent_output_kind", "silent_output", "silent_tool_calls")


def read(
    output: str | None = None,
    tool_calls: str | None = None,
    *,
    recorded: str | None = None,
    call_type: str | None = "completion",
    status: str | None = "ok",
) -> tuple[Any, ...]:
    """The kind, the text and the tool calls of one answer."""
    row = (call_type, status, recorded, output, tool_calls)
    frame = pl.DataFrame([row], schema=dict.fromkeys(NAMES, pl.String), orient="row")
    told = frame.select(kind("silent").alias("kind"), text("silent").alias("text"), calls("silent"))
    words = told["text"][0]
    assert frame.select(length("silent")).item() == (None if words is None else len(words))
    return told.row(0)


@pytest.mark.parametrize("call_type", ["completion", "responses", "anthropic_messages"])
@pytest.mark.parametrize(
    ("output", "tool_calls", "expected"),
    [
        ("Paris", None, ("text", "Paris", None)),
        (None, None, ("blank", "", None)),
        ("", "[]", ("blank", "", None)),
        (" \n", "null", ("blank", "", None)),
        (None, CALL, ("tool_calls", "", CALL)),
        ("Let me see.", CALL, ("tool_calls", "Let me see.", CALL)),
    ],
)
def test_an_older_recording_tells_by_text_and_tool_calls(
    call_type: str, output: str | None, tool_calls: str | None, expected: tuple[Any, ...]
) -> None:
    assert read(output, tool_calls, call_type=call_type) == expected


@pytest.mark.parametrize("recorded", ["text", "tool_calls", "media", "refusal"])
def test_what_was_recorded_counts(recorded: str) -> None:
    assert read("I can't.", recorded=recorded)[:2] == (recorded, "I can't.")


def test_several_blank_answers_are_recorded_as_one_that_is_blank() -> None:
    assert read('["", " "]', recorded="blank") == ("blank", "", None)


def test_media_without_words_have_no_text_that_is_known() -> None:
    assert read(None, recorded="media") == ("media", None, None)


def test_of_a_call_of_unknown_type_a_missing_text_is_unknown_not_blank() -> None:
    assert read(None, call_type=None) == (None, None, None)
    assert read("", call_type=None) == ("blank", "", None)
    assert read("Paris", call_type=None) == ("text", "Paris", None)


def test_vectors_are_of_no_kind() -> None:
    shape = '{"vectors": 1, "dimensions": 3}'
    assert read(shape, call_type="embedding") == (None, shape, None)
    assert read(None, call_type="embedding") == (None, None, None)


@pytest.mark.parametrize("status", ["error", "timeout", "cancelled", "abandoned", "unknown", None])
def test_a_side_that_is_not_ok_has_no_answer(status: str | None) -> None:
    assert read("Par", CALL, status=status, recorded="tool_calls") == (None, None, None)


@given(
    st.none() | st.text(), st.none() | st.text(), st.sampled_from(["completion", "responses", "other", None])
)
def test_an_answer_with_a_text_or_a_tool_call_is_never_blank(
    output: str | None, tool_calls: str | None, call_type: str | None
) -> None:
    told, words, made = read(output, tool_calls, call_type=call_type)
    assert (told == "tool_calls") == (made is not None)
    if output is not None:
        assert told is not None
        assert words == ("" if told == "blank" else output)
        assert (told == "blank") <= (not output.strip())
