"""What becomes of each argument of `litellm.Router(...)` in the process that makes silent calls."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import litellm

from mirrorkit.capture.router.entry_points import EntryPoints
from mirrorkit.errors import ConfigError, MirrorWarning

Fate = Literal["setting", "passed", "imported", "meaningless", "refused"]
"""Carried with the value of today, as it was passed, or by its name; left out; refused at construction."""


@dataclass(frozen=True, slots=True)
class Argument:
    """What becomes of one argument, and why it does not come along."""

    fate: Fate
    why: str = ""


_SETTING = Argument("setting")
_PASSED = Argument("passed")
_NO_FALLBACK = Argument("meaningless", "a silent call never falls back")
_NO_CACHE = Argument("meaningless", "a silent call neither reads a cache nor fills one")
_NOT_MIRRORED = Argument("meaningless", "it is for calls that are not mirrored")
# LiteLLM keeps usage, spend, cooldowns and pins in the user's Redis, for the Routers of all processes
_OWN_STATE = Argument("meaningless", "a silent call must not move what steers primaries elsewhere")

ARGUMENTS: Mapping[str, Argument] = {
    "model_list": Argument("meaningless", "the deployments of today come along instead"),
    "assistants_config": _NOT_MIRRORED,
    "search_tools": _NOT_MIRRORED,
    "guardrail_list": _NOT_MIRRORED,
    "redis_url": _OWN_STATE,
    "redis_host": _OWN_STATE,
    "redis_port": _OWN_STATE,
    "redis_password": _OWN_STATE,
    "redis_db": _OWN_STATE,
    "cache_responses": _NO_CACHE,
    "cache_kwargs": _OWN_STATE,
    "caching_groups": _PASSED,  # loggers see it in the metadata
    "client_ttl": _PASSED,
    "polling_interval": _PASSED,
    "default_priority": _PASSED,
    "num_retries": _SETTING,
    "max_fallbacks": _NO_FALLBACK,
    "timeout": _SETTING,
    "stream_timeout": _PASSED,
    "default_litellm_params": _SETTING,
    "default_max_parallel_requests": _SETTING,
    "set_verbose": _PASSED,
    "debug_level": _PASSED,
    "default_fallbacks": _NO_FALLBACK,
    "fallbacks": _NO_FALLBACK,
    "context_window_fallbacks": _NO_FALLBACK,
    "content_policy_fallbacks": _NO_FALLBACK,
    "model_group_alias": _SETTING,
    "enable_pre_call_checks": _SETTING,
    "enable_tag_filtering": _SETTING,
    "tag_filtering_match_any": _SETTING,
    "tag_routing_prefix": _SETTING,
    "plugins": Argument("imported"),
    "retry_after": _SETTING,
    "retry_policy": _SETTING,
    "model_group_retry_policy": _SETTING,
    "allowed_fails": _SETTING,
    "allowed_fails_policy": _SETTING,
    "cooldown_time": _SETTING,
    "disable_cooldowns": _SETTING,
    "fallback_on_unsupported_params": _SETTING,
    "routing_strategy": _SETTING,
    "optional_pre_call_checks": _SETTING,
    "routing_strategy_args": _SETTING,
    "routing_groups": _SETTING,
    "provider_budget_config": _SETTING,  # spent in the child alone, as its count is in memory
    "alerting_config": Argument("meaningless", "a silent call that fails alarms nobody"),
    "router_general_settings": _SETTING,
    "deployment_affinity_ttl_seconds": _PASSED,
    "model_group_affinity_config": _PASSED,
    "ignore_invalid_deployments": _PASSED,
    "enable_health_check_routing": _SETTING,
    "health_check_staleness_threshold": _PASSED,
    "health_check_ignore_transient_errors": _SETTING,
    "background_health_check_model_groups": _SETTING,
    "enable_weighted_failover": _NO_FALLBACK,
    "enable_mid_stream_fallback_continuation": _NO_FALLBACK,
    "fallback_access_check": _NO_FALLBACK,
    "fallback_budget_check": _NO_FALLBACK,
    "auto_router_capability_limit": Argument("meaningless", "the Router has been built within it"),
    "session_affinity_repin_on_failover": _PASSED,
}
_UNKNOWN = Argument("refused", "this mirrorkit does not know it")

# The optional checks by LiteLLM's classes, and by the flag where one class serves several.
_CHECKS: Mapping[tuple[str, str | None], str] = {
    ("PromptCachingDeploymentCheck", None): "prompt_caching",
    ("ModelRateLimitingCheck", None): "enforce_model_rate_limits",
    ("RouterBudgetLimiting", None): "router_budget_limiting",
    ("EncryptedContentAffinityCheck", "enable_global_affinity"): "encrypted_content_affinity",
    ("DeploymentAffinityCheck", "enable_user_key_affinity"): "deployment_affinity",
    ("DeploymentAffinityCheck", "enable_responses_api_affinity"): "responses_api_deployment_check",
    ("DeploymentAffinityCheck", "enable_session_id_affinity"): "session_affinity",
}


def carried_arguments(entry: EntryPoints, passed: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The arguments by which another process builds the same Router, but for its plugins.

    Args:
        entry: the Router.
        passed: the arguments that it was made with, where they are known; what was set since then wins.

    Raises:
        ConfigError: one of them, or a routing strategy of the user's own, cannot be taken along.
    """
    passed = _told(entry) if passed is None else passed
    for name in passed:
        if (argument := ARGUMENTS.get(name, _UNKNOWN)).fate == "refused":
            raise ConfigError(
                f'isolation="process": the Router\'s {name}: {argument.why}. Leave it out, or use '
                'isolation="shared".'
            )
    if (strategy := entry.custom_strategy()) is not None:
        # it picks from the Router that it knows, by a global or an attribute: the child's is another one
        raise ConfigError(
            f'isolation="process": the Router\'s register_plugin({type(strategy).__name__}): a routing '
            'strategy of your own picks deployments of this process alone. Use isolation="shared".'
        )
    kept = {name: value for name, value in passed.items() if name in _named("passed")}
    return kept | {name: _today(entry, name, passed) for name in _settings(entry, passed)}


def _told(entry: EntryPoints) -> Mapping[str, Any]:
    if (arguments := entry.arguments()) is not None:
        return arguments
    warnings.warn(
        "this LiteLLM does not tell what a Router was made with: in the child process "
        f"{', '.join(_named('passed'))} are as by default. Give the session a model list or a config.yaml "
        "to have them there too.",
        MirrorWarning,
        stacklevel=2,
    )
    return {}


def _named(fate: Fate) -> list[str]:
    return [name for name, argument in ARGUMENTS.items() if argument.fate == fate]


def _settings(entry: EntryPoints, passed: Mapping[str, Any]) -> list[str]:
    names = _named("setting")
    # a time-out that nobody has set reads as LiteLLM's own, and would be one that is set
    if passed.get("timeout") is None and entry.setting("timeout") == litellm.request_timeout:
        names.remove("timeout")
    return names


def _today(entry: EntryPoints, name: str, passed: Mapping[str, Any]) -> Any:
    if name != "optional_pre_call_checks":
        return entry.setting(name)
    before = passed.get(name)
    if (checks := entry.optional_checks()) is None:
        return before
    found = [
        check_name
        for check in checks
        for (kind, flag), check_name in _CHECKS.items()
        if type(check).__name__ == kind and (flag is None or getattr(check, flag))
    ]
    # a check that is none of these is taken to be as it was passed
    return [check for check in before or () if check not in _CHECKS.values()] + found
