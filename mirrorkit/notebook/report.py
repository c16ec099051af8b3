"""A comparison as one HTML file, which opens with no network: the verdict first, then what it rests on."""

from collections.abc import Callable, Iterator
from html import escape
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from mirrorkit.compare import wording
from mirrorkit.compare.selection import SIDES, arms, of_arm
from mirrorkit.errors import CompareError
from mirrorkit.notebook import charts, display, words
from mirrorkit.notebook.compared import Compared
from mirrorkit.notebook.page import pages
from mirrorkit.notebook.page.cases import cases
from mirrorkit.notebook.page.meanings import meanings
from mirrorkit.notebook.page.redaction import Redaction
from mirrorkit.notebook.page.sliced import slices
from mirrorkit.notebook.plain import plain
from mirrorkit.records import CONTROL

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

EXAMPLES = 20
"""So many pairs are shown with their texts, unless told otherwise."""


def write_html(
    comparison: Compared,
    path: str | Path,
    *,
    title: str,
    examples: int = EXAMPLES,
    redact: Callable[[str], str] | None = None,
) -> None:
    """Write a comparison to `path`, as one self-contained HTML file (5 MB, Plotly's code included).

    Raises CompareError if the folder does not exist, the file cannot be written, `title` is no text or
    `examples` no number, RecordingError if the texts of a lazy frame cannot be read.
    """
    target = pages.check(path)
    pages.write(target, page(comparison, title=title, examples=examples, redact=redact))


def page(
    comparison: Compared,
    *,
    title: str,
    examples: int = EXAMPLES,
    redact: Callable[[str], str] | None = None,
) -> str:
    """The HTML of the report; all text is escaped, and texts of requests and answers are redacted.

    The keys of JSON answers are redacted too, wherever they are named. Names that are no text of a request or
    an answer are not: models, arms, tags, error types, finish reasons.

    Raises CompareError if `title` is no text, or `examples` no number of 0 or more.
    """
    if not isinstance(title, str):
        raise CompareError(f"title={title!r}: give a text")
    if isinstance(examples, bool) or not isinstance(examples, int) or examples < 0:
        raise CompareError(f"examples={examples!r}: give a whole number, 0 or more")
    redaction = Redaction(redact)
    if redaction.is_on:
        comparison = comparison.with_paths(Redaction(redact).path)
    frame = comparison.frame
    overview, settled, *figures = _figures(comparison, with_texts=examples > 0 and not redaction.is_on)
    body = f"""
<p>{escape(words.headline(frame))}</p>
{display.verdict_html(comparison)}
{_effects(comparison)}
<h2>Gates</h2>
{display.gates_html(comparison) or "<p>No gate is set.</p>"}
{settled}
{display.findings_html(comparison)}
<h2>What was seen</h2>
{display.table_html(comparison)}
{display.legend_html(comparison)}
{overview}
{"".join(figures)}
{slices(comparison)}
{cases(comparison, examples, redaction)}
{display.warnings_html(comparison)}
<h2>What was measured</h2>
<p>{escape(words.shown(comparison.plan.words()))}</p>
{_facts_table(frame)}
{_sides_table(frame)}
"""
    return pages.frame(plain(title), body, _versions())


def _figures(comparison: Compared, *, with_texts: bool) -> Iterator[str]:
    """The figures: the one that sums up, how the answer settled (if there is a gate), then each subject.

    The one that stands first on the page brings Plotly's code along.
    """
    has_gates = bool(comparison.plan.gates)
    yield pages.figure(comparison.plot(), with_library=not has_gates)
    yield pages.figure(comparison.trajectory(), with_library=True) if has_gates else ""
    yield pages.figure(_latency(comparison, with_texts), with_library=False)
    for draw in (comparison.cost, comparison.outputs, comparison.errors, comparison.lag):
        yield pages.figure(draw(), with_library=False)


