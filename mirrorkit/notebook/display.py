"""A comparison as text for a terminal and as HTML for a page: the verdict first, then what it rests on."""

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from html import escape

from mirrorkit.notebook import words
from mirrorkit.notebook.compared import Compared
from mirrorkit.notebook.words import ArmLines, GateLine, Line, Lines

WIDTH = 100

_WARNINGS_SHOWN = 8
_FINDINGS_SHOWN = 10
"""Findings of an arm that a page lists."""

_WIDTHS = (8, 11, 11, 14, 23)
_GATE_WIDTHS = (11, 22, 14, 23)
_HEAD = ("metric", "pairs", "primary", "silent", "effect", "every look")
_GATE_HEAD = ("gate", "state", "pairs", "effect", "every look")
_ONE_LOOK = "“One look” holds for a single look at a number of pairs that was fixed beforehand."

STYLE = """
.mirrorkit { font: 14px/1.45 system-ui, sans-serif; color: inherit; max-width: 72em; }
.mirrorkit p { margin: .4em 0; }
.mirrorkit h3 { font-size: 1em; font-weight: 600; margin: 1.1em 0 .2em; }
.mirrorkit ul { margin: .2em 0; padding-left: 1.3em; }
.mirrorkit .verdict { border: 1px solid rgba(127, 127, 127, .4); border-left: .55em solid #777777;
  border-radius: 4px; padding: .6em 1em; margin: .7em 0; overflow-wrap: anywhere; }
.mirrorkit .verdict strong { display: block; font-size: 1.35em; }
.mirrorkit .switch { border-left-color: #009E73; background: rgba(0, 158, 115, .1); }
.mirrorkit .keep { border-left-color: #D55E00; border-left-style: double; background: rgba(213, 94, 0, .1); }
.mirrorkit .collecting { border-left-color: #0072B2; border-left-style: dashed;
  background: rgba(0, 114, 178, .1); }
.mirrorkit table { border-collapse: collapse; width: 100%; margin: .4em 0 .6em; font: inherit;
  table-layout: auto !important; /* Jupyter gives all columns one width, and long cells overlap */ }
.mirrorkit th, .mirrorkit td { padding: .28em .9em .28em 0; text-align: right; vertical-align: baseline;
  white-space: nowrap; border: 0; border-bottom: 1px solid rgba(127, 127, 127, .28); background: none; }
.mirrorkit td { font-variant-numeric: tabular-nums; }
.mirrorkit th { font-weight: 600; }
.mirrorkit th:first-child, .mirrorkit th:last-child, .mirrorkit td:last-child,
  .mirrorkit .gates td:nth-child(2), .mirrorkit .gates th:nth-child(2) { text-align: left; }
.mirrorkit .gates td:last-child, .mirrorkit .gates thead th:last-child { text-align: right; }
.mirrorkit .gates td:nth-child(3) { white-space: normal; }
.mirrorkit tbody th { font-weight: 400; }
.mirrorkit tbody th.sub { padding-left: 1.4em; opacity: .8; }
.mirrorkit tbody th[colspan] { white-space: normal; }
.mirrorkit tbody th.arm { font-weight: 600; padding-top: .9em; }
.mirrorkit th:last-child, .mirrorkit td:last-child { padding-right: 0; }
.mirrorkit td.passed, .mirrorkit td.failed { font-weight: 600; }
.mirrorkit .muted { opacity: .62; }
.mirrorkit .wide { overflow-x: auto; }
@media (max-width: 48em) { .mirrorkit th, .mirrorkit td { padding-right: .6em; } }
.mirrorkit summary { cursor: pointer; }
.mirrorkit p.small, .mirrorkit ul.small { font-size: .86em; opacity: .8; }
.mirrorkit p.note { margin: .15em 0; padding-left: 2.2em; text-indent: -2.2em; }
"""


