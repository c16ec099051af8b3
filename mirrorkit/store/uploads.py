"""What waits in a spool goes into the object store: this writer's files, and those of writers that ended."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from mirrorkit.store import cloud, files, folder, lines, locks, notes, recovery


class Uploads:
    """One writer's way into an object store, for one thread at a time.

    Args:
        prefix: where to.
        spool: the folder where parts and notes wait.
        writer: who writes them.
        clock: tells the time, in UTC.
    """

    def __init__(self, prefix: cloud.Prefix, spool: Path, writer: str, clock: Callable[[], datetime]) -> None:
        self._prefix, self.spool, self.writer, self._clock = prefix, spool, writer, clock
        self._mark: datetime | None = None
        self._parts = 0
        self._state: str | None = None
        self._said = 0

    def own(self, state: str) -> None:
        """Put the writer's finished parts there, and tell of it if it has anything there.

        What is told is never ahead of the parts: readers take those it speaks of, and no more. Raises what
        Polars raises, and OSError.
        """
        for part in folder.listed(self.spool).parts:
            if folder.writer_of(part) != self.writer:
                continue
            if self._state is None:
                self._tell("open")  # who finds the part is to know of its writer
            self._prefix.upload(part)
            self._mark = notes.time(files.read_kept(part).get(lines.BEFORE))
            self._parts = cloud.number(part)
            part.unlink(missing_ok=True)
        if self._state is not None or self._notes.exists():
            self._tell(state)

    def left(self) -> None:
        """Put what ended writers of this machine left there, and take it off this machine.

        One process at a time does it, and the others need not wait for it. Raises what Polars raises, and
        OSError.
        """
        recovery.recover(folder.listed(self.spool))
        descriptor = locks.hold(self.spool / ".recovering")
        if descriptor is None:
            return
        try:
            found = folder.listed(self.spool)
            files_left = (*found.parts, *found.unknown, *found.notes, *found.ended)
            troubles: list[Exception] = []
            for writer in sorted({folder.writer_of(file) for file in files_left}):
                try:
                    if not folder.is_alive(found, writer):
                        self._send_left(found, writer)
                except TimeoutError:
                    raise  # the others would wait as long
                except Exception as error:  # a damaged file of one does not keep the others' here
                    troubles.append(error)
            if troubles:
                raise troubles[0]
        finally:
            locks.release(descriptor)

    def clear(self) -> None:
        """Take the notes of the writer, which closed, off this machine; what is yet to be told stays."""
        if self._state == "closed":
            _remove(self._notes, self._said)
        elif self._state is not None:
            self._notes.touch()  # by which the next one tells that it closed

    @property
    def _notes(self) -> Path:
        return self.spool / f"{self.writer}.notes"

    def _tell(self, state: str) -> None:
        said, size = _read(self._notes)
        told = cloud.State(self.writer, state, self._clock(), self._settled(), self._parts)
        self._prefix.tell(told, said)
        self._state, self._said = state, size

    def _settled(self) -> datetime | None:
        """Until when the pairs in the parts there are complete; None if all of them are."""
        try:
            text = (self.spool / f"{self.writer}.lock").read_bytes()
        except OSError:
            return self._mark  # on Windows, where what is locked cannot be read
        since = notes.settled_in(text, self._parts)
        return self._mark if self._mark is None or since is None else max(self._mark, since)

    def _send_left(self, found: folder.Folder, writer: str) -> None:
        # one that closed since this was listed took its files away itself
        all_parts = (*found.parts, *found.unknown)
        parts = [part for part in all_parts if folder.writer_of(part) == writer and part.exists()]
        own, ended, lock = (found.path / f"{writer}.{kind}" for kind in ("notes", "ended", "lock"))
        if not parts and not own.exists() and not ended.exists():
            return
        for part in parts:
            self._prefix.upload(part)
        state = "ended" if ended.exists() or lock.exists() else "closed"
        when = datetime.fromtimestamp(folder.newest([*parts, own, ended]), UTC)
        said, size = _read(own)
        # what a writer said after it closed is added to what it said before
        earlier = self._prefix.said_by(writer)
        new = [line for line in said if line not in set(earlier)]
        self._prefix.tell(cloud.State(writer, state, when, None, None), [*earlier, *new])
        for file in (*parts, ended):
            file.unlink(missing_ok=True)
        _remove(own, size)


def _read(file: Path) -> tuple[list[bytes], int]:
    """The lines of notes, and how many bytes they are."""
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        data = b""
    return [line for line in data.split(b"\n") if line], len(data)


def _remove(file: Path, size: int) -> None:
    """Remove a file, unless something was added to it meanwhile."""
    if file.exists() and file.stat().st_size == size:
        file.unlink()
