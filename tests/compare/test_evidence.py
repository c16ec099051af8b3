"""What an arm's pairs say on a metric, as arrays in the order in which they came to be known."""

from datetime import timedelta

import numpy as np
import polars as pl

from mirrorkit.compare.evidence import CLUSTER, TIME, Evidence, by_arm, draw, narrowed
from mirrorkit.compare.metrics import BUILT_IN


def drawn(frame: pl.DataFrame, metric: str, arm: str = "mini") -> Evidence:
    return draw(by_arm(frame)[arm], BUILT_IN[metric])


def test_values_are_in_the_order_of_the_requests_whatever_that_of_the_rows(recorded) -> None:
    frame = recorded(3, latency_s=([1.0, 1.0, 2.0], [1.0, 2.0, 1.0]))
    for each in (frame, frame.reverse(), frame[[1, 2, 0]]):
        assert drawn(each, "latency").values.tolist() == [0.0, np.log(2), -np.log(2)]


def test_the_value_of_a_pair_is_what_its_kind_says(recorded) -> None:
    frame = recorded(2, latency_s=(2.0, 6.0), cost_usd=(2.0, 6.0), status=(["ok", "error"], "ok"))
    assert drawn(frame, "latency").values.tolist() == [np.log(6) - np.log(2)]
    assert drawn(frame, "cost").values.tolist() == [4.0, 4.0]
    assert drawn(frame, "errors").values.tolist() == [0.0, -1.0]
    assert drawn(frame, "latency_with_errors").values.tolist() == [3.0, 0.0]


def test_where_both_failed_neither_was_slower(recorded) -> None:
    assert drawn(recorded(1, status="error"), "latency_with_errors").values.tolist() == [1.0]


def test_a_preference_is_new_when_it_is_given_not_when_its_pair_was(recorded) -> None:
    frame = recorded(3, preference=["silent", "primary", "tie"])
    start = frame["started_at"][0]
    given = [start + timedelta(days=3), start + timedelta(days=1), start + timedelta(days=2)]
    labelled = frame.with_columns(labelled_at=pl.Series(given, dtype=pl.Datetime("us", "UTC")))
    seen = drawn(labelled, "preference")
    assert seen.values.tolist() == [0.0, 0.5, 1.0]
    assert seen.times.tolist() == sorted(int(each.timestamp() * 1e6) for each in given)
    # a label that does not say when it was given counts from its request on
    unknown = labelled.with_columns(labelled_at=pl.lit(None, pl.Datetime("us", "UTC")))
    assert drawn(unknown, "preference").values.tolist() == [1.0, 0.0, 0.5]


def test_another_preference_than_the_three_words_is_none(recorded) -> None:
    assert drawn(recorded(3, preference=["left", "", None]), "preference").values.tolist() == []


def test_clusters_are_told_apart_only_where_one_comes_twice(recorded) -> None:
    assert drawn(recorded(3), "errors").clusters is None
    assert drawn(recorded(3, cluster=["a", "b", None]), "errors").clusters is None
    codes = drawn(recorded(5, cluster=["a", None, "b", "a", None]), "errors").clusters
    assert codes is not None
    assert codes.tolist() == [1, -1, 2, 1, -1]


def test_a_cluster_is_of_one_arm(recorded) -> None:
    frame = recorded(2, arm=["mini", "control"], cluster="c")
    assert drawn(frame, "errors").clusters is None


def test_times_are_microseconds_or_places_where_any_start_is_unknown(recorded) -> None:
    frame = recorded(4, arm=["a", "a", "b", "b"])
    known = by_arm(frame)
    assert known["a"][TIME].to_list() == [int(each.timestamp() * 1e6) for each in frame["started_at"][:2]]
    partly = frame.with_columns(started_at=pl.when(pl.col("pair_id") != "p1").then("started_at"))
    for arm in ("a", "b"):
        # one axis for both arms, or one would seem to have started before the other
        assert by_arm(partly)[arm][TIME].to_list() == [0, 1]


def test_only_what_the_metrics_read_is_kept(recorded) -> None:
    columns = narrowed(recorded(1), [BUILT_IN["cost"]]).columns
    assert {"primary_cost_usd", "silent_cost_usd", "primary_cache_hit", "cluster"} <= set(columns)
    assert not {"messages", "primary_output", "silent_output", "primary_latency_s"} & set(columns)


def test_arms_without_a_usable_pair_have_empty_evidence(recorded) -> None:
    seen = drawn(recorded(2, status="error"), "latency")
    assert len(seen) == len(seen.times) == 0
    assert seen.clusters is None
    assert CLUSTER in seen.pairs.columns
    assert by_arm(recorded(0)) == {}
