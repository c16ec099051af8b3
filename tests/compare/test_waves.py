"""What silent models may err with: alpha in all, however many join, and settled by what came before."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.compare.evidence import Floats, Whole
from mirrorkit.compare.statistics.betting import first_rejection
from mirrorkit.compare.waves import COMPLETE, FIRST, shares

ALPHA = 0.05


def pairs_from(start: int, pairs: int = 200, every: int = 1) -> Whole:
    return start + every * np.arange(pairs)


arms = st.lists(
    st.tuples(st.integers(0, 2_000), st.integers(1, 60), st.integers(1, 30)), min_size=1, max_size=12
).map(lambda each: {f"arm {at}": pairs_from(*one) for at, one in enumerate(each)})


def test_a_model_alone_has_nearly_all_of_alpha() -> None:
    share = shares({"a": pairs_from(0)})["a"]
    assert share.part == FIRST == 0.9
    assert share.alphas(np.array([COMPLETE, 10**9]), ALPHA).tolist() == pytest.approx([0.045, 0.045])


def test_models_that_start_together_have_equal_shares() -> None:
    first = {"a": pairs_from(0), "b": pairs_from(0), "c": pairs_from(7, every=3)}
    assert [share.part for share in shares(first).values()] == pytest.approx([FIRST / 3] * 3)
    assert {share.since for share in shares(first).values()} == {COMPLETE - 1}


def test_what_a_model_may_err_with_stays_when_others_join() -> None:
    first = {"a": pairs_from(0), "b": pairs_from(3)}
    joined = shares({**first, "c": pairs_from(100), "d": pairs_from(100), "e": pairs_from(900)})
    assert {arm: joined[arm] for arm in first} == shares(first)
    assert joined["c"].part == joined["d"].part == pytest.approx(0.1 / 2 / 2)
    assert joined["e"].part == pytest.approx(0.1 / 6)


def test_a_wave_is_complete_when_one_of_its_models_has_enough_pairs() -> None:
    """Not only the first: it may have been taken back after a few."""
    few = shares({"a": pairs_from(0, 3), "b": pairs_from(50), "c": pairs_from(60), "d": pairs_from(70)})
    assert few["a"].part == few["b"].part == few["c"].part == pytest.approx(FIRST / 3)
    assert few["d"].part == pytest.approx(0.1 / 2)
    assert few["a"].since == 50 + COMPLETE - 1


@given(arms)
def test_all_together_err_at_most_alpha_even_if_others_keep_joining(arms: dict[str, Whole]) -> None:
    """What a model errs with is at most the largest share that it ever has."""
    given = shares(arms)
    most = [each.alphas(arms[arm], ALPHA).max() for arm, each in given.items()]
    assert sum(most) <= ALPHA * (1 + 1e-9)
    assert all(each.part > 0 for each in given.values())


def test_however_many_join_nobody_is_left_with_nothing() -> None:
    joined = shares({f"arm {at}": pairs_from(100 * at, 50) for at in range(2_000)})
    assert 0.99 < sum(share.part for share in joined.values()) < 1
    assert min(share.part for share in joined.values()) > 0


@given(arms, st.integers(0, 3_000))
def test_a_share_at_a_time_follows_from_the_pairs_up_to_then(arms: dict[str, Whole], now: int) -> None:
    seen = {arm: times[times <= now] for arm, times in arms.items() if times[0] <= now}
    then, later = shares(seen), shares(arms)
    for arm, times in seen.items():
        assert then[arm].alphas(times, ALPHA).tolist() == later[arm].alphas(times, ALPHA).tolist()


def test_the_order_in_which_models_are_given_does_not_matter() -> None:
    given = {"a": pairs_from(500), "b": pairs_from(0), "c": pairs_from(505), "d": pairs_from(0)}
    assert shares(given) == shares(dict(reversed(given.items())))


def test_without_times_all_start_together() -> None:
    places = {"a": np.arange(300), "b": np.arange(10)}
    assert {share.part for share in shares(places).values()} == {FIRST / 2}


def test_of_no_models_there_is_no_share() -> None:
    assert shares({}) == {}


@pytest.mark.slow
def test_a_wrong_switch_to_any_of_six_that_join_one_by_one_is_rarer_than_alpha() -> None:
    """All are exactly at the margin. Alpha over how many there are by now would err in twice as many runs."""
    random, runs = np.random.default_rng(7), 400
    times = {f"arm {at}": pairs_from(400 * at, 1_500) for at in range(6)}
    given, begun = shares(times), [int(each[0]) for each in times.values()]

    def err(values: list[Floats], levels: list[Floats]) -> bool:
        each = zip(values, levels, strict=True)
        return any(first_rejection(x, 0.5, -np.log(level)) is not None for x, level in each)

    settled = [given[arm].alphas(mine, ALPHA) for arm, mine in times.items()]
    by_now = [ALPHA / np.searchsorted(begun, mine, side="right") for mine in times.values()]
    wrong = np.zeros(2)
    for _ in range(runs):
        values = [(random.random(1_500) < 0.5).astype(float) for _ in times]
        wrong += [err(values, settled), err(values, by_now)]
    assert wrong[0] / runs <= ALPHA
    assert wrong[1] / runs > 2 * ALPHA
