"""Comparison: what the pairs of a frame showed; a table of contents, every method delegates."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from mirrorkit.compare.estimates import estimate
from mirrorkit.errors import CompareError
from mirrorkit.notebook import display
from mirrorkit.store.files import conform

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Comparison:
    """What was seen in the pairs of a frame, as a table, as figures and as a page; made by `compare`.

    `table` has one row per arm and metric: `arm`, `metric`, `estimand`, `unit` (of `primary` and
    `silent`), `n` (pairs), `primary`, `silent`, `effect` (silent over primary; for `errors` silent minus
    primary; for `identical` the share), `low`, `high`, `one_look_low`, `one_look_high` (null: no
    interval is computed) and `note`. Unknown is null.
    """

    frame: pl.DataFrame = field(repr=False)
    table: pl.DataFrame = field(repr=False)

    def latency(self) -> "Figure":
        """Latency and time to first token of both sides, as distributions, and their ratio."""
        from mirrorkit.notebook import charts

        return charts.latency(self.frame)

    def cost(self) -> "Figure":
        """What 1,000 requests cost on each side, and the bill as the requests came."""
        from mirrorkit.notebook import charts

        return charts.cost(self.frame)

    def outputs(self) -> "Figure":
        """How the answers differ: length, share of identical answers, finish reasons, errors."""
        from mirrorkit.notebook import charts

        return charts.outputs(self.frame)

    def plot(self) -> "Figure":
        """Latency, cost, errors and answer length in one figure."""
        from mirrorkit.notebook import charts

        return charts.overview(self.frame)

    def to_html(self, path: str | Path, *, title: str = "Model comparison") -> None:
        """Write the table and all figures as one HTML file, which opens with no network.

        Raises CompareError if the folder does not exist.
        """
        from mirrorkit.notebook import report

        report.write_html(self, path, title=title)

    def __repr__(self) -> str:
        return display.text(self.table, display.headline(self.frame))

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        heading = display.headline(self.frame)
        return {
            "text/plain": display.text(self.table, heading),
            "text/html": display.html(self.table, heading),
        }


def compare(frame: pl.DataFrame) -> Comparison:
    """Compare the two sides of every pair in a frame, arm by arm.

    `frame` has one row a pair, as `MirrorSession.frame` or `mirrorkit.load(path).frame` give it.

    Raises RecordingError if the frame is no recording, CompareError if it has no pairs.

    >>> pairs = pl.DataFrame({
    ...     "pair_id": ["p1", "p2"], "arm": ["mini", "mini"],
    ...     "primary_status": ["ok", "ok"], "silent_status": ["ok", "ok"],
    ...     "primary_latency_s": [1.0, 2.0], "silent_latency_s": [0.5, 0.7],
    ... })
    >>> compare(pairs).table.select("metric", "estimand", "n", "primary", "silent", "effect").row(0)
    ('latency', 'p50', 2, 1.5, 0.6, 0.39999999999999997)
    """
    pairs = conform(frame).clone()
    if pairs.is_empty():
        raise CompareError(
            "there are no pairs to compare: make calls on the session, wait for the mirrors "
            "(`session.drain()`, or `await session.adrain()`), and see `session.funnel` for why "
            "requests were not mirrored"
        )
    return Comparison(pairs, estimate(pairs))
