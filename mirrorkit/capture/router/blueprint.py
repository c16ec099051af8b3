"""What of a Router and of LiteLLM's settings goes to another process, and how it is set up there."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, Self

import cloudpickle
import litellm
from litellm.integrations.custom_logger import CustomLogger

# which logger LiteLLM has made of a name; it has no way to ask the other way round
from litellm.litellm_core_utils.litellm_logging import get_custom_logger_compatible_class
from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

from mirrorkit.capture.router.arguments import carried_arguments
from mirrorkit.capture.router.entry_points import EntryPoints
from mirrorkit.capture.scrub import secrets_in
from mirrorkit.errors import ConfigError

_HERE_ONLY = 'Move it to a module that can be imported, or use isolation="shared".'

# Where LiteLLM is told whom to call. The last two have no public name: LiteLLM moves async functions there.
_CALLBACKS = (
    "callbacks",
    "input_callback",
    "success_callback",
    "failure_callback",
    "service_callback",
    "_async_success_callback",
    "_async_failure_callback",
)
# Objects that calls depend on and that live in one process.
_OBJECTS = ("client_session", "aclient_session", "secret_manager_client")
# Settings that are more than one plain value.
_RICH = ("credential_list",)
_STRUCTURED = ("_params", "_settings", "_config", "_map", "_labels", "_tags", "headers")
# What a Router puts into LiteLLM's lists for itself; its alerts are of primaries.
_ROUTERS_OWN = ("litellm.router", "litellm.integrations.SlackAlerting")


@dataclass(frozen=True, slots=True)
class Reference:
    """The name of something that another process can import.

    >>> Reference("json.decoder", "JSONDecoder.decode").found().__name__
    'decode'
    """

    module: str
    path: str

    def found(self) -> Any:
        """What has this name here."""
        found: Any = import_module(self.module)
        for name in self.path.split("."):
            found = getattr(found, name)
        return found


@dataclass(frozen=True, slots=True)
class Blueprint:
    """All that a process needs to make the calls that this one would make; it holds keys."""

    model_list: Sequence[Mapping[str, Any]] = field(repr=False)
    """the deployments, none of which mirrors by itself"""
    arguments: Mapping[str, Any] = field(repr=False)
    """the Router's other arguments, but for its plugins"""
    plugins: Sequence[Any] = field(repr=False)
    litellm_settings: Mapping[str, Any] = field(repr=False)
    prices: Mapping[str, Any] = field(repr=False)
    callbacks: Mapping[str, Sequence[Any]] = field(repr=False)
    """by the name of LiteLLM's list: names of loggers, references, and objects that can be copied"""
    providers: Sequence[Any] = field(repr=False)
    """LiteLLM's `custom_provider_map`"""

    def build(self) -> litellm.Router:
        """Set LiteLLM up in this process and make the Router; within a loop, as budgets need one."""
        for name, value in self.litellm_settings.items():
            setattr(litellm, name, value)
        litellm.model_cost.clear()
        litellm.model_cost.update(self.prices)
        for name, callbacks in self.callbacks.items():
            getattr(litellm, name).extend(_arrived(each) for each in callbacks)
        if self.providers:
            litellm.custom_provider_map = [
                {**entry, "custom_handler": _arrived(entry["custom_handler"])} for entry in self.providers
            ]
        models = [dict(deployment) for deployment in self.model_list]
        plugins = [_arrived(plugin) for plugin in self.plugins]
        return litellm.Router(model_list=models, plugins=plugins, **self.arguments)

    def with_models(self, deployments: Iterable[Mapping[str, Any]]) -> Self:
        """The blueprint of the Router when it has these deployments."""
        return replace(self, model_list=silenced(deployments))

    def named(self) -> Iterator[tuple[str, Any]]:
        """Each value of the user's in it, with what to call it."""
        yield from parameters_of(self.model_list)
        yield from ((f"the Router's {name}", value) for name, value in self.arguments.items())
        yield from ((f"litellm.{name}", value) for name, value in self.callbacks.items())

    def secrets(self) -> frozenset[str]:
        """The credentials in it."""
        known = [deployment["litellm_params"] for deployment in self.model_list]
        known += [self.arguments.get("default_litellm_params") or {}, self.litellm_settings]
        return frozenset[str]().union(*map(secrets_in, known))


def blueprint_of(router: litellm.Router, settings: Mapping[str, Any] | None = None) -> Blueprint:
    """What it takes to build this Router elsewhere; `settings` are those it was made with, where known.

    Raises ConfigError for what cannot be taken along, and names it.
    """
    for name in _OBJECTS:
        if getattr(litellm, name, None) is not None:
            raise ConfigError(
                f'isolation="process": litellm.{name} is an object of this process, which a child process '
                'cannot have; leave it unset, or use isolation="shared".'
            )
    entry = EntryPoints(router)
    return Blueprint(
        model_list=silenced(entry.deployments()),
        arguments=carried_arguments(entry, settings),
        plugins=tuple(_portable(plugin, "the Router's plugins") for plugin in entry.plugins()),
        litellm_settings=dict(_plain_settings()),
        prices=litellm.model_cost,
        callbacks={name: tuple(_callbacks(name)) for name in _CALLBACKS},
        providers=tuple(
            {**each, "custom_handler": _portable(each["custom_handler"], "litellm.custom_provider_map")}
            for each in litellm.custom_provider_map
        ),
    )


