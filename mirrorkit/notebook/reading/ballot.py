"""Votes on pairs: which side is shown where, what a vote says, and how it is taken back."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

Place = Literal["left", "right"]
Choice = Literal["left", "right", "tie"]
Label = Callable[[str, str | None, str | None], object]
"""Sets a pair's preference and its note; a note of None is left as it is."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a person said of a pair."""

    preference: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Deed:
    """What was done to a pair, and what was said of it before."""

    pair_id: str
    did: Literal["vote", "skip", "note"]
    before: Said


def silent_is_left(pair_id: str, seed: int) -> bool:
    """Whether the silent answer is shown on the left: for half of the pairs, always the same ones.

    >>> [silent_is_left(pair_id, seed=0) for pair_id in ("p1", "p2", "p3", "p4")]
    [True, True, True, False]
    """
    return bool(
        blake2b(f"{seed} {pair_id}".encode("utf-8", "backslashreplace"), digest_size=1).digest()[0] & 1
    )


def preferred(choice: Choice, silent_left: bool) -> str:
    """The preference that a choice among the places stands for.

    >>> preferred("left", silent_left=True), preferred("right", silent_left=True), preferred("tie", True)
    ('silent', 'primary', 'tie')
    """
    if choice == "tie":
        return "tie"
    return "silent" if (choice == "left") == silent_left else "primary"


def place_of(preference: str | None, silent_left: bool) -> Choice | None:
    """Where the preferred answer is shown; None without a preference.

    >>> place_of("silent", silent_left=True), place_of("tie", True), place_of(None, True)
    ('left', 'tie', None)
    """
    if preference is None or preference == "tie":
        return "tie" if preference else None
    return "left" if (preference == "silent") == silent_left else "right"


class Ballot:
    """What one reader has voted, in order; each vote is passed on at once.

    >>> said = []
    >>> ballot = Ballot(lambda pair_id, preference, note: said.append((pair_id, preference, note)))
    >>> ballot.vote("p1", "silent", before=Said())
    >>> ballot.undo()
    Deed(pair_id='p1', did='vote', before=Said(preference=None, note=None))
    >>> said
    [('p1', 'silent', None), ('p1', None, None)]
    """

    def __init__(self, label: Label) -> None:
        self._label = label
        self._deeds: list[Deed] = []

    @property
    def skipped(self) -> set[str]:
        """The pairs that were skipped, and not voted on since."""
        last: dict[str, str] = {deed.pair_id: deed.did for deed in self._deeds if deed.did != "note"}
        return {pair_id for pair_id, did in last.items() if did == "skip"}

    @property
    def can_undo(self) -> bool:
        """Whether there is something to take back."""
        return bool(self._deeds)

    def vote(self, pair_id: str, preference: str, *, before: Said) -> None:
        """Set a pair's preference; `before` is what was said of it so far. Raises what `label` does."""
        self._label(pair_id, preference, None)
        self._deeds.append(Deed(pair_id, "vote", before))

    def skip(self, pair_id: str, *, before: Said) -> None:
        """Pass a pair over, which leaves no label."""
        self._deeds.append(Deed(pair_id, "skip", before))

    def note(self, pair_id: str, text: str, *, before: Said) -> bool:
        """Set a pair's note, its preference staying; whether that changed it. Raises what `label` does."""
        if text == (before.note or ""):
            return False
        self._label(pair_id, before.preference, text)
        self._deeds.append(Deed(pair_id, "note", before))
        return True

    def undo(self) -> Deed | None:
        """Take the last deed back, and tell what it was; None if there is none. Raises what `label` does."""
        if not self._deeds:
            return None
        deed = self._deeds[-1]
        if deed.did == "note":
            self._label(deed.pair_id, deed.before.preference, deed.before.note or "")
        elif deed.did == "vote":
            self._label(deed.pair_id, deed.before.preference, None)
        self._deeds.pop()
        return deed
