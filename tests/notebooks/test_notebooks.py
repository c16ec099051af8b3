"""The notebooks run, with a real kernel; `python tests/notebooks/test_notebooks.py` stores their outputs."""

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
NAMES = ("quickstart.ipynb", "live.ipynb", "reading.ipynb", "decision.ipynb", "providers.ipynb")
PLOTLY = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
PICTURE = "image/svg+xml"
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
def ran(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """Runs a notebook of that name, once."""
    return cache(lambda name: execute(f"{name}.ipynb", tmp_path_factory.mktemp(name)))


@pytest.fixture(params=NAMES)
def stored(request: pytest.FixtureRequest) -> Any:
    return nbformat.read(NOTEBOOKS / request.param, as_version=4)  # type: ignore[no-untyped-call]


@pytest.mark.slow
@pytest.mark.parametrize("name", [Path(name).stem for name in NAMES])
def test_every_cell_runs_and_none_complains(name: str, ran: Callable[[str], Any]) -> None:
    # nbclient raises at a cell's exception; what is left to look for is noise
    seen = outputs(ran(name))
    assert [o for o in seen if o.output_type == "error" or o.get("name") == "stderr"] == []


@pytest.mark.slow
def test_a_decision_goes_from_keep_collecting_to_a_verdict(ran: Callable[[str], Any]) -> None:
    said = "".join(output.text for output in outputs(ran("decision")) if output.output_type == "stream")
    looks = [line for line in said.splitlines() if line.startswith(("Keep", "Switch"))]
    assert looks[0].startswith("Keep collecting on candidate: after 60 pairs")
    assert any(look.startswith("Switch to candidate") for look in looks[1:])
    assert looks[-1].startswith("Keep chat")
    assert "- nano is slower: latency, net of control, ×1." in said
    assert "- nano lacks " in said


@pytest.mark.slow
def test_every_request_became_a_pair(ran: Callable[[str], Any]) -> None:
    said = texts(ran("quickstart"))
    assert "<MirrorSession open: 241 requests, 241 mirrored, 241 pairs, 0 under way" in said
    assert "Recording: 241 pairs, chat → candidate" in said


@pytest.mark.slow
def test_it_shows_the_table_and_three_charts(ran: Callable[[str], Any]) -> None:
    tables = [html for html in bundles(ran("quickstart"), "text/html") if 'class="mirrorkit ' in html]
    assert len(tables) == 1
    assert "<table" in tables[0]
    figures = bundles(ran("quickstart"), PLOTLY)
    assert [len(figure["data"]) > 0 for figure in figures] == [True, True, True]


@pytest.mark.slow
def test_without_keys_it_says_which_are_wanted_and_skips(ran: Callable[[str], Any]) -> None:
    said = texts(ran("providers"))
    assert "Skipped below: set OPENAI_API_KEY and ANTHROPIC_API_KEY to run it." in said
    assert len(list(outputs(ran("providers")))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["live", "reading"])
def test_a_widget_leaves_a_picture_of_itself_for_where_no_kernel_is(
    name: str, ran: Callable[[str], Any]
) -> None:
    widgets = [o.data for o in outputs(ran(name)) if WIDGET in o.get("data", ())]
    assert any("mirrorkit" in data.get("text/html", "") for data in widgets)


def test_what_is_stored_is_a_whole_run(stored: Any) -> None:
    counts = [cell.execution_count for cell in stored.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert all(output.output_type != "error" for output in outputs(stored))


def test_a_code_host_that_runs_nothing_shows_each_chart_as_a_picture(stored: Any) -> None:
    assert len(bundles(stored, PICTURE)) == len(bundles(stored, PLOTLY))


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
            cell.outputs = [output for output in cell.outputs if not _is_bar(output)]
            cell.metadata.pop("execution", None)
    for output in outputs(notebook):
        # a widget lives as long as its kernel: stored, it is an error message, and its picture is not
        output.get("data", {}).pop(WIDGET, None)
    notebook.metadata.language_info = {"name": "python"}
    nbformat.write(notebook, NOTEBOOKS / name)  # type: ignore[no-untyped-call]


def _is_bar(output: Any) -> bool:
    """Whether it is a progress bar, or another widget that leaves no picture."""
    data = output.get("data", {})
    return WIDGET in data and "text/html" not in data


if __name__ == "__main__":
    for name in NAMES:
        store(name)
