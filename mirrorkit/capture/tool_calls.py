"""Tool calls, whole or put together from the pieces of a stream."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from json import loads
from typing import Any

from mirrorkit.capture.fields import field_of, name_of, text_of


@dataclass(slots=True)
class _Call:
    choice: int
    index: int
    id: str | None
    name: str | None = None
    arguments: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether the arguments, as far as they have come, are JSON of their own."""
        try:
            return isinstance(loads("".join(self.arguments)), dict | list)
        except ValueError:
            return False


class ToolCalls:
    """The tool calls of an answer, in the order of their choices and indices."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []

    def begin(self, choice: int, call: Any, index: int | None = None) -> None:
        """Take a call, or the first piece of one."""
        at = sum(1 for known in self._calls if known.choice == choice) if index is None else index
        # ids are drawn anew for each answer: they tell calls apart, and say nothing about them
        self._calls.append(_Call(choice, at, name_of(field_of(call, "id"))))
        self._extend(self._calls[-1], *_said(call))

    def add(self, choice: int, piece: Any) -> None:
        """Take a piece from a stream: more of a call that has begun, or the first of another."""
        index, (name, arguments) = field_of(piece, "index"), _said(piece)
        index = index if isinstance(index, int) else None
        call = self._continued(choice, index, name_of(field_of(piece, "id")), name, arguments)
        if call is None:
            self.begin(choice, piece, index)
        else:
            call.id = call.id or name_of(field_of(piece, "id"))
            self._extend(call, name, arguments)

    def made(self) -> tuple[Mapping[str, str | None], ...]:
        """What has come of them."""
        return tuple(
            {
                "name": call.name,
                "arguments": "".join(call.arguments) if call.arguments else None,
            }
            for call in sorted(self._calls, key=lambda call: (call.choice, call.index))
        )

    def __bool__(self) -> bool:
        return bool(self._calls)

    def _continued(
        self, choice: int, index: int | None, id_: str | None, name: str | None, arguments: str | None
    ) -> _Call | None:
        """The call that a piece belongs to; None if it begins one.

        Providers lose indices, give every call the same one, and repeat ids and names on each piece.
        """
        own = [call for call in reversed(self._calls) if call.choice == choice]
        if id_ is not None and (same := [call for call in own if call.id == id_]):
            return same[0]
        call = next((call for call in own if index is None or call.index == index), None)
        if call is None or (id_ is not None and call.id is not None):
            return None
        if not name or not "".join(call.arguments):
            return call
        begins = name != call.name or (bool((arguments or "").strip()) and call.is_whole)
        return None if begins else call

    def _extend(self, call: _Call, name: str | None, arguments: str | None) -> None:
        if name is not None and name != call.name:
            call.name = (call.name or "") + name
        if arguments is not None:
            call.arguments.append(arguments)


def _said(call: Any) -> tuple[str | None, str | None]:
    """Name and arguments of a function's call or of a custom tool's, whose arguments are free text."""
    custom = field_of(call, "custom")
    body, arguments = (field_of(call, "function"), "arguments") if custom is None else (custom, "input")
    return text_of(field_of(body, "name")), text_of(field_of(body, arguments))
