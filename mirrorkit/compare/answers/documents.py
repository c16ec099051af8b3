"""JSON documents and tool calls: reading one that a model wrote, and how two of them differ."""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from itertools import zip_longest
from typing import Any, NamedTuple, NoReturn

import orjson

from mirrorkit.compare.answers.paths import Path, inside, sayable


class NoJson(ValueError):
    """A text that is no JSON."""


class BeyondReading(ValueError):
    """A text that may be JSON, nested deeper or with larger numbers than can be read here."""


class Change(NamedTuple):
    """A place where two documents differ; `one` and `other` are known where both have a text there."""

    path: str
    change: str
    one: str | None = None
    other: str | None = None


_MOST_DIGITS = 300
_DIGITS = bytes(ord("0") if chr(byte).isdecimal() and byte < 128 else 32 for byte in range(256))
_MANY_DIGITS = b"0" * 19
_ABSENT = object()
_PLAIN = frozenset((str, int, bool, float, type(None)))
_KINDS = {
    bool: "boolean",
    int: "number",
    float: "number",
    Decimal: "number",
    str: "string",
    dict: "object",
    list: "array",
    type(None): "null",
}

_Place = tuple[Any, Any, str, Sequence[Path]]


def read(text: str) -> Any:
    """The document of a JSON text, as RFC 8259 has it: NaN and Infinity are none; of equal keys the last.

    Raises NoJson, or BeyondReading where the text cannot be judged.

    >>> read('{"a": [1, 2.5]}')
    {'a': [1, 2.5]}
    """
    with suppress(ValueError):  # no JSON, or none that orjson reads: half a character, a number too large
        raw = text.encode()
        if _MANY_DIGITS not in raw.translate(_DIGITS):  # orjson would round them
            return orjson.loads(raw)
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise NoJson(str(error)) from None
    except (RecursionError, InvalidOperation, MemoryError):
        raise BeyondReading("nested too deep, or a number too large") from None


def read_container(text: str, read: Callable[[str], Any] = read) -> Any:
    """The object or array of a JSON text; raises NoJson for any other, and BeyondReading."""
    document = read(text)
    if not isinstance(document, dict | list):
        raise NoJson("neither an object nor an array")
    return document


def reader() -> Callable[[str], Any]:
    """A function like `read` that reads each text once, and holds on to what it has read.

    >>> once = reader()
    >>> once('{"a": 1}') is once('{"a": 1}')
    True
    """
    known: dict[str, Any] = {}

    def read_once(text: str) -> Any:
        if text not in known:
            try:
                known[text] = read(text)
            except (NoJson, BeyondReading) as error:
                # an error that was raised would hold on to where it was
                known[text] = type(error)(*error.args)
        found = known[text]
        if isinstance(found, NoJson | BeyondReading):
            raise type(found)(*found.args)
        return found

    return read_once


def read_calls(text: str) -> Any:
    """Tool calls with their arguments read, as a list of `name` and `arguments`.

    What is no JSON is kept as the text it is.

    >>> read_calls('[{"name": "weather", "arguments": "{\\\\"city\\\\": \\\\"Rome\\\\"}"}]')
    [{'name': 'weather', 'arguments': {'city': 'Rome'}}]
    """
    try:
        calls = read(text)
    except (NoJson, BeyondReading):
        return text
    return [_call(call) for call in calls] if isinstance(calls, list) else text


def names(calls: Any) -> list[Any] | None:
    """The names of tool calls in their order; None for what are no tool calls."""
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        return None
    return [call.get("name") for call in calls]


