"""The pair browser, in a real JupyterLab and a real browser: keys, votes, blindness, hostile answers."""

import json
from pathlib import Path
from typing import Any

import nbformat
import polars as pl
import pytest

from mirrorkit.recording import Recording

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

HOSTILE = (
    "</textarea></div><script>window.hacked=1</script><img src=x onerror='window.hacked=1'>"
    "<a href='javascript:window.hacked=1'>x</a>[y](javascript:hacked=1)<svg onload='window.hacked=1'>"
    "<iframe src='https://example.com/'></iframe>\x1b[31mred\x1b[0m \u202egnp.exe\u202c "
)
SECRET_PRIMARY, SECRET_SILENT = "model-of-the-primary", "model-that-is-silent"

SET_UP = """
import os; os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import mirrorkit as mk, polars as pl
recording = mk.load({path!r})
"""
NOTEBOOK_7_ITSELF = "Cannot read properties of undefined (reading 'schema')"
FOCUSED = "() => document.activeElement?.classList.contains('mirrorkit-browser')"


def pairs() -> pl.DataFrame:
    """Twelve pairs with a model's name in every column that may have one, the first of them hostile."""
    count = 12
    messages = [[{"role": "user", "content": f"Question {n}"}] for n in range(count)]
    messages[0][0]["content"] = HOSTILE
    messages[1] = [{"role": "user", "content": f"turn {n}\n" * 40} for n in range(6)]
    first = [HOSTILE, "x" * 1_000_000, '{"city": "Paris", "n": 1}', "# Title\n**bold** one", *["Yes."] * 8]
    second = [
        HOSTILE + "too",
        "y" * 1_000_000,
        '{"city": "Rome", "n": 1}',
        "# Title\n**bold** two",
        *["No."] * 8,
    ]
    call = [{"id": "c", "type": "function", "function": {"name": "look_up", "arguments": '{"q": "a"}'}}]
    other = json.dumps(call).replace('\\"a\\"', '\\"b\\"')
    return pl.DataFrame(
        {
            "pair_id": [f"pair-{n}" for n in range(count)],
            "arm": [SECRET_SILENT] * count,
            "model_group": [SECRET_PRIMARY] * count,
            "primary_model": [SECRET_PRIMARY] * count,
            "silent_model": [SECRET_SILENT] * count,
            "messages": [json.dumps(each) for each in messages],
            "primary_status": ["ok"] * count,
            "silent_status": ["ok"] * (count - 1) + ["error"],
            "silent_error_message": [None] * (count - 1) + [f"{SECRET_SILENT} {HOSTILE}"],
            "primary_latency_s": [1.0 + n for n in range(count)],
            "silent_latency_s": [2.0] * count,
            "primary_output": first,
            "silent_output": [*second[:-1], None],
            "primary_tool_calls": [None] * 4 + [json.dumps(call)] + [None] * (count - 5),
            "silent_tool_calls": [None] * 4 + [other] + [None] * (count - 5),
        }
    )


def notebook(*cells: str) -> Any:
    return nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )


class Driver:
    """The browser on a page: what it says, and keys pressed into it."""

    def __init__(self, page: Any) -> None:
        self.page = page
        page.set_default_timeout(30_000)
        self.root = page.locator(".jp-OutputArea .mirrorkit-browser").first

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)

    def says(self, selector: str, text: str) -> None:
        self.root.locator(selector, has_text=text).first.wait_for()

    def run(self, code: str) -> str:
        """The output of one more cell."""
        self.page.evaluate(
            """code => {
                const panel = jupyterapp.shell.currentWidget;
                const cells = panel.content.widgets;
                panel.content.activeCellIndex = cells.length - 1;
                cells[cells.length - 1].model.sharedModel.setSource(code);
            }""",
            code,
        )
        self.page.evaluate("() => jupyterapp.commands.execute('notebook:run-cell')")
        self.page.wait_for_function(
            "() => { const w = jupyterapp.shell.currentWidget.content.widgets; const c = w[w.length - 1];"
            " return c.model.executionState !== 'running' && c.outputArea.model.length > 0; }"
        )
        output = self.page.evaluate(
            "() => { const w = jupyterapp.shell.currentWidget.content.widgets;"
            " return JSON.stringify(w[w.length - 1].outputArea.model.toJSON()); }"
        )
        return str(output)


