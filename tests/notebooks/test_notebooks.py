"""The notebooks run, with a real kernel; `python tests/notebooks/test_notebooks.py` stores their outputs."""

import base64
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
NAMES = ("quickstart.ipynb", "decision.ipynb")
PLOTLY = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
PICTURE = "image/png"
UNSET = {"OPENAI_API_KEY", "ANTHROPIC_API_KEY", "LITELLM_LOCAL_MODEL_COST_MAP", "NO_PROXY", "no_proxy"}
DEAD_PROXY = "http://127.0.0.1:9"  # nothing listens there: what asks it, fails


def execute(name: str, folder: Path) -> Any:
    """The notebook, run as a first-time user runs it: in a new kernel, with no key, behind a proxy."""
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)  # type: ignore[no-untyped-call]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook,
        timeout=100,
        kernel_name="python3",
        store_widget_state=False,
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    environment = {key: value for key, value in os.environ.items() if key not in UNSET}
    proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"), DEAD_PROXY)
    return client.execute(env={**environment, **proxies, "IPYTHONDIR": str(folder / "ipython")})


def outputs(notebook: Any) -> Iterator[Any]:
    for cell in notebook.cells:
        yield from cell.get("outputs", ())


def bundles(notebook: Any, kind: str) -> list[Any]:
    return [output.data[kind] for output in outputs(notebook) if kind in output.get("data", ())]


def texts(notebook: Any) -> str:
    printed = [output.text for output in outputs(notebook) if output.output_type == "stream"]
    return "\n".join([*printed, *bundles(notebook, "text/plain")])


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return execute("quickstart.ipynb", tmp_path_factory.mktemp("quickstart"))


@pytest.fixture(scope="module")
def decision(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return execute("decision.ipynb", tmp_path_factory.mktemp("decision"))


@pytest.fixture(params=NAMES)
def stored(request: pytest.FixtureRequest) -> Any:
    return nbformat.read(NOTEBOOKS / request.param, as_version=4)  # type: ignore[no-untyped-call]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["quickstart", "decision"])
def test_every_cell_runs_and_none_complains(name: str, request: pytest.FixtureRequest) -> None:
    # nbclient raises at a cell's exception; what is left to look for is noise
    seen = outputs(request.getfixturevalue(name))
    assert [o for o in seen if o.output_type == "error" or o.get("name") == "stderr"] == []


@pytest.mark.slow
def test_a_decision_goes_from_keep_collecting_to_a_verdict(decision: Any) -> None:
    said = "".join(output.text for output in outputs(decision) if output.output_type == "stream")
    looks = [line for line in said.splitlines() if line.startswith(("Keep", "Switch"))]
    assert looks[0].startswith("Keep collecting on candidate: after 60 pairs")
    assert any(look.startswith("Switch to candidate") for look in looks[1:])
    assert looks[-1].startswith("Keep chat")
    assert "- nano is slower: latency ×1." in said
    assert "- nano lacks " in said


@pytest.mark.slow
def test_every_request_became_a_pair(quickstart: Any) -> None:
    said = texts(quickstart)
    assert "<MirrorSession open: 241 requests, 241 mirrored, 241 pairs, 0 under way" in said
    assert "Recording: 241 pairs, chat → candidate" in said


@pytest.mark.slow
def test_it_shows_the_table_and_three_charts(quickstart: Any) -> None:
    tables = [html for html in bundles(quickstart, "text/html") if 'class="mirrorkit"' in html]
    assert len(tables) == 1
    assert "<table" in tables[0]
    figures = bundles(quickstart, PLOTLY)
    assert [len(figure["data"]) > 0 for figure in figures] == [True, True, True]


@pytest.mark.slow
def test_without_keys_it_says_which_are_wanted(quickstart: Any) -> None:
    assert "set OPENAI_API_KEY and ANTHROPIC_API_KEY" in texts(quickstart)


def test_what_is_stored_is_a_whole_run(stored: Any) -> None:
    counts = [cell.execution_count for cell in stored.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert all(output.output_type != "error" for output in outputs(stored))


def test_a_code_host_that_runs_nothing_shows_each_chart_as_a_picture(stored: Any) -> None:
    assert len(bundles(stored, PICTURE)) == len(bundles(stored, PLOTLY)) >= 2


def test_what_is_stored_is_small_and_knows_nothing_of_this_machine(stored: Any) -> None:
    source = nbformat.writes(stored)
    assert len(source) < 600_000
    assert re.findall(r"/(?:work|root|home|tmp|Users)/", source) == []
    assert re.findall(r"127\.0\.0\.1:|localhost|sk-[\w-]{8,}|ipykernel_\d+", source) == []
    assert bundles(stored, WIDGET) == []
    assert "widgets" not in stored.metadata


def store(name: str) -> None:
    """Run the notebook and keep what it showed, for readers on a code host."""
    with tempfile.TemporaryDirectory() as folder:
        notebook = execute(name, Path(folder))
    for cell in notebook.cells:
        if cell.cell_type == "code":
            # a widget lives as long as its kernel: stored, it is an error message
            cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", ())]
            cell.metadata.pop("execution", None)
    for output in outputs(notebook):
        if PLOTLY in output.get("data", ()):
            output.data[PICTURE] = picture(output.data[PLOTLY])
    notebook.metadata.language_info = {"name": "python"}
    nbformat.write(notebook, NOTEBOOKS / name)  # type: ignore[no-untyped-call]


def picture(figure: Any) -> str:
    """A Plotly figure as a PNG, in base64: a code host draws no figure, and Jupyter prefers the figure."""
    import plotly.io
    from playwright.sync_api import sync_playwright

    page_of_it = plotly.io.to_html({"data": figure["data"], "layout": figure["layout"]}, validate=False)
    with sync_playwright() as playwright:
        chromium = os.environ.get("CHROMIUM", shutil.which("chromium"))
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 980, "height": figure["layout"]["height"] + 20})
        page.set_content(page_of_it)
        page.wait_for_selector(".main-svg")
        shot = page.locator(".plotly-graph-div").screenshot(omit_background=True)
        browser.close()
    return base64.b64encode(shot).decode()


if __name__ == "__main__":
    for name in NAMES:
        store(name)
