"""What pictures and reports are made from: the shape of a `Comparison`, which lies above this room."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import polars as pl

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from mirrorkit.compare.findings import Finding
    from mirrorkit.compare.pitfalls import Pitfall
    from mirrorkit.compare.plan import Plan
    from mirrorkit.compare.verdict import Verdict


class Compared(Protocol):
    """A comparison: a `mirrorkit.Comparison` is one."""

    @property
    def frame(self) -> pl.DataFrame:
        """The pairs, one row each."""

    @property
    def plan(self) -> "Plan":
        """Gates, alpha and rules."""

    @property
    def table(self) -> pl.DataFrame:
        """What was seen, one row per arm, metric and estimand."""

    @property
    def verdict(self) -> "Verdict":
        """Whether to switch."""

    @property
    def gates(self) -> pl.DataFrame:
        """Where each gate stands, one row per silent arm and gate."""

    @property
    def findings(self) -> "tuple[Finding, ...]":
        """The differences that can be claimed."""

    @property
    def fields(self) -> pl.DataFrame:
        """How often each field of JSON answers differs."""

    @property
    def warnings(self) -> "tuple[Pitfall, ...]":
        """What must be known to read the numbers rightly."""

    def by(self, part: str | pl.Expr, metrics: Sequence[str] | None = None) -> pl.DataFrame:
        """The table for each value of a column."""

    def examples(self, metric: str, n: int = 10, *, arm: str | None = None) -> pl.DataFrame:
        """The pairs, of all silent models or of one, whose sides differ most in a metric."""

    def with_paths(self, shown: Callable[[str], str]) -> "Compared":
        """The same with the paths of JSON fields as `shown` gives them."""

    def plot(self) -> "Figure":
        """The figure that sums up."""

    def latency(self) -> "Figure":
        """The figure on latency."""

    def cost(self, volume: float | None = None) -> "Figure":
        """The figure on cost, and on what a switch would save at so many requests."""

    def outputs(self) -> "Figure":
        """The figure on the answers."""

    def errors(self) -> "Figure":
        """The figure on failed calls."""

    def lag(self) -> "Figure":
        """The figure on when silent calls were sent."""

    def trajectory(self, metric: str | None = None, *, arm: str | None = None) -> "Figure":
        """The figure on how the answer settled."""
