"""Frames of pairs as a session records them, and what a comparison tells of them."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from mirrorkit.compare.answers.differences import differences
from mirrorkit.compare.estimates import estimate
from mirrorkit.compare.measured import measured
from mirrorkit.compare.plan import Plan
from mirrorkit.records import SCHEMA
from mirrorkit.store.files import conform

STARTED = datetime(2026, 11, 2, tzinfo=UTC)

Frame = Callable[..., pl.DataFrame]


def _recorded(count: int, *, name: str = "p", **columns: Any) -> pl.DataFrame:
    """Pairs a second apart, both sides ok, each of its own request.

    A column is a value for all pairs or a list with one for each. A tuple is of the two sides:
    `latency_s=(1.0, [2.0, 3.0])`; what is no tuple is the same on both.
    """
    given: dict[str, Any] = {
        "pair_id": [f"{name}{number}" for number in range(count)],
        "request_id": [f"r{number}" for number in range(count)],
        "arm": "mini",
        "model_group": "big",
        "started_at": [STARTED + timedelta(seconds=number) for number in range(count)],
        "stream": False,
        "status": ("ok", "ok"),
    }
    sides: dict[str, Any] = {}
    for column, value in {**given, **columns}.items():
        if f"primary_{column}" in SCHEMA.columns:
            primary, silent = value if isinstance(value, tuple) else (value, value)
            sides |= {f"primary_{column}": primary, f"silent_{column}": silent}
        else:
            sides[column] = value
    listed = {
        column: value if isinstance(value, list) else [value] * count for column, value in sides.items()
    }
    schema = {column: SCHEMA.columns.get(column) for column in listed}
    return conform(pl.DataFrame(listed, schema=schema))


def _told(frame: pl.DataFrame, names: Iterable[str] | None = None, /, **plan: Any) -> pl.DataFrame:
    set_up = Plan().with_changes(**plan)
    found = differences(frame, set_up.rules)
    return estimate(measured(frame, set_up, found), None if names is None else list(names), set_up)


def _row(
    frame: pl.DataFrame, metric: str, estimand: str | None = None, /, *, arm: str = "mini", **plan: Any
) -> dict[str, Any]:
    rows = _told(frame, [metric], **plan).filter(arm=arm)
    if estimand is not None:
        rows = rows.filter(pl.col("estimand").str.contains(estimand, literal=True))
    return rows.row(0, named=True)


@pytest.fixture(scope="session")
def recorded() -> Frame:
    """`recorded(count, **columns)`: a frame of so many pairs."""
    return _recorded


@pytest.fixture(scope="session")
def told() -> Frame:
    """`told(frame, names, **plan)`: the table of a frame."""
    return _told


@pytest.fixture(scope="session")
def row() -> Callable[..., dict[str, Any]]:
    """`row(frame, metric, estimand, **plan)`: the first such row of the table."""
    return _row
