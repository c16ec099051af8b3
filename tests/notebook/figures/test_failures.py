"""Errors over time: each failed call is counted once, both sides on the same scales."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from mirrorkit.notebook import charts
from mirrorkit.notebook.figures import failures
from pairs import recorded

START = datetime(2026, 11, 1, 9, tzinfo=UTC)


def pairs(
    silent: list[str | None], arm: str = "mini", primary: list[str | None] | None = None
) -> pl.DataFrame:
    """Pairs a minute apart, with the kinds of errors of both sides, None where a call is ok."""
    both = primary or [None] * len(silent), silent
    return recorded(
        len(silent),
        name=f"{arm} ",
        arm=arm,
        started_at=[START + timedelta(minutes=number) for number in range(len(silent))],
        status=tuple(["ok" if kind is None else "error" for kind in kinds] for kinds in both),
        error_type=both,
    )


def bars(figure: Any) -> list[Any]:
    return list(figure.select_traces({"type": "bar"}))


def test_each_failed_call_is_in_its_bin_of_its_side_with_the_number_of_calls() -> None:
    figure = charts.errors(
        pairs([None, "RateLimitError", "Timeout", None], primary=["Timeout", None, None, None])
    )
    drawn = {(bar.name, bar.yaxis): (list(bar.x), list(bar.y)) for bar in bars(figure)}
    assert drawn == {
        ("Timeout", "y"): (["2026-11-01 09:00:02.500000"], [1]),
        ("RateLimitError", "y2"): (["2026-11-01 09:01:02.500000"], [1]),
        ("Timeout", "y2"): (["2026-11-01 09:02:02.500000"], [1]),
    }
    assert "Timeout: 1 of 1 calls (100 %)" in bars(figure)[0].text[0]


def test_all_rows_have_the_same_scales() -> None:
    figure = charts.errors(pl.concat([pairs(["A"] * 40), pairs([None] * 40, "other")]))
    assert len({axis.range for axis in figure.select_xaxes()}) == 1
    assert len({axis.range for axis in figure.select_yaxes()}) == 1


def test_a_primary_call_with_several_arms_fails_once() -> None:
    frame = pl.concat([pairs([None] * 5, arm, ["A"] * 5) for arm in ("mini", "other", "control")])
    rows = {row.name: (row.calls, row.failed) for row in failures.sides(frame).rows}
    assert rows == {
        "Primary": (5, 5),
        "mini (silent)": (5, 0),
        "other (silent)": (5, 0),
        "primary again (control)": (5, 0),
    }


@pytest.mark.parametrize("kinds", [1, 6, 7, 40])
def test_all_failures_are_drawn_the_rare_ones_together(kinds: int) -> None:
    figure = charts.errors(pairs([f"kind {number % kinds}" for number in range(80)]))
    assert sum(sum(bar.y) for bar in bars(figure)) == 80
    assert len(bars(figure)) <= failures.KINDS_SHOWN
    assert (failures.OTHER in {bar.name for bar in bars(figure)}) == (kinds > failures.KINDS_SHOWN)


def test_it_says_so_where_nothing_failed() -> None:
    figure = charts.errors(pairs([None] * 10))
    assert "No call failed on either side" in figure.layout.title.subtitle.text
    assert [note.text for note in figure.layout.annotations].count("no failed calls") == 2
    assert not bars(figure)


def test_calls_that_were_cancelled_neither_failed_nor_count() -> None:
    frame = pairs(["A", None, None, None]).with_columns(
        silent_status=pl.Series(["error", "ok", "cancelled", "abandoned"])
    )
    silent = failures.sides(frame).rows[1]
    assert (silent.calls, silent.failed) == (2, 1)
    assert failures.title(silent).endswith("n = 2 finished calls, 1 failed (50.0 %)")


def test_an_error_without_a_kind_is_called_by_its_status() -> None:
    frame = pairs(["x"]).with_columns(
        silent_status=pl.lit("timeout"), silent_error_type=pl.lit(None, pl.String)
    )
    assert [bar.name for bar in bars(charts.errors(frame))] == ["timeout"]


@pytest.mark.parametrize("kind", ["<script>x</script>", "$x$", "a\nb", "\u202eb", "%{x}", "k" * 10_000])
def test_a_hostile_kind_is_drawn_and_not_read(kind: str) -> None:
    (bar,) = bars(charts.errors(pairs([kind])))
    shown = bar.name + bar.text[0].split(": ")[0]
    for sign in ("<", ">", "$", "\n", "\u202e"):
        assert sign not in shown
    assert len(bar.name) < 120
    assert "%{x}" not in bar.hovertemplate
