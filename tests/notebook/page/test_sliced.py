"""The parts of the pairs: only what has parts, with intervals and without verdicts."""

import random
import re

import polars as pl
import pytest

from mirrorkit.comparison import compare
from mirrorkit.notebook.page.sliced import MOST, slices
from mirrorkit.records import CONTROL
from pairs import recorded


def frame(arm: str = "mini", count: int = 240) -> pl.DataFrame:
    draw = random.Random(7)
    times = [(draw.uniform(1.0, 1.1), draw.uniform(0.5, 0.6)) for _ in range(count)]
    primary, silent = map(list, zip(*times, strict=True))
    return recorded(
        count, name=arm, arm=arm, lag_s=0.25, tags=(), latency_s=(primary, silent), cost_usd=0.1, output="yes"
    )


def heads(html: str) -> list[str]:
    return re.findall(r'<table class="slices"><thead><tr><th scope="col">(.*?)</th>', html)


NUMBER = pl.int_range(pl.len())


def test_pairs_that_are_all_alike_have_no_slices() -> None:
    assert slices(compare(frame())) == ""


@pytest.mark.parametrize(
    ("column", "value", "head"),
    [
        ("stream", NUMBER % 2 == 0, "streamed"),
        ("model_group", pl.format("group {}", NUMBER % 3), "model group"),
        ("tags", pl.concat_list(pl.format("tag {}", NUMBER % MOST)), "tag"),
        (
            "tags",
            pl.when(NUMBER % 2 == 0).then(pl.lit(["one"])).otherwise(pl.lit([], pl.List(pl.String))),
            "tag",
        ),
    ],
)
def test_a_column_with_some_values_is_a_table(column: str, value: pl.Expr, head: str) -> None:
    html = slices(compare(frame().with_columns(value.alias(column))))
    assert heads(html) == [head]
    assert "outside the guarantee" in html
    assert "passed" not in html


def test_a_column_with_many_values_is_left_out() -> None:
    pairs = frame().with_columns(tags=pl.concat_list(pl.format("tag {}", NUMBER % (MOST + 1))))
    assert slices(compare(pairs)) == ""


def test_several_arms_are_slices_and_control_is_none() -> None:
    one = [frame("mini"), frame(CONTROL)]
    assert slices(compare(pl.concat(one))) == ""
    html = slices(compare(pl.concat([*one, frame("nano")])))
    assert heads(html) == ["arm"]
    assert html.count("<tr>") == 3


def test_each_cell_has_effect_interval_and_pairs() -> None:
    html = slices(compare(frame().with_columns(stream=NUMBER % 2 == 0), gates={"latency": 1.1}))
    muted = '<span class="muted">'
    cells = rf"<td><span>×0\.52\d</span>{muted}×0\.\d+ to ×0\.\d+</span>{muted}120 pairs"
    assert len(re.findall(cells, html)) == 2


def test_hostile_names_are_escaped() -> None:
    pairs = frame().with_columns(model_group=pl.format("<img src=x> {}", NUMBER % 2))
    html = slices(compare(pairs))
    assert "&lt;img" in html
    assert "<img" not in html
