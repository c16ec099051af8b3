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
    uploaded: frozenset[str] = frozenset()
    """the names of the parts in an object store"""

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
    path: Path,
    *,
    without: str | None = None,
    settled: bool = False,
    own: str | None = None,
    leaves_out: bool = False,
) -> Read:
    """What is in a journal's folder, of all writers but `without`.

    Parts are read when the pairs are, segments now. With `settled`, a living writer's pairs are only those of
    requests older than its oldest one under way, except those of `own`.

    Raises RecordingError if it cannot be read, or holds a file that cannot or that is of a newer schema
    version; with `leaves_out` such a file is left out, and a MirrorWarning names it.
    """
    for _ in range(_TRIES):
        try:
            return _in_folder(folder.listed(path), without, settled, own, leaves_out)
        except FileNotFoundError:
            continue  # a segment became a part
        except (OSError, pl.exceptions.PolarsError) as error:
            raise RecordingError(f"the journal '{path}' cannot be read: {files.first_line(error)}") from error
    raise RecordingError(f"the journal '{path}' cannot be read: its files come and go")


def in_cloud(
    prefix: cloud.Prefix, *, without: str | None = None, settled: bool = False, own: str | None = None
) -> Read:
    """What is in a journal in an object store, of all writers but `without`; see `in_folder`."""
    return _in_cloud(prefix, {}, without=without, settled=settled, own=own)


def _in_cloud(
    prefix: cloud.Prefix,
    known: Mapping[str, cloud.State],
    *,
    without: str | None,
    settled: bool,
    own: str | None,
) -> Read:
    """What is there; `known` are states of living writers that are newer than what they told."""
    urls, told, states = _asked(prefix)
    by_writer = {**{state.writer: state for state in states}, **known}
    alive = [state for state in by_writer.values() if state.is_alive]
    marks = {state.writer: state.complete_before for state in alive if state.complete_before is not None}
    held = {writer: mark for writer, mark in marks.items() if settled and writer != own}
    pairs: list[pl.LazyFrame] = []
    for url in urls:
        part = Path(url)
        state = by_writer.get(folder.writer_of(part))
        is_told = state is None or state.writer == own or state.tells_of(part)
        if is_told and folder.writer_of(part) != without:
            pairs.append(_scanned(prefix.scan(url), url, held, part))
    unclosed = tuple(s.at for s in by_writer.values() if s.state != "closed" and not s.is_alive)
    before = min(marks.values(), default=None)
    return Read(
        _together(pairs),
        notes.together(told),
        before,
        unclosed,
        tuple(told),
        frozenset(Path(url).stem for url in urls),
    )


def _asked(prefix: cloud.Prefix) -> tuple[list[str], list[bytes], list[cloud.State]]:
    """The parts there, with what was told of their writers before: no part is newer than is thought."""
    strangers: set[str] = set()
    for _ in range(_TRIES):
        told, states = prefix.told()
        urls = prefix.parts()
        others = {folder.writer_of(Path(url)) for url in urls} - {state.writer for state in states}
        if others <= strangers:  # those of whom nothing is told, though they began some time ago
            break
        strangers = others
    return urls, told, states


def in_both(prefix: cloud.Prefix, spool: Path, *, without: str | None = None, own: str | None = None) -> Read:
    """What is settled in an object store, with what waits on this machine to be put there."""
    for _ in range(_TRIES):
        try:
            here, said, known = _waiting(folder.listed(spool), without, own)
            break
        except FileNotFoundError:
            continue  # it was uploaded
    else:
        raise RecordingError(f"'{spool}' cannot be read: its files come and go")
    # listed after what is here, so that what is uploaded meanwhile is in the one or in both
    there = _in_cloud(prefix, known, without=without, settled=True, own=own)
    more = [pairs for stem, pairs in here if stem not in there.uploaded]
    told = notes.together(dict.fromkeys([*said, *there.lines]))
    return replace(there, pairs=_together([there.pairs, *more]), said=told)


