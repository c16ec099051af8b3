"""Journals are read, while they are written: all writers' pairs, each once, with what was said of them."""

import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import polars as pl

from mirrorkit.errors import MirrorWarning, RecordingError
from mirrorkit.records import SCHEMA
from mirrorkit.store import cloud, deadline, files, folder, lines, notes
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
    uploaded: Mapping[str, str] = field(default_factory=dict)
    """the URLs of the parts in an object store, by their names"""

    def labelled(self) -> pl.LazyFrame:
        """The pairs with what was said of them."""
        return notes.applied(self.pairs, self.said.annotations)

    def warn(self, place: str) -> None:
        """Say how many writers ended without closing."""
        if self.unclosed:
            many = "1 writer" if len(self.unclosed) == 1 else f"{len(self.unclosed):,} writers"
            warnings.warn(
                f"{many} of '{place}' ended without closing, at the latest at "
                f"{max(self.unclosed):%Y-%m-%d %H:%M} UTC: how calls under way then ended is unknown",
                MirrorWarning,
                stacklevel=3,
            )


def in_folder(
    path: Path,
    *,
    without: str | None = None,
    settled: bool = False,
    own: Collection[str] = (),
    leaves_out: bool = False,
) -> Read:
    """What is in a journal's folder, of all writers but `without`.

    Parts are read when the pairs are, segments now. With `settled`, a living writer's pairs are only those of
    requests older than its oldest one under way, except those of `own` ones. What a dead one had under way
    is there with the status "unknown".

    Raises RecordingError if it cannot be read, or holds a file that cannot or that is of a newer schema
    version; with `leaves_out` such a file is left out, and a MirrorWarning names it.
    """
    for _ in range(_TRIES):
        try:
            found = folder.listed(path)
            if leaves_out:
                found = _readable(found, without)
            return _in_folder(found, without, settled, own)
        except FileNotFoundError:
            continue  # a segment became a part
        except RecordingError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
        except (OSError, pl.exceptions.PolarsError) as error:
            raise RecordingError(f"the journal '{path}' cannot be read: {files.first_line(error)}") from error
    raise RecordingError(f"the journal '{path}' cannot be read: its files come and go")


def in_cloud(
    prefix: cloud.Prefix,
    *,
    without: str | None = None,
    settled: bool = False,
    own: Collection[str] = (),
) -> Read:
    """What is in a journal in an object store, of all writers but `without`; see `in_folder`."""
    return _in_cloud(prefix, {}, without=without, settled=settled, own=own)


def _in_cloud(
    prefix: cloud.Prefix,
    known: Mapping[str, cloud.State],
    *,
    without: str | None,
    settled: bool,
    own: Collection[str],
) -> Read:
    """What is there; `known` are states of living writers that are newer than what they told."""
    urls, told, states = asked(prefix)
    by_writer = {**{state.writer: state for state in states}, **known}
    alive = [state for state in by_writer.values() if state.is_alive]
    marks = {state.writer: state.complete_before for state in alive if state.complete_before is not None}
    held = {writer: mark for writer, mark in marks.items() if settled and writer not in own}
    pairs: list[pl.LazyFrame] = []
    for url in urls:
        part = Path(url)
        state = by_writer.get(folder.writer_of(part))
        is_told = state is None or state.writer in own or state.tells_of(part)
        if not is_told or folder.writer_of(part) == without:
            continue
        scan = partial(_scanned, prefix.scan(url), url, held, part)  # which asks for its columns
        scanned = deadline.within(scan, cloud.ANSWER_S)
        if folder.is_unknown(part):
            ended = [prefix.scan(each) for each in urls if each != url and _is_of(part, each)]
            scanned = _not_in(scanned, ended)
        pairs.append(scanned)
    unclosed = tuple(s.at for s in by_writer.values() if s.state != "closed" and not s.is_alive)
    before = min(marks.values(), default=None)
    good = notes.readable(told, prefix.url)
    return Read(
        _together(pairs),
        notes.together(good),
        before,
        unclosed,
        tuple(good),
        {Path(url).stem: url for url in urls},
    )


def asked(prefix: cloud.Prefix) -> tuple[list[str], list[bytes], list[cloud.State]]:
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


def in_both(
    prefix: cloud.Prefix, spool: Path, *, without: str | None = None, own: Collection[str] = ()
) -> Read:
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
    more: list[pl.LazyFrame] = []
    for file, pairs in here:
        if file.stem in there.uploaded:
            continue
        if folder.is_unknown(file):
            ended = [prefix.scan(url) for url in there.uploaded.values() if _is_of(file, url)]
            pairs = _not_in(pairs, ended)
        more.append(pairs)
    told = notes.together(dict.fromkeys([*said, *there.lines]))
    return replace(there, pairs=_together([there.pairs, *more]), said=told)


