"""A journal in an object store: parts go there from a folder on this machine, by Polars' own writer.

An object store cannot add to a file, so each writer's notes are one object, `<writer>.notes`, in Parquet:
what it said, and a last row with its state, its schema version, until when its pairs are complete, and how
many of its parts that is told of.
"""

import hashlib
import inspect
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import polars as pl

from mirrorkit.errors import RecordingError
from mirrorkit.records import SCHEMA
from mirrorkit.store import deadline, files
from mirrorkit.store.folder import QUIET_S

Options = Mapping[str, Any]

_TRIES = 20
"""How often an object is read anew that was replaced while it was read."""
ANSWER_S, _SLOWEST = 30.0, 250_000
"""Seconds that an object store has for an answer, and bytes a second that it takes at the least."""
_LANES: dict[tuple[int, str], deadline.Lane] = {}
_NO_OBJECT = re.compile("expanded paths were empty|expected at least 1 source")
_REPLACED = re.compile("out of specification|Range|416")
# a ValueError is of options that Polars does not take
_UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError)

_SAID = {"line": pl.String(), "schema_version": pl.Int64()}
_STATE = {
    "state": pl.String(),
    "at": pl.Datetime("us", "UTC"),
    "complete_before": pl.Datetime("us", "UTC"),
    "parts": pl.Int64(),
}


def is_url(place: str | os.PathLike[str]) -> bool:
    """Whether this is a URL of an object store, as opposed to a path.

    >>> is_url("s3://bucket/july"), is_url("runs/july"), is_url("file:///runs")
    (True, False, False)
    """
    text = os.fspath(place)
    return "://" in text and not text.startswith("file://")


def local(place: str | os.PathLike[str]) -> Path:
    """The path of a place on this machine; one that starts with file:// is a URL of it."""
    text = os.fspath(place)
    return Path(unquote(urlsplit(text).path) if text.startswith("file://") else text).expanduser()


def spool(url: str) -> Path:
    """The folder on this machine where pairs wait until they are in the object store.

    In `MIRRORKIT_SPOOL`, else in the user's state folder; one for each URL.
    """
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    root = os.environ.get("MIRRORKIT_SPOOL") or Path(state) / "mirrorkit" / "spool"
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", url)[-40:].strip("-.")
    return Path(root) / f"{name}-{hashlib.sha256(url.encode()).hexdigest()[:12]}"


def number(part: Path) -> int:
    """Which of its writer's parts or segments this is; 0 for a file that has no number.

    >>> number(Path("20261122T101112131415Z_host_7_0f0f0f0f-000012.parquet"))
    12
    """
    last = part.stem.rpartition("-")[2]
    return int(last) if last.isdecimal() else 0


@dataclass(frozen=True, slots=True)
class State:
    """What a writer's notes in an object store say of it.

    `parts` is the number of the last part that `complete_before` speaks of; None where it is all of them.
    """

    writer: str
    state: str
    at: datetime
    complete_before: datetime | None
    parts: int | None

    @property
    def is_alive(self) -> bool:
        """Whether it still writes: it did not close, and said something a moment ago."""
        return self.state == "open" and datetime.now(UTC) - self.at < timedelta(seconds=QUIET_S)

    def tells_of(self, part: Path) -> bool:
        """Whether it was told when this part was there already, or no more parts can come."""
        return not self.is_alive or self.parts is None or number(part) <= self.parts


