"""A reader's place among the pairs: what a key or a button does, and what is to be seen after it."""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, get_args

import polars as pl

from mirrorkit.compare.measured import Kept, measured
from mirrorkit.compare.plan import Plan
from mirrorkit.errors import CompareError, MirrorError
from mirrorkit.notebook.plain import on_one_line, plain
from mirrorkit.notebook.reading import sides
from mirrorkit.notebook.reading.ballot import Ballot, Choice, Label, Said, preferred, silent_is_left
from mirrorkit.notebook.reading.shelf import (
    Query,
    arms_of,
    difference_words,
    pick,
    sorts_of,
    statuses_of,
    tags_of,
    with_said,
)
from mirrorkit.records import CONTROL

_KINDS: dict[str, Any] = {field.name: field.type for field in fields(Query)}


class Reader:
    """Reads pairs one by one and votes on them; `do` takes what the page says, `view` is what it draws.

    Filters and sorts look at the frame as it is when they are set; `{"do": "refresh"}` looks again.

    Args:
        frame: gives all pairs so far.
        label: sets a pair's preference and note, as `MirrorSession.label` does.
        plan: the metrics to sort by, and the rules by which answers are compared.
        kept: differences of answers that were worked out before.
        blind: whether the sides are shuffled, and who wrote which is told only after the vote.
        seed: of the shuffling.
        page: pairs on a page of the list, 1 or more.
        grows: whether there may be more pairs later.

    Raises CompareError if `page` is no such number.

    >>> pairs = {"pair_id": ["p1"], "primary_output": ["Yes."], "silent_output": ["No."], "arm": ["mini"]}
    >>> from mirrorkit.store.files import conform
    >>> pairs = conform(pl.DataFrame({**pairs, "primary_status": ["ok"], "silent_status": ["ok"]}))
    >>> reader = Reader(lambda: pairs, label=lambda *label: None)
    >>> reader.view()["count"]
    {'all': 1, 'shown': 1, 'voted': 0, 'skipped': 0}
    """

    def __init__(
        self,
        frame: Callable[[], pl.DataFrame],
        label: Label,
        *,
        plan: Plan | None = None,
        kept: Kept | None = None,
        blind: bool = True,
        seed: int = 0,
        page: int = 20,
        grows: bool = True,
    ) -> None:
        if type(page) is not int or page < 1:
            raise CompareError(f"page={page!r}: give a whole number of pairs, 1 or more")
        self._source, self._plan, self._kept = frame, plan or Plan(), kept or Kept()
        self._blind, self._seed, self._page, self._grows = blind, seed, page, grows
        self._ballot = Ballot(label, self._recorded)
        self._query, self._at, self._turn = Query(), 0, 0
        self._go_on = not blind
        self._limits: dict[str, int] = {}
        self._snippets: dict[int, str] = {}
        self._error = self._message = ""
        self._take_in()

    @property
    def pairs(self) -> pl.DataFrame:
        """The pairs that are read, in reading order."""
        return self._pairs[self._picked.rows]

    @property
    def pair_id(self) -> str | None:
        """The pair that is shown; None if there is none."""
        return self._pairs["pair_id"][self._row] if len(self._picked) else None

    def do(self, message: Mapping[str, Any]) -> None:
        """Do what the page says; what is not understood is let be, and what cannot be done is told of."""
        self._turn += 1
        self._message = ""
        deed = message.get("do")
        try:
            if deed == "query":
                self._ask(message.get("query"))
            elif deed == "refresh":
                self._refresh()
            elif deed in ("next", "previous"):
                self._go(self._at + (1 if deed == "next" else -1))
            elif deed == "go" and type(message.get("to")) is int:
                self._go(message["to"])
            elif deed == "more" and message.get("part") in sides.PARTS:
                self._limits[message["part"]] = self._limits.get(message["part"], sides.FIRST) + sides.STEP
            elif deed == "go_on":
                self._go_on = message.get("on") is True
            elif deed == "undo":
                self._undo()
            elif deed in ("vote", "skip", "note"):
                self._say(deed, message)
        except Exception as error:  # there is no cell to raise it in: the page is where it is seen
            self._message = on_one_line(f"not done: {error or type(error).__name__}", 400)

    def view(self) -> dict[str, Any]:
        """All that the page draws, as data: short rows of one page, and the texts of one pair."""
        return {
            "turn": self._turn,
            "blind": self._blind,
            "go_on": self._go_on,
            "grows": self._grows,
            "query": {field.name: getattr(self._query, field.name) for field in fields(Query)},
            "options": self._options,
            "error": self._error,
            "message": self._message,
            "left_out": self._left_out,
            "can_undo": self._ballot.last is not None,
            "count": {
                "all": self._pairs.height,
                "shown": len(self._picked),
                "voted": self._voted,
                "skipped": len(self._ballot.skipped),
            },
            "at": self._at,
            "page": self._shown_page(),
            "pair": self._shown_pair(),
        }

    @property
    def _row(self) -> int:
        return int(self._picked.rows[self._at])

    def _take_in(self) -> None:
        """Look at the frame anew, and begin with the first pair."""
        everything = self._source()
        # who has no name cannot be voted on
        pairs = everything.filter(pl.col("pair_id").is_not_null())
        arms = _told_arms(pairs, self._blind)
        query = replace(self._query, arm=arms.get(self._query.arm or "", self._query.arm))
        sorts = sorts_of(self._plan, self._blind)
        if query.sort in self._plan.names() and query.sort not in sorts:
            raise CompareError(f"sorting by {query.sort!r} tells who won: give one of {', '.join(sorts)}")
        # in this order: where the query cannot be asked, all stays as it is
        picked = pick(pairs, query, self._plan, lambda: self._measured(pairs))
        self._pairs, self._picked, self._at = pairs, picked, 0
        self._options = self._told_options(arms)
        self._left_out = _left_out(everything.height - pairs.height)
        self._snippets.clear()
        self._limits.clear()
        self._count()

    def _refresh(self) -> None:
        """Look at the frame anew, and stay with the pair that is shown."""
        pair_id, known = self.pair_id, self._pairs.height
        self._ask({})
        new = self._pairs.height - known
        self._message = "1 new pair" if new == 1 else f"{new:,} new pairs"
        there = (
            self._pairs["pair_id"].gather(self._picked.rows).eq_missing(pl.Series([pair_id], dtype=pl.String))
        )
        self._at = int(there.arg_max() or 0) if there.any() else 0

    def _measured(self, pairs: pl.DataFrame) -> pl.DataFrame:
        return measured(pairs, self._plan, self._kept.of(pairs, self._plan.rules))

    def _count(self) -> None:
        known = self._pairs["preference"].gather(self._picked.rows)
        self._voted = len(known) - known.null_count()

    def _told_options(self, arms: Mapping[str, str]) -> dict[str, Any]:
        """What can be chosen: each as it is asked for, and as it is shown."""
        told = {"arms": list(arms), "tags": tags_of(self._pairs), "statuses": statuses_of(self._pairs)}
        told["sorts"] = sorts_of(self._plan, self._blind)
        return {kind: [(name, plain(name)) for name in names] for kind, names in told.items()}

    def _ask(self, changes: Any) -> None:
        """Another query; one that cannot be asked leaves the list as it is, and says why beside it."""
        last, self._error = self._query, ""
        known: dict[str, Any] = {
            name: value
            for name, value in (changes.items() if isinstance(changes, Mapping) else ())
            if name in _KINDS and isinstance(value, _KINDS[name])
        }
        self._query = replace(last, **known)
        try:
            self._take_in()
        except MirrorError as error:
            self._error = on_one_line(str(error), 240)

    def _go(self, to: int) -> None:
        to = max(0, min(to, len(self._picked) - 1))
        if to != self._at:
            self._at = to
            self._limits.clear()

    def _say(self, deed: str, message: Mapping[str, Any]) -> None:
        pair_id = self.pair_id
        if deed == "note":
            self._note(message.get("pair"), str(message.get("text", "")))
            return
        if pair_id is None or message.get("pair") != pair_id:
            # a key that was pressed before the page had drawn the next pair
            self._message = "not done: another pair is shown by now"
            return
        row = self._row
        if deed == "skip":
            self._ballot.skip(pair_id, known=self._said(row))
            self._message = "skipped"
            self._go(self._at + 1)
        elif message.get("choice") in get_args(Choice):
            silent_left = self._silent_left(pair_id)
            choice = preferred(message["choice"], silent_left)
            self._show(row, self._ballot.vote(pair_id, choice, known=self._said(row)))
            self._message = f"voted: {choice}"
            if self._go_on:
                self._go(self._at + 1)

    def _note(self, pair_id: Any, text: str) -> None:
        """A note says of which pair it is: it may come when another is shown already."""
        row = self._row_of(pair_id)
        if row is None:
            self._message = "not noted: there is no such pair"
            return
        known = self._said(row)
        said = self._ballot.note(pair_id, text, known=known)
        self._show(row, said)
        if (said.note or "") != (known.note or ""):
            self._message = "noted"
        elif text != (said.note or ""):
            self._message = "the note was not kept: `redact` left nothing new of it, or failed"

    def _undo(self) -> None:
        deed = self._ballot.last
        if deed is None:
            self._message = "nothing to undo"
            return
        said, row = self._ballot.undo(), self._row_of(deed.pair_id)
        if said is None:
            self._message = f"the {deed.did} is not undone: the pair was labelled anew elsewhere"
            said = self._recorded(deed.pair_id) or deed.after
        else:
            self._message = f"undone: {deed.did}"
        if row is None:
            return
        self._show(row, said)
        place = (self._picked.rows == row).arg_true()
        if len(place):
            self._go(int(place[0]))

    def _row_of(self, pair_id: Any) -> int | None:
        if not isinstance(pair_id, str):
            return None
        found = (self._pairs["pair_id"] == pair_id).arg_true()
        return None if found.is_empty() else int(found[0])

    def _said(self, row: int) -> Said:
        return Said(self._pairs["preference"][row], self._pairs["note"][row])

    def _recorded(self, pair_id: str) -> Said | None:
        """What is said of a pair by now, in which `redact` and others have a hand; None if it left memory."""
        found = self._source().filter(pl.col("pair_id") == pair_id).select("preference", "note")
        return Said(*found.row(-1)) if found.height else None

    def _show(self, row: int, said: Said) -> None:
        if said != self._said(row):
            self._pairs = with_said(self._pairs, row, said.preference, said.note)
            self._count()

    def _silent_left(self, pair_id: str) -> bool:
        return self._blind and silent_is_left(pair_id, self._seed)

    def _shown_page(self) -> dict[str, Any]:
        number = self._at // self._page
        first = number * self._page
        rows = self._picked.rows[first : first + self._page].to_list()
        if not rows or rows[0] not in self._snippets:
            self._snippets = {row: sides.snippet(self._pairs["messages"][row]) for row in rows}
        skipped = self._ballot.skipped
        return {
            "first": first,
            "number": number + 1,
            "of": -(-len(self._picked) // self._page),
            "size": self._page,
            "rows": [self._short(row, first + place, skipped) for place, row in enumerate(rows)],
        }

    def _short(self, row: int, at: int, skipped: set[str]) -> dict[str, str]:
        preference = self._pairs["preference"][row]
        told = preference is not None or not self._blind
        mark = preference or ("skipped" if self._pairs["pair_id"][row] in skipped else "")
        return {
            "text": self._snippets[row],
            "mark": on_one_line(mark, 20),
            "value": difference_words(self._picked, at, self._plan) if told else "",
        }

    def _shown_pair(self) -> dict[str, Any] | None:
        pair_id = self.pair_id
        if pair_id is None:
            return None
        row = self._pairs.row(self._row, named=True)
        return sides.shown(
            row,
            silent_left=self._silent_left(pair_id),
            revealed=not self._blind or row["preference"] is not None,
            limits=self._limits,
        )


def _told_arms(pairs: pl.DataFrame, blind: bool, most: int = 100) -> dict[str, str]:
    """The arms to choose from, by what they are called: who is blind is not to read a model's name."""
    names = arms_of(pairs)
    if len(names) < 2:
        return {}
    if not blind:
        return {name: name for name in names[:most]}
    silent = [name for name in names if name != CONTROL]
    if len(silent) < 2:
        return {}
    told = {f"silent model {number}": name for number, name in enumerate(silent[: most - 1], 1)}
    return told if len(silent) == len(names) else {**told, CONTROL: CONTROL}


def _left_out(many: int) -> str:
    if not many:
        return ""
    rows = "1 row without a pair_id is" if many == 1 else f"{many:,} rows without a pair_id are"
    return f"{rows} left out"
