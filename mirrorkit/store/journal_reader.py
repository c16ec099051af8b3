"""The reading half of a journal that is being written to."""

from abc import ABC, abstractmethod
from collections.abc import Collection
from pathlib import Path

import polars as pl

from mirrorkit.errors import RecordingError
from mirrorkit.store import cloud, files, reading


class JournalReader(ABC):
    """What a writer reads in the journal that it writes to."""

    place: str
    folder: Path
    writer: str
    _prefix: cloud.Prefix | None

    @abstractmethod
    def waiting(self) -> tuple[bytes, bytes]:
        """The lines of pairs and of notes that wait in memory, because they could not be written."""

    def earlier(self, near: Collection["JournalReader"] = ()) -> reading.Read:
        """What other writers have in this journal: ended ones all, living ones what they have settled.

        Of those that are `near`, of this process, it is all, with what waits in memory. Raises RecordingError
        if the journal cannot be read.
        """
        return self._read([each for each in near if each is not self], without=self.writer)

    def everything(self, near: Collection["JournalReader"] = ()) -> reading.Read:
        """What all writers have in this journal; see `earlier`."""
        return self._read([*(each for each in near if each is not self), self])

    def cost_usd(self) -> float:
        """What all silent calls and judges in this journal have cost, in US dollars; an unknown cost adds 0.

        Raises RecordingError if the journal cannot be read.
        """
        costs = ("silent_cost_usd", "judge_cost_usd")
        try:
            told = self._read([], settled=False).labelled().select(pl.col(costs).sum())
            return float(sum(told.collect(engine="streaming").row(0)))
        except (pl.exceptions.PolarsError, OSError) as error:
            raise RecordingError(f"'{self.place}' cannot be read: {files.first_line(error)}") from error

    def _read(
        self, near: Collection["JournalReader"], without: str | None = None, *, settled: bool = True
    ) -> reading.Read:
        waits = [each.waiting() for each in near]
        own = {each.writer for each in near}
        if self._prefix is None:
            read = reading.in_folder(self.folder, without=without, settled=settled, own=own, leaves_out=True)
        else:
            read = reading.in_both(self._prefix, self.folder, without=without, own=own)
        return reading.with_lines(read, b"".join(w for w, _ in waits), b"".join(s for _, s in waits))
