"""The reading half of a session, from memory or from disk: no router, no LiteLLM."""

from abc import ABC, abstractmethod
from datetime import datetime

import polars as pl

from mirrorkit.comparison import Comparison, compare
from mirrorkit.records import CONTROL
from mirrorkit.store import files


class Readable(ABC):
    """What can be read off a frame of pairs, live or recorded."""

    __slots__ = ()

    @property
    @abstractmethod
    def frame(self) -> pl.DataFrame:
        """The pairs so far, one row each; changing this frame changes nothing else."""

    def compare(self) -> Comparison:
        """How the silent models did beside the primary, on the pairs so far.

        Raises CompareError if there are none yet.
        """
        return compare(self.frame)

    def to_csv(self, path: files.FilePath, *, neutralise: bool = True) -> None:
        """Write the pairs to a CSV file, which `mirrorkit.load` gives back exactly.

        A text cell that a spreadsheet would run as a formula gets a leading apostrophe, unless
        `neutralise` is False. Raises RecordingError if the folder does not exist.
        """
        files.write_csv(self.frame, path, neutralise=neutralise)

    def to_parquet(self, path: files.FilePath) -> None:
        """Write the pairs to a Parquet file, which `mirrorkit.load` gives back exactly.

        Raises RecordingError if the folder does not exist.
        """
        files.write_parquet(self.frame, path)


class Recording(Readable):
    """Pairs that were recorded: `load` reads one from a file, and any frame of pairs makes one.

    `frame` needs the columns pair_id, arm, primary_status and silent_status; the schema's others
    are null where missing. Raises RecordingError if it is no recording. A recording never changes.

    >>> pairs = {"pair_id": ["p1", "p2"], "model_group": ["gpt-4o"] * 2, "arm": ["gpt-4o-mini"] * 2}
    >>> Recording(pl.DataFrame({**pairs, "primary_status": ["ok"] * 2, "silent_status": ["ok", "error"]}))
    Recording: 2 pairs, gpt-4o → gpt-4o-mini, 50 % with errors
    """

    __slots__ = ("_frame",)

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = files.conform(frame).clone()

    @property
    def frame(self) -> pl.DataFrame:
        """The pairs, one row each; changing this frame changes nothing else."""
        return self._frame.clone()

    def __len__(self) -> int:
        return self._frame.height

    def __repr__(self) -> str:
        return f"Recording: {describe(self._frame)}"


def load(path: files.FilePath) -> Recording:
    """The recording in a .csv or .parquet file that a session or a recording wrote.

    Raises RecordingError if there is no such file, it cannot be read, is no recording, or is of a
    newer schema version than this mirrorkit knows.

    >>> import tempfile
    >>> from mirrorkit.records import SCHEMA
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Recording(SCHEMA.frame()).to_parquet(f"{folder}/pairs.parquet")
    ...     load(f"{folder}/pairs.parquet")
    Recording: no pairs
    """
    return Recording(files.read(path))


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
    """The distinct names in a column, in the order of their first appearance, each on one line."""
    return [" ".join(str(name).split()) for name in column.drop_nulls().unique(maintain_order=True)]


def _few(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
