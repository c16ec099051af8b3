"""What a user wants hidden, hidden from texts before they are shown to others."""

import json
from collections.abc import Callable, Collection
from decimal import Decimal
from typing import Any

from mirrorkit.compare.answers import documents
from mirrorkit.compare.answers.paths import LONGEST_KEY, inside, read_path, sayable
from mirrorkit.notebook.differences import unfenced

LEFT_OUT = "[left out: the redaction failed on this text]"

# what a message, a part of one and a tool call are made of: without these keys they could not be read
_KEYS = frozenset((
    "role", "type", "id", "call_id", "tool_call_id", "status", "content", "text", "refusal", "name",
    "arguments", "function", "function_call", "tool_calls", "input", "output",
))  # fmt: skip
# what these say that is no text of anybody's; any other value is redacted
_KNOWN = {
    "role": frozenset(("system", "developer", "user", "assistant", "tool", "function")),
    "type": frozenset((
        "text", "input_text", "output_text", "refusal", "message", "function", "function_call",
        "function_call_output", "tool_use", "tool_result", "image", "image_url", "input_image",
        "input_audio", "file", "input_file", "document", "reasoning", "thinking",
    )),
    "status": frozenset(("in_progress", "completed", "incomplete")),
}  # fmt: skip
# what holds further parts and calls; all else, such as arguments, is free in its shape
_PARTS = ("content", "output", "function", "function_call", "tool_calls")


class Redaction:
    """Applies a user's function to every text; one that it raises on is left out, and counted in `failed`."""

    def __init__(self, redact: Callable[[str], str] | None) -> None:
        self._redact = redact
        self._paths: dict[str, str] = {}
        self.failed = 0

    @property
    def is_on(self) -> bool:
        """Whether there is anything to apply."""
        return self._redact is not None

    def text(self, text: str | None) -> str | None:
        """The text as it may be shown; None stays None.

        >>> Redaction(lambda text: text.replace("Ada", "N.N.")).text("Dear Ada")
        'Dear N.N.'
        >>> Redaction(lambda text: text[99]).text("Dear Ada") == LEFT_OUT
        True
        """
        return None if text is None else self._changed(text)

    def document(self, text: str | None) -> str | None:
        r"""A text that may be JSON, as an answer is: each text and number inside, and each key.

        JSON can spell a name in many ways, so that only what is inside of it can be looked at. Keys of an
        object that become the same are numbered.

        >>> Redaction(lambda text: text.replace("Ä", "?")).document('{"id": "\\u00c4", "n": 1.5}')
        '{"id": "?", "n": 1.5}'
        >>> Redaction(lambda text: "X").document('{"Ada": 1, "Bob": true}')
        '{"X": "X", "X (2)": true}'
        """
        return self._read(text, self._inside)

    def messages(self, text: str | None) -> str | None:
        """Messages or tool calls as they are recorded: as `document`, but what makes them readable stays.

        That is the keys of messages, their parts and tool calls, and the roles, types and states that are
        known. What a call is given is a document.

        >>> Redaction(lambda text: "X").messages('[{"role": "user", "content": "Ada"}]')
        '[{"role": "user", "content": "X"}]'
        """
        return self._read(text, self._part)

    def path(self, path: str) -> str:
        """The path of a JSON field with each of its keys redacted; two that become the same are numbered.

        >>> redaction = Redaction(lambda text: text.replace("Ada", "N.N.").replace("Bob", "N.N."))
        >>> redaction.path("$.items[*].price"), redaction.path('$["Ada"].age'), redaction.path("$.Bob.age")
        ('$.items[*].price', '$["N.N."].age', '$["N.N."].age (2)')
        """
        if self._redact is None:
            return path
        if path not in self._paths:
            self._paths[path] = _numbered(self._steps(path), self._paths.values())
        return self._paths[path]

    def _steps(self, path: str) -> str:
        try:
            steps = read_path(path)
        except ValueError:
            return path if path == "$" else self._changed(path)
        shown = "$"
        if path.startswith("tool_calls"):
            shown, steps = "tool_calls", steps[1:]
        for step in steps:
            if step is None:
                shown += "[*]"
            elif isinstance(step, int):
                shown = inside(shown, step)
            else:  # of a key that was cut, the redaction could not know what it is
                shown = inside(shown, "…" if len(step) > LONGEST_KEY else self._changed(step))
        return shown

    def _changed(self, text: str) -> str:
        if self._redact is None:
            return text
        try:
            changed = self._redact(text)
        except Exception:  # whatever the user's function raises: its message may quote the text
            changed = None
        if isinstance(changed, str):
            return sayable(changed)
        self.failed += 1
        return LEFT_OUT

    def _read(self, text: str | None, redacted: Callable[[Any], Any]) -> str | None:
        if text is None or self._redact is None:
            return text
        try:
            return self._document(text, redacted)
        except RecursionError:
            self.failed += 1
            return LEFT_OUT

    def _document(self, text: str, redacted: Callable[[Any], Any]) -> str:
        try:
            read = documents.read(unfenced(text))
        except (documents.NoJson, documents.BeyondReading):
            return self._changed(text)
        if not isinstance(read, dict | list | str):
            return self._changed(text)
        return sayable(json.dumps(redacted(read), ensure_ascii=False, default=str))

    def _inside(self, value: Any) -> Any:
        """What is in a document: any key may be a name, and any number one of somebody's."""
        if isinstance(value, str):
            return self._document(value, self._inside)  # a text may be JSON once more, as arguments are
        if isinstance(value, list):
            return [self._inside(each) for each in value]
        if isinstance(value, dict):
            return self._object(value, (), lambda _, each: self._inside(each))
        return value if value is None or isinstance(value, bool) else self._number(value)

    def _part(self, value: Any) -> Any:
        """A message, a part of one, a tool call, or a list of them."""
        if isinstance(value, list):
            return [self._part(each) for each in value]
        if isinstance(value, dict):
            return self._object(value, _KEYS, self._of_part)
        return self._inside(value)

    def _of_part(self, key: str, value: Any) -> Any:
        if isinstance(value, str) and value in _KNOWN.get(key, ()):
            return value
        return self._part(value) if key in _PARTS else self._inside(value)

    def _object(
        self, value: dict[str, Any], keys: Collection[str], redacted: Callable[[str, Any], Any]
    ) -> dict[str, Any]:
        stay = {key for key in value if key in keys}
        shown: dict[str, Any] = {}
        for key, each in value.items():
            name = key if key in stay else _numbered(self._changed(key), stay | shown.keys())
            shown[name] = redacted(key, each)
        return shown

    def _number(self, number: float | Decimal) -> Any:
        changed = self._changed(str(number))
        return number if changed == str(number) else changed


def _numbered(name: str, taken: Collection[str]) -> str:
    """The name, with a number where it is taken."""
    shown, number = name, 1
    while shown in taken:
        number += 1
        shown = f"{name} ({number})"
    return shown