def silenced(deployments: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Deployments as in a model list, without their `silent_model`: the child only makes calls."""
    return tuple(
        {
            **deployment,
            "litellm_params": {k: v for k, v in deployment["litellm_params"].items() if k != "silent_model"},
        }
        for deployment in deployments
    )


async def flush_loggers() -> None:
    """Have LiteLLM's loggers hear of what ended, and send what they hold, as the process is about to end."""
    await GLOBAL_LOGGING_WORKER.flush()
    loggers = {id(logger): logger for name in _CALLBACKS for logger in getattr(litellm, name)}
    for logger in loggers.values():
        if (flush := getattr(logger, "flush_queue", None)) is not None:
            await flush()


def _plain_settings() -> Iterator[tuple[str, Any]]:
    """LiteLLM's settings: the plain values among the public names of its module."""
    for name, value in vars(litellm).items():
        if name.startswith("_") or not name.islower() or name in _CALLBACKS:
            continue
        is_atom = value is None or isinstance(value, bool | int | float | str)
        if is_atom or name in _RICH or (name.endswith(_STRUCTURED) and _is_plain(value)):
            yield name, value


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(each) for key, each in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _callbacks(name: str) -> Iterator[Any]:
    everywhere = () if name == "callbacks" else tuple(litellm.callbacks)
    for callback in getattr(litellm, name):
        # LiteLLM puts those of `callbacks` into the other lists, here and there
        if any(callback is known for known in everywhere) or _is_litellms_own(callback):
            continue
        if (logger := _name_of_logger(callback)) is None:
            yield _portable(callback, f"litellm.{name}")
        elif logger not in everywhere:
            yield logger


def _is_litellms_own(callback: Any) -> bool:
    """Whether LiteLLM put it there for itself, as every Router does."""
    owner = getattr(callback, "__self__", callback)
    # a bare logger stands for one that LiteLLM's edition lacks, and does nothing
    return type(owner).__module__.startswith(_ROUTERS_OWN) or type(owner) is CustomLogger


def _name_of_logger(callback: Any) -> str | None:
    """The name that LiteLLM has made this logger of, or that it is still to make it of."""
    if isinstance(callback, str):
        return callback
    # the list has no public name; asked for a logger that is not set up, LiteLLM logs an error
    known: Sequence[str] = litellm._known_custom_logger_compatible_callbacks
    likely = [name for name in known if name in type(callback).__module__]
    found = (name for name in likely if get_custom_logger_compatible_class(name) is callback)
    return max(found, key=len, default=None)


def _portable(value: Any, where: str) -> Any:
    """A handler as another process can have it: by its name, else as a copy; ConfigError if neither."""
    kind = value if isinstance(value, type) or hasattr(value, "__qualname__") else type(value)
    shown = getattr(kind, "__qualname__", type(value).__name__)
    if (reference := _reference(value)) is not None:
        return reference
    if (method := getattr(value, "__func__", None)) is not None:
        owner = _portable(value.__self__, where)
        return (owner, method.__name__)
    if getattr(kind, "__module__", None) in (None, "__main__") or "<" in shown or kind is value:
        raise ConfigError(
            f'isolation="process": {where}: {shown!r} is defined in a notebook cell, a script or '
            f"a function, where a child process cannot import it. {_HERE_ONLY}"
        )
    try:
        cloudpickle.dumps(value)
    except Exception as error:
        raise ConfigError(
            f'isolation="process": {where}: a {shown!r} cannot be copied to a child process '
            f'({_said(error)}). Make it in a module, under a name of its own, or use isolation="shared".'
        ) from None
    return value


def _reference(value: Any) -> Reference | None:
    """The importable name of a function, a class or an object that a module holds."""
    module, path = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if isinstance(module, str) and isinstance(path, str) and module != "__main__" and "<" not in path:
        reference = Reference(module, path)
        return reference if _is_found(reference, value) else None
    for name, loaded in tuple(sys.modules.items()):
        if name == "__main__" or (spec := getattr(loaded, "__spec__", None)) is None or spec.name != name:
            continue
        for held, found in tuple(vars(loaded).items()):
            if found is value:
                return Reference(name, held)
    return None


def _is_found(reference: Reference, value: Any) -> bool:
    try:
        return reference.found() is value
    except (ImportError, AttributeError):
        return False


def _arrived(value: Any) -> Any:
    if isinstance(value, Reference):
        return value.found()
    if isinstance(value, tuple):
        owner, method = value
        return getattr(_arrived(owner), method)
    return value


def parameters_of(deployments: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Each parameter of these deployments, with what to call it."""
    for deployment in deployments:
        for key, value in deployment["litellm_params"].items():
            yield f"{key} of deployment {deployment['model_name']!r}", value


def culprit(named: Iterable[tuple[str, Any]]) -> str:
    """The name of what cannot be copied."""
    for name, value in named:
        try:
            cloudpickle.dumps(value)
        except Exception:  # whatever an object's own way of being copied raises
            return name
    return "a setting"


def _said(error: Exception) -> str:
    # not its text: it may hold the value, a key among it
    return type(error).__name__
