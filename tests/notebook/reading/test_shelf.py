"""Which pairs are read and in which order: filters and sorts on the frame."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.compare.measured import measured
from mirrorkit.compare.metrics import Metric
from mirrorkit.compare.plan import Plan
from mirrorkit.errors import CompareError
from mirrorkit.notebook.reading.shelf import (
    Query,
    arms_of,
    difference_words,
    pick,
    statuses_of,
    tags_of,
    with_said,
)
from mirrorkit.records import CONTROL
from pairs import STARTED, recorded


def frame(count: int = 6, **columns: Any) -> pl.DataFrame:
    given = {
        "latency_s": (1.0, [1.0 + n for n in range(count)]),
        "output": ("yes", ["yes", "no"] * (count // 2) + ["yes"] * (count % 2)),
    }
    return recorded(count, **{**given, **columns})


def ids(pairs: pl.DataFrame, **query: Any) -> list[str]:
    return pairs["pair_id"].gather(pick(pairs, Query(**query), Plan()).rows).to_list()


def test_without_a_filter_all_pairs_are_there_the_oldest_first() -> None:
    started = [STARTED + timedelta(seconds=n) for n in (2, 0, 1)]
    assert ids(frame(3, started_at=started)) == ["p1", "p2", "p0"]
    assert ids(frame(3, started_at=started), sort="newest") == ["p0", "p2", "p1"]


def test_control_pairs_are_read_only_if_asked_for_or_alone() -> None:
    pairs = frame(3, arm=["mini", CONTROL, "maxi"])
    assert arms_of(pairs) == ["mini", "maxi", CONTROL]
    assert ids(pairs) == ["p0", "p2"]
    assert ids(pairs, arm=CONTROL) == ["p1"]
    assert ids(pairs, arm="maxi") == ["p2"]
    assert ids(frame(2, arm=[CONTROL] * 2)) == ["p0", "p1"]


def test_tags_and_statuses_and_votes_filter() -> None:
    pairs = frame(
        3,
        tags=[["a", "b"], ["b"], []],
        silent_status=["ok", "error", "timeout"],
        preference=[None, "tie", None],
    )
    assert tags_of(pairs) == ["a", "b"]
    assert statuses_of(pairs) == ["error", "timeout"]
    assert ids(pairs, tag="b") == ["p0", "p1"]
    assert ids(pairs, status="ok") == ["p0"]
    assert ids(pairs, status="timeout") == ["p2"]
    assert ids(pairs, unvoted=True) == ["p0", "p2"]
    assert ids(pairs, unvoted=True, tag="b") == ["p0"]


def test_a_name_that_is_a_novel_is_not_offered() -> None:
    pairs = frame(2, tags=[["x" * 1_000_000], ["a"]], arm=["y" * 1_000_000, "b"])
    assert (tags_of(pairs), arms_of(pairs)) == (["a"], ["b"])
    assert ids(pairs) == ["p0", "p1"]


def test_pairs_differ_by_text_tool_calls_or_status_and_nothing_is_no_difference() -> None:
    pairs = frame(
        5,
        primary_output=["a", "a", None, None, "a"],
        silent_output=["a", "b", None, "b", "a"],
        silent_tool_calls=[None] * 4 + ["[]"],
    )
    assert ids(pairs, differs=True) == ["p1", "p3", "p4"]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ('pl.col("silent_latency_s") > 4', ["p4", "p5"]),
        ('  pl.col("silent_latency_s") > pl.col("silent_latency_s").mean()\n', ["p3", "p4", "p5"]),
        ("pl.lit(True)", ["p0", "p1", "p2", "p3", "p4", "p5"]),
        ('pl.col("cluster") == "x"', []),
    ],
)
def test_an_expression_keeps_the_pairs_for_which_it_is_true(text: str, kept: list[str]) -> None:
    pairs = frame(silent_latency_s=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert ids(pairs, expression=text) == kept


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("pl.col(", "SyntaxError"),
        ("import os", "SyntaxError"),
        ("nothing", "no column 'nothing'"),
        ("open('/etc/passwd')", r"open\(…\) is not allowed"),
        ("__import__('os')", "is not allowed"),
        ('pl.col("no such") > 1', "there is no column 'no such'"),
        ('pl.col("silent_latncy_s") > 1', "no column 'silent_latncy_s'; did you mean 'silent_latency_s'?"),
        ('pl.col("similarty") > 1', "did you mean 'similarity'?"),
        ('pl.col("silent_latency_s")', "Float64"),
        ("3", "int"),
        ("pl", "pl is not allowed"),
        ('pl.col("arm") > 3', "Error"),
        ('pl.col("arm").head(2) == "x"', "head is not allowed"),
        ("pl.col('arm').map_elements(lambda arm: 1 / 0)", "map_elements is not allowed"),
        ("(" * 1_000, "Error"),
        ("\x00", "Error"),
    ],
)
def test_what_is_no_filter_says_why(text: str, says: str) -> None:
    with pytest.raises(CompareError, match=says):
        pick(frame(), Query(expression=text), Plan())


@given(st.text(max_size=40))
def test_whatever_is_typed_it_filters_or_says_why(text: str) -> None:
    pairs = frame(2)
    with suppress(CompareError):
        assert len(pick(pairs, Query(expression=text), Plan())) <= 2


def test_the_pairs_that_differ_most_in_a_metric_come_first_those_without_it_last() -> None:
    pairs = frame(
        4, primary_latency_s=[1.0, None, 8.0, 2.0], silent_latency_s=[2.0, 3.0, 1.0, 2.0], arm=list("abab")
    )
    picked = pick(pairs, Query(sort="latency"), Plan())
    assert picked.rows.to_list() == [2, 0, 3, 1]
    words = [difference_words(picked, at, Plan()) for at in range(4)]
    assert words == ["×0.125", "×2.00", "×1.00", "–"]


def test_a_sort_takes_only_what_the_filter_keeps() -> None:
    pairs = frame(6)
    assert ids(pairs, sort="latency", differs=True) == ["p5", "p3", "p1"]
    picked = pick(pairs, Query(sort="errors", differs=True), Plan())
    assert difference_words(picked, 0, Plan()) == "the same"


@pytest.mark.parametrize("name", Plan().names())
def test_every_metric_sorts_all_pairs_even_if_it_is_unknown(name: str) -> None:
    pairs, plan = frame(6), Plan()
    picked = pick(pairs, Query(sort=name), plan, lambda: measured(pairs, plan))
    assert sorted(picked.rows.to_list()) == list(range(6))
    assert isinstance(difference_words(picked, 0, plan), str)
    assert len(pick(pairs.clear(), Query(sort=name), plan, lambda: measured(pairs.clear(), plan))) == 0


def test_answers_are_compared_only_where_the_query_reads_it() -> None:
    pairs, plan = frame(4), Plan().with_changes(metrics={"short": pl.col("silent_output") == "no"})
    asked = []

    def measure() -> pl.DataFrame:
        asked.append(1)
        return measured(pairs, plan)

    for query in (Query(), Query(sort="latency"), Query(expression='pl.col("arm") == "mini"')):
        pick(pairs, query, plan, measure)
    assert asked == []
    assert pick(pairs, Query(sort="short"), plan, measure).differences is not None
    assert len(pick(pairs, Query(expression='pl.col("silent_output_length") == 2'), plan, measure)) == 2
    assert len(asked) == 2
    with pytest.raises(CompareError, match="no column"):
        pick(pairs, Query(expression='pl.col("silent_latncy_s") > 2'), plan, measure)
    assert len(asked) == 2, "for a typing error all answers were compared"


def test_an_unknown_metric_is_told_of() -> None:
    with pytest.raises(CompareError, match="no metric 'speed'"):
        pick(frame(), Query(sort="speed"), Plan())


def test_a_metric_of_ones_own_is_worst_first() -> None:
    pairs, plan = frame(2), Plan().with_changes(metrics={"good": Metric(pl.col("silent_output") == "yes")})
    picked = pick(pairs, Query(sort="good"), plan, lambda: measured(pairs, plan))
    assert picked.rows.to_list() == [1, 0]


def test_what_is_said_is_put_into_its_row_of_a_new_frame() -> None:
    pairs = frame(3)
    said = with_said(pairs, 1, "tie", "even")
    assert said["preference"].to_list() == [None, "tie", None]
    assert said["note"][1] == "even"
    assert pairs["preference"].null_count() == 3
