"""The table of a comparison, as text for a terminal and as HTML for a page."""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

import polars as pl

from mirrorkit.compare import wording
from mirrorkit.compare.selection import arms, of_arm
from mirrorkit.records import CONTROL

WIDTH = 100

CAVEAT = "Seen in these pairs only: no interval is given, so a difference may be chance."
LEGEND = "× is silent over primary; points are silent minus primary."

_HEAD = ("metric", "pairs", "primary", "silent", "effect")

STYLE = """
.mirrorkit { font: 14px/1.45 system-ui, sans-serif; color: inherit; max-width: 72em; }
.mirrorkit p { margin: .4em 0; }
.mirrorkit table { border-collapse: collapse; width: 100%; margin: .6em 0; font: inherit; }
.mirrorkit th, .mirrorkit td { padding: .3em .9em .3em 0; text-align: right; vertical-align: baseline;
  white-space: nowrap; border: 0; border-bottom: 1px solid rgba(127, 127, 127, .28); background: none; }
.mirrorkit td { font-variant-numeric: tabular-nums; }
.mirrorkit th { font-weight: 600; }
.mirrorkit th:first-child, .mirrorkit th:last-child, .mirrorkit td:last-child { text-align: left; }
.mirrorkit tbody th { font-weight: 400; }
.mirrorkit tbody th.arm { font-weight: 600; padding-top: 1em; }
.mirrorkit th:last-child, .mirrorkit td:last-child { padding-right: 0; }
.mirrorkit td.mark { opacity: .78; }
.mirrorkit .wide { overflow-x: auto; }
.mirrorkit p.small { font-size: .85em; opacity: .78; }
.mirrorkit p.note { margin: .15em 0; padding-left: 2.2em; text-indent: -2.2em; }
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table, in words."""

    metric: str
    cells: tuple[str, str, str, str]
    mark: str
    """The number of its note, as `[1]`; empty where it has none."""


def headline(frame: pl.DataFrame) -> str:
    """What was compared, in one line: pairs, period, models.

    >>> from mirrorkit.records import SCHEMA
    >>> headline(SCHEMA.frame())
    '0 pairs: none (primary) and none'
    """
    groups = frame["model_group"].unique(maintain_order=True).to_list()
    sent_to = f"{wording.listing(groups)} (primary) and {wording.listing(list(arms(frame)))}"
    pairs = f"{frame.height:,} pair{'' if frame.height == 1 else 's'}"
    when = period(frame)
    return f"{pairs}{', ' * bool(when)}{when}: {sent_to}"


def period(frame: pl.DataFrame) -> str:
    """When the first and the last request of the frame started, in UTC; empty where unknown."""
    first, last = frame.select(
        pl.col("started_at").min().dt.strftime("%Y-%m-%d %H:%M").alias("first"),
        pl.col("started_at").max().dt.strftime("%Y-%m-%d %H:%M").alias("last"),
    ).row(0)
    if first is None:
        return ""
    if first == last:
        return f"{first} UTC"
    same_day = first[:10] == last[:10]
    return f"{first} to {last[11:] if same_day else last} UTC"


def text(table: pl.DataFrame, heading: str) -> str:
    """The table as plain text, at most 100 columns wide, the notes below it.

    `table` is `mirrorkit.compare.estimates.estimate`'s, `heading` a line above it.

    >>> from mirrorkit.compare.estimates import estimate
    >>> from mirrorkit.records import SCHEMA
    >>> print(text(estimate(SCHEMA.frame()), "no pairs").splitlines()[0])
    no pairs
    """
    notes = _notes(table)
    out = [*textwrap.wrap(heading, WIDTH), "", _columns(_HEAD[0], _HEAD[1:], "")]
    for arm, lines in _by_arm(table, notes):
        out.append(arm)
        out += [_columns(f"  {line.metric}", line.cells, line.mark) for line in lines]
    out.append("")
    for note, mark in notes.items():
        out += textwrap.wrap(f"{mark} {note}", WIDTH, subsequent_indent=" " * (len(mark) + 1))
    return "\n".join([*out, LEGEND, CAVEAT])


def html(table: pl.DataFrame, heading: str) -> str:
    """The table as an HTML fragment with its own style, for light and dark pages; all text is escaped.

    >>> from mirrorkit.compare.estimates import estimate
    >>> from mirrorkit.records import SCHEMA
    >>> "a &lt; b" in html(estimate(SCHEMA.frame()), "a < b")
    True
    """
    return f'<style>{STYLE}</style><div class="mirrorkit"><p>{escape(heading)}</p>{html_table(table)}</div>'


def html_table(table: pl.DataFrame) -> str:
    """The table, its notes and how to read it, without style."""
    notes = _notes(table)
    head = "".join(f'<th scope="col">{name}</th>' for name in (*_HEAD, "note"))
    body = "".join(
        f'<tr><th class="arm" colspan="6" scope="rowgroup">{escape(arm)}</th></tr>'
        + "".join(map(_html_row, lines))
        for arm, lines in _by_arm(table, notes)
    )
    below = "".join(f'<p class="small note">{mark} {escape(note)}</p>' for note, mark in notes.items())
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        f'{below}<p class="small">{LEGEND} {CAVEAT}</p>'
    )


def _html_row(line: Line) -> str:
    cells = "".join(f"<td>{escape(cell)}</td>" for cell in line.cells)
    return f'<tr><th scope="row">{escape(line.metric)}</th>{cells}<td class="mark">{line.mark}</td></tr>'


def _notes(table: pl.DataFrame) -> dict[str, str]:
    """Each note with the mark it has in the rows; equal notes share one."""
    notes = table["note"].drop_nulls().unique(maintain_order=True)
    return {note: f"[{number}]" for number, note in enumerate(notes, start=1)}


def _by_arm(table: pl.DataFrame, notes: dict[str, str]) -> Iterator[tuple[str, list[Line]]]:
    for arm in arms(table):
        title = "control (the primary's own group again)" if arm == CONTROL else wording.name(arm)
        yield title, [_line(row, notes) for row in of_arm(table, arm).iter_rows(named=True)]


def _line(row: dict[str, object], notes: dict[str, str]) -> Line:
    metric, unit = str(row["metric"]), str(row["unit"])
    estimand = {"share": "", "mean per call": ", mean"}.get(str(row["estimand"]), f" {row['estimand']}")
    primary, silent, effect = (_number(row[name]) for name in ("primary", "silent", "effect"))
    cells = (
        f"{row['n']:,}",
        wording.quantity(primary, unit),
        wording.quantity(silent, unit),
        wording.effect(effect, metric),
    )
    return Line(metric.replace("_", " ") + estimand, cells, notes.get(str(row["note"]), ""))


def _number(value: object) -> float | None:
    return value if isinstance(value, float) else None


def _columns(first: str, cells: tuple[str, ...], mark: str) -> str:
    widths = (9, 18, 18, 15)
    cut = "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
    return f"{first:<29}{cut} {mark}".rstrip()
