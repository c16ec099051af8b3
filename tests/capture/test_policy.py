"""What is mirrored is a repeatable, unbiased draw; counts add up; spending keeps to its limit."""

import math
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrorkit.capture.policy import Policy, Reason, Spending, cost_by_tokens, unit_hash
from mirrorkit.errors import ConfigError

N = 4_000
IDS = [f"request-{n}" for n in range(N)]
OUTCOMES = ("mirrored", *get_args(Reason))

shares = st.floats(0.01, 0.99)
seeds = st.none() | st.integers()
# dyadic amounts add up without rounding, so that sums can be compared exactly
amounts = st.integers(0, 2**20).map(lambda n: n / 2**20)


def off_by(hits: int, share: float, of: int = N) -> float:
    """How many standard deviations a count lies from what a draw with this share expects."""
    return abs(hits - of * share) / math.sqrt(of * share * (1 - share))


class TestUnitHash:
    @given(st.lists(st.text() | st.integers() | st.none() | st.floats()))
    def test_lies_from_0_to_below_1_and_is_repeatable(self, parts: list[Any]) -> None:
        assert 0 <= unit_hash(*parts) < 1
        assert unit_hash(*parts) == unit_hash(*parts)

    def test_a_lone_surrogate_is_hashed_like_any_text(self) -> None:
        assert 0 <= unit_hash("\ud800") < 1
        assert unit_hash("\ud800") != unit_hash("\ud801")

    def test_is_the_same_in_every_process_and_version(self) -> None:
        assert unit_hash(7, "sample", "a") == 0.0002562547681924654

    @settings(max_examples=20)
    @given(st.text(max_size=5))
    def test_is_uniform_over_ids(self, prefix: str) -> None:
        tens = [0] * 10
        for request_id in IDS:
            tens[int(unit_hash(prefix, request_id) * 10)] += 1
        # chi-square with 9 degrees of freedom passes 45 once in a million draws
        assert sum((n - N / 10) ** 2 / (N / 10) for n in tens) < 45

    def test_parts_are_kept_apart(self) -> None:
        assert unit_hash("ab", "c") != unit_hash("a", "bc")


class TestTheDraw:
    @settings(max_examples=20)
    @given(shares, seeds)
    def test_the_sample_takes_its_share(self, share: float, seed: int | None) -> None:
        policy = Policy(sample=share, seed=seed)
        assert off_by(sum(map(policy.mirrors, IDS)), share) < 6

    @settings(max_examples=20)
    @given(seeds)
    def test_control_is_independent_of_the_sample(self, seed: int | None) -> None:
        policy = Policy(sample=0.3, control=0.4, seed=seed)
        taken = [i for i in IDS if policy.mirrors(i)]
        assert off_by(sum(map(policy.controls, taken)), 0.4, len(taken)) < 6

    def test_none_and_all_are_exact(self) -> None:
        assert not any(Policy(sample=0).mirrors(i) for i in IDS)
        assert all(Policy(sample=1).mirrors(i) for i in IDS)
        assert not any(Policy().controls(i) for i in IDS)

    @settings(max_examples=20)
    @given(shares, shares)
    def test_a_larger_sample_holds_the_smaller_one(self, one: float, two: float) -> None:
        low, high = Policy(sample=min(one, two)), Policy(sample=max(one, two))
        assert all(high.mirrors(i) for i in IDS[:1_000] if low.mirrors(i))

    def test_another_seed_draws_anew_and_the_same_one_does_not(self) -> None:
        first, again, other = (
            Policy(sample=0.5, seed=1),
            Policy(sample=0.5, seed=1),
            Policy(sample=0.5, seed=2),
        )
        drawn = [first.mirrors(i) for i in IDS]
        assert drawn == [again.mirrors(i) for i in IDS]
        agreed = sum(a == other.mirrors(i) for a, i in zip(drawn, IDS, strict=True))
        assert off_by(agreed, 0.5) < 6


