"""A journal: every pair is on disk before it is in the frame, and stays there whatever happens."""

import os
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from threading import Lock
from typing import Self

import polars as pl

from mirrorkit.errors import MirrorWarning, RecordingError
from mirrorkit.records import Pair
from mirrorkit.store import cloud, files, folder, labels, lines, locks, notes, reading, recovery
from mirrorkit.store.segments import Outbox, Segment, compact
from mirrorkit.store.uploads import Uploads
from mirrorkit.store.worker import Worker

_SYNC_S = 1.0
_BEAT_S = 60.0
"""Seconds between signs of life, and between uploads to an object store."""


def _now() -> datetime:
    return datetime.now(UTC)


class Journal:
    """One writer's half of a journal; many, in many processes and on many machines, may share a place.

    Each has files of its own: segments of JSON lines, which become Parquet parts when they are full and at
    `close`. A pair is with the operating system when `append` returns, so that it outlives the process,
    however that ends; it is forced onto the disk within about a second, which is what a power failure may
    take. Nothing that goes wrong with the disk is raised by `append`, `said` or `looked`: what cannot be
    written waits in memory, a MirrorWarning says so once, and it is tried again with each pair and at
    `close`.

    Args:
        place: a folder, made where missing, or a URL that Polars can write to (s3://, gs://, az://). Pairs
            for a URL wait in a folder of this machine (in `MIRRORKIT_SPOOL`, else in
            ~/.local/state/mirrorkit/spool), and are uploaded once a minute, when a segment is full, and at
            `close`.
        clock: tells the time, in UTC.
        roll_rows: pairs after which a segment is full.
        roll_bytes: bytes after which it is.
        storage_options: Polars' own, for a URL.
        compacts: whether to make parts and upload them; if not, the next one to open the place does it.

    Raises:
        RecordingError: the folder cannot be made or written to.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Journal(folder) as journal:
    ...         journal.unwritten
    0
    """

    def __init__(
        self,
        place: str | os.PathLike[str],
        *,
        clock: Callable[[], datetime] = _now,
        roll_rows: int = 50_000,
        roll_bytes: int = 32 * 2**20,
        storage_options: cloud.Options | None = None,
        compacts: bool = True,
    ) -> None:
        self.place = os.fspath(place)
        self._clock, self._roll_rows, self._roll_bytes = clock, roll_rows, roll_bytes
        self._storage_options = storage_options
        self._prefix = cloud.Prefix(self.place, storage_options) if cloud.is_url(place) else None
        # absolute, as the program may go to another folder
        self.folder = (cloud.spool(self.place) if self._prefix else cloud.local(place)).absolute()
        self._compacts = compacts
        recovery.opened(self.folder, recovers=compacts)
        self.writer = folder.new_writer()
        self._lock_file = self.folder / f"{self.writer}.lock"
        try:
            self._held = locks.hold_new(self._lock_file)
        except OSError as error:
            raise RecordingError(
                f"the journal '{self.folder}' cannot be written to ({error}): name another folder"
            ) from error
        self._process = os.getpid()
        self._writing = Lock()  # guards what follows; held for an instant
        self._segment: Segment | None = None
        self._number = 0
        self._pairs = Outbox(self._open_segment, partial(self._troubled, "is not on disk yet"))
        self._notes_file: Segment | None = None
        self._notes = Outbox(self._open_notes, partial(self._troubled, "has labels that are not on disk yet"))
        self._looks: str | None = None
        self._before: datetime | None = None
        self._oldest: Callable[[], datetime | None] = lambda: None
        self._settled: datetime | None = None
        self._latest = datetime.min.replace(tzinfo=UTC)
        self._dirty = self._closed = False
        self._begun = self._beaten = time.monotonic()
        self._troubles: set[str] = set()
        self._worker = Worker(self._duty, _SYNC_S)
        self._uploads: Uploads | None = None
        if self._prefix and compacts:
            self._uploads = Uploads(self._prefix, self.folder, self.writer, clock)
            self._worker.do(self._upload)  # what an earlier session could not

    @property
    def unwritten(self) -> int:
        """How many pairs and notes wait in memory, because they could not be written."""
        return len(self._pairs.waiting) + len(self._notes.waiting)

    def append(self, pair: Pair, complete_before: datetime | None = None) -> None:
        """Add a pair; `complete_before` is the start of this process's oldest request still under way."""
        if self._is_foreign():
            return
        try:
            line = lines.line(pair, complete_before, plainly=not self._compacts)
        except Exception as error:  # a pair may hold anything, and the primary is served
            self._troubled("lacks a pair that could not be made a line of JSON", error)
            return
        with self._writing:
            self._before = complete_before
            self._pairs.send(line)
            self._wrote()
            segment = self._segment
            if self._closed:
                self._put_away()
            elif segment and (segment.lines >= self._roll_rows or segment.size >= self._roll_bytes):
                self._roll()

    def watch(self, oldest: Callable[[], datetime | None]) -> None:
        """Ask this for the start of the oldest request under way, about every second.

        So readers learn, when no pair comes for a while, that the last ones are settled.
        """
        self._oldest = oldest

    def said(self, annotation: labels.Annotation) -> None:
        """Add what was said of a pair, anyone's: a label or a verdict."""
        self._note(notes.said(annotation, self._moment()))

    def looked(self, looks: str) -> None:
        """Keep the looks that were taken so far, as text; the last ones count."""
        if looks != self._looks:
            self._looks = looks
            self._note(notes.looked(looks, self._moment()))

    def earlier(self) -> reading.Read:
        """What other writers have in this journal: ended ones all, living ones what they have settled."""
        return self._read(without=self.writer)

    def everything(self) -> reading.Read:
        """What all writers have in this journal, this one's pairs with those that wait in memory.

        Raises RecordingError if the journal cannot be read.
        """
        with self._writing:
            waiting, said = tuple(self._pairs.waiting), tuple(self._notes.waiting)
        read = self._read(own=self.writer)
        if not waiting and not said:
            return read
        waits, _ = lines.read(b"".join(waiting), self.place)
        # some may have been written since
        rows = waits.lazy().join(read.pairs, on="pair_id", how="anti", maintain_order="left")
        more = notes.together(said)
        all_said = notes.Said((*read.said.annotations, *more.annotations), read.said.looks)
        return reading.Read(pl.concat([read.pairs, rows], how="diagonal_relaxed"), all_said, read.before)

    def close(self) -> None:
        """Write what waits and make the last segment a part; a pair that comes later is still written."""
        if self._process != os.getpid():
            self._let_go()
            return
        if self._closed:
            self._worker.close()  # it uploads what came later
            return
        with self._writing:
            self._pairs.flush()
            self._notes.flush()
            self._roll()
            self._closed = True
        if self._uploads:
            self._worker.do(self._upload)
        self._worker.close()
        if self._notes_file is not None:
            self._quietly(self._notes_file.sync, "could not be forced onto the disk")
            self._notes_file.close()
            self._notes_file = None
        self._lock_file.unlink(missing_ok=True)
        os.close(self._held)
        self._held = -1
        self._clear_spool()
        if self.unwritten:
            self._troubled("was closed with pairs or labels that are not on disk", None)

    def forked(self) -> Self:
        """A journal for a forked child to write, at the same place; lets go what the child has of this one.

        To be called in the child: this one's files, lock and thread are the parent's. Polars hangs in a
        forked child, so that the child makes no parts; the next journal that is opened there does.
        """
        self._let_go()
        return type(self)(
            self.place if self._prefix else self.folder,
            clock=self._clock,
            roll_rows=self._roll_rows,
            roll_bytes=self._roll_bytes,
            storage_options=self._storage_options,
            compacts=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _note(self, line: bytes) -> None:
        if self._is_foreign():
            return
        with self._writing:
            self._notes.send(line)
            self._wrote()
            if self._closed:
                self._put_away()

    def _wrote(self) -> None:
        self._dirty = True
        if not self._closed:
            self._worker.start()

    def _open_segment(self) -> Segment:
        if self._segment is not None and self._segment.broken:
            self._roll()
        if self._segment is None:
            self._number += 1
            path = folder.segment(self.folder, self.writer, self._number)
            # hidden, where no lock says any more that this writer lives
            self._segment = Segment(path.with_name(f".{path.name}") if self._closed else path)
            self._begun = time.monotonic()
        return self._segment

    def _open_notes(self) -> Segment:
        if self._notes_file is None:
            self._notes_file = Segment(self.folder / f"{self.writer}.notes")
        return self._notes_file

    def _put_away(self) -> None:
        """Finish what was opened for a line that came after `close`, which nobody else will."""
        segment, self._segment = self._segment, None
        own_notes, self._notes_file = self._notes_file, None

        def finish() -> None:
            for file in (segment, own_notes):
                if file is not None:
                    file.sync()
                    file.close()
            if segment is not None and segment.lines:
                segment.path.rename(segment.path.with_name(segment.path.name.removeprefix(".")))
            elif segment is not None:
                segment.path.unlink()

        self._quietly(finish, "has a pair that came after it was closed and is in a hidden file")
        if self._uploads:
            self._quietly(partial(self._worker.do, self._upload), "will be uploaded by the next session")

    def _moment(self) -> datetime:
        """A time that never goes back, whatever the clock does: the last thing said is to count."""
        self._latest = max(self._latest, self._clock())
        return self._latest

    def _settle(self) -> None:
        """Tell until when the record is complete, if that has changed and holds a reader back."""
        settled = self._oldest()
        with self._writing:
            is_whole = not self._closed and not self._pairs.waiting
            if not is_whole or settled is None or self._before is None or settled <= self._before:
                return
            if settled != self._settled:
                locks.tell(self._held, notes.settled(settled, self._number))
                self._settled = settled

    def _roll(self) -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            self._worker.do(partial(self._seal, segment))

    def _seal(self, segment: Segment) -> None:
        def seal() -> None:
            segment.sync()
            segment.close()
            if self._compacts:
                compact(segment.path)

        self._quietly(seal, "has a segment that could not be compacted, and stays as it is")
        if self._uploads:
            self._upload()

    def _duty(self) -> None:
        """What is to be done about every second."""
        now = time.monotonic()
        with self._writing:
            dirty, self._dirty = self._dirty, False
            written = [file for file in (self._segment, self._notes_file) if file is not None]
            due = self._prefix is not None and now - self._begun >= _BEAT_S and not self._closed
            if due:
                self._roll()
        if dirty:
            for file in written:
                self._quietly(file.sync, "could not be forced onto the disk")
        self._quietly(self._settle, "cannot tell until when its pairs are settled")
        if now - self._beaten >= _BEAT_S and not self._closed:
            self._beaten = now
            self._quietly(partial(os.utime, self._lock_file), "shows no sign of life")
            if self._uploads:
                self._upload()

    def _upload(self) -> None:
        """Put what is finished into the object store, and take it off this machine."""

        def upload() -> None:
            assert self._uploads is not None
            if self._held >= 0:
                self._uploads.own("closed" if self._closed else "open")
            self._uploads.left()

        self._quietly(upload, "could not be uploaded yet, and is tried again")

    def _clear_spool(self) -> None:
        if self._uploads and not self.unwritten:
            self._quietly(self._uploads.clear, "could not be taken off this machine")

    def _read(self, *, without: str | None = None, own: str | None = None) -> reading.Read:
        if self._prefix is None:
            return reading.in_folder(self.folder, without=without, settled=True, own=own, leaves_out=True)
        return reading.in_both(self._prefix, self.folder, without=without, own=own)

    def _is_foreign(self) -> bool:
        if self._process == os.getpid():
            return False
        self._troubled("belongs to the process that forked this one: make a new session here", None)
        return True

    def _let_go(self) -> None:
        """Close what a forked child has of its parent's files; the parent keeps its lock."""
        for file in (self._segment, self._notes_file):
            if file is not None:
                file.close()
        if self._held >= 0:
            os.close(self._held)
        self._segment = self._notes_file = None
        self._held = -1

    def _quietly(self, work: Callable[[], object], trouble: str) -> None:
        try:
            work()
        except Exception as error:  # Polars' own are of many types, and none may reach the primary
            self._troubled(trouble, error)

    def _troubled(self, trouble: str, error: Exception | None) -> None:
        """Say once of each kind of trouble what it is."""
        if trouble in self._troubles:
            return
        self._troubles.add(trouble)
        why = "" if error is None else f" ({files.first_line(error)})"
        waiting = f"; {self.unwritten:,} lines wait in memory" if self.unwritten else ""
        warnings.warn(f"the journal '{self.place}' {trouble}{why}{waiting}", MirrorWarning, stacklevel=3)
