"""The books are exact however many threads write in them at once."""

import random
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.capture.books import Books
from mirrorkit.capture.policy import Reason
from mirrorkit.errors import MirrorWarning
from mirrorkit.records import Call

OUTCOMES = ("mirrored", *get_args(Reason))


@given(st.lists(st.none() | st.sampled_from(OUTCOMES)))
def test_requests_are_the_sum_of_the_others_at_every_step(steps: list[Any]) -> None:
    books = Books(None)
    for outcome in steps:
        if outcome is not None and not books.funnel.under_way:
            continue
        books.count("opened" if outcome is None else outcome)
        counts = books.funnel.as_dict()
        assert counts.pop("requests") == sum(counts.values())
    assert books.funnel.requests == sum(step is None for step in steps)


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_each_outcome_has_a_count_of_its_own(outcome: Any) -> None:
    books = Books(None)
    books.count("opened")
    books.count(outcome)
    assert {name for name, n in books.funnel.as_dict().items() if n} == {"requests", outcome}


class Nameless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_a_fault_that_cannot_be_put_in_words_is_one_all_the_same() -> None:
    books = Books(None)
    with pytest.warns(MirrorWarning, match="its text cannot be had"):
        books.fault(Nameless())
    assert books.faults == 1


@pytest.mark.parametrize("seed", range(3))
def test_threads_that_reserve_and_settle_overshoot_by_at_most_one_call(seed: int, together: Any) -> None:
    books, sent = Books(1.0), []

    def spend(rng: random.Random) -> None:
        open_calls: list[float] = []
        for _ in range(200):
            # dyadic, so that sums are exact
            arms = [rng.randint(1, 64) / 2**12 for _ in range(rng.randint(1, 3))]
            if books.reserve(arms):
                open_calls += arms
                sent.extend(arms)
            while open_calls and rng.random() < 0.5:
                cost = open_calls.pop(rng.randrange(len(open_calls)))
                books.settle(cost, Call("ok", cost_usd=cost))
        for cost in open_calls:
            books.settle(cost, Call("ok", cost_usd=cost))

    together(*(lambda n=n: spend(random.Random(10 * seed + n)) for n in range(8)))
    assert books.spending.reserved == 0
    assert books.spending.spent == sum(sent)
    # all of it was used, and no more than one call over
    assert 1.0 <= sum(sent) <= 1.0 + 64 / 2**12


def test_a_request_whose_calls_do_not_fit_reserves_nothing() -> None:
    books = Books(1.0)
    assert not books.reserve([1.0, 1.0])
    assert books.spending.reserved == 0
    assert books.reserve([1.0, 0.5])
    assert not books.reserve([0.25])


def test_a_call_that_was_not_sent_after_all_gives_its_money_back() -> None:
    books = Books(1.0)
    assert books.reserve([1.0])
    assert not books.reserve([0.5])
    books.settle(1.0)
    assert books.reserve([0.5])
