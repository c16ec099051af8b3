"""A comparison of a lazy frame tells what that of the same frame in memory does, and holds no texts."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mirrorkit.compare.answers.rules import make_rules
from mirrorkit.compare.gathered import ROWS, TEXTS, batches, gathered
from mirrorkit.compare.measured import Kept
from mirrorkit.compare.metrics import Metric
from mirrorkit.compare.plan import Plan
from mirrorkit.comparison import Comparison, compare, look
from mirrorkit.errors import CompareError, RecordingError
from mirrorkit.records import SCHEMA

OWN: dict[str, Any] = {
    "brief": pl.col("silent_output").str.len_chars() < 9,
    "late": pl.col("lag_s") < 0.2,
    "alike": Metric(pl.col("similarity"), bounds=None),
    "polite": lambda pair: "please" in pair["silent_output"],
    "all": pl.any_horizontal(pl.selectors.string().str.contains("please")).fill_null(False),
}
"""User metrics that need long texts, or none, or what is worked out of them, or who knows what."""


def told(seen: Comparison) -> dict[str, Any]:
    return {
        "table": seen.table.rows(),
        "gates": seen.gates.rows(),
        "verdict": seen.verdict,
        "findings": seen.findings,
        "fields": seen.fields.rows(),
        "warnings": seen.warnings,
        "text": str(seen),
    }


def filtered(frame: pl.DataFrame, path: Path) -> pl.LazyFrame:
    frame.write_parquet(path, row_group_size=4_000)
    return pl.scan_parquet(path).filter(pl.col("arm").is_not_null())


def scanned(frame: pl.DataFrame, path: Path) -> pl.LazyFrame:
    frame.write_parquet(path, row_group_size=4_000)
    return pl.scan_parquet(path)


def of_two_files(frame: pl.DataFrame, path: Path) -> pl.LazyFrame:
    paths = [path.with_name(name) for name in ("1.parquet", "2.parquet")]
    for part, each in zip((frame[:1], frame[1:]), paths, strict=True):
        part.write_parquet(each)
    return pl.scan_parquet(paths)


def of_a_part_in_memory(frame: pl.DataFrame, path: Path) -> pl.LazyFrame:
    return pl.concat([scanned(frame[:1], path), frame[1:].lazy()])


Lazily = Callable[[pl.DataFrame, Path], pl.LazyFrame]

WAYS: dict[str, Lazily] = {
    "in memory": lambda frame, path: frame.lazy(),
    "scanned": scanned,
    "filtered": filtered,
    "two files": of_two_files,
    "a part in memory": of_a_part_in_memory,
}


@pytest.fixture
def lazily(tmp_path: Path) -> Callable[[pl.DataFrame], pl.LazyFrame]:
    """A frame as a lazy one."""
    return lambda frame: scanned(frame, tmp_path / "pairs.parquet")


@pytest.fixture
def mixed(recorded) -> Callable[[int], pl.DataFrame]:
    """Two silent models and control, on prose, JSON and tool calls, some failed, some labelled, one twice."""

    def make(count: int) -> pl.DataFrame:
        answers = ["yes, please", '{"a": 1, "b": [2]}', '{"a": 2}', None, "no"]
        call = json.dumps([{"function": {"name": "f", "arguments": '{"x": 1}'}}])
        frame = recorded(
            count,
            arm=[("a", "control", "b")[at % 3] for at in range(count)],
            request_id=[f"r{at // 3}" for at in range(count)],
            cluster=[f"c{at // 9}" if at % 2 else None for at in range(count)],
            status=("ok", ["error" if at % 11 == 0 else "ok" for at in range(count)]),
            latency_s=([1 + at % 7 / 7 for at in range(count)], [0.5 + at % 5 / 9 for at in range(count)]),
            cost_usd=(0.002, [0.001 + at % 4 / 1e4 for at in range(count)]),
            output=(
                [answers[at % 5] for at in range(count)],
                [answers[at * at % 7 % 5] for at in range(count)],
            ),
            tool_calls=(call, [call if at % 4 else None for at in range(count)]),
            params=[
                '{"response_format": {"type": "json_object"}}' if at % 2 else None for at in range(count)
            ],
            preference=["silent" if at % 8 == 0 else None for at in range(count)],
            judge_preference=["tie" if at % 6 == 0 else None for at in range(count)],
            judge_reason="much the same",
            note="read twice",
            lag_s=[at % 3 / 10 for at in range(count)],
            mine=[at % 2 for at in range(count)],
        )
        return pl.concat([frame, frame[:1].with_columns(preference=pl.lit("tie"))])

    return make


@pytest.mark.parametrize(
    "asked",
    [
        {},
        pytest.param({"outputs": False}, marks=pytest.mark.slow),
        {"metrics": OWN, "gates": {"brief": 0.5, "latency": 1.1}},
        {"metrics": OWN, "outputs": False},
        {"ignore": ["$.b"], "clean": str.upper, "tolerance": 0.6, "slo_s": 1.2, "alpha": 0.1},
    ],
    ids=["as it comes", "without outputs", "own metrics", "own metrics alone", "rules"],
)
def test_what_is_told_does_not_depend_on_where_the_texts_are(mixed, lazily, asked: dict[str, Any]) -> None:
    frame = mixed(400)
    seen = compare(lazily(frame), **asked)
    assert told(seen) == told(compare(frame, **asked))
    assert not {*TEXTS} & {*seen.frame.columns}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_nor_on_how_they_are_read(mixed, way: Lazily, tmp_path: Path) -> None:
    frame = mixed(60)
    assert told(compare(way(frame, tmp_path / "x.parquet"), metrics=OWN)) == told(compare(frame, metrics=OWN))


@pytest.mark.slow
def test_nor_on_how_many_there_are(mixed, lazily) -> None:
    frame = mixed(ROWS + 500)
    asked: dict[str, Any] = {"metrics": OWN, "progress": False}
    seen, same = compare(lazily(frame), **asked), compare(frame, **asked)
    assert told(seen) == told(same)
    assert_frame_equal(seen.frame, same.frame.drop(TEXTS))


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_texts_are_read_in_order_and_in_parts(recorded, way: Lazily, tmp_path: Path) -> None:
    frame = recorded(2 * ROWS + 10, messages="x")
    lazy = way(frame, tmp_path / "x.parquet")
    ids = [each["pair_id"] for each in batches(gathered(lazy), lazy, ["messages"], 7)]
    assert max(map(len, ids)) <= ROWS
    assert pl.concat(ids).to_list() == frame["pair_id"][7:].to_list()


TEXT = st.none() | st.text(max_size=6) | st.sampled_from(['{"a": 1}', '{"a": [1, {"b": 2}]}', "Sorry, no."])
PAIR = st.fixed_dictionaries(
    {
        "pair_id": st.sampled_from([f"p{at}" for at in range(12)]),
        "arm": st.sampled_from(["a", "b", "control"]),
        "request_id": st.sampled_from(["r1", "r2", "r3"]),
        **{
            f"{side}_{name}": values
            for side in ("primary", "silent")
            for name, values in (
                ("status", st.sampled_from(["ok", "ok", "ok", "error", "cancelled", None])),
                ("latency_s", st.none() | st.floats(0.01, 9)),
                ("cost_usd", st.none() | st.floats(0, 1)),
                ("output", TEXT),
                ("tool_calls", TEXT),
            )
        },
        "preference": st.sampled_from([None, "primary", "tie"]),
        "note": TEXT,
    }
)


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PAIR, min_size=1, max_size=10))
def test_any_pairs_tell_the_same_lazily(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    schema = {name: SCHEMA.columns[name] for name in rows[0]}
    frame = pl.DataFrame(rows, schema=schema)
    same = compare(frame)
    assert told(compare(frame.lazy())) == told(same)
    assert told(compare(scanned(frame, tmp_path / "pairs.parquet"))) == told(same)


def test_the_examples_come_with_their_texts(mixed, lazily) -> None:
    frame = mixed(200)
    seen, same = compare(lazily(frame)), compare(frame)
    for metric in ("latency", "similarity", "preference", "errors"):
        assert_frame_equal(seen.examples(metric, 5), same.examples(metric, 5))
    assert seen.examples("similarity", 5)["primary_tool_calls"].null_count() == 0


def test_slices_are_those_of_the_frame_in_memory(mixed, lazily) -> None:
    frame = mixed(30)
    seen, same = compare(lazily(frame)), compare(frame)
    for part in ("mine", "arm", pl.col("cluster").is_null()):
        assert_frame_equal(seen.by(part), same.by(part))


def test_a_slice_by_a_long_text_says_what_to_do_and_that_works(mixed, lazily) -> None:
    lazy, brief = lazily(mixed(60)), pl.col("params").is_null()
    with pytest.raises(CompareError, match=r"by: 'params' is a long text, .*with_columns\(part=\.\.\.\)"):
        compare(lazy).by(brief)
    seen = compare(lazy.with_columns(part=brief)).by("part")
    assert_frame_equal(seen, compare(mixed(60).with_columns(part=brief)).by("part"))


def test_figures_are_those_of_the_frame_in_memory(mixed, lazily) -> None:
    frame = mixed(200)
    seen, same = compare(lazily(frame)), compare(frame)
    for view in ("plot", "latency", "cost", "outputs"):
        assert getattr(seen, view)().to_json() == getattr(same, view)().to_json()


@pytest.mark.slow
def test_a_report_is_that_of_the_frame_in_memory(mixed, lazily, tmp_path: Path) -> None:
    frame = mixed(200)
    shown = []
    for each in (lazily(frame), frame):
        compare(each).to_html(tmp_path / "report.html")
        page = (tmp_path / "report.html").read_text()
        shown.append(re.findall(r'<details class="example">.*?</details>|<td>.*?</td>', page, re.DOTALL))
    assert shown[0] == shown[1]
    assert "yes, please" in "".join(shown[0])


def test_the_examples_of_one_silent_model_are_asked_for_by_its_name(mixed, lazily) -> None:
    seen = compare(lazily(mixed(200)))
    of_all = seen.examples("latency", 500).filter(arm="b")
    assert_frame_equal(seen.examples("latency", 5, arm="b"), of_all.head(5))
    assert seen.examples("latency", 5, arm="control")["arm"].unique().to_list() == ["control"]
    with pytest.raises(CompareError, match="no arm 'c'; there are a, b, control"):
        seen.examples("latency", arm="c")


class Counting:
    """A `clean` that counts the texts it was given."""

    def __init__(self) -> None:
        self.texts = 0

    def __call__(self, text: str) -> str:
        self.texts += 1
        return text


def test_a_later_look_reads_the_answers_of_the_new_pairs_alone(recorded, lazily) -> None:
    frame = recorded(9, output=([f"answer {at}" for at in range(9)], "other"))
    clean, kept = Counting(), Kept()
    plan = Plan().with_changes(clean=clean)
    for height, texts in ((4, 8), (4, 8), (9, 18), (9, 18)):
        seen = look(lazily(frame[:height]), plan, kept=kept)
        assert clean.texts == texts
        assert seen.table.filter(metric="similarity")["n"].to_list() == [height]
    # what was in memory before need not be read again
    assert kept.missing(frame.select("pair_id"), plan.rules) == 0
    look(frame, plan, kept=kept)
    assert clean.texts == 18


def test_a_record_that_has_grown_in_its_middle_since_is_told_as_it_was(recorded) -> None:
    frame = recorded(9, output=([f"answer {at}" for at in range(9)], "answer 3"))
    before, now = frame[::2], frame.lazy()
    slim = gathered(before.lazy())
    found = Kept().of(slim, make_rules(), lazy=now)
    assert_frame_equal(found, Kept().of(before, make_rules()))


def test_a_lazy_frame_that_is_no_recording_is_refused() -> None:
    with pytest.raises(RecordingError, match="no recording"):
        compare(pl.LazyFrame({"prompt": ["hi"]}))


def test_an_empty_lazy_frame_says_what_to_do() -> None:
    with pytest.raises(CompareError, match="no pairs to compare"):
        compare(SCHEMA.frame().lazy())


@pytest.mark.parametrize("lazily", [scanned, filtered], ids=["scanned", "filtered"])
def test_a_file_that_has_vanished_is_an_error_that_says_so(recorded, tmp_path: Path, lazily: Lazily) -> None:
    path = tmp_path / "pairs.parquet"
    lazy = lazily(recorded(3, output="x"), path)
    seen = compare(lazy)
    lazy.collect_schema()
    path.unlink()
    with pytest.raises(RecordingError, match=r"cannot be read: .*pairs\.parquet"):
        compare(lazy)
    with pytest.raises(RecordingError, match=r"cannot be read: .*pairs\.parquet"):
        seen.examples("latency")
    assert seen.by("arm").height == seen.table.height


def test_a_value_that_does_not_fit_is_an_error_that_says_so() -> None:
    pairs = {"pair_id": ["p"], "arm": ["a"], "primary_status": ["ok"], "silent_status": ["ok"]}
    with pytest.raises(RecordingError, match="primary_latency_s"):
        compare(pl.LazyFrame({**pairs, "primary_latency_s": ["soon"]}))
