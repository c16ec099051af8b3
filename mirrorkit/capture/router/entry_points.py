"""Every use of LiteLLM's Router: its entry points, and the few private names that nothing public replaces."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from importlib.metadata import version
from typing import Any

import litellm
import litellm.router_api

from mirrorkit.errors import ConfigError

WANTED = "litellm>=1.110.2,<2"
"""The editions of LiteLLM that have all that is used here."""

# What is used of each, as a user would write it. A LiteLLM that lacks one is refused with the first session.
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "Router": ("registry", "settings", "apply", "retire"),
    "Router.registry()": (
        "all",
        "aliases",
        "deployment_dict",
        "deployment_model_info",
        "deployments",
        "names",
        "plugins",
        "resolve",
    ),
    "Router.settings()": ("as_dict", "default_litellm_params", "enable_tag_filtering"),
    "litellm": ("completion_cost", "get_llm_provider", "get_model_info", "model_cost", "token_counter"),
}


class EntryPoints:
    """One Router, asked and changed by its entry points alone.

    Raises:
        ConfigError: this LiteLLM lacks one of them.
    """

    def __init__(self, router: litellm.Router) -> None:
        self.router = router
        _check(router)

    @property
    def live(self) -> Any:
        """The Router's own list of its deployments, which shows every change at once."""
        return self.router.registry().all()

    def deployments(self) -> list[Any]:
        """The deployments that the Router has now, in its order."""
        return list(self.live)

    def ids(self) -> list[str] | None:
        """The ids of the deployments that the Router serves, without those that it is still building.

        None where its index is broken, as a deployment that was deleted from the live list leaves it.
        """
        try:
            return [str(each) for each in self.router.registry().names(kind="ids")]
        except IndexError:
            return None

    def deployments_of(self, group: str) -> list[Any]:
        """The deployments that serve a model group: by its name, an alias or a wildcard."""
        return list(self.router.registry().deployments(group) or ())

    def recognizes(self, group: str) -> bool:
        """Whether the Router can route a name."""
        return bool(self.router.registry().resolve(group, kind="recognized"))

    def alias_target(self, name: str) -> str | None:
        """The model group that an alias stands for; None for what is no alias."""
        registry = self.router.registry()
        if not registry.aliases():
            return None
        target = registry.resolve(name, kind="alias")
        return None if target is None else str(target)

    def model_info(self, deployment_id: str, model: str) -> Mapping[str, Any]:
        """What the price table says of a deployment; empty where LiteLLM does not know the model.

        `base_model` in it is the model whose prices count, where the deployment names one.
        """
        registry = self.router.registry()
        info: Mapping[str, Any] = registry.deployment_model_info(deployment_id, model) or {}
        deployment: Mapping[str, Any] = registry.deployment_dict(deployment_id) or {}
        if (base := (deployment.get("model_info") or {}).get("base_model")) is not None:
            return {**info, "base_model": base}
        if (base := (deployment.get("litellm_params") or {}).get("base_model")) is not None:
            # where LiteLLM takes it for a price, but not for what it tells of the deployment
            return {**info, **_model_info(base), "base_model": base}
        return info

    def filters_by_tags(self) -> bool:
        """Whether the Router picks deployments by a request's tags."""
        return bool(self.router.settings().enable_tag_filtering)

    def default_parameters(self) -> Mapping[str, Any]:
        """What the Router adds to every call."""
        defaults: Mapping[str, Any] = self.router.settings().default_litellm_params or {}
        return defaults

    def settings(self) -> Mapping[str, Any]:
        """The settings that the Router says it has: those that can change while it runs, as plain values."""
        plain: Mapping[str, Any] = self.router.settings().as_dict()
        return plain

    def setting(self, name: str) -> Any:
        """One setting by the name of its constructor argument; None where the Router does not tell."""
        settings = self.router.settings()
        plain = settings.as_dict()
        return plain[name] if name in plain else getattr(settings, name, None)

    def arguments(self) -> Mapping[str, Any] | None:
        """The arguments that the Router was made with, as they were passed; None where it does not tell.

        No entry point tells of client_ttl, polling_interval and others: settings are what can change later.
        """
        config = getattr(getattr(self.router, "_core", None), "_config", None)
        arguments = getattr(config, "arguments", None)
        return arguments if isinstance(arguments, Mapping) else None

    def plugins(self) -> list[Any]:
        """The routing plugins, in the order in which they run."""
        return list(self.router.registry().plugins("routing"))

    def custom_strategy(self) -> object | None:
        """The routing strategy that the user has registered; None where LiteLLM's own pick.

        What `register_plugin` takes, no entry point gives back.
        """
        strategy = getattr(getattr(self.router, "_core", None), "_custom_strategy", None)
        return None if type(strategy).__module__.startswith("litellm.") else strategy

    def optional_checks(self) -> list[Any] | None:
        """The optional checks that the Router makes before a call; None where it does not tell.

        They can be changed while it runs, and no entry point names them.
        """
        if not hasattr(self.router, "optional_callbacks"):
            return None
        return list(self.router.optional_callbacks or ())

    def change(self, upsert: Iterable[Mapping[str, Any]] = (), delete: Iterable[str] = ()) -> None:
        """Add or replace deployments, given as in a model list with their ids, and remove others by id."""
        changed = [litellm.types.router.Deployment(**deployment) for deployment in upsert]
        changes = litellm.router_api.ChangeSet(upsert=changed, delete=list(delete))
        self.router.apply(changes)

    def method(self, name: str) -> Callable[..., Any]:
        """The Router's method for a call."""
        method: Callable[..., Any] = getattr(self.router, name)
        return method

    def has(self, name: str) -> bool:
        """Whether the Router has a member of this name."""
        return name in _public_names()

    def retire(self) -> None:
        """Have LiteLLM's lists of callbacks let go of the Router."""
        self.router.retire()

    def changing(self) -> AbstractContextManager[object]:
        """Keeps other threads from changing the list of deployments, so that a write loses none of theirs.

        LiteLLM holds this lock for each of its own changes and offers no public way to it. Without one, a
        deployment that is added between our reading of the list and LiteLLM's taking of it would be lost.
        """
        lock = getattr(self.live, "_lock", None)
        return lock if isinstance(lock, AbstractContextManager) else nullcontext()