def _waiting(
    found: folder.Folder, without: str | None, own: str | None
) -> tuple[list[tuple[str, pl.LazyFrame]], list[bytes], dict[str, cloud.State]]:
    """The pairs in each file of a spool, read now, as it is soon gone; the lines of its notes; who lives."""
    all_marks = _marks(found)
    marks = {writer: mark for writer, mark in all_marks.items() if writer != own}
    chosen = [file for file in (*found.parts, *found.segments) if folder.writer_of(file) != without]
    chosen.sort(key=lambda file: file.stem)
    pairs = [(file.stem, _together(_pairs(found, [file], marks)).collect().lazy()) for file in chosen]
    living = {
        writer: cloud.State(writer, "open", folder.now(), all_marks.get(writer), cloud.number(written[-1]))
        for writer in found.writers()
        if folder.is_alive(found, writer) and (written := found.of(writer))
    }
    return pairs, notes.lines_in(found.notes), living


def _in_folder(
    found: folder.Folder, without: str | None, settled: bool, own: str | None, leaves_out: bool
) -> Read:
    marks = _marks(found)
    kept = {writer: mark for writer, mark in marks.items() if settled and writer != own}
    all_files = sorted((*found.parts, *found.segments), key=lambda file: file.stem)
    others = [file for file in all_files if without is None or folder.writer_of(file) != without]
    if leaves_out:
        others = [file for file in others if _is_readable(file)]
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
        columns = _columns(file)
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


def _columns(part: Path) -> Mapping[str, pl.DataType]:
    with part.open("rb") as file:  # opened here, as Polars would take a * in a path for a pattern
        return pl.read_parquet_schema(file)


def _is_readable(file: Path) -> bool:
    """Whether a file holds pairs that this version knows; a MirrorWarning says why not."""
    try:
        if file.suffix == ".parquet":
            files.check_readable(file)
            conformed(pl.LazyFrame(schema=_columns(file)), f"'{file}'")
        else:
            with file.open("rb") as segment:
                lines.check_version(segment.readline(), str(file))
    except RecordingError as error:
        warnings.warn(f"what a writer left is left out: {error}", MirrorWarning, stacklevel=4)
        return False
    return True


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
    """Until when the pairs of each living writer are complete, where it says so."""
    marks: dict[str, datetime] = {}
    for lock in found.locks:
        writer = folder.writer_of(lock)
        if not folder.is_alive(found, writer):
            continue
        for file in reversed(found.of(writer)):
            is_begun, mark = _mark(file)
            if not is_begun:
                continue
            if mark is not None:
                marks[writer] = max(mark, _told_since(lock, found.of(writer)[-1]) or mark)
            break
    return marks


def _told_since(lock: Path, newest: Path) -> datetime | None:
    """Until when a living writer's record is complete in its files up to this one, as its lock has it."""
    try:
        return notes.settled_in(lock.read_bytes(), cloud.number(newest))
    except OSError:
        return None  # closed meanwhile; or Windows, where what is locked cannot be read


def _mark(file: Path) -> tuple[bool, datetime | None]:
    """Whether a file has a line, and until when its writer's record was complete at the last one."""
    if file.suffix == ".parquet":
        return True, notes.time(files.read_kept(file).get(lines.BEFORE))
    last = lines.last(file.read_bytes())
    return bool(last), notes.time(last.get(lines.BEFORE))


def _unclosed(found: folder.Folder) -> tuple[datetime, ...]:
    """When those writers last wrote who ended without closing."""
    dead = [lock for lock in found.locks if not folder.is_alive(found, folder.writer_of(lock))]
    times = [folder.newest([lock, *found.of(folder.writer_of(lock))]) for lock in dead]
    times += [folder.newest([file]) for file in found.ended]
    return tuple(datetime.fromtimestamp(each, UTC) for each in times)
