"""The table for each part of the pairs, outside the guarantee."""

import polars as pl
import pytest

from mirrorkit.compare.answers.differences import differences
from mirrorkit.compare.measured import measured
from mirrorkit.compare.plan import Plan
from mirrorkit.compare.slices import OUTSIDE, by
from mirrorkit.errors import CompareError


def fails(value: object) -> str:
    raise ZeroDivisionError


def sliced(frame: pl.DataFrame, part, metrics=None, **plan) -> pl.DataFrame:
    set_up = Plan().with_changes(**plan)
    return by(measured(frame, set_up, differences(frame)), set_up, part, metrics)


def test_a_pair_is_in_the_slice_of_each_of_its_tags_and_in_none_without_one(recorded) -> None:
    tags = [["a", "b"], ["b"], [], None]
    frame = recorded(4, tags=tags, status=("ok", ["error", "ok", "ok", "ok"]))
    seen = sliced(frame, "tags", ["errors"])
    assert seen.select("slice", "n", "effect").rows() == [("a", 1, 1.0), ("b", 2, 0.5), ("(none)", 2, 0.0)]
    assert seen.columns[:3] == ["slice", "arm", "metric"]


@pytest.mark.parametrize(("tag", "nameless"), [("none", "(none)"), ("(none)", "((none))")])
def test_pairs_without_a_value_are_no_slice_of_pairs_that_have_one(recorded, tag: str, nameless: str) -> None:
    seen = sliced(recorded(5, tags=[[tag], [tag], None, None, None]), "tags", ["errors"])
    assert seen.select("slice", "n").rows() == [(tag, 2), (nameless, 3)]


@pytest.mark.parametrize("part", ["tags", "arm", pl.col("primary_input_tokens") > 1])
def test_of_no_pairs_there_are_no_slices(recorded, part) -> None:
    seen = sliced(recorded(0), part)
    assert seen.is_empty()
    assert seen.schema == sliced(recorded(2), part).schema


def test_each_slice_is_the_table_of_its_pairs_marked_as_outside_the_guarantee(recorded, told) -> None:
    frame = recorded(6, cluster=["x", "y"] * 3, latency_s=([1.0, 2.0] * 3, 1.0))
    seen = sliced(frame, "cluster")
    mine = told(frame.filter(pl.col("cluster") == "x"))
    of_x = seen.filter(slice="x")
    assert of_x.drop("slice", "note").equals(mine.drop("note"))
    note = OUTSIDE.format(2)
    assert "outside the guarantee" in note
    assert of_x["note"].to_list() == [note if each is None else f"{note}; {each}" for each in mine["note"]]


def test_the_slices_of_a_list_are_what_filtering_for_each_value_gives(recorded, told) -> None:
    count = 240
    tags = [[tag for k, tag in enumerate("abc") if number % (k + 2) == 0] or None for number in range(count)]
    frame = recorded(
        count,
        arm=["mini", "control", "large"] * 80,
        request_id=[f"r{number // 3}" for number in range(count)],
        tags=tags,
        status=((["ok"] * 23 + ["error"]) * 10, (["ok"] * 11 + ["timeout"]) * 20),
        latency_s=([1 + number % 7 for number in range(count)], [1 + number % 5 for number in range(count)]),
        output=([f"text {number % 4}" for number in range(count)], "text 1"),
        cluster=[None if number % 4 else f"c{number // 16}" for number in range(count)],
    )
    seen = sliced(frame, "tags")
    assert seen["slice"].unique(maintain_order=True).to_list() == ["a", "b", "c", "(none)"]
    for name in "abc":
        mine = told(frame.filter(pl.col("tags").list.contains(name)))
        assert seen.filter(slice=name).drop("slice", "note").equals(mine.drop("note"))
        assert all(
            one.endswith(other)
            for one, other in zip(seen.filter(slice=name)["note"], mine["note"].fill_null(""), strict=True)
        )
    without = told(frame.filter(pl.col("tags").is_null()))
    assert seen.filter(slice="(none)").drop("slice", "note").equals(without.drop("note"))


def test_an_expression_makes_slices_and_numbers_are_in_their_order(recorded) -> None:
    frame = recorded(3, input_tokens=([100, 20, 3], 1))
    seen = sliced(frame, pl.col("primary_input_tokens"), ["errors"])
    assert seen["slice"].to_list() == ["3", "20", "100"]
    seen = sliced(frame, pl.col("primary_input_tokens") > 10, ["errors"])
    assert seen.select("slice", "n").rows() == [("false", 1), ("true", 2)]
    assert sliced(frame, pl.lit("all"), ["errors"])["n"].to_list() == [3]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_quartiles_are_slices(recorded) -> None:
    frame = recorded(8, input_tokens=([1, 2, 3, 4, 5, 6, 7, 8], 1))
    seen = sliced(frame, pl.col("primary_input_tokens").qcut(4), ["errors"])
    assert seen["n"].to_list() == [2, 2, 2, 2]