@pytest.fixture
def opened(lab: Any, page: Any, tmp_path: Path) -> Driver:
    cells = notebook(
        SET_UP.format(path=str(_saved(tmp_path))), "browser = recording.browse()\nbrowser", "'last'"
    )
    lab.run_all(page, cells, f"{tmp_path.name}.ipynb")
    driver = Driver(page)
    driver.says(".place", "Pair 1 of 12")
    return driver


def _saved(folder: Path) -> Path:
    Recording(pairs()).to_parquet(folder / "pairs.parquet")
    return folder / "pairs.parquet"


def test_pairs_are_read_and_voted_on_by_key(opened: Driver, page: Any, tmp_path: Path) -> None:
    cells = page.evaluate("() => jupyterapp.shell.currentWidget.content.widgets.length")
    opened.root.locator(".place").click()
    assert page.evaluate(FOCUSED), "a click does not give the browser the keys"

    # blind: nothing on the page, nor in what has crossed to it, tells the sides apart
    assert SECRET_PRIMARY not in opened.root.inner_text()
    assert SECRET_SILENT not in opened.root.inner_text()
    assert opened.root.locator("dl.facts").count() == 0

    # hostile answers are text
    assert page.evaluate("() => window.hacked") is None
    assert opened.root.locator("script, img, iframe, svg, a, textarea").count() == 0
    text = opened.root.locator(".side.left .text").inner_text()
    assert "<script>window.hacked=1</script>" in text
    assert "⟨U+202E⟩gnp.exe" in text
    assert "⟨U+001B⟩[31mred" in text
    assert "\u202e" not in text
    page.screenshot(path=str(tmp_path / "hostile.png"))

    opened.press("2")
    opened.says(".said", "voted: ")
    opened.says(".side.silent h4", SECRET_SILENT)
    opened.says(".side.primary h4", SECRET_PRIMARY)
    right = "silent" if opened.root.locator(".side.right.silent").count() else "primary"
    assert f"'{right}'" in opened.run("recording.frame['preference'][0]")
    page.screenshot(path=str(tmp_path / "voted.png"))

    opened.root.locator(".place").click()
    opened.press("u")
    opened.says(".said", "undone: vote")
    assert SECRET_SILENT not in opened.root.inner_text(), "what was told is hidden again"
    assert "None" in opened.run("print(recording.frame['preference'][0])")

    # a megabyte on one line: the beginning, and more on demand
    opened.root.locator(".place").click()
    opened.press("j")
    opened.says(".place", "Pair 2 of 12")
    assert opened.root.locator(".side.left .text").evaluate("node => node.textContent.length") == 20_000
    opened.root.locator(".side.left .more button").click()
    opened.says(".side.left .more", "120,000 of 1,000,000")
    assert opened.root.locator(".side.left .text").evaluate("node => node.textContent.length") == 120_000
    # the conversation is folded, as it is long
    assert not opened.root.locator("details.conversation").evaluate("node => node.open")
    page.screenshot(path=str(tmp_path / "megabyte.png"))

    opened.press("ArrowRight")
    opened.says(".fields", "$.city")
    opened.press("k")
    opened.says(".place", "Pair 2 of 12")
    for _ in range(3):
        opened.press("j")
    opened.says(".calls", "look_up")
    page.screenshot(path=str(tmp_path / "calls.png"))

    # a note, in whose field keys are letters
    opened.press("n")
    page.keyboard.type("j1u0 fine")
    opened.press("Enter")
    opened.says(".said", "noted")
    assert "j1u0 fine" in opened.run("recording.frame['note'][4]")
    # what is typed is of the pair it was typed for, though the next one is drawn meanwhile
    field = opened.root.locator("label.note input")
    field.fill("half typed")
    forth = opened.root.locator(".places button").nth(1)
    forth.evaluate("button => button.click()")
    opened.says(".place", "Pair 6 of 12")
    assert field.input_value() == ""
    forth.evaluate(
        "(button, field) => { button.click(); field.focus(); field.value = 'of the sixth'; }",
        field.element_handle(),
    )
    opened.says(".place", "Pair 7 of 12")
    assert field.input_value() == "of the sixth"
    opened.press("Enter")
    opened.says(".said", "noted")
    assert field.input_value() == ""
    notes = opened.run("print(recording.frame['note'][4:7].to_list())")
    assert "['half typed', 'of the sixth', None]" in notes
    opened.root.locator(".place").click()
    opened.press("k")
    opened.press("k")
    opened.says(".place", "Pair 5 of 12")

    # a key that is held says its word once
    page.keyboard.down("0")
    opened.says(".place", "Pair 6 of 12")
    page.keyboard.down("0")
    page.keyboard.up("0")
    assert "None" in opened.run("print(recording.frame['preference'].drop_nulls().to_list() or None)")
    opened.says(".place", "Pair 6 of 12")
    opened.says(".counted", "1 skipped")

    # none of these keys was JupyterLab's, where b adds a cell, x cuts one, m and 1 make it Markdown
    opened.root.locator(".place").click()
    for key in ("a", "b", "x", "m", "d", "d", "y", "Enter", "Shift+Enter"):
        opened.press(key)
    types = page.evaluate("() => jupyterapp.shell.currentWidget.content.widgets.map(cell => cell.model.type)")
    assert set(types) == {"code"}
    assert page.evaluate("() => jupyterapp.shell.currentWidget.content.widgets.length") == cells
    assert page.foreign == []
    assert page.errors == []


