"""The gates as a forest plot: what has no place on a logarithmic scale is seen all the same."""

from typing import Any

import pytest

from mirrorkit.comparison import compare
from pairs import recorded


@pytest.mark.parametrize("n", [30, 250])
def test_a_model_that_costs_nothing_has_its_dot_at_the_edge_and_its_text(n: int) -> None:
    frame = recorded(n, arm="free", cost_usd=(0.01, 0.0))
    figure: Any = compare(frame, gates={"cost": 1.0}, progress=False, outputs=False).plot()
    dots = next(trace for trace in figure.data if trace.name == "effect")
    assert list(dots.x) == [figure.layout.xaxis.range[0]]
    assert dots.text[0].startswith("×0")
