"""A Router taken over and given back; and each fragile thing of LiteLLM's that mirrorkit stands on."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import litellm
import pytest
from litellm.integrations.custom_logger import CustomLogger
from litellm.models.credentials import CredentialItem

from mirrorkit.capture.router.adapter import Adapter, warm_up
from mirrorkit.errors import ConfigError, UnsupportedCall
from mirrorkit.simulator import Reply

MESSAGES = [{"role": "user", "content": "Where is my parcel?"}]


def deployment(
    group: str, model: str = "openai/gpt-4o", id: str | None = None, **params: Any
) -> dict[str, Any]:
    made: dict[str, Any] = {
        "model_name": group,
        "litellm_params": {"model": model, "api_key": "none", **params},
    }
    return made if id is None else made | {"model_info": {"id": id}}


@pytest.fixture
def adapt() -> Iterator[Callable[..., Adapter]]:
    made: list[Adapter] = []

    def adapt(*models: dict[str, Any], **settings: Any) -> Adapter:
        made.append(Adapter(litellm.Router(model_list=list(models), **settings)))
        return made[-1]

    yield adapt
    for adapter in made:
        adapter.give_back()


class TestKnows:
    def test_a_group_is_known_by_name_alias_or_wildcard(self, adapt: Any) -> None:
        adapter = adapt(
            deployment("chat"), deployment("openai/*", "openai/*"), model_group_alias={"nick": "chat"}
        )
        assert all(adapter.knows(name) for name in ("chat", "nick", "openai/gpt-4.1-mini", "openai/*"))
        assert not any(adapter.knows(name) for name in ("nowhere", "anthropic/claude", "cha", ""))

    def test_groups_are_named_once_in_order_and_an_alias_is_resolved(self, adapt: Any) -> None:
        adapter = adapt(deployment("b"), deployment("a"), deployment("b"), model_group_alias={"nick": "a"})
        assert adapter.groups() == ["b", "a"]
        assert (adapter.resolved("nick"), adapter.resolved("b"), adapter.resolved("?")) == ("a", "b", "?")

    def test_a_deployment_serves_its_own_group_only(self, adapt: Any) -> None:
        adapter = adapt(deployment("a", id="1"), deployment("b", id="2"), model_group_alias={"nick": "a"})
        assert adapter.serves("a", "1")
        assert adapter.serves("nick", "1")
        assert not adapter.serves("a", "2")
        assert not adapter.serves("a", None)


class TestChanges:
    def test_a_change_of_any_deployment_is_seen_once(self, adapt: Any) -> None:
        adapter = adapt(deployment("chat", id="1"))
        assert [adapter.take_over(), adapter.take_over()] == [True, False]
        adapter.entry.live[0]["litellm_params"]["api_key"] = "another"
        assert [adapter.take_over(), adapter.take_over()] == [True, False]
        adapter.entry.change(upsert=[deployment("new", id="2")])
        assert [adapter.take_over(), adapter.take_over()] == [True, False]


class TestMembers:
    def test_entry_points_are_the_routers_own(self, adapt: Any) -> None:
        adapter = adapt(deployment("chat"), model_group_alias={"nick": "chat"})
        assert adapter.member("registry")().aliases() == {"nick": "chat"}
        assert adapter.member("settings")().as_dict()["num_retries"] == 2

    def test_other_members_are_refused_with_the_way_to_them(self, adapt: Any) -> None:
        adapter = adapt(deployment("chat"))
        with pytest.raises(UnsupportedCall, match=r"use session\.router\.aimage_generation"):
            adapter.member("aimage_generation")
        with pytest.raises(AttributeError, match="'nonsense'"):
            adapter.member("nonsense")


class TestSecrets:
    def test_keys_of_deployments_and_environment_are_found(
        self, adapt: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MK_VENDOR_API_KEY", "env-key-123456789")
        monkeypatch.setenv("MK_DB_PASSWORD", "env-pass-12345678")
        monkeypatch.setenv("MK_MONKEYS", "env-no-secret-1234")
        monkeypatch.setenv("MK_SHORT_KEY", "short")
        found = adapt(
            deployment("a", api_key="deployment-key"),
            deployment(
                "b", "bedrock/x", aws_secret_access_key="aws-secret", extra_headers={"X-Auth": "header-1"}
            ),
        ).secrets()
        assert {"env-key-123456789", "env-pass-12345678", "deployment-key", "aws-secret", "header-1"} <= found
        assert not {"env-no-secret-1234", "short", "openai/gpt-4o"} & found

    def test_the_routers_default_parameters_are_looked_at_too(self, adapt: Any) -> None:
        adapter = adapt(deployment("a"), default_litellm_params={"api_key": "a-default-key"})
        assert "a-default-key" in adapter.secrets()

    def test_keys_that_litellm_keeps_in_its_module_are_found_also_if_set_later(
        self, adapt: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        adapter = adapt(deployment("a"))
        adapter.take_over()
        assert not adapter.take_over()
        named = CredentialItem(
            credential_name="mine", credential_values={"api_key": "sk-named-1"}, credential_info={}
        )
        monkeypatch.setattr(litellm, "openai_key", "sk-of-module-1")
        assert adapter.take_over()
        monkeypatch.setattr(litellm, "headers", {"X-Auth": "header-of-all-1", "X-Tenant": "no-secret-1"})
        assert adapter.take_over()
        monkeypatch.setattr(litellm, "credential_list", [named])
        assert adapter.take_over()
        assert not adapter.take_over()
        found = adapter.secrets()
        assert {"sk-of-module-1", "header-of-all-1", "sk-named-1"} <= found
        assert "no-secret-1" not in found

    def test_a_refused_router_tells_no_key(self) -> None:
        with pytest.raises(ConfigError) as caught:
            Adapter([deployment("a", "no-such-provider-model", api_key="hunter2-key")])
        assert "hunter2-key" not in str(caught.value)


class TestWhatLiteLLMMustKeep:
    """Not our own code: these say what changed on the day that a new LiteLLM breaks mirrorkit."""

    @pytest.fixture
    def router(self, sim: Any) -> litellm.Router:
        models = [
            sim.deployment("chat", "gpt-4o") | {"model_info": {"id": "d-1"}},
            sim.deployment("next", "gpt-4o-mini"),
        ]
        return litellm.Router(model_list=models, num_retries=0)

    def test_the_live_list_is_written_to_in_place(self, sim: Any, router: litellm.Router) -> None:
        router.registry().all()[0]["litellm_params"]["model"] = "openai/gpt-4.1"
        router.completion("chat", MESSAGES)
        assert (sim.count("gpt-4o"), sim.count("gpt-4.1")) == (0, 1)

    def test_silent_model_is_read_there_and_mirrors(self, sim: Any, router: litellm.Router) -> None:
        params = router.registry().all()[0]["litellm_params"]
        with sim.hold("gpt-4o-mini") as hold:
            params["silent_model"] = "next"
            router.completion("chat", MESSAGES)
            hold.wait_for(1)
            assert sim.count("gpt-4o-mini") == 1
        params["silent_model"] = []
        router.completion("chat", MESSAGES)
        assert sim.count("gpt-4o-mini") == 1

    @pytest.mark.parametrize("fails", [False, True])
    def test_the_metadata_given_gets_the_deployment_and_the_retries(self, sim: Any, fails: bool) -> None:
        models = [sim.deployment("chat", "gpt-4o") | {"model_info": {"id": "d-1"}}]
        router = litellm.Router(model_list=models, num_retries=1, retry_after=0)
        sim.script("gpt-4o", Reply(fault="500"), *([Reply(fault="500")] if fails else []))
        metadata: dict[str, Any] = {}
        try:
            router.completion("chat", MESSAGES, metadata=metadata)
        except litellm.InternalServerError:
            assert fails
        assert metadata["model_info"]["id"] == "d-1"
        assert metadata["deployment"] == "openai/gpt-4o"
        assert metadata["attempted_retries"] == 1

    def test_the_hidden_parameters_say_who_answered_and_what_it_cost(self, router: litellm.Router) -> None:
        hidden = router.completion("chat", MESSAGES)._hidden_params
        assert hidden["model_id"] == "d-1"
        assert hidden["response_cost"] > 0
        assert hidden["litellm_overhead_time_ms"] > 0
        assert hidden["litellm_call_id"]
        assert hidden["custom_llm_provider"] == "openai"
        assert hidden["additional_headers"]["x-litellm-attempted-fallbacks"] == 0

    def test_the_headers_count_fallbacks(self, sim: Any) -> None:
        sim.script("gpt-4o", Reply(fault="500"))
        models = [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")]
        router = litellm.Router(model_list=models, num_retries=0, fallbacks=[{"chat": ["next"]}])
        hidden = router.completion("chat", MESSAGES)._hidden_params
        assert hidden["additional_headers"]["x-litellm-attempted-fallbacks"] == 1

    def test_no_log_hides_the_warm_up_from_loggers(self, litellm_state: Any, router: litellm.Router) -> None:
        heard: list[str] = []
        seen = threading.Event()

        class Logger(CustomLogger):
            def log_success_event(
                self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
            ) -> None:
                heard.append(str(kwargs.get("messages") or kwargs.get("input")))
                if "parcel" in heard[-1]:
                    seen.set()

            def log_failure_event(
                self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
            ) -> None:
                heard.append("failure")

        litellm_state.callbacks = [Logger()]
        warm_up()
        # one that is logged, after those that must not be: by then they would have been
        router.completion("chat", MESSAGES)
        assert seen.wait(30)
        assert len(heard) == 1

    def test_python_still_has_the_hook_that_runs_before_pools_close(self) -> None:
        assert callable(threading._register_atexit)  # type: ignore[attr-defined]


FIRST_CALLS = """
import sys
from mirrorkit.capture.router.adapter import warm_up
from mirrorkit.simulator import Simulator
import litellm
sim = Simulator()
sim.start()
router = litellm.Router(model_list=[sim.deployment("chat", "gpt-4o")])
warm_up()
tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
messages = [{"role": "user", "content": "Hi"}]
kinds = {
    "chat": lambda: router.completion("chat", messages),
    "stream": lambda: list(router.completion("chat", messages, stream=True)),
    "tools": lambda: router.completion("chat", messages, tools=[tool]),
    "again": lambda: router.completion("chat", messages),
}
for kind, call in kinds.items():
    before = set(sys.modules)
    call()
    new = set(sys.modules) - before
    new = [m for m in new if m.split(".")[0] in ("litellm", "openai", "mcp", "tiktoken")]
    print(kind, *sorted(new))
