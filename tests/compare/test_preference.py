"""What a judge's opinion is worth beside people's labels."""

import pytest

from mirrorkit.compare.preference import CORRECTED
from mirrorkit.compare.statistics.agreement import win_rate_ppi

SCORES = {"primary": 0.0, "tie": 0.5, "silent": 1.0}
JUDGED = ["silent"] * 8 + ["primary"] * 3 + ["tie"] + ["silent"] * 20 + ["primary"] * 8
PEOPLE = ["silent"] * 6 + ["primary"] * 5 + ["tie"] + [None] * 28


def test_people_correct_the_judges_win_rate_valid_for_one_look(recorded, row) -> None:
    seen = row(recorded(40, judge_preference=JUDGED, preference=PEOPLE), "judge", CORRECTED)
    effect, low, high = win_rate_ppi(
        [SCORES[each] for each in PEOPLE[:12]],
        [SCORES[each] for each in JUDGED[:12]],
        [SCORES[each] for each in JUDGED[12:]],
        0.05,
    )
    assert [seen["effect"], seen["one_look_low"], seen["one_look_high"]] == pytest.approx([effect, low, high])
    assert (seen["low"], seen["high"]) == (None, None)
    # they agree on 10 of 12; chance would give (6 · 8 + 5 · 3 + 1 · 1) / 12 of them
    assert seen["note"] == (
        "people labelled 12 of the 40 judged pairs: Cohen's kappa 0.70; valid for one look"
    )


def test_few_labels_show_how_far_people_agree_and_correct_nothing(recorded, row) -> None:
    seen = row(
        recorded(3, judge_preference=JUDGED[:3], preference=["silent", "tie", None]), "judge", CORRECTED
    )
    assert (seen["effect"], seen["one_look_low"]) == (None, None)
    assert seen["note"] == (
        "people labelled 2 of the 3 judged pairs: Cohen's kappa 0.00; a correction takes 10 labels: 8 missing"
    )


def test_where_all_agree_on_one_word_kappa_is_unknown(recorded, row) -> None:
    seen = row(recorded(12, judge_preference="silent", preference="silent"), "judge", CORRECTED)
    assert "Cohen's kappa unknown" in seen["note"]
    assert seen["effect"] == 1.0


def test_without_labels_on_judged_pairs_there_is_no_corrected_row(recorded, told) -> None:
    frame = recorded(3, judge_preference=["silent", "tie", None], preference=[None, None, "silent"])
    assert told(frame, ["judge"])["estimand"].to_list() == ["win rate, ties count half"]
    assert told(frame, ["preference"]).height == 1


def test_the_row_says_how_often_the_judge_changed_its_mind(recorded, row) -> None:
    frame = recorded(
        4, judge_preference=["tie", "silent", "silent", None], judge_flipped=[True, False, False, None]
    )
    assert row(frame, "judge")["note"] == "judge flipped with the order in 33.3 % of pairs"
    assert row(recorded(2, judge_preference="tie"), "judge")["note"] is None
