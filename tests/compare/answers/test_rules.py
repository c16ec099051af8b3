"""Rules are checked at the door, and say what they are."""

import math
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.compare.answers.paths import inside, read_path
from mirrorkit.compare.answers.rules import Rules, make_rules
from mirrorkit.errors import CompareError


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("$.id", ("id",)),
        ("$.items[*].price", ("items", None, "price")),
        ("$.items[0].id", ("items", 0, "id")),
        ('$.a["odd key"]', ("a", "odd key")),
        ('$["a\\"b"].*', ('a"b', None)),
        ("$[3][*]", (3, None)),
        ("$.größe.x-y", ("größe", "x-y")),
        ("tool_calls[0].arguments.city", ("tool_calls", 0, "arguments", "city")),
        ("$.tool_calls[*].arguments.city", ("tool_calls", None, "arguments", "city")),
    ],
)
def test_paths_are_told_from_expressions(path: str, steps: tuple[Any, ...]) -> None:
    rules = make_rules([path, r"\d+"])
    assert rules.paths == (steps,)
    assert rules.patterns == (r"\d+",)


@pytest.mark.parametrize(
    "entry", ["$", "$id", "$.", "$.a[", "$.a[x]", "$.a[-1]", "$..a", '$["a', "$.a b", "", 7, None, "(", "[a-"]
)
def test_an_entry_that_cannot_be_read_is_named(entry: Any) -> None:
    with pytest.raises(CompareError, match="ignore") as told:
        make_rules([r"\d", entry])
    assert repr(entry) in str(told.value)


@pytest.mark.parametrize("ignore", ["$.id", 3, None])
def test_ignore_is_a_list(ignore: Any) -> None:
    with pytest.raises(CompareError, match="list of paths"):
        make_rules(ignore)


@pytest.mark.parametrize("tolerance", [-0.1, 1, 1.5, math.nan, math.inf, True, "0.1", None])
def test_a_tolerance_is_a_share(tolerance: Any) -> None:
    with pytest.raises(CompareError, match="tolerance"):
        make_rules(tolerance=tolerance)


def test_clean_is_a_function() -> None:
    with pytest.raises(CompareError, match="clean"):
        make_rules(clean="strip")  # type: ignore[arg-type]


def test_rules_say_what_they_are_and_travel() -> None:
    rules = make_rules(["$.id", r"\d+"], clean=str.strip, tolerance=0.0125)
    assert rules.describe() == (
        r"ignored: $.id, matches of \d+; texts cleaned by strip; numbers within 1.25 % are equal"
    )
    assert pickle.loads(pickle.dumps(rules)) == rules
    assert make_rules() == Rules()
    assert Rules().describe() == "nothing is ignored"


@given(st.text(max_size=100) | st.integers(0, 10**6))
def test_a_path_that_is_shown_can_be_ignored(step: str | int) -> None:
    """What stands in `changes` is taken by `ignore` as it is."""
    assert read_path(inside("$.a", step)) == ("a", step)