def constructor_arguments() -> tuple[str, ...]:
    """The names of the arguments that `litellm.Router` takes."""
    return tuple(inspect.signature(litellm.Router).parameters)


def mirrored_call() -> AbstractContextManager[None]:
    """Within this, LiteLLM marks calls as mirrored in all that its loggers get.

    It reads the mark from a context variable alone, which has no public name. Where that is gone, silent
    calls are marked by their tags and metadata only.
    """
    try:
        from litellm._internal_context import mirrored_call as mark
    except ImportError:
        return nullcontext()
    context: AbstractContextManager[None] = mark()
    return context


def _model_info(model: str) -> Mapping[str, Any]:
    try:
        known: Mapping[str, Any] = litellm.get_model_info(model)
    except Exception:  # LiteLLM raises a bare one for a model that it does not know
        return {}
    return known


@cache
def _public_names() -> frozenset[str]:
    # listed and not read: reading a name that is deprecated would warn
    return frozenset(name for name in dir(litellm.Router) if not name.startswith("_"))


def _check(router: litellm.Router) -> None:
    # in this order: the later ones are read through the earlier ones
    for path, names in _NEEDED.items():
        owner = litellm if path == "litellm" else _owner(router, path)
        for name in names:
            if not hasattr(owner, name):
                raise ConfigError(
                    f"LiteLLM {version('litellm')} has no {path}.{name}; mirrorkit needs {WANTED}. "
                    f"Install it with `pip install '{WANTED}'`."
                )


def _owner(router: litellm.Router, path: str) -> Any:
    _, _, entry_point = path.partition(".")
    return getattr(router, entry_point.removesuffix("()"))() if entry_point else router
