"""A child process for silent calls, from the cells of a real notebook."""

from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.slow

CELLS = (
    """
import litellm, pydantic
import mirrorkit as mk
from mirrorkit.simulator import Simulator

class Order(pydantic.BaseModel):
    order_id: int

class OfACell(litellm.integrations.custom_logger.CustomLogger):
    pass

sim = Simulator()
sim.start()
models = [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")]
litellm.callbacks = [OfACell()]
try:
    mk.MirrorSession(models, silent_model="next", isolation="process")
except mk.ConfigError as error:
    print(error)
litellm.callbacks = []
""",
    """
session = mk.MirrorSession(models, silent_model="next", isolation="process")
answer = await session.acompletion("chat", [{"role": "user", "content": "Hello!"}], response_format=Order)
same = session.completion("chat", [{"role": "user", "content": "Hello!"}])
# no loop of this cell's is needed for them, so that a blocking wait is fine
session.drain(100)
print(session.frame["silent_status"].to_list(), repr(session))
""",
    "await session.aclose(); sim.stop()",
)


def printed(notebook: Any, cell: int) -> str:
    return "".join(output.get("text", "") for output in notebook.cells[cell].outputs)


def test_cells_mirror_through_a_child_process_and_are_told_what_it_cannot_have() -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    NotebookClient(notebook, timeout=110, kernel_name="python3").execute()
    assert "litellm.callbacks: 'OfACell' is defined in a notebook cell" in printed(notebook, 0)
    assert "['ok', 'ok']" in printed(notebook, 1)
    assert "child process" in printed(notebook, 1)
