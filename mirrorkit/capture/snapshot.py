"""Deep copies of requests whose values may refuse to be copied."""

import copy
from collections.abc import Iterator
from itertools import count
from typing import Any

_ATOMS = (str, int, float, bool, type(None), bytes)
_CONTAINERS = (dict, list, tuple)
_MOST_CONTAINERS = 100_000
_SPAN_KEY = "litellm_parent_otel_span"


def is_span(value: object) -> bool:
    """Whether a value is a telemetry span: bound to the primary's trace, never to be shared with a copy."""
    try:
        return hasattr(value, "get_span_context")
    except Exception:  # whatever a foreign __getattr__ raises
        return False


def snapshot(value: Any) -> Any:
    """A deep copy; what cannot be copied is passed by reference, telemetry spans are dropped.

    >>> original = {"messages": [{"role": "user"}], "lock": __import__("threading").Lock()}
    >>> copied = snapshot(original)
    >>> copied["messages"] is original["messages"], copied["lock"] is original["lock"]
    (False, True)
    """
    try:
        return _copy(value, count())
    except RecursionError:
        return _copy_carefully(value)


def _copy(value: Any, containers: Iterator[int]) -> Any:
    # A request is nearly always plain data, which this walks several times faster than copy.deepcopy.
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind not in _CONTAINERS:
        return _deepcopy(value)
    if next(containers) > _MOST_CONTAINERS:
        raise RecursionError("one value in very many places")
    if kind is dict:
        return {k: _copy(v, containers) for k, v in value.items() if k != _SPAN_KEY and not is_span(v)}
    return kind(_copy(v, containers) for v in value if not is_span(v))


def _copy_carefully(value: Any) -> Any:
    """A copy of what may hold itself, or one value in very many places; too deep a part is not copied."""
    try:
        return _copy_once(value, {})
    except RecursionError:
        return {k: _copy_part(v) for k, v in value.items()} if type(value) is dict else value


def _copy_part(value: Any) -> Any:
    try:
        return _copy_once(value, {})
    except RecursionError:
        return value


def _copy_once(value: Any, copies: dict[int, Any]) -> Any:
    """As `_copy`, but a value that comes twice is copied once; `copies` are those made, by the value's id."""
    kind = type(value)
    if kind in _ATOMS:
        return value
    if id(value) in copies:
        return copies[id(value)]
    if kind is dict:
        copies[id(value)] = items = {}
        for k, v in value.items():
            if k != _SPAN_KEY and not is_span(v):
                items[k] = _copy_once(v, copies)
    elif kind is list:
        copies[id(value)] = copied = []
        copied += [_copy_once(v, copies) for v in value if not is_span(v)]
    elif kind is tuple:
        copies[id(value)] = tuple(_copy_once(v, copies) for v in value if not is_span(v))
    else:
        copies[id(value)] = _deepcopy(value)
    return copies[id(value)]


def _deepcopy(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except Exception:  # whatever a foreign __deepcopy__ raises
        return value
