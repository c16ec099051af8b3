"""Which fields differ, and more than the primary from itself: shares, intervals and readings."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest

from mirrorkit.compare.answers.differences import CHANGES
from mirrorkit.compare.answers.fields import FIELDS, MOST_PATHS, fields
from mirrorkit.compare.statistics.betting import bounds

Change = tuple[str, str]
Row = tuple[str, str | None, Sequence[Change] | None]


def told(rows: Sequence[Row], alpha: float = 0.05, turns: int | None = None) -> pl.DataFrame:
    """The fields of pairs, each (arm, request, its changes), in conversations of so many `turns`."""
    conversations = [
        None if not turns or request is None else str(int(request) // turns) for _, request, _ in rows
    ]
    frame = pl.DataFrame(
        [(arm, request) for arm, request, _ in rows],
        schema={"arm": pl.String, "request_id": pl.String},
        orient="row",
    ).with_columns(pl.Series("cluster", conversations, dtype=pl.String))
    changes = [c if c is None else [{"path": p, "change": k} for p, k in c] for *_, c in rows]
    paths = [None if c is None else [path for path, _ in c] for *_, c in rows]
    is_call = [None if p is None else any(path.startswith("tool_calls") for path in p) for p in paths]
    found = pl.DataFrame({"changes": pl.Series(changes, dtype=CHANGES)}).with_columns(
        json_equal=pl.Series([None if c is None or c else True for c in is_call], dtype=pl.Boolean),
        tool_names_equal=pl.Series([True if c else None for c in is_call], dtype=pl.Boolean),
    )
    return fields(frame, found, alpha)


def arm(name: str, n: int, changes: Sequence[Change] = (), start: int = 0) -> list[Row]:
    return [(name, str(at), changes) for at in range(start, start + n)]


def test_a_field_that_is_missing_is_found_and_one_that_always_differs_is_noise() -> None:
    rows = arm("mini", 200, [("$.summary", "removed"), ("$.id", "value")])
    rows += arm("control", 100, [("$.id", "value")])
    table = told(rows)
    assert table["path"].to_list() == ["$.summary", "$.id"]
    assert table["reading"].to_list() == ["differs", "noise"]
    missing, noise = table.iter_rows(named=True)
    assert (missing["n"], missing["differs"], missing["removed"], missing["value"]) == (200, 1, 1, 0)
    assert (missing["n_control"], missing["control"], missing["net"]) == (100, 0, 1)
    assert missing["low"] > 0.5
    assert missing["high"] == 1
    assert (noise["control"], noise["net"]) == (1, 0)
    assert noise["low"] < 0 < noise["high"]


def test_the_interval_is_by_betting_at_alpha_over_the_paths_of_the_arm() -> None:
    rows = arm("mini", 30, [("$.a", "value")]) + arm("mini", 70, [("$.b", "value")], start=30)
    rows += arm("control", 20) + arm("control", 20, [("$.a", "value")], start=20) + arm("control", 60, (), 40)
    table = told(rows, alpha=0.1)
    [row] = table.filter(pl.col("path") == "$.a").iter_rows(named=True)
    # of 100 requests 20 differ in the silent pair alone, 10 in both, 10 in the control alone
    low, high = bounds(np.array([0.0, 0.5, 1.0]), 0.05, np.array([10, 70, 20]))
    assert (row["control"], row["net"]) == (pytest.approx(0.2), pytest.approx(0.1))
    assert (row["low"], row["high"]) == (pytest.approx(2 * low - 1), pytest.approx(2 * high - 1))


def test_conversations_count_as_one_each_whatever_their_turns() -> None:
    rows = arm("mini", 400) + arm("mini", 40, [("$.a", "value")], start=400) + arm("control", 440)
    alone, of_one, of_ten = (told(rows, turns=turns).row(0, named=True) for turns in (None, 1, 10))
    assert of_one == alone
    assert of_ten["net"] == alone["net"]
    # ten turns that differ together are one event, not ten
    assert alone["reading"] == "differs"
    assert of_ten["reading"] == "open"
    assert of_ten["low"] < 0 < alone["low"]


def test_a_few_conversations_tell_as_much_as_so_many_events() -> None:
    rows = arm("mini", 200, [("$.a", "value")]) + arm("control", 200)
    [row] = told(rows, turns=10).iter_rows(named=True)
    low, high = bounds(np.ones(20), 0.05)
    assert (row["n_control"], row["net"], row["high"], row["reading"]) == (200, 1, 1, "differs")
    assert row["low"] == pytest.approx(2 * low - 1)
    assert high == 1


def test_without_control_a_field_stays_open() -> None:
    [row] = told(arm("mini", 500, [("$.a", "added")])).iter_rows(named=True)
    assert (row["differs"], row["added"], row["n_control"], row["reading"]) == (1, 1, 0, "open")
    assert all(row[name] is None for name in ("control", "net", "low", "high"))


def test_control_of_other_requests_counts_for_nothing() -> None:
    rows = arm("mini", 50, [("$.a", "value")]) + arm("control", 50, start=100)
    assert told(rows)["n_control"].to_list() == [0]
    rows = [("mini", None, [("$.a", "value")]), ("control", None, ())]
    assert told(rows)["n_control"].to_list() == [0]


def test_places_in_a_list_are_one_path_and_count_once_a_pair() -> None:
    rows = arm("mini", 4, [("$.items[0].p", "value"), ("$.items[12].p", "value"), ("$.items[3].p", "type")])
    [row] = told(rows + arm("mini", 4, start=4)).iter_rows(named=True)
    assert (row["path"], row["differs"], row["value"], row["type"]) == ("$.items[*].p", 0.5, 0.5, 0.5)


def test_pairs_that_were_not_compared_are_left_out() -> None:
    rows = [
        *arm("mini", 2, [("$.a", "value")]),
        ("mini", "2", ()),
        ("mini", "3", None),
        ("control", "0", None),
    ]
    [row] = told(rows).iter_rows(named=True)
    assert (row["n"], row["differs"], row["n_control"]) == (3, pytest.approx(2 / 3), 0)


def test_each_arm_has_its_own_rows_and_control_has_none() -> None:
    rows = arm("b", 2, [("$.x", "value")]) + arm("a", 2, [("$.y", "value")])
    table = told(rows + arm("control", 2, [("$.z", "value")]))
    assert table.select("arm", "path").rows() == [("a", "$.y"), ("b", "$.x")]


def test_the_most_frequent_paths_are_shown() -> None:
    many = [(f"$.rare{at}", "value") for at in range(MOST_PATHS + 50)]
    rows = arm("mini", 1, many) + arm("mini", 3, [("$.often", "value")], start=1) + arm("control", 1)
    table = told(rows)
    assert table.height == MOST_PATHS
    assert "$.often" in table["path"].to_list()


def test_a_field_that_control_never_changes_is_no_noise_before_it_is_shown_to_differ() -> None:
    rows = arm("mini", 1, [("$.a", "value")]) + arm("mini", 9, start=1) + arm("control", 10)
    assert told(rows)["reading"].to_list() == ["open"]


@pytest.mark.parametrize("rows", [[], [("mini", "1", None)], [("mini", "1", ())], [("control", "1", ())]])
def test_without_differences_there_are_no_rows_but_all_columns(rows: list[Row]) -> None:
    assert told(rows).is_empty()
    assert dict(told(rows).schema) == FIELDS


def test_json_and_tool_calls_are_counted_apart() -> None:
    called = [("tool_calls[0].arguments.id", "removed")]
    rows = arm("mini", 50, [("$.a", "removed")]) + arm("mini", 30, called, start=50)
    rows += arm("control", 50) + arm("control", 30, [("tool_calls[0].name", "value")], start=50)
    seen = {row["path"]: row for row in told(rows).iter_rows(named=True)}
    in_json, in_call = seen["$.a"], seen["tool_calls[*].arguments.id"]
    assert (in_json["n"], in_json["removed"], in_json["n_control"]) == (50, 1, 50)
    assert (in_call["n"], in_call["removed"], in_call["n_control"]) == (30, 1, 30)
