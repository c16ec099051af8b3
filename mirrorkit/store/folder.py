"""What lies in a journal's folder: who wrote it, what is whole, and who still writes.

    <writer>-000001.parquet   a part: pairs that no one touches again
    <writer>-000002.jsonl     a segment: a line a pair, still written to, or left by one who was killed
    <writer>.notes            what was said of pairs later, and what was looked at
    <writer>-000001.begun     a line for each silent call under way, gone when they have ended
    <writer>-unknown.parquet  those of a writer that died, as nobody heard how they ended
    <writer>.lock             held while the writer lives
    <writer>.ended            what a lock becomes when its writer ended without closing

A writer's name is its start, host, process and a random part, so that names sort by time.
"""

import os
import re
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from mirrorkit.store import locks

QUIET_S = 300.0
"""Seconds after which a writer of another machine that touched none of its files is taken for dead."""

_UNKNOWN = "-unknown"
_PART = re.compile(r"-(\d{6,}|unknown)$")
_OURS = re.compile(
    r"\d{8}T\d{12}Z_.+_\d+_[0-9a-f]{8}(-(\d+|unknown))?"
    r"\.(parquet|jsonl|begun|notes|lock|ended)"
)


@dataclass(frozen=True, slots=True)
class Folder:
    """The files of a journal by kind, each sorted by writer and number.

    Others may be in the folder too: a file is the journal's if it is named as a writer names it.
    """

    path: Path
    parts: tuple[Path, ...]
    segments: tuple[Path, ...]
    notes: tuple[Path, ...]
    locks: tuple[Path, ...]
    ended: tuple[Path, ...]
    begun: tuple[Path, ...] = ()
    unknown: tuple[Path, ...] = ()
    spent: tuple[Path, ...] = ()
    """segments whose part is there already, as a crash in between leaves them"""

    @property
    def is_journal(self) -> bool:
        """Whether anything of a journal is in it."""
        return bool(self.files)

    @property
    def files(self) -> tuple[Path, ...]:
        """All of them."""
        pairs = (*self.parts, *self.segments, *self.begun, *self.unknown, *self.spent)
        return (*pairs, *self.notes, *self.locks, *self.ended)

    def of(self, writer: str) -> list[Path]:
        """The pairs of one writer, the newest file last."""
        return sorted(
            (f for f in (*self.parts, *self.segments) if writer_of(f) == writer), key=lambda f: f.stem
        )

    def writers(self) -> list[str]:
        """Those who left any file, in order of their start."""
        return sorted({writer_of(f) for f in (*self.parts, *self.segments, *self.begun, *self.locks)})


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def new_writer() -> str:
    """A name that no other writer has or will have."""
    started = f"{now():%Y%m%dT%H%M%S%fZ}"
    return f"{started}_{host()}_{os.getpid()}_{uuid4().hex[:8]}"


def host() -> str:
    """This machine's name, as it is in a writer's."""
    return re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname()) or "unknown"


def writer_of(file: Path) -> str:
    """Who wrote a file."""
    return _PART.sub("", file.stem)


def unknown(folder: Path, writer: str) -> Path:
    """The part of the calls that a writer which died had under way."""
    return folder / f"{writer}{_UNKNOWN}.parquet"


def is_unknown(file: Path) -> bool:
    """Whether a file is such a part."""
    return file.stem.endswith(_UNKNOWN)


def segment(folder: Path, writer: str, number: int) -> Path:
    """The file of a writer's segment."""
    return folder / f"{writer}-{number:06d}.jsonl"


def make(path: Path) -> None:
    """Make a folder, and those above it, where missing: for nobody but this user.

    Raises OSError if it cannot be made.
    """
    if not path.is_dir():
        make(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def listed(path: Path) -> Folder:
    """The files of a journal's folder at one moment.

    Raises OSError if it cannot be read.
    """
    # a file that changes its name while the folder is read may be missed under both names
    names = _names(path)
    while (again := _names(path)) != names:
        names = again
    by_suffix: dict[str, list[Path]] = {}
    for name in names:
        by_suffix.setdefault(Path(name).suffix, []).append(path / name)
    parquet = by_suffix.get(".parquet", [])
    parts = [file for file in parquet if not is_unknown(file)]
    whole = {part.stem for part in parts}
    segments = by_suffix.get(".jsonl", [])
    return Folder(
        path,
        tuple(parts),
        tuple(file for file in segments if file.stem not in whole),
        tuple(by_suffix.get(".notes", [])),
        tuple(by_suffix.get(".lock", [])),
        tuple(by_suffix.get(".ended", [])),
        tuple(by_suffix.get(".begun", [])),
        tuple(file for file in parquet if is_unknown(file)),
        tuple(file for file in segments if file.stem in whole),
    )


def is_alive(folder: Folder, writer: str) -> bool:
    """Whether a writer still writes, or may: none that closed does."""
    lock = folder.path / f"{writer}.lock"
    if lock not in folder.locks:
        return False
    if locks.is_held(lock):
        return True
    if f"_{host()}_" in writer:
        return False
    return time.time() - newest([lock, *folder.of(writer)]) < QUIET_S


def newest(files: Iterable[Path]) -> float:
    """When any of these files was last changed, in seconds since 1970; 0 if there is none."""
    return max((_changed(file) for file in files), default=0.0)


def _changed(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def _names(path: Path) -> list[str]:
    return sorted(name for name in os.listdir(path) if _OURS.fullmatch(name))
