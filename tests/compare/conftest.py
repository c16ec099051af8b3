"""Frames of pairs as a session records them, and what a comparison tells of them."""

from collections.abc import Callable, Iterable
from typing import Any

import polars as pl
import pytest

import pairs
from mirrorkit.compare.answers.differences import differences
from mirrorkit.compare.estimates import estimate
from mirrorkit.compare.measured import measured
from mirrorkit.compare.plan import Plan

Frame = Callable[..., pl.DataFrame]


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
    return pairs.recorded


@pytest.fixture(scope="session")
def told() -> Frame:
    """`told(frame, names, **plan)`: the table of a frame."""
    return _told


@pytest.fixture(scope="session")
def row() -> Callable[..., dict[str, Any]]:
    """`row(frame, metric, estimand, **plan)`: the first such row of the table."""
    return _row
