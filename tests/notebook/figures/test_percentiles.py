"""The ratio by percentile: the table's quantiles, and a band that is what the two sides' sequences leave."""

from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest

from mirrorkit.compare.statistics import betting
from mirrorkit.comparison import compare
from mirrorkit.notebook import charts
from mirrorkit.notebook.figures.percentiles import line_of
from pairs import recorded


def pairs(count: int, ratio: float = 1.2, noise: float = 0.3, seed: int = 0, **more: Any) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    base = random.lognormal(0, 0.5, count)
    return recorded(count, latency_s=(base, ratio * base * random.lognormal(0, noise, count)), **more)


def test_the_ratio_is_that_of_the_tables_quantiles() -> None:
    frame = pairs(1_200)
    line = line_of(frame, "latency", 0.05)
    at = dict(zip(line.levels, line.ratios, strict=True))
    for row in compare(frame, progress=False, outputs=False).table.filter(metric="latency").to_dicts():
        if row["estimand"].startswith("difference of p"):
            level = int(row["estimand"].removeprefix("difference of p"))
            assert at[level] == pytest.approx(row["silent"] / row["primary"])


def test_the_band_is_what_both_sides_sequences_at_half_of_alpha_leave() -> None:
    frame = pairs(500)
    line = line_of(frame, "latency", 0.1)
    primary, silent = (np.sort(frame[f"{side}_latency_s"].to_numpy()) for side in ("primary", "silent"))
    for level in (30, 50, 80):
        low, high = (rank - 1 for rank in betting.quantile_ranks(500, level / 100, 0.05))
        expected = silent[low] / primary[high], silent[high] / primary[low]
        assert line.band[level] == pytest.approx(expected)


@pytest.mark.parametrize("count", [20, 199, 200, 999, 1_000])
def test_p95_is_drawn_from_200_pairs_and_p99_from_1000(count: int) -> None:
    levels = line_of(pairs(count), "latency", 0.05).levels
    assert (95 in levels) == (count >= 200)
    assert (99 in levels) == (count >= 1_000)


def test_the_band_lies_around_the_ratio_is_without_gaps_and_narrows_with_more_pairs() -> None:
    few, many = (line_of(pairs(count), "latency", 0.05) for count in (300, 5_000))
    for line in (few, many):
        assert all(after - before == 1 for before, after in pairwise(line.band))
        at = dict(zip(line.levels, line.ratios, strict=True))
        assert all(low <= at[level] <= high for level, (low, high) in line.band.items())
    assert all(
        many.band[level][1] / many.band[level][0] < high / low for level, (low, high) in few.band.items()
    )


@pytest.mark.slow
def test_the_band_at_the_median_holds_the_truth_at_every_look() -> None:
    missed = 0
    for seed in range(40):
        frame = pairs(600, 1.2, seed=seed)
        bands = [line_of(frame[:n], "latency", 0.05).band.get(50) for n in range(60, 601, 60)]
        missed += any(band is not None and not band[0] <= 1.2 <= band[1] for band in bands)
    assert missed <= 2


def test_pairs_of_one_conversation_have_no_band_and_the_figure_says_why() -> None:
    frame = pairs(300, cluster=[str(number // 3) for number in range(300)])
    line = line_of(frame, "latency", 0.05)
    assert line.levels
    assert not line.band
    titles = [axis.title.text for axis in charts.latency(frame).select_xaxes()]
    assert "percentile<br>no band: pairs not independent" in titles


def test_the_figure_names_the_level_of_its_band() -> None:
    titles = [axis.title.text for axis in charts.latency(pairs(300), 0.1).select_xaxes()]
    assert "percentile<br>band: 90 %, every look,<br>each percentile by itself" in titles


def test_an_arm_has_its_own_alpha_from_the_plan() -> None:
    frame = pairs(300)
    shown = compare(frame, alpha=0.2, progress=False, outputs=False).latency()
    assert "band: 80 %, every look" in " ".join(axis.title.text for axis in shown.select_xaxes())
