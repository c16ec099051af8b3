"""What a user wants changed in texts before they are shown to others."""

import json
from collections.abc import Callable
from typing import Any

from mirrorkit.compare.answers import documents
from mirrorkit.compare.answers.paths import sayable
from mirrorkit.notebook.differences import unfenced

LEFT_OUT = "[left out: the redaction failed on this text]"

# what says what a part of a message is, and is no text
_STRUCTURE = ("role", "type", "id", "call_id", "tool_call_id", "status")
# the keys of messages and of tool calls, without which they could not be read
_KEYS = (*_STRUCTURE, "content", "text", "refusal", "name", "arguments", "function", "function_call",
         "tool_calls", "input", "output")  # fmt: skip


class Redaction:
    """Applies a user's function to every text; one that it raises on is left out, and counted in `failed`."""

    def __init__(self, redact: Callable[[str], str] | None) -> None:
        self._redact = redact
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
        if text is None or self._redact is None:
            return text
        try:
            changed = self._redact(text)
        except Exception:  # whatever the user's function raises: its message may quote the text
            changed = None
        if isinstance(changed, str):
            return sayable(changed)
        self.failed += 1
        return LEFT_OUT

    def document(self, text: str | None) -> str | None:
        r"""A text that may be JSON, as what was asked and tool calls are: each text inside, keys too.

        JSON can spell a name in many ways, so that only what is inside of it can be looked at.

        >>> Redaction(lambda text: text.replace("Ä", "?")).document('{"content": "\\u00c4"}')
        '{"content": "?"}'
        """
        if text is None or self._redact is None:
            return text
        try:
            return self._document(text)
        except RecursionError:
            self.failed += 1
            return LEFT_OUT

    def _document(self, text: str) -> str | None:
        try:
            read = documents.read(unfenced(text))
        except (documents.NoJson, documents.BeyondReading):
            return self.text(text)
        if isinstance(read, str):
            return json.dumps(self.text(read), ensure_ascii=False)
        if not isinstance(read, dict | list):
            return self.text(text)
        return sayable(json.dumps(self._inside(read), ensure_ascii=False, default=str))

    def _inside(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._document(value)  # the arguments of a tool call are JSON once more
        if isinstance(value, list):
            return [self._inside(each) for each in value]
        if isinstance(value, dict):
            return {
                key if key in _KEYS else self.text(key): each
                if key in _STRUCTURE and isinstance(each, str)
                else self._inside(each)
                for key, each in value.items()
            }
        return value
