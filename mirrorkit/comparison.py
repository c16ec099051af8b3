"""Comparison: what the pairs of a frame showed; a table of contents, every method delegates."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from mirrorkit.errors import CompareError
from mirrorkit.notebook import display
from mirrorkit.notebook.progress import progress as progress_bar
from mirrorkit.store.files import conform
from mirrorkit.store.lazily import conformed

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from mirrorkit.compare.analysis import Analysis
    from mirrorkit.compare.findings import Finding
    from mirrorkit.compare.measured import Kept
    from mirrorkit.compare.pitfalls import Pitfall
    from mirrorkit.compare.plan import Look, Plan, UserMetric
    from mirrorkit.compare.verdict import Verdict

_LONG = 20_000
"""Pairs whose answers take long enough to compare for a progress bar."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Comparison:
    """What the pairs of a frame showed, and what follows from it; made by `compare`.

    It stays true while you keep looking: what `verdict`, `gates`, `findings`, `low` and `high` rest on holds
    at every look, at any stopping.
    """

    frame: pl.DataFrame = field(repr=False)
    """the pairs compared, one row each: those of requests that started before the oldest one under way; of a
    lazy frame without the long texts, which are `mirrorkit.compare.gathered.TEXTS`"""
    plan: "Plan" = field(repr=False)
    """what was set: gates, as margins of the effect, alpha and rules"""
    _told: "Analysis" = field(repr=False)
    _lazy: pl.LazyFrame | None = field(repr=False, default=None)

    @property
    def table(self) -> pl.DataFrame:
        """One row per arm, metric and estimand.

        `arm`, `metric`, `estimand` (what `effect` is, in words), `unit` (of `primary` and `silent`), `n`
        (pairs), `primary`, `silent`, `effect`, `low` and `high` (valid at every look), `one_look_low` and
        `one_look_high` (valid for one look at a number of pairs fixed beforehand), `note`. Unknown is null.
        """
        return self._told.table

    @property
    def verdict(self) -> "Verdict":
        """May you switch? `.answer`: "switch", "keep" or "keep collecting"; `.sentence`; `.decided_by`."""
        return self._told.verdict

    @property
    def gates(self) -> pl.DataFrame:
        """One row per silent arm and gate: `state` ("passed", "failed", "open"), since when, pairs needed.

        A gate is open, and its `note` says so, while more than 1 % of the pairs, ok on both sides, have no
        usable value on one side alone: no cost, no answer on record, estimated tokens beside reported ones.
        """
        return self._told.gates

    @property
    def findings(self) -> "tuple[Finding, ...]":
        """The differences that can be claimed, together wrong with a probability of at most alpha."""
        return self._told.findings

    @property
    def fields(self) -> pl.DataFrame:
        """How often each field of JSON answers differs, net of how often it does in the control arm."""
        return self._told.fields

    @property
    def warnings(self) -> "tuple[Pitfall, ...]":
        """What must be known to read the numbers rightly."""
        return self._told.warnings

    def by(self, part: str | pl.Expr, metrics: Sequence[str] | None = None) -> pl.DataFrame:
        """The table for each value of a column or expression, in a first column `slice`.

        A search through subgroups is outside the guarantee: there are intervals, but no verdict.

        Raises CompareError if the frame has no such column (that of a lazy frame has no long texts), the
        column is known only after the call, as a latency or a model's answer is, or there are more than 50
        slices.

        Examples: `by("tags")`, `by(pl.col("primary_input_tokens").qcut(4))`.
        """
        from mirrorkit.compare import slices

        return slices.by(self._told.pairs, self.plan, part, metrics)

    def examples(self, metric: str, n: int = 10, *, arm: str | None = None) -> pl.DataFrame:
        """The `n` pairs, of all silent models or of one `arm`, whose sides differ most in a metric.

        The most different come first. Of a lazy frame their texts are read now.

        Raises CompareError for a metric or an arm that there is not, RecordingError if the texts are gone.
        """
        from mirrorkit.compare.examples import examples

        return examples(self._told.pairs, self.plan, metric, n, arm, self._lazy)

    def latency(self) -> "Figure":
        """Latency and time to first token of both sides: distributions, their ratio, and pair by pair."""
        from mirrorkit.notebook import charts

        return charts.latency(self._told.pairs, self.plan.alpha)

    def cost(self, volume: float | None = None) -> "Figure":
        """What 1,000 requests cost on each side by what was paid for, the bill, and what a switch would save.

        The saving is at `volume` requests that no cache answers, such as those of a month; at 1,000 unless
        it is given. A record has no prices: where they follow from it, the cost is split by input,
        cached input and output tokens.

        Raises CompareError unless `volume` is a finite number above 0.
        """
        from mirrorkit.notebook import charts

        return charts.cost(self._told.pairs, self.table, volume)

    def outputs(self) -> "Figure":
        """How the answers differ: likeness beside the control arm's, JSON fields, finish reasons, lengths."""
        from mirrorkit.notebook import charts

        return charts.outputs(self._told.pairs, self.table, self.fields)

    def errors(self) -> "Figure":
        """Failed calls over time by kind, the primary side above the silent one."""
        from mirrorkit.notebook import charts

        return charts.errors(self._told.pairs)

    def lag(self) -> "Figure":
        """How much later silent calls were sent, and LiteLLM's own share of each latency."""
        from mirrorkit.notebook import charts

        return charts.lag(self._told.pairs)

    def trajectory(self, metric: str | None = None, *, arm: str | None = None) -> "Figure":
        """How the answer settled: the estimate and its band over pairs, the margin, the pair that decided.

        Of one `metric`, or of all gates; of the `arm` that the verdict is about, or another one. The band is
        what the gate rests on, and holds at every look.

        Raises CompareError for a metric or an arm that there is not.
        """
        from mirrorkit.compare.trajectory import trajectories
        from mirrorkit.notebook import charts

        return charts.trajectory(self, trajectories(self._told, self.plan, metric, arm))

    def plot(self) -> "Figure":
        """The verdict in one figure: each gate with its interval and margin, latency, cost and errors.

        Below, how the gate that decides, or is waited for, settled.
        """
        from mirrorkit.compare.trajectory import about, trajectories
        from mirrorkit.notebook import charts

        one = about(self.verdict)
        paths = trajectories(self._told, self.plan, one.decided_by, one.arm) if one.decided_by else ()
        return charts.overview(self, paths)

    def with_paths(self, shown: Callable[[str], str]) -> "Comparison":
        """The same comparison with the paths of JSON fields in `fields` and `findings` as `shown` gives them.

        For figures that others may see, whom the keys of JSON answers tell too much.
        """
        paths = pl.Series("path", [shown(path) for path in self.fields["path"]], pl.String)
        findings = tuple(_with_path(each, shown) for each in self.findings)
        told = replace(self._told, fields=self.fields.with_columns(paths), findings=findings)
        return replace(self, _told=told)

    def to_html(
        self,
        path: str | Path,
        *,
        title: str = "Model comparison",
        examples: int = 20,
        redact: Callable[[str], str] | None = None,
    ) -> None:
        """Write the report: one HTML file of some 5 MB, which opens with no network, to mail or to print.

        Args:
            path: the file, in a folder that exists.
            title: of the page.
            examples: how many of the pairs that differ most are shown with their texts; 0 for none.
            redact: applied to every text of a request or an answer that is shown: messages, outputs, tool
                calls with their ids, errors, notes, a judge's reasons; in JSON to each text, number and key,
                and to the keys in the paths of JSON fields, in findings and figures too. What it raises on
                is left out. What it never sees: the title; the roles, types and states of messages that are
                known; the ids of pairs; the names of models, arms, tags, call types, error types, finish
                reasons, languages and metrics; notes on metrics; numbers that are measured. Example:
                `lambda text: re.sub(r"[\\w.]+@[\\w.]+", "[mail]", text)`.

        Raises CompareError if the folder does not exist, the file cannot be written, `title` is no text or
        `examples` no number, RecordingError if the texts of a lazy frame are gone. An earlier report at
        `path` stays until this one is complete.
        """
        from mirrorkit.notebook import report

        report.write_html(self, path, title=title, examples=examples, redact=redact)

    def __repr__(self) -> str:
        return display.text(self)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": display.text(self), "text/html": display.html(self)}


