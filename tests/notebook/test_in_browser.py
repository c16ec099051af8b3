"""What people see, in a real JupyterLab and a real browser, with no network."""

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest

import mirrorkit as mk
from mirrorkit.simulator import Reply

pytestmark = pytest.mark.slow

QUICKSTART = Path(__file__).parents[2] / "notebooks" / "quickstart.ipynb"
HOSTILE = (
    "<script>window.hacked=1</script><img src=x onerror='window.hacked=1'><a href='javascript:hacked=1'>x</a>"
)


def notebook(*cells: str) -> Any:
    return nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )


def assert_calm(page: Any) -> None:
    assert page.foreign == []
    assert page.errors == []


def test_the_quick_start_runs_and_draws_in_jupyterlab(lab: Any, page: Any, tmp_path: Path) -> None:
    lab.run_all(page, nbformat.read(QUICKSTART, 4), "quickstart.ipynb")
    outputs = page.locator(".jp-OutputArea")
    outputs.locator("svg.main-svg").first.wait_for()
    assert page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    assert outputs.locator("g.trace").count() >= 2
    assert outputs.locator(".widget-html, .jupyter-widgets").count() >= 1, "no progress bar"
    assert outputs.locator("table").count() >= 2
    page.screenshot(path=str(tmp_path / "quickstart.png"))
    assert_calm(page)


def test_blocking_calls_work_in_cells_and_no_queued_cell_is_lost(lab: Any, page: Any, sim: Any) -> None:
    models = json.dumps([sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")])
    lab.run_all(
        page,
        notebook(
            "import os; os.environ['LITELLM_LOCAL_MODEL_COST_MAP'] = 'True'\nimport json, mirrorkit as mk",
            f"session = mk.MirrorSession(json.loads({models!r}), silent_model='next')",
            "answers = session.run(['Hi'] * 5)\nprint('ran', len(answers), session.frame.height)",
            "answer = await session.acompletion('chat', [dict(role='user', content='Hi')])",
            "try:\n    session.completion('chat', [dict(role='user', content='Hi')])\n"
            "    print('sync ok')\nexcept Exception as error:\n    print('sync', repr(error))",
            "mk.notebook.allow_nested_loops()",
            "answer = await session.acompletion('chat', [dict(role='user', content='Hi')])\n"
            "print('drained', session.drain(20), session.frame.height)",
            "session.close()\nprint(session)",
            "session.compare()",
        ),
        "blocking.ipynb",
    )
    text = " ".join(page.locator(".jp-OutputArea-output").all_inner_texts())
    assert "ran 5 5" in text
    assert "sync ok" in text
    assert "drained True 8" in text
    assert "MirrorSession closed" in text
    assert_calm(page)


def test_model_output_runs_nowhere_in_report_and_table(page: Any, sim: Any, tmp_path: Path) -> None:
    models = [sim.deployment("chat", "gpt-4o"), sim.deployment(HOSTILE, "gpt-4o-mini")]
    sim.script("gpt-4o", Reply(text=HOSTILE), Reply(fault="400", error_message=HOSTILE))
    sim.script("gpt-4o-mini", Reply(text=HOSTILE))
    with mk.MirrorSession(models, silent_model=HOSTILE) as session:
        session.run([HOSTILE, HOSTILE], progress=False, metadata={"tags": [HOSTILE]})
        comparison = session.compare()
    comparison.to_html(tmp_path / "report.html", title=HOSTILE)
    (tmp_path / "table.html").write_text(comparison._repr_mimebundle_()["text/html"], encoding="utf-8")
    for name in ("report.html", "table.html"):
        page.goto(f"file://{tmp_path / name}")
        if name == "report.html":
            page.locator("svg.main-svg").first.wait_for()
        assert page.evaluate("() => window.hacked") is None
        assert page.locator("img[src='x'], a[href^='javascript:']").count() == 0
    assert_calm(page)
