"""A page that is one file: it opens with no network, fetches nothing, and prints well."""

import os
import shutil
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from mirrorkit.errors import CompareError
from mirrorkit.notebook import display

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

# The page may run what is in it and fetch nothing: what a model wrote cannot call home either.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "font-src data:; form-action 'none'; base-uri 'none'"
)

_STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --ink: #1b1f24; }
@media (prefers-color-scheme: dark) { :root { --page: #15181c; --ink: #d9dde2; } }
@media print { :root { color-scheme: light; --page: #ffffff; --ink: #000000; } }
body { margin: 0; background: var(--page); color: var(--ink); }
main { margin: 0 auto; padding: 2rem 1.5rem 4rem; font: 15px/1.5 system-ui, sans-serif; }
main.mirrorkit { max-width: 1080px; }
h1 { font-size: 1.7rem; margin: 0 0 .2em; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .4em; }
.mirrorkit table.facts { width: auto; }
.mirrorkit table.facts th, .mirrorkit table.facts td, .mirrorkit table.told td:last-child,
  .mirrorkit table.told th:last-child { text-align: left; white-space: normal; overflow-wrap: anywhere;
  padding-right: 1.6em; vertical-align: top; }
.mirrorkit table.facts th { min-width: 5em; overflow-wrap: break-word; }
.mirrorkit table.told td:last-child { width: 70%; min-width: 14em; overflow-wrap: break-word; }
.mirrorkit table.slices thead th:last-child, .mirrorkit table.slices td:last-child { text-align: right; }
.mirrorkit table.slices td, .mirrorkit table.slices th { vertical-align: top; }
.mirrorkit table.slices td span { white-space: nowrap; }
.mirrorkit table.slices td .muted { display: block; font-size: .86em; }
.mirrorkit .example { border-bottom: 1px solid rgba(127, 127, 127, .28); padding: .45em 0;
  overflow-wrap: anywhere; }
.mirrorkit .example > summary { font-weight: 600; }
.mirrorkit .asked { margin: .3em 0 .5em; padding: .1em 0 .1em .8em;
  border-left: 2px solid rgba(127, 127, 127, .4); }
.mirrorkit .sides { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 0 1.4em; }
.mirrorkit pre { white-space: pre-wrap; overflow-wrap: anywhere; overflow: clip; margin: .2em 0 .6em;
  font: 12px/1.5 ui-monospace, monospace; unicode-bidi: plaintext; }
.mirrorkit pre.failed { border-left: 3px double #D55E00; padding-left: .7em; }
.mirrorkit code { font: 12px/1.5 ui-monospace, monospace; }
.mirrorkit del, .mirrorkit ins { text-decoration: none; border-radius: 2px; print-color-adjust: exact;
  -webkit-print-color-adjust: exact; }
.mirrorkit del { background: rgba(0, 114, 178, .2); border-bottom: 2px dotted #0072B2; }
.mirrorkit ins { background: rgba(213, 94, 0, .2); border-bottom: 2px solid #D55E00; }
.mirrorkit .more { opacity: .62; font-style: italic; }
@media (max-width: 46em) {
  .mirrorkit .sides { grid-template-columns: minmax(0, 1fr); }
  .mirrorkit table { font-size: .93em; }
}
figure { margin: 2rem 0 0; break-inside: avoid; }
figure svg text { fill: var(--ink) !important; }
footer { margin-top: 3rem; font-size: .82em; opacity: .75; }
tr, .verdict, .example, .gates, h2 + p { break-inside: avoid; }
h1, h2, h3, summary, thead { break-after: avoid; }
@media print, (hover: none) { .modebar { display: none !important; } }
@page { margin: 14mm; }
@media print {
  main.mirrorkit { padding: 0; max-width: none; font-size: 12px; }
  .mirrorkit .wide { overflow: visible; }
  .mirrorkit th, .mirrorkit td { padding-top: .18em; padding-bottom: .18em; }
  .mirrorkit table.metrics { font-size: 10.5px; }
  .mirrorkit table.metrics th, .mirrorkit table.metrics td { padding-right: .6em; }
  .mirrorkit .verdict { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""

# Plotly draws a figure for the window, and paper is narrower: these pixels fit A4 and Letter, less margins. A
# figure that is longer than a page is scaled. What is folded cannot be opened on paper.
_FIT = """
const width = 680, height = 930;
const main = document.querySelector("main");
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details.example:not([open])")];
  folded.forEach((details) => { details.open = true; });
  main.style.width = `${width}px`;
  document.querySelectorAll(".js-plotly-plot").forEach((plot) => {
    const scale = Math.min(1, height / plot.offsetHeight);
    plot.closest("figure").style.zoom = scale;
    Plotly.relayout(plot, { autosize: false, width: width / scale });
  });
});
addEventListener("afterprint", () => {
  folded.forEach((details) => { details.open = false; });
  main.style.width = "";
  document.querySelectorAll(".js-plotly-plot").forEach((plot) => {
    plot.closest("figure").style.zoom = "";
    Plotly.relayout(plot, { autosize: true, width: null });
  });
});
"""


def frame(title: str, body: str, footer: str) -> str:
    """The HTML of a page around `body`, which is HTML; `title` and `footer` are texts."""
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
{body}
<footer>{escape(footer)}</footer>
</main>
<script>{_FIT}</script>
</body>
</html>
"""


def figure(drawn: "Figure", *, with_library: bool) -> str:
    """A figure as HTML; the first one of a page brings Plotly's own code (5 MB) along."""
    html: str = drawn.to_html(
        full_html=False,
        include_plotlyjs=with_library,
        include_mathjax=False,
        config={"displaylogo": False, "displayModeBar": "hover", "responsive": True},
    )
    return f"<figure>{html}</figure>"


def check(path: str | Path) -> Path:
    """The path, if a file could be written there.

    Raises CompareError if it is a folder, or in one that does not exist.
    """
    target = Path(path)
    try:
        if target.is_dir():
            raise CompareError(f"cannot write {target}: it is a folder; name a file in it")
        if not target.parent.is_dir():
            raise CompareError(f"cannot write {target}: there is no folder {target.parent}; create it first")
    except OSError as error:
        raise _unwritable(target, error) from error
    return target


def write(path: Path, html: str) -> None:
    """Write a page, whole or not at all; raises CompareError if that cannot be done."""
    page = html.encode("utf-8", "backslashreplace")
    try:
        _write(path.resolve(), page)  # a link stays one
    except OSError as error:
        raise _unwritable(path, error) from error


def _write(path: Path, page: bytes) -> None:
    if path.exists() and not path.is_file():
        path.write_bytes(page)  # a pipe, or /dev/stdout
        return
    part = path.with_name(f".mirrorkit-{uuid4().hex}")
    try:
        part.write_bytes(page)
        if path.exists():
            shutil.copymode(path, part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _unwritable(path: Path, error: OSError) -> CompareError:
    why = error.strerror or error
    return CompareError(f"cannot write {path}: {why}; give a path that can be written to")
