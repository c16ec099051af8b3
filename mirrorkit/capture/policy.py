"""What is mirrored and what is not: pure decisions, and the counts of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from hashlib import blake2b
from math import inf
from typing import Any, Literal

from mirrorkit.errors import ConfigError

Reason = Literal[
    "sampled_out",
    "filtered",
    "over_budget",
    "saturated",
    "no_silent_model",
    "not_portable",
    "not_mirrored",
    "refused",
    "paused",
    "cancelled",
    "faulted",
]

_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_LONG_ANSWER = 1_000
"""Tokens of an answer to a request that sets no limit."""


def unit_hash(*parts: object) -> float:
    """A number in [0, 1) that depends on the parts alone, uniform over parts that differ.

    >>> unit_hash("a", 1) == unit_hash("a", 1), 0 <= unit_hash("b") < 1
    (True, True)
    """
    digest = blake2b("\x1f".join(map(str, parts)).encode("utf-8", "backslashreplace"), digest_size=8).digest()
    # 53 bits: more would round up to 1.0
    return (int.from_bytes(digest, "big") >> 11) / 2**53


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings of a session, checked at the door."""

    sample: float = 1.0
    control: float = 0.0
    budget_usd: float | None = None
    max_in_flight: int = 16
    max_waiting: int = 1_000
    timeout_s: float | None = None
    silent_retries: int | None = None
    seed: int | None = None
    mirror_rate: float | None = None
    forward: tuple[str, ...] = ()
    repeat_actions: bool = False
    exit_timeout_s: float = 15.0
    keep_media: bool = False

    def __post_init__(self) -> None:
        _within("sample", self.sample, 0, 1)
        _within("control", self.control, 0, 1)
        if self.budget_usd is not None:
            _within("budget_usd", self.budget_usd, 0)
        for name in ("timeout_s", "mirror_rate"):
            if (value := getattr(self, name)) is not None:
                _within(name, value, 0, above=True)
        _within("exit_timeout_s", self.exit_timeout_s, 0)
        for name, least in (("max_in_flight", 1), ("max_waiting", 0)):
            _whole(name, getattr(self, name), least)
        if self.silent_retries is not None:
            _whole("silent_retries", self.silent_retries, 0)
        if isinstance(self.forward, str) or not all(isinstance(name, str) for name in self.forward):
            raise ConfigError(f"forward={self.forward!r}: give a list of names of request parameters.")
        if self.seed is not None:
            _whole("seed", self.seed, None)

    def mirrors(self, request_id: str) -> bool:
        """Whether the sample takes this request: the same answer for the same id and seed."""
        return unit_hash(self.seed, "sample", request_id) < self.sample

    def controls(self, request_id: str) -> bool:
        """Whether this mirrored request also gets a control call, drawn before any output is seen."""
        return unit_hash(self.seed, "control", request_id) < self.control

    def sends_silent_first(self, request_id: str) -> bool:
        """Whether in a batch the silent calls of this request are sent before its primary."""
        return unit_hash(self.seed, "order", request_id) < 0.5


def _within(name: str, value: object, low: float, high: float | None = None, above: bool = False) -> None:
    wanted = f"above {low:g}" if above else f"from {low:g}" + ("" if high is None else f" to {high:g}")
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or not low <= value < inf
        or (above and value == low)
        or (high is not None and value > high)
    ):
        raise ConfigError(f"{name}={value!r}: give a number {wanted}.")


def _whole(name: str, value: object, least: int | None) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or (least is not None and value < least):
        raise ConfigError(
            f"{name}={value!r}: give a whole number" + ("." if least is None else f", {least} or more.")
        )


@dataclass(frozen=True, slots=True)
class Funnel:
    """How many requests came in, how many were mirrored, and why the others were not.

    `requests` is the sum of the others. `saturated` counts those that found `max_waiting` mirrors waiting;
    `not_portable` those whose provider runs a tool that may act (MCP, computer use), or has stored a part of
    the request, so that no other model can answer it; `not_mirrored` those of call types that are only passed
    on to the Router, which `not_mirrored_by_call_type` names; `refused` those that the Router refused before
    it picked a deployment; `paused` those made after `session.pause()`, or with `MIRRORKIT_DISABLED=1`;
    `faulted` those that a fault of mirrorkit's or of a `where` filter kept from being mirrored; `under_way`
    those whose primary has not settled yet.
    """

    requests: int = 0
    mirrored: int = 0
    sampled_out: int = 0
    filtered: int = 0
    over_budget: int = 0
    saturated: int = 0
    no_silent_model: int = 0
    not_portable: int = 0
    not_mirrored: int = 0
    refused: int = 0
    paused: int = 0
    cancelled: int = 0
    faulted: int = 0
    under_way: int = 0
    not_mirrored_by_call_type: Mapping[str, int] = field(default_factory=dict)

    def __getitem__(self, name: str) -> int:
        return self.as_dict()[name]

    def as_dict(self) -> dict[str, int]:
        """The counts by name.

        >>> Funnel(requests=3, mirrored=2, filtered=1)["mirrored"]
        2
        """
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "not_mirrored_by_call_type"}


