import csv
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mirrorkit.errors import RecordingError
from mirrorkit.records import SCHEMA
from mirrorkit.store.files import ESSENTIAL, conform, read, read_kept, write_csv, write_parquet

STARTED = datetime(2026, 11, 22, 9, 0, 1, 20, tzinfo=UTC)
DANGEROUS = ["=1+1", "+1", "-1", "@SUM(1)", "\tx", "\rx", "\nx", "＝1", "＋1", "－1", "＠1"]
DANGEROUS += [
    " =1+1",
    "  \t-1",
    "\u00a0=1",
    "\u3000＝1",
    "\u200b=1",
    "\ufeff@x",
    "\x00=1",
    "\x1b+1",
    "\u202e=1",
]


def recording(**columns: list[Any]) -> pl.DataFrame:
    """A conforming frame with these columns, as long as they are."""
    height = len(next(iter(columns.values()), [None]))
    given = {name: pl.Series(values, dtype=SCHEMA.columns.get(name)) for name, values in columns.items()}
    essential = {name: ["x"] * height for name in ESSENTIAL if name not in given}
    return conform(pl.DataFrame({**essential, **given}))


def csv_cells(path: Path, column: str) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return [row[column] for row in csv.DictReader(file)]


apostrophes = st.builds(
    "{}{}{}".format, st.sampled_from(["", "'", "''"]), st.sampled_from(DANGEROUS), st.text()
)
texts = (
    st.none()
    | st.text()
    | apostrophes
    | st.sampled_from(["", "'", '"', "null", "NaN", "[]", " ", "\r\n", "\x00"])
)
rows = st.fixed_dictionaries(
    {
        "pair_id": texts,
        "silent_output": texts,
        "note": texts,
        "lag_s": st.none() | st.floats(allow_nan=True, allow_infinity=True),
        "silent_cost_usd": st.none() | st.floats(0, 1, width=64),
        "primary_attempts": st.none() | st.integers(-(2**63), 2**63 - 1),
        "stream": st.none() | st.booleans(),
        "tags": st.none() | st.lists(texts, max_size=3),
        "started_at": st.none() | st.datetimes(timezones=st.just(UTC)),
    }
)


@pytest.mark.parametrize("write", [write_csv, lambda f, p: write_csv(f, p, neutralise=False), write_parquet])
@given(st.lists(rows, max_size=8))
@example([dict.fromkeys(SCHEMA.columns)])
@settings(deadline=None, max_examples=30)
def test_what_was_written_is_read_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, write: Callable[..., object], given_rows: list[dict[str, Any]]
) -> None:
    """Whatever the texts, numbers (nan and inf too), nulls, tags and times are."""
    suffix = "parquet" if write is write_parquet else "csv"
    path = tmp_path_factory.getbasetemp() / f"exactly.{suffix}"
    frame = pl.DataFrame(given_rows, schema=dict(SCHEMA.columns))
    write(frame, path)
    assert_frame_equal(read(path), frame, check_exact=True)


def test_a_file_of_many_long_answers_with_quotes_and_line_ends_is_read_back_exactly(tmp_path: Path) -> None:
    """Large enough for Polars to read it in several pieces."""
    answers = [f'{n}\n"quoted, {n}"\r\n\n,"",\'' * (n % 50) for n in range(20_000)]
    frame = recording(silent_output=answers, pair_id=[str(n) for n in range(len(answers))])
    write_csv(frame, tmp_path / "large.csv")
    assert_frame_equal(read(tmp_path / "large.csv"), frame)


@pytest.mark.parametrize("text", DANGEROUS + [f"'{text}" for text in DANGEROUS])
def test_a_cell_that_a_spreadsheet_would_run_gets_an_apostrophe(tmp_path: Path, text: str) -> None:
    frame = recording(silent_output=[text], note=["it's = fine"])
    write_csv(frame, tmp_path / "safe.csv")
    assert csv_cells(tmp_path / "safe.csv", "silent_output") == [f"'{text}"]
    assert csv_cells(tmp_path / "safe.csv", "note") == ["it's = fine"]


@pytest.mark.parametrize("text", DANGEROUS)
def test_neutralising_can_be_turned_off(tmp_path: Path, text: str) -> None:
    write_csv(recording(note=[text, f"'{text}"]), tmp_path / "raw.csv", neutralise=False)
    assert csv_cells(tmp_path / "raw.csv", "note") == [text, f"''{text}"]


