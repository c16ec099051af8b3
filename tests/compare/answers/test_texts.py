"""Texts as they are compared: what does not count is gone, and normalising twice changes nothing."""

import unicodedata

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.compare.answers.rules import Rules, make_rules
from mirrorkit.compare.answers.texts import cleaned, looks_like_json, normalised


def plain(text: str | None, rules: Rules = Rules()) -> str | None:  # noqa: B008
    frame = pl.DataFrame({"text": [text]}, schema={"text": pl.String})
    made: str | None = frame.select(normalised(pl.col("text"), rules)).item()
    return made


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("", ""),
        (" \n", ""),
        ("a\r\nb\rc\n\nd", "a b c d"),
        ("a\u00a0b\u2003c", "a b c"),
        ("\u00a0a", "a"),
        ("cafe\u0301", "café"),
        ("Ａ", "Ａ"),
        ("A a", "A a"),
    ],
)
def test_spacing_and_composition_do_not_count_and_all_else_does(
    text: str | None, expected: str | None
) -> None:
    assert plain(text) == expected


def test_expressions_are_removed_one_after_the_other_before_spacing() -> None:
    assert plain("a 12 b\n\n34", make_rules([r"\d+", "b"])) == "a"
    assert plain("cafe\u0301 x", make_rules(["é"])) == "caf x"


@given(st.text())
def test_normalising_is_as_python_has_it_and_once_is_enough(text: str) -> None:
    once = plain(text)
    assert once is not None
    assert plain(once) == once
    # Python's split() also parts at the four separators U+001C to U+001F, which are no White_Space
    if not any("\x1c" <= sign <= "\x1f" for sign in text):
        assert once == " ".join(unicodedata.normalize("NFC", text).split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" {1} \n", True),
        ("[]", True),
        ("{]", False),
        ("{", False),
        ("", False),
        ("a {}", False),
        (None, None),
    ],
)
def test_json_is_looked_for_by_its_ends(text: str | None, expected: bool | None) -> None:
    frame = pl.DataFrame({"text": [text]}, schema={"text": pl.String})
    assert frame.select(looks_like_json(pl.col("text"))).item() is expected


def test_cleaning_keeps_rows_and_marks_those_that_failed() -> None:
    texts = pl.Series("x", ["10", None, "no"])
    made, failed = cleaned(texts, lambda text: str(int(text) + 1))
    assert (made.name, made.to_list(), failed.to_list()) == ("x", ["11", None, None], [False, False, True])


def test_in_a_blank_text_there_is_nothing_to_clean() -> None:
    made, failed = cleaned(pl.Series(["", " \n", "no"]), lambda text: str(int(text)))
    assert (made.to_list(), failed.to_list()) == (["", " \n", None], [False, False, True])


def test_cleaning_lets_an_interrupt_through() -> None:
    def interrupted(text: str) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cleaned(pl.Series(["a"]), interrupted)
