"""The picture of a figure: what is in the figure is in it, where it belongs, and nothing of it runs."""

from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from plotly.graph_objects import Figure

from mirrorkit.comparison import Comparison, compare
from mirrorkit.notebook.picture import picture
from mirrorkit.records import SCHEMA, Call, Pair

SVG = "{http://www.w3.org/2000/svg}"
START = datetime(2026, 11, 2, tzinfo=UTC)
HOSTILE = (
    "<script>window.hacked=1</script><img src=x onerror='hacked=1'><a href='javascript:hacked=1'>x</a>"
    "&lt;script&gt;\x00\x1b[31m\ud800\u202e]]>&amp;\"'"
)
VIEWS = [
    name
    for name in ("plot", "latency", "cost", "outputs", "errors", "lag", "trajectory")
    if hasattr(Comparison, name)
]


def read(figure: Any) -> Any:
    return ElementTree.fromstring(picture(figure))


def drawn(figure: Any, kind: str) -> list[Any]:
    """The elements of a kind, without those that explain them in the legend."""
    tree = read(figure)
    for legend in tree.findall(f"{SVG}g[@class='legend']"):
        tree.remove(legend)
    return [element for element in tree.iter() if element.get("class") == kind]


def texts(figure: Any) -> list[str]:
    return ["".join(element.itertext()) for element in read(figure).iter(f"{SVG}text")]


def text_at(figure: Any, text: str) -> tuple[float, float]:
    (found,) = [e for e in read(figure).iter(f"{SVG}text") if "".join(e.itertext()) == text]
    return float(found.get("x")), float(found.get("y"))


def numbers(path: Any) -> list[list[tuple[float, float]]]:
    """The pieces of a path, each the points that it goes through."""
    pieces = path.get("d").replace("Z", "").split("M")[1:]
    return [[tuple(float(n) for n in point.split()) for point in piece.split("L")] for piece in pieces]


def plain(*traces: dict[str, Any], **layout: Any) -> Figure:
    return Figure({"data": list(traces), "layout": {"template": "none", **layout}})


def test_every_mark_of_a_figure_is_in_its_picture() -> None:
    figure = plain(
        {"type": "bar", "x": ["a", "b", "c"], "y": [1, 2, 3]},
        {"type": "scatter", "x": ["a", "b"], "y": [1, 2], "mode": "lines+markers"},
        {"type": "scatter", "x": ["a", "c"], "y": [1, 2], "mode": "text", "text": ["left", "right"]},
    )
    assert len(drawn(figure, "bar")) == 3
    assert len(drawn(figure, "point")) == 2
    assert len(drawn(figure, "line")) == 1
    assert {"left", "right"} <= set(texts(figure))


def test_unknown_values_are_gaps_and_marks_without_a_place_are_left_out() -> None:
    nothing = [None, float("nan"), float("inf")]
    figure = plain({"x": [0, 1, 2, 3, 4, 5, 6], "y": [1, 2, *nothing, 3, 4], "mode": "lines+markers"})
    (line,) = drawn(figure, "line")
    assert [len(piece) for piece in numbers(line)] == [2, 2]
    assert len(drawn(figure, "point")) == 4


def test_what_is_not_positive_has_no_place_on_a_log_axis() -> None:
    figure = plain({"x": [-1, 0, 1, 10], "y": [1, 1, 1, 1], "mode": "markers"}, xaxis={"type": "log"})
    assert len(drawn(figure, "point")) == 2


def test_places_on_a_log_axis_go_by_powers_of_ten() -> None:
    figure = plain(
        {"x": [1, 10, 1000], "y": [1, 1, 1], "mode": "markers"},
        xaxis={"type": "log", "range": [0, 3]}, width=460, margin={"l": 80, "r": 80},
    )  # fmt: skip
    assert [float(point.get("cx")) for point in drawn(figure, "point")] == [80, 180, 380]


def test_ticks_are_where_their_values_are_and_say_what_was_given() -> None:
    figure = plain(
        {"x": [0, 10], "y": [0, 1], "mode": "lines"}, width=460, margin={"l": 80, "r": 80},
        xaxis={"range": [0, 10], "tickvals": [0, 5], "ticktext": ["none", "half"]},
    )  # fmt: skip
    assert text_at(figure, "none")[0] == 80
    assert text_at(figure, "half")[0] == 230


