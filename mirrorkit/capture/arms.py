"""Which model groups a request is mirrored to, and what of it each of them is sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mirrorkit.capture.books import Books
from mirrorkit.capture.exchange import Asked
from mirrorkit.capture.policy import Policy
from mirrorkit.capture.portability import Forwarded, Relation, forwarded, is_unknown, obstacle
from mirrorkit.capture.router.adapter import Adapter
from mirrorkit.records import CONTROL, Request


@dataclass(frozen=True, slots=True)
class Arm:
    """One silent call that is to be made: of which model group, and what it may be sent."""

    name: str
    group: str
    forwarded: Forwarded


class Arms:
    """Tells the arms of a request.

    `silent` maps a primary group to the silent groups that the session was told of; the key None stands for
    every group.
    """

    def __init__(
        self, adapter: Adapter, policy: Policy, silent: Mapping[str | None, Sequence[str]], books: Books
    ) -> None:
        self._adapter = adapter
        self._policy = policy
        self._silent = silent
        self._books = books

    def may_be(self, group: str) -> bool:
        """Whether a request to this model group may have arms."""
        names = {None, group, self._adapter.resolved(group)}
        told = bool(names & self._silent.keys())
        return self._policy.control > 0 or told or self._adapter.has_silent_models()

    def only_primary(self) -> str | None:
        """The one model group that is no silent one, if there is just one."""
        silent = {name for names in self._silent.values() for name in names}
        silent |= {name for _, names in self._adapter.silent_models() for name in names}
        primaries = [group for group in self._adapter.groups() if group not in silent]
        return primaries[0] if len(primaries) == 1 else None

    def of(
        self, asked: Asked, deployments: Sequence[str]
    ) -> tuple[Arm, ...] | Literal["no_silent_model", "not_portable"]:
        """The arms of a request that one of these deployments serves, or why it has none."""
        groups = self._groups(asked.request, deployments[0] if deployments else None)
        if not groups:
            return "no_silent_model"
        relations = {arm: self._relation(arm, group, deployments) for arm, group in groups.items()}
        why = obstacle(asked.copied, asked.endpoint.payload)
        if why is not None:
            # who has the account has what is stored; and what acts, acts for control alone
            served = ("own group",) if why == "action" else ("own group", "same account")
            groups = {arm: group for arm, group in groups.items() if relations[arm] in served}
        arms = [Arm(arm, group, self._forwarded(asked, relations[arm])) for arm, group in groups.items()]
        return tuple(arms) or "not_portable"

    def _groups(self, request: Request, picked: str | None) -> dict[str, str]:
        """The model group that each arm is sent to."""
        own = {request.model_group, self._adapter.resolved(request.model_group)}
        told = [name for key in (None, *sorted(own)) for name in self._silent.get(key, ())]
        groups = {name: name for name in (*told, *self._adapter.targets(picked)) if name not in own}
        if self._policy.controls(request.request_id):
            groups[CONTROL] = request.model_group
        return groups

    def _relation(self, arm: str, group: str, deployments: Sequence[str]) -> Relation:
        if arm == CONTROL:
            return "own group"
        found = {self._adapter.relation(each, group) for each in deployments}
        order: tuple[Relation, ...] = ("other provider", "same provider", "same account")
        return next((each for each in order if each in found), "other provider")

    def _forwarded(self, asked: Asked, relation: Relation) -> Forwarded:
        endpoint, named = asked.endpoint, self._policy.forward
        found = forwarded(asked.copied, endpoint.call_type, endpoint.metadata, relation, named)
        if unknown := [name for name in found.stripped if is_unknown(name)]:
            self._books.warn_unknown(unknown)
        return found
