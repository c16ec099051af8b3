"""Times are compared where the process added little to them, and else wait for a control arm."""

import polars as pl
import pytest

from mirrorkit.compare.analysis import Analysis, analyse
from mirrorkit.compare.comparability import READ, comparability
from mirrorkit.compare.measured import measured
from mirrorkit.compare.plan import Plan
from mirrorkit.compare.trajectory import trajectories

PLAN = Plan().with_changes(gates={"latency": 1.1})


def told(frame: pl.DataFrame) -> Analysis:
    return analyse(measured(frame, PLAN), PLAN)


def timed(recorded, slower: float = 1.0, overhead_s=0.001, lag_s=1.0, n: int = 400) -> pl.DataFrame:
    silent = [slower * (1.02 if number % 2 else 0.98) for number in range(n)]
    return recorded(n, latency_s=(1.0, silent), overhead_s=overhead_s).with_columns(lag_s=pl.lit(lag_s))


def test_where_this_process_added_little_a_gate_is_decided(recorded) -> None:
    assert told(timed(recorded)).verdict.answer == "switch"
    slower = told(timed(recorded, 1.5))
    assert slower.verdict.answer == "keep"
    assert [each.metric for each in slower.findings] == ["latency"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"overhead_s": (0.001, 0.1)}, "0.1 % of the primary's latency and "),
        ({"overhead_s": (0.1, 0.001)}, "10 % of the primary's latency and "),
        ({"lag_s": 9.0}, "100 % of the silent calls were sent over 2 s after they could have been"),
    ],
)
@pytest.mark.parametrize("slower", [1.0, 1.5])
def test_elsewhere_it_stays_open_and_says_what_decides_it(recorded, more, words: str, slower: float) -> None:
    seen = told(timed(recorded, slower, **more))
    [gate] = seen.gates.iter_rows(named=True)
    assert (gate["state"], gate["pairs_needed"], seen.findings) == ("open", None, ())
    assert words in gate["note"]
    assert "record a control arm" in gate["note"]
    [path] = trajectories(seen, PLAN, "latency")
    assert words in path.note


def test_a_control_arm_decides_it(recorded) -> None:
    busy = timed(recorded, 1.5, overhead_s=0.3)
    control = recorded(400, name="c", arm="control", latency_s=(1.0, 1.5), overhead_s=0.3)
    assert told(pl.concat([busy, control])).verdict.answer == "switch"


def test_it_is_decided_by_the_first_pair_by_which_the_sides_can_be_compared(recorded) -> None:
    """And later pairs, busy ones too, do not change it."""
    work = [0.1 if number < 20 or number >= 300 else 0.001 for number in range(600)]
    seen = told(timed(recorded, overhead_s=work, n=600))
    [gate] = seen.gates.iter_rows(named=True)
    assert gate["state"] == "passed"
    assert 100 < gate["decided_after"] < 300
    assert (
        told(timed(recorded, overhead_s=work, n=600)[: gate["decided_after"] - 1]).gates["state"][0] == "open"
    )


@pytest.mark.parametrize("unknown", [None, float("nan"), float("inf"), -1.0])
def test_what_is_unknown_is_no_hindrance(unknown: float | None) -> None:
    pairs = pl.DataFrame({name: [unknown] * 3 for name in READ}, schema=dict.fromkeys(READ, pl.Float64))
    found = comparability(pairs)
    assert (found.holds.tolist(), found.primary, found.silent, found.late) == ([True] * 3, 0, 0, 0)
    assert comparability(pairs.clear()).is_given