@pytest.mark.parametrize("text", DANGEROUS)
@pytest.mark.parametrize("neutralise", [True, False])
def test_the_name_of_a_column_is_neutralised_as_a_cell_is(
    tmp_path: Path, text: str, neutralise: bool
) -> None:
    frame = recording().with_columns(pl.Series(text, ["x"]), pl.Series(f"'{text}", ["y"]))
    write_csv(frame, tmp_path / "named.csv", neutralise=neutralise)
    with (tmp_path / "named.csv").open(encoding="utf-8", newline="") as file:
        names = next(csv.reader(file))
    assert names[-2:] == [f"'{text}" if neutralise else text, f"''{text}"]
    assert_frame_equal(read(tmp_path / "named.csv"), frame)


@given(st.lists(apostrophes | st.text(min_size=1), min_size=1, max_size=4, unique=True))
@settings(deadline=None, max_examples=50)
def test_columns_of_any_name_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    # Polars reads a quote in a column's name as two
    names = [name for name in names if name not in SCHEMA.columns and '"' not in name]
    frame = recording().with_columns(pl.Series(name, ["=1"]) for name in names)
    path = tmp_path_factory.getbasetemp() / "names.csv"
    write_csv(frame, path)
    assert_frame_equal(read(path), frame)


def test_an_error_about_a_strangers_columns_steers_no_terminal(tmp_path: Path) -> None:
    frame = pl.DataFrame({"\x1b[31mred\n": [1], "\u202eback": [1], "x" * 100_000: [1]})
    frame.write_parquet(tmp_path / "theirs.parquet")
    with pytest.raises(RecordingError) as caught:
        read(tmp_path / "theirs.parquet")
    assert str(caught.value).isprintable()
    assert r"\x1b[31mred\n" in str(caught.value)
    assert len(str(caught.value)) < 1_000
    with pytest.raises(RecordingError) as caught:
        conform(recording().with_columns(lag_s=pl.lit("\x1b[31m\u202e")))
    assert str(caught.value).isprintable()


def test_every_text_column_is_neutralised_and_no_number_is(tmp_path: Path) -> None:
    names = [name for name, kind in SCHEMA.columns.items() if kind == pl.String()]
    mine = pl.Series("mine", ["=1"], dtype=pl.Categorical)
    frame = recording(**{name: ["=1"] for name in names}, lag_s=[-0.5]).with_columns(mine)
    write_csv(frame, tmp_path / "all.csv")
    assert {csv_cells(tmp_path / "all.csv", name)[0] for name in [*names, "mine"]} == {"'=1"}
    assert csv_cells(tmp_path / "all.csv", "lag_s") == ["-0.5"]


def test_a_csv_is_plain_to_other_readers(tmp_path: Path) -> None:
    frame = recording(tags=[["a", 'b"c']], started_at=[STARTED], primary_cost_usd=[0.1 + 0.2], stream=[True])
    path = tmp_path / "plain.csv"
    write_csv(frame, path)
    assert csv_cells(path, "tags") == ['["a","b\\"c"]']
    assert csv_cells(path, "started_at") == ["2026-11-22T09:00:01.000020Z"]
    assert csv_cells(path, "primary_cost_usd") == ["0.30000000000000004"]
    assert csv_cells(path, "stream") == ["true"]
    assert csv_cells(path, "note") == [""]


def test_a_csv_that_was_saved_again_by_another_program_is_read(tmp_path: Path) -> None:
    """With a byte order mark, CRLF, quotes around everything, TRUE in capitals."""
    frame = recording(tags=[["a"], None], stream=[True, None], lag_s=[0.5, None], started_at=[STARTED, None])
    write_csv(frame, tmp_path / "ours.csv")
    with (tmp_path / "ours.csv").open(encoding="utf-8", newline="") as file:
        lines = [["TRUE" if cell == "true" else cell for cell in line] for line in csv.reader(file)]
    with (tmp_path / "theirs.csv").open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows(lines)
    got = read(tmp_path / "theirs.csv").with_columns(pl.col(pl.String).replace("", None))
    assert_frame_equal(got, frame)


@pytest.mark.parametrize("suffix", ["csv", "CSV", "parquet", "Parquet"])
@pytest.mark.parametrize("kind", [str, Path], ids=["str", "path"])
def test_a_file_is_known_by_its_suffix_in_any_case(
    tmp_path: Path, suffix: str, kind: Callable[[Path], str | Path]
) -> None:
    path = kind(tmp_path / f"pairs [a*].{suffix}")
    write = write_csv if suffix.lower() == "csv" else write_parquet
    write(recording(note=["hi"]), path)
    assert_frame_equal(read(path), recording(note=["hi"]))


