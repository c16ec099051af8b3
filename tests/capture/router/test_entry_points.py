"""The one file that asks LiteLLM's Router: by entry points, and by private names that are still there."""

import contextlib
import importlib.metadata
import io
import subprocess
import sys
import threading
import tokenize
import tomllib
from pathlib import Path
from typing import Any

import litellm
import pytest
from litellm.router_api import RouterRegistry
from litellm.router_deprecated import DeprecatedRouterMembers
from litellm.router_rust.core import RustCore

import mirrorkit
import mirrorkit as mk
from mirrorkit.capture.router import entry_points
from mirrorkit.capture.router.entry_points import WANTED, EntryPoints, constructor_arguments, mirrored_call
from mirrorkit.errors import ConfigError

HOUSE = Path(mirrorkit.__file__).parent
CAPTURE = sorted([*HOUSE.glob("*.py"), *HOUSE.glob("capture/**/*.py")])


def deployment(group: str, id: str, **params: Any) -> dict[str, Any]:
    return {
        "model_name": group,
        "litellm_params": {"model": "openai/gpt-4o", "api_key": "none", **params},
        "model_info": {"id": id},
    }


@pytest.fixture
def entry() -> EntryPoints:
    models = [deployment("chat", "1"), deployment("next", "2")]
    return EntryPoints(litellm.Router(model_list=models, model_group_alias={"nick": "chat"}))


