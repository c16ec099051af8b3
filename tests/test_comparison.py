"""Comparison: what the user holds, as text, in a notebook and as figures."""

import json
import re
import subprocess
import sys
from html import escape, unescape
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrorkit.comparison import Comparison, compare
from mirrorkit.errors import CompareError, RecordingError
from mirrorkit.records import SCHEMA
from pairs import recorded

HOSTILE = '<img src=x onerror="alert(1)">\x1b[31m$x$'


def frame(count: int = 4, *, arm: str = "mini", group: str = "big") -> pl.DataFrame:
    return recorded(
        count,
        arm=arm,
        model_group=group,
        lag_s=0.1,
        latency_s=(1.0, 0.412),
        cost_usd=(0.00123, 0.000123),
        output="yes",
    )


def test_a_frame_without_pairs_says_what_to_do() -> None:
    with pytest.raises(CompareError, match=r"no pairs to compare: .*drain\(\).*session\.funnel"):
        compare(SCHEMA.frame())


def test_a_frame_that_is_no_recording_is_refused() -> None:
    with pytest.raises(RecordingError):
        compare(pl.DataFrame({"prompt": ["hi"]}))


def test_the_comparison_does_not_change_with_the_frame_it_was_made_from() -> None:
    pairs = frame()
    seen = compare(pairs)
    before = str(seen)
    pairs.insert_column(0, pl.Series("arm_too", ["x"] * 4))
    pairs.extend(pairs)
    assert str(seen) == before
    assert seen.frame.height == 4
    with pytest.raises(AttributeError):
        seen.frame = pairs  # type: ignore[misc]


def test_a_terminal_gets_numbers_with_units_in_at_most_100_columns() -> None:
    several = pl.concat([frame(), frame(arm="control", group="big" * 40), frame(arm="mini" * 40)])
    seen = repr(compare(several))
    assert max(map(len, seen.splitlines())) <= 100
    for words in ("0.412 s", "×0.412", "$0.00123", "$0.000123", "×0.100", "0 points", "100 %"):
        assert words in seen
    assert "p95 takes 200 pairs: 196 missing" in seen
    assert "96 pairs missing" in seen


def test_what_is_said_comes_in_the_order_of_its_weight() -> None:
    seen = repr(compare(frame(250).with_columns(lag_s=0.25)))
    order = (
        "250 pairs",
        "KEEP COLLECTING",
        "gate ",
        "Found",
        "metric ",
        "To know when reading",
        "Intervals hold",
    )
    places = [seen.index(words) for words in order]
    assert places == sorted(places)


def drawn(count: int, faster: float = 1.0) -> pl.DataFrame:
    """Pairs whose latencies vary, so that there is something to be unsure of."""
    spread = (pl.int_range(pl.len()) * 37 % 101 - 50) / 100
    return frame(count).with_columns(silent_latency_s=faster * spread.exp())


CLAIMS = ("faster", "slower", "cheaper", "dearer")


def test_a_claim_appears_only_with_an_interval_that_supports_it() -> None:
    few, same, unlike = drawn(50, 0.5), drawn(400, 1.0), drawn(400, 0.5)
    for pairs in (few, same.with_columns(silent_cost_usd=pl.col("primary_cost_usd"))):
        bundle = compare(pairs)._repr_mimebundle_()
        assert [word for word in CLAIMS for said in bundle.values() if word in said] == []
    seen = compare(unlike)
    claims = [line for line in repr(seen).splitlines() if any(word in line for word in CLAIMS)]
    assert len(claims) == 2
    for line, word in zip(claims, ("faster", "cheaper"), strict=True):
        low, high = (float(end) for end in re.findall(r"\(×([\d.]+) to ×([\d.]+)\)", line)[0])
        assert word in line
        assert low <= high < 1


def test_of_an_arm_with_many_findings_a_page_lists_the_first_ten_and_counts_the_others() -> None:
    own, other = ({f"f{field}": value for field in range(14)} for value in (1, 2))
    json_of = {"primary_output": pl.lit(json.dumps(own)), "silent_output": pl.lit(json.dumps(other))}
    same = {**json_of, "silent_output": pl.lit(json.dumps(own))}
    arms = [
        frame(200, arm=arm).with_columns(pair_id=arm + pl.col("pair_id"), **said)
        for arm, said in (("mini", json_of), ("nano", same), ("control", same))
    ]
    seen = compare(pl.concat(arms))
    of_arm = {arm: [str(each) for each in seen.findings if each.arm == arm] for arm in ("mini", "nano")}
    more = len(of_arm["mini"]) - 10
    assert more >= 4
    assert 1 <= len(of_arm["nano"]) <= 10
    found = seen._repr_mimebundle_()["text/html"].partition("<h3>Found</h3>")[2].partition("</ul>")[0]
    *listed, last = re.findall("<li>(.*?)</li>", found)
    assert last == f"and {more} more in .findings"
    shown = {*of_arm["mini"][:10], *of_arm["nano"]}
    assert [unescape(each).replace("\N{NO-BREAK SPACE}", " ") for each in listed] == [
        str(each) for each in seen.findings if str(each) in shown
    ]
    few = compare(frame(250))
    assert few.findings
    assert "more in .findings" not in few._repr_mimebundle_()["text/html"]


