"""Votes: shuffled sides, what a vote says, undo."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.errors import LabelError
from mirrorkit.notebook.reading.ballot import Ballot, Choice, Said, place_of, preferred, silent_is_left
from mirrorkit.store.labels import KEEP, NO_NOTE


class Labels:
    """What `label` was told, as a frame would hold it."""

    def __init__(self) -> None:
        self.said: dict[str, Said] = {}

    def __call__(self, pair_id: str, preference: str | None, note: str | None) -> None:
        if pair_id == "gone":
            raise LabelError("there is no such pair")
        known = self.of(pair_id)
        kept = known.preference if preference is KEEP else preference
        self.said[pair_id] = Said(kept, known.note if note is None else None if note is NO_NOTE else note)

    def of(self, pair_id: str) -> Said:
        return self.said.get(pair_id, Said())

    def ballot(self) -> Ballot:
        return Ballot(self, self.of)


def test_half_of_the_pairs_have_the_silent_side_on_the_left_always_the_same_ones() -> None:
    ids = [f"pair {n}" for n in range(2_000)]
    first = [silent_is_left(pair_id, 7) for pair_id in ids]
    assert first == [silent_is_left(pair_id, 7) for pair_id in ids]
    assert first != [silent_is_left(pair_id, 8) for pair_id in ids]
    assert 900 < sum(first) < 1_100


@given(st.sampled_from(["left", "right", "tie"]), st.booleans())
def test_the_preferred_answer_is_where_it_was_chosen(choice: Choice, silent_left: bool) -> None:
    assert place_of(preferred(choice, silent_left), silent_left) == choice


def test_undo_takes_back_one_deed_after_the_other() -> None:
    labels = Labels()
    ballot = labels.ballot()
    ballot.vote("p1", "silent", known=Said())
    ballot.vote("p1", "tie", known=Said())
    assert ballot.note("p1", "hm", known=Said()) == Said("tie", "hm")
    ballot.skip("p2", known=Said())
    assert ballot.skipped == {"p2"}
    assert labels.of("p1") == Said("tie", "hm")

    seen = []
    while ballot.last is not None:
        assert ballot.undo() is not None
        seen.append(labels.of("p1"))
    assert seen == [Said("tie", "hm"), Said("tie"), Said("silent"), Said()]
    assert ballot.skipped == set()
    assert ballot.undo() is None
    assert "p2" not in labels.said, "a skip left a label"


def test_a_note_leaves_the_preference_that_was_set_elsewhere_meanwhile() -> None:
    labels = Labels()
    ballot, seen_before = labels.ballot(), labels.of("p1")
    labels("p1", "silent", None)
    assert ballot.note("p1", "hm", known=seen_before) == Said("silent", "hm")
    assert ballot.undo() == Said("silent", None)
    assert labels.of("p1") == Said("silent", None)


def test_undo_goes_back_to_what_was_recorded_when_the_vote_was_cast() -> None:
    labels = Labels()
    ballot, seen_before = labels.ballot(), labels.of("p1")
    labels("p1", "silent", "from elsewhere")
    ballot.vote("p1", "tie", known=seen_before)
    assert ballot.undo() == Said("silent", "from elsewhere")


def test_what_was_labelled_anew_elsewhere_is_not_undone() -> None:
    labels = Labels()
    ballot = labels.ballot()
    ballot.vote("p1", "silent", known=Said())
    ballot.note("p2", "hm", known=Said())
    labels("p1", "primary", None)
    labels("p2", None, "another")
    assert [ballot.undo(), ballot.undo()] == [None, None]
    assert (labels.of("p1"), labels.of("p2")) == (Said("primary"), Said(None, "another"))
    assert ballot.last is None, "a deed that cannot be undone is in the way of those before it"


def test_where_nothing_can_be_read_what_was_said_is_taken_as_recorded() -> None:
    labels = Labels()
    ballot = Ballot(labels, lambda _: None)
    said = ballot.vote("p1", "silent", known=Said())
    assert said == Said("silent")
    assert ballot.note("p1", "why", known=said) == Said("silent", "why")
    assert labels.of("p1") == Said("silent", "why")
    assert [ballot.undo(), ballot.undo()] == [Said("silent"), Said()]
    assert labels.of("p1") == Said()


def test_a_pair_that_is_voted_on_after_all_is_skipped_no_more() -> None:
    ballot = Labels().ballot()
    ballot.skip("p1", known=Said())
    ballot.vote("p1", "tie", known=Said())
    assert ballot.skipped == set()
    ballot.undo()
    assert ballot.skipped == {"p1"}


def test_a_note_that_says_nothing_new_or_was_refused_is_no_deed() -> None:
    ballot = Labels().ballot()
    ballot.note("p1", "", known=Said())
    assert ballot.last is None
    refused = Ballot(lambda *_: None, lambda _: Said(None, "old"))
    assert refused.note("p1", "new", known=Said(None, "old")) == Said(None, "old")
    assert refused.last is None


def test_a_vote_that_is_refused_leaves_nothing_to_undo() -> None:
    ballot = Labels().ballot()
    with pytest.raises(LabelError):
        ballot.vote("gone", "tie", known=Said())
    assert ballot.last is None
