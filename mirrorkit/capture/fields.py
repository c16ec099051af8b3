"""Fields of LiteLLM's objects, or of the dicts that they stand for."""

import json
from typing import Any


def field_of(source: Any, name: str) -> Any:
    """A field of a LiteLLM object or of the dict it stands for; None where there is none."""
    if isinstance(source, dict):
        return source.get(name)
    return getattr(source, name, None)


def values_of(source: Any) -> dict[str, Any]:
    """All fields of a LiteLLM object, or the dict that stands for it, where many are looked for.

    A field that a pydantic model lacks takes it microseconds to say so.
    """
    if isinstance(source, dict):
        return source
    own, extra = getattr(source, "__dict__", None), getattr(source, "model_extra", None)
    return {**(own or {}), **extra} if isinstance(extra, dict) else own or {}


def text_of(value: Any) -> str | None:
    """A text as it is; where JSON text is due and data came, that data as JSON."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def name_of(value: Any) -> str | None:
    """A name, where there is one."""
    return value if isinstance(value, str) and value else None


def mended(text: str) -> str:
    """A text whose characters may have come in two halves (a surrogate pair), put together again.

    >>> mended(chr(0xD83D) + chr(0xDE00)) == chr(0x1F600)
    True
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return text