def test_where_there_is_no_interval_it_is_said_why() -> None:
    seen = compare(frame())
    told = {line.split("  ")[1]: line for line in repr(seen).splitlines() if line.startswith("  ")}
    assert "96 pairs missing" in told["latency"]
    assert "196 pairs missing" in told["cost"]
    for row in seen.table.filter(pl.col("effect").is_not_null() & pl.col("low").is_null()).iter_rows(
        named=True
    ):
        assert row["note"] or "too few pairs for an interval" in repr(seen)
    assert "no interval is given" not in repr(seen)


def test_the_interval_is_said_to_hold_at_every_look_at_the_level_that_was_asked_for() -> None:
    assert "Intervals hold at every look, however often, each at 95 %." in repr(compare(frame()))
    bundle = compare(frame(), alpha=0.1)._repr_mimebundle_()
    for said in bundle.values():
        assert "each at 90 %" in said
    assert "one look" in bundle["text/html"]
    assert "one look" not in bundle["text/plain"].replace("(one look)", "")


def test_every_gate_is_shown_with_its_state_effect_and_interval() -> None:
    seen = compare(drawn(400, 0.5), gates={"latency": 1.1, "cost": 0.05, "errors": 0.001})
    bundle = seen._repr_mimebundle_()
    for line, row in zip(
        [line for line in str(seen).splitlines() if line.startswith(("latency <", "cost <", "errors <"))],
        seen.gates.iter_rows(named=True),
        strict=True,
    ):
        assert row["state"] in line
        assert row["gate"] in line
        assert escape(row["gate"]) in bundle["text/html"]
        assert row["state"] == "open" or f"after {row['decided_after']:,}" in line
    assert seen.gates["state"].to_list() == ["passed", "failed", "open"]


def test_the_verdict_is_told_by_more_than_its_colour() -> None:
    for gates, sign, look in (
        ({"latency": 1.1}, "✓ Switch", "verdict switch"),
        ({"cost": 0.05}, "✗ Keep", "verdict keep"),
        ({"errors": 0.001}, "○ Keep collecting", "verdict collecting"),
    ):
        seen = compare(drawn(400, 0.5), gates=gates)
        bundle = seen._repr_mimebundle_()
        assert sign.upper() in bundle["text/plain"]
        assert f"<strong>{sign}</strong>" in bundle["text/html"]
        assert f'<div class="{look}"' in bundle["text/html"]
        assert seen.verdict.answer in sign.lower()


def test_what_is_rarely_needed_is_folded_in_html_and_named_in_text() -> None:
    bundle = compare(frame(250))._repr_mimebundle_()
    main, _, folded = bundle["text/html"].partition("<details>")
    assert "refusals" not in main
    assert ">refusals</th>" in folded
    line = next(line for line in bundle["text/plain"].splitlines() if "Also in .table" in line)
    assert "refusals" in line


def test_a_metric_of_a_gate_or_of_the_users_own_is_never_folded() -> None:
    seen = compare(frame(250), gates={"refusals": 0.1}, metrics={"mine": pl.col("lag_s") < 1})
    main = seen._repr_mimebundle_()["text/html"].partition("<details>")[0]
    assert ">refusals</th>" in main
    assert ">mine</th>" in main


