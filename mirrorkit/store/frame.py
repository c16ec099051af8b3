"""Pairs come in one by one, a frame goes out; a look costs what is new since the last one."""

import time
import warnings
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from functools import partial
from threading import Lock
from weakref import WeakMethod

import polars as pl

from mirrorkit.errors import ConfigError, LabelError, MirrorError, MirrorWarning
from mirrorkit.records import SCHEMA, Judgement, Pair
from mirrorkit.store import chunks, deadline, files, labels, neighbours
from mirrorkit.store.journal import Journal
from mirrorkit.store.rows import rows

_AT_ONCE = 128
"""Pairs that wait for a look, as rows they take half of the memory; so many are a few ms of work."""

_MERGED = 2_048
"""Rows of a chunk that only a look merges further, as who appends is not to wait for more."""

_PATIENCE_S = 20.0
"""Seconds that a look waits for what earlier sessions left; it comes at a later look then."""

_UNREADABLE = (Exception, pl.exceptions.PanicException)

_Earlier = tuple[pl.DataFrame, int, str]
"""The newest of the pairs that earlier sessions left, how many there are, and the looks taken."""


def _now() -> datetime:
    return datetime.now(UTC)


class FrameStore:
    """An append-only, thread-safe store of pairs, read as a frame with one row each.

    Pairs become rows a few at a time, and a look adds to the frame only those rows that are new: they are
    chunks, which are merged when they are of like size, so n pairs are in few chunks. What is said of a pair
    later, its labels, is put into its row at the next look; frames handed out earlier stay as they are. The
    stores of one process on one journal see each other's pairs and labels, as long as theirs is not closed.

    Args:
        recorded: pairs that were recorded before, with the columns of the schema and maybe others.
        clock: tells when a label is set.
        journal: where each pair goes before it is in the frame, and labels and verdicts too. Pairs that it
            has already come first in the frame; they are read at the first look, or at the first one at which
            they can be read.
        most: pairs that are kept in memory; older ones are in the journal alone.
        complete_before: tells the start of the oldest request under way, for the journal.
        unreadable: why pairs can be added but not read here, and so are not kept in memory; None if they can.

    Raises ConfigError for `most` without a journal, or if it is no whole number of 1 or more.

    >>> store = FrameStore()
    >>> len(store), store.frame().shape[0]
    (0, 0)
    """

    def __init__(
        self,
        recorded: pl.DataFrame | None = None,
        *,
        clock: Callable[[], datetime] = _now,
        journal: Journal | None = None,
        most: int | None = None,
        complete_before: Callable[[], datetime | None] = lambda: None,
        unreadable: str | None = None,
    ) -> None:
        if most is not None and (journal is None or type(most) is not int or most < 1):
            raise ConfigError(
                f"max_pairs_in_memory={most!r} takes a journal, and a whole number of 1 or more"
            )
        self._appending = Lock()  # guards _new, _said and _count; held for an instant
        self._looking = Lock()  # guards the rest; held while rows are built
        self._new: list[Pair] = []
        self._fresh: list[pl.DataFrame] = []
        self._said: list[labels.Annotation] = []
        self._frame = SCHEMA.frame() if recorded is None else recorded.clone()
        self._chunks: list[pl.DataFrame] = [] if self._frame.is_empty() else [self._frame]
        self._count = self._frame.height
        self._clock, self._journal, self._most, self._before = clock, journal, most, complete_before
        # small beside `most`, as chunks leave memory whole
        self._whole = chunks.WHOLE if most is None else min(chunks.WHOLE, max(_AT_ONCE, most // 4))
        self._unreadable = unreadable
        self._recalled = journal is None or unreadable is not None
        self._recalling: Future[_Earlier] | None = None
        self._recalling_since = 0.0
        self._is_told = False
        self._looks = "[]"
        # what came of others while it is not known what was there before
        self._heard: set[str] = set()
        self._said_since: list[labels.Annotation] = []
        self._near: neighbours.Neighbours[FrameStore] | None = None
        if journal is not None:
            rescue = WeakMethod(self._rescue)
            journal.watch(complete_before, lambda: _call(rescue))
            self._near = neighbours.on(journal.folder)
            self._near.join(self)

    def __len__(self) -> int:
        with self._looking:
            self._recall()
        with self._appending:
            return self._count

    @property
    def journal(self) -> Journal | None:
        """Where pairs go before they are in the frame."""
        return self._journal

    def append(self, pair: Pair) -> None:
        """Add a pair, to the journal first; cheap, and never waits for a look that is under way."""
        stores = [self]
        if self._journal is None or self._near is None:
            self._add(pair)
        else:
            with self._near.gate:
                try:
                    self._journal.append(pair, self._before())
                finally:
                    stores = self._hearers()
                    for store in stores:
                        store._add(pair, is_own=store is self)
        for store in stores:
            store._advance()

    def begun(self, pair: Pair) -> None:
        """A silent call is about to be sent: should this process die, the journal has a row of it.

        The pair is one whose silent status is "unknown"; that of the same id, when it is appended, takes its
        place. Without a journal nothing is done.
        """
        if self._journal is not None:
            self._journal.begun(pair)

    def dropped(self, pair_id: str) -> None:
        """A silent call that was `begun` was not sent after all, and gets no row."""
        if self._journal is not None:
            self._journal.dropped(pair_id)

    @property
    def others_before(self) -> datetime | None:
        """Until when the pairs of other stores of this process on the journal are complete; None: all are."""
        others = [] if self._near is None else [each for each in self._near.members() if each is not self]
        return min((mark for each in others if (mark := each._before()) is not None), default=None)

    def label(self, pair_id: str, preference: str | None, note: str | None) -> None:
        """Set a person's preference on a pair, or take it back; see `labels.label`.

        Raises LabelError if there is no such pair, or no such preference; MirrorError where pairs cannot be
        read.
        """
        self._check_readable()
        annotation = labels.label(pair_id, preference, note, self._clock())
        if not self._has(pair_id):
            raise LabelError(
                f"there is no pair {pair_id!r} among the {len(self):,} so far: give a `pair_id` of the frame."
            )
        if annotation.values.keys() - {"labelled_at"}:
            self._annotate(annotation)

    def judged(self, pair_id: str, judgement: Judgement) -> None:
        """Set a judge's verdict on a pair."""
        self._annotate(labels.verdict(pair_id, judgement))

    def looked(self, looks: str) -> None:
        """Keep the looks that were taken so far in the journal, where there is one."""
        self._looks = looks
        if self._journal is not None:
            self._journal.looked(looks)

    @property
    def looks(self) -> str:
        """The looks that were taken so far, those of earlier sessions on the journal too."""
        with self._looking:
            self._recall()
            return self._looks

    def frame(self) -> pl.DataFrame:
        """The pairs so far, one row each, in the order of appending; changing it changes no other look.

        A value that Polars cannot store (a lone surrogate in a text, an int beyond 64 bits) is
        escaped if it is text, null otherwise; its row is there. Where `most` was given, these are the newest.

        Raises MirrorError where pairs cannot be read.
        """
        self._check_readable()
        with self._looking:
            self._recall()
            self._take_in()
            return self._frame.clone() if self._most is None else self._frame.tail(self._most)

    def lazy(self) -> pl.LazyFrame | None:
        """All pairs, from the journal, where there are more than `most`; None where `frame` has them all.

        Raises RecordingError if the journal cannot be read.
        """
        self._check_readable()
        with self._looking:
            self._recall()
            self._take_in()
            if self._journal is None or not self._hides():
                return None
        return self._journal.everything(self._journals()).labelled()

    def _check_readable(self) -> None:
        if self._unreadable is not None:
            raise MirrorError(self._unreadable)

    def _has(self, pair_id: object) -> bool:
        if not isinstance(pair_id, str):
            return False
        with self._looking:
            self._recall()
            self._take_in()
            if any((chunk.get_column("pair_id") == pair_id).any() for chunk in self._chunks):
                return True
            if self._journal is None or not self._hides():
                return False
        named = self._journal.everything(self._journals()).pairs.filter(pl.col("pair_id") == pair_id)
        return bool(named.select(pl.len()).collect(engine="streaming").item())

    def _rescue(self) -> None:
        """Put into the journal again what is in memory and was removed from it."""
        if self._journal is None or self._near is None or self._unreadable is not None:
            return
        with self._looking, self._near.gate:
            for journal in self._journals():
                journal.restore()  # which has them itself, and is not to have them twice
            self._take_in()
            there = self._journal.everything(self._journals()).pairs.select("pair_id")
            lost = self._frame.lazy().join(there, on="pair_id", how="anti", maintain_order="left").collect()
            if lost.height:
                self._journal.write(lost)

    def _hides(self) -> bool:
        return self._most is not None and self._count > self._most

    def _add(self, pair: Pair, *, is_own: bool = True) -> None:
        with self._appending:
            self._count += 1
            if self._unreadable is None:
                self._new.append(pair)
            if not self._recalled and not is_own:
                self._heard.add(pair.pair_id)

    def _advance(self) -> None:
        """Make rows of pairs that are many, unless a look is under way, which does."""
        if len(self._new) >= _AT_ONCE and self._looking.acquire(blocking=False):
            try:
                self._make_rows(_AT_ONCE)
            finally:
                self._looking.release()

    def _annotate(self, annotation: labels.Annotation) -> None:
        if self._journal is None or self._near is None:
            self._hear(annotation)
            return
        with self._near.gate:
            self._journal.said(annotation)
            for store in self._hearers():
                store._hear(annotation)

    def _hearers(self) -> "list[FrameStore]":
        """Those that are told what this one gets: a closed one's pairs are what they were when it closed."""
        near = [] if self._near is None else self._near.members()
        return [each for each in near if each is self or each._journal is None or not each._journal.closed]

    def _hear(self, annotation: labels.Annotation) -> None:
        if self._unreadable is None:
            with self._appending:
                self._said.append(annotation)
                if not self._recalled:
                    self._said_since.append(annotation)

    def _recall(self) -> None:
        """Take in what earlier sessions left in the journal, as soon as it can be read; once."""
        if self._recalled or self._journal is None:
            return
        if self._recalling is None:
            self._recalling = deadline.begin(partial(self._earlier, self._journal))
            self._recalling_since = time.monotonic()
        waited_s = time.monotonic() - self._recalling_since
        try:
            earlier, count, looks = deadline.result(self._recalling, _PATIENCE_S - waited_s)
        except _UNREADABLE as error:
            if self._recalling.done():
                self._recalling = None
            self._tell_missing(self._journal.place, files.first_line(error))
            return
        with self._appending:
            earlier = labels.annotated(earlier, self._said_since)
            held = [earlier, *self._chunks] if earlier.height else self._chunks
            self._count += count
            self._looks = looks if self._looks == "[]" else self._looks
            self._chunks, self._frame = held, chunks.put_together(held)
            self._recalled = True
            self._heard, self._said_since = set(), []
        self._recalling = None

    def _tell_missing(self, place: str, why: str) -> None:
        # this session's own pairs are not to be out of reach for what others wrote
        if not self._is_told:
            self._is_told = True
            warnings.warn(
                f"what earlier sessions left in the journal '{place}' cannot be read, and is not in the "
                f"frame ({why}); each look tries again",
                MirrorWarning,
                stacklevel=2,
            )

    def _earlier(self, journal: Journal) -> _Earlier:
        read = journal.earlier(self._journals())
        pairs = read.labelled().select(list(SCHEMA.columns))
        heard = self._heard_by_now()
        if not heard.is_empty():
            pairs = pairs.join(heard.lazy(), on="pair_id", how="anti", maintain_order="left")
        count = pairs.select(pl.len()).collect(engine="streaming").item()
        newest = pairs if self._most is None else pairs.tail(self._most)
        return newest.collect(engine="streaming"), count, read.said.looks

    def _journals(self) -> list[Journal]:
        """Those of this process on the same place."""
        near = [] if self._near is None else self._near.members()
        return [store._journal for store in near if store._journal is not None]

    def _heard_by_now(self) -> pl.DataFrame:
        """The ids of pairs that others told of; each that is in the journal by now is among them."""
        assert self._near is not None
        with self._near.gate, self._appending:
            return pl.DataFrame({"pair_id": list(self._heard)}, schema={"pair_id": pl.String})

    def _make_rows(self, many: int) -> None:
        """Make rows of the oldest new pairs, which are let go last, so that an interrupt loses none."""
        with self._appending:
            new = self._new[:many]
        if not new:
            return
        fresh = chunks.merged([*self._fresh, rows(new)], _MERGED)
        if self._most is not None:
            fresh = chunks.newest(fresh, self._most)
        with self._appending:
            self._new, self._fresh = self._new[len(new) :], fresh

    def _take_in(self) -> None:
        """Put what is new into the frame, in steps, so that an interrupt loses none of it."""
        with self._appending:
            many, said = len(self._new), self._said.copy()
        self._make_rows(many)
        while self._fresh:
            # what is merged is let go at once, or all of it would be in memory twice
            merged = chunks.merged([*self._chunks, self._fresh[0]], self._whole)
            self._chunks, self._fresh = merged, self._fresh[1:]
        held = self._chunks
        if not said and sum(chunk.height for chunk in held) == self._frame.height:
            return
        if said:
            held = [labels.annotated(chunk, said) for chunk in held]
        if self._most is not None:
            held = chunks.newest(held, self._most)
        frame = chunks.put_together(held)
        with self._appending:
            self._said = self._said[len(said) :]
            self._chunks, self._frame = held, frame


def _call(method: "WeakMethod[Callable[[], None]]") -> None:
    if (bound := method()) is not None:
        bound()