def test_a_path_may_start_at_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_csv(recording(), "~/pairs.csv")
    assert (tmp_path / "pairs.csv").exists()
    assert read("~/pairs.csv").height == 1


def unreadable(folder: Path) -> dict[str, tuple[str, bytes | None, str]]:
    return {
        "missing": ("gone.csv", None, "there is no file"),
        "missing parquet": ("gone.parquet", None, "there is no file"),
        "other suffix": ("pairs.xlsx", b"x", r"a \.csv or \.parquet file"),
        "no suffix": ("pairs", b"x", r"a \.csv or \.parquet file"),
        "empty csv": ("empty.csv", b"", "is empty"),
        "empty parquet": ("empty.parquet", b"", "is empty"),
        "not utf-8": ("latin.csv", b"pair_id,arm\n\xff,\xe9\n", "cannot be read as .csv"),
        "no parquet": ("no.parquet", b"PK" * 20, "cannot be read as .parquet"),
        "other csv": (
            "other.csv",
            b"a,arm\n1,2\n",
            "lacks the columns pair_id, primary_status, .* it has a, arm",
        ),
        "blank csv": ("blank.csv", b"\n\n", "blank.csv"),
    }


@pytest.mark.parametrize("case", unreadable(Path()).keys())
def test_what_is_no_recording_is_refused_by_name(tmp_path: Path, case: str) -> None:
    name, content, message = unreadable(tmp_path)[case]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(RecordingError, match=message) as caught:
        read(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_a_folder_and_a_parquet_of_something_else_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(RecordingError, match="is a folder"):
        read(tmp_path / "folder.csv")
    pl.DataFrame({f"c{n}": [n] for n in range(12)}).write_parquet(tmp_path / "other.parquet")
    with pytest.raises(RecordingError, match=r"lacks the columns .* it has c0, .*, c9 and 2 more"):
        read(tmp_path / "other.parquet")


def test_a_truncated_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.parquet"
    write_parquet(recording(note=["hi"]), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(RecordingError, match="cannot be read"):
        read(path)


@pytest.mark.parametrize(
    ("version", "message"), [(str(SCHEMA.version + 1), "upgrade mirrorkit"), ("new", "no number")]
)
def test_a_recording_of_a_newer_schema_is_refused(tmp_path: Path, version: str, message: str) -> None:
    path = tmp_path / "newer.parquet"
    recording().write_parquet(path, metadata={"mirrorkit.schema_version": version})
    with pytest.raises(RecordingError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_parquet_says_its_schema_version(tmp_path: Path) -> None:
    write_parquet(recording(), tmp_path / "pairs.parquet")
    metadata = pl.read_parquet_metadata(tmp_path / "pairs.parquet")
    assert metadata["mirrorkit.schema_version"] == str(SCHEMA.version)


def test_an_older_recording_with_fewer_columns_and_others_of_its_own_loads(tmp_path: Path) -> None:
    old = recording(note=["hi"], primary_attempts=[3]).drop("silent_cost_usd", "tags", "trace_id")
    mine = pl.Series("mine", [[1, 2]])
    old = old.with_columns(pl.col("primary_attempts").cast(pl.Int32)).insert_column(0, mine)
    old.write_parquet(tmp_path / "old.parquet")
    expected = recording(note=["hi"], primary_attempts=[3]).with_columns(mine)
    assert_frame_equal(read(tmp_path / "old.parquet"), expected)


def test_columns_of_the_users_own_survive_in_parquet_and_as_text_in_csv(tmp_path: Path) -> None:
    frame = recording().with_columns(score=pl.lit(-0.5), parts=pl.Series([[1, 2]]), said=pl.lit("=1"))
    write_parquet(frame, tmp_path / "mine.parquet")
    write_csv(frame, tmp_path / "mine.csv")
    assert_frame_equal(read(tmp_path / "mine.parquet"), frame)
    assert read(tmp_path / "mine.csv").select("score", "parts", "said").row(0) == ("-0.5", "[1,2]", "=1")


# -- what is kept with a recording

# UTF-8 holds no lone surrogates
utf8 = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.dictionaries(utf8.filter(lambda name: name != "schema_version"), utf8, max_size=4))
@example({"plan": '{"gates": ["latency"]}', "complete_before": "2026-11-22T09:00:01.000020+00:00"})
@example({"": "", "größe €": "😀\x00\n" * 1000, "mirrorkit.schema_version": "9"})
@settings(deadline=None, max_examples=40)
def test_what_was_kept_with_a_parquet_is_given_back_exactly_and_changes_no_row(
    tmp_path_factory: pytest.TempPathFactory, kept: dict[str, str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "kept.parquet"
    write_parquet(recording(note=["hi"]), path, kept=kept)
    assert read_kept(path) == kept
    assert_frame_equal(read(path), recording(note=["hi"]))
    assert pl.read_parquet_metadata(path)["mirrorkit.schema_version"] == str(SCHEMA.version)


def test_nothing_is_kept_with_a_csv_or_by_another_program(tmp_path: Path) -> None:
    write_csv(recording(), tmp_path / "pairs.CSV")
    write_parquet(recording(), tmp_path / "ours.parquet")
    recording().write_parquet(tmp_path / "theirs.parquet", metadata={"plan": "theirs"})
    assert [read_kept(tmp_path / name) for name in ("pairs.CSV", "ours.parquet", "theirs.parquet")] == [
        {}
    ] * 3


def test_what_a_later_version_kept_is_given_back_as_it_is(tmp_path: Path) -> None:
    later = {"mirrorkit.schema_version": "99", "mirrorkit.labels": "[1]", "mirrorkit.plan": "no JSON"}
    recording().write_parquet(tmp_path / "later.parquet", metadata=later)
    assert read_kept(tmp_path / "later.parquet") == {"labels": "[1]", "plan": "no JSON"}


@pytest.mark.parametrize(
    "case", ["missing", "missing parquet", "other suffix", "empty parquet", "no parquet"]
)
def test_nothing_can_be_kept_with_what_is_no_recording(tmp_path: Path, case: str) -> None:
    name, content, message = unreadable(tmp_path)[case]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(RecordingError, match=message):
        read_kept(tmp_path / name)


@pytest.mark.parametrize(
    ("kept", "message"),
    [({"schema_version": "7"}, 'nothing can be kept as "schema_version"'), ({"plan": "\ud800"}, "written")],
)
def test_what_cannot_be_kept_is_refused_and_the_file_stays(
    tmp_path: Path, kept: dict[str, str], message: str
) -> None:
    path = tmp_path / "pairs.parquet"
    write_parquet(recording(), path, kept={"plan": "old"})
    with pytest.raises(RecordingError, match=message):
        write_parquet(recording(), path, kept=kept)
    assert read_kept(path) == {"plan": "old"}


# -- conform


def test_a_frame_that_conforms_is_not_touched() -> None:
    frame = recording(note=["hi"])
    assert conform(frame) is frame


def test_columns_are_put_in_the_order_of_the_schema_and_others_after_them() -> None:
    frame = recording(note=["hi"]).with_columns(mine=1)
    shuffled = frame.select(reversed(frame.columns))
    assert_frame_equal(conform(shuffled), frame)


@pytest.mark.parametrize("column", ESSENTIAL)
def test_a_frame_without_an_essential_column_is_no_recording(column: str) -> None:
    with pytest.raises(RecordingError, match=rf"the frame is no recording: it lacks the column {column};"):
        conform(recording().drop(column))


def test_columns_that_are_missing_are_null_also_when_there_are_no_rows() -> None:
    assert conform(pl.DataFrame(schema=dict.fromkeys(ESSENTIAL, pl.String))).schema == pl.Schema(
        SCHEMA.columns
    )
    frame = conform(pl.DataFrame({name: ["x", "y"] for name in ESSENTIAL}))
    assert frame.schema == pl.Schema(SCHEMA.columns)
    assert frame.drop(ESSENTIAL).null_count().row(0) == (2,) * (frame.width - len(ESSENTIAL))


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("started_at", pl.Series([STARTED.replace(tzinfo=None)]), STARTED),
        (
            "started_at",
            pl.Series([STARTED]).dt.convert_time_zone("Asia/Tokyo").dt.cast_time_unit("ns"),
            STARTED,
        ),
        ("started_at", pl.Series([STARTED.astimezone(timezone(timedelta(hours=2))).isoformat()]), STARTED),
        ("started_at", pl.Series(["2026-11-22 09:00:01.000020"]), STARTED),
        ("lag_s", pl.Series([1]), 1.0),
        ("primary_attempts", pl.Series([2.0]), 2),
        ("primary_attempts", pl.Series(["2"]), 2),
        ("primary_attempts", pl.Series([""]), None),
        ("stream", pl.Series(["FALSE"]), False),
        ("tags", pl.Series(['["a", null]']), ["a", None]),
        ("tags", pl.Series([""]), None),
        ("tags", pl.Series([None]), None),
        ("pair_id", pl.Series([7]), "7"),
        ("note", pl.Series(["x"], dtype=pl.Categorical), "x"),
        ("note", pl.Series([" "]), " "),
    ],
)
def test_a_column_of_another_type_is_cast(column: str, values: pl.Series, expected: Any) -> None:
    frame = conform(recording().with_columns(values.alias(column)))
    assert frame.schema == pl.Schema(SCHEMA.columns)
    assert frame[column].to_list() == [expected]


@pytest.mark.parametrize(
    ("column", "values", "types"),
    [
        ("lag_s", pl.Series(["soon"]), "String and cannot be made Float64"),
        ("primary_attempts", pl.Series([1.5]), "Float64 and cannot be made Int64: not all .* whole"),
        ("primary_attempts", pl.Series([2**63], dtype=pl.UInt64), "UInt64 and cannot be made Int64"),
        ("stream", pl.Series(["yes"]), "String and cannot be made Boolean"),
        (
            "started_at",
            pl.Series([1_795_337_201]),
            "Int64 and cannot be made Datetime.*: a number does not say",
        ),
        ("started_at", pl.Series(["soon"]), "String and cannot be made Datetime"),
        ("tags", pl.Series(["a, b"]), "String and cannot be made List"),
        ("tags", pl.Series(['["a"],["b"]']), "String and cannot be made List.*: a cell is not one JSON list"),
        ("messages", pl.Series([["a"]]), r"List\(String\) and cannot be made String"),
    ],
)
def test_a_value_that_does_not_fit_its_column_is_refused_by_name(
    column: str, values: pl.Series, types: str
) -> None:
    with pytest.raises(RecordingError, match=rf"column '{column}' of the frame is {types}"):
        conform(recording().with_columns(values.alias(column)))


@pytest.mark.parametrize("thing", [None, "pairs.csv", {"pair_id": [1]}, pl.LazyFrame()])
def test_what_is_no_frame_is_refused(thing: Any) -> None:
    with pytest.raises(RecordingError, match=r"a recording is a polars\.DataFrame, not "):
        conform(thing)


# -- atomic writing


writers = pytest.mark.parametrize(("write", "name"), [(write_csv, "a.csv"), (write_parquet, "a.parquet")])


@writers
def test_a_failed_write_leaves_the_existing_file_and_nothing_else(
    tmp_path: Path, write: Callable[..., object], name: str
) -> None:
    write(recording(note=["old"]), tmp_path / name)
    unwritable = recording(note=["new"]).with_columns(pl.Series("mine", [object()], dtype=pl.Object))
    with pytest.raises(RecordingError, match="could not be written"):
        write(unwritable, tmp_path / name)
    assert read(tmp_path / name)["note"].to_list() == ["old"]
    assert os.listdir(tmp_path) == [name]


@writers
def test_an_existing_file_is_replaced(tmp_path: Path, write: Callable[..., object], name: str) -> None:
    write(recording(note=["old"] * 50), tmp_path / name)
    write(recording(note=["new"]), tmp_path / name)
    assert read(tmp_path / name)["note"].to_list() == ["new"]
    assert os.listdir(tmp_path) == [name]


@writers
def test_what_is_no_recording_is_not_written(tmp_path: Path, write: Callable[..., object], name: str) -> None:
    with pytest.raises(RecordingError, match="is no recording"):
        write(pl.DataFrame({"a": [1]}), tmp_path / name)
    assert os.listdir(tmp_path) == []


@writers
def test_a_folder_that_is_missing_is_named_and_not_made(
    tmp_path: Path, write: Callable[..., object], name: str
) -> None:
    with pytest.raises(RecordingError, match=f"there is no folder '{tmp_path / 'gone'}'"):
        write(recording(), tmp_path / "gone" / name)
    with pytest.raises(RecordingError, match="is a folder"):
        write(recording(), tmp_path)
    assert os.listdir(tmp_path) == []


@writers
def test_a_new_file_has_the_usual_permissions_and_a_link_stays_a_link(
    tmp_path: Path, write: Callable[..., object], name: str
) -> None:
    (tmp_path / "plain").touch()
    (tmp_path / "link").symlink_to(tmp_path / name)
    write(recording(note=["hi"]), tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert stat.filemode((tmp_path / name).stat().st_mode) == stat.filemode(
        (tmp_path / "plain").stat().st_mode
    )
    assert read(tmp_path / name)["note"].to_list() == ["hi"]
