"""A comparison as one HTML file, which opens with no network."""

import json
from collections.abc import Mapping
from html import escape
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from mirrorkit.compare import wording
from mirrorkit.compare.selection import SIDES, arms, of_arm
from mirrorkit.errors import CompareError
from mirrorkit.notebook import display, words
from mirrorkit.notebook.compared import Compared

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_EXAMPLES = 10
_CHARACTERS = 500
_WITHOUT_GATES = "similarity"
"""The metric whose examples are shown where no gate decides."""

# The page may run what is in it and fetch nothing: what a model wrote cannot call home either.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "font-src data:"
)

_STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --ink: #1b1f24; }
@media (prefers-color-scheme: dark) { :root { --page: #15181c; --ink: #d9dde2; } }
@media print { :root { --page: #ffffff; --ink: #000000; } }
body { margin: 0; background: var(--page); color: var(--ink); }
main { margin: 0 auto; padding: 2rem 1.5rem 4rem; font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .2em; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .4em; }
main.mirrorkit { max-width: 1080px; }
.mirrorkit table.facts { width: auto; }
.mirrorkit table.facts th, .mirrorkit table.facts td { text-align: left; white-space: normal;
  overflow-wrap: break-word; padding-right: 2em; }
.mirrorkit table.facts tbody th { white-space: nowrap; }
.mirrorkit .example { border-bottom: 1px solid rgba(127, 127, 127, .28); padding: .3em 0;
  overflow-wrap: anywhere; }
.mirrorkit .sides { display: grid; grid-template-columns: 1fr 1fr; gap: 0 1.2em; }
.mirrorkit pre { white-space: pre-wrap; margin: .2em 0 .6em; font: 12px/1.45 ui-monospace, monospace; }
@media (max-width: 46em) { .mirrorkit .sides { grid-template-columns: 1fr; } }
figure { margin: 2rem 0 0; break-inside: avoid; }
figure svg text { fill: var(--ink) !important; }
footer { margin-top: 3rem; font-size: .82em; opacity: .75; }
tr { break-inside: avoid; }
@media print, (hover: none) { .modebar { display: none !important; } }
@page { margin: 14mm; }
@media print {
  main.mirrorkit { padding: 0; max-width: none; font-size: 12px; }
  .mirrorkit .wide { overflow: visible; }
}
"""

# Plotly sets a figure's width once; paper has another width than the window.
_FIT = """
const fit = () => document.querySelectorAll(".js-plotly-plot").forEach((plot) => Plotly.Plots.resize(plot));
addEventListener("beforeprint", fit);
addEventListener("afterprint", fit);
"""


def write_html(comparison: Compared, path: str | Path, *, title: str) -> None:
    """Write a comparison to `path`, as one self-contained HTML file (5 MB, Plotly's code included).

    Raises CompareError if the folder does not exist, or the file cannot be written.
    """
    target = Path(path)
    try:
        if target.is_dir():
            raise CompareError(f"cannot write {target}: it is a folder; name a file in it")
        if not target.parent.is_dir():
            raise CompareError(f"cannot write {target}: there is no folder {target.parent}; create it first")
        target.write_text(page(comparison, title=title), encoding="utf-8")
    except OSError as error:
        why = error.strerror or error
        raise CompareError(f"cannot write {target}: {why}; give a path that can be written to") from error


def page(comparison: Compared, *, title: str) -> str:
    """The HTML of the report: the table, the figures, what was measured and when; all text is escaped."""
    frame = comparison.frame
    makers = (comparison.plot, comparison.latency, comparison.cost, comparison.outputs)
    figures = "".join(_embedded(make(), with_library=not index) for index, make in enumerate(makers))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{display.STYLE}{_STYLE}</style>
</head>
<body>
<main class="mirrorkit">
<h1>{escape(title)}</h1>
<p>{escape(words.headline(frame))}</p>
{display.verdict_html(comparison)}
<h2>Gates</h2>
{display.gates_html(comparison) or "<p>No gate is set.</p>"}
{display.findings_html(comparison)}
<h2>What was seen</h2>
{display.table_html(comparison)}
{display.legend_html(comparison)}
{figures}
{_examples(comparison)}
{display.warnings_html(comparison)}
<h2>What was measured</h2>
<p>{escape(words.shown(comparison.plan.words()))}</p>
{_facts_table(frame)}
{_sides_table(frame)}
<footer>{escape(_versions())}</footer>
</main>
<script>{_FIT}</script>
</body>
</html>
"""


def _embedded(figure: "Figure", *, with_library: bool) -> str:
    html: str = figure.to_html(
        full_html=False,
        include_plotlyjs=with_library,
        include_mathjax=False,
        config={"displaylogo": False, "displayModeBar": "hover", "responsive": True},
    )
    return f"<figure>{html}</figure>"


def _facts_table(frame: pl.DataFrame) -> str:
    facts = {
        "pairs": f"{frame.height:,}",
        "requests": f"{frame['request_id'].drop_nulls().n_unique():,}",
        "requests started": words.period(frame) or "unknown",
        "kinds of calls": _counts(frame["call_type"]),
        "streams": f"{frame['stream'].sum():,} pairs",
        "primary model groups": _counts(frame["model_group"]),
    }
    return f'<table class="facts"><tbody>{"".join(_row(*fact) for fact in facts.items())}</tbody></table>'


def _sides_table(frame: pl.DataFrame) -> str:
    """Who answered, how it ended and when it was sent, for each side of each arm."""
    head = "".join(
        f'<th scope="col">{name}</th>'
        for name in ("arm", "side", "answered by", "outcomes", "sent (median)", "LiteLLM's own time (median)")
    )
    rows = "".join(_side_row(of_arm(frame, arm), arm, side) for arm in arms(frame) for side in SIDES)
    return f'<table class="facts"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _side_row(pairs: pl.DataFrame, arm: str, side: str) -> str:
    lag = _median(pairs["lag_s"])
    return _row(
        wording.name(arm),
        side,
        _counts(pairs[f"{side}_model"]),
        _counts(pairs[f"{side}_status"]),
        "first" if side == "primary" else f"{lag} after the primary",
        _median(pairs[f"{side}_overhead_s"]),
    )


def _row(head: str, *cells: str) -> str:
    return (
        f'<tr><th scope="row">{escape(head)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
    )


def _counts(column: pl.Series, most: int = 6) -> str:
    """Values with how often they occur, the most frequent first."""
    counts = column.rename("value").value_counts(sort=True, name="n")
    shown = [f"{wording.name(value)} ({n:,})" for value, n in counts.head(most).iter_rows()]
    more = counts.height - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def _median(seconds: pl.Series) -> str:
    known = seconds.filter(seconds.is_finite())
    return wording.quantity(known.quantile(0.5, interpolation="linear"), "s")


def _examples(comparison: Compared) -> str:
    """The pairs of the arm that decides that differ most in the metric that does, folded one by one."""
    verdict = comparison.verdict
    metric = verdict.decided_by or _WITHOUT_GATES
    pairs = comparison.examples(metric, _EXAMPLES, arm=verdict.arm)
    if pairs.is_empty():
        return ""
    shown = "".join(_example(pair) for pair in pairs.iter_rows(named=True))
    title = f"The pairs that differ most in {wording.name(metric).replace('_', ' ')}"
    return f"<h2>{escape(title)}</h2>{shown}"


def _example(pair: Mapping[str, Any]) -> str:
    known = pair["difference"] is not None
    difference = wording.three_digits(pair["difference"]).replace("-", "−") if known else "unknown"
    head = f"{wording.name(pair['arm'])}: difference {difference} (pair {wording.name(pair['pair_id'])})"
    sides = "".join(
        f'<div><p class="small">{side}: {escape(_measures(pair, side))}</p>'
        f"<pre>{_text(_answer(pair, side))}</pre></div>"
        for side in SIDES
    )
    return (
        f'<details class="example"><summary>{escape(head)}</summary><p class="small">asked</p>'
        f'<pre>{_text(_asked(pair["messages"]))}</pre><div class="sides">{sides}</div></details>'
    )


def _measures(pair: Mapping[str, Any], side: str) -> str:
    status = wording.name(pair[f"{side}_status"])
    seconds, usd = pair[f"{side}_latency_s"], pair[f"{side}_cost_usd"]
    return ", ".join([status, wording.quantity(seconds, "s"), wording.quantity(usd, "USD")])


def _answer(pair: Mapping[str, Any], side: str) -> str:
    parts = (pair[f"{side}_output"], pair[f"{side}_tool_calls"], pair[f"{side}_error_message"])
    return "\n".join(part for part in parts if part) or "nothing on record"


def _asked(messages: str | None) -> str:
    """The last thing that was asked, of messages as JSON; all of them where they are of another shape."""
    if messages is None:
        return "not on record"
    try:
        content = json.loads(messages)[-1]["content"]
        return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    except (ValueError, TypeError, LookupError, RecursionError):
        return messages


def _text(text: str) -> str:
    """A text from the data: cut, on its lines, control characters replaced, escaped."""
    cut = text if len(text) <= _CHARACTERS else text[: _CHARACTERS - 1] + "…"
    return escape("".join(char if char.isprintable() or char == "\n" else "�" for char in cut))


def _versions() -> str:
    return ", ".join(
        f"{package} {_version(package)}" for package in ("mirrorkit", "litellm", "polars", "plotly")
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