def test_metrics_without_a_pair_are_one_line() -> None:
    failed = frame().with_columns(silent_status=pl.lit("error"), silent_cost_usd=None)
    bundle = compare(failed)._repr_mimebundle_()
    for said in bundle.values():
        assert said.count("No usable pair: latency") == 1
    assert not any(line.startswith("  latency ") for line in bundle["text/plain"].splitlines())


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(*[st.floats(1e-6, 1e8)] * 4), min_size=1, max_size=5), st.text(max_size=60))
def test_any_numbers_and_names_fit_in_100_columns(rows: list[tuple[float, ...]], arm: str) -> None:
    sides = ("primary_latency_s", "silent_latency_s", "primary_cost_usd", "silent_cost_usd")
    values = dict(zip(sides, map(list, zip(*rows, strict=True)), strict=True))
    pairs = frame(len(rows), arm=arm).with_columns(
        **{name: pl.Series(value) for name, value in values.items()}
    )
    seen = str(compare(pairs))
    assert max(map(len, seen.splitlines())) <= 100
    assert all(char.isprintable() or char == "\n" for char in seen)


def test_a_notebook_gets_html_and_text() -> None:
    seen = compare(frame())
    bundle = seen._repr_mimebundle_(include=None, exclude=None)
    assert bundle["text/plain"] == str(seen)
    assert "<td>0.412 s</td>" in bundle["text/html"]


def test_equal_notes_share_a_number_in_text_and_html_alike() -> None:
    odd = frame(250).with_columns(
        silent_latency_s=pl.when(pl.col("pair_id") == "p0").then(-1.0).otherwise(pl.col("silent_latency_s")),
        silent_cost_usd=pl.when(pl.col("pair_id") == "p1").then(None).otherwise(pl.col("silent_cost_usd")),
    )
    bundle = compare(odd)._repr_mimebundle_()
    notes = [
        "[1] 1 left out: latency negative or not finite (primary 0, silent 1)",
        "[2] 1 left out: cost unknown (primary 0, silent 1)",
    ]
    for note in notes:
        assert bundle["text/plain"].splitlines().count(note) == 1
        assert bundle["text/html"].count(note) == 1
    rows = re.findall(
        r'scope="row">([^<]*)</th>(?:(?!</tr>).)*<td class="mark">(.*?)</td>', bundle["text/html"]
    )
    marked = [(metric, mark) for metric, mark in rows if mark]
    assert marked[:5] == [
        ("latency", "[1]"), ("p50", "[1]"), ("p95", "[1]"), ("cost", "[2]"), ("per 1,000 calls", "[2]"),
    ]  # fmt: skip
    for metric, mark in marked[:5]:
        line = next(
            line for line in bundle["text/plain"].splitlines() if line.strip().startswith(f"{metric}  ")
        )
        assert line.endswith(mark)


def test_hostile_names_are_harmless_in_text_and_html() -> None:
    bundle = compare(frame(arm=HOSTILE, group=HOSTILE))._repr_mimebundle_()
    assert "\x1b" not in bundle["text/plain"]
    assert "\x1b" not in bundle["text/html"]
    assert "<img" not in bundle["text/html"]
    assert "&lt;img" in bundle["text/html"]


def test_each_view_is_a_figure() -> None:
    seen = compare(frame(30))
    for view in (seen.plot, seen.latency, seen.cost, seen.outputs):
        assert len(view().data) > 0


def test_a_report_into_a_missing_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(CompareError, match="no folder"):
        compare(frame()).to_html(tmp_path / "missing" / "report.html")


def test_comparing_and_reporting_need_no_litellm_and_only_figures_need_plotly(tmp_path: Path) -> None:
    recording = tmp_path / "pairs.parquet"
    frame().write_parquet(recording)
    script = f"""
import sys
sys.modules["litellm"] = None  # as if it were not installed: any import of it raises
import polars
from mirrorkit.comparison import compare
seen = compare(polars.read_parquet({str(recording)!r}))
str(seen), seen._repr_mimebundle_(), seen.table
assert not {{"plotly", "ipywidgets"}} & set(sys.modules), "imported too early"
seen.plot()
assert "plotly" in sys.modules
seen.to_html({str(tmp_path / "report.html")!r})
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.html").stat().st_size > 1_000_000


def test_a_comparison_is_made_by_compare() -> None:
    assert isinstance(compare(frame()), Comparison)


def test_why_a_gate_cannot_be_decided_is_told_in_full_in_100_columns_and_in_html() -> None:
    pairs = frame(200).with_columns(
        silent_cost_usd=pl.when(pl.int_range(pl.len()) % 10 > 0).then("silent_cost_usd")
    )
    seen = compare(pairs)
    why = seen.gates.filter(metric="cost")["note"][0]
    assert "20 of 200 pairs are left out because of one side alone" in why
    text = repr(seen)
    assert max(map(len, text.splitlines())) <= 100
    gates = text[text.index("gate ") : text.index("metric ")]
    assert why in " ".join(gates.split())
    assert escape(why) in seen._repr_mimebundle_()["text/html"]
