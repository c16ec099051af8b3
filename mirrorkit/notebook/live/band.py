"""A gate as a small picture: its interval and effect beside its margin, the side that passes shaded."""

from collections.abc import Mapping
from math import isfinite, log
from typing import Any

from mirrorkit.notebook import theme

STATES: Mapping[str, str] = {"passed": theme.CONTROL, "failed": theme.SILENT, "open": theme.PRIMARY}

_WIDTH, _HEIGHT, _INSET = 200, 30, 0.12


def band(gate: Mapping[str, Any], estimand: str) -> str:
    """The picture of a row of `Comparison.gates`, whose effect is an `estimand`; empty if nothing is known.

    >>> gate = {"state": "open", "margin": 1.1, "effect": 0.9, "low": 0.8, "high": 1.0, "gate": "cost < ×1.1"}
    >>> band(gate, "ratio of totals").count("<line")
    2
    """
    effect, low, high, margin = (
        _placed(gate[name], estimand) for name in ("effect", "low", "high", "margin")
    )
    if effect is None or margin is None:
        return ""
    known = [value for value in (effect, low, high, margin) if value is not None]
    first, width = min(known), max(known) - min(known) or abs(margin) or 1.0

    def across(value: float) -> float:
        return round(_WIDTH * (_INSET + (1 - 2 * _INSET) * (value - first) / width), 1)

    colour, middle, at = STATES[str(gate["state"])], _HEIGHT / 2, across(margin)
    passes_left = "<" in str(gate["gate"]).removeprefix(str(gate.get("metric") or ""))
    left, wide = (0.0, at) if passes_left else (at, _WIDTH - at)
    shade = (
        f'<rect x="{left}" y="0" width="{wide:.1f}" height="{_HEIGHT}" fill="{theme.CONTROL}" '
        f'fill-opacity="0.14"></rect>'
    )
    border = (
        f'<line x1="{at}" x2="{at}" y1="0" y2="{_HEIGHT}" stroke="currentColor" stroke-width="1.5" '
        f'stroke-dasharray="3 2"></line>'
    )
    interval = ""
    if low is not None or high is not None:
        # an end that is open, or infinite, runs out of the picture
        start = 0.0 if low is None else across(low)
        end = float(_WIDTH) if high is None else across(high)
        interval = (
            f'<line x1="{start}" x2="{end}" y1="{middle}" y2="{middle}" stroke="{colour}" stroke-width="4" '
            f'stroke-linecap="round" stroke-opacity="0.55"></line>'
        )
    dot = f'<circle cx="{across(effect)}" cy="{middle}" r="5" fill="{colour}"></circle>'
    return (
        f'<svg class="band" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="effect and interval '
        f'beside the margin">{shade}{border}{interval}{dot}</svg>'
    )


def _placed(value: float | None, estimand: str) -> float | None:
    """Where a value is drawn: ratios by their logarithm; None for what has no place."""
    if value is None or not isfinite(value):
        return None
    if "ratio" not in estimand:
        return value
    return log(value) if value > 0 else None
