"""What a user asked last, in one line, from the messages of a pair."""

import json
from typing import Any

LONGEST = 200_000
"""Characters of messages that are read at most: a picture does not wait for a book."""

_CUT = 400


def last_prompt(messages: str | None) -> str | None:
    """The last user message of a request, on one line, cut; None where there is none. Not yet escaped.

    `messages` is JSON: chat messages, or the input of an embedding or a response.

    >>> last_prompt('[{"role": "user", "content": "How high is\\\\nMont Blanc?"}]')
    'How high is Mont Blanc?'
    >>> last_prompt('[{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]'), last_prompt('"embed"')
    ('Hi', 'embed')
    >>> last_prompt(None), last_prompt("{")
    (None, None)
    """
    if messages is None or len(messages) > LONGEST:
        return None
    try:
        text = _text(json.loads(messages))
    except (ValueError, RecursionError):
        return None
    return " ".join(text[:_CUT].split()) or None


def _text(given: Any) -> str:
    if isinstance(given, str):
        return given
    if not isinstance(given, list):
        return ""
    last = next((each for each in reversed(given) if _is_asked(each)), None)
    return _content(last.get("content")) if isinstance(last, dict) else last or ""


def _is_asked(message: Any) -> bool:
    return isinstance(message, str) or (isinstance(message, dict) and message.get("role") == "user")


def _content(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return " ".join(text for text in texts if isinstance(text, str))
