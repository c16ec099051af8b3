"""The reading half of a session, from memory or from disk: no router, no LiteLLM."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from weakref import ref

import polars as pl

from mirrorkit.compare import wording
from mirrorkit.compare.looked import Looked
from mirrorkit.compare.plan import UserMetric, looks_from_json, looks_to_json
from mirrorkit.comparison import Comparison, look
from mirrorkit.errors import ConfigError, MirrorError
from mirrorkit.records import CONTROL
from mirrorkit.store import deletion, files, places
from mirrorkit.store.frame import FrameStore
from mirrorkit.store.places import BEFORE, PLAN

if TYPE_CHECKING:
    from mirrorkit.notebook.browser import PairBrowser


class Readable(ABC):
    """What can be read off a frame of pairs, live or recorded."""

    __slots__ = ()

    _store: FrameStore
    _looked: Looked
    _grows = True
    """Whether more pairs may come."""

    @property
    @abstractmethod
    def frame(self) -> pl.DataFrame:
        """The pairs so far, one row each; changing this frame changes nothing else."""

    def __bool__(self) -> bool:
        # or `session or other` would take the other one until the first pair is there
        return True

    @property
    @abstractmethod
    def complete_before(self) -> datetime | None:
        """Every pair of a request that started before this is in the frame; None: every pair is."""

    def compare(
        self,
        *,
        gates: Mapping[str, float] | None = None,
        alpha: float | None = None,
        metrics: Mapping[str, UserMetric] | None = None,
        slo_s: float | None = None,
        max_pairs: int | None = None,
        min_span: float | None = None,
        ignore: Sequence[str] | None = None,
        clean: Callable[[str], str] | None = None,
        tolerance: float | None = None,
        outputs: bool = True,
        progress: bool = True,
    ) -> Comparison:
        """How the silent models did beside the primary, on the pairs so far, and whether to switch.

        The arguments are those of `mirrorkit.compare`. What is given is kept for the next look, and goes
        with the recording into a Parquet file; changing it after a look is allowed, and told of in the
        comparison's `warnings`; to drop `clean`, `slo_s` or `max_pairs`, compare the frame anew by
        `mirrorkit.compare`. Only pairs of requests older than the oldest one under way count, as those
        that finish first are the fast ones.

        Raises CompareError if there are no pairs yet, or what is given is out of range.
        """
        looked = self._remembered()
        plan = looked.plan(
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
        # in this order: what finishes in between is in the frame, and not counted
        before = self.complete_before
        pairs = self._pairs()
        many = pairs.height if isinstance(pairs, pl.DataFrame) else len(self._store)
        comparison = look(
            pairs,
            plan,
            kept=looked.kept,
            before=before,
            looks=looked.with_look(plan, many),
            outputs=outputs,
            progress=progress,
        )
        looked.remember(plan, many)
        looked.keep(self._store.looked)
        return comparison

    def _pairs(self) -> pl.DataFrame | pl.LazyFrame:
        """All pairs; lazily, where some are in the journal alone."""
        everything = self._store.lazy()
        return self.frame if everything is None else everything

    def _all(self) -> pl.DataFrame:
        pairs = self._pairs()
        return pairs.collect(engine="streaming") if isinstance(pairs, pl.LazyFrame) else pairs

    def _remembered(self) -> Looked:
        """The looks that were taken so far, those of earlier sessions on the same journal too."""
        if not self._looked.looks:
            self._looked.recall(looks_from_json(self._store.looks))
        return self._looked

    def label(self, pair_id: str, preference: str | None, *, note: str | None = None) -> None:
        """Set which answer of a pair a person prefers; `frame` and what is exported show it from now on.

        Frames handed out earlier stay as they are.

        Args:
            pair_id: the pair's, from the frame.
            preference: "primary", "silent" or "tie"; None takes the preference back.
            note: a text to go with it; None leaves the pair's note as it is, "" empties it.

        Raises:
            LabelError: there is no such pair, or no such preference.

        >>> pairs = {"pair_id": ["p1"], "arm": ["b"], "primary_status": ["ok"], "silent_status": ["ok"]}
        >>> recording = Recording(pl.DataFrame(pairs))
        >>> recording.label("p1", "silent", note="shorter, and right")
        >>> recording.frame.select("preference", "note").row(0)
        ('silent', 'shorter, and right')
        """
        self._store.label(pair_id, preference, note)

    def browse(self, *, blind: bool = True, seed: int = 0, page: int = 20) -> "PairBrowser":
        """Read the pairs one by one in a notebook, and vote on them: a widget.

        Each vote and note goes through `label`, so it is in `frame` and `compare()` at once. Where there is
        no front end for widgets, the first pair is shown as HTML or text.

        Args:
            blind: shuffle the sides of each pair, and tell who wrote which, and all that would tell them
                apart (model, arm, times, cost, errors), only after the vote.
            seed: of the shuffling, which is by a hash of each pair's id and so always the same.
            page: pairs on a page of the list, 1 or more.

        Raises CompareError if `page` is no whole number of 1 or more.

        >>> pairs = {"pair_id": ["p1"], "arm": ["b"], "primary_status": ["ok"], "silent_status": ["ok"]}
        >>> Recording(pl.DataFrame(pairs)).browse().pair_id
        'p1'
        """
        from mirrorkit.notebook.browser import PairBrowser
        from mirrorkit.notebook.reading.reader import Reader

        looked = self._remembered()
        # what `compare` has worked out is of all pairs, where those of `frame` may be the newest alone
        kept = looked.kept if self._store.lazy() is None else None
        # a widget lives as long as its kernel: a session is not to, nor its threads and files
        of = _held_by(ref(self) if self._grows else lambda: self)
        return PairBrowser(
            Reader(
                lambda: of()._store.frame(),
                lambda pair_id, preference, note: of().label(pair_id, preference, note=note),
                # without gates: one may be on a metric of the user's, which a recording does not keep
                plan=looked.plan(gates={}),
                kept=kept,
                blind=blind,
                seed=seed,
                page=page,
                grows=self._grows,
            )
        )

    def to_csv(self, path: files.FilePath, *, neutralise: bool = True) -> None:
        """Write the pairs to a CSV file, which `mirrorkit.load` gives back exactly.

        A text cell that a spreadsheet would run as a formula gets a leading apostrophe, unless
        `neutralise` is False. Raises RecordingError if the folder does not exist.
        """
        before, pairs = self.complete_before, self._all()
        if _held_back(pairs, before):
            pairs = pairs.with_columns(pl.lit(str(before)).alias(BEFORE))
        files.write_csv(pairs, path, neutralise=neutralise)

    def to_parquet(self, path: files.FilePath) -> None:
        """Write the pairs to a Parquet file, which `mirrorkit.load` gives back exactly.

        The gates that were set and the looks that were taken go with them, which a CSV file cannot hold.

        Raises RecordingError if the folder does not exist.
        """
        before, pairs = self.complete_before, self._all()
        kept = {BEFORE: str(before)} if _held_back(pairs, before) else {}
        if looks := self._remembered().looks:
            kept[PLAN] = looks_to_json(looks)
        files.write_parquet(pairs, path, kept=kept)


class Recording(Readable):
    """Pairs that were recorded: `load` reads one, and any frame of pairs makes one.

    `frame` needs the columns pair_id, arm, primary_status and silent_status; the schema's others
    are null where missing. Raises RecordingError if it is no recording. The pairs of a recording never
    change; labels are put beside them.

    >>> pairs = {"pair_id": ["p1", "p2"], "model_group": ["gpt-4o"] * 2, "arm": ["gpt-4o-mini"] * 2}
    >>> Recording(pl.DataFrame({**pairs, "primary_status": ["ok"] * 2, "silent_status": ["ok", "error"]}))
    Recording: 2 pairs, gpt-4o → gpt-4o-mini, 50 % with errors
    """

    __slots__ = ("_before", "_looked", "_store")

    _grows = False

    def __init__(self, frame: pl.DataFrame) -> None:
        with files.readable("the frame"):
            self._store = FrameStore(files.conform(frame))
        self._looked = Looked()
        self._before: datetime | None = None

    @property
    def complete_before(self) -> datetime | None:
        """Until when the record was complete when it was written; None: it is complete."""
        return self._before

    @property
    def frame(self) -> pl.DataFrame:
        """The pairs, one row each; changing this frame changes nothing else."""
        return self._store.frame()

    def __len__(self) -> int:
        return len(self._store)

    def __repr__(self) -> str:
        return f"Recording: {describe(self.frame)}"


def _held_by(holder: Callable[[], Readable | None]) -> Callable[[], Readable]:
    """What is held, which may be gone."""

    def held() -> Readable:
        readable = holder()
        if readable is None:
            raise MirrorError("the session is gone; its pairs are to be read from what it wrote")
        return readable

    return held


def load(
    path: files.FilePath, *more: files.FilePath, storage_options: Mapping[str, Any] | None = None
) -> Recording:
    """The recording in a file, a journal or several of them, as one.

    Each is a .csv or .parquet file that a session or a recording wrote, the folder or URL of a journal, which
    may be written to meanwhile, or a glob of these ("runs/*/", "s3://bucket/july/**"). Labels and verdicts
    are in their rows, and what was looked at goes with it where they agree. A silent call that was under way
    when its process died has a row of status "unknown". `scan` reads the same lazily.

    Args:
        path: what to read; a folder is a journal's.
        more: further ones, as of two machines.
        storage_options: Polars' own, for URLs; by default it finds keys as the store's own tools do.

    Raises:
        RecordingError: there is no such thing, it cannot be read, is no recording, or is of a newer schema
            version than this mirrorkit knows.

    >>> import tempfile
    >>> from mirrorkit.records import SCHEMA
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Recording(SCHEMA.frame()).to_parquet(f"{folder}/pairs.parquet")
    ...     load(f"{folder}/pairs.parquet")
    Recording: no pairs
    """
    read = [each for place in (path, *more) for each in places.read(place, storage_options)]
    with files.readable("a recording"):
        frames = [each.labelled().collect() for each in read]
        recording = Recording(pl.concat(frames, how="diagonal_relaxed"))
    plans = {each.said.looks for each in read}
    recording._looked = Looked(looks_from_json(plans.pop() if len(plans) == 1 else "[]"))
    # of several, what one of them waited for may have to come before what another has already
    recording._before = min((each.before for each in read if each.before is not None), default=None)
    return recording


def scan(
    path: files.FilePath, *more: files.FilePath, storage_options: Mapping[str, Any] | None = None
) -> pl.LazyFrame:
    """The pairs that `load` would read, lazily, for what is larger than memory.

    Takes and raises what `load` does. Of a living writer only those pairs are there that it has settled,
    those of requests older than its oldest one under way: `mirrorkit.compare(mirrorkit.scan(...))` is honest.
    What it adds later is not. Polars' streaming engine reads it, as by `.collect(engine="streaming")`.

    >>> import tempfile
    >>> from mirrorkit.records import SCHEMA
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Recording(SCHEMA.frame()).to_parquet(f"{folder}/pairs.parquet")
    ...     scan(f"{folder}/*.parquet").select(pl.len()).collect().item()
    0
    """
    read = [
        each.labelled()
        for place in (path, *more)
        for each in places.read(place, storage_options, lazily=True)
    ]
    with files.readable("a recording"):
        return read[0] if len(read) == 1 else pl.concat(read, how="diagonal_relaxed")


def delete(
    path: files.FilePath,
    *,
    before: datetime | timedelta | None = None,
    request_ids: Collection[str] | None = None,
    clusters: Collection[str] | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> int:
    """Remove pairs from a recording for good, with their labels and verdicts; gives how many.

    Give one of the three. Sessions that run keep what they have in memory, and lose it from their journal
    only where it is in files that they no longer write to.

    Args:
        path: a .csv or .parquet file, the folder of a journal, a glob of these, or the URL of a journal.
        before: remove pairs of requests that started before this time (UTC where it has no zone), or longer
            ago than this.
        request_ids: remove the pairs of these requests, each with all its arms.
        clusters: remove the pairs of these conversations.
        storage_options: Polars' own, for a URL.

    Raises:
        ConfigError: none of the three is given, or more than one.
        RecordingError: there is no such thing, it cannot be read, or a session that runs has some of these
            pairs in a file that it writes to: close it first.

    >>> import tempfile
    >>> pairs = {"pair_id": ["p1", "p2"], "cluster": ["a", "b"], "arm": ["next"] * 2}
    >>> pairs |= {"primary_status": ["ok"] * 2, "silent_status": ["ok"] * 2}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Recording(pl.DataFrame(pairs)).to_csv(f"{folder}/pairs.csv")
    ...     delete(f"{folder}/pairs.csv", clusters=["a"]), load(f"{folder}/pairs.csv").frame["pair_id"][0]
    (1, 'p2')
    """
    given = {"started_at": before, "request_id": request_ids, "cluster": clusters}
    if sum(value is not None for value in given.values()) != 1:
        raise ConfigError("delete: give one of before=, request_ids= and clusters=.")
    if before is None:
        column, chosen = ("cluster", clusters) if request_ids is None else ("request_id", request_ids)
        if isinstance(chosen, str):
            raise ConfigError(f"{chosen!r} is one text: give a list of them.")
        return deletion.delete(path, pl.col(column).is_in(list(chosen or ())), storage_options)
    if not isinstance(before, datetime | timedelta):
        raise ConfigError(f"before={before!r}: give a datetime, or a timedelta for what is older than that.")
    until = datetime.now(UTC) - before if isinstance(before, timedelta) else before
    until = until.replace(tzinfo=UTC) if until.tzinfo is None else until.astimezone(UTC)
    return deletion.delete(path, pl.col("started_at") < until, storage_options)


def _held_back(pairs: pl.DataFrame, before: datetime | None) -> bool:
    """Whether there are pairs that an older request under way keeps from being counted."""
    return before is not None and bool((pairs["started_at"] >= before).any())


def describe(frame: pl.DataFrame) -> str:
    """A frame of pairs in a line: how many, which models, when, and the share with an error on a side.

    >>> from mirrorkit.records import SCHEMA
    >>> describe(SCHEMA.frame())
    'no pairs'
    """
    if frame.is_empty():
        return "no pairs"
    pairs = "1 pair" if frame.height == 1 else f"{frame.height:,} pairs"
    return ", ".join(part for part in (pairs, _models(frame), _period(frame), _errors(frame)) if part)


def _models(frame: pl.DataFrame) -> str:
    arms = _names(frame["arm"])
    arms.sort(key=lambda arm: arm == CONTROL)
    groups = _names(frame["model_group"])
    return " → ".join(_few(names) for names in (groups, arms) if names)


def _period(frame: pl.DataFrame) -> str:
    first, last = frame["started_at"].min(), frame["started_at"].max()
    if not (isinstance(first, datetime) and isinstance(last, datetime)):
        return ""
    start, end = f"{first:%Y-%m-%d %H:%M}", f"{last:%Y-%m-%d %H:%M}"
    if start == end:
        return f"{start} UTC"
    return f"{start} to {end.removeprefix(f'{first:%Y-%m-%d} ')} UTC"


def _errors(frame: pl.DataFrame) -> str:
    failed = pl.col("primary_status", "silent_status").is_in(["error", "timeout"])
    share = frame.select(pl.any_horizontal(failed).mean()).item()
    return "" if share is None else f"{100 * share:.3g} % with errors"


def _names(column: pl.Series) -> list[str]:
    """The distinct names in a column, in the order of their first appearance."""
    return column.drop_nulls().unique(maintain_order=True).cast(pl.String).to_list()


def _few(names: list[str], most: int = 3) -> str:
    # whoever wrote the record chose them
    shown = [wording.name(" ".join(name[:1_000].split())) for name in names[:most]]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(shown) + more
