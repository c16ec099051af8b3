"""Where recordings are: a file, a journal's folder, a glob, or a URL; read at once or lazily."""

import os
from collections.abc import Iterator
from glob import glob, has_magic
from pathlib import Path

import polars as pl

from mirrorkit.errors import RecordingError
from mirrorkit.store import cloud, files, folder, notes, reading
from mirrorkit.store.files import FilePath
from mirrorkit.store.lazily import conformed

PLAN, BEFORE = "plan", "complete_before"
"""What goes into a file beside the pairs."""


def read(
    place: FilePath, options: cloud.Options | None = None, *, lazily: bool = False
) -> list[reading.Read]:
    """What is in a file or a journal, or in all that match a glob.

    `options` are Polars' `storage_options` for a URL. With `lazily` the pairs of a Parquet file are read when
    they are collected, as those of a journal's parts always are, and of a living writer's only those that it
    has settled are there: a lazy frame does not say until when it is complete.

    Raises RecordingError if there is nothing, it cannot be read, is no recording, or is of a newer schema
    version than this mirrorkit knows.
    """
    name = os.fspath(place)
    with files.readable(f"'{name}'"):
        if cloud.is_url(place):
            return [_cloud(name, options, settled=lazily)]
        only_folders = name.endswith(("/", os.sep))
        found = [_one(path, lazily) for path in matching(cloud.local(place), only_folders)]
    if not found:
        raise RecordingError(f"no recording and no journal matches '{name}'")
    return found


def matching(path: Path, only_folders: bool) -> Iterator[Path]:
    """The path, or where it is a glob the journals and files of pairs that match it, each once."""
    if path.exists() or not has_magic(str(path)):
        yield path
        return
    matches = sorted({Path(match) for match in glob(str(path), recursive=True)})
    journals = {match: found for match in matches if (found := _journal(match))}
    # a file of a journal's stands for all of it: alone it would lack what was said, and the newest pairs
    for match in matches:
        found = None if only_folders or match.parent in journals else _journal(match.parent)
        if found is not None and match in found.files:
            journals[match.parent] = found
    files_of_pairs = (
        match
        for match in matches
        if match.suffix.lower() in (".csv", ".parquet") and not (only_folders or match.is_dir())
    )
    others = [match for match in files_of_pairs if match.parent not in journals]
    yield from sorted([*journals, *others])


def _journal(path: Path) -> folder.Folder | None:
    found = folder.listed(path) if path.is_dir() else None
    return found if found is not None and found.is_journal else None


def _one(path: Path, lazily: bool) -> reading.Read:
    if not path.is_dir():
        return _file(path, lazily)
    try:
        found = folder.listed(path)
    except OSError as error:
        raise RecordingError(f"the folder '{path}' cannot be read: {error}") from error
    if not found.is_journal:
        raise RecordingError(
            f"there is no journal in the folder '{path}': name the one that `journal=` names"
        )
    read = reading.in_folder(path, settled=lazily)
    read.warn(str(path))
    return read


def _file(path: Path, lazily: bool) -> reading.Read:
    """The pairs in a file, the looks that were taken at them, and until when they are complete."""
    kept = files.read_kept(path)
    before = kept.get(BEFORE)
    if lazily and path.suffix.lower() == ".parquet":
        files.check_readable(path)
        pairs = conformed(pl.scan_parquet(path, glob=False, hive_partitioning=False), f"'{path}'")
    else:
        frame = files.read(path)
        if BEFORE in frame.columns:
            before = next((str(text) for text in frame[BEFORE] if text is not None), None)
            frame = frame.drop(BEFORE)
        pairs = frame.lazy()
    return reading.Read(pairs, notes.Said(looks=kept.get(PLAN, "[]")), notes.time(before))


def _cloud(url: str, options: cloud.Options | None, *, settled: bool) -> reading.Read:
    prefix = cloud.Prefix(url, options)
    if not prefix.parts() and not prefix.told()[1]:
        raise RecordingError(f"there is no journal at '{url}': name the URL that `journal=` names, or a glob")
    read = reading.in_cloud(prefix, settled=settled)
    read.warn(url)
    return read
