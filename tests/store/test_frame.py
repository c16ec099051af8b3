import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from math import log2
from threading import Barrier, Event
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mirrorkit.errors import MirrorError
from mirrorkit.records import SCHEMA, Call, Pair
from mirrorkit.store.frame import FrameStore

MakePair = Callable[..., Pair]


@pytest.fixture(name="pair", scope="session")
def pair_fixture(make: MakePair) -> MakePair:
    """Makes a pair by its id."""
    return lambda pair_id="p", **given: make(pair_id=pair_id, **given)


def as_kind(kind: type[Pair], one: Pair) -> Pair:
    """The pair as a subclass that watches its fields being read."""
    return kind(**{field.name: getattr(one, field.name) for field in fields(one)})


def filled(pairs: Sequence[Pair]) -> FrameStore:
    store = FrameStore()
    for one in pairs:
        store.append(one)
    return store


def ids(frame: pl.DataFrame) -> list[str]:
    return frame["pair_id"].to_list()


def test_an_empty_store_gives_an_empty_frame_with_the_schema() -> None:
    assert FrameStore().frame().schema == pl.Schema(SCHEMA.columns)
    assert len(FrameStore()) == 0


@given(st.lists(st.integers(0, 40), max_size=30))
@settings(deadline=None, max_examples=50)
def test_looks_at_any_time_see_every_pair_once_and_in_order(pair: MakePair, batches: list[int]) -> None:
    store = FrameStore()
    pairs: list[Pair] = []
    for size in batches:
        for _ in range(size):
            pairs.append(pair(f"p{len(pairs)}"))
            store.append(pairs[-1])
        assert ids(store.frame()) == [one.pair_id for one in pairs]
        assert len(store) == len(pairs)
    assert_frame_equal(store.frame(), SCHEMA.frame(pairs))


def test_pairs_appended_from_many_threads_while_others_look_all_arrive_once(pair: MakePair) -> None:
    store, threads, each = FrameStore(), 8, 200
    start, done = Barrier(threads + 2), Event()

    def write(thread: int) -> None:
        start.wait()
        for number in range(each):
            store.append(pair(f"{thread}-{number}"))

    def look() -> list[list[str]]:
        start.wait()
        seen = []
        while not done.is_set():
            seen.append(ids(store.frame()))
        return seen

    with ThreadPoolExecutor(threads + 2) as pool:
        writers = [pool.submit(write, thread) for thread in range(threads)]
        lookers = [pool.submit(look) for _ in range(2)]
        for writer in writers:
            writer.result()
        done.set()
        seen = [looked for looker in lookers for looked in looker.result()]

    final = ids(store.frame())
    assert sorted(final) == sorted(
        f"{thread}-{number}" for thread in range(threads) for number in range(each)
    )
    assert all(looked == final[: len(looked)] for looked in seen)
    for thread in range(threads):
        assert [one for one in final if one.startswith(f"{thread}-")] == [
            f"{thread}-{n}" for n in range(each)
        ]


def test_append_does_not_wait_for_a_look_that_is_under_way(pair: MakePair) -> None:
    """The first pair holds up the look until the second one is in."""
    store, building, appended = FrameStore(), Event(), Event()

    class Slow(Pair):
        def __getattribute__(self, name: str) -> Any:
            if name == "note":
                building.set()
                assert appended.wait(30)
            return super().__getattribute__(name)

    store.append(as_kind(Slow, pair("first")))
    with ThreadPoolExecutor(1) as pool:
        looked = pool.submit(store.frame)
        assert building.wait(30)
        store.append(pair("second"))
        appended.set()
        assert ids(looked.result()) == ["first"]
    assert ids(store.frame()) == ["first", "second"]


def test_an_interrupted_look_loses_no_pair(pair: MakePair) -> None:
    """Ctrl-C in a notebook arrives while rows are built."""
    interrupts = [KeyboardInterrupt]

    class Interrupting(Pair):
        def __getattribute__(self, name: str) -> Any:
            if name == "note" and interrupts:
                raise interrupts.pop()
            return super().__getattribute__(name)

    store = filled([pair("a"), as_kind(Interrupting, pair("b")), pair("c")])
    with pytest.raises(KeyboardInterrupt):
        store.frame()
    assert ids(store.frame()) == ["a", "b", "c"]


