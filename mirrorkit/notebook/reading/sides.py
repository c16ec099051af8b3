"""One pair as a reader sees it: texts side by side with what differs, and, once told, who wrote which."""

from collections.abc import Iterable, Mapping
from typing import Any

from mirrorkit.compare import wording
from mirrorkit.notebook.differences import CallRow, FieldChange, calls, conversation, fields, words
from mirrorkit.notebook.plain import on_one_line, plain
from mirrorkit.notebook.reading.ballot import place_of

FIRST = 20_000
"""Characters of a text that are shown, and compared, at first."""

STEP = 100_000
"""Characters more that are shown each time they are asked for."""

PARTS = ("left", "right", "conversation")

_JSON_LONGEST = 200_000
_ROWS = 200
_CELL = 2_000
_NAMES = {"left": "A", "right": "B"}
_QUANTITIES = (
    ("latency", "latency_s", "s"),
    ("first token", "ttft_s", "s"),
    ("cost", "cost_usd", "USD"),
    ("input", "input_tokens", "tokens"),
    ("output", "output_tokens", "tokens"),
)
_WORDS = (("finish reason", "finish_reason"), ("error", "error_type"), ("provider", "provider"))


def shown(
    row: Mapping[str, Any], *, silent_left: bool, revealed: bool, limits: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """What the page draws of a pair: data alone, no HTML; each text as `plain` makes it, and cut.

    Args:
        row: the pair's, with the columns of `mirrorkit.records.SCHEMA`.
        silent_left: whether the silent answer is on the left.
        revealed: whether to tell who wrote which, and what tells them apart: models, times, costs, errors.
        limits: characters to show of the parts "left", "right" and "conversation", where more than `FIRST`.

    >>> row = {"pair_id": "p1", "arm": "mini", "primary_output": "Yes.", "silent_output": "No."}
    >>> pair = shown(row, silent_left=True, revealed=False)
    >>> pair["left"]["segments"], pair["left"]["who"], pair["facts"]
    ([('only', 'No'), ('same', '.')], 'A', [])
    """
    limits = {**dict.fromkeys(PARTS, FIRST), **(limits or {})}
    sides = ("silent", "primary") if silent_left else ("primary", "silent")
    texts = {place: row.get(f"{side}_output") for place, side in zip(_NAMES, sides, strict=True)}
    segments = _compared(texts, limits)
    return {
        "id": row["pair_id"],
        "revealed": revealed,
        "preferred": place_of(row.get("preference"), silent_left),
        "note": row.get("note") or "",
        "facts": _pair_facts(row) if revealed else [],
        "conversation": _conversation(row.get("messages"), limits["conversation"]),
        "fields": _fields(texts["left"], texts["right"]),
        "calls": _calls(*(row.get(f"{side}_tool_calls") for side in sides)),
        "unmarked": _unmarked(texts, segments),
        **{
            place: {
                "who": _who(row, side, place, revealed),
                "side": side if revealed else "",
                "facts": _facts(row, side) if revealed else [],
                "failure": _failure(row, side, revealed),
                "segments": segments[place],
                "cut": _cut(texts[place], limits[place]),
                "empty": texts[place] is None or texts[place] == "",
            }
            for place, side in zip(_NAMES, sides, strict=True)
        },
    }


def snippet(messages: str | None) -> str:
    """The start of what was asked last, on one line.

    >>> snippet('[{"role": "user", "content": "Where is my parcel?"}]')
    'Where is my parcel?'
    """
    turns = conversation(messages)
    asked = [turn for turn in turns if turn.role in ("user", "input")] or turns
    return on_one_line(asked[-1].text, 90) if asked else ""


def _compared(texts: Mapping[str, str | None], limits: Mapping[str, int]) -> dict[str, list[tuple[str, str]]]:
    """Each side's text as segments: "same", "only" there, and the "rest", which is not compared."""
    left, right = (plain((text or "")[:FIRST]) for text in texts.values())
    if texts["left"] and texts["right"]:
        told = words(left, right)
        parts = {
            "left": [_segment(kind, text) for kind, text in told if kind != "added"],
            "right": [_segment(kind, text) for kind, text in told if kind != "removed"],
        }
    else:
        parts = {"left": [("same", left)] * bool(left), "right": [("same", right)] * bool(right)}
    for place, text in texts.items():
        if rest := (text or "")[FIRST : limits[place]]:
            parts[place].append(("rest", plain(rest)))
    return parts


def _unmarked(texts: Mapping[str, str | None], segments: Mapping[str, list[tuple[str, str]]]) -> str:
    """Where two texts differ and nothing is marked: why, in words."""
    left, right = texts["left"], texts["right"]
    if not left or not right or left == right:
        return ""
    if any(kind == "only" for parts in segments.values() for kind, _ in parts):
        return ""
    if left.replace("\r\n", "\n") == right.replace("\r\n", "\n"):
        return "The answers differ in their line endings alone."
    return f"The first {FIRST:,} characters are the same; what differs after these is not marked."


def _segment(kind: str, text: str) -> tuple[str, str]:
    return ("same" if kind == "same" else "only"), text


def _cut(text: str | None, limit: int) -> dict[str, int] | None:
    if text is None or len(text) <= limit:
        return None
    return {"shown": limit, "of": len(text), "step": min(STEP, len(text) - limit)}


def _conversation(messages: str | None, limit: int) -> dict[str, Any]:
    """The turns, the last ones first in their right to be shown."""
    turns = conversation(messages)
    told: list[tuple[str, str]] = []
    left = limit
    for turn in reversed(turns):
        if left <= 0:
            break
        told.append((plain(turn.role), plain(turn.text[:left])))
        left -= max(len(turn.text), 1)
    of = sum(len(turn.text) for turn in turns)
    return {
        "turns": told[::-1],
        "before": len(turns) - len(told),
        "cut": None if left >= 0 and len(told) == len(turns) else _of(of, limit),
    }


def _of(length: int, limit: int) -> dict[str, int]:
    return {"shown": min(limit, length), "of": length, "step": min(STEP, max(length - limit, 0))}


def _fields(left: str | None, right: str | None) -> dict[str, Any] | None:
    if not left or not right or max(len(left), len(right)) > _JSON_LONGEST:
        return None
    found = fields(left, right)
    if found is None:
        return None
    other = [field for field in found if field.kind != "same"]
    return {
        "rows": [_field(field) for field in other[:_ROWS]],
        "same": len(found) - len(other),
        "more": max(0, len(other) - _ROWS),
    }


def _field(field: FieldChange) -> tuple[str, str | None, str | None]:
    return _cell(field.path) or "", _cell(field.before), _cell(field.after)


def _calls(left: str | None, right: str | None) -> dict[str, Any] | None:
    rows = calls(left, right)
    if not rows:
        return None
    return {"rows": [_call(row) for row in rows[:_ROWS]], "more": max(0, len(rows) - _ROWS)}


def _call(row: CallRow) -> tuple[str | None, str | None, bool]:
    # the first side given is on the left, whichever it is
    left, right = (
        None if call is None else f"{call.name}({call.arguments})" for call in (row.primary, row.silent)
    )
    return _cell(left), _cell(right), row.agrees


def _cell(text: str | None) -> str | None:
    if text is None:
        return None
    return plain(text if len(text) <= _CELL else text[: _CELL - 1] + "…")


def _who(row: Mapping[str, Any], side: str, place: str, revealed: bool) -> str:
    if not revealed:
        return _NAMES[place]
    model = row.get(f"{side}_model") or row.get("model_group" if side == "primary" else "arm")
    return " · ".join((_NAMES[place], side, on_one_line(model or "unknown model", 60)))


def _failure(row: Mapping[str, Any], side: str, revealed: bool) -> str:
    status = row.get(f"{side}_status")
    if status is None or status == "ok":
        return ""
    if not revealed:
        return "This call gave no whole answer; why is shown after the vote."
    said = [on_one_line(row.get(f"{side}_{name}") or "", _CELL) for name in ("error_type", "error_message")]
    return ": ".join((on_one_line(status, 40), *filter(None, said)))


def _facts(row: Mapping[str, Any], side: str) -> list[tuple[str, str]]:
    numbers = [(name, _quantity(row.get(f"{side}_{column}"), unit)) for name, column, unit in _QUANTITIES]
    told = [(name, row.get(f"{side}_{column}")) for name, column in _WORDS]
    return [
        *((name, value) for name, value in numbers if value != wording.UNKNOWN),
        *((name, on_one_line(str(value), 60)) for name, value in told if value is not None),
    ]


def _quantity(value: float | None, unit: str) -> str:
    return f"{value:,} {unit}" if isinstance(value, int) else wording.quantity(value, unit)


def _pair_facts(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    started = row.get("started_at")
    told: Iterable[tuple[str, Any]] = (
        ("arm", row.get("arm")),
        ("asked for", row.get("model_group")),
        ("tags", ", ".join(row.get("tags") or ())),
        ("started", f"{started:%Y-%m-%d %H:%M:%S} UTC" if started is not None else None),
        ("judge", row.get("judge_preference")),
        ("pair", row["pair_id"]),
    )
    return [(name, on_one_line(str(value), 80)) for name, value in told if value]
