"""Files that whole lines are put to, when writing fails."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mirrorkit.store.segments import Segment

resource = pytest.importorskip("resource", reason="there is no limit to a file's size")


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file of this process can become larger, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_line_that_does_not_fit_takes_nothing_with_it_from_a_file_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "it"
    path.write_bytes(b"said long ago\n")
    segment = Segment(path)
    assert segment.size == 14
    with files_of_at_most(20), pytest.raises(OSError, match="too large"):
        segment.write(b"said too late to fit\n")
    assert path.read_bytes() == b"said long ago\n"
    segment.write(b"next\n")
    segment.close()
    assert path.read_bytes() == b"said long ago\nnext\n"
    assert (segment.size, segment.lines) == (19, 1)


def test_a_line_after_a_piece_that_could_not_be_taken_back_is_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "it"
    path.write_bytes(b'{"torn')
    segment = Segment(path)
    segment.broken = True
    segment.write(b"whole\n")
    segment.write(b"next\n")
    segment.close()
    assert path.read_bytes() == b'{"torn\nwhole\nnext\n'
