"""Sessions with isolation="process": the child has its parent's Router, or the session is not made."""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import litellm
import polars as pl
import pytest
from litellm.router_api import ChangeSet
from litellm.types.router import Deployment

import mirrorkit as mk
from mirrorkit.capture.frames import Plan, pack_plan
from mirrorkit.capture.policy import Policy
from mirrorkit.capture.remote import Remote
from mirrorkit.capture.router.blueprint import blueprint_of
from mirrorkit.simulator import SimulatedModel, Simulator

MESSAGES = [{"role": "user", "content": "Where is my parcel?"}]
QUICK = {"ttft_s": 0.002, "token_s": 0.0001, "words": 8}
SERVED = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano")
PATIENCE_S = 300
"""How long to wait for what must come: a child of the lowest priority starts slowly on a busy machine."""

pytestmark = pytest.mark.timeout(2 * PATIENCE_S)


@pytest.fixture(scope="module")
def served() -> Iterator[Simulator]:
    with Simulator([SimulatedModel(name, **QUICK) for name in SERVED]) as simulator:
        yield simulator


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> Any:
    """A module of the user's that can be imported, here and in the child."""
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return import_module(name)


PLUGIN = """
class Small:
    async def run(self, context):
        small = [model for model in context.candidate_models if "nano" in model]
        return context.model_copy(update={"candidate_models": small or context.candidate_models})
"""


