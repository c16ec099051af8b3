"""A LiteLLM Router in, with its `silent_model` taken over, and given back at the end."""

import contextlib
import copy
import os
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import litellm
import openai

from mirrorkit.capture.portability import Relation
from mirrorkit.capture.router.blueprint import Blueprint, blueprint_of
from mirrorkit.capture.router.config import Config, as_names, read_config
from mirrorkit.capture.router.entry_points import EntryPoints, constructor_arguments
from mirrorkit.capture.router.provider_accounts import ProviderAccount
from mirrorkit.capture.router.silent_models import SilentModels
from mirrorkit.capture.scrub import Scrubber, is_secret_variable, secrets_in
from mirrorkit.errors import ConfigError, UnsupportedCall

CallType = Literal["completion", "embedding", "responses", "anthropic_messages"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How the Router is called for one call type, and where it keeps what it says of the call."""

    call_type: CallType
    payload: str
    """the keyword that carries messages or input"""
    metadata: str
    """the keyword of LiteLLM's own metadata"""
    blocks: bool = True
    """whether the Router has a blocking method for it"""

    @property
    def methods(self) -> tuple[str, ...]:
        """The names of the Router's methods; both are awaited where it has no blocking one."""
        return self.call_type, f"a{self.call_type}"


ENDPOINTS: Mapping[CallType, Endpoint] = {
    "completion": Endpoint("completion", payload="messages", metadata="metadata"),
    "embedding": Endpoint("embedding", payload="input", metadata="metadata"),
    # `metadata` is a parameter of the responses API itself
    "responses": Endpoint("responses", payload="input", metadata="litellm_metadata"),
    "anthropic_messages": Endpoint(
        "anthropic_messages", payload="messages", metadata="litellm_metadata", blocks=False
    ),
}

ENTRY_POINTS = frozenset({"registry", "settings", "health", "select", "observe", "register_plugin", "retire"})
"""LiteLLM's ways to read and steer a Router, which a session passes on as they are."""


class Adapter:
    """One session's hold on a Router."""

    def __init__(self, source: Any) -> None:
        self.router, self._settings = _router(source)
        self._own = self.router is not source
        self.entry = EntryPoints(self.router)
        self._known: list[Any] = []
        self._kept: list[Mapping[str, Any]] = []
        self._relations: dict[tuple[str | None, str], Relation] = {}
        self.refusing_stream_options: set[str] = set()
        """the silent groups whose servers know no `stream_options`"""
        self._silent = SilentModels.held(self.router)
        # a session that is dropped unclosed gives the settings back too
        self._release = weakref.finalize(self, _release, weakref.ref(self.router), self._silent)
        self._silent.take(self.entry, opening=True)

    def take_over(self) -> bool:
        """Keep LiteLLM from mirroring by itself; run before each request, as deployments may be changed.

        Returns:
            Whether the Router's deployments, or LiteLLM's credentials, are others than the last time.
        """
        self._silent.take(self.entry)
        kept = kept_by_litellm()
        if (deployments := self.entry.deployments()) == self._known and kept == self._kept:
            return False
        self._kept = kept
        self._known = copy.deepcopy(deployments)
        self._relations = {}
        return True

    def give_back(self) -> None:
        """Put the Router's settings back, once the last session on it is closed."""
        self._release()
        if self._own:
            # made here, so nobody else uses it: LiteLLM's lists of callbacks would hold it for ever
            self.entry.retire()

    def knows(self, group: str) -> bool:
        """Whether the Router serves this model group: by name, by alias or by a wildcard."""
        return self.entry.recognizes(group) or bool(self.entry.deployments_of(group))

    def groups(self) -> list[str]:
        """The names of the Router's model groups, in the order of its model list."""
        return list(dict.fromkeys(str(d["model_name"]) for d in self.entry.deployments()))

    def resolved(self, group: str) -> str:
        """The group that an alias stands for; any other name as it is."""
        return self.entry.alias_target(group) or group

    def serves(self, group: str, deployment_id: str | None) -> bool:
        """Whether a deployment is one of a model group's."""
        deployment = self._deployment(deployment_id)
        return deployment is not None and deployment["model_name"] == self.resolved(group)

    def ids_of(self, group: str) -> tuple[str, ...]:
        """The ids of the deployments that serve a model group."""
        return tuple(str(each["model_info"]["id"]) for each in self.entry.deployments_of(group))

    def timeout_s(self, group: str) -> float | None:
        """The time-out of an attempt, in seconds, that a group's deployments or the Router are set to."""
        told = [self._timeout_of(each) for each in self.entry.deployments_of(group)]
        found = [each for each in told if each is not None]
        arguments = self.entry.arguments() or {}
        own = seconds_of(arguments.get("timeout")) or seconds_of(
            self.entry.default_parameters().get("timeout")
        )
        return max(found) if found else own

    def _timeout_of(self, deployment: Mapping[str, Any]) -> float | None:
        params = deployment["litellm_params"]
        told = [seconds_of(params.get(name)) for name in ("timeout", "stream_timeout", "request_timeout")]
        return max((each for each in told if each is not None), default=None)

    def retries(self, group: str) -> int:
        """How often the Router tries a group's calls again, at most."""
        own = [each["litellm_params"].get("num_retries") for each in self.entry.deployments_of(group)]
        told = [each for each in (*own, self.entry.setting("num_retries")) if isinstance(each, int)]
        return max(told, default=0)

    def silent_models(self) -> list[tuple[str, tuple[str, ...]]]:
        """The name of each deployment's group with its own silent groups; ConfigError for what is no name."""
        return [
            (str(deployment["model_name"]), names)
            for deployment in self.entry.deployments()
            if (names := self._names(deployment))
        ]

    def has_silent_models(self) -> bool:
        """Whether any deployment has a silent model of its own."""
        return any(self._silent.of(deployment) is not None for deployment in self.entry.deployments())

    def targets(self, deployment_id: str | None) -> tuple[str, ...]:
        """The silent groups of one deployment."""
        deployment = self._deployment(deployment_id)
        return () if deployment is None else self._names(deployment)

    def relation(self, picked: str | None, group: str) -> Relation:
        """What a silent group is to the deployment that served the primary, if it is known."""
        key = picked, group
        if key not in self._relations:
            primary = self._deployment(picked)
            others = self.entry.deployments_of(group)
            self._relations[key] = (
                "other provider" if primary is None else ProviderAccount.of(primary).relation_to(others)
            )
        return self._relations[key]

    def _deployment(self, deployment_id: str | None) -> Mapping[str, Any] | None:
        deployments = self.entry.deployments()
        return next((d for d in deployments if str(d["model_info"]["id"]) == deployment_id), None)

    def _names(self, deployment: Mapping[str, Any]) -> tuple[str, ...]:
        silent, where = self._silent.of(deployment), f"silent_model of {deployment['model_name']!r}"
        if isinstance(silent, tuple):
            # LiteLLM mirrors to it, and keeps it where it cannot be taken over
            raise ConfigError(f"{where} is a tuple: give the name of a model group, or a list of names.")
        return as_names(silent, where)

    def method(self, call_type: CallType, is_async: bool) -> Callable[..., Any]:
        """The Router's method for a call type."""
        return self.entry.method(f"a{call_type}" if is_async else call_type)

    def member(self, name: str) -> Any:
        """A member of the Router that a session lacks: an entry point as it is, anything else refused.

        Raises:
            UnsupportedCall: the Router has it, but it is not mirrored.
            AttributeError: the Router does not have it either.
        """
        if name in ENTRY_POINTS:
            return self.entry.method(name)
        if not self.entry.has(name):
            raise AttributeError(f"no attribute {name!r}: neither the session nor its Router has one.")
        mirrored = ", ".join(method for endpoint in ENDPOINTS.values() for method in endpoint.methods)
        raise UnsupportedCall(
            f"a session has no {name!r}: use session.router.{name} to reach the Router itself, unmirrored. "
            f"Mirrored are {mirrored}."
        )

    def model_info(self, deployment_id: str, model: str) -> Mapping[str, Any]:
        """What the price table says of a deployment; no cost in it where the model has no price."""
        return self.entry.model_info(deployment_id, model)

    def models_of(self, group: str) -> set[str]:
        """The models that serve a group, by their bare names, and those they are priced as."""
        found: set[str] = set()
        for deployment in self.entry.deployments_of(group):
            # a wildcard's model is the one asked for
            model = str(deployment["litellm_params"]["model"]).replace("*", group)
            base = deployment["model_info"].get("base_model") or deployment["litellm_params"].get(
                "base_model"
            )
            found |= {bare_model(str(name)) for name in (model, base) if name}
        return found

    def token_price(self, group: str) -> tuple[float, float]:
        """What a token given to a group and one made by it cost at most, in US dollars; 0 if unknown."""
        prices = [(0.0, 0.0)]
        for deployment in self.entry.deployments_of(group):
            info = self._info(deployment)
            given, made = (info.get(f"{way}_cost_per_token") or 0.0 for way in ("input", "output"))
            prices.append((float(given), float(made)))
        return max(given for given, _ in prices), max(made for _, made in prices)

    def unpriced(self, group: str) -> list[str]:
        """The models of a group for which LiteLLM has no price, not even 0; it may have one for a pattern."""
        found = [each for each in self.entry.deployments_of(group) if not self._has_price(each)]
        names = dict.fromkeys(str(each["litellm_params"]["model"]) for each in found)
        return [name for name in names if "*" not in name]

    def _has_price(self, deployment: Mapping[str, Any]) -> bool:
        told = self._info(deployment).items()
        return any("cost_per" in name and value is not None for name, value in told)

    def _info(self, deployment: Mapping[str, Any]) -> Mapping[str, Any]:
        model, own_id = deployment["litellm_params"]["model"], str(deployment["model_info"]["id"])
        return self.model_info(own_id, model)

    def filters_by_tags(self) -> bool:
        """Whether the Router picks deployments by the request's tags, so that none may be added."""
        return self.entry.filters_by_tags()

    def blueprint(self) -> Blueprint:
        """What it takes to build the Router in another process; raises ConfigError for what stays here."""
        return blueprint_of(self.router, self._settings)

    def secrets(self) -> frozenset[str]:
        """Credentials that this process knows, so that none of them is ever recorded."""
        found = frozenset(v for k, v in os.environ.items() if is_secret_variable(k) and len(v) >= 12)
        known = [self.entry.default_parameters(), *(d["litellm_params"] for d in self.entry.deployments())]
        return found.union(*map(secrets_in, (*known, *kept_by_litellm())))


def kept_by_litellm() -> list[Mapping[str, Any]]:
    """The credentials that LiteLLM keeps in its own module: providers' keys, headers, and named ones."""
    module = vars(litellm)
    keys = [key for name in _key_names() if (key := module.get(name)) is not None]
    named = [dict(each.credential_values) for each in litellm.credential_list]
    return [{"api_key": keys, "token": litellm.token, "headers": copy.copy(litellm.headers)}, *named]


@cache
def _key_names() -> tuple[str, ...]:
    return tuple(name for name in tuple(vars(litellm)) if name.endswith("_key"))


def seconds_of(timeout: Any) -> float | None:
    """A time-out in seconds, of a number or of an `httpx.Timeout`; None where there is none.

    >>> seconds_of(30), seconds_of("2.5"), seconds_of(None)
    (30.0, 2.5, None)
    """
    timeout = getattr(timeout, "read", timeout)
    try:
        return None if timeout is None else float(timeout)
    except (TypeError, ValueError):
        return None


def bare_model(name: str) -> str:
    """A model's name without its provider, to tell whether two are the same.

    >>> bare_model("openai/GPT-4o"), bare_model("openrouter/openai/gpt-4o"), bare_model("gpt-4o")
    ('gpt-4o', 'gpt-4o', 'gpt-4o')
    """
    return name.rpartition("/")[2].lower()


def warm_up() -> None:
    """Let LiteLLM do its lazy imports now, or the first calls would be recorded seconds too slow.

    Mocked calls, which send nothing and are kept from loggers and cache, and a client, which opens nothing.
    Where the user's settings forbid a call, such as a budget that is spent, LiteLLM stays as cold as it is.
    """
    with contextlib.suppress(Exception):
        _make_mocked_calls()
    client = openai.OpenAI(api_key="none", base_url="http://127.0.0.1:9")
    _ = client.chat.completions, client.embeddings
    client.close()


def _make_mocked_calls() -> None:
    hidden: dict[str, Any] = {
        "model": "gpt-4o-mini",
        "mock_response": "warm",
        "no-log": True,
        "cache": {"no-cache": True, "no-store": True},
    }
    messages = [{"role": "user", "content": "warm-up"}]
    tool = {"type": "function", "function": {"name": "warm_up", "parameters": {"type": "object"}}}
    litellm.completion(messages=messages, tools=[tool], **hidden)
    for _ in litellm.completion(messages=messages, stream=True, **hidden):
        pass
    litellm.responses(input="warm-up", **hidden)
    # loads the tokenizer, which LiteLLM needs at the end of each stream
    litellm.token_counter(model="gpt-4o-mini", text="warm-up")


def _release(router_ref: "weakref.ref[litellm.Router]", silent: SilentModels) -> None:
    if (router := router_ref()) is not None:
        silent.release(router)


def _router(source: Any) -> tuple[litellm.Router, Mapping[str, Any] | None]:
    """The Router, and the settings that it was made with, where it is made here."""
    if isinstance(source, litellm.Router):
        if not EntryPoints(source).deployments():
            raise ConfigError("the Router has no deployments: give it a model_list.")
        return source, None
    if isinstance(source, str | os.PathLike):
        config = read_config(source)
    elif isinstance(source, list | tuple):
        config = Config(tuple(source))
    else:
        raise ConfigError(
            f"router={type(source).__name__}: give a litellm.Router, a model list, or the path of a "
            "config.yaml."
        )
    return _from_config(config), config.router_settings


def _from_config(config: Config) -> litellm.Router:
    config.check()
    _apply_litellm_settings(config.litellm_settings)
    known = set(constructor_arguments())
    unknown = sorted(set(config.router_settings) - known)
    if unknown:
        raise ConfigError(f"router_settings: {unknown[0]!r} is nothing that this LiteLLM's Router takes.")
    try:
        return litellm.Router(model_list=[dict(d) for d in config.model_list], **config.router_settings)
    except Exception as error:  # LiteLLM raises what it likes
        secrets = frozenset[str]().union(*(secrets_in(d["litellm_params"]) for d in config.model_list))
        raise ConfigError(
            f"LiteLLM's Router refused these settings: {Scrubber(secrets).error(str(error))}"
        ) from None


def _apply_litellm_settings(settings: Mapping[str, Any]) -> None:
    # LiteLLM keeps these as attributes of its module: there is no other place to put them
    for name, value in settings.items():
        if name == "cache":
            if value:
                litellm.cache = litellm.Cache(**settings.get("cache_params", {}))
        elif name == "cache_params":
            continue
        elif hasattr(litellm, name) and not callable(getattr(litellm, name)):
            setattr(litellm, name, value)
        else:
            raise ConfigError(f"litellm_settings: this LiteLLM has no setting {name!r} outside of its proxy.")
