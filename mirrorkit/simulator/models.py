"""What a simulated model is, and what each call of it meets: how slow, which fault, whether worded anew.

Nothing here draws random numbers: every choice is a hash of what it depends on, so that a run can
be repeated in any process and in any order.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, Literal, get_args

from mirrorkit.errors import ConfigError

Fault = Literal["429", "500", "400", "401", "hang", "cut", "garbage"]
FAULTS: tuple[str, ...] = get_args(Fault)
STYLES = ("plain", "brief", "chatty")

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class SimulatedModel:
    """A model the simulator serves: how fast it is, how it words its answers, how often it fails.

    Times are medians, in seconds: `ttft_s` until the first token, `token_s` for each output token;
    `sigma` is the standard deviation of the logarithm of both. `words` is the typical length of an
    answer in words, `style` its wording: "plain", "brief" or "chatty". `agreement` is the share of
    prompts on which the model gives the answer that all models share. `errors` maps a fault ("429",
    "500", "400", "401", "hang", "cut", "garbage") to its share of the requests. `dimensions` is the
    length of an embedding.

    `variation` is the share of calls worded unlike another call of the same request, so it is how often
    a model mirrored to itself differs from itself. It changes prose, and in JSON only the prose fields
    and the confidence. `agreement` stays a matter of the prompt: both wordings are of the same voice.
    `omits` are the names of fields that the model leaves out of its JSON answers, whatever the schema says.

    Raises ConfigError for a value out of range, an unknown style or an unknown fault.

    >>> SimulatedModel("gpt-4o", ttft_s=0.3, errors={"429": 0.02}).style
    'plain'
    """

    name: str
    ttft_s: float = 0.02
    token_s: float = 0.0005
    sigma: float = 0.25
    words: int = 24
    style: str = "plain"
    agreement: float = 0.5
    variation: float = 0.0
    errors: Mapping[str, float] = field(default_factory=dict)
    dimensions: int = 8
    omits: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise ConfigError(f"style={self.style!r} of {self.name!r}: take one of {', '.join(STYLES)}")
        for name in ("ttft_s", "token_s", "sigma"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name}={getattr(self, name)!r} of {self.name!r}: must be 0 or more")
        for name in ("words", "dimensions"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)!r} of {self.name!r}: must be 1 or more")
        for name in ("agreement", "variation"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}={getattr(self, name)!r} of {self.name!r}: must lie in 0 to 1")
        for fault, part in self.errors.items():
            if fault not in FAULTS:
                raise ConfigError(
                    f"errors of {self.name!r}: unknown fault {fault!r}; take {', '.join(FAULTS)}"
                )
            if not 0 <= part <= 1:
                raise ConfigError(
                    f"errors of {self.name!r}: the share of {fault!r} is {part!r}, not in 0 to 1"
                )
        if sum(self.errors.values()) > 1 + 1e-9:
            raise ConfigError(f"errors of {self.name!r}: the shares add up to more than 1")


def share(*key: object) -> float:
    """A number above 0 and below 1 that depends on the key alone, uniform over keys.

    >>> share("a", 1) == share("a", 1), share("a", 1) == share("a", 2), 0 < share("a") < 1
    (True, False, True)
    """
    text = "\x1f".join(map(str, key)).encode("utf-8", "surrogatepass")
    number = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
    return ((number >> 12) + 0.5) / 2**52


def pick(options: Sequence[Any], *key: object) -> Any:
    """One of the options, chosen by the key.

    >>> pick("ab", "some", "key") in "ab"
    True
    """
    return options[int(share(*key) * len(options))]


def agrees(model: SimulatedModel, prompt: str, seed: int) -> bool:
    """Whether the model gives the shared answer to the prompt; models agree on the same prompts.

    >>> [agrees(SimulatedModel("a", agreement=share), "Hello", 0) for share in (0.0, 1.0)]
    [False, True]
    """
    return share("agreement", seed, prompt) < model.agreement


def worded_anew(model: SimulatedModel, *key: object) -> bool:
    """Whether the model words the answer to one call unlike its usual one.

    Any two calls of one request differ on the share `variation`: both keep the usual wording with a
    probability of 1 - variation, so each does with the square root of that.

    >>> [worded_anew(SimulatedModel("a", variation=part), "request", 1) for part in (0.0, 1.0)]
    [False, True]
    """
    return share("variation", model.name, *key) < 1 - math.sqrt(1 - model.variation)


def slowness(model: SimulatedModel, *key: object) -> float:
    """The factor on the model's median times for one request: log-normal with median 1.

    >>> slowness(SimulatedModel("a", sigma=0.0), "request", 1)
    1.0
    """
    return math.exp(model.sigma * _NORMAL.inv_cdf(share("latency", *key)))


def drawn_fault(model: SimulatedModel, *key: object) -> str | None:
    """The fault that one request meets, or None, in the shares of the model's `errors`.

    >>> drawn_fault(SimulatedModel("a", errors={"500": 1.0}), "request", 1)
    '500'
    """
    if not model.errors:
        return None
    left = share("fault", *key)
    for fault, part in model.errors.items():
        if left < part:
            return fault
        left -= part
    return None