def test_each_pair_is_turned_into_a_row_once_however_often_one_looks(pair: MakePair) -> None:
    reads: dict[str, int] = {}

    class Counted(Pair):
        def __getattribute__(self, name: str) -> Any:
            if name == "note":
                pair_id = super().__getattribute__("pair_id")
                reads[pair_id] = reads.get(pair_id, 0) + 1
            return super().__getattribute__(name)

    store = FrameStore()
    for number in range(100):
        store.append(as_kind(Counted, pair(f"p{number}")))
        store.frame()
        store.frame()
    assert reads == {f"p{number}": 1 for number in range(100)}


def test_the_number_of_chunks_grows_with_the_logarithm_of_the_pairs(pair: MakePair) -> None:
    store = FrameStore()
    for number in range(1, 400):
        store.append(pair())
        assert store.frame().n_chunks() <= 1 + log2(number)


def test_appending_makes_rows_a_few_at_a_time_and_merges_small_chunks_alone(pair: MakePair) -> None:
    """What an append may cost is bounded, however many pairs there are; the rest is left to the look."""
    store = filled([pair()] * 10_000)
    assert not store._chunks
    assert max(chunk.height for chunk in store._fresh) < 2 * 2_048 + 128
    assert len(store._new) < 128
    assert store.frame().height == 10_000
    assert not store._fresh


def test_a_backlog_is_made_rows_of_in_steps(pair: MakePair) -> None:
    """As it is after a look that took long: the next append is not to wait for all of it."""
    store = FrameStore()
    with store._looking:
        for _ in range(1_000):
            store.append(pair())
    assert not store._fresh
    store.append(pair())
    assert [chunk.height for chunk in store._fresh] == [128]
    assert store.frame().height == 1_001


def test_a_store_that_cannot_be_read_counts_pairs_and_neither_keeps_nor_builds_them(pair: MakePair) -> None:
    class Unread(Pair):
        def __getattribute__(self, name: str) -> Any:
            pytest.fail(f"{name} of a pair was read")

    gone = []
    store = FrameStore(unreadable="read it elsewhere")
    for _ in range(1_000):
        one = as_kind(Unread, pair())
        gone.append(sys.getrefcount(one))
        store.append(one)
        assert sys.getrefcount(one) == gone[-1]
    assert len(store) == 1_000
    for use in (store.frame, store.lazy, lambda: store.label("p", "tie", None)):
        with pytest.raises(MirrorError, match="read it elsewhere"):
            use()


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def test_a_look_costs_what_is_new_not_what_is_stored(pair: MakePair) -> None:
    """50 new pairs on 20,000 cost about what 50 pairs on none do; building all would be 100 times it."""
    many = filled([pair()] * 20_000)
    many.frame()
    ratios = []
    for _ in range(15):
        few = filled([pair()] * 50)
        for _ in range(50):
            many.append(pair())
        ratios.append(seconds(many.frame) / seconds(few.frame))
    assert statistics.median(ratios) < 10


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.__setitem__((0, "note"), "mine"),
        lambda frame: frame.insert_column(0, pl.Series("mine", [1] * frame.height)),
        lambda frame: frame.extend(frame.clone()),
        lambda frame: frame.replace_column(0, pl.Series("pair_id", ["mine"] * frame.height)),
        lambda frame: frame.drop_in_place("pair_id"),
        lambda frame: frame["primary_attempts"].__setitem__(0, 99),
        lambda frame: frame["pair_id"].scatter(0, "mine"),
        lambda frame: frame["lag_s"].extend(frame["lag_s"]),
        lambda frame: setattr(frame, "columns", [f"mine_{name}" for name in frame.columns]),
        lambda frame: frame["lag_s"].sort(in_place=True, descending=True),
    ],
)
@pytest.mark.parametrize("sizes", [[3], [4, 1]], ids=["one chunk", "two chunks"])
def test_changing_the_returned_frame_in_place_never_reaches_the_store(
    pair: MakePair, change: Callable[..., object], sizes: list[int]
) -> None:
    store = FrameStore()
    expected: list[Pair] = []
    for size in sizes:
        for _ in range(size):
            expected.append(pair(f"p{len(expected)}", lag_s=float(len(expected))))
            store.append(expected[-1])
        store.frame()
    change(store.frame())
    assert_frame_equal(store.frame(), SCHEMA.frame(expected))
    store.append(pair("next"))
    assert_frame_equal(store.frame(), SCHEMA.frame([*expected, pair("next")]))