def compare(
    one: Any, other: Any, root: str = "$", ignore: Sequence[Path] = (), tolerance: float = 0.0
) -> list[Change]:
    """Where two documents differ, in the order of the first: `added` is only in the other one.

    Lists are compared by position. A boolean is no number, 1 and 1.0 are equal; numbers within `tolerance`
    (relative) are. What lies at a path of `ignore` does not count. A part that only one has is one change.

    >>> [tuple(c)[:2] for c in compare({"a": 1, "b": [1, "2"]}, {"b": [1, 2], "c": None})]
    [('$.a', 'removed'), ('$.b[1]', 'type'), ('$.c', 'added')]
    """
    if _are_written_alike(one, other):
        return []
    changes: list[Change] = []
    todo: list[_Place] = [(one, other, root, ignore)]
    while todo:  # no recursion: a document may be as deep as can be read
        here, there, path, rules = todo.pop()
        if here is _ABSENT or there is _ABSENT:
            changes.append(Change(path, "added" if here is _ABSENT else "removed"))
        elif (kind := _KINDS[type(here)]) != _KINDS[type(there)]:
            changes.append(Change(path, "type"))
        elif kind in ("object", "array"):
            todo.extend(_parts(here, there, path, rules))
        elif kind == "string" and here != there:
            changes.append(Change(path, "value", sayable(here), sayable(there)))
        elif kind != "string" and not _same(here, there, tolerance):
            changes.append(Change(path, "value"))
    return changes


def _are_written_alike(one: Any, other: Any) -> bool:
    """Whether two documents are the same JSON but for the order of keys; some equal ones are not."""
    try:
        first, second = (orjson.dumps(each, option=orjson.OPT_SORT_KEYS) for each in (one, other))
    except TypeError:  # a number of more than 64 bits, half a character, nested too deep
        return False
    return first == second


def _parts(one: Any, other: Any, path: str, rules: Sequence[Path]) -> list[_Place]:
    """The parts of two objects or two arrays that may differ, the last first."""
    pairs: Iterable[tuple[str | int, Any, Any]]
    if isinstance(one, dict):
        keys = one if one.keys() == other.keys() else one | other
        pairs = [(key, one.get(key, _ABSENT), other.get(key, _ABSENT)) for key in keys]
    else:
        both = zip_longest(one, other, fillvalue=_ABSENT)
        pairs = [(index, here, there) for index, (here, there) in enumerate(both)]
    parts: list[_Place] = []
    for step, here, there in pairs:
        # most parts are equal, and need no path
        if _are_equal(here, there):
            continue
        left = [rule[1:] for rule in rules if rule[0] is None or rule[0] == step] if rules else ()
        if () not in left:
            parts.append((here, there, inside(path, step), left))
    parts.reverse()
    return parts


def _are_equal(one: Any, other: Any) -> bool:
    """Whether two parts are equal, as a quick look tells; some equal ones are not."""
    kind = type(one)  # True is 1 in Python, so the type counts, and in what has parts those of the parts
    try:
        return kind is type(other) and one == other and (kind in _PLAIN or _are_written_alike(one, other))
    except RecursionError:
        return False


def _same(one: Any, other: Any, tolerance: float) -> bool:
    if one == other:
        return True
    if not tolerance or isinstance(one, bool):
        return False
    try:
        return math.isclose(one, other, rel_tol=tolerance)
    except OverflowError:
        return False


def _call(call: Any) -> Any:
    if not isinstance(call, dict):
        return call
    function = call["function"] if isinstance(call.get("function"), dict) else call
    arguments = function.get("arguments")
    if arguments is None or (isinstance(arguments, str) and not arguments.strip()):
        arguments = {}
    elif isinstance(arguments, str):
        with suppress(NoJson, BeyondReading):
            arguments = read(arguments)
    return {"name": function.get("name"), "arguments": arguments}


def _whole(digits: str) -> int | Decimal:
    return int(digits) if len(digits) <= _MOST_DIGITS else Decimal(digits)


def _fraction(digits: str) -> float | Decimal:
    number = float(digits)
    return number if math.isfinite(number) else Decimal(digits)


def _no_number(name: str) -> NoReturn:
    raise json.JSONDecodeError(f"{name} is no JSON", name, 0)


_DECODER = json.JSONDecoder(parse_int=_whole, parse_float=_fraction, parse_constant=_no_number)
