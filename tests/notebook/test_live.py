"""The dashboard in a real JupyterLab: it lives while cells run, stands still when told, and ends."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from mirrorkit.simulator import Reply, SimulatedModel, Simulator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

HOSTILE = (
    "<script>window.hacked=1</script><img src=x onerror='window.hacked=1'>"
    "<a href='javascript:window.hacked=1'>x</a><svg onload='window.hacked=1'>\u202e"
)
CONNECTED = """() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel
    ?.connectionStatus === 'connected'"""
COUNTS = """() => Array.from(document.querySelectorAll('.mirrorkit-live .count'))
    .slice(0, 4).map(each => Number(each.textContent.replaceAll(',', '')))"""
RUN = """async (code) => {
    const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
    const future = kernel.requestExecute({ code });
    let text = '';
    future.onIOPub = ({ content }) => {
        text += content.text ?? '';
        if (content.ename) text += `${content.ename}: ${content.evalue}`;
    };
    await future.done;
    return text;
}"""


@pytest.fixture
def slow_sim() -> Iterator[Simulator]:
    """Models whose answers take long enough to be watched."""
    models = [SimulatedModel(name, ttft_s=0.03, token_s=0.001) for name in ("gpt-4o", "gpt-4o-mini")]
    with Simulator(models) as simulator:
        yield simulator


class Watched:
    """The dashboard's page, and flags by which a cell is told to end its loop."""

    def __init__(self, page: Any, folder: Path, eventually: Callable[..., bool]) -> None:
        self.page, self._folder, self._eventually = page, folder, eventually

    def start(self, lab: Any, cells: list[str], name: str) -> None:
        """Open a notebook of these cells and press "Run All"; returns at once."""
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        )
        lab.open(self.page, notebook, name)
        self.page.evaluate("() => { jupyterapp.commands.execute('notebook:run-all-cells') }")

    def counts(self) -> list[int]:
        """Requests, mirrored, under way and recorded, as they are shown."""
        return list(self.page.evaluate(COUNTS))

    def rises(self) -> None:
        """Wait until more pairs are shown as recorded than now."""
        before = (self.counts() or [0] * 4)[3]
        assert self._eventually(lambda: (self.counts() or [0] * 4)[3] > before, timeout=60)

    def end(self, flag: str) -> None:
        (self._folder / flag).touch()

    def did(self, flag: str) -> int:
        """How many rounds a cell's loop has done."""
        path = self._folder / f"{flag}.rounds"
        return len(path.read_bytes()) if path.exists() else 0

    def goes_on(self, flag: str) -> None:
        before = self.did(flag)
        assert self._eventually(lambda: self.did(flag) >= before + 3, timeout=60)

    @property
    def state(self) -> str:
        return str(self.page.locator(".mirrorkit-live .state").first.inner_text())

    def run(self, code: str) -> str:
        """What the kernel prints, asked beside the cells."""
        return str(self.page.evaluate(RUN, code)).strip()


def loop(flag: str, call: str) -> str:
    """A cell that calls until a flag is there, and leaves a mark for each round."""
    return (
        "from pathlib import Path\n"
        f"while not Path({flag!r}).exists():\n"
        f"    {call}\n"
        f"    with open({flag + '.rounds'!r}, 'a') as marks: marks.write('.')"
    )