def test_a_line_in_steps_goes_across_before_it_goes_up() -> None:
    figure = plain({"x": [0, 1], "y": [0, 1], "mode": "lines", "line": {"shape": "hv", "dash": "dash"}})
    (line,) = drawn(figure, "line")
    ((first, corner, last),) = numbers(line)
    assert corner == (last[0], first[1])
    assert line.get("stroke-dasharray")


def test_an_area_lies_between_its_line_and_the_one_before() -> None:
    figure = plain(
        {"x": [0, 1, 2], "y": [1, 2, 1], "mode": "lines"},
        {"x": [0, 1, 2], "y": [3, 4, 3], "mode": "lines", "fill": "tonexty"},
    )
    (area,) = drawn(figure, "area")
    below, above = (numbers(line)[0] for line in drawn(figure, "line"))
    assert numbers(area) == [[*above, *below[::-1]]]


@pytest.mark.parametrize(("mode", "ends"), [("group", False), ("stack", True)])
def test_bars_stand_beside_or_on_each_other(mode: str, ends: bool) -> None:
    figure = plain(*({"type": "bar", "x": ["a"], "y": [2]} for _ in "12"), barmode=mode)
    first, second = drawn(figure, "bar")
    edge = {key: float(first.get(key)) for key in ("x", "y", "width", "height")}
    if ends:
        assert float(second.get("y")) + float(second.get("height")) == pytest.approx(edge["y"], abs=0.2)
        assert float(second.get("x")) == edge["x"]
    else:
        assert float(second.get("x")) == pytest.approx(edge["x"] + edge["width"], abs=0.2)
        assert float(second.get("y")) == edge["y"]


def test_a_lying_bar_is_as_long_as_its_value() -> None:
    figure = plain(
        {"type": "bar", "orientation": "h", "x": [1, 3], "y": ["a", "b"]}, xaxis={"range": [0, 4]},
        width=560, margin={"l": 80, "r": 80},
    )  # fmt: skip
    assert [float(bar.get("width")) for bar in drawn(figure, "bar")] == [100, 300]


def test_bars_over_time_are_as_wide_as_they_say_in_milliseconds() -> None:
    figure = plain(
        {"type": "bar", "x": [START, START + timedelta(seconds=4)], "y": [1, 2], "width": 1000},
        xaxis={"range": [START, START + timedelta(seconds=8)]}, width=960, margin={"l": 80, "r": 80},
    )  # fmt: skip
    assert {float(bar.get("width")) for bar in drawn(figure, "bar")} == {100}
    assert any("Nov 2, 2026" in text for text in texts(figure))


def test_cells_of_a_heat_map_are_drawn_where_they_are_known() -> None:
    figure = plain({"type": "heatmap", "z": [[1, None], [None, 2]], "showscale": False})
    cells = drawn(figure, "cells")
    assert sum(path.get("d").count("M") for path in cells) == 2
    assert len({path.get("fill") for path in cells}) == 2


def test_arrays_are_read_however_plotly_packs_them() -> None:
    figure = plain(
        {"x": np.arange(4), "y": np.array([1.0, np.nan, 3.0, 4.0]), "mode": "markers"},
        {"type": "heatmap", "z": np.eye(3), "xaxis": "x2", "yaxis": "y2"},
        {"x": np.array(["2026-11-02", "2026-11-03"], dtype="datetime64[ns]"), "y": [1, 2], "mode": "markers",
         "xaxis": "x3", "yaxis": "y3"},
        {"x": pl.Series([1, 2]), "y": pl.Series([1, None]), "mode": "markers", "xaxis": "x2", "yaxis": "y2"},
    )  # fmt: skip
    assert len(drawn(figure, "point")) == 3 + 2 + 1
    assert sum(path.get("d").count("M") for path in drawn(figure, "cells")) >= 5


def test_panels_keep_their_own_ground() -> None:
    figure = plain(
        {"x": [0, 1], "y": [0, 1], "mode": "markers"},
        {"x": [0, 1], "y": [0, 1], "mode": "markers", "xaxis": "x2", "yaxis": "y2"},
        xaxis={"domain": [0, 0.4]}, xaxis2={"domain": [0.6, 1], "anchor": "y2"}, yaxis2={"anchor": "x2"},
    )  # fmt: skip
    places = [float(point.get("cx")) for point in drawn(figure, "point")]
    assert max(places[:2]) < min(places[2:])


