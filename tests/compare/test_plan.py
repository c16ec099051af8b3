"""What the user sets before looking: checked, put in words, and kept."""

import json
import math
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from mirrorkit.compare.answers.rules import make_rules
from mirrorkit.compare.metrics import BUILT_IN, Metric
from mirrorkit.compare.plan import (
    Look,
    Plan,
    fingerprint,
    gate_words,
    look_of,
    looks_from_json,
    looks_to_json,
    plan_of,
)
from mirrorkit.errors import CompareError, MirrorWarning

OWN = {"mine": Metric(len, bounds=(-1, 1), better="lower")}


def set_up(**given: Any) -> Plan:
    return Plan().with_changes(**given)


def test_what_is_not_given_stays_as_it_was() -> None:
    first = set_up(gates={"cost": 0.8}, alpha=0.1, slo_s=2, max_pairs=500, metrics=OWN, ignore=["$.id"])
    assert first.with_changes() == first
    assert first.with_changes(alpha=0.05) == replace(first, alpha=0.05)
    assert first.with_changes(tolerance=0.1).rules == make_rules(["$.id"], tolerance=0.1)
    assert Plan().gates == {"latency": 1.10, "cost": 1.00, "errors": 0.01}


def test_a_gate_may_be_on_every_metric_and_on_the_users_own() -> None:
    margins = dict.fromkeys([*BUILT_IN, "over_slo", "mine"], 0.5)
    assert set_up(gates=margins, slo_s=1, metrics=OWN).gates == {**margins, "json_valid": -0.5}
    assert set_up(gates={"latency": np.float64(1.1)}).gates == {"latency": 1.1}
    assert set_up(gates={}).gates == {}


@pytest.mark.parametrize(
    ("gates", "words"),
    [
        (
            {"charm": 1},
            "there is no metric 'charm' to set a gate on; there are latency, .* given by metrics=",
        ),
        ({3: 1}, "there is no metric 3"),
        ({None: 1}, "there is no metric None"),
        ({("a",): 1}, "there is no metric"),
        ({"over_slo": 0.01}, "a gate on 'over_slo' needs slo_s="),
        (
            {"latency": -1.1},
            "the margin of 'latency' is -1.1: it is a ratio, silent over primary, and above 0",
        ),
        ({"latency_with_errors": 0}, "the margin of 'latency_with_errors' is 0: it is a ratio"),
        ({"cost": 0.0}, "the margin of 'cost' is 0.0: it is a ratio"),
        ({"errors": 1.01}, "'errors' is 1.01: it is a difference of shares: 0.01 is one point, .* -1 and 1"),
        ({"errors": -1}, "'errors' is -1: it is a difference of shares"),
        ({"identical": 0}, "'identical' is 0: it is a mean, and lies between 0 and 1"),
        ({"preference": 1}, "'preference' is 1: it is a mean, and lies between 0 and 1"),
        ({"mine": 1.5}, "'mine' is 1.5: it is a mean, and lies between -1 and 1"),
        ({"latency": math.nan}, "the margin of 'latency' is nan: give a finite number"),
        ({"latency": math.inf}, "the margin of 'latency' is inf: give a finite number"),
        ({"latency": True}, "the margin of 'latency' is True: give a finite number"),
        ({"latency": "1.1"}, "the margin of 'latency' is '1.1': give a finite number"),
        ({"latency": None}, "the margin of 'latency' is None: give a finite number"),
        ({"latency": 10**400}, "the margin of 'latency' is 1000.*: give a finite number"),
        ([("latency", 1.1)], "give a dict, such as"),
        ("latency", "gates='latency': give a dict"),
        (1.1, "gates=1.1: give a dict"),
    ],
)
def test_a_gate_that_cannot_be_is_an_error_that_says_why(gates: Any, words: str) -> None:
    with pytest.raises(CompareError, match=words):
        set_up(gates=gates, metrics=OWN)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"alpha": 0}, "alpha=0: give a probability from 1e-09 to 0.5"),
        ({"alpha": 1}, "alpha=1: give a probability"),
        ({"alpha": 1e-300}, "alpha=1e-300: give a probability"),
        ({"alpha": math.nan}, "alpha is nan: give a finite number"),
        ({"alpha": "0.05"}, "alpha is '0.05': give a finite number"),
        ({"alpha": True}, "alpha is True"),
        ({"slo_s": 0}, "slo_s=0: give a number of seconds above 0"),
        ({"slo_s": math.inf}, "slo_s is inf"),
        ({"slo_s": "2"}, "slo_s is '2'"),
        ({"max_pairs": 0}, "max_pairs=0: give a whole number, 1 or more"),
        ({"max_pairs": 10.0}, "max_pairs=10.0: give a whole number"),
        ({"max_pairs": True}, "max_pairs=True: give a whole number"),
        ({"metrics": [len]}, "metrics=.*: give a dict from names"),
        ({"metrics": {"": len}}, "metrics=.*: give a dict from names"),
        ({"metrics": {1: len}}, "metrics=.*: give a dict from names"),
        ({"metrics": {"mine": "length"}}, "a metric's value is a function"),
        ({"metrics": {"latency": len}}, "'latency' is a metric of mirrorkit's own; give yours another name"),
        ({"metrics": {"over_slo": len}}, "'over_slo' is a metric of mirrorkit's own"),
        ({"ignore": "$.id"}, "ignore is a list"),
        ({"clean": "strip"}, "clean is a function"),
        ({"tolerance": -1}, "tolerance is relative"),
    ],
)
def test_what_is_out_of_range_is_an_error_with_the_value(given: dict[str, Any], words: str) -> None:
    with pytest.raises(CompareError, match=words):
        set_up(**given)


