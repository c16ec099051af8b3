"""Whether another process is alive: it holds a lock, which the system takes back when it ends."""

import os
import sys
from pathlib import Path

# flock, not lockf: a lock of lockf's would be lost as soon as this process read the file a second time,
# and could not be seen by a second journal in it. flock's is shared with a forked child until that closes it.
if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int, *, shared: bool) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def _unlock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int, *, shared: bool) -> None:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def hold(path: Path) -> int | None:
    """Hold the lock of a file, made where missing; gives what `os.close` lets it go with.

    None where another holds it. Raises OSError if the file cannot be made or opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(descriptor, shared=False)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def hold_new(path: Path) -> int:
    """Hold the lock of a new file, which is there from then on when it is held.

    Raises OSError if the file cannot be made.
    """
    hidden = path.with_name(f".{path.name}.tmp")
    try:
        descriptor = hold(hidden)
        if descriptor is None:
            raise FileExistsError(f"'{hidden}' is held by another")
        hidden.rename(path)
    except OSError:
        hidden.unlink(missing_ok=True)
        raise
    return descriptor


def release(descriptor: int) -> None:
    """Let go of a lock, for a child that was forked off meanwhile too."""
    _unlock(descriptor)
    os.close(descriptor)


def tell(descriptor: int, text: bytes) -> None:
    """Have a lock that is held say something, in the place of what it said; of one length each time."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, text)


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock of a file; False where it is not there."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        _lock(descriptor, shared=True)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
