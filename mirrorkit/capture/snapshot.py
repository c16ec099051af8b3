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

    Of a dict, only those values are passed by reference that are nested too deep to be walked.

    >>> original = {"messages": [{"role": "user"}], "lock": __import__("threading").Lock()}
    >>> copied = snapshot(original)
    >>> copied["messages"] is original["messages"], copied["lock"] is original["lock"]
    (False, True)
    """
    try:
        return _copy(value, {})
    except RecursionError:
        return {k: _copied_part(v) for k, v in value.items()} if type(value) is dict else value


def _copied_part(value: Any) -> Any:
    try:
        return _copy(value, {})
    except RecursionError:
        return value


def _copy(value: Any, copies: dict[int, Any]) -> Any:
    """The copy; `copies` are those made, by the id of what they are of: it may come again, or hold itself."""
    # A request is nearly always plain data, which this walks several times faster than copy.deepcopy.
    kind = type(value)
    if kind in _ATOMS:
        return value
    if id(value) in copies:
        return copies[id(value)]
    if kind is dict:
        copies[id(value)] = items = {}
        for k, v in value.items():
            if k != _SPAN_KEY and not is_span(v):
                items[k] = _copy(v, copies)
    elif kind is list:
        copies[id(value)] = copied = []
        copied += [_copy(v, copies) for v in value if not is_span(v)]
    elif kind is tuple:
        copies[id(value)] = tuple(_copy(v, copies) for v in value if not is_span(v))
    else:
        copies[id(value)] = _deepcopy(value)
    return copies[id(value)]


def _deepcopy(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except Exception:  # whatever a foreign __deepcopy__ raises
        return value
