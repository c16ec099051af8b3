"""Each argument of `litellm.Router(...)` goes to the child process, has no meaning there, or is refused."""

import asyncio
import inspect
from collections.abc import Iterator
from typing import Any, ClassVar

import litellm
import pytest
from litellm.router_api import ChangeSet
from litellm.types.router import (
    AllowedFailsPolicy,
    CustomRoutingStrategyBase,
    RetryPolicy,
    RouterGeneralSettings,
)

import mirrorkit as mk
from mirrorkit.capture.frames import Plan, pack_plan, unpack
from mirrorkit.capture.policy import Policy
from mirrorkit.capture.router.arguments import ARGUMENTS, carried_arguments
from mirrorkit.capture.router.blueprint import Blueprint, blueprint_of
from mirrorkit.capture.router.entry_points import EntryPoints

PARAMS = {"model": "openai/gpt-4o", "api_key": "sk-own-0123456789", "api_base": "http://127.0.0.1:9"}
MODELS = [{"model_name": name, "litellm_params": PARAMS} for name in ("chat", "next")]
GROUP = {"group_name": "quick", "models": ["next"], "routing_strategy": "latency-based-routing"}

# of each argument that is carried, a value that is not the default
VALUES: dict[str, Any] = {
    "caching_groups": [("chat", "next")],
    "client_ttl": 60,
    "polling_interval": 0.5,
    "default_priority": 3,
    "num_retries": 4,
    "timeout": 7.5,
    "stream_timeout": 2.5,
    "default_litellm_params": {"temperature": 0.5, "metadata": {"team": "a"}},
    "default_max_parallel_requests": 5,
    "set_verbose": True,
    "debug_level": "INFO",
    "model_group_alias": {"talk": "chat"},
    "enable_pre_call_checks": True,
    "enable_tag_filtering": True,
    "tag_filtering_match_any": False,
    "tag_routing_prefix": "to-",
    "retry_after": 1,
    "retry_policy": RetryPolicy(TimeoutErrorRetries=3),
    "model_group_retry_policy": {"chat": RetryPolicy(RateLimitErrorRetries=2)},
    "allowed_fails": 9,
    "allowed_fails_policy": AllowedFailsPolicy(TimeoutErrorAllowedFails=4),
    "cooldown_time": 0.5,
    "disable_cooldowns": True,
    "fallback_on_unsupported_params": False,
    "routing_strategy": "latency-based-routing",
    "optional_pre_call_checks": ["prompt_caching", "enforce_model_rate_limits", "session_affinity"],
    "routing_strategy_args": {"ttl": 50.0},
    "routing_groups": [GROUP],
    "provider_budget_config": {"openai": {"budget_limit": 100, "time_period": "1d"}},
    "router_general_settings": RouterGeneralSettings(async_only_mode=True),
    "deployment_affinity_ttl_seconds": 50,
    "model_group_affinity_config": {"chat": ["session_affinity"]},
    "ignore_invalid_deployments": True,
    "enable_health_check_routing": True,
    "health_check_staleness_threshold": 40,
    "health_check_ignore_transient_errors": True,
    "background_health_check_model_groups": ["chat"],
    "session_affinity_repin_on_failover": True,
}


@pytest.fixture(autouse=True)
def _as_before(litellm_state: Any) -> None:
    """What a Router that is built here does to LiteLLM's module ends with its test."""


@pytest.fixture
def loop() -> Iterator[asyncio.Runner]:
    """A budget can be kept within a loop alone."""
    with asyncio.Runner() as runner:
        yield runner


def travelled(blueprint: Blueprint) -> Blueprint:
    """The blueprint as the other process has it."""
    got: Blueprint = unpack(pack_plan(Plan(blueprint, Policy()))).blueprint
    return got


def child_of(router: Any) -> EntryPoints:
    """The Router as the other process builds it."""
    return EntryPoints(travelled(blueprint_of(router)).build())


def value(entry: EntryPoints, name: str) -> Any:
    if name == "optional_pre_call_checks":
        return sorted(type(check).__name__ for check in entry.optional_checks() or ())
    if ARGUMENTS[name].fate == "setting":
        return entry.setting(name)
    return (entry.arguments() or {}).get(name)


def test_the_table_has_every_argument_that_litellms_router_takes() -> None:
    assert list(ARGUMENTS) == list(inspect.signature(litellm.Router).parameters)