def text(comparison: Compared) -> str:
    """The comparison as plain text, at most 100 columns wide; what is rarely needed is named, not shown."""
    table = words.lines(comparison)
    blocks = [
        _wrapped(words.headline(comparison.frame)),
        [words.ANSWERS[comparison.verdict.answer].upper(), *_each(words.sentences(comparison))],
        _text_gates(words.gate_lines(comparison)),
        _text_list(
            "Found", [words.shown(str(each)) for each in comparison.findings], len(comparison.findings)
        ),
        _text_table(table),
        _text_notes(table),
        _text_list("To know when reading", words.warnings(comparison), _WARNINGS_SHOWN),
        _each(words.legend(comparison, table)),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _wrapped(line: str, indent: str = "", first: str | None = None) -> list[str]:
    return textwrap.wrap(
        line, WIDTH, initial_indent=indent if first is None else first, subsequent_indent=indent
    )


def _each(sentences: Iterable[str]) -> list[str]:
    return [line for sentence in sentences for line in _wrapped(sentence)]


def _text_list(title: str, items: list[str], most: int) -> list[str]:
    if not items:
        return []
    listed = [line for item in items[:most] for line in _wrapped(item, "  ", "- ")]
    more = [f"- and {len(items) - most:,} more, see .warnings"] if len(items) > most else []
    return [title, *listed, *more]


def _columns(first: str, room: int, cells: Iterable[str], widths: Iterable[int], mark: str = "") -> str:
    # a space before each cell, however long it is
    cut = "".join(f" {cell:>{width - 1}}" for cell, width in zip(cells, widths, strict=True))
    return f"{first:<{room}}{cut} {mark}".rstrip()


def _text_gates(gates: list[GateLine]) -> list[str]:
    if not gates:
        return []
    out = [_columns(_GATE_HEAD[0], 28, (f"{_GATE_HEAD[1]:<9}", *_GATE_HEAD[2:]), _GATE_WIDTHS)]
    several = len({gate.arm for gate in gates}) > 1
    arm = ""
    for gate in gates:
        if several and gate.arm != arm:
            out.append(gate.arm)
        arm = gate.arm
        is_short = len(gate.pairs) < _GATE_WIDTHS[1]
        cells = (f"{gate.state:<9}", gate.pairs if is_short else "see below", gate.effect, gate.every_look)
        out.append(_columns(f"{'  ' * several}{gate.gate}", 28, cells, _GATE_WIDTHS))
        out += [] if is_short else _wrapped(gate.pairs, "    ")
    return out


def _text_table(table: Lines) -> list[str]:
    out = [_columns(_HEAD[0], 22, _HEAD[1:], _WIDTHS)]
    for arm in table.arms:
        out.append(arm.title)
        out += [_text_line(line) for line in arm.first]
        for sentence in _left_out(arm):
            out += _wrapped(sentence, "  ")
    return out


def _left_out(arm: ArmLines) -> Iterator[str]:
    yield from arm.without
    if arm.folded:
        yield f"Also in .table: {', '.join(line.label for line in arm.folded if line.is_main)}."


def _text_line(line: Line) -> str:
    cells = (line.pairs, line.primary, line.silent, line.effect, line.every_look)
    return _columns(f"{'  ' if line.is_main else '    '}{line.label}", 22, cells, _WIDTHS, line.mark)


def _text_notes(table: Lines) -> list[str]:
    used = {number for arm in table.arms for line in arm.first for number in line.notes}
    return [
        line
        for note, number in table.notes.items()
        if number in used
        for line in _wrapped(words.shown(note), " " * len(f"[{number}] "), f"[{number}] ")
    ]


def html(comparison: Compared) -> str:
    """The comparison as an HTML fragment with its own style, for light and dark pages; texts are escaped."""
    head = f"<p>{escape(words.headline(comparison.frame))}</p>"
    parts = (verdict_html, gates_html, findings_html, table_html, warnings_html, legend_html)
    body = "".join(part(comparison) for part in parts)
    # JupyterLab would typeset what is between two dollar signs as mathematics
    return f'<style>{STYLE}</style><div class="mirrorkit mathjax_ignore">{head}{body}</div>'


def verdict_html(comparison: Compared) -> str:
    """The verdict in a box: its colour, its border, its sign and its words say the same."""
    answer = comparison.verdict.answer
    said = "".join(f"<p>{_prose(sentence)}</p>" for sentence in words.sentences(comparison))
    look = answer.rpartition(" ")[2]
    return f'<div class="verdict {look}" role="status"><strong>{words.ANSWERS[answer]}</strong>{said}</div>'


def gates_html(comparison: Compared) -> str:
    """Where each gate stands."""
    gates = words.gate_lines(comparison)
    if not gates:
        return ""
    head = "".join(f'<th scope="col">{name}</th>' for name in _GATE_HEAD)
    body, arm = "", ""
    several = len({gate.arm for gate in gates}) > 1
    for gate in gates:
        if several and gate.arm != arm:
            body += f'<tr><th class="arm" colspan="5" scope="rowgroup">{escape(gate.arm)}</th></tr>'
        arm = gate.arm
        state = f'<td class="{gate.state.rpartition(" ")[2]}">{gate.state}</td>'
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in (gate.pairs, gate.effect, gate.every_look))
        body += f'<tr><th scope="row">{escape(gate.gate)}</th>{state}{cells}</tr>'
    return _html_grid(head, body, "gates")


