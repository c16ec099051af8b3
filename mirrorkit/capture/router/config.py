"""A LiteLLM config.yaml, read and checked; nothing here knows LiteLLM."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mirrorkit.errors import ConfigError

_ENVIRON = "os.environ/"


@dataclass(frozen=True, slots=True)
class Config:
    """What mirrorkit takes from a LiteLLM config: the model list and the settings of Router and module."""

    model_list: Sequence[Any]
    router_settings: Mapping[str, Any] = field(default_factory=dict)
    litellm_settings: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Say what is wrong with the model list, before LiteLLM sees it.

        Raises:
            ConfigError: the list is empty, or an entry lacks its name or model, or has an odd silent model.
        """
        if not self.model_list:
            raise ConfigError("the model list is empty: give at least one deployment.")
        for n, entry in enumerate(self.model_list):
            if not isinstance(entry, Mapping):
                raise ConfigError(f"model_list[{n}] is a {type(entry).__name__}: give a dict.")
            params = entry.get("litellm_params")
            if not isinstance(entry.get("model_name"), str) or not entry["model_name"]:
                raise ConfigError(f"model_list[{n}] has no model_name: give the name of its model group.")
            if not isinstance(params, Mapping) or not isinstance(params.get("model"), str):
                name = entry["model_name"]
                raise ConfigError(f"model_list[{n}] ({name!r}) has no litellm_params with a model: add one.")
            as_names(params.get("silent_model"), f"silent_model of model_list[{n}] ({entry['model_name']!r})")


def read_config(path: str | os.PathLike[str]) -> Config:
    """Read a LiteLLM `config.yaml`, with its `os.environ/NAME` values filled in.

    Args:
        path: the file.

    Raises:
        ConfigError: there is no such file, it is no YAML, or it names a variable that is not set.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # no such file, no text, no path
        reason = getattr(error, "strerror", None) or "it is no text file"
        raise ConfigError(f"cannot read {str(file)!r}: {reason}.") from None
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # the parser's message quotes the line, which may hold a key: say where, not what
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark is not None else ""
        raise ConfigError(f"{str(file)!r} is no YAML{where}.") from None
    if not isinstance(content, dict) or "model_list" not in content:
        raise ConfigError(f"{str(file)!r} has no model_list: give a LiteLLM config.yaml.")
    parts = {name: _section(content, name, file) for name in ("router_settings", "litellm_settings")}
    models = content["model_list"]
    if not isinstance(models, list):
        raise ConfigError(f"model_list of {str(file)!r} is a {type(models).__name__}: give a list.")
    try:
        return Config(_filled(models, "model_list"), **parts)
    except RecursionError:
        raise ConfigError(f"model_list of {str(file)!r} holds itself: give a plain list.") from None


def as_names(silent: object, what: str = "silent_model") -> tuple[str, ...]:
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
        kind = "dict" if isinstance(odd, Mapping) else type(odd).__name__
        shown = f"a {kind}" if isinstance(odd, Iterable) and odd else repr(odd)
        raise ConfigError(f"{what}: {shown} is no name; give the name of a model group, or a list of names.")
    return tuple(dict.fromkeys(names))


def _section(content: Mapping[str, Any], name: str, file: Path) -> dict[str, Any]:
    section = content.get(name) or {}
    if not isinstance(section, dict):
        raise ConfigError(f"{name} of {str(file)!r} is a {type(section).__name__}: give a mapping.")
    filled: dict[str, Any] = _filled(section, name)
    return filled


def _filled(value: Any, where: str) -> Any:
    if isinstance(value, dict):
        return {k: _filled(v, f"{where}.{k}") for k, v in value.items()}
    if isinstance(value, list):
        return [_filled(v, f"{where}[{n}]") for n, v in enumerate(value)]
    if isinstance(value, str) and value.startswith(_ENVIRON):
        name = value.removeprefix(_ENVIRON)
        if name not in os.environ:
            raise ConfigError(f"{where} is {value!r}, but the variable {name} is not set: set it.")
        return os.environ[name]
    return value
