"""What is kept from one look at a record to the next."""

import threading

import pytest

from mirrorkit.compare.looked import Looked
from mirrorkit.compare.plan import Plan, look_of, looks_from_json
from mirrorkit.errors import CompareError


def test_what_was_set_stays_for_the_next_look() -> None:
    looked = Looked()
    assert looked.plan() == Plan()
    plan = looked.plan(gates={"cost": 0.8}, metrics={"mine": len}, clean=str.strip)
    looked.remember(plan, 10)
    assert looked.plan() == plan
    assert looked.plan(alpha=0.1).gates == {"cost": 0.8}


def test_what_was_not_looked_by_is_not_kept() -> None:
    looked = Looked()
    looked.plan(gates={"cost": 0.8})
    with pytest.raises(CompareError):
        looked.plan(alpha=3)
    assert (looked.plan(), looked.looks) == (Plan(), ())


def test_only_another_plan_makes_another_look_and_the_first_number_of_pairs_is_kept() -> None:
    looked = Looked()
    for pairs, changes in (
        (10, {}),
        (20, {}),
        (30, {"alpha": 0.1}),
        (40, {"alpha": 0.1}),
        (50, {"alpha": 0.05}),
    ):
        looked.remember(looked.plan(**changes), pairs)
    assert [(look.pairs, look.given["alpha"]) for look in looked.looks] == [(10, 0.05), (30, 0.1), (50, 0.05)]


def test_the_looks_of_a_recording_are_gone_on_from() -> None:
    plan = Plan().with_changes(gates={"cost": 0.8})
    looked = Looked([look_of(Plan(), 5), look_of(plan, 10)])
    assert looked.plan() == plan
    assert looked.with_look(plan, 99) == looked.looks
    assert [look.pairs for look in looked.with_look(Plan(), 99)] == [5, 10, 99]


def test_looks_that_are_recalled_late_do_not_replace_those_taken_meanwhile() -> None:
    looked = Looked()
    looked.remember(looked.plan(gates={"cost": 0.8}), 10)
    taken = looked.looks
    looked.recall(())
    looked.recall([look_of(Plan(), 5)])
    assert looked.looks == taken


def test_who_watches_looks_by_what_is_set_and_leaves_it() -> None:
    looked = Looked([look_of(Plan(), 5)])
    looked.intend(looked.plan(metrics={"mine": len}))
    plan, looks = looked.watch(7)
    assert (plan, looks) == (looked.plan(), looked.looks)
    assert (list(plan.metrics), [look.pairs for look in looks]) == (["mine"], [5, 7])
    assert looked.watch(8) == (plan, looks)


def test_a_writer_with_fewer_looks_is_never_the_last() -> None:
    looked, written, began = Looked(), list[str](), threading.Event()
    looked.remember(looked.plan(), 10)

    def another() -> None:
        began.set()
        looked.remember(looked.plan(alpha=0.1), 20)
        looked.keep(written.append)

    thread = threading.Thread(target=another)

    def slowly(looks: str) -> None:
        thread.start()
        assert began.wait(10)
        # it would be done by then, if it had not to wait for this one
        thread.join(0.2)
        written.append(looks)

    looked.keep(slowly)
    thread.join(10)
    assert [len(looks_from_json(looks)) for looks in written] == [1, 2]
