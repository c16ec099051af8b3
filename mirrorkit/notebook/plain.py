"""Texts that a model wrote, as plain text in which nothing hides: for a terminal and for text nodes."""

import re

# An emoji is drawn in colour where U+FE0F follows it, and a key cap is a sign and these two.
_EMOJI = (
    "\xa9\xae\u203c\u2049\u2122\u2139\u2194-\u21aa\u231a-\u23ff\u24c2\u25aa-\u27bf\u2934\u2935\u2b05-\u2b55"
    "\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
)
_NO_EMOJI = f"(?<![{_EMOJI}])(?<![#*0-9](?=\ufe0f\u20e3))\ufe0f"

# What steers a terminal, turns the direction of letters, or is there and not seen: all but line breaks, tabs,
# and the joiners of scripts and emoji.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0e\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\ud800-\udfff\ue000-\uf8ff"
    "\U0001d173-\U0001d17a\U000e0000-\U0010ffff]|" + _NO_EMOJI
)


def plain(text: str) -> str:
    r"""The text with each character that is not seen named by its code point.

    >>> plain("a\x1b[31m \u202ered\u202c"), plain("two\r\nlines\t✓")
    ('a⟨U+001B⟩[31m ⟨U+202E⟩red⟨U+202C⟩', 'two\nlines\t✓')
    """
    return _UNSEEN.sub(_named, text.replace("\r\n", "\n"))


def on_one_line(text: str, most: int) -> str:
    r"""The text on one line, as `plain` tells it, and cut where it is longer than `most` characters.

    >>> on_one_line(" Where is\n my  parcel? ", 60), on_one_line("parcel", 4)
    ('Where is my parcel?', 'par…')
    """
    room = 4 * most + 100  # a megabyte is not to be read for the sake of a line
    line = plain(" ".join(text[:room].split()))
    return line if len(line) <= most and len(text) <= room else line[: most - 1] + "…"


def _named(found: re.Match[str]) -> str:
    return f"⟨U+{ord(found[0]):04X}⟩"
