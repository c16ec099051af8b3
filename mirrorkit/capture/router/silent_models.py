"""The `silent_model` of a Router's deployments: taken over while a session is open, and given back."""

import threading
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from time import monotonic, sleep
from typing import Any

import litellm

from mirrorkit.capture.router.entry_points import EntryPoints
from mirrorkit.errors import MirrorWarning

Edit = Callable[[Mapping[str, Any]], Any]
"""What a deployment's `silent_model` is to be, or _UNCHANGED."""
_UNCHANGED = object()

_OPENING_S = 2.0
"""How long a session that opens waits for deployments that another thread is adding."""
_CLOSING_S = 10.0
"""The same for one that closes: nobody would put the settings back after it."""
_STILL_S = 0.1
"""After this time without a change nothing is being added: a write to the live list has left it so."""
_PAUSE_S = 0.001

# Two sessions may share a Router, as when a notebook cell runs again: its settings go back with the last.
# A Router offers no place of its own to keep them, so this is the one piece of shared state.
_OF: "weakref.WeakKeyDictionary[litellm.Router, SilentModels]" = weakref.WeakKeyDictionary()
_OF_LOCK = threading.RLock()


class SilentModels:
    """What the deployments of one Router mirror to, kept for all sessions on it.

    In the Router each is replaced by an empty list, by which LiteLLM mirrors to nobody. That tells a
    deployment that was taken over from one that replaced it meanwhile and has no silent model.
    """

    def __init__(self) -> None:
        self._taken: dict[str, Any] = {}
        self._sessions = 0
        self._lock = threading.RLock()
        self._unsettled: tuple[object, float] = (None, 0.0)

    @classmethod
    def held(cls, router: litellm.Router) -> "SilentModels":
        """Those of this Router, for one session more."""
        with _OF_LOCK:
            models = _OF.setdefault(router, cls())
            models._sessions += 1
        return models

    def of(self, deployment: Mapping[str, Any]) -> Any:
        """What a deployment mirrors to, as its user has set it; None where nothing is set."""
        silent = deployment["litellm_params"].get("silent_model")
        return self._taken.get(_id(deployment)) if silent == [] else silent

    def take(self, entry: EntryPoints, opening: bool = False) -> None:
        """Keep LiteLLM from mirroring by itself; quick where there is nothing to take.

        What another thread is adding just now is waited for when a session opens; a request is not held up,
        and leaves it to the next one.
        """
        if any(map(_mirrors, entry.deployments())):
            self._rewrite(entry, self._take, _OPENING_S if opening else 0.0)

    def release(self, router: litellm.Router) -> None:
        """One session less; after the last one everything is as its user has set it."""
        with _OF_LOCK:
            self._sessions -= 1
        if self._sessions or not self._taken:
            return
        if self._rewrite(EntryPoints(router), self._put_back, _CLOSING_S, after=self._forget):
            return
        warnings.warn(
            "the Router's silent_model could not be put back: for "
            f"{_CLOSING_S:g} s its deployments have been replaced by another thread. Set it again.",
            MirrorWarning,
            stacklevel=2,
        )

    def _take(self, deployment: Mapping[str, Any]) -> Any:
        if not _mirrors(deployment):
            return _UNCHANGED
        self._taken[_id(deployment)] = deployment["litellm_params"]["silent_model"]
        return []

    def _put_back(self, deployment: Mapping[str, Any]) -> Any:
        # a session that was opened meanwhile holds what this one has taken
        if self._sessions or not _is_taken(deployment):
            return _UNCHANGED
        return self._taken.get(_id(deployment), _UNCHANGED)

    def _forget(self, deployments: Sequence[Mapping[str, Any]]) -> None:
        """Forget what was put back, and nothing else: the rest is for another that closes just now."""
        taken = {_id(deployment) for deployment in deployments if _is_taken(deployment)}
        self._taken = {own: silent for own, silent in self._taken.items() if own in taken}

    def _rewrite(
        self,
        entry: EntryPoints,
        edit: Edit,
        patience_s: float,
        after: Callable[[Sequence[Mapping[str, Any]]], None] = lambda _: None,
    ) -> bool:
        """Edit all deployments in one write, once no other thread changes them; False if one always does.

        `after` is given them as they are then, before anybody else may change them.
        """
        until = monotonic() + patience_s
        while True:
            # in this order everywhere: LiteLLM's lock, then ours
            with entry.changing(), self._lock:
                if self._is_settled(entry):
                    _write(entry.live, edit)
                    # read back: until LiteLLM shows it, it cannot be trusted to have taken it
                    deployments = entry.deployments()
                    if all(edit(deployment) is _UNCHANGED for deployment in deployments):
                        after(deployments)
                        return True
            if monotonic() >= until:
                return False
            sleep(_PAUSE_S)

    def _is_settled(self, entry: EntryPoints) -> bool:
        """Whether the list shows what the Router serves; while another thread adds to it, it does not."""
        state = [_id(deployment) for deployment in entry.deployments()], entry.ids()
        if state[0] == state[1]:
            return True
        if self._unsettled[0] != state:
            self._unsettled = state, monotonic()
        return monotonic() - self._unsettled[1] > _STILL_S


def _write(live: Any, edit: Edit) -> None:
    before = []
    for deployment in list(live):
        params = deployment["litellm_params"]
        if (value := edit(deployment)) is not _UNCHANGED:
            before.append((params, params["silent_model"]))
            # not the entry's own __setitem__, which hands LiteLLM all deployments each time
            dict.__setitem__(params, "silent_model", value)
    if before:
        try:
            live[:] = live
        except BaseException:
            for params, silent in before:
                dict.__setitem__(params, "silent_model", silent)
            raise


def _id(deployment: Mapping[str, Any]) -> str:
    return str(deployment["model_info"]["id"])


def _mirrors(deployment: Mapping[str, Any]) -> bool:
    """Whether LiteLLM would mirror a request to this deployment, by what can be taken over."""
    silent = deployment["litellm_params"].get("silent_model")
    return isinstance(silent, str | list | dict) and silent != []


def _is_taken(deployment: Mapping[str, Any]) -> bool:
    return bool(deployment["litellm_params"].get("silent_model") == [])
