"""Deep copies of requests whose values may refuse to be copied."""

import copy
from typing import Any

_ATOMS = (str, int, float, bool, type(None), bytes)
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
        return _copy(value)
    except RecursionError:
        # a value that holds itself: deepcopy keeps count of what it has seen
        return _deepcopy(value)


def _copy(value: Any) -> Any:
    # A request is nearly always plain data, which this walks several times faster than copy.deepcopy.
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind is dict:
        return {k: _copy(v) for k, v in value.items() if k != _SPAN_KEY and not is_span(v)}
    if kind is list:
        return [_copy(v) for v in value if not is_span(v)]
    if kind is tuple:
        return tuple(_copy(v) for v in value if not is_span(v))
    return _deepcopy(value)


def _deepcopy(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except Exception:  # whatever a foreign __deepcopy__ raises
        return value
