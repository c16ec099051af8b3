"""A reader's place among the pairs: what a key or a button does, and what is to be seen after it."""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, get_args

import polars as pl

from mirrorkit.compare.measured import Kept, measured
from mirrorkit.compare.plan import Plan
from mirrorkit.errors import CompareError, MirrorError
from mirrorkit.notebook.plain import on_one_line
from mirrorkit.notebook.reading import sides
from mirrorkit.notebook.reading.ballot import Ballot, Choice, Label, Said, preferred, silent_is_left
from mirrorkit.notebook.reading.shelf import (
    NEWEST,
    OLDEST,
    Query,
    arms_of,
    difference_words,
    pick,
    statuses_of,
    tags_of,
    with_said,
)

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

    Raises CompareError if `page` is no such number.

    >>> pairs = {"pair_id": ["p1"], "primary_output": ["Yes."], "silent_output": ["No."], "arm": ["mini"]}
    >>> from mirrorkit.store.files import conform
    >>> pairs = conform(pl.DataFrame({**pairs, "primary_status": ["ok"], "silent_status": ["ok"]}))
    >>> reader = Reader(lambda: pairs, lambda *label: None)
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
    ) -> None:
        if type(page) is not int or page < 1:
            raise CompareError(f"page={page!r}: give a whole number of pairs, 1 or more")
        self._source, self._plan, self._kept = frame, plan or Plan(), kept or Kept()
        self._blind, self._seed, self._page = blind, seed, page
        self._ballot = Ballot(label)
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
            "query": {field.name: getattr(self._query, field.name) for field in fields(Query)},
            "options": self._options,
            "error": self._error,
            "message": self._message,
            "can_undo": self._ballot.can_undo,
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
        pairs = self._source()
        # in this order: where the query cannot be asked, all stays as it is
        picked = pick(pairs, self._query, self._plan, lambda: self._measured(pairs))
        self._pairs, self._picked, self._at = pairs, picked, 0
        self._options = self._told_options()
        self._snippets.clear()
        self._limits.clear()
        self._count()

    def _refresh(self) -> None:
        """Look at the frame anew, and stay with the pair that is shown."""
        pair_id, known = self.pair_id, self._pairs.height
        self._ask({})
        self._message = f"{self._pairs.height - known:,} new pairs"
        there = (
            self._pairs["pair_id"].gather(self._picked.rows).eq_missing(pl.Series([pair_id], dtype=pl.String))
        )
        self._at = int(there.arg_max() or 0) if there.any() else 0

    def _measured(self, pairs: pl.DataFrame) -> pl.DataFrame:
        return measured(pairs, self._plan, self._kept.of(pairs, self._plan.rules))

    def _count(self) -> None:
        known = self._pairs["preference"].gather(self._picked.rows)
        self._voted = len(known) - known.null_count()

    def _told_options(self) -> dict[str, Any]:
        names = arms_of(self._pairs)
        return {
            # one arm is no choice, and its name is not to be seen by who is blind
            "arms": names[:100] if len(names) > 1 else [],
            "tags": tags_of(self._pairs),
            "statuses": statuses_of(self._pairs),
            "sorts": [OLDEST, NEWEST, *self._plan.names()],
        }

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
        if pair_id is None or message.get("pair") != pair_id:
            # a key that was pressed before the page had drawn the next pair
            self._message = "not done: another pair is shown by now"
            return
        before = self._said(self._row)
        if deed == "skip":
            self._ballot.skip(pair_id, before=before)
            self._message = "skipped"
            self._go(self._at + 1)
        elif deed == "note":
            if self._ballot.note(pair_id, str(message.get("text", "")), before=before):
                self._read_back(self._row, pair_id)
                self._message = "noted"
        elif message.get("choice") in get_args(Choice):
            silent_left = self._silent_left(pair_id)
            self._ballot.vote(pair_id, preferred(message["choice"], silent_left), before=before)
            self._read_back(self._row, pair_id)
            self._message = f"voted: {self._said(self._row).preference}"
            if self._go_on:
                self._go(self._at + 1)

    def _undo(self) -> None:
        deed = self._ballot.undo()
        if deed is None:
            self._message = "nothing to undo"
            return
        self._message = f"undone: {deed.did}"
        found = (self._pairs["pair_id"] == deed.pair_id).arg_true()
        if found.is_empty():
            return
        row = int(found[0])
        self._read_back(row, deed.pair_id)
        place = (self._picked.rows == row).arg_true()
        if len(place):
            self._go(int(place[0]))

    def _said(self, row: int) -> Said:
        return Said(self._pairs["preference"][row], self._pairs["note"][row])

    def _read_back(self, row: int, pair_id: str) -> None:
        """Show what is recorded, which `redact` may have changed."""
        recorded = self._source().filter(pl.col("pair_id") == pair_id)
        if recorded.height:
            preference, note = recorded.select("preference", "note").row(-1)
            self._pairs = with_said(self._pairs, row, preference, note)
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