@pytest.mark.slow
def test_the_child_routes_as_its_parent_would(
    served: Simulator, runner: asyncio.Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By routing groups, plugins, optional checks and budgets: each silent group here shows one of them."""
    small = module(tmp_path, monkeypatch, "small_models", PLUGIN).Small()
    dear = served.deployment("dear", "gpt-4o-mini", input_cost_per_token=1.0, output_cost_per_token=1.0)
    dear["litellm_params"]["model"] = "hosted_vllm/gpt-4o-mini"
    models = [
        served.deployment("chat", "gpt-4o"),
        served.deployment("second", "gpt-4o-mini"),
        served.deployment("best", "gpt-4.1"),
        *(served.deployment("any", name) for name in ("gpt-4.1-mini", "gpt-4.1-nano")),
        *(served.deployment("pinned", name) for name in ("gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini")),
        dear,
    ]
    group = {
        "group_name": "preferred",
        "models": ["second", "best"],
        "routing_strategy": "priority",
        "model_priorities": {"second": 2, "best": 1},
    }
    silent = ["preferred", "any", "pinned", "dear"]
    calls = 4

    async def mirrored() -> pl.DataFrame:
        router = litellm.Router(
            models,
            num_retries=0,
            routing_groups=[group],
            plugins=[small],
            optional_pre_call_checks=["session_affinity"],
            provider_budget_config={"hosted_vllm": {"budget_limit": 0.01, "time_period": "1d"}},
            caching_groups=[("chat", "any")],
            polling_interval=0.01,
            health_check_staleness_threshold=60,
        )
        async with mk.MirrorSession(router, silent_model=silent, isolation="process") as session:

            async def ask() -> bool:
                assert (await session.acompletion("chat", MESSAGES, metadata={"session_id": "one"})).choices
                assert await session.adrain(PATIENCE_S)
                return "error" in session.frame.filter(arm="dear")["silent_status"]

            for _ in range(calls):
                over_budget = await ask()
            # what a call cost is counted once it was logged, some time after it has ended
            while not over_budget:
                over_budget = await ask()
            assert session._mirror.books.faults == 0
            return session.frame.sort("started_at")

    frame = runner.run(mirrored())

    def models_of(arm: str) -> set[str]:
        rows = frame.filter(arm=arm)
        assert set(rows["silent_status"]) == {"ok"}
        return set(rows["silent_model"])

    assert models_of("preferred") == {"gpt-4.1"}
    assert models_of("any") == {"gpt-4.1-nano"}
    assert len(models_of("pinned")) == 1
    spent = frame.filter(arm="dear")
    assert spent["silent_status"][0] == "ok"
    assert "Exceeded budget for provider hosted_vllm" in spent["silent_error_message"][-1]


def is_ours(port: int) -> bool:
    """Whether this process has a socket with this port at its end."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    sockets = {f"socket:[{line[9]}]" for line in lines if int(line[1].rpartition(":")[2], 16) == port}
    for fd in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            if os.readlink(fd) in sockets:
                return True
    return False


@pytest.mark.slow
def test_the_redis_that_steers_primaries_hears_of_no_silent_call(
    served: Simulator, runner: asyncio.Runner
) -> None:
    models = [served.deployment("chat", "gpt-4o"), served.deployment("next", "gpt-4o-mini")]
    callers: list[bool] = []

    def accept(redis: socket.socket) -> None:
        while True:
            try:
                caller, (_, port) = redis.accept()
            except OSError:  # it is shut down
                return
            callers.append(is_ours(port))
            caller.close()

    with socket.create_server(("127.0.0.1", 0)) as redis:
        threading.Thread(target=accept, args=(redis,), daemon=True).start()

        async def mirrored() -> tuple[Any, ...]:
            router = litellm.Router(
                models,
                routing_strategy="usage-based-routing-v2",
                redis_host="127.0.0.1",
                redis_port=redis.getsockname()[1],
                redis_password="of-redis-0123456789",
                cache_kwargs={"socket_timeout": 1.0},
            )
            async with mk.MirrorSession(router, silent_model="next", isolation="process") as session:
                await session.acompletion("chat", MESSAGES)
                assert await session.adrain(PATIENCE_S)
                return session.frame.select("primary_status", "silent_status").row(0)

        assert runner.run(mirrored()) == ("ok", "ok")
        redis.shutdown(socket.SHUT_RDWR)
    assert callers
    assert all(callers)


@pytest.mark.slow
def test_deployments_that_change_change_in_the_child_and_deprecated_members_are_used_nowhere(
    served: Simulator, monkeypatch: pytest.MonkeyPatch, eventually: Any
) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "error::DeprecationWarning")
    models = [
        served.deployment("chat", "gpt-4o", silent_model=["next", "gone"]),
        served.deployment("next", "gpt-4o-mini"),
        served.deployment("gone", "gpt-4.1"),
    ]
    router = litellm.Router([{**model, "model_info": {"id": model["model_name"]}} for model in models])

    def asked(session: mk.MirrorSession) -> dict[str, tuple[Any, Any]]:
        before = len(session)
        session.completion("chat", MESSAGES)
        assert session.drain(PATIENCE_S)
        rows = session.frame[before:].select("arm", "silent_status", "silent_model").iter_rows()
        return {arm: (status, model) for arm, status, model in rows}

    with mk.MirrorSession(router, silent_model="next", isolation="process") as session:
        assert asked(session) == {"next": ("ok", "gpt-4o-mini"), "gone": ("ok", "gpt-4.1")}
        changed = {**served.deployment("next", "gpt-4.1-mini"), "model_info": {"id": "next"}}
        router.apply(ChangeSet(upsert=[Deployment(**changed)], delete=["gone"]))
        assert asked(session)["next"] == ("ok", "gpt-4.1-mini")
        assert asked(session)["gone"][0] == "error"
        assert session._mirror.books.faults == 0
        # one that no Router can build, which LiteLLM lets pass in its live list alone, and one that it can
        router.registry().all().append(
            {"model_name": "odd", "litellm_params": {"model": "of-no-provider"}, "model_info": {"id": "odd"}}
        )
        back = {**served.deployment("gone", "gpt-4.1-nano"), "model_info": {"id": "gone"}}
        router.apply(ChangeSet(upsert=[Deployment(**back)]))
        with pytest.warns(mk.MirrorWarning, match=r"child process: .*deployment 'odd' cannot be changed"):
            assert asked(session) == {"next": ("ok", "gpt-4.1-mini"), "gone": ("ok", "gpt-4.1-nano")}
        assert session._mirror.books.faults == 1


REFUSES = """
import os, sys

# this process may have imported the child's module too, as doctests are read from it
is_child = "mirrorkit.capture.child" in sys.modules and "pytest" not in sys.modules
if is_child and os.environ.get("LICENCE") != "here":
    raise RuntimeError("no licence for sk-simulator-0123456789abcdef, nor for of-deployments-0123456789")

class Plugin:
    async def run(self, context):
        return context

plugin = Plugin()
"""


