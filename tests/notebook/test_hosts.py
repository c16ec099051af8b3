"""A chart is seen wherever its notebook is read: live, saved, converted, offline, in a terminal."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter

from pairs import recorded

pytestmark = pytest.mark.slow

PLOTLY, PICTURE = "application/vnd.plotly.v1+json", "image/svg+xml"
CHARTS = ("plot", "latency", "cost", "outputs")
# of its own settings, when any notebook is opened, with nothing run
NOTEBOOK_7_ITSELF = "Cannot read properties of undefined (reading 'schema')"
# what is in a picture, of each picture of a page: its natural width, its marks, and whether a script is in it
IN_PICTURES = """() => Array.from(document.querySelectorAll("img[src^='data:image/svg']")).map(image => {
    const source = new TextDecoder().decode(
        Uint8Array.from(atob(image.src.split(",")[1]), letter => letter.charCodeAt(0)));
    const drawn = new DOMParser().parseFromString(source, "image/svg+xml");
    return [image.complete && image.naturalWidth, drawn.querySelectorAll(".trace > *").length,
            drawn.querySelectorAll("script").length];
})"""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: Any) -> Path:
    file = tmp_path_factory.mktemp("recording") / "pairs.parquet"
    recorded(
        60,
        lag_s=0.1,
        latency_s=tuple([first + number / 100 for number in range(60)] for first in (1, 0.5)),
        cost_usd=0.001,
        output="a word",
        finish_reason="stop",
    ).write_parquet(file)
    return file


def cells(recording: Path) -> Any:
    sources = [
        f"import mirrorkit as mk\nseen = mk.load({str(recording)!r}).compare()",
        "seen",
        *(f"seen.{chart}()" for chart in CHARTS),
    ]
    return nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in sources],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )


@pytest.fixture(scope="module")
def executed(recording: Path) -> Any:
    client = NotebookClient(cells(recording), timeout=100, kernel_name="python3", store_widget_state=False)
    return client.execute()


def charts(notebook: Any) -> list[Any]:
    outputs = [output for cell in notebook.cells for output in cell.outputs]
    return [output.data for output in outputs if PLOTLY in output.get("data", ())]


def test_a_notebook_keeps_plotly_a_picture_and_a_sentence_of_each_chart_and_no_library(executed: Any) -> None:
    kept = charts(executed)
    assert len(kept) == len(CHARTS)
    for data in kept:
        assert set(data) == {PLOTLY, PICTURE, "text/plain"}
        assert data["text/plain"].startswith("Chart “")
    assert len(nbformat.writes(executed)) < 100_000 * len(CHARTS)


def test_nbconvert_html_shows_charts_and_tables_offline(executed: Any, page: Any, tmp_path: Path) -> None:
    body, _ = HTMLExporter().from_notebook_node(executed)
    (tmp_path / "notebook.html").write_text(body, encoding="utf-8")
    page.goto(f"file://{tmp_path / 'notebook.html'}", wait_until="domcontentloaded")
    page.wait_for_function(
        "count => Array.from(document.images).filter(image => image.naturalWidth > 0).length >= count",
        arg=len(CHARTS),
    )
    pictures = page.evaluate(IN_PICTURES)
    assert len(pictures) == len(CHARTS)
    for width, marks, scripts in pictures:
        assert width > 500
        assert marks >= 4
        assert scripts == 0
    assert page.locator(".mirrorkit table").count() >= 2
    page.screenshot(path=str(tmp_path / "nbconvert.png"), full_page=True)


def test_a_saved_notebook_opened_again_in_jupyterlab_draws_with_nothing_run(
    executed: Any, lab: Any, page: Any, tmp_path: Path
) -> None:
    for cell in executed.cells:
        cell.source = "raise SystemExit('a cell was run')"
    lab.open(page, executed, "saved.ipynb")
    page.locator(".jp-OutputArea svg.main-svg").first.wait_for()
    assert page.locator(".jp-OutputArea g.trace").count() >= 2
    assert page.locator(".jp-OutputArea [data-mime-type='image/svg+xml']").count() == 0, "not the picture"
    assert page.locator(".jp-OutputArea .mirrorkit table").count() >= 2
    assert (page.foreign, page.errors) == ([], [])
    page.screenshot(path=str(tmp_path / "saved.png"))


def test_notebook_7_draws_charts_live(notebook7: Any, recording: Path, page: Any, tmp_path: Path) -> None:
    notebook7.run_all(page, cells(recording), "live.ipynb")
    page.locator(".jp-OutputArea svg.main-svg").first.wait_for()
    assert page.locator(".jp-OutputArea g.trace").count() >= 2
    assert page.locator(".jp-OutputArea .mirrorkit table").count() >= 2
    assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    assert page.foreign == []
    assert [error for error in page.errors if error != NOTEBOOK_7_ITSELF] == []
    page.screenshot(path=str(tmp_path / "notebook7.png"))


@pytest.mark.parametrize("last", ["seen.plot()", "display(seen.plot())", "print(seen.plot())"])
def test_a_terminal_ipython_prints_a_sentence_and_opens_no_browser(
    last: str, recording: Path, tmp_path: Path
) -> None:
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f"#!/bin/sh\ntouch {opened}\n")
    browser.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--no-banner", "--colors=NoColor", "-c",
         f"import mirrorkit as mk; seen = mk.load({str(recording)!r}).compare(); {last}"],
        capture_output=True, text=True, timeout=110, check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "BROWSER": str(browser), "PYTHONUTF8": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2_000:]
    assert "Chart “" in done.stdout
    assert "n = 60 pairs" in done.stdout
    assert ".write_html(" in done.stdout
    assert "Error" not in done.stdout + done.stderr
    assert len(done.stdout) < 2_000
    assert not opened.exists()
