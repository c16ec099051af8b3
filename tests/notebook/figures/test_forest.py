"""The gates as a forest plot: what has no place on a logarithmic scale is seen all the same."""

from typing import Any

import polars as pl
import pytest

from mirrorkit.comparison import compare
from mirrorkit.store.files import conform


@pytest.mark.parametrize("n", [30, 250])
def test_a_model_that_costs_nothing_has_its_dot_at_the_edge_and_its_text(n: int) -> None:
    frame = conform(
        pl.DataFrame(
            {
                "pair_id": [str(number) for number in range(n)],
                "arm": ["free"] * n,
                **{f"{side}_status": ["ok"] * n for side in ("primary", "silent")},
                "primary_cost_usd": [0.01] * n,
                "silent_cost_usd": [0.0] * n,
            }
        )
    )
    figure: Any = compare(frame, gates={"cost": 1.0}, progress=False, outputs=False).plot()
    dots = next(trace for trace in figure.data if trace.name == "effect")
    assert list(dots.x) == [figure.layout.xaxis.range[0]]
    assert dots.text[0].startswith("×0")