class TestTheDoor:
    @pytest.mark.parametrize("name", ["sample", "control"])
    @pytest.mark.parametrize("value", [-1e-9, 1.0000001, math.nan, math.inf, -math.inf, "1", None, True, 1j])
    def test_a_share_lies_from_0_to_1(self, name: str, value: Any) -> None:
        with pytest.raises(ConfigError) as caught:
            Policy(**{name: value})
        assert f"{name}={value!r}" in str(caught.value)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("budget_usd", -0.01),
            ("budget_usd", math.inf),
            ("timeout_s", 0),
            ("timeout_s", -1),
            ("timeout_s", math.nan),
            ("mirror_rate", 0),
            ("mirror_rate", -1),
            ("mirror_rate", math.inf),
            ("mirror_rate", "1"),
            ("max_in_flight", 0),
            ("max_in_flight", 1.0),
            ("max_in_flight", None),
            ("max_waiting", -1),
            ("max_waiting", False),
            ("silent_retries", -1),
            ("seed", 1.5),
            ("seed", "1"),
            ("seed", True),
        ],
    )
    def test_what_is_out_of_range_is_named_with_its_value(self, name: str, value: Any) -> None:
        with pytest.raises(ConfigError) as caught:
            Policy(**{name: value})
        assert f"{name}={value!r}: give " in str(caught.value)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            *[(name, value) for name in ("sample", "control") for value in (0, 1, 0.0, 1.0, 5e-324)],
            ("budget_usd", 0),
            ("budget_usd", None),
            ("timeout_s", 1e-9),
            ("timeout_s", None),
            ("mirror_rate", 1e-9),
            ("mirror_rate", None),
            ("max_in_flight", 1),
            ("max_waiting", 0),
            ("silent_retries", 0),
            ("seed", -(2**70)),
            ("seed", None),
        ],
    )
    def test_what_lies_on_the_edge_is_let_in(self, name: str, value: Any) -> None:
        assert getattr(Policy(**{name: value}), name) == value

    def test_a_number_too_large_for_a_float_is_refused_like_any_other(self) -> None:
        with pytest.raises(ConfigError):
            Policy(sample=10**400)


# what happens next: a call is asked for (expected, cost or None), or the nth under way ends
steps = st.lists(
    st.tuples(amounts, st.none() | st.floats(0, 1).map(lambda x: int(x * 2**10) / 2**10))
    | st.integers(0, 99),
    max_size=60,
)


# what happens next: a request asks for silent calls, or the nth call under way ends at its expected cost
requests = st.lists(st.lists(amounts, min_size=1, max_size=4) | st.integers(0, 99), max_size=60)


