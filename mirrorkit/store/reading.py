"""Journals are read, while they are written: all writers' pairs, each once, with what was said of them."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from mirrorkit.errors import MirrorWarning, RecordingError
from mirrorkit.records import SCHEMA
from mirrorkit.store import cloud, files, folder, lines, notes
from mirrorkit.store.lazily import conformed

_TRIES = 20
"""How often a folder is read anew when a segment became a part meanwhile."""


@dataclass(frozen=True, slots=True)
class Read:
    """What is in a journal: its pairs, what was said of them, and until when they are complete."""

    pairs: pl.LazyFrame
    said: notes.Said
    before: datetime | None = None
    unclosed: tuple[datetime, ...] = ()
    lines: tuple[bytes, ...] = ()
    """those of the notes in an object store"""

    def labelled(self) -> pl.LazyFrame:
        """The pairs with what was said of them."""
        return notes.applied(self.pairs, self.said.annotations)

    def warn(self, place: str) -> None:
        """Say how many writers ended without closing: what they had under way is not in the journal."""
        if self.unclosed:
            many = "1 writer" if len(self.unclosed) == 1 else f"{len(self.unclosed):,} writers"
            warnings.warn(
                f"{many} of '{place}' ended without closing, at the latest at "
                f"{max(self.unclosed):%Y-%m-%d %H:%M} UTC: what was under way then is not recorded",
                MirrorWarning,
                stacklevel=3,
            )


def in_folder(
    path: Path, *, without: str | None = None, settled: bool = False, own: str | None = None
) -> Read:
    """What is in a journal's folder, of all writers but `without`.

    Parts are read when the pairs are, segments now. With `settled`, a living writer's pairs are only those of
    requests older than its oldest one under way, except those of `own`.

    Raises RecordingError if it cannot be read, or holds pairs of a newer schema version.
    """
    for _ in range(_TRIES):
        try:
            return _in_folder(folder.listed(path), without, settled, own)
        except FileNotFoundError:
            continue  # a segment became a part
        except OSError as error:
            raise RecordingError(f"the journal '{path}' cannot be read: {error}") from error
    raise RecordingError(f"the journal '{path}' cannot be read: its files come and go")


def in_cloud(
    prefix: cloud.Prefix, *, without: str | None = None, settled: bool = False, own: str | None = None
) -> Read:
    """What is in a journal in an object store, of all writers but `without`; see `in_folder`."""
    return _in_cloud(prefix, prefix.parts(), without=without, settled=settled, own=own)


def _in_cloud(
    prefix: cloud.Prefix, urls: Sequence[str], *, without: str | None, settled: bool, own: str | None
) -> Read:
    urls = [url for url in urls if folder.writer_of(Path(url)) != without]
    told, states = prefix.told()
    marks = {s.writer: s.complete_before for s in states if s.is_alive and s.complete_before is not None}
    held = {writer: mark for writer, mark in marks.items() if settled and writer != own}
    pairs = [_scanned(prefix.scan(url), url, held, Path(url)) for url in urls]
    unclosed = tuple(s.at for s in states if s.state != "closed" and not s.is_alive)
    before = min(marks.values(), default=None)
    return Read(_together(pairs), notes.together(told), before, unclosed, tuple(told))


def in_both(prefix: cloud.Prefix, spool: Path, *, without: str | None = None, own: str | None = None) -> Read:
    """What is settled in an object store, with what waits on this machine to be put there."""
    for _ in range(_TRIES):
        try:
            here, said = _waiting(folder.listed(spool), without, own)
            break
        except FileNotFoundError:
            continue  # it was uploaded
    else:
        raise RecordingError(f"'{spool}' cannot be read: its files come and go")
    # listed after what is here, so that what is uploaded meanwhile is in the one or in both
    urls = prefix.parts()
    there = _in_cloud(prefix, urls, without=without, settled=True, own=own)
    uploaded = {Path(url).stem for url in urls}
    more = [pairs for stem, pairs in here if stem not in uploaded]
    told = notes.together([*said, *there.lines])
    return replace(there, pairs=_together([there.pairs, *more]), said=told)


def _waiting(
    found: folder.Folder, without: str | None, own: str | None
) -> tuple[list[tuple[str, pl.LazyFrame]], list[bytes]]:
    """The pairs in each file of a spool, read now, as it is soon gone; and the lines of its notes."""
    marks = {writer: mark for writer, mark in _marks(found).items() if writer != own}
    chosen = [file for file in (*found.parts, *found.segments) if folder.writer_of(file) != without]
    chosen.sort(key=lambda file: file.stem)
    pairs = [(file.stem, _together(_pairs(found, [file], marks)).collect().lazy()) for file in chosen]
    return pairs, notes.lines_in(found.notes)


def _in_folder(found: folder.Folder, without: str | None, settled: bool, own: str | None) -> Read:
    marks = _marks(found)
    kept = {writer: mark for writer, mark in marks.items() if settled and writer != own}
    all_files = sorted((*found.parts, *found.segments), key=lambda file: file.stem)
    others = [file for file in all_files if without is None or folder.writer_of(file) != without]
    pairs = _pairs(found, others, kept)
    return Read(
        _together(pairs), notes.read(found.notes), min(marks.values(), default=None), _unclosed(found)
    )


def _pairs(found: folder.Folder, chosen: Iterable[Path], marks: Mapping[str, datetime]) -> list[pl.LazyFrame]:
    """The pairs in each file; neighbours of one schema are one scan."""
    pairs: list[pl.LazyFrame] = []
    alike: list[Path] = []
    schema: Mapping[str, object] | None = None

    def scan() -> None:
        if alike:
            scanned = pl.scan_parquet(list(alike), glob=False, hive_partitioning=False)
            pairs.append(conformed(scanned, f"'{alike[0]}'"))
            alike.clear()

    for file in chosen:
        if file in found.segments:
            scan()
            rows, _ = lines.read(file.read_bytes(), str(file))
            pairs.append(_before(rows.lazy(), marks.get(folder.writer_of(file))))
            continue
        files.check_readable(file)
        columns = pl.read_parquet_schema(file)
        mark = marks.get(folder.writer_of(file))
        if columns != schema or mark is not None:
            scan()
        schema = columns
        alike.append(file)
        if mark is not None:
            scan()
            pairs[-1] = _before(pairs[-1], mark)
    scan()
    return pairs


def _scanned(lazy: pl.LazyFrame, name: str, marks: Mapping[str, datetime], file: Path) -> pl.LazyFrame:
    return _before(conformed(lazy, f"'{name}'"), marks.get(folder.writer_of(file)))


def _before(pairs: pl.LazyFrame, mark: datetime | None) -> pl.LazyFrame:
    return pairs if mark is None else pairs.filter(pl.col("started_at") < mark)


def _together(pairs: Sequence[pl.LazyFrame]) -> pl.LazyFrame:
    if not pairs:
        return SCHEMA.frame().lazy()
    if len(pairs) == 1:
        return pairs[0]
    schemas = {tuple(each.collect_schema().items()) for each in pairs}
    return pl.concat(pairs, how="vertical" if len(schemas) == 1 else "diagonal_relaxed")


def _marks(found: folder.Folder) -> dict[str, datetime]:
    """Until when the pairs of each living writer are complete, where a request under way has it so."""
    marks: dict[str, datetime] = {}
    for lock in found.locks:
        writer = folder.writer_of(lock)
        if not folder.is_alive(found, writer):
            continue
        for file in reversed(found.of(writer)):
            mark, newest = _mark(file)
            if newest is None:
                continue  # begun, and no line in it yet
            if mark is not None and newest >= mark:
                marks[writer] = mark
            break
    return marks


def _mark(file: Path) -> tuple[datetime | None, datetime | None]:
    """Until when a writer's record was complete at a file's last pair, and the start of its latest pair."""
    if file.suffix == ".parquet":
        text = files.read_kept(file).get(lines.BEFORE)
        newest = pl.scan_parquet(file, glob=False).select(pl.col("started_at").max()).collect().item()
        return time(text), newest
    data = file.read_bytes()
    told = lines.last(data)
    rows, _ = lines.read(data, str(file)) if told.get(lines.BEFORE) else (SCHEMA.frame(), 0)
    newest = rows["started_at"].max()
    return time(told.get(lines.BEFORE)), newest if isinstance(newest, datetime) else time(
        told.get("started_at")
    )


def _unclosed(found: folder.Folder) -> tuple[datetime, ...]:
    """When those writers last wrote who ended without closing."""
    dead = [lock for lock in found.locks if not folder.is_alive(found, folder.writer_of(lock))]
    times = [folder.newest([lock, *found.of(folder.writer_of(lock))]) for lock in dead]
    times += [folder.newest([file]) for file in found.ended]
    return tuple(datetime.fromtimestamp(each, UTC) for each in times)


def time(text: object) -> datetime | None:
    """The time in a text, in UTC where it says no zone; None if there is none."""
    try:
        read = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return read.replace(tzinfo=UTC) if read is not None and read.tzinfo is None else read
