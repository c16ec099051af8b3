"""Odd things that callers put into requests, and how to tell whether somebody changed one."""

import math
import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import httpx


class Refused(Exception):
    """What an odd object raises; its own text cannot be had either."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def _raising(name: str, *methods: str, error: type[BaseException] = RuntimeError) -> type:
    def refuse(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise error(f"{name} refuses")

    return type(name, (), dict.fromkeys(methods, refuse) | {"__module__": __name__})


_TEXT, _SAME, _SIZE = ("__str__", "__repr__", "__format__"), ("__eq__", "__hash__"), ("__bool__", "__len__")
_COPY = ("__deepcopy__", "__copy__", "__reduce__", "__reduce_ex__", "__getstate__")

Copyless = _raising("Copyless", "__deepcopy__", "__copy__")
Pickleless = _raising("Pickleless", "__reduce__", "__reduce_ex__")
Touchy = _raising("Touchy", "__getattr__")
Textless = _raising("Textless", *_TEXT)
Unequal = _raising("Unequal", *_SAME)
Sizeless = _raising("Sizeless", *_SIZE, "__iter__", "__contains__")
Hostile = _raising("Hostile", *_TEXT, *_SAME, *_SIZE, *_COPY, "__getattr__", "__iter__", error=Refused)


class Masked:
    """Like a proxy outside of its request: it cannot even be asked what it is."""

    @property
    def __class__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("working outside of a request")


class OddDict(dict[Any, Any]):
    """A dict whose copy is not to be had."""

    def copy(self) -> Any:
        raise RuntimeError("no copy")

    __copy__ = copy

    def __deepcopy__(self, memo: Any) -> Any:
        raise RuntimeError("no copy")


class OddText(str):
    """A text with a class of its own."""


def nested(depth: int) -> Any:
    """A list that holds a list, and so on."""
    value: Any = "at last"
    for _ in range(depth):
        value = [value]
    return value


def _holding_itself() -> Any:
    loop: dict[str, Any] = {"role": "user"}
    loop["self"] = [loop]
    return loop


def _doubling() -> Any:
    # one list in 2^40 places
    value: list[Any] = ["x"]
    for _ in range(40):
        value = [value, value]
    return value


MAKERS: Mapping[str, Callable[[], Any]] = {
    "copyless": Copyless,
    "pickleless": Pickleless,
    "touchy": Touchy,
    "textless": Textless,
    "unequal": Unequal,
    "sizeless": Sizeless,
    "hostile": Hostile,
    "masked": Masked,
    "class": lambda: Hostile,
    "odd dict": lambda: OddDict(a=[1]),
    "odd text": lambda: OddText("odd"),
    "lock": threading.Lock,
    "generator": lambda: (n for n in (1, 2)),
    "client": httpx.Client,
    "file": lambda: open(os.devnull, encoding="utf-8"),
    "function": lambda: lambda: None,
    "module": lambda: sys,
    "frozen": lambda: MappingProxyType({"a": [1]}),
    "tuple": lambda: ("a", ["b"]),
    "set": lambda: {"a", "b"},
    "bytes": lambda: b"\xff\x00",
    "bytearray": lambda: bytearray(b"\xff"),
    "nan": lambda: math.nan,
    "inf": lambda: -math.inf,
    "decimal": lambda: Decimal("0.1"),
    "complex": lambda: 1j,
    "huge number": lambda: 10**5_000,
    "surrogate": lambda: "half \ud83d of a smile",
    "nul": lambda: "a\x00b",
    "unicode": lambda: "\u202eabc\u202c \ufeff\u2028 e\u0301 \U0001f468\u200d\U0001f469 \x1b[31m",
    "number key": lambda: {1: "a", None: "b", (1, 2): "c", True: "d"},
    "surrogate key": lambda: {"\udc80": "a"},
    "nan key": lambda: {math.nan: 1},
    "object key": lambda: {threading.Lock(): 1},
    "itself": _holding_itself,
    "doubling": _doubling,
    "deep": lambda: nested(400),
    "too deep": lambda: nested(3_000),
}


@dataclass(frozen=True)
class Odd:
    """Stands in a recipe for something odd, which is made anew for each call."""

    name: str

    def __repr__(self) -> str:
        return f"Odd({self.name!r})"


def made(recipe: Any) -> Any:
    """What a recipe describes, all of it new."""
    if isinstance(recipe, Odd):
        return MAKERS[recipe.name]()
    if type(recipe) is dict:
        return {key: made(value) for key, value in recipe.items()}
    if type(recipe) in (list, tuple):
        return type(recipe)(made(value) for value in recipe)
    return recipe


def shape(value: Any) -> list[Any]:
    """All that a value holds, to compare it with what it held before; touches no foreign object."""
    told: list[Any] = []
    known: dict[int, int] = {}
    left = [value]
    while left:
        value = left.pop()
        kind = type(value)
        if kind in (str, bytes, bool, int, float, type(None)):
            told.append(value if value == value else "nan")
        elif id(value) in known:
            told.append(("again", known[id(value)]))
        else:
            known[id(value)] = len(known)
            told.append((kind, id(value)))
            if kind in (dict, OddDict):
                told.append(len(value))
                for key, inner in dict.items(value):
                    left += [key, inner]
            elif kind in (list, tuple):
                told.append(len(value))
                left += value
    return told
