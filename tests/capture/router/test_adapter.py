"""A Router taken over and given back; and each fragile thing of LiteLLM's that mirrorkit stands on."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import litellm
import pytest
from hypothesis import given
from hypothesis import strategies as st
from litellm.integrations.custom_logger import CustomLogger

from mirrorkit.capture.router.adapter import Adapter, as_names, warm_up
from mirrorkit.errors import ConfigError
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


def silent_of(router: litellm.Router) -> dict[str, Any]:
    return {d["model_info"]["id"]: d["litellm_params"].get("silent_model") for d in router.model_list}


@pytest.fixture
def adapt() -> Iterator[Callable[..., Adapter]]:
    made: list[Adapter] = []

    def adapt(*models: dict[str, Any], **settings: Any) -> Adapter:
        made.append(Adapter(litellm.Router(model_list=list(models), **settings)))
        return made[-1]

    yield adapt
    for adapter in made:
        adapter.give_back()


class TestNames:
    @given(st.lists(st.text(min_size=1)))
    def test_names_are_kept_in_order_without_repeats(self, names: list[str]) -> None:
        for given_ in (names, tuple(names), (n for n in names)):
            assert as_names(given_) == tuple(dict.fromkeys(names))

    @given(st.text(min_size=1))
    def test_one_name_is_a_list_of_one(self, name: str) -> None:
        assert as_names(name) == as_names([name]) == as_names([name, name]) == (name,)

    @given(
        st.integers()
        | st.binary()
        | st.dictionaries(st.text(), st.text())
        | st.just("")
        | st.lists(st.none() | st.integers() | st.just("") | st.binary(), min_size=1)
        | st.booleans()
    )
    def test_what_is_no_name_is_refused_with_its_value_or_its_kind(self, odd: Any) -> None:
        with pytest.raises(ConfigError) as caught:
            as_names(odd)
        first = odd[0] if isinstance(odd, list) else odd
        assert any(
            shown in str(caught.value) for shown in (repr(first), f"a {type(first).__name__} is no name")
        )

    def test_none_is_no_name(self) -> None:
        assert as_names(None) == as_names([]) == ()


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


class TestTakingOver:
    @pytest.mark.parametrize("silent", ["next", ["next", "other"]])
    def test_settings_are_taken_and_come_back_as_they_were(self, silent: Any) -> None:
        router = litellm.Router(
            model_list=[deployment("chat", id="1", silent_model=silent), deployment("x", id="2")]
        )
        adapter = Adapter(router)
        assert silent_of(router) == {"1": None, "2": None}
        assert adapter.silent_models() == [("chat", silent)]
        assert adapter.targets("1") == as_names(silent)
        assert adapter.targets("2") == adapter.targets(None) == adapter.targets("?") == ()
        adapter.give_back()
        assert silent_of(router) == {"1": silent, "2": None}
        adapter.give_back()
        assert silent_of(router) == {"1": silent, "2": None}

    def test_a_new_model_list_amid_a_session_is_taken_over_and_given_back(self) -> None:
        router = litellm.Router(model_list=[deployment("chat", id="1", silent_model="next")])
        adapter = Adapter(router)
        router.set_model_list(
            [deployment("chat", id="1", silent_model="other"), deployment("new", id="3", silent_model="next")]
        )
        adapter.take_over()
        assert silent_of(router) == {"1": None, "3": None}
        assert (adapter.targets("1"), adapter.targets("3")) == (("other",), ("next",))
        adapter.give_back()
        assert silent_of(router) == {"1": "other", "3": "next"}

    def test_a_deployment_deleted_amid_a_session_is_forgotten(self) -> None:
        router = litellm.Router(
            model_list=[
                deployment("a", id="1", silent_model="next"),
                deployment("b", id="2", silent_model="c"),
            ]
        )
        adapter = Adapter(router)
        router.delete_deployment(id="1")
        adapter.take_over()
        assert adapter.silent_models() == [("b", "c")]
        adapter.give_back()
        assert silent_of(router) == {"2": "c"}

    def test_a_list_that_is_its_own_is_untouched(self) -> None:
        models = [deployment("chat", silent_model="next")]
        before = json.dumps(models)
        adapter = Adapter(models)
        adapter.give_back()
        assert json.dumps(models) == before


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

    def test_model_list_holds_the_dicts_that_the_router_reads_at_call_time(
        self, sim: Any, router: litellm.Router
    ) -> None:
        router.model_list[0]["litellm_params"]["model"] = "openai/gpt-4.1"
        router.completion("chat", MESSAGES)
        assert (sim.count("gpt-4o"), sim.count("gpt-4.1")) == (0, 1)

    def test_silent_model_is_read_in_those_dicts_and_mirrors(self, sim: Any, router: litellm.Router) -> None:
        with sim.hold("gpt-4o-mini") as hold:
            router.model_list[0]["litellm_params"]["silent_model"] = "next"
            router.completion("chat", MESSAGES)
            hold.wait_for(1)
            assert sim.count("gpt-4o-mini") == 1
        del router.model_list[0]["litellm_params"]["silent_model"]

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

    def test_the_router_is_still_asked_in_the_ways_that_are_used(self, router: litellm.Router) -> None:
        assert {"model_list", "num_retries", "fallbacks"} <= set(litellm.Router.get_valid_args())
        assert router.get_deployment_model_info("d-1", "openai/gpt-4o")["input_cost_per_token"] > 0
        assert router.enable_tag_filtering is False
        assert callable(router.discard)
        assert router.get_model_from_alias(model="chat") is None

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
