"""Bars: each has its own place whatever its name, and what is not drawn is counted."""

import json
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from mirrorkit.comparison import Comparison, compare
from mirrorkit.notebook import theme
from mirrorkit.notebook.figures import bars, parts
from pairs import recorded

LONG = "organisation/a-family-of-models-which-has-a-long-name"


def made(arm: str, n: int = 30, **more: Any) -> pl.DataFrame:
    given = {"latency_s": 1.0, "cost_usd": (0.002, 0.003), "output": "yes", "finish_reason": "stop"}
    return recorded(n, name=arm, arm=arm, **given, **more)


def seen(*frames: pl.DataFrame, **plan: Any) -> Comparison:
    return compare(pl.concat(frames), progress=False, **plan)


def bar_traces(figure: Any) -> list[Any]:
    return [trace for trace in figure.data if trace.type == "bar"]


def names(figure: Any) -> Any:
    """The names that stand in the first panel that has some."""
    return next(trace for trace in figure.data if trace.name == theme.NAMES)


def titles(figure: Any) -> list[str]:
    return [note.text for note in figure.layout.annotations if note.yref == "paper"]


def subtitle(figure: Any) -> str:
    return str(figure.layout.title.subtitle.text).replace("<br>", " ")


def test_arms_whose_names_begin_and_end_alike_are_not_added_up() -> None:
    alike = [f"{LONG}-{number}-with-the-same-ending" for number in range(2)]
    figure = seen(*(made(arm) for arm in alike)).cost()
    (bar,) = bar_traces(figure)
    assert list(bar.y) == [0, 1, 2, 3]
    assert [round(length) for length in bar.x] == [2, 3, 2, 3], "in USD per 1,000 requests"


def test_names_that_differ_at_their_end_are_told_apart() -> None:
    arms = ["openai/gpt-4o-mini-2024-07-18", "openai/gpt-4o-mini-2024-11-20"]
    figure = seen(*(made(arm) for arm in arms)).cost()
    assert len(set(names(figure).text)) == 4
    lines = seen(*(made(f"{LONG}-{number}") for number in range(2))).cost()
    assert len({trace.name for trace in lines.data if (trace.name or "").endswith("(silent)")}) == 2


def test_kinds_and_fields_that_are_cut_alike_have_bars_of_their_own() -> None:
    reasons = [f"{LONG}-{number % 2}-with-the-same-ending" for number in range(30)]
    path = '{"customer": {"the_address_for_shipping": {"a": %d, "b": %d}}}'
    figure = seen(
        made("mini", silent_finish_reason=reasons, primary_output=[path % (1, 1)] * 30,
             silent_output=[path % (2, 2)] * 30)
    ).outputs()  # fmt: skip
    kinds = next(trace for trace in bar_traces(figure) if trace.name == "mini (silent)")
    fields = bar_traces(figure)[0]
    assert sorted(kinds.y) == [0, 1, 2]
    assert sorted(kinds.x) == [0.0, 0.5, 0.5]
    assert list(fields.y) == [0, 1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("view", "told"),
    [
        (Comparison.plot, "Bars: 4 of 6 arms."),
        (Comparison.cost, "Bars: 4 of 6 arms."),
        (Comparison.outputs, "Shares of pairs: 4 of 6 arms."),
        (Comparison.latency, "Densities: 4 of 6 arms."),
        (Comparison.errors, "Rows: 4 of 6 arms."),
    ],
)
def test_each_figure_counts_the_arms_that_it_has_no_place_for(
    view: Callable[[Comparison], Any], told: str
) -> None:
    arms = [*"abcde", "control"]
    assert told in subtitle(view(seen(*(made(arm) for arm in arms))))
    assert " arms." not in subtitle(view(seen(*(made(arm) for arm in arms[2:]))))


@pytest.mark.slow
def test_the_lines_count_those_beyond_as_many_as_there_are_dashes() -> None:
    few = [made(str(number), 3) for number in range(parts.ARMS_SHOWN + 1)]
    for view in (Comparison.lag, Comparison.latency, Comparison.cost, Comparison.plot):
        assert "Lines: 6 of 7 arms." in subtitle(view(seen(*few)))


def test_the_pairs_in_a_title_are_those_that_are_drawn_the_controls_among_them() -> None:
    figure = seen(*(made(arm, n) for n, arm in enumerate([*"abcde", "control"], start=20))).cost()
    assert titles(figure)[0] == "Cost per 1,000 requests<br>n = 88 pairs"
    assert titles(figure)[1] == "Running bill<br>n = 135 pairs"
    assert names(figure).text[::2] == tuple(
        f"{arm}, primary: &#36;2.00" for arm in ("a", "b", "c", "control")
    )
    (bar,) = bar_traces(figure)
    assert len(bar.x) == 2 * bars.ARMS_SHOWN


