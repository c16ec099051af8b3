"""A journal in an object store: parts go there from a folder on this machine, by Polars' own writer.

An object store cannot add to a file, so each writer's notes are one object, `<writer>.notes`, in Parquet:
what it said, and a last row with its state, its schema version and until when its pairs are complete.
"""

import hashlib
import inspect
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import polars as pl

from mirrorkit.errors import RecordingError
from mirrorkit.records import SCHEMA
from mirrorkit.store import files
from mirrorkit.store.folder import QUIET_S

Options = Mapping[str, Any]

_TOLD = {
    "line": pl.String(),
    "state": pl.String(),
    "schema_version": pl.Int64(),
    "at": pl.Datetime("us", "UTC"),
    "complete_before": pl.Datetime("us", "UTC"),
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


@dataclass(frozen=True, slots=True)
class State:
    """What a writer's notes in an object store say of it."""

    writer: str
    state: str
    at: datetime
    complete_before: datetime | None

    @property
    def is_alive(self) -> bool:
        """Whether it still writes: it did not close, and said something a moment ago."""
        return self.state == "open" and datetime.now(UTC) - self.at < timedelta(seconds=QUIET_S)


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
        """Put a part there, under its own name. Raises what Polars raises."""
        with part.open("rb") as file:
            frame = pl.read_parquet(file)
        kept = {"mirrorkit.schema_version": str(SCHEMA.version)}
        self._put(frame, part.name, kept)

    def tell(self, writer: str, notes: Path, state: str, before: datetime | None, at: datetime) -> None:
        """Put a writer's notes and state there, in the place of earlier ones."""
        said = notes.read_text("utf-8").splitlines() if notes.exists() else []
        last = {"state": state, "schema_version": SCHEMA.version, "at": at, "complete_before": before}
        self._put(pl.DataFrame([*({"line": line} for line in said), last], schema=_TOLD), f"{writer}.notes")

    def parts(self) -> list[str]:
        """The URLs of its parts, sorted by writer and number.

        Raises RecordingError if the object store cannot be asked.
        """
        return self._urls("parquet")

    def scan(self, url: str) -> pl.LazyFrame:
        """The pairs in one part."""
        return pl.scan_parquet(url, storage_options=self._options(), glob=False, hive_partitioning=False)

    def told(self) -> tuple[list[bytes], list[State]]:
        """The lines of all notes there, and what their writers' states are.

        Raises RecordingError if a writer is of a newer schema version than this mirrorkit knows.
        """
        lines: list[bytes] = []
        states: list[State] = []
        for url in self._urls("notes"):
            rows = self.scan(url).collect().iter_rows(named=True)
            for row in rows:
                if row["line"] is not None:
                    lines.append(row["line"].encode())
                else:
                    self._check(row["schema_version"], url)
                    states.append(State(Path(url).stem, row["state"], row["at"], row["complete_before"]))
        return lines, states

    def _urls(self, suffix: str) -> list[str]:
        pattern = self.pattern(suffix)
        found = pl.scan_parquet(
            pattern,
            storage_options=self._options(),
            include_file_paths="url",
            hive_partitioning=False,
            **_whatever_columns(),
        )
        try:
            urls = found.select(pl.col("url").unique()).collect(engine="streaming").to_series().to_list()
        except (pl.exceptions.PolarsError, OSError) as error:
            if re.search("expanded paths were empty|expected at least 1 source", str(error)):
                return []
            raise RecordingError(f"'{self.url}' cannot be read: {files.first_line(error)}") from error
        return sorted(urls, key=lambda url: url.rpartition("/")[2])

    def _put(self, frame: pl.DataFrame, name: str, kept: Mapping[str, str] | None = None) -> None:
        where = f"{self.url.rstrip('/')}/{name}"
        frame.write_parquet(where, storage_options=self._options(), metadata=dict(kept or {}))

    def _options(self) -> dict[str, Any] | None:
        return None if self.options is None else dict(self.options)

    @staticmethod
    def _check(version: int, url: str) -> None:
        if version > SCHEMA.version:
            raise RecordingError(
                f"'{url}' has schema version {version}, this mirrorkit knows those up to {SCHEMA.version}: "
                "upgrade mirrorkit"
            )


def _whatever_columns() -> dict[str, Any]:
    """How this Polars is told that files may differ in their columns, of which none is read."""
    known = inspect.signature(pl.scan_parquet).parameters
    if "extra_columns" in known:
        return {"missing_columns": "insert", "extra_columns": "ignore"}
    return {"allow_missing_columns": True}
