"""Pairs are taken out of a record for good, with all that was said of them, and nothing else is."""

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from glob import has_magic
from pathlib import Path

import polars as pl

from mirrorkit.errors import RecordingError
from mirrorkit.store import cloud, files, folder, lines, locks, notes, places, reading, recovery
from mirrorkit.store.files import FilePath


def delete(place: FilePath, which: pl.Expr, options: cloud.Options | None = None) -> int:
    """Take the pairs of which this is true out of a file or a journal, or all that match a glob; how many.

    Each file is replaced in one step, so that whatever ends this in between loses nothing that was to stay.
    `options` are Polars' `storage_options` for a URL, of one journal.

    Raises RecordingError if there is nothing, it cannot be read, or a session that still runs has some of
    these pairs in a file that it writes to; nothing is removed from that journal then.
    """
    name, chosen = os.fspath(place), which.fill_null(False)
    with files.readable(f"'{name}'"):
        if cloud.is_url(place):
            return _from_cloud(cloud.Prefix(name, options), chosen)
        found = list(places.matching(cloud.local(place), name.endswith(("/", os.sep))))
        if not found:
            raise RecordingError(f"no recording and no journal matches '{name}'")
        return sum(
            _from_journal(path, chosen) if path.is_dir() else _from_file(path, chosen) for path in found
        )


def _from_file(path: Path, which: pl.Expr) -> int:
    frame = files.read(path)
    rest = frame.filter(~which)
    if rest.height < frame.height:
        if path.suffix.lower() == ".csv":
            files.write_csv(rest, path)
        else:
            files.write_parquet(rest, path, kept=files.read_kept(path))
    return frame.height - rest.height


def _from_journal(path: Path, which: pl.Expr) -> int:
    found = folder.listed(path)
    if not found.is_journal:
        raise RecordingError(
            f"there is no journal in the folder '{path}': name the one that `journal=` names"
        )
    recovery.recover(found)  # what the dead left becomes parts
    with _alone(path):
        found = folder.listed(path)
        parts = [*found.parts, *found.unknown]
        ids = {pair_id for part in parts for pair_id in _ids(files.read(part), which)}
        busy = {
            folder.writer_of(file) for file in (*found.segments, *found.begun) if _ids(_rows(file), which)
        }
        said = {file: notes.without(file.read_bytes(), ids) for file in found.notes}
        changed = {file: text for file, text in said.items() if text is not None}
        busy |= {writer for file in changed if folder.is_alive(found, writer := folder.writer_of(file))}
        _check_idle(busy, str(path))
        # in this order: what was said of a pair that is gone could not be found any more
        for file, text in changed.items():
            with files.replacing(file, 0o600) as new:
                new.write(text)
        for part in parts:
            _from_part(part, which, keeps_file=folder.is_alive(found, folder.writer_of(part)))
        return len(ids)


def _from_cloud(prefix: cloud.Prefix, which: pl.Expr) -> int:
    if has_magic(prefix.url):
        raise RecordingError(f"'{prefix.url}' is a glob: pairs are deleted from one URL at a time")
    spool = cloud.spool(prefix.url)
    waits = spool.is_dir() and folder.listed(spool).is_journal
    urls, _, states = reading.asked(prefix)
    if not urls and not states and not waits:
        raise RecordingError(f"there is no journal at '{prefix.url}': name the URL that `journal=` names")
    found = {url: ids for url in urls if (ids := _ids(prefix.read(url), which))}
    all_ids = {pair_id for ids in found.values() for pair_id in ids}
    said = {state: notes.without(b"\n".join(prefix.said_by(state.writer)), all_ids) for state in states}
    changed = {state: text for state, text in said.items() if text is not None}
    _check_idle({state.writer for state in changed if state.is_alive}, prefix.url)
    waiting = _from_journal(spool, which) if waits else 0
    for state, text in changed.items():
        prefix.tell(state, text.splitlines())
    for url in found:
        prefix.replace(url, prefix.read(url).filter(~which))
    return len(all_ids) + waiting


def _check_idle(busy: Collection[str], place: str) -> None:
    if busy:
        raise RecordingError(
            f"pairs that are to be deleted from '{place}' are in files that are still written to, of "
            f"{', '.join(sorted(busy))} (start, host and process): close those sessions first"
        )


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep others from making parts meanwhile of what the dead left."""
    descriptor = locks.hold(path / ".recovering")
    if descriptor is None:
        raise RecordingError(f"another process is putting the journal '{path}' in order: try again")
    try:
        yield
    finally:
        locks.release(descriptor)


def _from_part(part: Path, which: pl.Expr, *, keeps_file: bool) -> None:
    frame = files.read(part)
    rest = frame.filter(~which)
    if rest.height == frame.height:
        return
    if rest.height or keeps_file:  # a living writer would miss its part, and write it anew
        files.write_parquet(rest, part, kept=files.read_kept(part), private=True)
    else:
        part.unlink()


def _ids(frame: pl.DataFrame, which: pl.Expr) -> list[str]:
    return frame.filter(which)["pair_id"].to_list()


def _rows(file: Path) -> pl.DataFrame:
    rows, _ = lines.read(file.read_bytes(), str(file))
    return rows