def test_finish_reasons_and_errors_count_the_calls_that_they_are_shares_of() -> None:
    status = ["ok"] * 15 + ["error"] * 10 + ["cancelled"] * 5
    figure = seen(made("mini", silent_status=status)).outputs()
    assert "Finish reasons<br>n = 30 + 15 ok calls" in titles(figure)
    assert "Errors<br>n = 30 + 25 calls" in titles(figure)
    errors = [trace for trace in bar_traces(figure) if trace.name == "mini (silent)"][-1]
    assert list(errors.x) == [10 / 25]


def test_fields_beyond_those_drawn_are_counted_and_each_arm_has_some() -> None:
    def answers(value: int) -> str:
        return "{" + ", ".join(f'"field_{number}": {value}' for number in range(20)) + "}"

    given = {"primary_output": [answers(1)] * 30, "silent_output": [answers(2)] * 30}
    compared = seen(*(made(arm).with_columns(**{k: pl.Series(v) for k, v in given.items()}) for arm in "ab"))
    figure = compared.outputs()
    fields = bar_traces(figure)[0]
    left = compared.fields.height - len(fields.y)
    assert f"JSON fields: {left} more differ, not drawn; .fields has them all." in subtitle(figure)
    assert {label.partition(":")[0] for label in names(figure).text} == {"a", "b"}


@pytest.mark.parametrize("arms", [1, 4])
def test_each_name_stands_in_its_place_above_its_bars_and_none_beside_the_panel(arms: int) -> None:
    """Beside it, the names of real models reach into the next panel, or leave no room for this one."""
    more = {"silent_finish_reason": ["stop", "length"] * 15, "silent_status": ["ok"] * 29 + ["error"]}
    outputs = seen(*(made(f"{LONG}-{number}", **more) for number in range(arms))).outputs()
    panels = [trace for trace in outputs.data if trace.name == theme.NAMES]
    assert len(panels) == 4
    for panel in panels:
        axis = outputs.layout[panel.yaxis.replace("y", "yaxis")]
        beside = [trace for trace in bar_traces(outputs) if trace.yaxis == panel.yaxis]
        assert not axis.showticklabels
        for place, top in enumerate(panel.y):
            edges = [place + (-trace.width / 2 if trace.offset is None else trace.offset) for trace in beside]
            lower = max(place - 1 + (trace.offset or -trace.width / 2) + trace.width for trace in beside)
            assert max(lower, axis.range[1]) < top < min(edges)


def test_of_how_many_pairs_a_fields_share_is_and_its_whole_path_are_told() -> None:
    path = "the_part_of_the_answer_which_all_have_in_common"
    answers = [f'{{"{path}_{number}": 1}}' for number in range(2)] * 15
    calls = [
        [None] * 20 + [json.dumps([{"name": "f", "arguments": f'{{"x": {side}}}'}])] * 10 for side in (1, 2)
    ]
    figure = seen(
        made("mini", tool_calls=(calls[0], calls[1])).with_columns(
            primary_output=pl.lit(f'{{"{path}_0": 2}}'), silent_output=pl.Series(answers)
        )
    ).outputs()
    (fields,) = [trace for trace in bar_traces(figure) if trace.yaxis == "y"]
    few, many = sorted({int(told.rpartition(" of ")[2].split()[0]) for told in fields.customdata})
    assert f"n = {few} to {many} pairs a field" in titles(figure)[0]
    assert any(f"{path}_0" in told for told in fields.customdata)


def test_arms_are_the_same_in_lines_and_bars_whatever_the_rows_order() -> None:
    frames = [made(arm) for arm in "fedcba"]
    figure = seen(*frames).plot()
    lines = [
        trace.name for trace in figure.data if trace.type == "scatter" and "(silent)" in (trace.name or "")
    ]
    assert lines[:4] == [f"{arm} (silent)" for arm in "abcd"]
    bars_of = next(t for t in figure.data if t.name == theme.NAMES and t.yaxis == "y3")
    assert [name[0] for name in bars_of.text[::2]] == list("abcd")


def test_without_gates_there_is_no_verdict_in_the_title() -> None:
    assert seen(made("mini"), gates={}).plot().layout.title.text == "No gates are set"


def test_arms_of_which_the_verdict_says_more_are_counted() -> None:
    assert "And 2 more arms in .verdict." in subtitle(seen(*(made(arm) for arm in "abcde")).plot())
    assert "in .verdict" not in subtitle(seen(*(made(arm) for arm in "abc")).plot())