def _with_path(finding: "Finding", shown: Callable[[str], str]) -> "Finding":
    from mirrorkit.compare import wording

    if finding.path is None:
        return finding
    path = shown(finding.path)
    sentence = finding.sentence.replace(wording.name(finding.path), wording.name(path))
    return replace(finding, path=path, sentence=sentence)


def compare(
    frame: pl.DataFrame | pl.LazyFrame,
    *,
    gates: Mapping[str, float] | None = None,
    alpha: float | None = None,
    metrics: "Mapping[str, UserMetric] | None" = None,
    slo_s: float | None = None,
    max_pairs: int | None = None,
    min_span: float | None = None,
    ignore: Sequence[str] | None = None,
    clean: Callable[[str], str] | None = None,
    tolerance: float | None = None,
    outputs: bool = True,
    progress: bool = True,
    before: datetime | None = None,
) -> Comparison:
    r"""Compare the two sides of every pair in a frame, arm by arm, and say whether to switch.

    Args:
        frame: one row a pair, as `MirrorSession.frame` or `mirrorkit.load(path).frame` give it, or several
            of them put together; its order does not matter. A lazy frame, as of `polars.scan_parquet`, may be
            larger than memory: its numbers and names are collected, its long texts are read in parts.
        gates: what must hold for a switch: a margin for each metric. Ratios, silent over primary, for
            latency, ttft, cost, tokens and length (1.10 allows 10 % more); for errors, refusals, valid JSON
            and other shares, how much worse the silent side may be (0.01 is one point); levels for likeness,
            win rates and metrics of your own.
            By default `{"latency": 1.10, "cost": 1.00, "errors": 0.01}`.
        alpha: the probability, at most, of ever saying "switch" to a model that violates a margin, and of
            ever saying "keep" although all hold; 0.05 by default.
        metrics: your own: a name, and a function of a pair's row, a Polars expression or a `Metric`.
        slo_s: seconds beyond which a call is too late; adds the metric `over_slo`.
        max_pairs: the pairs of an arm after which the answer is "keep", inconclusive.
        min_span: seconds of traffic that a gate must rest on before it is decided: an hour's load or a
            provider's bad day says nothing of others.
        ignore: what does not count when answers are compared: JSON paths (`"$.id"`) and regular expressions
            (`r"\d{4}-\d\d-\d\d"`).
        clean: applied to each answer before it is compared; never to what is recorded.
        tolerance: relative, for numbers in JSON answers.
        outputs: whether to compare the texts of the answers; without, it is faster.
        progress: whether to show a progress bar where that takes long.
        before: count only pairs of requests that started before this: a session's `complete_before`, where
            the frame was taken while requests were under way.

    Raises:
        RecordingError: the frame is no recording, or cannot be read.
        CompareError: it has no pairs, or what is asked is out of range.

    >>> pairs = pl.DataFrame({
    ...     "pair_id": ["p1", "p2"], "arm": ["mini", "mini"],
    ...     "primary_status": ["ok", "ok"], "silent_status": ["ok", "ok"],
    ...     "primary_latency_s": [1.0, 2.0], "silent_latency_s": [0.5, 1.0],
    ... })
    >>> seen = compare(pairs)
    >>> seen.table.select("metric", "n", "effect", "note").row(0)
    ('latency', 2, 0.5, 'an interval takes 100 pairs: 98 missing')
    >>> seen.verdict.answer
    'keep collecting'
    """
    from mirrorkit.compare.plan import Plan

    plan = Plan().with_changes(
        gates=gates,
        alpha=alpha,
        metrics=metrics,
        slo_s=slo_s,
        max_pairs=max_pairs,
        min_span=min_span,
        ignore=ignore,
        clean=clean,
        tolerance=tolerance,
    )
    pairs = conformed(frame) if isinstance(frame, pl.LazyFrame) else conform(frame)
    return look(pairs, plan, before=before, outputs=outputs, progress=progress)