@dataclass(frozen=True, slots=True)
class Prefix:
    """A place in an object store; `options` are Polars' `storage_options`.

    >>> Prefix("s3://bucket/july/**").pattern("parquet"), Prefix("s3://bucket/july").pattern("notes")
    ('s3://bucket/july/**/*.parquet', 's3://bucket/july/*.notes')
    """

    url: str
    options: Options | None = field(default=None, repr=False)

    def pattern(self, suffix: str) -> str:
        """What matches all its objects of a kind."""
        if self.url.endswith(".parquet"):
            return re.sub(r"[^/]*$", f"*.{suffix}", self.url) if suffix != "parquet" else self.url
        return f"{self.url.rstrip('/')}/*.{suffix}"

    def upload(self, part: Path) -> None:
        """Put a part there, under its own name, with all that is kept with it. Raises what Polars raises."""
        with part.open("rb") as file:
            frame = pl.read_parquet(file)
            kept = pl.read_parquet_metadata(file)
        self._put(frame, part.name, _ours(kept))

    def replace(self, url: str, pairs: pl.DataFrame) -> None:
        """Put these pairs in the place of a part's; what is kept with it stays. Raises what Polars raises."""
        kept = deadline.within(partial(pl.read_parquet_metadata, url, self._options()), ANSWER_S)
        self._put(pairs, url.rpartition("/")[2], _ours(kept))

    def tell(self, state: State, said: Iterable[bytes] = ()) -> None:
        """Put a writer's state and the lines of its notes there, in the place of earlier ones."""
        told: list[dict[str, Any]] = [{"line": line.decode("utf-8", "replace")} for line in said]
        last = {name: getattr(state, name) for name in _STATE}
        told.append({"schema_version": SCHEMA.version, **last})
        self._put(pl.DataFrame(told, schema=_SAID | _STATE), f"{state.writer}.notes")

    def said_by(self, writer: str) -> list[bytes]:
        """The lines of the notes that a writer has there. Raises RecordingError if it cannot be asked."""
        urls = self._urls(f"{self.url.rstrip('/')}/{writer}*.notes")
        lines = [row["line"] for url in urls for row in self._notes(url)]
        return [line.encode() for line in lines if line is not None]

    def parts(self) -> list[str]:
        """The URLs of its parts, sorted by writer and number.

        Raises RecordingError if the object store cannot be asked.
        """
        return self._urls(self.pattern("parquet"))

    def scan(self, url: str) -> pl.LazyFrame:
        """The pairs in one part."""
        return pl.scan_parquet(url, storage_options=self._options(), glob=False, hive_partitioning=False)

    def read(self, url: str) -> pl.DataFrame:
        """The pairs in one part. Raises RecordingError if it cannot be read."""
        return self._collected(partial(self.scan, url))

    def told(self) -> tuple[list[bytes], list[State]]:
        """The lines of all notes there, and what their writers' states are.

        Raises RecordingError if a writer is of a newer schema version than this mirrorkit knows.
        """
        lines: list[bytes] = []
        states: list[State] = []
        for url in self._urls(self.pattern("notes")):
            for row in self._notes(url):
                if row["line"] is not None:
                    lines.append(row["line"].encode())
                else:
                    self._check(row["schema_version"], url)
                    states.append(State(Path(url).stem, **{name: row[name] for name in _STATE}))
        return lines, states

    def _notes(self, url: str) -> list[dict[str, Any]]:
        return self.read(url).rows(named=True)

    def _urls(self, pattern: str) -> list[str]:
        def found() -> pl.LazyFrame:
            return pl.scan_parquet(
                pattern,
                storage_options=self._options(),
                include_file_paths="url",
                hive_partitioning=False,
                **_whatever_columns(),
            ).select(pl.col("url").unique())

        urls = self._collected(found, pl.DataFrame({"url": []}))["url"].to_list()
        return sorted(urls, key=lambda url: url.rpartition("/")[2])

    def _collected(
        self, scan: Callable[[], pl.LazyFrame], nothing: pl.DataFrame | None = None
    ) -> pl.DataFrame:
        """What a scan gives, or `nothing` where there is no object."""
        tries = 0
        while True:
            tries += 1
            try:
                return deadline.within(lambda: scan().collect(engine="streaming"), ANSWER_S)
            except _UNREADABLE as error:
                if nothing is not None and _NO_OBJECT.search(str(error)):
                    return nothing
                if tries == _TRIES or not _REPLACED.search(str(error)):
                    why = files.first_line(error)
                    raise RecordingError(f"'{self.url}' cannot be read: {why}") from error

    def _put(self, frame: pl.DataFrame, name: str, kept: Mapping[str, str] | None = None) -> None:
        where = f"{self.url.rstrip('/')}/{name}"
        lane = _LANES.setdefault((os.getpid(), self.url), deadline.Lane())
        options, metadata = self._options(), dict(kept or {})
        lane.do(
            lambda: frame.write_parquet(where, storage_options=options, metadata=metadata),
            ANSWER_S + frame.estimated_size() / _SLOWEST,
        )

    def _options(self) -> dict[str, Any] | None:
        return None if self.options is None else dict(self.options)

    @staticmethod
    def _check(version: int, url: str) -> None:
        if version > SCHEMA.version:
            raise RecordingError(
                f"'{url}' has schema version {version}, this mirrorkit knows those up to {SCHEMA.version}: "
                "upgrade mirrorkit"
            )


def _ours(kept: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in kept.items() if name.startswith("mirrorkit.")}


def _whatever_columns() -> dict[str, Any]:
    """How this Polars is told that files may differ in their columns, of which none is read."""
    known = inspect.signature(pl.scan_parquet).parameters
    if "extra_columns" in known:
        return {"missing_columns": "insert", "extra_columns": "ignore"}
    return {"allow_missing_columns": True}
