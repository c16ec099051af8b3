"""Opening a folder where others wrote: what the dead left is made whole."""

import os
import time
import warnings
from contextlib import suppress
from pathlib import Path

import polars as pl

from mirrorkit.errors import MirrorWarning, RecordingError
from mirrorkit.store import files, folder, locks, reading
from mirrorkit.store.segments import compact

_LONG_S = 86_400.0


def opened(path: Path, *, recovers: bool = True) -> None:
    """Make a folder ready to be written to, and compact what writers of this machine left when they died.

    Without `recovers` nothing that is there is read. Raises RecordingError if it cannot be made or read.
    """
    if path.exists() and not path.is_dir():
        raise RecordingError(f"the journal '{path}' is a file: name a folder, which is made where missing")
    try:
        folder.make(path)
        found = folder.listed(path)
    except OSError as error:
        raise RecordingError(
            f"the journal '{path}' cannot be opened ({error}): name another folder"
        ) from error
    if recovers:
        _sweep(path)
        recover(found)


def _sweep(path: Path) -> None:
    """Remove what writers left that were killed while they made a part; no part takes that long."""
    for left in path.glob(".mirrorkit-*.tmp"):
        if time.time() - folder.newest([left]) > _LONG_S:
            with suppress(OSError):  # another was faster, or only that one may
                left.unlink()


def recover(found: folder.Folder) -> None:
    """Compact the segments of the dead; one process at a time, and the others need not wait for it."""
    dead = [writer for writer in found.writers() if not folder.is_alive(found, writer) and _is_ours(writer)]
    left = [writer for writer in dead if _has_left(found, writer)]
    if not left:
        return
    try:
        descriptor = locks.hold(found.path / ".recovering")
    except OSError:
        return  # a folder that cannot be written to says so when its own lock is made
    if descriptor is None:
        return
    try:
        again = folder.listed(found.path)  # another may have done it meanwhile
        for writer in left:
            if not folder.is_alive(again, writer):
                _recover_writer(again, writer)
    finally:
        locks.release(descriptor)


def _recover_writer(found: folder.Folder, writer: str) -> None:
    mine = [segment for segment in found.segments if folder.writer_of(segment) == writer]
    lock = found.path / f"{writer}.lock"
    ended = folder.newest([lock, *found.of(writer)])
    try:
        for segment in found.spent:
            if folder.writer_of(segment) == writer:
                segment.unlink(missing_ok=True)
        for segment in mine:
            compact(segment)
        _keep_unknown(found, writer)
        if lock in found.locks:
            os.utime(lock, (ended, ended))
            lock.rename(lock.with_suffix(".ended"))
    except FileNotFoundError:
        pass  # it closed meanwhile, and made its parts itself
    except (Exception, pl.exceptions.PanicException) as error:  # whatever a damaged file makes of Polars
        warnings.warn(
            f"what an earlier session left in '{found.path}' could not be compacted, and stays as it is "
            f"({files.first_line(error)})",
            MirrorWarning,
            stacklevel=2,
        )


def _keep_unknown(found: folder.Folder, writer: str) -> None:
    """Make a part of the silent calls that a dead writer had under way: nobody heard how they ended."""
    lines = [file for file in found.begun if folder.writer_of(file) == writer]
    if not lines:
        return
    calls = reading.begun(folder.listed(found.path), writer).collect()
    if calls.height:
        files.write_parquet(calls, folder.unknown(found.path, writer), private=True)
    for file in lines:
        file.unlink(missing_ok=True)


def _is_ours(writer: str) -> bool:
    return f"_{folder.host()}_" in writer


def _has_left(found: folder.Folder, writer: str) -> bool:
    lock = found.path / f"{writer}.lock"
    left = (*found.segments, *found.begun, *found.spent)
    return lock in found.locks or any(folder.writer_of(each) == writer for each in left)
