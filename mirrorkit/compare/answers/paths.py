"""Where in a JSON document something is: `$.items[2].price`, read and written."""

import json
import re

Step = str | int | None
"""A key, an index, or None: any key or index."""

Path = tuple[Step, ...]

LONGEST_KEY = 200
"""Longer keys are shown cut: a model may have made one up."""

_STEP = re.compile(
    r"""\.(?P<any>\*)
      | \.(?P<key>[^.\[\]"'*\s]+)
      | \[(?P<every>\*)\]
      | \[(?P<index>[0-9]{1,9})\]
      | \[(?P<quoted>"(?:[^"\\]|\\.)*")\]""",
    re.VERBOSE,
)
_PLAIN_KEY = re.compile(r"[\w-]+")


def read_path(text: str) -> Path:
    """The steps of a path, the leading `$` left out; `[*]` and `.*` stand for any key or index.

    Raises ValueError for what is no path, and for `$` alone.

    >>> read_path('$.items[*].price["odd key"]')
    ('items', None, 'price', 'odd key')
    """
    rest = text.removeprefix("$")
    if text.startswith("tool_calls["):  # as the paths of tool calls are shown
        rest = f".{text}"
    steps: list[Step] = []
    at = 0
    while at < len(rest):
        found = _STEP.match(rest, at)
        if found is None:
            raise ValueError(f"cannot be read from {rest[at : at + 40]!r} on")
        steps.append(_step(found))
        at = found.end()
    if not steps:
        raise ValueError("is the whole answer")
    return tuple(steps)


def _step(found: re.Match[str]) -> Step:
    if (key := found["key"]) is not None:
        return key
    if (index := found["index"]) is not None:
        return int(index)
    if (quoted := found["quoted"]) is not None:
        return str(json.loads(quoted))
    return None


def inside(path: str, step: str | int) -> str:
    """The path of one step further in.

    >>> inside("$.items", 2), inside("$", "price"), inside("$", "odd key")
    ('$.items[2]', '$.price', '$["odd key"]')
    """
    if isinstance(step, int):
        return f"{path}[{step}]"
    if len(step) > LONGEST_KEY:
        step = step[:LONGEST_KEY] + "…"
    if _PLAIN_KEY.fullmatch(step):
        return f"{path}.{step}"
    return f"{path}[{sayable(json.dumps(step, ensure_ascii=False))}]"


def sayable(text: str) -> str:
    r"""The text with lone surrogates, which JSON can spell and UTF-8 cannot, as their escapes.

    >>> sayable("a\ud800")
    'a\\ud800'
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
