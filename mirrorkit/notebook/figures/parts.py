"""Who is drawn in a figure: the primary side by model group, the silent side by arm; name, colour, dash."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from mirrorkit.compare import wording
from mirrorkit.compare.selection import arms, arms_by_start, of_arm
from mirrorkit.notebook import theme
from mirrorkit.records import CONTROL

GROUPS_SHOWN = 4
"""The most model groups that are told apart one by one."""

ARMS_SHOWN = len(theme.DASHES)
"""The most arms that are drawn: as many as there are dashes."""


@dataclass(frozen=True, slots=True)
class Part:
    """One line or set of bars: a side of some pairs, with its name and look."""

    label: str
    short: str
    """the arm, or the side, escaped and cut for a title"""
    side: str
    color: str
    dash: str
    pairs: pl.DataFrame

    def look(self) -> dict[str, Any]:
        """What names its traces, and lets the legend switch them together."""
        rank = 1 if self.side == "primary" else 2
        return {"name": self.label, "legendgroup": self.label, "legendrank": rank}

    def line(self, width: float = 2) -> dict[str, Any]:
        """How its lines are drawn, `width` in pixels."""
        return {"color": self.color, "dash": self.dash, "width": width}

    def column(self, name: str) -> pl.Expr:
        """That column of its side."""
        return pl.col(f"{self.side}_{name}")


_LONGEST = 2_000


def cut(text: str | None, limit: int) -> str:
    """A text that came with the data, escaped, and cut in its middle: names often differ at their ends.

    >>> cut("openai/gpt-4o-mini-2024-07-18", 16), cut("mini", 16)
    ('openai/g…4-07-18', 'mini')
    """
    whole = wording.name(text, _LONGEST)
    if len(whole) > limit:
        whole = f"{whole[: limit // 2]}…{whole[len(whole) - (limit - limit // 2 - 1) :]}"
    return theme.escape(whole, limit)


def arms_shown(frame: pl.DataFrame, most: int = ARMS_SHOWN) -> list[str]:
    """The arms that are drawn, at most so many, in the order of the tables, `control` last."""
    return chosen(arms_by_start(frame), most)


def chosen(names: Sequence[str], most: int) -> list[str]:
    """At most so many of the arms, `control` last.

    >>> chosen(["control", "a", "b", "c"], 3)
    ['a', 'b', 'control']
    """
    control = [CONTROL] * (CONTROL in names)
    return [arm for arm in names if arm != CONTROL][: most - len(control)] + control


def primary_parts(frame: pl.DataFrame) -> Iterator[Part]:
    """The primary side of the silent arms' pairs, one part per model group (if they are few)."""
    pairs = frame.filter(pl.col("arm").is_in(_mirrored(frame)))
    groups = pairs["model_group"].unique(maintain_order=True).to_list()
    if len(groups) > GROUPS_SHOWN:
        yield Part(f"{len(groups)} groups (primary)", "primary", "primary", theme.PRIMARY, "solid", pairs)
        return
    for group, dash in zip(groups, theme.DASHES, strict=False):
        of_group = pairs.filter(pl.col("model_group").eq_missing(pl.lit(group, pl.String)))
        label = f"{cut(group, 40)} (primary)"
        yield Part(label, "primary", "primary", theme.PRIMARY, dash, of_group)


def silent_parts(frame: pl.DataFrame, most: int = ARMS_SHOWN) -> Iterator[Part]:
    """The silent side, one part per arm that is drawn, at most so many."""
    for index, arm in enumerate(arms_shown(frame, most)):
        is_control = arm == CONTROL
        label = "primary again (control)" if is_control else f"{cut(arm, 40)} (silent)"
        color = theme.CONTROL if is_control else theme.SILENT
        dash = "solid" if is_control else theme.DASHES[index]
        yield Part(label, cut(arm, 16), "silent", color, dash, of_arm(frame, arm))


def both_sides(frame: pl.DataFrame) -> list[Part]:
    """The parts of both sides, the primary first."""
    return [*primary_parts(frame), *silent_parts(frame)]


def each_call_once(part: Part, pairs: pl.DataFrame) -> pl.DataFrame:
    """Some of the part's pairs, no call twice: with several arms, a primary call is in several pairs."""
    if part.side == "silent" or pairs["arm"].n_unique() <= 1:
        return pairs
    return pairs.filter(pl.coalesce("request_id", "pair_id").is_first_distinct())


def _mirrored(frame: pl.DataFrame) -> list[str]:
    """The silent arms; control stands in where it is alone."""
    names = arms(frame)
    return [arm for arm in names if arm != CONTROL] or names
