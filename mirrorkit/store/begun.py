"""Which silent calls a writer has under way: lines that only a death leaves behind."""

from dataclasses import dataclass
from pathlib import Path

import orjson

from mirrorkit.records import SCHEMA
from mirrorkit.store import folder
from mirrorkit.store.lines import VERSION
from mirrorkit.store.segments import Segment

_FULL_BYTES = 4 * 2**20
_IDLE_BYTES = 2**18
"""Bytes from which on a file is removed whenever no call in it is under way, though it is not full."""


@dataclass(slots=True, eq=False)
class _File:
    segment: Segment
    calls: int = 0


class Begun:
    """The lines of calls under way, in files of which each goes when all of its calls have ended.

    For one thread at a time.
    """

    def __init__(self, place: Path, writer: str) -> None:
        self._place, self._writer = place, writer
        self._number = 0
        self._current: _File | None = None
        self._under_way: dict[str, _File] = {}

    def segments(self) -> list[Segment]:
        """The files that are there."""
        held = {*self._under_way.values(), *([self._current] if self._current else [])}
        return [file.segment for file in held]

    def add(self, pair_id: str, line: bytes) -> None:
        """A call is about to be sent. Raises OSError if that cannot be written."""
        if pair_id in self._under_way:
            return
        file = self._current
        if file is None or file.segment.size >= _FULL_BYTES:
            file = self._next()
        file.segment.write(line)
        file.calls += 1
        self._under_way[pair_id] = file

    def end(self, pair_id: str) -> None:
        """The pair of a call is recorded."""
        file = self._under_way.pop(pair_id, None)
        if file is None:
            return
        file.calls -= 1
        if not file.calls and (file is not self._current or file.segment.size >= _IDLE_BYTES):
            self._remove(file)

    def drop(self, pair_id: str) -> None:
        """A call was not sent after all, and gets no row. Raises OSError if that cannot be written."""
        file = self._under_way.get(pair_id)
        if file is not None:
            # in the same file, so that the one line never goes without the other
            file.segment.write(_dropped(pair_id))
            self.end(pair_id)

    def close(self) -> None:
        """Close the files, and remove those without a call under way."""
        current, self._current = self._current, None
        for file in {*self._under_way.values(), *([current] if current else [])}:
            file.segment.close()
            if not file.calls:
                self._remove(file)

    def let_go(self) -> None:
        """Close the files, which are another process's."""
        for segment in self.segments():
            segment.close()

    def _next(self) -> _File:
        last = self._current
        self._number += 1
        path = folder.segment(self._place, self._writer, self._number).with_suffix(".begun")
        self._current = _File(Segment(path))
        if last is not None and not last.calls:
            self._remove(last)
        return self._current

    def _remove(self, file: _File) -> None:
        if file is self._current:
            self._current = None
        file.segment.close()
        file.segment.path.unlink(missing_ok=True)


def _dropped(pair_id: str) -> bytes:
    """The line by which an earlier one of the same pair says nothing any more: it has no status."""
    return orjson.dumps({VERSION: SCHEMA.version, "pair_id": pair_id}, option=orjson.OPT_APPEND_NEWLINE)