def test_it_lives_while_cells_await_and_block_stands_still_when_paused_and_ends(
    lab: Any, page: Any, slow_sim: Any, tmp_path: Path, eventually: Callable[..., bool]
) -> None:
    sim = slow_sim
    sim.script("gpt-4o-mini", *[Reply(text="Hello.")] * 5, Reply(fault="400", error_message=HOSTILE))
    models = json.dumps([sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")])
    cells = [
        "import os; os.environ['LITELLM_LOCAL_MODEL_COST_MAP'] = 'True'\n"
        "import json, threading, mirrorkit as mk\n"
        f"session = mk.MirrorSession(json.loads({models!r}), silent_model='next', budget_usd=1.0)",
        "first = session.live(gates={'latency': 1.2, 'errors': 0.02})\nfirst",
        loop("awaited", "answers = await session.arun(['Hi'] * 4, progress=False)"),
        loop("blocked", "answers = session.run(['Hi'] * 4, progress=False)"),
        "second = session.live()\nsecond",
    ]
    watched = Watched(page, lab.folder, eventually)
    watched.start(lab, cells, "live.ipynb")

    # a cell that awaits
    watched.rises()
    watched.rises()
    page.get_by_text("Latest errors").wait_for()
    assert "<script>window.hacked=1</script>" in page.locator(".mirrorkit-live .message").first.inner_text()
    page.locator(".mirrorkit-live button").click()
    assert watched.state == "paused"
    held = watched.counts()
    watched.goes_on("awaited")
    assert watched.counts() == held
    page.locator(".mirrorkit-live button").click()
    watched.rises()
    assert watched.state == "live"
    watched.end("awaited")

    # a cell that blocks
    assert eventually(lambda: watched.did("blocked") > 0, timeout=60)
    watched.rises()
    watched.rises()
    page.screenshot(path=str(tmp_path / "live.png"))
    page.locator(".mirrorkit-live button").click()
    held = watched.counts()
    watched.goes_on("blocked")
    assert watched.counts() == held
    page.locator(".mirrorkit-live button").click()
    watched.end("blocked")
    assert eventually(lambda: page.locator(".mirrorkit-live").count() == 2, timeout=60)

    # a page that is loaded anew
    page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
    page.reload()
    page.wait_for_function(CONNECTED)
    assert eventually(lambda: page.locator(".mirrorkit-live .tile").count() == 10, timeout=60)
    watched.run("answers = session.run(['Hi'] * 4, progress=False)")
    recorded = int(watched.run("print(len(session))"))
    assert eventually(lambda: watched.counts()[3] == recorded, timeout=60)

    # an output that is cleared
    page.evaluate(
        "() => { jupyterapp.shell.currentWidget.content.activeCellIndex = 1;"
        " jupyterapp.commands.execute('notebook:clear-cell-output'); }"
    )
    assert eventually(lambda: page.locator(".mirrorkit-live").count() == 1)
    ticking = "print(first._ticker.ticks, second._ticker.ticks)"
    assert eventually(lambda: watched.run(ticking) == "False True", timeout=30)

    # a session that is closed
    watched.run("session.close()")
    assert eventually(lambda: watched.state == "session closed", timeout=30)
    assert page.locator(".mirrorkit-live button").is_hidden()
    names = "print([each.name for each in threading.enumerate() if 'dashboard' in each.name])"
    assert eventually(lambda: watched.run(names) == "[]", timeout=30)
    page.screenshot(path=str(tmp_path / "closed.png"))
    assert page.evaluate("() => window.hacked") is None
    assert page.locator(".mirrorkit-live").locator("script, img, a").count() == 0
    assert page.foreign == []
    assert page.errors == []


def test_an_interrupted_cell_leaves_it_alive(
    lab: Any, page: Any, slow_sim: Any, eventually: Callable[..., bool]
) -> None:
    sim = slow_sim
    models = json.dumps([sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")])
    cells = [
        "import os; os.environ['LITELLM_LOCAL_MODEL_COST_MAP'] = 'True'\n"
        "import json, mirrorkit as mk\n"
        f"session = mk.MirrorSession(json.loads({models!r}), silent_model='next')\n"
        "session.live()",
        loop("never", "answers = session.run(['Hi'] * 4, progress=False)"),
    ]
    watched = Watched(page, lab.folder, eventually)
    watched.start(lab, cells, "interrupted.ipynb")
    watched.rises()
    page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.interrupt()")
    page.locator(".jp-OutputArea-output", has_text="KeyboardInterrupt").first.wait_for()
    watched.run("answers = session.run(['Hi'] * 4, progress=False)")
    recorded = int(watched.run("print(len(session))"))
    assert eventually(lambda: watched.counts()[3] == recorded, timeout=60)
    assert watched.state == "live"
    watched.run("session.close()")
    assert eventually(lambda: watched.state == "session closed", timeout=30)