def _latency(comparison: Compared, with_texts: bool) -> "Figure":
    """The figure on latency, whose hovers show prompts only where prompts may be shown as they are."""
    if with_texts:
        return comparison.latency()
    return charts.latency(comparison.frame.drop("messages", strict=False), comparison.plan.alpha)


def _effects(comparison: Compared) -> str:
    """What each effect in view says in a sentence, for each silent model."""
    mirrored = [arm for arm in arms(comparison.frame) if arm != CONTROL]
    rows = ""
    for arm in mirrored:
        told = list(meanings(comparison, arm))
        if told and len(mirrored) > 1:
            rows += f'<tr><th class="arm" colspan="3" scope="rowgroup">{escape(wording.name(arm))}</th></tr>'
        rows += "".join(_row(metric, effect, words.unbroken(said)) for metric, effect, said in told)
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{name}</th>' for name in ("metric", "effect", "what it says"))
    return (
        f'<h2>What it means</h2><p class="small">“It” is the silent model, beside the primary. What is said '
        f"to be possible holds at every look, each with {100 * (1 - comparison.plan.alpha):g} % "
        f'confidence.</p><div class="wide"><table class="told"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _facts_table(frame: pl.DataFrame) -> str:
    facts = {
        "pairs": f"{frame.height:,}",
        "requests": _known(frame["request_id"], f"{frame['request_id'].drop_nulls().n_unique():,}"),
        "requests started": words.period(frame) or "unknown",
        "kinds of calls": _counts(frame["call_type"]),
        "streams": _known(frame["stream"], f"{frame['stream'].sum():,} pairs"),
        "primary model groups": _counts(frame["model_group"]),
    }
    return _facts("".join(_row(*fact) for fact in facts.items()))


def _sides_table(frame: pl.DataFrame) -> str:
    """Who answered, how it ended and when it was sent, for each side of each arm."""
    head = "".join(
        f'<th scope="col">{name}</th>'
        for name in ("arm", "side", "answered by", "outcomes", "sent (median)", "LiteLLM's own time (median)")
    )
    rows = "".join(_side_row(of_arm(frame, arm), arm, side) for arm in arms(frame) for side in SIDES)
    return _facts(rows, f"<thead><tr>{head}</tr></thead>")


def _facts(rows: str, head: str = "") -> str:
    """A table of facts, which scrolls in itself where the page is narrower."""
    return f'<div class="wide"><table class="facts">{head}<tbody>{rows}</tbody></table></div>'


def _side_row(pairs: pl.DataFrame, arm: str, side: str) -> str:
    apart = pairs["lag_s"].abs()
    lag = _known(apart, f"{_median(apart)} apart from the primary")
    return _row(
        wording.name(arm),
        side,
        _counts(pairs[f"{side}_model"]),
        _counts(pairs[f"{side}_status"]),
        "first" if side == "primary" else lag,
        _median(pairs[f"{side}_overhead_s"]),
    )


def _row(head: str, *cells: str) -> str:
    return (
        f'<tr><th scope="row">{escape(head)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
    )


def _known(column: pl.Series, shown: str) -> str:
    """What is `shown` of a column, and of how many pairs it is unknown."""
    missing = column.null_count()
    if missing == len(column):
        return "unknown"
    return f"{shown} ({missing:,} unknown)" if missing else shown


def _counts(column: pl.Series, most: int = 6) -> str:
    """Values with how often they occur, the most frequent first."""
    counts = column.rename("value").value_counts(sort=True, name="n")
    shown = [f"{wording.name(value)} ({n:,})" for value, n in counts.head(most).iter_rows()]
    more = counts.height - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def _median(seconds: pl.Series) -> str:
    known = seconds.filter(seconds.is_finite())
    return wording.quantity(known.quantile(0.5, interpolation="linear"), "s")


def _versions() -> str:
    return ", ".join(
        f"{package} {_version(package)}" for package in ("mirrorkit", "litellm", "polars", "plotly")
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
