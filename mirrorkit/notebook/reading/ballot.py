"""Votes on pairs: which side is shown where, what a vote says, and how it is taken back."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Literal

from mirrorkit.store.labels import KEEP, NO_NOTE

Place = Literal["left", "right"]
Choice = Literal["left", "right", "tie"]
Label = Callable[[str, str | None, str | None], object]
"""Sets a pair's preference and its note, as `mirrorkit.store.labels.label` takes them."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a person said of a pair."""

    preference: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Deed:
    """What was done to a pair, and what was said of it before and after."""

    pair_id: str
    did: Literal["vote", "skip", "note"]
    before: Said
    after: Said


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

    Others may label the same pairs: only what is said here is set, and undone only while it stands.

    Args:
        label: sets what is said.
        recorded: what is said of a pair by now; None where that cannot be read, as its pair left memory.

    >>> said = []
    >>> ballot = Ballot(lambda *label: said.append(label), lambda pair_id: None)
    >>> ballot.vote("p1", "silent", known=Said())
    Said(preference='silent', note=None)
    >>> ballot.undo()
    Said(preference=None, note=None)
    >>> said
    [('p1', 'silent', None), ('p1', None, None)]
    """

    def __init__(self, label: Label, recorded: Callable[[str], Said | None]) -> None:
        self._label, self._recorded = label, recorded
        self._deeds: list[Deed] = []

    @property
    def skipped(self) -> set[str]:
        """The pairs that were skipped, and not voted on since."""
        last: dict[str, str] = {deed.pair_id: deed.did for deed in self._deeds if deed.did != "note"}
        return {pair_id for pair_id, did in last.items() if did == "skip"}

    @property
    def last(self) -> Deed | None:
        """What is to be taken back next; None if there is nothing."""
        return self._deeds[-1] if self._deeds else None

    def vote(self, pair_id: str, preference: str, *, known: Said) -> Said:
        """Set a pair's preference, and tell what is recorded of it now. Raises what `label` does.

        `known` is what was last seen of the pair, for where that cannot be read.
        """
        before = self._recorded(pair_id) or known
        self._label(pair_id, preference, None)
        after = self._recorded(pair_id) or replace(before, preference=preference)
        self._deeds.append(Deed(pair_id, "vote", before, after))
        return after

    def skip(self, pair_id: str, *, known: Said) -> None:
        """Pass a pair over, which leaves no label."""
        self._deeds.append(Deed(pair_id, "skip", known, known))

    def note(self, pair_id: str, text: str, *, known: Said) -> Said:
        """Set a pair's note alone, and tell what is recorded of it now; see `vote`.

        It is no deed, and nothing to undo, if the note is what it was: it says the same, or was refused.
        """
        before = self._recorded(pair_id) or known
        if text == (before.note or ""):
            return before
        self._label(pair_id, KEEP, text)
        after = self._recorded(pair_id) or replace(before, note=text)
        if after.note != before.note:
            self._deeds.append(Deed(pair_id, "note", before, after))
        return after

    def undo(self) -> Said | None:
        """Take the last deed back, and tell what is recorded of its pair now.

        None if there is no deed, or another has labelled the pair since: then the deed is let go, and the
        label stays. Raises what `label` does.
        """
        deed = self.last
        if deed is None:
            return None
        now = self._recorded(deed.pair_id)
        if now is not None and not _stands(deed, now):
            self._deeds.pop()
            return None
        then = now or deed.after
        if deed.did == "note":
            then = replace(then, note=deed.before.note)
            self._label(deed.pair_id, KEEP, NO_NOTE if then.note is None else then.note)
        elif deed.did == "vote":
            then = replace(then, preference=deed.before.preference)
            self._label(deed.pair_id, then.preference, None)
        self._deeds.pop()
        return self._recorded(deed.pair_id) or then


def _stands(deed: Deed, now: Said) -> bool:
    """Whether what the deed set is still there."""
    if deed.did == "skip":
        return True
    if deed.did == "note":
        return now.note == deed.after.note
    return now.preference == deed.after.preference
