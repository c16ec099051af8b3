"""A journal's segments: files that lines are put to, which become Parquet parts when they are full."""

import os
import warnings
from collections import deque
from collections.abc import Callable
from pathlib import Path

from mirrorkit.errors import MirrorWarning
from mirrorkit.store import files, lines

_AT_ONCE = 64
"""Lines that waited and are tried again together."""


class Segment:
    """A file that is only ever added to, by whole lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = 0
        self.broken = False
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        self.size = self._now()

    def write(self, text: bytes) -> None:
        """Add a line; it is with the operating system then. OSError: it is not, and nothing of it is."""
        text = b"\n" + text if self.broken else text
        before, done = self._now(), 0
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
        """Wait until what was written is on the disk."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file, which stays as it is."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _now(self) -> int:
        return os.fstat(self._descriptor).st_size

    def _undo(self, before: int, whole: int) -> None:
        try:
            if before < self._now() < whole:
                os.ftruncate(self._descriptor, before)
        except OSError:
            self.broken = True  # a reader leaves the piece out, which the next line must not be glued to


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
        files.write_parquet(frame, part, kept={lines.BEFORE: before} if isinstance(before, str) else {})
    segment.unlink(missing_ok=True)
    return part
