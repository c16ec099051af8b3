"""A store that cannot be read for a while: what was there is in the frame when it can."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mirrorkit.errors import LabelError, MirrorWarning
from mirrorkit.records import Pair
from mirrorkit.store.frame import FrameStore
from mirrorkit.store.journal import Journal

Make = Callable[..., Pair]


def test_a_first_look_during_an_outage_forgets_nothing(tmp_path: Path, make: Make) -> None:
    with Journal(tmp_path) as earlier:
        for number in range(3):
            earlier.append(make(number))
        earlier.looked("[1]")
    (part,) = tmp_path.glob("*.parquet")
    store = FrameStore(journal=Journal(tmp_path))
    store.append(make(3))
    # as of a disk that fails: it is there, and cannot be read
    away = part.rename(tmp_path / "away")
    part.mkdir()
    with pytest.warns(
        MirrorWarning, match="what earlier sessions left in the journal .* each look tries again"
    ) as told:
        for _ in range(3):
            assert store.frame()["pair_id"].to_list() == ["p3"]
    assert len(told) == 1
    store.label("p3", "tie", None)
    with pytest.raises(LabelError, match="no pair 'p1'"):
        store.label("p1", "tie", None)
    part.rmdir()
    away.rename(part)
    store.append(make(4))
    assert store.frame()["pair_id"].to_list() == [f"p{number}" for number in range(5)]
    assert store.frame()["preference"].to_list() == [None, None, None, "tie", None]
    assert (len(store), store.looks) == (5, "[1]")
    store.label("p1", "silent", None)
    assert store.frame()["preference"].to_list() == [None, "silent", None, "tie", None]
    store.journal.close()