def test_shapes_notes_titles_and_legend_are_there() -> None:
    figure = plain(
        {"x": [0, 1], "y": [0, 1], "name": "primary", "mode": "lines"},
        {"x": [0, 1], "y": [1, 0], "name": "silent", "mode": "lines"},
        title={"text": "Latency", "subtitle": {"text": "60 pairs"}}, xaxis={"title": {"text": "seconds"}},
    )  # fmt: skip
    figure.add_vline(x=0.5)
    figure.add_hrect(y0=0, y1=0.5)
    figure.add_annotation(x=0.5, y=0.5, text="here")
    assert {"Latency", "60 pairs", "seconds", "here", "primary", "silent"} <= set(texts(figure))
    assert len(drawn(figure, "shape")) == 2


def test_a_shape_on_an_axis_ends_where_the_panel_does() -> None:
    figure = plain({"x": [1, 100], "y": [0, 1]}, xaxis={"type": "log", "range": [0, 2]})
    for first in (1, 0.001):
        figure.add_vrect(x0=first, x1=10)
    within, beyond = (shape.get("x") for shape in drawn(figure, "shape"))
    assert beyond == within


def test_a_kind_of_trace_that_is_not_known_is_named_and_no_error() -> None:
    figure = plain({"type": "pie", "values": [1, 2]}, {"y": [1, 2], "mode": "markers"})
    assert len(drawn(figure, "point")) == 2
    assert "not in this picture: pie" in texts(figure)


def everywhere(text: str) -> Figure:
    """A figure with a text wherever data can put one."""
    return plain(
        {"x": [text, "b"], "y": [1, 2], "name": text, "text": [text, text], "mode": "markers+text"},
        {"type": "bar", "x": [text], "y": [1], "name": text, "text": [text], "customdata": [text]},
        title={"text": text, "subtitle": {"text": text}},
        xaxis={"title": {"text": text}},
        yaxis={"tickvals": [1], "ticktext": [text], "ticksuffix": text},
        annotations=[{"text": text, "x": 0, "y": 0}],
    )


def assert_inert(source: str) -> None:
    tree = ElementTree.fromstring(source)
    assert {e.tag.removeprefix(SVG) for e in tree.iter()} <= {
        "svg", "g", "path", "rect", "line", "circle", "ellipse", "text", "tspan"
    }  # fmt: skip
    for element in tree.iter():
        for name, value in element.attrib.items():
            assert not name.lower().startswith("on")
            assert "href" not in name.lower()
            if name != "aria-label":
                assert "url(" not in value
                assert "javascript" not in value


def test_hostile_text_is_text() -> None:
    source = picture(everywhere(HOSTILE))
    assert_inert(source)
    source.encode("utf-8")
    assert "window.hacked=1" in "".join(ElementTree.fromstring(source).itertext())


def test_a_colour_that_is_an_address_is_never_fetched() -> None:
    source = picture(everywhere("a"))
    assert_inert(source)
    figure = plain({"y": [1, 2], "mode": "lines+markers"})
    figure.data[0]._props["line"] = {
        "color": "url(http://example.com/x)",
        "dash": "1px;url(http://example.com)",
    }
    figure.data[0]._props["marker"] = {"color": ["url(http://example.com/x)", '"/><script/>']}
    source = picture(figure)
    assert_inert(source)
    assert "example.com" not in source


@given(st.text(max_size=40))
@settings(max_examples=60, deadline=None)
def test_any_text_gives_valid_xml(text: str) -> None:
    assert_inert(picture(everywhere(text)))


values = st.none() | st.floats() | st.integers(-(10**30), 10**30)


