"""The pairs that differ most, for reading: what was asked, and the two answers with their differences."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import polars as pl

from mirrorkit.compare import wording
from mirrorkit.compare.metrics import BuiltIn
from mirrorkit.compare.selection import SIDES
from mirrorkit.notebook import differences
from mirrorkit.notebook.compared import Compared
from mirrorkit.notebook.differences import CallRow, FieldChange, ToolCall, Turn
from mirrorkit.notebook.page.redaction import Redaction
from mirrorkit.notebook.visible import cut, marked, more, visible

MOST_CHARACTERS = 3_000
"""So much of each answer is shown."""

_LITTLE = 0.4
"""Two texts with less than this share of the shorter one in common are shown without marks."""

_OF_A_TURN = 1_500
_TURNS = 12
_ROWS = 30
_OF_A_CELL = 300
_OF_A_SUMMARY = 110
_LIKENESS = "similarity"
"""The metric that says which answers are the least alike."""

# what is preferred, by the part of the vote that the silent model has not got
_VOTES = {1.0: "the primary is preferred", 0.5: "a tie", 0.0: "the silent one is preferred"}


def cases(comparison: Compared, count: int, redaction: Redaction) -> str:
    """The `count` pairs that differ most, of the arm that decides, as HTML; texts as `redaction` leaves them.

    Half are those that differ most in the metric that decides, half those whose answers are the least alike;
    where one half has too few that differ at all, the other fills up. Each is folded but the first.
    """
    groups = list(_groups(comparison, count)) if count else []
    shown, number = "", 0
    for metric, pairs in groups:
        shown += f"<h3>in {escape(_named(metric))}</h3>"
        for pair in pairs.iter_rows(named=True):
            number += 1
            shown += _case(pair, number, _difference(comparison, metric, pair), redaction)
    if not shown:
        return ""
    left_out = (
        f"<p>The redaction failed on {redaction.failed:,} of their texts, which are left out.</p>"
        if redaction.failed
        else ""
    )
    return (
        '<section><h2>The pairs that differ most</h2><p class="small">What only one side says is marked, '
        f"<del>primary</del> and <ins>silent</ins>, unless they have little in common.</p>"
        f"{left_out}{shown}</section>"
    )


def _groups(comparison: Compared, count: int) -> Iterator[tuple[str, pl.DataFrame]]:
    """The pairs to show, by the metric that they differ in, no pair twice."""
    decides = comparison.verdict.decided_by or _LIKENESS
    first, second = _differing(comparison, decides, count), _differing(comparison, _LIKENESS, count)
    half = first if decides == _LIKENESS else first.head(max(count - second.height, (count + 1) // 2))
    rest = second.join(half, on="pair_id", how="anti", maintain_order="left").head(count - half.height)
    yield from ((metric, pairs) for metric, pairs in ((decides, half), (_LIKENESS, rest)) if pairs.height)


def _differing(comparison: Compared, metric: str, count: int) -> pl.DataFrame:
    """The pairs that differ most in a metric, without those that do not differ at all.

    A metric of the user's has no value that means "no difference", and neither have votes: of these all are
    shown, the worst first.
    """
    pairs = comparison.examples(metric, count, arm=comparison.verdict.arm)
    chosen = comparison.plan.metric(metric)
    if metric in comparison.plan.metrics or _is_vote(chosen):
        return pairs
    none = 1.0 if chosen.kind in ("ratio", "median") else 0.0
    return pairs.filter(pl.col("difference").ne_missing(none))


def _is_vote(metric: BuiltIn) -> bool:
    return metric.order is not None


def _named(metric: str) -> str:
    return wording.name(metric).replace("_", " ")


def _difference(comparison: Compared, metric: str, pair: Mapping[str, Any]) -> str:
    value, chosen = pair["difference"], comparison.plan.metric(metric)
    if value is None:
        return f"{_named(metric)} unknown"
    if chosen.kind in ("ratio", "median"):
        return f"{_named(metric)} ×{wording.three_digits(value)}"
    if chosen.kind == "totals":
        return f"{_named(metric)} {wording.effect(value, 'difference', chosen.unit)}"
    if chosen.kind == "shares":
        return f"{_named(metric)}: only the {'silent' if value > 0 else 'primary'} side"
    if _is_vote(chosen):
        return f"{_named(metric)}: {_VOTES.get(value, 'no clear one')}"
    if metric not in comparison.plan.metrics and chosen.better == "higher":
        value = 1 - value
    return f"{_named(metric)} {wording.quantity(value, chosen.unit)}".strip()


def _case(pair: Mapping[str, Any], number: int, difference: str, redaction: Redaction) -> str:
    head = f"{number}. {wording.name(pair['arm'])}: {difference} (pair {wording.name(pair['pair_id'])})"
    is_open = " open" if number == 1 else ""
    return (
        f'<details class="example"{is_open}><summary>{escape(head)}</summary>'
        f"{_asked(differences.conversation(redaction.messages(pair['messages'])))}"
        f"{_answers(pair, redaction)}{_said_of_it(pair, redaction)}</details>"
    )


def _asked(turns: Sequence[Turn]) -> str:
    """The conversation, folded; the last thing that was said is in view."""
    if not turns:
        return '<p class="small">What was asked is not on record.</p>'
    last = " ".join(turns[-1].text[: 2 * _OF_A_SUMMARY].split())
    begun = visible(last[:_OF_A_SUMMARY]) + "…" * (len(turns[-1].text) > _OF_A_SUMMARY)
    count = "1 message" if len(turns) == 1 else f"{len(turns):,} messages"
    left_out = len(turns) - _TURNS
    first = f'<p class="more">{left_out:,} earlier messages are not shown</p>' if left_out > 0 else ""
    shown = "".join(
        f'<p class="small">{visible(wording.name(turn.role, 80))}</p><pre>{cut(turn.text, _OF_A_TURN)}</pre>'
        for turn in turns[-_TURNS:]
    )
    return (
        f'<details class="asked"><summary><span class="small">asked ({count}):</span> {begun}</summary>'
        f"{first}{shown}</details>"
    )


def _answers(pair: Mapping[str, Any], redaction: Redaction) -> str:
    """Both answers: JSON field by field, tool calls one by one, other texts side by side."""
    outputs = [redaction.document(pair[f"{side}_output"]) or "" for side in SIDES]
    fields = differences.fields(*outputs)
    calls = differences.calls(*(redaction.messages(pair[f"{side}_tool_calls"]) for side in SIDES))
    texts = _texts(*outputs)
    columns = []
    for side, text in zip(SIDES, texts, strict=True):
        error = redaction.text(pair[f"{side}_error_message"])
        shown = text * (fields is None) + (
            f'<pre class="failed">{cut(error, _OF_A_TURN)}</pre>' if error else ""
        )
        if not shown and fields is None and not calls:
            shown = '<p class="more">nothing on record</p>'
        columns.append(f'<div><p class="small">{side}: {escape(_measures(pair, side))}</p>{shown}</div>')
    return f"{_sides(columns)}{_fields_html(fields, texts)}{_calls_html(calls)}"


def _sides(columns: Sequence[str]) -> str:
    return f'<div class="sides">{"".join(columns)}</div>'


def _texts(one: str, other: str) -> list[str]:
    """Two texts side by side, cut, with what only one has marked unless that is nearly everything."""
    if not (one and other):
        return [f"<pre>{cut(text, MOST_CHARACTERS)}</pre>" * bool(text) for text in (one, other)]
    segments = differences.words(one[:MOST_CHARACTERS], other[:MOST_CHARACTERS])
    alike = sum(len(text) for kind, text in segments if kind == "same")
    if alike < _LITTLE * min(len(one), len(other), MOST_CHARACTERS):
        return [f"<pre>{cut(text, MOST_CHARACTERS)}</pre>" for text in (one, other)]
    return [
        f"<pre>{marked(segments, side)}{more(len(text) - MOST_CHARACTERS)}</pre>"
        for side, text in zip(SIDES, (one, other), strict=True)
    ]


def _fields_html(fields: Sequence[FieldChange] | None, texts: Sequence[str]) -> str:
    """The fields that differ, how many do not, and the answers as they were written, folded."""
    if fields is None:
        return ""
    differ = [field for field in fields if field.kind != "same"]
    same = len(fields) - len(differ)
    rows = "".join(
        f'<tr><th scope="row">{cut(field.path, _OF_A_CELL)}</th>'
        f"{_value(field.before, 'del')}{_value(field.after, 'ins')}</tr>"
        for field in differ[:_ROWS]
    )
    head = '<th scope="col">field</th><th scope="col">primary</th><th scope="col">silent</th>'
    table = _table(head, rows) if rows else ""
    told = [f"{len(differ) - _ROWS:,} more fields differ"] if len(differ) > _ROWS else []
    told += [f"{_fields(same)} the same on both sides"] if same else []
    written = f'<details class="asked"><summary>as they were written</summary>{_sides(texts)}</details>'
    return f'{table}<p class="small">{escape("; ".join(told) or "no field is the same")}</p>{written}'


def _fields(count: int) -> str:
    return "1 field is" if count == 1 else f"{count:,} fields are"


def _value(value: str | None, tag: str) -> str:
    return f"<td>{wording.UNKNOWN}</td>" if value is None else f"<td><{tag}>{visible(value)}</{tag}></td>"


def _calls_html(rows: Sequence[CallRow]) -> str:
    if not rows:
        return ""
    shown = "".join(
        f'<tr><th scope="row">{"same" if row.agrees else "differs"}</th>'
        f"{_call(row.primary)}{_call(row.silent)}</tr>"
        for row in rows[:_ROWS]
    )
    head = '<th scope="col">tool calls</th><th scope="col">primary</th><th scope="col">silent</th>'
    left_out = len(rows) - _ROWS
    return _table(head, shown) + (f'<p class="more">{left_out:,} more are not shown</p>' * (left_out > 0))


def _call(call: ToolCall | None) -> str:
    if call is None:
        return f"<td>{wording.UNKNOWN}</td>"
    return f"<td><b>{cut(call.name, 80)}</b> <code>{cut(call.arguments, _OF_A_CELL)}</code></td>"


def _table(head: str, rows: str) -> str:
    return (
        f'<div class="wide"><table class="facts"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _measures(pair: Mapping[str, Any], side: str) -> str:
    status = wording.name(pair[f"{side}_status"])
    seconds, usd = pair[f"{side}_latency_s"], pair[f"{side}_cost_usd"]
    return ", ".join([status, wording.quantity(seconds, "s"), wording.quantity(usd, "USD")])


def _said_of_it(pair: Mapping[str, Any], redaction: Redaction) -> str:
    """Whom a person and a judge prefer, and what they say."""
    told = list(_opinion("A person", pair["preference"], redaction.text(pair["note"])))
    told += _opinion("The judge", pair["judge_preference"], redaction.text(pair["judge_reason"]))
    return "".join(f'<p class="small">{line}</p>' for line in told)


def _opinion(who: str, preference: str | None, why: str | None) -> Iterator[str]:
    liked = {"primary": "prefers the primary", "silent": "prefers the silent model", "tie": "calls it a tie"}
    words = f"{who} {liked.get(preference or '', 'gives no verdict')}"
    if preference or why:
        yield escape(words) + (f": {cut(why, _OF_A_TURN)}" if why else ".")
