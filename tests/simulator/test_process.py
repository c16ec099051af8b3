"""The simulator in a process of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest

from mirrorkit.errors import MirrorError
from mirrorkit.simulator import SimulatedModel, Simulator, SimulatorProcess

Say = Callable[..., str]
Connect = Callable[..., openai.OpenAI]
Eventually = Callable[[Callable[[], bool]], bool]
QUICK: dict[str, Any] = {"ttft_s": 0.0, "token_s": 0.0}
MODELS = (SimulatedModel("a", **QUICK), SimulatedModel("b", **QUICK, style="chatty", words=40))


def test_a_simulator_process_answers_like_a_simulator_and_is_gone_afterwards(
    say: Say, connect: Connect
) -> None:
    models = [SimulatedModel("a", **QUICK, errors={"500": 0.0}), *MODELS[1:]]
    with Simulator(models, seed=5) as here:
        expected = say(connect(here), "b", "Where is it?")
    with SimulatorProcess(models, seed=5) as there:
        assert there.deployment("g", "b")["litellm_params"]["api_base"] == there.url
        assert say(connect(there), "b", "Where is it?") == expected
        port = httpx.URL(there.url).port or 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)
    with pytest.raises(MirrorError, match="not running"):
        _ = there.url


@pytest.mark.parametrize("end", ["stdin", "sigterm"])
def test_the_process_ends_when_its_stdin_closes_or_it_is_told_to(end: str, say: Say) -> None:
    """Also with a request that hangs."""
    models = json.dumps([{"name": "x", "errors": {"hang": 1.0}}])
    with subprocess.Popen(
        [sys.executable, "-m", "mirrorkit.simulator", "--models", models],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            said = json.loads(process.stdout.readline())
            with (
                openai.OpenAI(
                    base_url=said["url"], api_key=said["api_key"], max_retries=0, timeout=0.3
                ) as client,
                pytest.raises(openai.APITimeoutError),
            ):
                say(client, "x", "Hi")
            if end == "stdin":
                process.stdin.close()
            else:
                os.kill(process.pid, signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()


def test_the_process_does_not_outlive_a_parent_that_is_killed(eventually: Eventually) -> None:
    code = (
        "from mirrorkit.simulator import SimulatorProcess; import sys\n"
        "p = SimulatorProcess(); p.start(); print(p.url, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        port = httpx.URL(parent.stdout.readline().strip()).port or 0
        parent.kill()
    assert eventually(lambda: not _accepts(port))


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def test_a_process_that_cannot_start_says_so() -> None:
    model = SimulatedModel("x")
    with pytest.raises(MirrorError, match="did not start"):
        SimulatorProcess([model, model]).start()


def test_importing_the_simulator_imports_neither_aiohttp_nor_litellm() -> None:
    code = "import sys, mirrorkit.simulator; print({'aiohttp', 'litellm', 'openai'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "set()"