def test_a_frame_taken_earlier_does_not_grow(pair: MakePair) -> None:
    store = filled([pair("a")])
    earlier = store.frame()
    store.append(pair("b"))
    store.frame()
    assert ids(earlier) == ["a"]


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("\ud83d cut", "\\ud83d cut"),
        ("NUL \x00 is text", "NUL \x00 is text"),
        ({"not": "text"}, None),
        (b"bytes", None),
        (object(), None),
    ],
)
def test_a_text_that_cannot_be_stored_is_escaped_and_other_things_are_null(
    pair: MakePair, value: Any, stored: str | None
) -> None:
    frame = filled([pair("a", note="kept"), pair("b", note=value), pair("c", note="kept")]).frame()
    assert ids(frame) == ["a", "b", "c"]
    assert frame["note"].to_list() == ["kept", stored, "kept"]


@pytest.mark.parametrize("value", [2**63, 2**70, 2**200, "many", float("nan"), [1]])
def test_a_count_that_cannot_be_stored_is_null(pair: MakePair, value: Any) -> None:
    """Never 0, and the other values of its row are there."""
    call = Call("ok", input_tokens=value, output_tokens=7)
    row = filled([pair("a"), pair("b", silent=call)]).frame().row(1, named=True)
    assert row["silent_input_tokens"] is None
    assert (row["silent_output_tokens"], row["primary_input_tokens"], row["tags"]) == (7, 12, ["a"])


def test_values_of_every_field_that_cannot_be_stored_leave_the_row(pair: MakePair) -> None:
    bad: Any = object()
    call = Call(**dict.fromkeys(Call.__dataclass_fields__, bad))
    head = [name for name in Pair.__dataclass_fields__ if name not in ("pair_id", "primary", "silent")]
    frame = filled([pair("a"), pair("b", primary=call, silent=call, **dict.fromkeys(head, bad))]).frame()
    assert frame.row(1, named=True) == {**dict.fromkeys(SCHEMA.columns), "pair_id": "b"}
    assert_frame_equal(frame[:1], SCHEMA.frame([pair("a")]))


def test_a_tag_that_cannot_be_stored_is_escaped_among_the_others(pair: MakePair) -> None:
    assert filled([pair(tags=("good", "\udc00"))]).frame()["tags"].to_list() == [["good", "\\udc00"]]


texts = st.text(st.characters(), max_size=5)


@given(st.lists(st.tuples(texts, st.integers(-(2**65), 2**65)), max_size=12))
@settings(deadline=None, max_examples=50)
def test_no_row_is_lost_and_no_good_value_changed_whatever_texts_and_ints_come(
    pair: MakePair,
    rows: list[tuple[str, int]],
) -> None:
    store = filled([pair(str(n), silent=Call("ok", output=o, attempts=i)) for n, (o, i) in enumerate(rows)])
    frame = store.frame()
    assert ids(frame) == [str(number) for number in range(len(rows))]
    for (output, attempts), row in zip(rows, frame.iter_rows(named=True), strict=True):
        assert row["silent_output"] == output.encode("utf-8", "backslashreplace").decode()
        assert row["silent_attempts"] == (attempts if -(2**63) <= attempts < 2**63 else None)


def test_many_bad_pairs_among_good_ones_are_each_repaired_in_place(pair: MakePair) -> None:
    good = [pair(f"p{number}") for number in range(100)]
    mixed = [replace(one, note="\ud800") if number % 7 == 0 else one for number, one in enumerate(good)]
    expected = [replace(one, note="\\ud800") if number % 7 == 0 else one for number, one in enumerate(good)]
    assert_frame_equal(filled(mixed).frame(), SCHEMA.frame(expected))
