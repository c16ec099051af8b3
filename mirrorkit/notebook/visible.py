"""Texts that a model wrote, as HTML in which nothing runs and nothing hides."""

from collections.abc import Iterable
from html import escape

from mirrorkit.notebook.differences import Segment
from mirrorkit.notebook.plain import plain


def visible(text: str) -> str:
    r"""The text as HTML: markup escaped; what steers a terminal or turns the direction as its number.

    >>> visible("<b>\x1b[31m\u202e")
    '&lt;b&gt;⟨U+001B⟩[31m⟨U+202E⟩'
    """
    return escape(plain(text))


def cut(text: str, most: int) -> str:
    """The text as HTML, at most `most` characters of it, with how many more there are.

    >>> cut("abcdef", 4), cut("abc", 4)
    ('abcd<span class="more">… 2 more characters</span>', 'abc')
    """
    return visible(text[:most]) + more(len(text) - most)


def more(count: int) -> str:
    """That so many characters are not shown; empty where all are."""
    if count <= 0:
        return ""
    return f'<span class="more">… {count:,} more character{"" if count == 1 else "s"}</span>'


def marked(segments: Iterable[Segment], side: str) -> str:
    """One side of a word-level difference as HTML: what the other side has not is marked.

    >>> marked([("same", "a "), ("removed", "b"), ("added", "c")], "primary")
    'a <del>b</del>'
    """
    own, tag = ("removed", "del") if side == "primary" else ("added", "ins")
    return "".join(
        visible(text) if kind == "same" else f"<{tag}>{visible(text)}</{tag}>"
        for kind, text in segments
        if kind in ("same", own)
    )