sim.stop()
"""


@pytest.mark.slow
def test_after_the_warm_up_the_first_calls_import_next_to_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FIRST_CALLS], capture_output=True, text=True, timeout=110, check=True
    )
    new = {kind: modules for kind, *modules in map(str.split, done.stdout.splitlines())}
    assert list(new) == ["chat", "stream", "tools", "again"]
    assert all(len(modules) <= 5 for modules in new.values()), new


class TestModels:
    """Whether two groups are served by one model, and what its tokens cost."""

    def test_a_groups_models_are_told_by_their_bare_names_however_it_is_reached(self, adapt: Any) -> None:
        priced = {**deployment("chat", "azure/deployment-7"), "model_info": {"base_model": "azure/gpt-4.1"}}
        adapter = adapt(
            deployment("chat"),
            priced,
            deployment("openai/*", "openai/*"),
            model_group_alias={"talk": "chat"},
        )
        assert adapter.models_of("chat") == {"gpt-4o", "deployment-7", "gpt-4.1"}
        assert adapter.models_of("talk") == adapter.models_of("chat")
        assert adapter.models_of("openai/gpt-4o-mini") == {"gpt-4o-mini"}
        assert adapter.models_of("nobody") == set()

    def test_a_token_costs_what_the_dearest_deployment_takes_and_0_where_none_has_a_price(
        self, adapt: Any
    ) -> None:
        dear = deployment("chat", input_cost_per_token=0.5, output_cost_per_token=0.25)
        adapter = adapt(deployment("chat"), dear, deployment("own", "openai/home-made"))
        assert adapter.token_price("chat") == (0.5, 0.25)
        assert adapter.token_price("own") == (0.0, 0.0)
        assert adapter.token_price("nobody") == (0.0, 0.0)