class TestSpending:
    @given(limit=amounts, steps=steps)
    def test_overshoots_by_at_most_one_call_where_none_costs_more_than_expected(
        self, limit: float, steps: list[Any]
    ) -> None:
        spending, under_way, dearest = Spending(limit), [], 0.0
        for step in steps:
            if isinstance(step, tuple):
                expected, part = step
                if spending.allows():
                    spending = spending.reserve(expected)
                    under_way.append((expected, None if part is None else expected * part))
                    dearest = max(dearest, expected)
            elif under_way:
                spending = spending.settle(*under_way.pop(step % len(under_way)))
            assert spending.spent + sum(expected for expected, _ in under_way) <= limit + dearest

    @given(limit=amounts, steps=steps)
    def test_never_refuses_below_the_limit(self, limit: float, steps: list[Any]) -> None:
        spending, under_way = Spending(limit), []
        for step in steps:
            if isinstance(step, tuple):
                spending = spending.reserve(step[0])
                under_way.append(step)
            elif under_way:
                spending = spending.settle(*under_way.pop(step % len(under_way)))
            known = spending.spent + sum(expected for expected, _ in under_way)
            assert spending.allows() == (known < limit)

    @given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.randoms())
    def test_whatever_ends_in_whatever_order_leaves_nothing_reserved(
        self, expected: list[float], random: Any
    ) -> None:
        spending = Spending(1.0)
        for one in expected:
            spending = spending.reserve(one)
        for one in random.sample(expected, len(expected)):
            spending = spending.settle(one, None)
        assert 0 <= spending.reserved < 1e-12
        assert spending.allows()

    @given(amounts, amounts)
    def test_an_unknown_cost_adds_nothing(self, expected: float, known: float) -> None:
        before = Spending(None).reserve(known).settle(known, known)
        after = before.reserve(expected).settle(expected, None)
        assert after == before

    def test_a_cost_of_0_is_known_and_counts_in_the_mean(self) -> None:
        spending = Spending().settle(0, 1.0).settle(0, 0.0)
        assert spending.expect(None, 99.0) == 0.5

    @given(amounts, amounts, amounts)
    def test_what_a_judge_costs_is_spent_but_says_nothing_of_a_silent_call(
        self, silent: float, judge: float, expected: float
    ) -> None:
        before = Spending(silent + judge).reserve(silent).settle(silent, silent)
        after = before.reserve(expected).settle_judge(expected, judge)
        assert after.spent == silent + judge
        assert after.expect(None, None) == pytest.approx(before.expect(None, None), abs=1e-9)
        assert after.reserved == pytest.approx(0, abs=1e-9)
        assert not after.allows()

    def test_the_first_call_is_expected_to_cost_what_its_primary_did(self) -> None:
        assert Spending().expect(None, 0.25) == 0.25
        assert Spending().expect(None, None) == 0.0

    def test_a_price_and_the_primarys_tokens_say_more_than_the_mean(self) -> None:
        spending = Spending().settle(0, 1.0)
        assert spending.expect(cost_by_tokens((0.5, 2.0), (4, 3)), 99.0) == 8.0
        assert spending.expect(cost_by_tokens((0.5, 2.0), None), 99.0) == 1.0
        assert spending.expect(cost_by_tokens((0.0, 0.0), (4, 3)), 99.0) == 1.0

    @given(limit=amounts, steps=requests)
    def test_requests_of_several_calls_overshoot_by_at_most_one_call(
        self, limit: float, steps: list[Any]
    ) -> None:
        spending, under_way, dearest = Spending(limit), [], 0.0
        for step in steps:
            if isinstance(step, list):
                if spending.allows(*step):
                    for expected in step:
                        spending = spending.reserve(expected)
                    under_way += step
                    dearest = max(dearest, *step)
            elif under_way:
                expected = under_way.pop(step % len(under_way))
                spending = spending.settle(expected, expected)
            assert spending.spent + sum(under_way) <= limit + dearest

    @given(amounts, st.lists(amounts, min_size=1, max_size=4))
    def test_a_request_is_refused_only_where_two_of_its_calls_would_overstep(
        self, limit: float, expected: list[float]
    ) -> None:
        assert Spending(limit).allows(*expected) == (sum(expected) - max(expected) < limit)

    @given(amounts)
    def test_no_limit_allows_all_and_a_limit_of_0_nothing(self, spent: float) -> None:
        assert Spending(None).reserve(spent).settle(0, spent).allows()
        assert not Spending(0.0).allows()


def test_a_call_whose_cost_nobody_knows_may_cost_all_that_is_left() -> None:
    spending = Spending(limit=1.0, spent=0.25, reserved=0.25)
    assert spending.expect(None, None) == 0.5
    # a model without a price costs nothing that could be known, nor does one without a limit
    assert spending.expect(None, None, has_price=False) == 0.0
    assert Spending().expect(None, None) == 0.0


def test_a_call_of_unknown_cost_is_expected_to_cost_what_those_under_way_do() -> None:
    """A primary that failed says nothing of tokens: one such is not to close the budget for all others."""
    under_way = Spending(limit=1.0).reserve(0.01, 0.03)
    assert under_way.expect(None, None) == pytest.approx(0.02)
    assert Spending(limit=1.0).expect(None, None) == 1.0
    assert Spending(limit=1.0).expect(None, None, guess=0.25) == 0.25
    assert under_way.settle(0.01, None).settle(0.03, None).expect(None, None) == pytest.approx(1.0)