def test_metrics_are_in_the_order_of_the_table_and_over_slo_is_beside_errors() -> None:
    assert Plan().names() == list(BUILT_IN)
    names = set_up(slo_s=1, metrics=OWN).names()
    assert names[names.index("errors") + 1] == "over_slo"
    assert names[-1] == "mine"
    assert set_up(metrics={"mine": pl.lit(1)}).metric("mine").better == "higher"


@pytest.mark.parametrize(
    ("name", "worse", "effect", "words"),
    [
        ("errors", 0.05, 0.05, "errors < +5 points"),
        ("json_valid", 0.05, -0.05, "json_valid > -5 points"),
        ("json_valid", 0.01, -0.01, "json_valid > -1 point"),
        ("json_valid", 0, 0, "json_valid > +0 points"),
    ],
)
def test_a_margin_of_shares_is_how_much_worse_whichever_way_is_good(
    name: str, worse: float, effect: float, words: str
) -> None:
    plan = set_up(gates={name: worse})
    assert (plan.gates, gate_words(plan, name)) == ({name: effect}, words)
    assert math.copysign(1, plan.gates[name]) == (-1 if effect < 0 else 1)


def test_what_is_better_of_a_mean_is_above_its_margin() -> None:
    """A win rate and a likeness are levels, not differences: 0.6 is 60 %."""
    gates = {"preference": 0.6, "judge": 0.5, "similarity": 0.8, "tokens_per_s": 0.9, "finish_reason": 0.95}
    assert set_up(gates=gates).gates == gates


def test_changing_something_else_leaves_the_margins_as_they_are() -> None:
    plan = set_up(gates={"json_valid": 0.05})
    assert plan.with_changes(alpha=0.1).with_changes(max_pairs=9).gates == {"json_valid": -0.05}


def test_a_gate_that_asks_for_better_where_good_is_high_warns_and_says_what_to_write() -> None:
    words = r"json_valid=-0.05 asks .* better by 5 points, .* 95 % or more\. .* write json_valid=0.05, "
    with pytest.warns(MirrorWarning, match=words):
        plan = set_up(gates={"json_valid": -0.05})
    assert gate_words(plan, "json_valid") == "json_valid > +5 points"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        set_up(gates={"errors": -0.005, "json_valid": 0.05})
        plan.with_changes(alpha=0.1)


@pytest.mark.parametrize("margin", [1, -1, 1.5, math.nan, "0.05", True])
def test_a_margin_that_cannot_be_is_shown_as_it_was_given(margin: Any) -> None:
    with pytest.raises(CompareError, match=f"the margin of 'json_valid' is '?{margin}"):
        set_up(gates={"json_valid": margin})


@pytest.mark.parametrize(
    ("name", "margin", "words"),
    [
        ("cost", 0.8, "cost < ×0.8"),
        ("tokens_per_s", 0.9, "tokens_per_s > ×0.9"),
        ("errors", -0.005, "errors < -0.5 points"),
        ("identical", 0.9, "identical > 90 %"),
        ("mine", 0.25, "mine < 0.25"),
    ],
)
def test_a_gate_reads_as_its_effect_does(name: str, margin: float, words: str) -> None:
    assert gate_words(set_up(gates={name: margin}, metrics=OWN), name) == words


