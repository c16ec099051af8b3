"""The pictures of the README, taken of a real run in a real JupyterLab.

Where the variable MIRRORKIT_PICTURES names a folder, they are kept there; the README's is notebooks/pictures.
"""

import os
from pathlib import Path
from typing import Any

import nbformat
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SET_UP = """
import os; os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import logging, mirrorkit as mk
from mirrorkit.simulator import SimulatedModel, SimulatorProcess, prompts
logging.getLogger("LiteLLM Router").setLevel(logging.CRITICAL)
simulator = SimulatorProcess([
    SimulatedModel("gpt-4o", ttft_s=0.10, token_s=0.002, words=50, style="chatty", errors={"429": 0.01}),
    SimulatedModel("gpt-4o-mini", ttft_s=0.09, token_s=0.0015, words=30, style="brief", agreement=0.8,
                   errors={"500": 0.01, "429": 0.005}),
], seed=11)
simulator.start()
session = mk.MirrorSession(
    [simulator.deployment("chat", "gpt-4o"), simulator.deployment("candidate", "gpt-4o-mini")],
    silent_model="candidate", control=0.2, budget_usd=0.10, seed=11,
)
requests = [{**each, "metadata": {"tags": each["metadata"]["tags"]}} for each in prompts(420, seed=11)]
for request in requests[::3]:
    request |= {"stream": True, "stream_options": {"include_usage": True}}
gates = {"latency": 1.10, "cost": 0.80, "errors": 0.05}
"""
CELLS = {
    "live": "session.live(gates=gates)",
    "run": "await session.arun(requests, model='chat', progress=False, num_retries=0);",
    "trajectory": "comparison = session.compare(gates=gates)\ncomparison.trajectory()",
    "plot": "comparison.plot()",
    "browse": "session.browse()",
    "end": "simulator.stop()",
}
DRAWN = {
    "live": ".mirrorkit-live .count",
    "trajectory": "g.trace",
    "plot": "g.trace",
    "browse": ".mirrorkit-browser",
}


def test_the_readmes_pictures_show_a_real_run(lab: Any, page: Any, tmp_path: Path) -> None:
    folder = Path(os.environ.get("MIRRORKIT_PICTURES", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in (SET_UP, *CELLS.values())],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    # high enough for a whole output beneath the toolbar
    page.set_viewport_size({"width": 1280, "height": 2_200})
    lab.run_all(page, notebook, "pictures.ipynb")
    # one after the other, as JupyterLab takes out of the page what is far from being seen
    for number, name in enumerate(CELLS, start=1):
        if name not in DRAWN:
            continue
        page.evaluate("(n) => jupyterapp.shell.currentWidget.content.scrollToItem(n)", number)
        cell = page.locator(f".jp-Cell[data-windowed-list-index='{number}'] .jp-OutputArea-child").last
        cell.locator(DRAWN[name]).first.wait_for()
        cell.scroll_into_view_if_needed()
        if name == "browse":
            cell.get_by_role("checkbox", name="differs").check()
            cell.get_by_label("status").first.select_option("ok")
        page.wait_for_timeout(1_500)  # a figure is drawn in steps, and says nothing at its end
        cell.locator(".jp-OutputArea-output").screenshot(path=str(folder / f"{name}.png"))
        assert cell.locator(DRAWN[name]).count() > 0
    assert page.foreign == []
    assert page.errors == []