def test_filters_say_what_is_wrong_in_place_and_a_reload_draws_the_same(
    opened: Driver, page: Any, tmp_path: Path
) -> None:
    field = opened.root.locator("label.expression input")
    field.fill("pl.col('no such') > 2")
    field.press("Enter")
    opened.says(".error", "there is no column")
    opened.says(".place", "Pair 1 of 12")
    page.screenshot(path=str(tmp_path / "error.png"))
    field.fill("pl.col('primary_latency_s') > 9")
    field.press("Enter")
    opened.says(".place", "Pair 1 of 3")
    assert opened.root.locator(".error").is_hidden()
    opened.root.locator("label.sort select").select_option("latency")
    opened.says(".row[aria-current=true] .asked", "Question")
    assert page.evaluate(FOCUSED)
    opened.press("j")
    opened.says(".place", "Pair 2 of 3")
    opened.press("1")
    opened.says(".said", "voted")

    page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
    page.reload()

    again = Driver(page)
    again.says(".place", "Pair 2 of 3")
    again.says(".counted", "1 voted, 2 left")
    again.root.locator(".place").click()
    again.press("u")
    again.says(".counted", "0 voted, 3 left")

    page.evaluate("() => jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})")
    page.wait_for_function("() => document.body.dataset.jpThemeLight === 'false'")
    page.locator("#jupyterlab-splash").wait_for(state="detached")
    page.screenshot(path=str(tmp_path / "dark.png"))
    page.evaluate("() => jupyterapp.commands.execute('application:toggle-left-area')")
    page.set_viewport_size({"width": 700, "height": 1000})
    left, right = (again.root.locator(f".side.{place}").bounding_box() for place in ("left", "right"))
    assert left["y"] + left["height"] <= right["y"], "the sides are not one under the other"
    page.screenshot(path=str(tmp_path / "narrow.png"))
    assert page.foreign == []
    assert page.errors == []


def test_it_works_in_notebook_7(notebook7: Any, page: Any, tmp_path: Path) -> None:
    cells = notebook(SET_UP.format(path=str(_saved(tmp_path))), "recording.browse(blind=False)", "'last'")
    notebook7.run_all(page, cells, "browse.ipynb")
    driver = Driver(page)
    driver.says(".place", "Pair 1 of 12")
    driver.root.locator(".place").click()
    assert page.evaluate(FOCUSED)
    driver.says(".side.left h4", SECRET_PRIMARY)
    driver.press("1")
    driver.says(".place", "Pair 2 of 12")
    driver.says(".counted", "1 voted, 11 left")
    page.screenshot(path=str(tmp_path / "notebook7.png"))
    assert page.evaluate("() => window.hacked") is None
    assert page.foreign == []
    assert [error for error in page.errors if error != NOTEBOOK_7_ITSELF] == []