def _waiting(
    found: folder.Folder, without: str | None, own: Collection[str]
) -> tuple[list[tuple[Path, pl.LazyFrame]], list[bytes], dict[str, cloud.State]]:
    """The pairs in each file of a spool, read now, as it is soon gone; the lines of its notes; who lives."""
    all_marks = _marks(found)
    marks = {writer: mark for writer, mark in all_marks.items() if writer not in own}
    pairs = [
        (file, _together(_pairs(found, [file], marks)).collect().lazy()) for file in _chosen(found, without)
    ]
    living = {
        writer: cloud.State(writer, "open", folder.now(), all_marks.get(writer), cloud.number(written[-1]))
        for writer in found.writers()
        if folder.is_alive(found, writer) and (written := found.of(writer))
    }
    return pairs, notes.lines_in(found.notes), living


def _in_folder(found: folder.Folder, without: str | None, settled: bool, own: Collection[str]) -> Read:
    marks = _marks(found)
    kept = {writer: mark for writer, mark in marks.items() if settled and writer not in own}
    pairs = _pairs(found, _chosen(found, without), kept)
    return Read(
        _together(pairs), notes.read(found.notes), min(marks.values(), default=None), _unclosed(found)
    )


def _chosen(found: folder.Folder, without: str | None) -> list[Path]:
    """The files of pairs of all writers but one, in order.

    The part of unknown outcomes stands for what a dead writer had begun, whether or not it is there yet.
    """
    began = {folder.writer_of(file) for file in (*found.begun, *found.unknown)}
    lost = [folder.unknown(found.path, each) for each in began if not folder.is_alive(found, each)]
    others = [file for file in (*found.parts, *found.segments, *lost) if folder.writer_of(file) != without]
    return sorted(others, key=lambda file: file.stem)


def begun(found: folder.Folder, writer: str) -> pl.LazyFrame:
    """The silent calls that a dead writer had under way: those it began, and of which it recorded no pair."""
    known = folder.unknown(found.path, writer)
    calls: list[pl.LazyFrame] = []
    if known in found.unknown:
        files.check_readable(known)
        calls.append(conformed(_scan([known]), f"'{known}'"))
    for file in found.begun:
        if folder.writer_of(file) == writer:
            rows, _ = lines.read(file.read_bytes(), str(file))
            # of a call that was not sent after all a later line has no status
            last = rows.unique("pair_id", keep="last", maintain_order=True)
            calls.append(last.filter(pl.col("silent_status") == "unknown").lazy())
    once = _together(calls).unique("pair_id", keep="first", maintain_order=True)
    return _not_in(once, _pairs(found, found.of(writer), {}))


def _not_in(calls: pl.LazyFrame, ended: Sequence[pl.LazyFrame]) -> pl.LazyFrame:
    """The few calls that are not among the many that ended."""
    if not ended:
        return calls
    ids = calls.select("pair_id")
    done = pl.concat([each.select("pair_id").join(ids, on="pair_id", how="semi") for each in ended])
    return calls.join(done, on="pair_id", how="anti", maintain_order="left")


def _is_of(file: Path, url: str) -> bool:
    """Whether an object is of the pairs of a file's writer."""
    return folder.writer_of(file) == folder.writer_of(Path(url))


def _pairs(found: folder.Folder, chosen: Iterable[Path], marks: Mapping[str, datetime]) -> list[pl.LazyFrame]:
    """The pairs in each file; neighbours of one schema are one scan."""
    pairs: list[pl.LazyFrame] = []
    alike: list[Path] = []
    schema: Mapping[str, object] | None = None

    def scan() -> None:
        if alike:
            pairs.append(conformed(_scan(list(alike)), f"'{alike[0]}'"))
            alike.clear()

    for file in chosen:
        if folder.is_unknown(file):
            scan()
            pairs.append(begun(found, folder.writer_of(file)))
            continue
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


def _scan(parts: Sequence[Path]) -> pl.LazyFrame:
    return pl.scan_parquet(list(parts), glob=False, hive_partitioning=False)


def _columns(part: Path) -> Mapping[str, pl.DataType]:
    with part.open("rb") as file:  # opened here, as Polars would take a * in a path for a pattern
        return pl.read_parquet_schema(file)


def _readable(found: folder.Folder, without: str | None) -> folder.Folder:
    """What is in a folder but for the files that cannot be read."""

    def readable(all_files: Iterable[Path]) -> tuple[Path, ...]:
        return tuple(file for file in all_files if folder.writer_of(file) == without or _is_readable(file))

    return replace(
        found,
        parts=readable(found.parts),
        segments=readable(found.segments),
        begun=readable(found.begun),
        unknown=readable(found.unknown),
    )


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
        if isinstance(error.__cause__, OSError):  # the disk's fault, and maybe not for long
            raise
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


def with_lines(read: Read, pairs: bytes, said: bytes) -> Read:
    """What was read, with lines of pairs and of notes that waited in memory just before."""
    if not pairs and not said:
        return read
    rows, _ = lines.read(pairs, "memory")
    # some may have been written since
    more = rows.lazy().join(read.pairs, on="pair_id", how="anti", maintain_order="left")
    late = notes.together(said.splitlines()).annotations
    all_said = notes.Said((*read.said.annotations, *late), read.said.looks)
    return replace(read, pairs=pl.concat([read.pairs, more], how="diagonal_relaxed"), said=all_said)
