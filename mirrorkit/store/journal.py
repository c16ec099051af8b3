"""A journal: every pair is on disk before it is in the frame, and stays there whatever happens."""

import os
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Self

import polars as pl

from mirrorkit.errors import RecordingError
from mirrorkit.records import Pair
from mirrorkit.store import cloud, deadline, files, folder, labels, lines, locks, notes, recovery
from mirrorkit.store.begun import Begun
from mirrorkit.store.journal_reader import JournalReader
from mirrorkit.store.segments import Outbox, Segment, compact
from mirrorkit.store.troubles import Troubles
from mirrorkit.store.uploads import Uploads
from mirrorkit.store.worker import Worker

_SYNC_S = 1.0
_BEAT_S = 60.0
"""Seconds between signs of life, and between uploads to an object store."""

_REMOVED = "was removed, or some of it, while it was written to, and is written anew"


def _now() -> datetime:
    return datetime.now(UTC)


class Journal(JournalReader):
    """One writer's half of a journal; many, in many processes and on many machines, may share a place.

    Each has files of its own: segments of JSON lines, which become Parquet parts when they are full and at
    `close`. A pair is with the operating system when `append` returns, so that it outlives the process,
    however that ends; it is forced onto the disk within about a second, which is what a power failure may
    take. What is `begun` is a row of unknown outcome if the process dies before its pair is appended.

    Nothing that goes wrong with the disk is raised by `append`, `said` or `looked`: what cannot be written
    waits in memory, a MirrorWarning says so once, and it is tried again with each pair and at `close`. A
    folder or file that somebody removes meanwhile is written anew, within about a second.

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
        self._troubles = Troubles(self.place, lambda: self.unwritten)
        self._writing = Lock()  # guards what follows; held for an instant
        self._segment: Segment | None = None
        self._number = 0
        self._pairs = Outbox(self._open_segment, partial(self._troubles.tell, "is not on disk yet"))
        self._notes_file: Segment | None = None
        self._begun = Begun(self.folder, self.writer)
        self._ended: deque[str] = deque()
        self._notes = Outbox(
            self._open_notes, partial(self._troubles.tell, "has labels that are not on disk yet")
        )
        self._looks: str | None = None
        self._before: datetime | None = None
        self._oldest: Callable[[], datetime | None] = lambda: None
        self._rescue: Callable[[], None] = lambda: None
        self._parts: set[Path] = set()
        self._settled: datetime | None = None
        self._latest = datetime.min.replace(tzinfo=UTC)
        self._dirty = self.closed = False
        self._opened = self._beaten = time.monotonic()
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
            self._troubles.tell("lacks a pair that could not be made a line of JSON", error)
            return
        with self._writing:
            self._before = complete_before
            self._pairs.send(line)
            self._ended.append(pair.pair_id)
            self._end_written()
            self._wrote()
            segment = self._segment
            if self.closed:
                self._put_away()
            elif segment and (segment.lines >= self._roll_rows or segment.size >= self._roll_bytes):
                self._roll()

    def begun(self, pair: Pair) -> None:
        """A silent call is about to be sent; the pair has the status "unknown" on its silent side.

        To be called before the call can end. If this process dies before the pair of the same id is appended,
        this one is in the journal.
        """
        if self._is_foreign():
            return
        try:
            line = lines.line(pair, plainly=not self._compacts)
            with self._writing:
                if not self.closed:
                    self._begun.add(pair.pair_id, line)
                    self._wrote()
        except Exception as error:  # as in `append`
            self._troubles.tell("cannot tell on disk which silent calls are under way", error)

    def dropped(self, pair_id: str) -> None:
        """A silent call that was `begun` was not sent after all, and gets no row."""
        if self._process != os.getpid():
            return
        with self._writing:
            self._troubles.quietly(partial(self._begun.drop, pair_id), "has a silent call that was not sent")

    def watch(self, oldest: Callable[[], datetime | None], rescue: Callable[[], None] = lambda: None) -> None:
        """Ask `oldest` for the start of the oldest request under way, about every second.

        So readers learn, when no pair comes for a while, that the last ones are settled. `rescue` is to write
        what is in memory and no longer in the journal, of which somebody has removed a part.
        """
        self._oldest, self._rescue = oldest, rescue

    def said(self, annotation: labels.Annotation) -> None:
        """Add what was said of a pair, anyone's: a label or a verdict."""
        self._note(notes.said(annotation, self._moment()))

    def looked(self, looks: str) -> None:
        """Keep the looks that were taken so far, as text; the last ones count."""
        if looks != self._looks:
            self._looks = looks
            self._note(notes.looked(looks, self._moment()))

    def close(self, timeout_s: float | None = None) -> None:
        """Write what waits and make the last segment a part; a pair that comes later is still written.

        An object store that does not answer is given up after a while. After `timeout_s` seconds nothing is
        waited for any more, and a MirrorWarning says so: what is not in its place by then is on this machine,
        and the next one that opens the place puts it there.
        """
        if self._process != os.getpid():
            self._let_go()
        elif timeout_s is None:
            self._end()
        else:
            try:
                deadline.within(self._end, timeout_s)
            except TimeoutError:
                self._troubles.tell(f"is not closed after {timeout_s:g} s; what it has is in '{self.folder}'")

    def _end(self) -> None:
        if self.closed:
            self._worker.close()  # it uploads what came later
            return
        self._troubles.quietly(self._look_after, "was removed, and cannot be written anew")
        with self._writing:
            if self.closed:  # by another thread, meanwhile
                return
            self._pairs.flush()
            self._notes.flush()
            self._end_written()
            self._troubles.quietly(self._begun.close, "has silent calls that ended, and cannot say so")
            self._roll()
            self.closed = True
        if self._uploads:
            self._worker.do(self._upload)
        self._worker.close()
        if self._notes_file is not None:
            self._troubles.quietly(self._notes_file.sync, "could not be forced onto the disk")
            self._notes_file.close()
            self._notes_file = None
        self._troubles.quietly(
            partial(self._lock_file.unlink, missing_ok=True), "cannot say that it is closed"
        )
        os.close(self._held)
        self._held = -1
        self._clear_spool()
        if self.unwritten:
            self._troubles.tell("was closed with pairs or labels that are not on disk")

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
            if self.closed:
                self._put_away()

    def _end_written(self) -> None:
        """The calls of those pairs that are written are no longer under way."""
        while self._ended and not self._pairs.waiting:
            self._troubles.quietly(
                partial(self._begun.end, self._ended.popleft()), "has a silent call that ended"
            )

    def _files(self) -> list[Segment]:
        """Those that are written to."""
        own = [file for file in (self._segment, self._notes_file) if file is not None]
        return [*own, *self._begun.segments()]

    def restore(self) -> bool:
        """Write anew what somebody removed: the folder, or a file that this one writes to.

        Gives whether other files may be gone too, as the lock was.
        """
        with self._writing:
            if self.closed:
                return False
            if is_gone := not self._lock_file.exists():
                folder.make(self.folder)
                held, self._held = self._held, locks.hold_new(self._lock_file)
                os.close(held)
            for file in self._files():
                if file.is_gone():
                    file.restore()
            if is_gone or any(file.restored for file in self._files()):
                self._troubles.tell(_REMOVED)
        return is_gone

    def write(self, pairs: pl.DataFrame) -> None:
        """Add pairs that were in the journal before, with what was said of them, as a part."""
        with self._writing:
            self._number += 1
            part = folder.segment(self.folder, self.writer, self._number).with_suffix(".parquet")
        files.write_parquet(pairs, part, private=True)
        self._parts.add(part)

    def _look_after(self) -> None:
        is_gone = self.restore()
        lost = {part for part in tuple(self._parts) if not part.exists()}
        if is_gone or lost:
            self._parts -= lost
            self._troubles.tell(_REMOVED)
            self._rescue()

    def _wrote(self) -> None:
        self._dirty = True
        if not self.closed:
            self._worker.start()

    def _open_segment(self) -> Segment:
        if self._segment is not None and self._segment.broken:
            self._roll()
        if self._segment is None:
            self._number += 1
            path = folder.segment(self.folder, self.writer, self._number)
            # hidden, where no lock says any more that this writer lives
            self._segment = Segment(path.with_name(f".{path.name}") if self.closed else path)
            self._opened = time.monotonic()
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

        self._troubles.quietly(finish, "has a pair that came after it was closed and is in a hidden file")
        if self._uploads:
            self._troubles.quietly(
                partial(self._worker.do, self._upload), "will be uploaded by the next session"
            )

    def _moment(self) -> datetime:
        """A time that never goes back, whatever the clock does: the last thing said is to count."""
        self._latest = max(self._latest, self._clock())
        return self._latest

    def _settle(self) -> None:
        """Tell until when the record is complete, if that has changed and holds a reader back."""
        settled = self._oldest()
        with self._writing:
            is_whole = not self.closed and not self._pairs.waiting
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
            if segment.is_gone():
                segment.restore()
            segment.sync()
            segment.close()
            part = compact(segment.path) if self._compacts else None
            if part is not None and self._prefix is None:
                self._parts.add(part)

        self._troubles.quietly(seal, "has a segment that could not be compacted, and stays as it is")
        if self._uploads and not self.closed:
            self._upload()

    def _duty(self) -> None:
        """What is to be done about every second."""
        now = time.monotonic()
        with self._writing:
            dirty, self._dirty = self._dirty, False
            written = self._files()
            due = self._prefix is not None and now - self._opened >= _BEAT_S and not self.closed
            if due:
                self._roll()
        self._troubles.quietly(self._look_after, "was removed, and cannot be written anew")
        if dirty:
            for file in written:
                self._troubles.quietly(file.sync, "could not be forced onto the disk")
        self._troubles.quietly(self._settle, "cannot tell until when its pairs are settled")
        if now - self._beaten >= _BEAT_S and not self.closed:
            self._beaten = now
            self._troubles.quietly(partial(os.utime, self._lock_file), "shows no sign of life")
            if self._uploads:
                self._upload()

    def _upload(self) -> None:
        """Put what is finished into the object store, and take it off this machine."""

        def upload() -> None:
            assert self._uploads is not None
            if self._held >= 0:
                self._uploads.own("closed" if self.closed else "open")
            self._uploads.left()

        self._troubles.quietly(
            upload, f"could not be uploaded yet, and is tried again: it is in '{self.folder}'"
        )

    def _clear_spool(self) -> None:
        if self._uploads and not self.unwritten:
            self._troubles.quietly(self._uploads.clear, "could not be taken off this machine")

    def waiting(self) -> tuple[bytes, bytes]:
        """The lines of pairs and of notes that wait in memory, because they could not be written."""
        with self._writing:
            return b"".join(self._pairs.waiting), b"".join(self._notes.waiting)

    def _is_foreign(self) -> bool:
        if self._process == os.getpid():
            return False
        self._troubles.tell("belongs to the process that forked this one: make a new session here")
        return True

    def _let_go(self) -> None:
        """Close what a forked child has of its parent's files; the parent keeps its lock."""
        for file in self._files():
            file.close()
        if self._held >= 0:
            os.close(self._held)
        self._segment = self._notes_file = None
        self._held = -1
