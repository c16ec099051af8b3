"""What of a Router and of LiteLLM's settings goes to another process, and how it is set up there."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import cloudpickle
import litellm
from litellm.integrations.custom_logger import CustomLogger

# which logger LiteLLM has made of a name; it has no way to ask the other way round
from litellm.litellm_core_utils.litellm_logging import get_custom_logger_compatible_class
from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

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
_STRUCTURED = ("_params", "_settings", "_config", "_map", "headers")
# A silent call never falls back nor answers from a cache; `timeout` is among the default parameters.
_NOT_FOR_SILENT_CALLS = (
    "model_list",
    "fallbacks",
    "default_fallbacks",
    "context_window_fallbacks",
    "content_policy_fallbacks",
    "fallback_access_check",
    "fallback_budget_check",
    "cache_responses",
    "alerting_config",
    "timeout",
)


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

    router_type: Any
    """a reference to the Router's class"""
    model_list: Sequence[Mapping[str, Any]] = field(repr=False)
    router_settings: Mapping[str, Any] = field(repr=False)
    litellm_settings: Mapping[str, Any] = field(repr=False)
    prices: Mapping[str, Any] = field(repr=False)
    callbacks: Mapping[str, Sequence[Any]] = field(repr=False)
    """by the name of LiteLLM's list: names of loggers, references, and objects that can be copied"""
    providers: Sequence[Any] = field(repr=False)
    """LiteLLM's `custom_provider_map`"""

    def build(self) -> litellm.Router:
        """Set LiteLLM up in this process and make the Router."""
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
        router: litellm.Router = _arrived(self.router_type)(model_list=models, **self.router_settings)
        return router


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
    return Blueprint(
        router_type=_portable(type(router), "the Router's class"),
        model_list=router.model_list,
        router_settings=dict(_settings_of(router) if settings is None else settings),
        litellm_settings=dict(_plain_settings()),
        prices=litellm.model_cost,
        callbacks={name: tuple(_callbacks(name)) for name in _CALLBACKS},
        providers=tuple(
            {**entry, "custom_handler": _portable(entry["custom_handler"], "litellm.custom_provider_map")}
            for entry in litellm.custom_provider_map
        ),
    )


async def flush_loggers() -> None:
    """Have LiteLLM's loggers hear of what ended, and send what they hold, as the process is about to end."""
    await GLOBAL_LOGGING_WORKER.flush()
    loggers = {id(logger): logger for name in _CALLBACKS for logger in getattr(litellm, name)}
    for logger in loggers.values():
        if (flush := getattr(logger, "flush_queue", None)) is not None:
            await flush()


def _settings_of(router: litellm.Router) -> Iterator[tuple[str, Any]]:
    """The arguments of the Router's constructor that it still knows, under their own names."""
    for name in litellm.Router.get_valid_args():
        if name not in _NOT_FOR_SILENT_CALLS and getattr(router, name, None) is not None:
            yield name, getattr(router, name)
    yield "timeout", router.default_litellm_params.get("timeout")


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
    return type(owner).__module__.startswith("litellm.router") or type(owner) is CustomLogger


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


def culprit(blueprint: Blueprint) -> str:
    """The name of what cannot be copied."""
    named = [
        *((f"{key} of deployment {d.get('model_name')!r}", value) for d in blueprint.model_list
          for key, value in d.get("litellm_params", {}).items()),
        *((f"the Router's {name}", value) for name, value in blueprint.router_settings.items()),
        *((f"litellm.{name}", value) for name, value in blueprint.callbacks.items()),
    ]  # fmt: skip
    for name, value in named:
        try:
            cloudpickle.dumps(value)
        except Exception:
            return name
    return "a setting"


def _said(error: Exception) -> str:
    # not its text: it may hold the value, a key among it
    return type(error).__name__