def refused(served: Simulator, plugin: Any) -> Any:
    """A Router that no child can build: its plugin cannot be imported there."""
    models = [
        served.deployment("chat", "gpt-4o", silent_model="next"),
        served.deployment("next", "gpt-4o-mini", organization_secret="of-deployments-0123456789"),
    ]
    return litellm.Router(models, plugins=[plugin])


@pytest.mark.slow
def test_a_child_that_cannot_build_its_router_is_said_at_construction(
    served: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = refused(served, module(tmp_path, monkeypatch, "needs_a_licence", REFUSES).plugin)
    with pytest.raises(mk.ConfigError, match=r"cannot be set up .*RuntimeError: no licence for") as caught:
        mk.MirrorSession(router, isolation="process")
    assert "0123456789" not in str(caught.value)
    # the Router is as before, and another session can be made
    assert router.registry().all()[0]["litellm_params"]["silent_model"] == "next"
    mk.MirrorSession(router).close()


def plan_of(router: Any) -> bytes:
    return pack_plan(Plan(blueprint_of(router), Policy()))


@pytest.mark.slow
def test_a_child_is_waited_for_no_longer_than_is_said(served: Simulator) -> None:
    plan = plan_of(litellm.Router([served.deployment("chat", "gpt-4o")]))
    faults: list[BaseException] = []
    remote = Remote(lambda: plan, faults.append)
    remote.wait_until_ready(timeout_s=0)
    assert remote.state == "child process starting"
    remote.wait_until_ready(PATIENCE_S)
    assert remote.state == f"child process {remote.pid}"
    remote.wait_until_ready(timeout_s=0)
    remote.close()
    assert faults == []


@pytest.mark.slow
def test_a_child_that_dies_without_a_word_is_tried_again_before_it_is_given_up(eventually: Any) -> None:
    """It may have been killed; what it was killed by is said in the end."""
    faults: list[BaseException] = []

    def plan() -> bytes:
        os.kill(remote.pid or 0, 9)
        return b""

    remote = Remote(plan, faults.append, back_off_s=(0.2,))
    with pytest.raises(mk.ConfigError, match=r"cannot be set up .*killed by SIGKILL"):
        remote.wait_until_ready(PATIENCE_S)
    assert len(faults) == 3
    assert remote.closed
    assert eventually(lambda: remote.pid is None)


FORKED = """
import asyncio, json, os, warnings
import litellm, mirrorkit as mk
import needs_a_licence

warnings.simplefilter("ignore")
os.environ["LICENCE"] = "here"
router = litellm.Router({models!r}, plugins=[needs_a_licence.plugin])
session = mk.MirrorSession(router, isolation="process", journal="record")

async def ask():
    answer = await session.acompletion("chat", {messages!r})
    assert await session.adrain({patience_s})
    return bool(answer.choices)

if os.fork() == 0:
    os.environ["LICENCE"] = "gone"
    answered = asyncio.run(ask())
    session.close()
    print(json.dumps([answered, session._mirror.books.last_fault]), flush=True)
    os._exit(0)
os.wait()
session.close()
"""


@pytest.mark.slow
def test_in_a_fork_a_child_that_cannot_be_set_up_is_a_fault_and_no_callers_concern(
    served: Simulator, tmp_path: Path
) -> None:
    (tmp_path / "needs_a_licence.py").write_text(REFUSES)
    models = [
        served.deployment("chat", "gpt-4o", silent_model="next"),
        served.deployment("next", "gpt-4o-mini"),
    ]
    script = FORKED.format(models=models, messages=MESSAGES, patience_s=PATIENCE_S)
    (tmp_path / "script.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stderr
    answered, fault = json.loads(done.stdout.splitlines()[-1])
    assert answered
    assert "did not start: RuntimeError: no licence for [secret]" in fault
    pair = mk.load(tmp_path / "record").frame.row(0, named=True)
    assert (pair["primary_status"], pair["silent_status"]) == ("ok", "cancelled")
    assert "no licence for [secret]" in pair["silent_error_message"]