class TestWhatLiteLLMLacks:
    @pytest.mark.parametrize(
        ("owner", "name", "shown"),
        [
            (RouterRegistry, "resolve", "Router.registry().resolve"),
            (RouterRegistry, "all", "Router.registry().all"),
            (RouterRegistry, "deployment_model_info", "Router.registry().deployment_model_info"),
            (RouterRegistry, "names", "Router.registry().names"),
        ],
    )
    def test_an_entry_point_that_is_gone_is_named_when_the_session_is_made(
        self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, shown: str
    ) -> None:
        """Not amid a request, and never as a price that is null without a word."""
        router = litellm.Router(model_list=[deployment("chat", "1"), deployment("next", "2")])
        monkeypatch.delattr(owner, name)
        with pytest.raises(ConfigError) as caught:
            mk.MirrorSession(router, silent_model="next")
        version = importlib.metadata.version("litellm")
        assert f"LiteLLM {version} has no {shown}; mirrorkit needs {WANTED}" in str(caught.value)

    @pytest.mark.parametrize("name", ["registry", "settings", "apply", "retire"])
    def test_an_older_router_is_refused_by_what_it_lacks(
        self, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.delattr(RustCore, name)
        with pytest.raises(ConfigError, match=rf"has no Router\.{name}; mirrorkit needs"):
            mk.MirrorSession([deployment("chat", "1"), deployment("next", "2")], silent_model="next")

    def test_the_version_in_the_error_is_that_of_our_own_metadata(self) -> None:
        project = tomllib.loads((HOUSE.parent / "pyproject.toml").read_text())["project"]
        assert WANTED.replace("litellm", "litellm[mcp]") in project["dependencies"]


class TestAnswers:
    def test_groups_are_recognized_by_name_and_by_alias(self, entry: EntryPoints) -> None:
        assert [entry.recognizes(name) for name in ("chat", "nick", "nobody")] == [True, True, False]
        assert (entry.alias_target("nick"), entry.alias_target("chat")) == ("chat", None)
        assert [d["model_info"]["id"] for d in entry.deployments_of("nick")] == ["1"]
        assert entry.deployments_of("nobody") == []

    def test_a_change_is_seen_at_once(self, entry: EntryPoints) -> None:
        entry.change(upsert=[deployment("new", "3"), deployment("chat", "1", rpm=5)], delete=["2"])
        assert sorted(entry.ids() or ()) == ["1", "3"]
        assert {d["model_name"]: d["litellm_params"].get("rpm") for d in entry.deployments()} == {
            "new": None,
            "chat": 5,
        }

    def test_a_model_that_litellm_does_not_know_has_no_price_and_raises_nothing(
        self, entry: EntryPoints
    ) -> None:
        assert entry.model_info("1", "openai/gpt-4o")["input_cost_per_token"] > 0
        assert not entry.model_info("?", "openai/home-made").get("input_cost_per_token")

    def test_settings_are_those_of_now(self, entry: EntryPoints) -> None:
        assert entry.setting("num_retries") == litellm.Router().settings().as_dict()["num_retries"]
        entry.router.apply(litellm.router_api.ChangeSet(settings={"num_retries": 7}))
        assert entry.setting("num_retries") == entry.settings()["num_retries"] == 7
        assert entry.setting("no_such_setting") is None

    def test_a_member_is_known_without_being_read(self, entry: EntryPoints) -> None:
        """Reading a deprecated one would warn, which is an error in these tests."""
        assert entry.has("model_list")
        assert entry.has("aimage_generation")
        assert not entry.has("nonsense")

    def test_the_constructors_arguments_are_those_of_its_signature(self) -> None:
        assert {"model_list", "num_retries", "fallbacks", "routing_groups"} <= set(constructor_arguments())


class TestThePrivateNames:
    """These two fail on the day that LiteLLM renames what no public name replaces."""

    def test_the_lock_keeps_litellms_own_changes_waiting(self, entry: EntryPoints) -> None:
        assert not isinstance(entry.changing(), contextlib.nullcontext)
        begun, added = threading.Event(), threading.Event()

        def add() -> None:
            begun.set()
            entry.change(upsert=[deployment("new", "3")])
            added.set()

        with entry.changing():
            thread = threading.Thread(target=add)
            thread.start()
            assert begun.wait(30)
            assert not added.wait(0.2)
        assert added.wait(30)
        thread.join()

    def test_without_the_lock_nothing_is_locked_and_nothing_breaks(self, entry: EntryPoints) -> None:
        class Other:
            live = (deployment("chat", "1"),)

        assert isinstance(EntryPoints.changing(Other()), contextlib.nullcontext)  # type: ignore[arg-type]

    def test_the_mark_is_what_litellm_itself_reads(self) -> None:
        from litellm._internal_context import in_mirrored_call

        assert not in_mirrored_call()
        with mirrored_call():
            assert in_mirrored_call()
        assert not in_mirrored_call()

    def test_where_the_mark_is_gone_calls_are_made_all_the_same(
        self, monkeypatch: pytest.MonkeyPatch, sim: Any, drive: Any
    ) -> None:
        """They have the marks of their tags and metadata then."""
        monkeypatch.delattr("litellm._internal_context.mirrored_call")
        models = [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")]
        with mk.MirrorSession(models, silent_model="next") as session:
            drive.chat(session)
            drive.drain(session)
            assert session.frame["silent_status"].to_list() == ["ok"]


def _reads_of_a_router(source: str) -> list[str]:
    """Attributes that are read of something called a router."""
    # by its tokens: CPython 3.11 may fail to parse while other threads are at work
    every = tokenize.generate_tokens(io.StringIO(source).readline)
    tokens = [token for token in every if token.string.strip()]
    return [
        f"{owner.string}.{name.string}"
        for owner, dot, name in zip(tokens, tokens[1:], tokens[2:], strict=False)
        if (owner.string, dot.string) == ("router", ".")
        and not owner.line.lstrip().startswith(("from ", "import "))
    ]


@pytest.mark.parametrize("file", CAPTURE, ids=lambda file: file.name)
def test_no_other_file_asks_the_router(file: Path) -> None:
    if file != Path(entry_points.__file__):
        assert _reads_of_a_router(file.read_text()) == []


def test_what_reads_a_router_is_seen() -> None:
    assert _reads_of_a_router("self.adapter.router.model_list") == ["router.model_list"]
    assert _reads_of_a_router("EntryPoints(self.router)") == []
    assert _reads_of_a_router("from mirrorkit.capture.router.adapter import x; 'router.y'") == []


# a sitecustomize.py, which each process of Python reads first, the child too
WITHOUT_THE_SHIM = """
import importlib.abc, importlib.machinery, sys

class Deleting(importlib.abc.Loader):
    def __init__(self, loader): self.loader = loader
    def create_module(self, spec): return self.loader.create_module(spec)
    def exec_module(self, module):
        self.loader.exec_module(module)
        members = module.DeprecatedRouterMembers
        for name in [n for n in vars(members) if not n.startswith("__")]:
            delattr(members, name)

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "litellm.router_deprecated":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        spec.loader = Deleting(spec.loader)
        return spec

sys.meta_path.insert(0, Finder())
"""

SCENARIOS = """
import asyncio, json, sys, warnings
warnings.simplefilter("error", DeprecationWarning)
import mirrorkit as mk
from mirrorkit.simulator import Simulator

messages = [{"role": "user", "content": "Where is my parcel?"}]
with Simulator() as sim:
    import litellm
    from litellm.router_deprecated import DeprecatedRouterMembers
    assert not [n for n in vars(DeprecatedRouterMembers) if not n.startswith("__")], "the shim is still there"
    models = [sim.deployment("chat", "gpt-4o", silent_model="next"), sim.deployment("next", "gpt-4o-mini")]
    router = litellm.Router(model_list=models, model_group_alias={"nick": "chat"})

    async def main(session):
        await session.acompletion("nick", messages)
        stream = await session.acompletion("chat", messages, stream=True)
        [chunk async for chunk in stream]
        await session.aresponses("chat", "Hello")
        await session.arun(["Hello", "Again"], model="chat", progress=False)
        await session.adrain()

    for isolation in ("shared", "process"):
        with mk.MirrorSession(router, control=1.0, budget_usd=1.0, isolation=isolation) as session:
            asyncio.run(main(session))
            session.completion("chat", messages)
            session.drain()
            frame = session.frame
            assert session._mirror.books.faults == 0, session
            rows = frame.select("arm", "silent_status", "silent_cost_usd").rows()
            assert len(rows) == 12, rows
            assert all(status == "ok" and cost > 0 for _, status, cost in rows), rows
            assert session.spent_usd > 0
    assert router.registry().all()[0]["litellm_params"]["silent_model"] == "next"
    print("all right")
"""


@pytest.mark.slow
def test_everything_works_without_litellms_deprecated_members(tmp_path: Path) -> None:
    """LiteLLM deletes them about a month after 1.110; neither this process nor the child may miss one."""
    assert [name for name in vars(DeprecatedRouterMembers) if not name.startswith("__")], (
        "LiteLLM has deleted them: so may this test be"
    )
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_THE_SHIM)
    (tmp_path / "scenarios.py").write_text(SCENARIOS)
    done = subprocess.run(
        [sys.executable, "scenarios.py"],
        cwd=tmp_path,
        env={**__import__("os").environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout.splitlines()[-1:] == ["all right"], done.stdout + done.stderr
