"""What of a Router and of LiteLLM goes to another process: by name, as a copy, or not and named."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import litellm
import pytest
from litellm.integrations.custom_logger import CustomLogger

from mirrorkit.capture.frames import Plan, pack_models, pack_plan, unpack
from mirrorkit.capture.policy import Policy
from mirrorkit.capture.router.adapter import Adapter
from mirrorkit.capture.router.blueprint import Blueprint, Reference, blueprint_of
from mirrorkit.capture.router.entry_points import EntryPoints
from mirrorkit.errors import ConfigError

MODULE = """
from litellm.integrations.custom_logger import CustomLogger


class Handler(CustomLogger):
    def __init__(self, url=None):
        super().__init__()
        self.url = url

    def log(self, *args):
        pass


class Plugin:
    def __init__(self, name=None):
        self.name = name

    async def run(self, context):
        return context


def on_success(kwargs, response, start, end):
    pass


handler = Handler()
plugin = Plugin()
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module of the user's, which can be imported."""
    (tmp_path / "my_handlers.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("my_handlers")
    sys.modules.pop("my_handlers")


PARAMS = {"model": "openai/gpt-4o", "api_key": "sk-own-0123456789", "api_base": "http://127.0.0.1:9"}


def models(**of_next: Any) -> list[dict[str, Any]]:
    """A model list, the second of whose deployments has these parameters too."""
    return [
        {"model_name": "chat", "litellm_params": PARAMS},
        {"model_name": "next", "litellm_params": {**PARAMS, **of_next}},
    ]


@pytest.fixture
def router() -> Any:
    settings: dict[str, Any] = {"num_retries": 4, "timeout": 7, "retry_after": 1}
    return litellm.Router(models(), model_group_alias={"talk": "chat"}, **settings)


def travelled(blueprint: Blueprint) -> Blueprint:
    """The blueprint as the other process has it."""
    got: Blueprint = unpack(pack_plan(Plan(blueprint, Policy()))).blueprint
    return got


class TestTheRouter:
    def test_settings_deployments_and_their_ids_are_the_same_elsewhere(
        self, router: Any, litellm_state: Any
    ) -> None:
        built = EntryPoints(travelled(blueprint_of(router)).build())
        assert built.ids() == EntryPoints(router).ids()
        assert [built.setting(name) for name in ("num_retries", "timeout", "retry_after")] == [4, 7, 1]
        assert built.alias_target("talk") == "chat"

    def test_a_time_out_that_was_not_set_stays_unset(self, litellm_state: Any) -> None:
        for unset in (litellm.Router(models()), litellm.Router(models(), timeout=None)):
            blueprint = travelled(blueprint_of(unset))
            assert "timeout" not in blueprint.arguments
            assert EntryPoints(blueprint.build()).default_parameters()["timeout"] is None

    def test_a_list_of_models_and_a_config_take_their_own_settings(self) -> None:
        adapter = Adapter(models())
        assert adapter.blueprint().arguments["num_retries"] == 2
        assert "client_ttl" not in adapter.blueprint().arguments
        adapter.give_back()

    def test_no_deployment_mirrors_by_itself(self, litellm_state: Any) -> None:
        """Also not one that a session has taken over, whose `silent_model` it keeps as an empty list."""
        for silent_model in ("chat", ["chat"], []):
            router = litellm.Router(models(silent_model=silent_model))
            blueprint = blueprint_of(router)
            assert all("silent_model" not in each["litellm_params"] for each in blueprint.model_list)
            renewed = blueprint.with_models(EntryPoints(router).deployments())
            assert renewed == blueprint
            sent = unpack(pack_models(EntryPoints(router).deployments())).model_list
            assert sent == travelled(blueprint).model_list

    def test_prices_and_settings_of_litellm_come_along(self, router: Any, litellm_state: Any) -> None:
        litellm_state.drop_params = True
        own = {"input_cost_per_token": 0.5, "litellm_provider": "openai", "mode": "chat"}
        litellm.model_cost["home-made-7"] = own
        try:
            blueprint = travelled(blueprint_of(router))
        finally:
            del litellm.model_cost["home-made-7"]
        assert blueprint.litellm_settings["drop_params"] is True
        assert blueprint.prices["home-made-7"] == own

    def test_no_key_is_shown(self, router: Any) -> None:
        assert "sk-own" not in repr(blueprint_of(router))

    def test_its_credentials_are_known_so_that_no_error_shows_them(self, litellm_state: Any) -> None:
        defaults = {"extra_headers": {"authorization": "Bearer of-all-0123456789"}}
        blueprint = blueprint_of(litellm.Router(models(), default_litellm_params=defaults))
        assert {"sk-own-0123456789", "of-all-0123456789"} <= blueprint.secrets()

    def test_a_value_that_cannot_be_copied_is_named_and_not_shown(self) -> None:
        class Refuses:
            def __reduce__(self) -> Any:
                raise TypeError("sk-secret-0123456789")

        held = Refuses()
        router = litellm.Router(models(azure_ad_token_provider=lambda: held))
        packs = (
            lambda: pack_plan(Plan(blueprint_of(router), Policy())),
            lambda: pack_models(EntryPoints(router).deployments()),
        )
        for pack in packs:
            with pytest.raises(ConfigError, match="azure_ad_token_provider of deployment 'next'") as caught:
                pack()
            assert "sk-secret" not in str(caught.value)

    def test_a_plugin_goes_by_its_name_else_as_a_copy(self, litellm_state: Any, mine: Any) -> None:
        router = litellm.Router(models(), plugins=[mine.plugin, mine.Plugin("b")])
        blueprint = travelled(blueprint_of(router))
        assert blueprint.plugins[0] == Reference("my_handlers", "plugin")
        first, second = EntryPoints(blueprint.build()).plugins()
        assert first is mine.plugin
        assert (type(second), second.name) == (mine.Plugin, "b")

    def test_a_plugin_of_a_cell_or_a_function_is_refused_by_name(self) -> None:
        class InACell:
            async def run(self, context: Any) -> Any:
                return context

        with pytest.raises(ConfigError, match=r"the Router's plugins: .*InACell' is defined in"):
            blueprint_of(litellm.Router(models(), plugins=[InACell()]))

    def test_an_http_client_of_the_users_is_named(self, router: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(litellm, "client_session", object())
        with pytest.raises(ConfigError, match=r"litellm\.client_session is an object of this process"):
            blueprint_of(router)


class TestCallbacks:
    def callbacks(self, router: Any, name: str = "callbacks") -> list[Any]:
        return list(travelled(blueprint_of(router)).callbacks[name])

    def test_names_go_as_names(self, router: Any, litellm_state: Any) -> None:
        litellm_state.callbacks = ["langfuse"]
        litellm_state.success_callback.append("s3_v2")
        assert self.callbacks(router) == ["langfuse"]
        assert self.callbacks(router, "success_callback") == ["s3_v2"]

    def test_a_logger_that_litellm_made_of_a_name_goes_as_that_name(
        self, router: Any, litellm_state: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """LiteLLM replaces a name by its logger at the first call; no public way leads back."""
        monkeypatch.setenv("LANGSMITH_API_KEY", "none")
        litellm_state.success_callback.append("langsmith")
        litellm.completion("gpt-4o", [{"role": "user", "content": "hi"}], mock_response="hi")
        assert "langsmith" not in litellm_state.success_callback
        assert self.callbacks(router, "success_callback") == ["langsmith"]

    def test_what_a_router_puts_there_for_itself_stays(self, router: Any) -> None:
        found = blueprint_of(router).callbacks
        assert found["success_callback"] == found["_async_failure_callback"] == ()

    def test_functions_and_objects_of_a_module_go_by_their_names(
        self, router: Any, litellm_state: Any, mine: Any
    ) -> None:
        litellm_state.callbacks = [mine.handler]
        litellm_state.success_callback.append(mine.on_success)
        assert self.callbacks(router) == [Reference("my_handlers", "handler")]
        assert self.callbacks(router, "success_callback") == [Reference("my_handlers", "on_success")]
        assert self.callbacks(router)[0].found() is mine.handler

    def test_an_object_of_an_importable_class_goes_as_a_copy(
        self, router: Any, litellm_state: Any, mine: Any
    ) -> None:
        litellm_state.callbacks = [mine.Handler("http://here")]
        (copied,) = self.callbacks(router)
        assert (type(copied), copied.url) == (mine.Handler, "http://here")

    def test_a_method_goes_with_its_object(self, router: Any, litellm_state: Any, mine: Any) -> None:
        litellm_state.success_callback.append(mine.handler.log)
        assert self.callbacks(router, "success_callback") == [(Reference("my_handlers", "handler"), "log")]

    def test_what_a_cell_or_a_function_defines_is_refused_by_name(
        self, router: Any, litellm_state: Any, mine: Any
    ) -> None:
        class InACell(CustomLogger):
            pass

        def a_function(*args: Any) -> None: ...

        lone = mine.Handler(open)
        lone.lock = __import__("threading").Lock()
        for callback, name in ((InACell(), "InACell"), (a_function, "a_function"), (lone, "Handler")):
            litellm_state.callbacks = [callback]
            with pytest.raises(ConfigError, match=rf"litellm\.callbacks: .*{name}'") as caught:
                blueprint_of(router)
            assert 'isolation="shared"' in str(caught.value)

    def test_a_custom_provider_is_taken_along_or_refused(
        self, router: Any, mine: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        entry = {"provider": "mine", "custom_handler": mine.handler}
        monkeypatch.setattr(litellm, "custom_provider_map", [entry])
        (provider,) = travelled(blueprint_of(router)).providers
        assert provider == {"provider": "mine", "custom_handler": Reference("my_handlers", "handler")}
        entry["custom_handler"] = lambda: None
        with pytest.raises(ConfigError, match="custom_provider_map"):
            blueprint_of(router)
