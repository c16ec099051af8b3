"""What a session is told that is not a number: read, and refused where it makes no sense."""

from collections.abc import Mapping, Sequence
from inspect import iscoroutinefunction

from mirrorkit.capture.policy import Policy
from mirrorkit.capture.router.adapter import Adapter
from mirrorkit.capture.router.config import as_names
from mirrorkit.errors import ConfigError
from mirrorkit.records import CONTROL

SilentModel = str | Sequence[str] | Mapping[str, str | Sequence[str]] | None


def silent_groups(silent_model: SilentModel) -> dict[str | None, tuple[str, ...]]:
    """The silent groups of each primary group; those of the key None are every group's."""
    if isinstance(silent_model, Mapping):
        if not all(isinstance(group, str) for group in silent_model):
            raise ConfigError("silent_model: give a dict with the names of model groups as keys.")
        return {group: as_names(names) for group, names in silent_model.items()}
    names = as_names(silent_model)
    return {None: names} if names else {}


def check_groups(adapter: Adapter, silent: Mapping[str | None, Sequence[str]], policy: Policy) -> None:
    """Say what is wrong with the silent models, the session's and the deployments' own."""
    told = [(group, name) for group, names in silent.items() for name in names]
    told += [(group, name) for group, names in adapter.silent_models() for name in names]
    groups = adapter.groups()
    for group, name in told:
        for known in (group, name):
            if known is not None and not adapter.knows(known):
                where = "silent_model" if group is None else f"silent_model of {group!r}"
                raise ConfigError(f"{where}: {known!r} is no model group of this Router, which has {groups}.")
        if name == CONTROL:
            raise ConfigError(f"silent_model: {CONTROL!r} is the name of the control arm; rename that group.")
        if group == name or (group is None and groups == [name]):
            raise ConfigError(
                f"silent_model: {name!r} would mirror onto itself; control= compares a model with itself."
            )
    if not told and policy.control == 0:
        raise ConfigError(
            f"nothing to mirror to: no deployment has a silent_model. Give silent_model=, one of {groups}."
        )
    if policy.budget_usd is not None:
        for name in dict.fromkeys(name for _, name in told):
            if models := adapter.unpriced(name):
                raise ConfigError(
                    f"budget_usd={policy.budget_usd:g} cannot be kept: LiteLLM has no price for {name!r} "
                    f"({', '.join(models)}). Give its deployments an input_cost_per_token and an "
                    "output_cost_per_token, 0 where it is free."
                )


def check_callable(name: str, value: object) -> None:
    """Say so if a hook is no plain function."""
    if value is not None and not callable(value):
        raise ConfigError(f"{name}={value!r}: give a function.")
    if iscoroutinefunction(value):
        raise ConfigError(f"{name}={value!r}: give a plain function; an async one is never awaited here.")


def check_isolation(isolation: object) -> None:
    """Say so if there is no such place for silent calls to run in."""
    if isolation not in ("shared", "process"):
        raise ConfigError(f'isolation={isolation!r}: use "shared" or "process".')