def findings_html(comparison: Compared) -> str:
    """What can be claimed; of an arm with many findings the first, and how many more there are."""
    of_arm: Counter[str] = Counter()
    items = []
    for each in comparison.findings:
        of_arm[each.arm] += 1
        if of_arm[each.arm] <= _FINDINGS_SHOWN:
            items.append(words.shown(str(each)))
    left_out = len(comparison.findings) - len(items)
    return _html_list("Found", [*items, *[f"and {left_out:,} more in .findings"] * (left_out > 0)])


def warnings_html(comparison: Compared) -> str:
    """What must be known to read the numbers rightly."""
    return _html_list("To know when reading", words.warnings(comparison))


def _html_list(title: str, items: list[str]) -> str:
    listed = "".join(f"<li>{_prose(item)}</li>" for item in items)
    return f"<h3>{title}</h3><ul>{listed}</ul>" if items else ""


def _prose(sentence: str) -> str:
    return escape(words.unbroken(sentence))


def legend_html(comparison: Compared) -> str:
    """How the table is to be read."""
    sentences = [*words.legend(comparison, words.lines(comparison)), _ONE_LOOK]
    return f'<p class="small">{escape(" ".join(sentences))}</p>'


def table_html(comparison: Compared) -> str:
    """The table and its notes; rows that are rarely needed are folded."""
    table = words.lines(comparison)
    in_view = _html_rows((arm.title, arm.first, arm.without) for arm in table.arms)
    folded = [(arm.title, arm.folded, ()) for arm in table.arms if arm.folded]
    names = dict.fromkeys(line.label for arm in table.arms for line in arm.folded if line.is_main)
    details = (
        f"<details><summary>more: {escape(', '.join(names))}</summary>{_html_rows(folded)}</details>"
        if folded
        else ""
    )
    notes = "".join(
        f'<p class="small note">[{mark}] {escape(words.shown(note))}</p>'
        for note, mark in table.notes.items()
    )
    return f"{in_view}{details}{notes}"


def _html_rows(arms: Iterable[tuple[str, Iterable[Line], Iterable[str]]]) -> str:
    names = "".join(f'<th scope="col">{name}</th>' for name in _HEAD)
    head = f'{names}<th scope="col" class="muted">one look</th><th scope="col">note</th>'
    body = ""
    for title, lines, sentences in arms:
        body += f'<tr><th class="arm" colspan="8" scope="rowgroup">{escape(title)}</th></tr>'
        body += "".join(map(_html_line, lines))
        body += "".join(
            f'<tr><th class="sub" colspan="8" scope="row">{escape(sentence)}</th></tr>'
            for sentence in sentences
        )
    return _html_grid(head, body, "metrics")


def _html_grid(head: str, body: str, kind: str) -> str:
    return (
        f'<div class="wide"><table class="{kind}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _html_line(line: Line) -> str:
    values = (line.pairs, line.primary, line.silent, line.effect, line.every_look)
    cells = "".join(f"<td>{escape(cell)}</td>" for cell in values)
    sub = "" if line.is_main else ' class="sub"'
    one_look = f'<td class="muted">{escape(line.one_look)}</td>'
    mark = f'<td class="mark">{line.mark}</td>'
    return f'<tr><th{sub} scope="row">{escape(line.label)}</th>{cells}{one_look}{mark}</tr>'
