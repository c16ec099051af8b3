"""Frames between two processes: whole or not at all, of any size, of anything that can be copied."""

import fcntl
import io
import os
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.capture import frames


@given(st.lists(st.tuples(st.binary(max_size=200), st.integers(0, 2**40)), max_size=5), st.integers(0, 300))
def test_frames_are_read_as_they_were_written_and_a_torn_one_is_the_end(said: Any, torn: int) -> None:
    whole = b"".join(frames.framed(data, ticket) for data, ticket in said)
    file = io.BytesIO(whole)
    assert [frames.read(file) for _ in said] == [(ticket, data) for data, ticket in said]
    assert frames.read(file) is None
    cut = whole[: max(0, len(whole) - 1 - torn)]
    file = io.BytesIO(cut)
    read = []
    while (frame := frames.read(file)) is not None:
        read.append((frame[1], frame[0]))
    assert read == said[: len(read)]
    assert len(read) < len(said) or not said


def test_a_frame_larger_than_a_pipe_goes_through_also_where_many_files_are_open() -> None:
    reading, low = os.pipe()
    writing = fcntl.fcntl(low, fcntl.F_DUPFD, 1_030)  # beyond what select() knows
    os.close(low)
    os.set_blocking(writing, False)
    data, got = os.urandom(3_000_000), []
    with os.fdopen(reading, "rb") as file:
        reader = threading.Thread(target=lambda: got.append(frames.read(file)))
        reader.start()
        frames.write(writing, frames.framed(data, 7))
        reader.join(30)
    os.close(writing)
    assert got == [(7, data)]


def test_a_class_of_a_script_goes_along_by_value() -> None:
    class Order:
        pass

    Order.__module__ = "__main__"
    assert b"__main__" in frames.pack("__main__")
    assert frames.unpack(frames.pack(Order)).__name__ == "Order"


def test_what_cannot_be_copied_raises() -> None:
    with pytest.raises(TypeError):
        frames.pack(threading.Lock())
