"""What the user wants to know, set before looking: gates, error rate, metrics, rules."""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from math import isfinite, nan
from numbers import Real
from types import CodeType
from typing import Any

import polars as pl

from mirrorkit.compare.answers.rules import Rules, make_rules
from mirrorkit.compare.metrics import BUILT_IN, BuiltIn, Metric, of_user, over_slo
from mirrorkit.errors import CompareError, MirrorWarning

DEFAULT_GATES: Mapping[str, float] = {"latency": 1.10, "cost": 1.00, "errors": 0.01}
DEFAULT_ALPHA = 0.05
LEAST_ALPHA = 1e-9
"""Below, the formulas of the sequences run out of digits."""

UserMetric = Metric | pl.Expr | Callable[[dict[str, Any]], float | bool | None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a comparison is to tell.

    `gates` maps metrics to margins on the scale of the metric's effect, which is how recordings keep them: at
    most 5 points worse is 0.05 for `errors`, and −0.05 for `json_valid`. `alpha` is the probability, at most,
    of a wrong "switch", and of a wrong "keep"; `slo_s` is the time in seconds beyond which a call is too
    late; `max_pairs` is how many pairs an arm may take until it is decided; `min_span` is how many seconds of
    traffic a gate must rest on; `metrics` are the user's own.
    """

    gates: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_GATES))
    alpha: float = DEFAULT_ALPHA
    slo_s: float | None = None
    max_pairs: int | None = None
    min_span: float = 0.0
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    rules: Rules = field(default_factory=Rules)

    def metric(self, name: str) -> BuiltIn:
        """The metric of that name, a built-in or the user's own."""
        if name == "over_slo" and self.slo_s is not None:
            return over_slo(self.slo_s)
        return of_user(name, self.metrics[name]) if name in self.metrics else BUILT_IN[name]

    def names(self) -> list[str]:
        """All metrics, in the order of the table."""
        names = list(BUILT_IN)
        if self.slo_s is not None:
            names.insert(names.index("errors") + 1, "over_slo")
        return [*names, *self.metrics]

    def with_changes(
        self,
        *,
        gates: Mapping[str, float] | None = None,
        alpha: float | None = None,
        slo_s: float | None = None,
        max_pairs: int | None = None,
        min_span: float | None = None,
        metrics: Mapping[str, UserMetric] | None = None,
        ignore: Sequence[str] | None = None,
        clean: Callable[[str], str] | None = None,
        tolerance: float | None = None,
    ) -> "Plan":
        """The same plan but for what is given.

        On a difference of shares, a margin in `gates` is how much worse the silent side may be, whichever way
        is good: 0.05 is 5 points. Warns of one that asks for better where higher is better.

        Raises CompareError for what is out of range, or a gate on a metric that there is not.

        >>> Plan().with_changes(gates={"cost": 0.8}).words()
        'gates: cost < ×0.8; alpha 0.05'
        """
        changed = replace(
            self,
            alpha=self.alpha if alpha is None else _alpha(alpha),
            slo_s=self.slo_s if slo_s is None else _positive("slo_s", slo_s, "seconds"),
            max_pairs=self.max_pairs if max_pairs is None else _count("max_pairs", max_pairs),
            min_span=self.min_span if min_span is None else _span(min_span),
            metrics=self.metrics if metrics is None else _metrics(metrics),
            rules=make_rules(
                self.rules.ignore if ignore is None else ignore,
                self.rules.clean if clean is None else clean,
                self.rules.tolerance if tolerance is None else tolerance,
            ),
        )
        if gates is None:
            kept = {name: _margin(name, margin, changed) for name, margin in self.gates.items()}
        else:
            kept = _gates(gates, changed)
        return replace(changed, gates=kept)

    def words(self) -> str:
        """The plan in a line."""
        gates = ", ".join(gate_words(self, name) for name in self.gates) or "none"
        parts = [f"gates: {gates}", f"alpha {self.alpha:g}"]
        if self.slo_s is not None:
            parts.append(f"slo_s {self.slo_s:g}")
        if self.max_pairs is not None:
            parts.append(f"at most {self.max_pairs:,} pairs")
        if self.min_span:
            parts.append(f"at least {self.min_span:g} s")
        if self.metrics:
            own = (f"{name} [{fingerprint(metric.value)}]" for name, metric in self.metrics.items())
            parts.append(f"own metrics: {', '.join(own)}")
        if self.rules != Rules():
            which = "" if self.rules.clean is None else f" [{fingerprint(self.rules.clean)}]"
            parts.append(self.rules.describe() + which)
        return "; ".join(parts)


def gate_words(plan: Plan, name: str) -> str:
    """A gate in words, as in a formula.

    >>> gate_words(Plan(), "errors"), gate_words(Plan(), "latency")
    ('errors < +1 point', 'latency < ×1.1')
    """
    metric, margin = plan.metric(name), plan.gates[name]
    sign = "<" if metric.better == "lower" else ">"
    return f"{name} {sign} {margin_words(metric, margin)}"


def margin_words(metric: BuiltIn, margin: float) -> str:
    """A margin as its metric's effect is written."""
    if metric.kind in ("ratio", "median", "totals"):
        return f"×{margin:g}"
    if metric.kind == "shares":
        return f"{'+' * (margin >= 0)}{_points(margin)}"
    return f"{100 * margin:g} %" if metric.unit == "share" else f"{margin:g} {metric.unit}".strip()


def _points(share: float) -> str:
    return f"{100 * share:g} point{'' if abs(share) == 0.01 else 's'}"


def _gates(gates: Any, plan: Plan) -> dict[str, float]:
    if not isinstance(gates, Mapping):
        raise CompareError(f'gates={gates!r}: give a dict, such as {{"latency": 1.10, "errors": 0.01}}')
    return {name: _as_effect(name, _margin(name, margin, plan), plan) for name, margin in gates.items()}


def _as_effect(name: str, worse: float, plan: Plan) -> float:
    """A margin that was set, on the scale of its metric's effect."""
    metric = plan.metric(name)
    if metric.kind != "shares" or metric.better == "lower":
        return worse
    if worse < 0:
        warnings.warn(
            f"the gate {name}={worse:g} asks the silent side to be better by {_points(-worse)}, and can "
            f"never pass where the primary's share is {100 * (1 + worse):g} % or more. Where it may be "
            f"{_points(-worse)} worse, write {name}={-worse:g}, which once was written as {worse:g}.",
            MirrorWarning,
            stacklevel=5,
        )
    return 0.0 - worse


def _margin(name: Any, margin: Any, plan: Plan) -> float:
    if name == "over_slo" and plan.slo_s is None:
        raise CompareError("a gate on 'over_slo' needs slo_s=, the seconds beyond which a call is too late")
    if name not in plan.names():
        raise CompareError(
            f"there is no metric {name!r} to set a gate on; there are {', '.join(plan.names())}. "
            "A metric of your own is given by metrics= (a recording does not keep its function)."
        )
    value = _number(f"the margin of {name!r}", margin)
    metric = plan.metric(name)
    if metric.kind in ("ratio", "median", "totals"):
        if value <= 0:
            raise CompareError(
                f"the margin of {name!r} is {margin!r}: it is a ratio, silent over primary, and above 0; "
                "1.10 allows 10 % more, 0.8 asks for 20 % less"
            )
        return value
    low, high = (-1.0, 1.0) if metric.kind == "shares" else metric.bounds or (-float("inf"), float("inf"))
    if not low < value < high:
        meaning = "a difference of shares: 0.01 is one point" if metric.kind == "shares" else "a mean"
        raise CompareError(
            f"the margin of {name!r} is {margin!r}: it is {meaning}, and lies between {low:g} and {high:g}"
        )
    return value


def _metrics(metrics: Any) -> dict[str, Metric]:
    if not isinstance(metrics, Mapping) or not all(isinstance(name, str) and name for name in metrics):
        raise CompareError(f"metrics={metrics!r}: give a dict from names to functions or Polars expressions")
    if taken := [name for name in metrics if name in BUILT_IN or name == "over_slo"]:
        raise CompareError(f"metrics: {taken[0]!r} is a metric of mirrorkit's own; give yours another name")
    return {name: each if isinstance(each, Metric) else Metric(each) for name, each in metrics.items()}


def _number(what: str, value: Any) -> float:
    try:
        number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else nan
    except OverflowError:
        number = nan
    if not isfinite(number):
        raise CompareError(f"{what} is {value!r}: give a finite number")
    return number


def _alpha(value: Any) -> float:
    alpha = _number("alpha", value)
    if not LEAST_ALPHA <= alpha <= 0.5:
        raise CompareError(
            f"alpha={value!r}: give a probability from {LEAST_ALPHA:g} to 0.5, such as {DEFAULT_ALPHA:g}"
        )
    return alpha


def _positive(what: str, value: Any, unit: str) -> float:
    number = _number(what, value)
    if number <= 0:
        raise CompareError(f"{what}={value!r}: give a number of {unit} above 0")
    return number


def _span(value: Any) -> float:
    number = _number("min_span", value)
    if number < 0:
        raise CompareError(f"min_span={value!r}: give a number of seconds, 0 or more")
    return number


def _count(what: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise CompareError(f"{what}={value!r}: give a whole number, 1 or more")
    return value


@dataclass(frozen=True, slots=True)
class Look:
    """A plan, in words and as data, and how many pairs there were when it was first used."""

    pairs: int
    words: str
    given: Mapping[str, Any]


def look_of(plan: Plan, pairs: int) -> Look:
    """What is kept of a plan when it is looked at."""
    given = {
        "gates": dict(plan.gates),
        "alpha": plan.alpha,
        "slo_s": plan.slo_s,
        "max_pairs": plan.max_pairs,
        "min_span": plan.min_span,
        "metrics": {name: _kept(metric) for name, metric in plan.metrics.items()},
        "ignore": list(plan.rules.ignore),
        "clean": None if plan.rules.clean is None else fingerprint(plan.rules.clean),
        "tolerance": plan.rules.tolerance,
    }
    return Look(pairs, plan.words(), given)


def _kept(metric: Metric) -> dict[str, Any]:
    """What can be kept of a user's metric: not its function, but which it was, and what its gate means."""
    bounds = None if metric.bounds is None else list(metric.bounds)
    return {"better": metric.better, "bounds": bounds, "value": fingerprint(metric.value)}


def fingerprint(value: Any) -> str:
    """Six letters that tell a function or an expression from another one, though not what it calls.

    >>> one, same, other = (fingerprint(each) for each in (lambda row: 1, lambda row: 1, lambda row: 2))
    >>> one == same, one == other
    (True, False)
    """
    return sha256("\n".join(_parts(value)).encode("utf-8", "backslashreplace")).hexdigest()[:6]


def _parts(value: Any) -> Iterator[str]:
    code = getattr(value, "__code__", value)
    if isinstance(code, CodeType):
        yield f"{code.co_code.hex()} {code.co_names}"
        for constant in code.co_consts:
            yield from _parts(constant)
    elif isinstance(value, pl.Expr | str | bytes | int | float | tuple | None):
        yield str(value)
    else:
        yield getattr(value, "__qualname__", type(value).__qualname__)


def looks_to_json(looks: Sequence[Look]) -> str:
    """Looks as JSON, for a recording's file; functions are kept by their names alone."""
    return json.dumps(
        [{"pairs": look.pairs, "words": look.words, "given": dict(look.given)} for look in looks]
    )


def looks_from_json(text: str) -> tuple[Look, ...]:
    """The looks that `looks_to_json` wrote; none if the text is no such thing.

    >>> looks = (look_of(Plan(), 240),)
    >>> looks_from_json(looks_to_json(looks)) == looks, looks_from_json("{")
    (True, ())
    """
    try:
        return tuple(_look(each) for each in json.loads(text))
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return ()


def _look(kept: Any) -> Look:
    given = dict(kept["given"])
    return Look(int(kept["pairs"]), str(kept["words"]), {**given, "gates": dict(given["gates"])})


def plan_of(look: Look) -> Plan:
    """The plan that was looked at, without the user's functions; a gate on one of them waits for it.

    Raises CompareError if what was kept is out of range.

    >>> plan_of(look_of(Plan(), 240)) == Plan()
    True
    """
    given = look.given
    plan = Plan().with_changes(
        alpha=given.get("alpha"),
        slo_s=given.get("slo_s"),
        max_pairs=given.get("max_pairs"),
        min_span=given.get("min_span"),
        ignore=given.get("ignore"),
        tolerance=given.get("tolerance"),
    )
    return replace(plan, gates=dict(given["gates"]))
