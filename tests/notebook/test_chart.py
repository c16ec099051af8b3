"""A chart is a Plotly figure in every respect, and brings a picture and a sentence along."""

import copy
import pickle
from typing import Any
from xml.etree import ElementTree

import IPython
import plotly.io as pio
import pytest
from plotly.graph_objects import Figure, FigureWidget

from mirrorkit.notebook import theme
from mirrorkit.notebook.chart import Chart, text

PLOTLY, PICTURE = "application/vnd.plotly.v1+json", "image/svg+xml"


@pytest.fixture
def chart() -> Any:
    figure = theme.grid(["Time<br>n = 3 &lt; 4", "Cost"], title="Both <b>sides</b>", subtitle="two")
    figure.add_trace({"type": "scatter", "y": [1, 2, 3]}, row=1, col=1)
    return figure


@pytest.fixture(autouse=True)
def default_renderer() -> Any:
    before = pio.renderers.default, pio.renderers.render_on_display
    pio.renderers.default = "plotly_mimetype"
    yield
    pio.renderers.default, pio.renderers.render_on_display = before


@pytest.fixture
def shown(monkeypatch: Any) -> list[Any]:
    """What a notebook's cell is given to show."""
    bundles: list[Any] = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, **_: bundles.append(bundle))
    return bundles


class TerminalInteractiveShell:
    """Stands for IPython's of this name."""


def test_figures_are_charts_and_charts_are_figures(chart: Any) -> None:
    assert isinstance(chart, Chart)
    assert isinstance(chart, Figure)
    plain = Figure(chart)
    assert type(plain) is Figure
    assert plain == chart
    assert "Plotly.newPlot" in chart.to_html(include_plotlyjs=False)
    assert len(FigureWidget(chart).data) == 1


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda chart: pickle.loads(pickle.dumps(chart))]
)
def test_a_copy_is_the_same_chart_with_the_same_panels(chart: Any, copied: Any) -> None:
    other = copied(chart)
    assert type(other) is Chart
    assert other == chart
    other.add_trace({"type": "bar", "y": [1]}, row=1, col=2)  # the grid of panels came along
    assert other.data[-1].xaxis == "x2"


def test_what_the_user_changes_is_in_the_picture(chart: Any) -> None:
    chart.update_layout(title_text="Mine")
    chart.add_bar(y=[1, 2], row=1, col=2)
    picture = chart._repr_mimebundle_()[PICTURE]
    assert ">Mine<" in picture
    assert picture.count('class="bar"') == 2


def test_a_notebook_is_given_plotly_a_picture_and_a_sentence(chart: Any, shown: list[Any]) -> None:
    chart._ipython_display_()
    (bundle,) = shown
    assert list(bundle) == ["text/plain", PICTURE, PLOTLY]
    assert bundle[PLOTLY]["data"] == Figure(chart)._repr_mimebundle_()[PLOTLY]["data"]
    assert ElementTree.fromstring(bundle[PICTURE]).tag.endswith("svg")


def test_show_is_the_same_and_a_renderer_that_is_asked_for_is_plotlys(
    chart: Any, shown: list[Any], monkeypatch: Any
) -> None:
    monkeypatch.setattr("IPython.get_ipython", lambda: object())
    chart.show()
    assert list(shown[0]) == ["text/plain", PICTURE, PLOTLY]
    asked: list[Any] = []
    monkeypatch.setattr(pio, "show", lambda figure, *args, **_: asked.append(args))
    chart.show("json")
    assert asked == [("json",)]


def test_the_users_renderer_is_honoured(chart: Any) -> None:
    pio.renderers.default = "plotly_mimetype+notebook_connected"
    assert set(chart._repr_mimebundle_()) == {"text/plain", PICTURE, PLOTLY, "text/html"}
    assert "plotly" in chart._repr_html_()
    pio.renderers.default = "json"
    assert set(chart._repr_mimebundle_()) == {"text/plain", PICTURE, "application/json"}


def test_a_renderer_that_opens_something_of_its_own_is_asked_to(
    chart: Any, shown: list[Any], monkeypatch: Any
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(pio, "show", lambda figure, *args, **_: asked.append(args))
    pio.renderers.default = "plotly_mimetype+browser"
    chart._ipython_display_()
    assert PLOTLY in shown[0]
    assert asked == [("browser",)]


@pytest.mark.parametrize("off", ["default", "render_on_display"])
def test_where_rendering_is_switched_off_there_is_a_sentence(
    chart: Any, shown: list[Any], capsys: Any, off: str
) -> None:
    setattr(pio.renderers, off, None)
    chart._ipython_display_()
    assert shown == []
    assert capsys.readouterr().out == f"{text(chart)}\n"


def test_a_terminal_gets_a_sentence_whatever_plotly_would_do(
    chart: Any, shown: list[Any], monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setattr(IPython, "get_ipython", TerminalInteractiveShell)
    monkeypatch.setattr(pio, "show", lambda *_, **__: pytest.fail("a browser was opened"))
    pio.renderers.default = "browser"
    chart._ipython_display_()
    assert shown == []
    assert capsys.readouterr().out.startswith("Chart “Both sides” with Time n = 3 < 4; Cost: ")


def test_the_sentence_names_title_panels_and_how_to_save(chart: Any) -> None:
    assert repr(chart) == str(chart) == text(chart)
    assert text(chart) == (
        "Chart “Both sides” with Time n = 3 < 4; Cost: a notebook draws it; "
        '.write_html("chart.html") saves it as a page for the browser.'
    )
    assert text(Chart()).startswith("Chart “untitled”: ")


def test_html_without_a_renderer_is_the_picture_and_asks_no_network(chart: Any) -> None:
    html = chart._repr_html_()
    assert html == chart._repr_svg_()
    assert html.startswith("<svg ")
    assert "<script" not in html


def test_a_figure_that_no_picture_is_made_of_has_its_sentence(shown: list[Any]) -> None:
    class Odd(Chart):
        def to_plotly_json(self) -> Any:
            return {"data": [{"type": "bar", "y": 5}], "layout": {"title": {"text": "<i>Odd</i>"}}}

    odd = Odd({"layout": {"title": {"text": "a &lt; b"}}})
    assert odd._repr_svg_() is None
    assert odd._repr_html_() == f"<p>{text(odd)}</p>".replace("a < b", "a &lt; b").replace('"', "&quot;")
    odd._ipython_display_()
    assert PICTURE not in shown[0]
    assert shown[0]["text/plain"] == text(odd)
