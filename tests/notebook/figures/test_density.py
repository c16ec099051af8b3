"""Pairs as a density: every pair is in one cell, the diagonal is where both sides are the same."""

import json
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.notebook import charts
from mirrorkit.notebook.figures import density
from pairs import recorded


def asked(text: str) -> str:
    return json.dumps([{"role": "user", "content": text}])


def pairs(primary: list[float], silent: list[float], arm: str = "mini", **more: Any) -> pl.DataFrame:
    return recorded(len(primary), name=f"{arm} ", arm=arm, latency_s=(primary, silent), **more)


def spread(count: int) -> pl.DataFrame:
    random = np.random.default_rng(3)
    return pairs(list(random.lognormal(0, 1, count)), list(random.lognormal(0.2, 1, count)))


def maps(figure: Any) -> list[Any]:
    return list(figure.select_traces({"type": "heatmap"}))


def hovers(figure: Any) -> list[str]:
    return [text for trace in maps(figure) for row in trace.text for text in row if text is not None]


@given(st.lists(st.tuples(*[st.floats(1e-300, 1e300)] * 2), min_size=1, max_size=30))
def test_every_pair_is_in_one_cell_whose_edges_hold_both_its_times(times: list[tuple[float, float]]) -> None:
    seen = density.densities(pairs([a for a, _ in times], [b for _, b in times]), "latency")
    (arm,) = seen.arms
    assert arm.cells["pairs"].sum() == len(times)
    found = sorted((x, y) for x, y, count in arm.cells.select("x", "y", "pairs").rows() for _ in range(count))
    for axis, values in enumerate(zip(*times, strict=True)):
        cells = sorted(cell[axis] for cell in found)
        for cell, value in zip(cells, sorted(values), strict=True):
            assert seen.edge(cell) * 0.9999 <= value <= seen.edge(cell + 1) * 1.0001


def test_the_shares_of_slower_and_faster_leave_out_what_is_the_same() -> None:
    figure = charts.latency(pairs([1.0, 1.0, 1.0, 2.0], [2.0, 0.5, 1.0, 9.0]))
    notes = [note.text for note in figure.layout.annotations]
    assert "silent slower<br>50.0 %" in notes
    assert "silent faster<br>25.0 %" in notes
    assert "same" in notes


def test_the_diagonal_runs_through_the_places_where_both_sides_are_the_same() -> None:
    (line,) = [shape for shape in charts.latency(spread(50)).layout.shapes if shape.y0 != shape.y1]
    assert (line.x0, line.x1) == (line.y0, line.y1)


def test_both_axes_of_all_arms_have_one_scale() -> None:
    frame = pl.concat([pairs([1.0, 2.0], [3.0, 4.0]), pairs([1.0, 2.0], [0.1, 40.0], "other")])
    edges = {(trace.x, trace.y) for trace in maps(charts.latency(frame))}
    assert len(edges) == 1


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "$x$", "a\nb", "\u202egpj.exe", "x" * 100_000, "%{z}", "\ud800"]
)
def test_a_prompt_in_a_hover_is_inert_cut_and_on_one_line(text: str) -> None:
    figure = charts.latency(pairs([1.0], [2.0], messages=[asked(f"why {text}")]))
    (hover,) = hovers(figure)
    prompt = hover.split("<br>")[-1]
    assert prompt.startswith("why ")
    assert len(prompt) < 100
    for sign in ("<", ">", "$", "\n", "\u202e", "\ud800"):
        assert sign not in prompt
    assert "%{z}" not in maps(figure)[0].hovertemplate


def test_a_hover_tells_how_many_pairs_and_the_prompt_that_is_soonest_read() -> None:
    prompts = [asked("a much longer question"), asked("short?"), None]
    (hover,) = hovers(charts.latency(pairs([1.0] * 3, [2.0] * 3, messages=prompts)))
    assert hover.startswith("3 pairs<br>primary ")
    assert hover.endswith("<br>such as: short?")


def test_pairs_without_their_texts_leave_the_prompt_out() -> None:
    frame = pairs([1.0], [2.0], messages=[asked("hello")])
    assert hovers(charts.latency(frame))[0].endswith("hello")
    for without in (frame.drop("messages"), frame.with_columns(messages=pl.lit(None, pl.String))):
        (hover,) = hovers(charts.latency(without))
        assert hover.count("<br>") == 2


def test_time_to_first_token_has_one_too_where_there_are_streams() -> None:
    frame = pairs(
        [1.0, 2.0], [2.0, 3.0], stream=[True, False], primary_ttft_s=[0.1, None], silent_ttft_s=[0.2, None]
    )
    assert len(maps(charts.latency(frame))) == 2
    assert len(maps(charts.latency(frame.with_columns(stream=pl.lit(False))))) == 1


def test_many_arms_have_few_densities_the_control_among_them() -> None:
    arms = [f"arm {number}" for number in range(9)] + ["control"]
    figure = charts.latency(pl.concat([pairs([1.0], [2.0], arm) for arm in arms]))
    drawn = [trace.name for trace in maps(figure)]
    assert len(drawn) == density.ARMS_SHOWN
    assert drawn[-1] == "primary again (control)"
    assert "Lines: 6 of 10 arms." in figure.layout.title.subtitle.text