def cost_by_tokens(price: tuple[float, float], tokens: tuple[int, int] | None) -> float | None:
    """What a call costs at a price of a token given and of one made, in US dollars; None if unknown.

    >>> cost_by_tokens((1e-6, 4e-6), (1_000, 500)), cost_by_tokens((0.0, 0.0), (1_000, 500))
    (0.003, None)
    """
    if tokens is None or price == (0.0, 0.0):
        return None
    return price[0] * tokens[0] + price[1] * tokens[1]


def guessed_tokens(request: Mapping[str, Any]) -> tuple[int, int]:
    """About how many tokens a request takes, given and made, before any answer has told: not too few.

    >>> guessed_tokens({"messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 50})
    (13, 50)
    """
    try:
        payload = str(request.get("messages", request.get("input", "")))
    except Exception:  # whatever an object raises that will not be shown
        payload = ""
    most = next((request[name] for name in _LIMITS if type(request.get(name)) is int), _LONG_ANSWER)
    return len(payload) // 3, most


@dataclass(frozen=True, slots=True)
class Spending:
    """What calls besides the primaries have cost, and what those under way will, in US dollars.

    `judged` is the part of `spent` that went to a judge; `priced` counts silent calls whose cost is known,
    and `begun` those under way, which are expected to cost `reserved`. `elsewhere` is what other sessions on
    the same record have spent and will: the limit is for all of them.
    """

    limit: float | None = None
    spent: float = 0.0
    priced: int = 0
    reserved: float = 0.0
    begun: int = 0
    judged: float = 0.0
    elsewhere: float = 0.0

    def allows(self, *expected: float) -> bool:
        """Whether calls of these expected costs may be sent, those under way counted at theirs.

        All but the dearest must fit, so that the limit is overstepped by one call at most.
        """
        if self.limit is None:
            return True
        fit = sum(sorted(expected)[:-1])
        return self.spent + self.reserved + self.elsewhere + fit < self.limit

    def expect(
        self,
        by_tokens: float | None,
        primary_cost: float | None,
        has_price: bool = True,
        guess: float | None = None,
    ) -> float:
        """What a silent call will cost: by its price and the primary's tokens, where both are known.

        Where they are not it is the mean so far, and before there is one, what the primary cost, else the
        mean of what those under way are expected to. Of the very first it is the guess, and with none it may
        be all that is left, unless the model has no price at all.
        """
        if by_tokens is not None:
            return by_tokens
        if self.priced:
            return max(0.0, self.spent - self.judged) / self.priced
        if primary_cost:
            return primary_cost
        if self.limit is None or not has_price:
            return 0.0
        if self.reserved > 0 and self.begun:
            return self.reserved / self.begun
        if guess is not None:
            return guess
        return max(0.0, self.limit - self.spent - self.reserved - self.elsewhere)

    def reserve(self, *expected: float) -> "Spending":
        """Calls, or a judge's work on a pair, were begun."""
        return replace(self, reserved=self.reserved + sum(expected), begun=self.begun + len(expected))

    def settle(self, expected: float, cost: float | None) -> "Spending":
        """A silent call ended; an unknown cost adds nothing to what is known to be spent."""
        # a hair of floating-point dust must not refuse a call
        reserved = max(0.0, self.reserved - expected)
        begun = self.begun - 1
        if cost is None:
            return replace(self, reserved=reserved, begun=begun)
        return replace(self, spent=self.spent + cost, priced=self.priced + 1, reserved=reserved, begun=begun)

    def settle_judge(self, expected: float, known_cost: float) -> "Spending":
        """A judge's work on a pair ended, whose price says nothing of a silent call's."""
        settled = self.settle(expected, None)
        return replace(settled, spent=self.spent + known_cost, judged=self.judged + known_cost)