def test_a_plan_in_words_has_all_that_was_set() -> None:
    plan = set_up(
        gates={"cost": 0.8, "mine": 0}, alpha=0.01, slo_s=2.5, max_pairs=5_000, metrics=OWN, ignore=["$.id"]
    )
    assert plan.words() == (
        "gates: cost < ×0.8, mine < 0; alpha 0.01; slo_s 2.5; at most 5,000 pairs; own metrics: mine "
        f"[{fingerprint(OWN['mine'].value)}]; ignored: $.id"
    )
    assert set_up(gates={}).words() == "gates: none; alpha 0.05"


def test_looks_go_through_json_and_give_the_plan_back() -> None:
    plan = set_up(gates={"cost": 0.8}, alpha=0.01, slo_s=2, max_pairs=9, ignore=["$.id"], tolerance=0.1)
    looks = (look_of(Plan(), 10), look_of(plan, 240))
    assert looks_from_json(looks_to_json(looks)) == looks
    assert plan_of(looks[-1]) == plan


BEFORE = (
    '[{"pairs": 240, "words": "gates: json_valid > -5 points, errors < +1 point; alpha 0.05", "given": '
    '{"gates": {"json_valid": -0.05, "errors": 0.01}, "alpha": 0.05, "slo_s": null, "max_pairs": null, '
    '"metrics": {}, "ignore": [], "clean": null, "tolerance": 0.0}}]'
)
"""As it was written when a gate of at most 5 points worse was set as json_valid=-0.05."""


def test_gates_that_were_kept_mean_what_they_meant() -> None:
    """What is kept is the margin of the effect, and so the same however it was set."""
    (kept,) = looks_from_json(BEFORE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plan = plan_of(kept).with_changes()
    assert plan == set_up(gates={"json_valid": 0.05, "errors": 0.01})
    assert look_of(plan, 240).given == {**kept.given, "min_span": 0.0}
    assert plan.words() == kept.words


def test_functions_are_not_kept_but_a_gate_on_one_is_and_waits_for_it() -> None:
    plan = set_up(gates={"mine": 0.5}, metrics=OWN, clean=str.strip)
    kept = plan_of(*looks_from_json(looks_to_json([look_of(plan, 10)])))
    assert (kept.gates, kept.metrics, kept.rules.clean) == ({"mine": 0.5}, {}, None)
    with pytest.raises(CompareError, match=r"there is no metric 'mine' .* metrics= \(a recording does not"):
        kept.with_changes()
    assert kept.with_changes(metrics=OWN, clean=str.strip) == plan
    assert kept.with_changes(gates={"cost": 1.0}).gates == {"cost": 1.0}


def test_what_a_gate_on_a_users_metric_means_is_part_of_the_look() -> None:
    def look(**more: Any) -> Look:
        return look_of(set_up(metrics={"mine": Metric(len, **more)}), 10)

    assert look().given == look().given
    assert look().given != look(better="lower").given != look(bounds=None).given


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "3", "[3]", '{"pairs": 1}', '[{"pairs": 1, "words": "x"}]']
    + [
        json.dumps([{"pairs": 1, "words": "x", "given": given}])
        for given in ({}, {"gates": 3}, {"gates": [1]}, 3)
    ],
)
def test_what_is_no_looks_is_none(text: str) -> None:
    assert looks_from_json(text) == ()


@pytest.mark.parametrize(
    "given", [{"alpha": "x"}, {"slo_s": -1}, {"max_pairs": 0.5}, {"gates": {"cost": "x"}}]
)
def test_a_kept_plan_that_is_out_of_range_is_an_error(given: dict[str, Any]) -> None:
    with pytest.raises(CompareError):
        plan_of(Look(1, "x", {"gates": {}, **given})).with_changes()


def test_another_function_under_the_same_name_is_another_plan() -> None:
    one, other = (Plan().with_changes(metrics={"s": each}) for each in (lambda row: 1.0, lambda row: 0.0))
    assert look_of(one, 1).given != look_of(other, 1).given
    assert one.words() != other.words()
    plain, strict = (
        Plan().with_changes(clean=each) for each in (lambda text: text, lambda text: text.lower())
    )
    assert look_of(plain, 1).given != look_of(strict, 1).given


def test_numbers_of_numpy_are_numbers() -> None:
    assert set_up(gates={"latency": np.float32(1.5), "cost": np.int64(1)}).gates == {
        "latency": 1.5,
        "cost": 1.0,
    }


def test_what_is_kept_may_be_anything_and_is_no_obstacle() -> None:
    for text in ("[" * 100_000, '[{"pairs": 1e999, "words": "", "given": {"gates": {}}}]'):
        assert looks_from_json(text) == ()