def test_the_table_says_why_an_argument_does_not_come_along() -> None:
    stay = {name: each for name, each in ARGUMENTS.items() if each.fate in ("meaningless", "refused")}
    assert all(each.why for each in stay.values())


def test_each_argument_that_is_carried_is_tried_here() -> None:
    assert list(VALUES) == [name for name, each in ARGUMENTS.items() if each.fate in ("setting", "passed")]


@pytest.mark.parametrize("name", VALUES)
def test_an_argument_is_the_same_in_the_child(name: str, loop: asyncio.Runner) -> None:
    async def both() -> tuple[Any, Any, Any]:
        plain = EntryPoints(litellm.Router(MODELS))
        router = litellm.Router(MODELS, **{name: VALUES[name]})
        return value(plain, name), value(EntryPoints(router), name), value(child_of(router), name)

    default, here, there = loop.run(both())
    assert here == there
    assert here != default


def test_what_was_not_set_is_as_by_default_in_the_child() -> None:
    plain = EntryPoints(litellm.Router(MODELS))
    there = child_of(plain.router)
    assert {name: value(there, name) for name in VALUES} == {name: value(plain, name) for name in VALUES}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (ChangeSet(settings={"num_retries": 6}), {"num_retries": 6}),
        (ChangeSet(settings={"timeout": 9}), {"timeout": 9}),
        (ChangeSet(settings={"routing_strategy": "least-busy"}), {"routing_strategy": "least-busy"}),
        (ChangeSet(settings={"retry_policy": None}), {"retry_policy": None}),
        (ChangeSet(settings={"routing_groups": []}), {"routing_groups": []}),
        (ChangeSet(assign={"enable_pre_call_checks": True}), {"enable_pre_call_checks": True}),
        (ChangeSet(assign={"model_group_alias": {"say": "next"}}), {"model_group_alias": {"say": "next"}}),
        (
            ChangeSet(settings={"optional_pre_call_checks": ["encrypted_content_affinity"]}),
            {"optional_pre_call_checks": ["DeploymentAffinityCheck", "EncryptedContentAffinityCheck"]},
        ),
    ],
    ids=lambda each: next(iter(each)) if isinstance(each, dict) else "set",
)
def test_what_is_set_while_the_router_runs_wins(change: ChangeSet, expected: dict[str, Any]) -> None:
    names = (
        "num_retries",
        "timeout",
        "retry_policy",
        "routing_groups",
        "model_group_alias",
        "optional_pre_call_checks",
    )
    router = litellm.Router(MODELS, **{name: VALUES[name] for name in names})
    router.apply(change)
    there = child_of(router)
    assert {name: value(there, name) for name in expected} == expected


def test_each_optional_check_is_known_by_its_name(loop: asyncio.Runner) -> None:
    names = [
        "prompt_caching",
        "router_budget_limiting",
        "responses_api_deployment_check",
        "deployment_affinity",
        "session_affinity",
        "enforce_model_rate_limits",
        "encrypted_content_affinity",
    ]

    async def carried(*checks: str) -> list[str]:
        # as a Router tells of them that is asked for nothing else
        entry = EntryPoints(litellm.Router(MODELS, optional_pre_call_checks=list(checks)))
        got: list[str] = carried_arguments(entry, {})["optional_pre_call_checks"]
        return got

    assert sorted(loop.run(carried(*names))) == sorted(names)
    for name in names:
        assert loop.run(carried(name)) == [name]
    assert loop.run(carried()) == []


def test_a_check_that_is_none_of_litellms_classes_is_carried_as_it_was_passed() -> None:
    checks = ["forward_client_headers_by_model_group", "prompt_caching"]
    router = litellm.Router(MODELS, optional_pre_call_checks=checks)
    assert blueprint_of(router).arguments["optional_pre_call_checks"] == checks


