"""Recordings from strangers: whatever is in them, they are read, or a MirrorError says why not."""

import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from polars.testing import parametric

from mirrorkit.errors import MirrorError
from mirrorkit.recording import Recording, load, scan
from mirrorkit.records import SCHEMA, Call, Pair
from mirrorkit.store import folder, lines
from mirrorkit.store.files import ESSENTIAL
from mirrorkit.store.frame import FrameStore
from mirrorkit.store.journal import Journal

pytestmark = pytest.mark.slow

Make = Callable[..., Pair]
KINDS = ("parquet", "csv", "jsonl", "notes", "lock", "begun", "ended", "unknown")
bounded = settings(
    max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


@pytest.fixture(autouse=True)
def _said_or_not() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read_all(place: Path) -> None:
    """Read it in every way; it may be refused."""
    for read in (load, lambda path: scan(path).collect_schema()):
        try:
            read(place)
        except MirrorError:
            continue
    if place.is_dir():
        with suppress(MirrorError), Journal(place) as journal:
            FrameStore(journal=journal).frame()
            journal.cost_usd()


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, make: Make) -> dict[str, bytes]:
    """A good file of each kind."""
    place = tmp_path_factory.mktemp("whole")
    store = FrameStore(journal=Journal(place))
    for number in range(3):
        store.begun(replace(make(number), silent=Call("unknown")))
        store.append(make(number, tags=("a", "b"), cluster="c"))
    store.begun(replace(make(9), silent=Call("unknown")))
    store.label("p1", "tie", "a note")
    store.looked('[{"pairs": 3, "words": "w", "given": {"gates": {"cost": 1.0}}}]')
    copied = place.with_name("copied")
    shutil.copytree(place, copied)
    found = {file.suffix[1:]: file.read_bytes() for file in copied.iterdir()}
    store.journal.close()
    Journal(copied).close()
    found["unknown"] = next(copied.glob("*-unknown.parquet")).read_bytes()
    found["parquet"] = next(file for file in place.glob("*.parquet")).read_bytes()
    found["lock"] = b'{"complete_before":"2026-11-22T09:00:00.000000+00:00","number":"000001"}\n'
    found["ended"] = b""
    load(place).to_csv(place / "pairs.csv")
    found["csv"] = (place / "pairs.csv").read_bytes()
    return found


def damaged(data: st.DataObject, text: bytes) -> bytes:
    """The text with pieces of it replaced, left out or doubled."""
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 40)))
        text = (
            text[:start]
            + data.draw(st.one_of(st.binary(max_size=8), st.just(text[start:end] * 2)))
            + text[end:]
        )
    return text


def put(place: Path, kind: str, text: bytes, rest: dict[str, bytes]) -> Path:
    """A journal with this file among good ones, or where it is of no journal's kind that file alone."""
    if kind == "csv":
        file = place / "pairs.csv"
        file.write_bytes(text)
        return file
    writer = folder.new_writer()
    for each, content in {**rest, kind: text}.items():
        names = {"parquet": "-000001.parquet", "jsonl": "-000002.jsonl", "begun": "-000001.begun"}
        name = names.get(each, "-unknown.parquet" if each == "unknown" else f".{each}")
        if each != "csv":
            (place / f"{writer}{name}").write_bytes(content)
    return place


@bounded
@given(st.data(), st.sampled_from(KINDS), st.booleans())
def test_a_file_of_any_kind_may_hold_any_bytes(
    tmp_path_factory: pytest.TempPathFactory,
    whole: dict[str, bytes],
    data: st.DataObject,
    kind: str,
    random: bool,
) -> None:
    place = tmp_path_factory.mktemp("strange")
    text = data.draw(st.binary(max_size=200)) if random else damaged(data, whole[kind])
    found = put(place, kind, text, whole)
    read_all(found)
    if kind == "parquet":
        file = place / "alone.parquet"
        file.write_bytes(text)
        read_all(file)
    shutil.rmtree(place)


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
names = st.one_of(
    st.sampled_from(list(SCHEMA.columns)), st.sampled_from([lines.VERSION, lines.BEFORE]), st.text(max_size=5)
)


@bounded
@given(
    st.lists(st.dictionaries(names, values, max_size=8), max_size=4),
    st.sampled_from(["jsonl", "begun", "notes"]),
)
@example(
    [
        {
            "at": "9999-12-31T23:59:59-23:59",
            "pair_id": "p",
            "values": {"labelled_at": "0001-01-01T00:00+23:00"},
        }
    ],
    "notes",
)
@example([{"schema_version": "7", "pair_id": None}], "jsonl")
@example([{"schema_version": 10**30, "pair_id": 7}], "jsonl")
@example([{"complete_before": "0001-01-01T00:00+23:00", "pair_id": "p"}], "jsonl")
def test_a_line_may_say_anything(
    tmp_path_factory: pytest.TempPathFactory, told: list[dict[str, Any]], kind: str
) -> None:
    import json

    place = tmp_path_factory.mktemp("strange")
    text = b"".join(json.dumps(each).encode("utf-8", "replace") + b"\n" for each in told)
    put(place, kind, text, {"lock": b""})
    read_all(place)
    shutil.rmtree(place)


@bounded
@given(st.data())
def test_a_frame_may_have_columns_of_any_type(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    others = data.draw(st.lists(st.sampled_from([*SCHEMA.columns, "mine", ""]), max_size=4))
    columns = [parametric.column(name) for name in dict.fromkeys([*ESSENTIAL, *others])]
    frame = data.draw(parametric.dataframes(columns, max_size=4))
    with suppress(MirrorError):
        Recording(frame)
    place = tmp_path_factory.mktemp("strange")
    try:
        frame.write_parquet(place / "pairs.parquet")
    except BaseException:  # what cannot be written cannot be received
        return
    read_all(place / "pairs.parquet")
    writer = folder.new_writer()
    (place / "pairs.parquet").rename(place / f"{writer}-000001.parquet")
    read_all(place)
    shutil.rmtree(place)


@pytest.mark.parametrize(
    "kept",
    [
        {"plan": "{"},
        {"plan": '[{"pairs": 1e999, "words": 1, "given": {"gates": []}}]'},
        {"plan": '[{"pairs": 3, "words": "w", "given": {"gates": {"nope": "x"}}}]'},
        {"plan": "[" * 100_000},
        {"complete_before": "soon"},
        {"complete_before": "0001-01-01T00:00:00+23:59"},
        {"schema_version": "1" * 6_000},
        {"schema_version": "²"},
    ],
)
def test_what_is_kept_with_a_frame_may_be_anything(tmp_path: Path, kept: dict[str, str], make: Make) -> None:
    metadata = {f"mirrorkit.{name}": text for name, text in kept.items()}
    SCHEMA.frame([make(1)]).write_parquet(tmp_path / "pairs.parquet", metadata=metadata)
    read_all(tmp_path / "pairs.parquet")
    (tmp_path / "pairs.parquet").rename(tmp_path / f"{folder.new_writer()}-000001.parquet")
    read_all(tmp_path)


def test_a_folder_where_a_file_is_expected_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pairs.parquet").mkdir()
    read_all(tmp_path / "pairs.parquet")
    for kind in ("parquet", "jsonl", "notes", "lock", "begun"):
        place = tmp_path / kind
        (place / f"{folder.new_writer()}-000001.{kind}").mkdir(parents=True)
        read_all(place)