@given(
    xs=st.lists(values, max_size=12),
    ys=st.lists(values, max_size=12),
    kinds=st.tuples(
        st.sampled_from(["linear", "log", "category", "date", "-"]), st.sampled_from(["linear", "log"])
    ),
    trace=st.sampled_from(
        [
            {"mode": "lines+markers+text", "text": ["a"]},
            {"fill": "toself", "line": {"shape": "hv"}},
            {"fill": "tozeroy", "line": {"shape": "vh"}},
            {"type": "bar"},
            {"type": "bar", "orientation": "h", "text": ["a"]},
        ]
    ),
)
@example(xs=[float("nan")], ys=[], kinds=("category", "linear"), trace={"mode": "lines"})
@example(xs=[], ys=[0.0, 1.7e308], kinds=("linear", "linear"), trace={"mode": "lines"})
@settings(max_examples=150, deadline=None)
def test_any_numbers_on_any_axes_give_valid_xml(xs: Any, ys: Any, kinds: Any, trace: Any) -> None:
    figure = plain(
        {**trace, "x": xs, "y": ys},
        {**trace, "x": xs, "y": ys},
        xaxis={"type": kinds[0]},
        yaxis={"type": kinds[1]},
    )
    source = picture(figure)
    assert_inert(source)
    assert "nan" not in source.replace("nanu", "")
    assert len(source) < 60_000


def made(
    pairs: int, seed: int = 1, arms: tuple[str, ...] = ("mini", "control"), name: str = "big"
) -> pl.DataFrame:
    draw = np.random.default_rng(seed)

    def call(scale: float) -> Call:
        kind = draw.random()
        if kind < 0.08:
            return Call("error", error_type=f"{name}Error", latency_s=float(draw.exponential(scale)))
        seconds = float(draw.lognormal(0, 0.6)) * scale
        return Call(
            "ok", latency_s=seconds, ttft_s=seconds / 3, cost_usd=0.002 * scale, input_tokens=100,
            output_tokens=20, output='{"a": 1}' if kind < 0.5 else "some words " * int(1 + 9 * kind),
            finish_reason="stop", overhead_s=0.01 * seconds,
        )  # fmt: skip

    return SCHEMA.frame(
        Pair(
            pair_id=f"{number}-{arm}", request_id=f"r{number}", trace_id="t", arm=arm, call_type="completion",
            started_at=START + timedelta(seconds=number), lag_s=0.1, cluster=None, tags=(), model_group=name,
            messages=None, params=None, stream=number % 2 == 0, primary=call(1.0), silent=call(0.6),
        )
        for number in range(pairs)
        for arm in arms
    )  # fmt: skip


@pytest.fixture(scope="module")
def many() -> Comparison:
    return compare(made(1_500), progress=False)


@pytest.mark.parametrize("view", VIEWS)
def test_each_figure_of_ours_is_a_picture_under_300_kb_with_its_panels(many: Comparison, view: str) -> None:
    figure = getattr(many, view)()
    source = picture(figure)
    assert_inert(source)
    assert len(source.encode()) < 300_000
    assert "not in this picture" not in source
    titles = [note.text.partition("<br>")[0] for note in figure.layout.annotations if note.xref == "paper"]
    shown = "\n".join(texts(figure))
    assert [title for title in titles if title.replace("&lt;", "<").replace("&gt;", ">") not in shown] == []
    assert sum(len(drawn(figure, kind)) for kind in ("line", "bar", "cells", "point", "area")) >= 2


@given(
    pairs=st.integers(1, 25),
    seed=st.integers(0, 99),
    name=st.sampled_from(["big", HOSTILE.replace("\ud800", ""), "x" * 300]),
)
@settings(max_examples=3, deadline=None)
def test_any_figure_of_ours_gives_valid_xml(pairs: int, seed: int, name: str) -> None:
    seen = compare(made(pairs, seed, arms=(name, "control"), name=name), progress=False)
    for view in VIEWS:
        assert_inert(picture(getattr(seen, view)()))


def test_a_heat_map_without_rows_is_named_and_texts_in_a_heap_of_lines_are_nothing() -> None:
    points = plain({"type": "heatmap", "x": [1, 2], "y": [1, 2], "z": [3, 4]}, {"y": [1, 2]})
    assert len(drawn(points, "line")) == 1
    assert any("not in this picture: heatmap" in text for text in texts(points))
    heap = [{"x": [1, 2], "y": y, "stackgroup": "a"} for y in (["1", "2"], [3, "x"])]
    assert len(drawn(plain(*heap), "area")) == 2
