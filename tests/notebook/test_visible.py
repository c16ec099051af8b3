"""What a model wrote can neither run nor hide."""

import re
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.notebook.differences import words
from mirrorkit.notebook.visible import cut, marked, visible

SIGN = re.compile(r"⟨U\+([0-9A-F]{4,6})⟩")
TEXTS = st.text() | st.text(alphabet="<>&\"'\x1b\u202e\u200b\ud800\n\r ab")


@given(TEXTS)
def test_nothing_is_markup_and_nothing_is_lost(text: str) -> None:
    html = visible(text)
    assert "<" not in html
    assert unescape(SIGN.sub(lambda found: chr(int(found[1], 16)), html)) == text.replace("\r\n", "\n")


STEERING = (0x0B, 0x0C, 0x0D, 0x1B, 0x7F, 0x9B, 0x200B, 0x200F, 0x202A, 0x202E, 0x2066, 0x2069, 0xFEFF)
OTHERS = (*range(9), 0xD800, 0xE000, 0xE0041)


@pytest.mark.parametrize("code", [*STEERING, *OTHERS])
def test_what_steers_or_turns_or_hides_is_shown_as_its_number(code: int) -> None:
    assert visible(f"a{chr(code)}b") == f"a⟨U+{code:04X}⟩b"


@pytest.mark.parametrize(
    "text", ["a\tb\nc", "naïve café", "שלום", "你好", "👩\u200d🚀", "1\u00a0000", "e\u0301"]
)
def test_what_people_write_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


def test_a_long_text_is_cut_and_the_rest_counted() -> None:
    assert cut("<" * 1_000_000, 2) == '&lt;&lt;<span class="more">… 999,998 more characters</span>'
    assert cut("abc", 2).endswith("… 1 more character</span>")
    assert cut("ab", 2) == "ab"


@given(TEXTS, TEXTS)
def test_a_marked_side_reads_as_its_text(one: str, other: str) -> None:
    segments = words(one, other)
    for side, text, tag in (("primary", one, "del"), ("silent", other, "ins")):
        html = marked(segments, side)
        assert (
            re.sub(f"</?{tag}>", "", html).replace("\r", "") == visible(text).replace("\r", "")
            or "\r" in text
        )
