"""A process that is forked off before any frame is read has pairs of its own, and reads them."""

import os
import subprocess
import sys

import pytest

from mirrorkit.capture.lifetime import uses_polars

FORK = """
import os
import mirrorkit as mk
from mirrorkit.simulator.process import SimulatorProcess

messages = [{"role": "user", "content": "Where is my parcel?"}]
with SimulatorProcess() as sim:
    models = [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")]
    session = mk.MirrorSession(models, silent_model="next")
    child = os.fork()
    session.completion("chat", messages)
    session.drain()
    print("child" if child == 0 else "parent", session.funnel.mirrored, session.frame.height, flush=True)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    session.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks no processes")
@pytest.mark.slow
def test_a_fork_before_the_first_frame_has_a_record_of_its_own() -> None:
    """Importing Polars begins a thread too, and is not what makes a fork unable to read."""
    done = subprocess.run(
        [sys.executable, "-c", FORK], capture_output=True, text=True, timeout=300, check=False
    )
    assert sorted(done.stdout.split("\n")) == ["", "child 1 1", "parent 1 1"], done.stdout + done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells which threads a process has")
def test_polars_is_seen_at_work_from_its_first_work_on() -> None:
    work = "import polars as pl, sys; {} ; print('ready', flush=True); sys.stdin.read()"
    for does, seen in (
        ("pass", False),
        ("pl.DataFrame({'a': [1, 2]}).lazy().group_by('a').len().collect()", True),
    ):
        with subprocess.Popen(
            [sys.executable, "-c", work.format(does)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            assert uses_polars(process.pid) is seen
            process.communicate()