def look(
    pairs: pl.DataFrame | pl.LazyFrame,
    plan: "Plan",
    *,
    kept: "Kept | None" = None,
    before: datetime | None = None,
    looks: "Sequence[Look]" = (),
    outputs: bool = True,
    progress: bool = True,
) -> Comparison:
    """Compare the pairs of a recording, which has the columns of the schema, by a plan; see `compare`.

    `kept` has the differences of answers that were worked out before, `before` is the start of the oldest
    request under way, `looks` the plans by which these pairs have been looked at.
    """
    from mirrorkit.compare.analysis import analyse
    from mirrorkit.compare.gathered import gathered
    from mirrorkit.compare.measured import Kept, measured

    lazy = pairs if isinstance(pairs, pl.LazyFrame) else None
    pairs = gathered(pairs) if isinstance(pairs, pl.LazyFrame) else pairs
    if pairs.is_empty():
        raise CompareError(
            "there are no pairs to compare: make calls on the session, wait for the mirrors "
            "(`session.drain()`, or `await session.adrain()`), and see `session.funnel` for why "
            "requests were not mirrored"
        )
    nameless = int(pairs.select(pl.any_horizontal(pl.col("pair_id", "arm").is_null()).sum()).item())
    if nameless:
        raise CompareError(
            f"{nameless:,} of {pairs.height:,} pairs have no pair_id or no arm, and belong nowhere: "
            'leave them out, as by frame.drop_nulls(["pair_id", "arm"])'
        )
    unknown = pairs["started_at"].null_count()
    if 0 < unknown < pairs.height:
        raise CompareError(
            f"{unknown:,} of {pairs.height:,} pairs have no started_at, so that their order is unknown, on "
            "which the verdict rests: leave them out"
        )
    found = None
    if outputs:
        kept = kept or Kept()
        missing = kept.missing(pairs, plan.rules)
        with progress_bar(missing, "comparing answers", progress and missing > _LONG, "pairs") as step:
            found = kept.of(pairs, plan.rules, step, lazy)
    told = analyse(measured(pairs, plan, found, lazy), plan, before=before, looks=looks)
    return Comparison(pl.DataFrame([told.pairs[name] for name in pairs.columns]), plan, told, lazy)
