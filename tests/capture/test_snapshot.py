"""A copy of a request shares nothing with it that either side could change."""

import collections
import copy
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.capture.snapshot import snapshot

atoms = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
json_like = st.recursive(
    atoms,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=25,
)


class Span:
    def get_span_context(self) -> None: ...


class Refuses:
    def __deepcopy__(self, memo: Any) -> Any:
        raise RuntimeError("no copies")


class Answers:
    """Like a web framework's proxy outside of its request: every attribute raises."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("working outside of a request")


def mutables(value: Any) -> Iterator[int]:
    if isinstance(value, dict | list | tuple):
        if not isinstance(value, tuple):
            yield id(value)
        for inner in value.values() if isinstance(value, dict) else value:
            yield from mutables(inner)


@given(json_like)
def test_the_copy_is_equal_and_shares_no_mutable_container(value: Any) -> None:
    before = copy.deepcopy(value)
    copied = snapshot(value)
    assert copied == value == before
    assert type(copied) is type(value)
    assert not set(mutables(copied)) & set(mutables(value))


@given(json_like)
def test_order_and_types_inside_are_kept(value: Any) -> None:
    assert repr(snapshot(value)) == repr(value)


@pytest.mark.parametrize("stubborn", [threading.Lock(), Refuses(), (n for n in ()), object, print])
def test_what_cannot_be_copied_is_passed_by_reference_and_its_neighbours_are_copied(stubborn: Any) -> None:
    inner = {"role": "user"}
    original = {"messages": [inner, stubborn], "deep": ({"client": stubborn},)}
    copied = snapshot(original)
    assert copied["messages"][1] is copied["deep"][0]["client"] is stubborn
    assert copied["messages"][0] == inner
    assert copied["messages"][0] is not inner


def test_a_foreign_object_is_deep_copied() -> None:
    original = {"x": collections.OrderedDict(a=[1]), "y": collections.defaultdict(list, b=[2])}
    copied = snapshot(original)
    assert copied == original
    assert copied["x"]["a"] is not original["x"]["a"]
    assert copied["y"]["b"] is not original["y"]["b"]


@given(json_like, st.lists(st.sampled_from(["list", "dict", "tuple"]), max_size=6))
def test_spans_are_dropped_at_any_depth(beside: Any, path: list[str]) -> None:
    def wrap(value: Any) -> Any:
        for kind in path:
            value = {"list": [value], "dict": {"in": value}, "tuple": (value,)}[kind]
        return value

    with_span = {"beside": beside, "span": Span(), "litellm_parent_otel_span": "any", "list": [Span(), 1]}
    without = {"beside": beside, "list": [1]}
    assert snapshot(wrap(with_span)) == wrap(without)


def test_a_value_that_holds_itself_is_copied_with_its_shape() -> None:
    loop: dict[str, Any] = {"messages": [{"role": "user"}]}
    loop["self"] = loop
    copied = snapshot(loop)
    assert copied["self"] is copied
    assert copied is not loop
    assert copied["messages"] == loop["messages"]
    assert copied["messages"] is not loop["messages"]


def test_a_value_that_holds_itself_twice_ends_too() -> None:
    loop: list[Any] = []
    loop += [loop, loop]
    copied = snapshot(loop)
    assert copied is not loop
    assert copied[0] is copied[1] is copied


def test_a_value_nested_too_deep_to_walk_raises_nothing() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert type(snapshot(deep)) is list
    while deep:  # taken apart by hand: freeing it in one go recurses too
        deep = deep[0]


def test_a_value_that_raises_at_any_touch_is_passed_by_reference() -> None:
    touchy = Answers()
    assert snapshot({"metadata": {"user": touchy}})["metadata"]["user"] is touchy
