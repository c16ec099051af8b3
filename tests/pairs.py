"""A frame of pairs, as a session records them, of which a test names only what it is about."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from mirrorkit.records import SCHEMA
from mirrorkit.store.files import conform

STARTED = datetime(2026, 11, 2, tzinfo=UTC)


def recorded(count: int, *, name: str = "p", **columns: Any) -> pl.DataFrame:
    """Pairs a second apart, both sides ok, each of its own request.

    A column is a value for all pairs, or a list, array or series with one for each. A tuple is of the
    two sides: `latency_s=(1.0, [2.0, 3.0])`; what is no tuple is the same on both.
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
        column: value if isinstance(value, list | np.ndarray | pl.Series) else [value] * count
        for column, value in sides.items()
    }
    schema = {column: SCHEMA.columns.get(column) for column in listed}
    return conform(pl.DataFrame(listed, schema=schema))
