"""What a call of a simulated model meets, and which models there can be."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.errors import ConfigError
from mirrorkit.simulator import SimulatedModel
from mirrorkit.simulator.models import agrees, slowness, worded_anew


def test_latency_is_log_normal_around_the_median() -> None:
    model = SimulatedModel("x", sigma=0.5)
    factors = sorted(slowness(model, i) for i in range(2001))
    assert factors[1000] == pytest.approx(1, abs=0.1)
    assert factors[1682] == pytest.approx(2.718281828**0.5, abs=0.15)


@pytest.mark.parametrize(
    "settings",
    [
        {"style": "rude"},
        {"ttft_s": -1},
        {"token_s": float("nan")},
        {"words": 0},
        {"agreement": 1.5},
        {"variation": -0.1},
        {"variation": float("nan")},
        {"errors": {"418": 0.1}},
        {"errors": {"500": -0.1}},
        {"errors": {"500": 0.6, "429": 0.6}},
    ],
)
def test_a_model_out_of_range_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="'x'"):
        SimulatedModel("x", **settings)


@given(agreement=st.floats(0, 1), variation=st.floats(0, 1), prompt=st.text(), seed=st.integers())
def test_variation_leaves_the_prompts_that_models_agree_on_as_they_are(
    agreement: float, variation: float, prompt: str, seed: int
) -> None:
    steady, varied = (SimulatedModel("x", agreement=agreement, variation=v) for v in (0.0, variation))
    assert agrees(steady, prompt, seed) == agrees(varied, prompt, seed)


@pytest.mark.parametrize("variation", [0.0, 0.1, 0.5, 1.0])
def test_two_calls_of_one_request_are_worded_unlike_on_the_share_that_varies(variation: float) -> None:
    model = SimulatedModel("x", variation=variation)
    requests = range(4000)
    unlike = sum(any(worded_anew(model, 0, i, attempt) for attempt in (1, 2)) for i in requests)
    assert unlike / len(requests) == pytest.approx(variation, abs=0.03)
