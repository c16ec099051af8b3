"""How two answers differ, for reading: word by word, field by field, call by call; and what was asked."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any, Literal

from mirrorkit.compare import wording
from mirrorkit.compare.answers import documents
from mirrorkit.compare.answers.paths import inside, sayable

Kind = Literal["same", "removed", "added"]
Segment = tuple[Kind, str]

MOST_WORDS = 12_000
"""Two texts are compared word by word up to this many words of each, what they begin and end with in common
left out: a tenth of a second."""

MOST_ROWS = 1_000
"""At most so many fields, or tool calls, are told of."""

_LONGEST = 300
# letters and digits, spaces, each sign; Chinese and Japanese put no space between words
_CJK = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORD = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+|\s+|.")
_LETTER = re.compile(r"\w")
_ABSENT = object()
_NO_CALLS = ("", "[]", "null")
_CRUMB = 8
_DEEPEST = 5
_NOT_SAID = ("role", "type", "content", "id", "status", "name", "tool_call_id", "call_id")
_RESULTS = ("tool", "function", "function_call_output")
_TEXTS = ("text", "input_text", "output_text", "refusal")
_PARTS = {"image_url": "image", "input_image": "image", "input_audio": "audio", "input_file": "file"}
# as capture records it in the place of base64
_MEDIUM = re.compile(r"\[([A-Za-z0-9.+_/-]{3,201}), ([0-9]{1,15}) bytes, sha256:[0-9a-f]{64}\]")


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field of two JSON answers: its path, and its value on each side as JSON, None where it is not."""

    path: str
    before: str | None
    after: str | None
    kind: Literal["same", "changed", "added", "removed"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that a model called: its name, and the arguments as JSON."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class CallRow:
    """A tool call of each side, None where a side has no such call, and whether they are the same."""

    primary: ToolCall | None
    silent: ToolCall | None
    agrees: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation: who spoke, and what was said."""

    role: str
    text: str


def words(a: str, b: str, limit: int = MOST_WORDS) -> list[Segment]:
    """The texts word by word: what both have ("same"), what only `a` has ("removed"), or only `b` ("added").

    In reading order, nothing empty; the parts that are same or removed make `a`, those same or added `b`.
    Where more than `limit` words of either are left between what they begin and end with in common, these
    are told as one removal and one addition.

    >>> words("The sky is blue.", "The sky is deep red.")
    [('same', 'The sky is '), ('removed', 'blue'), ('added', 'deep red'), ('same', '.')]
    """
    one, other = _WORD.findall(a), _WORD.findall(b)
    start = _common(one, other)
    end = _common(one[start:][::-1], other[start:][::-1])
    middle = _changed(one[start : len(one) - end], other[start : len(other) - end], limit)
    return _told(chain([("same", one[:start])], middle, [("same", one[len(one) - end :])]))


def fields(a: str, b: str) -> list[FieldChange] | None:
    """The fields of two JSON answers side by side, in the order of the first; None where either is none.

    An answer is an object or an array, with a code fence around it or not. Lists go by position. What only
    one side has, or is another kind of thing on each, is one row. Of more than `MOST_ROWS` fields those that
    are the same are left out, then the last.

    >>> [(field.path, field.before, field.after) for field in fields('{"a": [1, 2]}', '{"a": [1], "b": 3}')]
    [('$.a[0]', '1', '1'), ('$.a[1]', '2', None), ('$.b', None, '3')]
    """
    try:
        one, other = (documents.read_container(unfenced(text)) for text in (a, b))
    except (documents.NoJson, documents.BeyondReading):
        return None
    found = list(_fields(one, other))
    if len(found) > MOST_ROWS:
        found = [field for field in found if field.kind != "same"] or found
    return found[:MOST_ROWS]


def calls(a: str | None, b: str | None) -> list[CallRow]:
    """The tool calls of two answers, as they are recorded, lined up by name in the order they were made.

    What is no list of calls is shown as the arguments of one that is "unreadable".

    >>> [row] = calls('[{"name": "now"}]', None)
    >>> row.primary, row.agrees
    (ToolCall(name='now', arguments='{}'), False)
    """
    from rapidfuzz.distance import Levenshtein

    one, other = _calls(a), _calls(b)
    rows: list[CallRow] = []
    for step in Levenshtein.opcodes([_name(call) for call in one], [_name(call) for call in other]):
        here, there = one[step.src_start : step.src_end], other[step.dest_start : step.dest_end]
        rows += [_row(*pair) for pair in zip_longest(here, there, fillvalue=_ABSENT)]
    return rows


def conversation(messages: str | None) -> list[Turn]:
    """What was asked, message by message, as it is recorded; whatever its shape, it comes out readable.

    Pictures and the like are named in brackets, with kind and size where these are recorded; so are tool
    calls. What is no conversation, such as the input of an embedding, is of the role "input".

    >>> conversation('[{"role": "user", "content": ["Who?", {"type": "image_url"}]}]')
    [Turn(role='user', text='Who?\\n[image]')]
    >>> conversation('["one", "two"]')
    [Turn(role='input', text='one'), Turn(role='input', text='two')]
    """
    if messages is None:
        return []
    try:
        read = documents.read(messages)
    except (documents.NoJson, documents.BeyondReading):
        return [Turn("input", messages)]
    if not isinstance(read, list):
        read = [read]
    elif read and all(isinstance(each, int | float) for each in read):
        read = [read]  # the numbers of tokens: one input
    named: dict[str, str] = {}
    return [_turn(each, named) for each in read]


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many items the two begin with in common."""
    for number, (here, there) in enumerate(zip(one, other, strict=False)):
        if here != there:
            return number
    return min(len(one), len(other))


def _changed(one: list[str], other: list[str], limit: int) -> Iterator[tuple[Kind, list[str]]]:
    from rapidfuzz.distance import Indel

    if max(len(one), len(other)) > limit:
        yield "removed", one
        yield "added", other
        return
    numbers: dict[str, int] = {}
    first, second = ([numbers.setdefault(word, len(numbers)) for word in each] for each in (one, other))
    for step in Indel.opcodes(first, second):
        here, there = one[step.src_start : step.src_end], other[step.dest_start : step.dest_end]
        if step.tag == "equal":
            yield "same", here
        else:
            yield "removed", here
            yield "added", there


def _told(steps: Iterable[tuple[Kind, list[str]]]) -> list[Segment]:
    """The steps as segments: between two changes, a crumb that is the same is part of the change.

    A sign or a space that two sentences happen to share makes a difference harder to read, not easier.
    """
    told: list[tuple[str, str, str]] = []
    for same, removed, added in _hunks(steps):
        if told and (removed or added) and len(same) < _CRUMB and not _LETTER.search(same):
            before, removed_before, added_before = told.pop()
            told.append((before, f"{removed_before}{same}{removed}", f"{added_before}{same}{added}"))
        else:
            told.append((same, removed, added))
    kinds: tuple[Kind, Kind, Kind] = ("same", "removed", "added")
    return [segment for hunk in told for segment in zip(kinds, hunk, strict=True) if segment[1]]


def _hunks(steps: Iterable[tuple[Kind, list[str]]]) -> list[tuple[str, str, str]]:
    """What is the same, then what is removed and what is added after it, again and again."""
    hunks = [("", "", "")]
    for kind, found in steps:
        text = "".join(found)
        same, removed, added = hunks[-1]
        if kind == "same" and (removed or added):
            hunks.append((text, "", ""))
        elif kind == "same":
            hunks[-1] = (same + text, "", "")
        elif kind == "removed":
            hunks[-1] = (same, removed + text, added)
        else:
            hunks[-1] = (same, removed, added + text)
    return hunks


def unfenced(text: str) -> str:
    r"""The text without a code fence around the whole of it.

    >>> unfenced("```json\n[1]\n```")
    '[1]\n'
    """
    bare = text.strip()
    if not (bare.startswith("```") and bare.endswith("```") and "\n" in bare):
        return bare
    return bare.partition("\n")[2].removesuffix("```")


def _fields(one: Any, other: Any) -> Iterator[FieldChange]:
    todo: list[tuple[Any, Any, str]] = [(one, other, "$")]
    while todo:  # no recursion: a document may be as deep as can be read
        here, there, path = todo.pop()
        if parts := _parts(here, there):
            todo.extend((*sides, inside(path, step)) for step, sides in reversed(parts))
            continue
        before, after = (None if side is _ABSENT else _json(side) for side in (here, there))
        yield FieldChange(_shortened(path), before, after, _kind(here, there))


def _parts(one: Any, other: Any) -> list[tuple[str | int, tuple[Any, Any]]]:
    """The parts of two objects or of two arrays, side by side; none of what has none."""
    if isinstance(one, dict) and isinstance(other, dict):
        return [(key, (one.get(key, _ABSENT), other.get(key, _ABSENT))) for key in one | other]
    if isinstance(one, list) and isinstance(other, list):
        return list(enumerate(zip_longest(one, other, fillvalue=_ABSENT)))
    return []


def _kind(one: Any, other: Any) -> Literal["same", "changed", "added", "removed"]:
    if one is _ABSENT:
        return "added"
    if other is _ABSENT:
        return "removed"
    return "changed" if documents.compare(one, other) else "same"


def _json(value: Any) -> str:
    """A value as JSON, cut where it is long."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (RecursionError, ValueError):
        text = "…"
    text = sayable(text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _shortened(path: str) -> str:
    half = _LONGEST // 2
    return path if len(path) <= _LONGEST else f"{path[: half - 1]}…{path[-half:]}"


def _calls(text: str | None) -> list[Any]:
    if text is None or text.strip() in _NO_CALLS:
        return []
    read = documents.read_calls(text)
    if not isinstance(read, list):
        read = [{"name": "unreadable", "arguments": read}]
    return read[:MOST_ROWS]


def _name(call: Any) -> str:
    name = call.get("name") if isinstance(call, dict) else None
    return sayable(name) if isinstance(name, str) and name else "unnamed"


def _row(one: Any, other: Any) -> CallRow:
    agrees = one is not _ABSENT and other is not _ABSENT and not documents.compare(one, other)
    return CallRow(_call(one), _call(other), agrees)


def _call(call: Any) -> ToolCall | None:
    if call is _ABSENT:
        return None
    arguments = call.get("arguments", {}) if isinstance(call, dict) else call
    # arguments that are no JSON stay the text that they are
    return ToolCall(_name(call), sayable(arguments) if isinstance(arguments, str) else _dumped(arguments))


def _dumped(value: Any) -> str:
    try:
        return sayable(json.dumps(value, ensure_ascii=False, default=str))
    except (RecursionError, ValueError):
        return "…"


def _turn(message: Any, named: dict[str, str]) -> Turn:
    if not isinstance(message, dict):
        return Turn("input", sayable(message) if isinstance(message, str) else _dumped(message))
    said = [*_said(message.get("content")), *_said(message.get("output")), *_asked_of_tools(message, named)]
    if not said and message.get("content") is None:
        rest = {key: value for key, value in message.items() if key not in _NOT_SAID and value is not None}
        said = [_dumped(rest)] * bool(rest)
    return Turn(_role(message, named), "\n".join(said))


def _role(message: dict[str, Any], named: dict[str, str]) -> str:
    role = message.get("role") or message.get("type")
    if role in _RESULTS:
        which = message.get("tool_call_id") or message.get("call_id")
        name = message.get("name") or (named.get(which) if isinstance(which, str) else None)
        return f"result of {_short(name)}" if isinstance(name, str) else "tool result"
    if role == "function_call":
        return "assistant"
    return _short(role) if isinstance(role, str) else "input"


def _asked_of_tools(message: dict[str, Any], named: dict[str, str]) -> Iterator[str]:
    """The tool calls in a message, old ones and those of the responses API too."""
    made = message.get("tool_calls")
    made = made if isinstance(made, list) else []
    if message.get("function_call") is not None:
        made = [*made, message["function_call"]]
    if message.get("type") == "function_call":
        made = [*made, message]
    for call in made:
        inner = call.get("function", call) if isinstance(call, dict) else None
        which = (call.get("id") or call.get("call_id")) if isinstance(call, dict) else None
        if isinstance(which, str):
            named[which] = _name(inner)
        arguments = inner.get("arguments", "") if isinstance(inner, dict) else call
        yield _tool_call(_name(inner), arguments)


def _tool_call(name: str, arguments: Any) -> str:
    text = sayable(arguments) if isinstance(arguments, str) else _dumped(arguments)
    return f"[tool call] {name}({text})"


def _said(content: Any, deep: int = 0) -> Iterator[str]:
    """The texts of a message's content, and the names of what is no text."""
    if isinstance(content, str):
        yield sayable(content)
    elif isinstance(content, list) and deep < _DEEPEST:
        for part in content:
            yield from _said(part, deep + 1)
    elif isinstance(content, dict):
        yield from _part(content, deep)
    elif content is not None:
        yield _dumped(content)


def _part(part: dict[str, Any], deep: int) -> Iterator[str]:
    kind = part.get("type")
    text = part.get("text", part.get("refusal"))
    if isinstance(text, str) and kind in (None, *_TEXTS):
        yield sayable(text)
    elif kind == "tool_use":
        yield _tool_call(_name(part), part.get("input"))
    elif kind == "tool_result" and deep < _DEEPEST:
        yield "[tool result]"
        yield from _said(part.get("content"), deep + 1)
    elif isinstance(kind, str):
        yield f"[{_medium(part) or _PARTS.get(kind, _short(kind))}]"
    else:
        yield _dumped(part)


def _medium(part: dict[str, Any], deep: int = 3) -> str | None:
    """What the image, audio or file in a part is, and its size, where it was recorded by these."""
    for value in part.values():
        if isinstance(value, str) and (found := _MEDIUM.fullmatch(value)):
            return f"{found[1]}, {_size(int(found[2]))}"
        if isinstance(value, dict) and deep and (inner := _medium(value, deep - 1)):
            return inner
    return None


def _size(count: int) -> str:
    if count < 1_000:
        return f"{count} bytes"
    scale, unit = (1_000, "kB") if count < 1_000_000 else (1_000_000, "MB")
    return f"{wording.three_digits(count / scale)} {unit}"


def _short(name: str) -> str:
    return wording.name(sayable(name), 60)
