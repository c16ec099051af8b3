"""The pairs with what is worked out for each: how the answers differ, and the user's own metrics."""

from collections.abc import Callable
from functools import partial

import polars as pl

from mirrorkit.compare.answers.differences import ALONE, COLUMNS, READ, READ_ALONE, alone, differences
from mirrorkit.compare.answers.rules import Rules
from mirrorkit.compare.gathered import batches, of_pairs, put_together
from mirrorkit.compare.own import of_user
from mirrorkit.compare.plan import Plan

Step = Callable[[int], object]

_FOUND = {"pair_id": pl.String(), **COLUMNS}


class Kept:
    """How the answers of a growing record differ: worked out once for each pair, and kept.

    Rows are added to the record at its end: from the first pair that is another than before, all are worked
    out anew.

    >>> from mirrorkit.records import SCHEMA
    >>> Kept().of(SCHEMA.frame(), Rules()).height
    0
    """

    def __init__(self) -> None:
        self._rules = Rules()
        self._found = pl.DataFrame(schema=_FOUND)

    def of(
        self,
        frame: pl.DataFrame,
        rules: Rules,
        step: Step = lambda rows: None,
        lazy: pl.LazyFrame | None = None,
    ) -> pl.DataFrame:
        """The differences of every row; `step` is told of each so many rows that are done.

        Where the frame is without texts, `lazy` is the record that has them.
        """
        known = self._known(frame, rules)
        parts, done = [self._found[:known]], 0
        for batch in batches(frame, lazy, READ, known):
            found = differences(batch, rules, partial(_further, step, done))
            parts.append(pl.DataFrame([batch["pair_id"], *found.get_columns()]))
            done += batch.height
        self._rules, self._found = rules, of_pairs(pl.concat(parts), frame["pair_id"])
        return self._found.drop("pair_id")

    def missing(self, frame: pl.DataFrame, rules: Rules) -> int:
        """How many rows are still to be worked out."""
        return frame.height - self._known(frame, rules)

    def _known(self, frame: pl.DataFrame, rules: Rules) -> int:
        """How many rows, from the first on, are those that were worked out by these rules."""
        if self._rules != rules:
            return 0
        ids, known = frame["pair_id"], self._found["pair_id"]
        both = min(len(ids), len(known))
        others = ids[:both].ne_missing(known[:both])
        return int(others.arg_true()[0]) if others.any() else both


def measured(
    frame: pl.DataFrame, plan: Plan, found: pl.DataFrame | None = None, lazy: pl.LazyFrame | None = None
) -> pl.DataFrame:
    """The frame with the columns of `found` (`differences` of the same rows) and of the user's metrics.

    Without `found` those columns are null, but for what is told of each answer by itself. Where the frame is
    without texts, `lazy` is the record that has them.

    Raises CompareError for a metric of the user's that raises on every pair, gives anything but a number, or
    a number out of its bounds; RecordingError if texts cannot be read.

    >>> from mirrorkit.records import SCHEMA
    >>> "similarity" in measured(SCHEMA.frame(), Plan()).columns
    True
    """
    known = put_together(frame, _of_each(frame, lazy) if found is None else found)
    return put_together(known, of_user(known, plan.metrics, lazy))


def _of_each(frame: pl.DataFrame, lazy: pl.LazyFrame | None) -> pl.DataFrame:
    """The columns of `differences`, where only what is told of each answer by itself is wanted."""
    parts = [
        pl.DataFrame([batch["pair_id"], *alone(batch).get_columns()])
        for batch in batches(frame, lazy, READ_ALONE)
    ]
    table = of_pairs(pl.concat(parts), frame["pair_id"])
    unknown = (pl.lit(None, dtype=kind).alias(name) for name, kind in COLUMNS.items() if name not in ALONE)
    return table.select(*ALONE, *unknown)


def _further(step: Step, done: int, rows: int) -> object:
    return step(done + rows)