def test_all_arms_and_the_users_metrics_are_in_a_slice(recorded) -> None:
    frame = recorded(4, arm=["a", "b", "a", "control"], tags=[["t"]] * 4)
    assert sliced(frame, "tags", ["errors"])["arm"].to_list() == ["a", "b", "control"]
    set_up = Plan().with_changes(metrics={"mine": lambda pair: 1.0})
    assert by(measured(frame, set_up), set_up, "tags", ["mine"])["effect"].to_list() == [1.0] * 3


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (
            "primary_latency_s",
            "by: 'primary_latency_s' is known only after the call: .*regression to the mean",
        ),
        (pl.col("tags").list.len() + pl.col("lag_s"), "by: 'lag_s' is known only after the call"),
        ("charm", "by: the expression cannot be run on the frame: .*charm"),
        (pl.col("charm"), "by: the expression cannot be run on the frame"),
        ("pair_id", "by: 51 slices, 50 at most: cut numbers into ranges.* p0, p1, .* and 46 more"),
        (pl.struct("arm"), "told apart by texts, numbers or categories, not Struct"),
        (pl.concat_list(pl.concat_list("arm")), None),
        (
            pl.col("started_at") - pl.col("started_at").min().dt.truncate("1d"),
            "told apart by texts, numbers or categories, not Duration",
        ),
        (pl.lit(b"\xff"), "told apart by texts, numbers or categories, not Binary"),
        (pl.col("arm").map_elements(lambda _: object(), return_dtype=pl.Object), "categories, not Object"),
        (pl.col("arm").head(2), "by: the expression cannot be run"),
        (pl.col("arm", "stream"), "by: the expression cannot be run"),
        (pl.col("arm").map_elements(fails, return_dtype=pl.String), "by: the expression cannot be run"),
        (3, r"by\(3\): give the name of a column or a Polars expression"),
        (None, r"by\(None\): give the name"),
        (["arm"], r"by\(\['arm'\]\): give the name"),
    ],
)
def test_a_part_that_makes_no_slices_is_an_error_that_says_why(recorded, part, words: str | None) -> None:
    if words is None:
        assert sliced(recorded(3), part)["slice"].unique().to_list() == ["mini"]
        return
    with pytest.raises(CompareError, match=words):
        sliced(recorded(51), part)


@pytest.mark.parametrize(
    "part",
    [
        "silent_status",
        "primary_output_tokens",
        "silent_cost_usd",
        "primary_output",
        "silent_model",
        "similarity",
        "primary_refused",
        "json_equal",
        "preference",
        "judge_preference",
        pl.col("silent_latency_s") / pl.col("primary_latency_s") > 1,
    ],
)
def test_what_is_known_only_after_a_call_makes_no_slices(recorded, part: str | pl.Expr) -> None:
    """A primary that was slow by chance is set against a silent call that was not."""
    with pytest.raises(CompareError, match=r"is known only after the call: .* Slice by .* tags, model_group"):
        sliced(recorded(6), part)


@pytest.mark.parametrize(
    "part",
    [
        *("tags", "model_group", "call_type", "stream", "cluster", "arm", "primary_input_tokens"),
        pl.col("messages").str.len_chars() > 9,
        pl.col("params").str.contains("json"),
        pl.col("started_at").dt.hour(),
        "primary_topic",
    ],
)
def test_what_a_request_is_makes_slices_and_so_does_a_column_of_the_users(recorded, part) -> None:
    frame = recorded(6, messages="[]", params="{}", input_tokens=(9, 8), primary_topic=["x", "y"] * 3)
    assert sliced(frame, part, ["errors"])["n"].sum() == 6


@pytest.mark.parametrize("metrics", ["latency", ["charm"], ["latency", "charm"], [["latency"]], 3])
def test_metrics_that_there_are_not_are_an_error(recorded, metrics) -> None:
    with pytest.raises(CompareError, match="give a list of metrics; there are latency, "):
        sliced(recorded(3), "arm", metrics)


def test_fifty_slices_are_not_too_many(recorded) -> None:
    assert sliced(recorded(50), "pair_id", ["errors"]).height == 50