class TestWhatHasNoMeaning:
    def test_a_redis_that_steers_primaries_is_not_touched_and_its_password_stays_here(self) -> None:
        """By its URL; for its host, which LiteLLM tries to reach for seconds, see test_child.py."""
        redis: dict[str, Any] = {
            "redis_url": "redis://:of-redis-0123456789@127.0.0.1:9/1",
            "redis_password": "of-redis-0123456789",
            "redis_db": 3,
            "cache_kwargs": {"socket_timeout": 0.1},
        }
        router = litellm.Router(MODELS, **redis)
        assert router.health().store.redis_cache is not None
        blueprint = blueprint_of(router)
        assert not [name for name in ARGUMENTS if "redis" in name and name in blueprint.arguments]
        assert b"of-redis" not in pack_plan(Plan(blueprint, Policy()))
        assert travelled(blueprint).build().health().store.redis_cache is None

    def test_no_silent_call_falls_back(self) -> None:
        fallbacks: dict[str, Any] = {
            "fallbacks": [{"next": ["chat"]}],
            "context_window_fallbacks": [{"next": ["chat"]}],
            "content_policy_fallbacks": [{"next": ["chat"]}],
            "default_fallbacks": ["chat"],
            "enable_weighted_failover": True,
            "enable_mid_stream_fallback_continuation": True,
        }
        there = child_of(litellm.Router(MODELS, **fallbacks)).router.settings()
        assert there.fallbacks is there.context_window_fallbacks is there.content_policy_fallbacks is None
        assert there.as_dict()["enable_weighted_failover"] is False

    def test_a_silent_call_that_fails_alarms_nobody(self) -> None:
        alerting = litellm.types.router.AlertingConfig(webhook_url="http://127.0.0.1:9/alarm")
        router = litellm.Router(MODELS, alerting_config=alerting)
        blueprint = blueprint_of(router)
        assert blueprint.callbacks["callbacks"] == blueprint.callbacks["success_callback"] == ()
        assert travelled(blueprint).build().observe().slack_alerting_logger is None


class Strategy(CustomRoutingStrategyBase):
    pass


class TestWhatIsRefused:
    def test_a_routing_strategy_of_the_users_own(self) -> None:
        router = litellm.Router(MODELS)
        router.register_plugin(Strategy())
        with pytest.raises(mk.ConfigError, match=r'register_plugin\(Strategy\).*isolation="shared"'):
            blueprint_of(router)

    def test_but_not_one_of_litellms(self, loop: asyncio.Runner) -> None:
        async def strategy() -> Any:
            there = child_of(litellm.Router(MODELS, routing_strategy="lar1"))
            return there.setting("routing_strategy")

        assert loop.run(strategy()) == "lar1"

    def test_an_argument_that_is_new_and_in_no_table(self) -> None:
        entry = EntryPoints(litellm.Router(MODELS))
        with pytest.raises(mk.ConfigError, match="the Router's warp_factor: this mirrorkit does not know it"):
            carried_arguments(entry, {"warp_factor": 9})


class Silent(EntryPoints):
    """A Router that does not tell what is told under private names."""

    def arguments(self) -> None:
        return None

    def optional_checks(self) -> None:
        return None


class TestWhatOnlyPrivateNamesTell:
    passed: ClassVar[dict[str, Any]] = {"num_retries": 1, "client_ttl": 9, "polling_interval": 0.5}

    def test_a_router_tells_what_it_was_made_with(self) -> None:
        assert EntryPoints(litellm.Router(MODELS, **self.passed)).arguments() == {
            "model_list": MODELS,
            **self.passed,
        }

    def test_a_router_tells_of_a_strategy_of_the_users_own(self) -> None:
        router, strategy = litellm.Router(MODELS), Strategy()
        assert EntryPoints(router).custom_strategy() is None
        router.register_plugin(strategy)
        assert EntryPoints(router).custom_strategy() is strategy

    def test_a_router_tells_of_its_checks(self) -> None:
        router = litellm.Router(MODELS, optional_pre_call_checks=["prompt_caching"])
        assert [type(each).__name__ for each in EntryPoints(router).optional_checks() or ()] == [
            "PromptCachingDeploymentCheck"
        ]

    def test_without_them_its_settings_come_along_and_what_does_not_is_named(self) -> None:
        silent = Silent(litellm.Router(MODELS, **self.passed))
        with pytest.warns(mk.MirrorWarning, match=r"does not tell .*client_ttl, polling_interval"):
            arguments = carried_arguments(silent)
        assert arguments["num_retries"] == 1
        assert "client_ttl" not in arguments

    def test_without_them_those_of_a_list_of_models_or_a_config_do(self) -> None:
        entry = Silent(litellm.Router(MODELS, **self.passed))
        passed = {**self.passed, "optional_pre_call_checks": ["prompt_caching"]}
        assert passed.items() <= carried_arguments(entry, passed).items()
