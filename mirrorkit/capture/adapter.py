"""A LiteLLM Router in, with its `silent_model` taken over, and given back at the end."""

import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import litellm
import openai

from mirrorkit.capture.blueprint import Blueprint, blueprint_of
from mirrorkit.capture.config import Config, read_config
from mirrorkit.capture.scrub import Scrubber, is_secret_variable, secrets_in
from mirrorkit.errors import ConfigError

CallType = Literal["completion", "embedding", "responses"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How the Router is called for one call type, and where it keeps what it says of the call."""

    call_type: CallType
    payload: str
    """the keyword that carries messages or input"""
    metadata: str
    """the keyword of LiteLLM's own metadata"""


ENDPOINTS: Mapping[CallType, Endpoint] = {
    "completion": Endpoint("completion", payload="messages", metadata="metadata"),
    "embedding": Endpoint("embedding", payload="input", metadata="metadata"),
    # `metadata` is a parameter of the responses API itself
    "responses": Endpoint("responses", payload="input", metadata="litellm_metadata"),
}

# Two sessions may share a Router, as when a notebook cell runs again: its settings go back with the last.
# A Router offers no place of its own to keep them, so this is the one piece of shared state.
_TAKEN: "weakref.WeakKeyDictionary[litellm.Router, _Taken]" = weakref.WeakKeyDictionary()
_TAKEN_LOCK = threading.RLock()


@dataclass(slots=True)
class _Taken:
    """What was taken from a Router, by deployment id, and how many sessions hold it."""

    silent: dict[str, Any]
    holders: int = 0


class Adapter:
    """One session's hold on a Router."""

    def __init__(self, source: Any) -> None:
        self.router, self._settings = _router(source)
        self._own = self.router is not source
        self._seen: tuple[int, ...] = ()
        with _TAKEN_LOCK:
            self._taken = _TAKEN.setdefault(self.router, _Taken({}))
            self._taken.holders += 1
        # a session that is dropped unclosed gives the settings back too
        self._release = weakref.finalize(self, _give_back, weakref.ref(self.router), self._taken)
        self.take_over()

    def take_over(self) -> bool:
        """Keep LiteLLM from mirroring by itself; run before each request, as deployments may be added.

        Returns:
            Whether the Router's deployments are others than the last time.
        """
        before, self._seen = self._seen, tuple(map(id, self.router.model_list))
        for deployment in self.router.model_list:
            params = deployment["litellm_params"]
            if "silent_model" in params:
                with _TAKEN_LOCK:
                    silent = params.pop("silent_model", None)
                    if silent is not None:
                        self._taken.silent[str(deployment["model_info"]["id"])] = silent
        return self._seen != before

    def give_back(self) -> None:
        """Put the Router's settings back, once the last session on it is closed."""
        self._release()
        if self._own:
            # made here, so nobody else uses it: LiteLLM's lists of callbacks would hold it for ever
            self.router.discard()

    def knows(self, group: str) -> bool:
        """Whether the Router serves this model group: by name, by alias or by a wildcard."""
        return bool(self.router.is_recognized_model(group) or self.router.get_model_list(model_name=group))

    def groups(self) -> list[str]:
        """The names of the Router's model groups, in the order of its model list."""
        return list(dict.fromkeys(str(d["model_name"]) for d in self.router.model_list))

    def resolved(self, group: str) -> str:
        """The group that an alias stands for; any other name as it is."""
        if not self.router.model_group_alias:
            return group
        return str(self.router.get_model_from_alias(model=group) or group)

    def serves(self, group: str, deployment_id: str | None) -> bool:
        """Whether a deployment is one of a model group's."""
        group = self.resolved(group)
        return any(
            d["model_name"] == group and str(d["model_info"]["id"]) == deployment_id
            for d in self.router.model_list
        )

    def silent_models(self) -> list[tuple[str, Any]]:
        """Each deployment's own `silent_model` with the name of its group, as found in the Router."""
        return [
            (str(d["model_name"]), self._taken.silent[deployment_id])
            for d in self.router.model_list
            if (deployment_id := str(d["model_info"]["id"])) in self._taken.silent
        ]

    def targets(self, deployment_id: str | None) -> tuple[str, ...]:
        """The silent groups of one deployment."""
        return as_names(self._taken.silent.get(deployment_id)) if deployment_id is not None else ()

    def method(self, call_type: CallType, is_async: bool) -> Callable[..., Any]:
        """The Router's method for a call type."""
        method: Callable[..., Any] = getattr(self.router, f"a{call_type}" if is_async else call_type)
        return method

    def model_info(self, deployment_id: str, model: str) -> Any:
        """What the price table says of a deployment; no cost in it where the model has no price."""
        return self.router.get_deployment_model_info(deployment_id, model)

    def models_of(self, group: str) -> set[str]:
        """The models that serve a group, by their bare names, and those they are priced as."""
        found: set[str] = set()
        for deployment in self._deployments(group):
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
        for deployment in self._deployments(group):
            with contextlib.suppress(Exception):  # LiteLLM raises for models that it does not know
                model, own_id = deployment["litellm_params"]["model"], str(deployment["model_info"]["id"])
                info = self.model_info(own_id, model) or {}
                given, made = (info.get(f"{way}_cost_per_token") or 0.0 for way in ("input", "output"))
                prices.append((float(given), float(made)))
        return max(given for given, _ in prices), max(made for _, made in prices)

    def _deployments(self, group: str) -> list[Any]:
        return list(self.router.get_model_list(model_name=group) or ())

    def filters_by_tags(self) -> bool:
        """Whether the Router picks deployments by the request's tags, so that none may be added."""
        return bool(self.router.enable_tag_filtering)

    def blueprint(self) -> Blueprint:
        """What it takes to build the Router in another process; raises ConfigError for what stays here."""
        return blueprint_of(self.router, self._settings)

    def with_models_of_today(self, blueprint: Blueprint) -> Blueprint:
        """The blueprint with the deployments that the Router has now."""
        return replace(blueprint, model_list=self.router.model_list)

    def secrets(self) -> frozenset[str]:
        """Credentials that this process knows, so that none of them is ever recorded."""
        found = frozenset(v for k, v in os.environ.items() if is_secret_variable(k) and len(v) >= 12)
        known = [self.router.default_litellm_params, *(d["litellm_params"] for d in self.router.model_list)]
        return found.union(*map(secrets_in, known))


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


def as_names(silent: object) -> tuple[str, ...]:
    """A `silent_model` as LiteLLM takes it, a name or a list of names, without repeats.

    >>> as_names("b"), as_names(["b", "c", "b"]), as_names(None)
    (('b',), ('b', 'c'), ())
    """
    if silent is None:
        return ()
    several = isinstance(silent, Iterable) and not isinstance(silent, str | bytes | Mapping)
    listed: list[Any] = list(silent) if several else [silent]  # type: ignore[call-overload]
    names = [name for name in listed if isinstance(name, str) and name]
    if names != listed:
        odd = next(name for name in listed if not isinstance(name, str) or not name)
        # not its content: a model list, keys and all, may have been put here
        shown = f"a {type(odd).__name__}" if isinstance(odd, Iterable) and odd else repr(odd)
        raise ConfigError(
            f"silent_model: {shown} is no name; give the name of a model group, or a list of names."
        )
    return tuple(dict.fromkeys(names))


def _give_back(router_ref: "weakref.ref[litellm.Router]", taken: _Taken) -> None:
    router = router_ref()
    with _TAKEN_LOCK:
        taken.holders -= 1
        if taken.holders or router is None:
            return
        for deployment in router.model_list:
            silent = taken.silent.get(str(deployment["model_info"]["id"]))
            if silent is not None:
                deployment["litellm_params"]["silent_model"] = silent
        taken.silent.clear()
        _TAKEN.pop(router, None)


def _router(source: Any) -> tuple[litellm.Router, Mapping[str, Any] | None]:
    """The Router, and the settings that it was made with, where it is made here."""
    if isinstance(source, litellm.Router):
        if not source.model_list:
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
    known = set(litellm.Router.get_valid_args())
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
