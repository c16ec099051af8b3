"""A journal's segments: files that lines are put to, which become Parquet parts when they are full."""

import os
import warnings
from collections import deque
from collections.abc import Callable
from pathlib import Path

from mirrorkit.errors import MirrorWarning
from mirrorkit.store import files, folder, lines

_AT_ONCE = 64
"""Lines that waited and are tried again together."""
_PIECE = 2**20


class Segment:
    """A file that is only ever added to, by whole lines; one that is removed meanwhile is made anew."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = 0
        self.broken = False
        self.restored = False
        self._descriptor = _opened(path)
        self.size = os.fstat(self._descriptor).st_size

    def write(self, text: bytes) -> None:
        """Add a line; it is with the operating system then. OSError: it is not, and nothing of it is."""
        state = os.fstat(self._descriptor)
        # some file systems count no links at all
        if state.st_nlink == 0 and self.is_gone():
            self.restore()
        text = b"\n" + text if self.broken else text
        before, done = state.st_size, 0
        try:
            while done < len(text):
                done += os.write(self._descriptor, text[done:])
        except BaseException:  # an interrupt, too, may leave a piece of it
            self._undo(before, before + len(text))
            raise
        self.size = before + done
        self.lines += 1
        self.broken = False

    def sync(self) -> None:
        """Wait until what was written is on the disk; nothing, where the file is closed."""
        if self._descriptor >= 0:
            os.fsync(self._descriptor)

    def is_gone(self) -> bool:
        """Whether the file is no longer where it was made."""
        return self._descriptor >= 0 and not self.path.exists()

    def restore(self) -> None:
        """Make the file anew, with all that was written to it. OSError: it cannot be made."""
        descriptor = _opened(self.path)
        try:
            place = 0
            while piece := self._piece(place):
                place += os.write(descriptor, piece)
        except BaseException:
            os.close(descriptor)
            self.path.unlink(missing_ok=True)
            raise
        os.close(self._descriptor)
        self._descriptor, self.restored = descriptor, True

    def close(self) -> None:
        """Close the file, which stays as it is."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _piece(self, place: int) -> bytes:
        os.lseek(self._descriptor, place, os.SEEK_SET)
        return os.read(self._descriptor, _PIECE)

    def _undo(self, before: int, whole: int) -> None:
        try:
            if before < os.fstat(self._descriptor).st_size < whole:
                os.ftruncate(self._descriptor, before)
        except OSError:
            self.broken = True  # a reader leaves the piece out, which the next line must not be glued to


def _opened(path: Path) -> int:
    how = os.O_RDWR | os.O_CREAT | os.O_APPEND
    try:
        return os.open(path, how, 0o600)
    except FileNotFoundError:  # somebody removed the folder
        folder.make(path.parent)
        return os.open(path, how, 0o600)


class Outbox:
    """Lines on their way into segments, in their order; what cannot be written waits in memory.

    `current` gives the segment to write to, and may raise OSError; `failed` is told of an error.
    """

    def __init__(self, current: Callable[[], Segment], failed: Callable[[OSError], None]) -> None:
        self.waiting: deque[bytes] = deque()
        self._current = current
        self._failed = failed

    def send(self, text: bytes) -> None:
        """Write a line after those that wait, or let it wait; raises nothing."""
        if self.waiting:
            self.waiting.append(text)
            self.flush(_AT_ONCE)
            return
        try:
            self._current().write(text)
        except OSError as error:
            self.waiting.append(text)
            self._failed(error)

    def flush(self, most: int | None = None) -> None:
        """Try again to write what waits, up to so many lines."""
        try:
            for _ in range(len(self.waiting) if most is None else min(most, len(self.waiting))):
                self._current().write(self.waiting[0])
                self.waiting.popleft()
        except OSError as error:
            self._failed(error)


def compact(segment: Path) -> Path | None:
    """Make a segment the Parquet part of the same name; gives the part, or None if there is no row in it.

    Whole lines become rows; a MirrorWarning says what was left out. A crash in between leaves the segment, or
    both, of which a reader takes the part. Raises OSError or RecordingError if it cannot be read or written.
    """
    data = segment.read_bytes()
    frame, torn = lines.read(data, str(segment))
    if torn:
        warnings.warn(
            f"'{segment}' has {torn:,} bytes that are no whole line, and are left out: its writer was killed "
            f"while it wrote, or the file was damaged. The {frame.height:,} whole pairs are kept.",
            MirrorWarning,
            stacklevel=2,
        )
    part = None
    if frame.height:
        before = lines.last(data).get(lines.BEFORE)
        part = segment.with_suffix(".parquet")
        kept = {lines.BEFORE: before} if isinstance(before, str) else {}
        files.write_parquet(frame, part, kept=kept, private=True)
    segment.unlink(missing_ok=True)
    return part
