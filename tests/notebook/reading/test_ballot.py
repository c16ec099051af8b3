"""Votes: shuffled sides, what a vote says, undo."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.errors import LabelError
from mirrorkit.notebook.reading.ballot import Ballot, Choice, Said, place_of, preferred, silent_is_left


class Labels:
    """What `label` was told, as a frame would hold it."""

    def __init__(self) -> None:
        self.said: dict[str, Said] = {}

    def __call__(self, pair_id: str, preference: str | None, note: str | None) -> None:
        if pair_id == "gone":
            raise LabelError("there is no such pair")
        known = self.of(pair_id)
        self.said[pair_id] = Said(preference, known.note if note is None else note)

    def of(self, pair_id: str) -> Said:
        return self.said.get(pair_id, Said())


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
    ballot = Ballot(labels)
    ballot.vote("p1", "silent", before=labels.of("p1"))
    ballot.vote("p1", "tie", before=labels.of("p1"))
    assert ballot.note("p1", "hm", before=labels.of("p1"))
    ballot.skip("p2", before=labels.of("p2"))
    assert ballot.skipped == {"p2"}
    assert labels.of("p1") == Said("tie", "hm")

    seen = []
    while ballot.can_undo:
        ballot.undo()
        seen.append(labels.of("p1"))
    assert seen == [Said("tie", "hm"), Said("tie", ""), Said("silent", ""), Said(None, "")]
    assert ballot.skipped == set()
    assert ballot.undo() is None
    assert "p2" not in labels.said, "a skip left a label"


def test_a_pair_that_is_voted_on_after_all_is_skipped_no_more() -> None:
    ballot = Ballot(Labels())
    ballot.skip("p1", before=Said())
    ballot.vote("p1", "tie", before=Said())
    assert ballot.skipped == set()
    ballot.undo()
    assert ballot.skipped == {"p1"}


def test_a_note_that_says_nothing_new_is_no_deed() -> None:
    ballot = Ballot(Labels())
    assert not ballot.note("p1", "", before=Said())
    assert not ballot.note("p1", "so", before=Said(None, "so"))
    assert not ballot.can_undo


def test_a_vote_that_is_refused_leaves_nothing_to_undo() -> None:
    ballot = Ballot(Labels())
    with pytest.raises(LabelError):
        ballot.vote("gone", "tie", before=Said())
    assert not ballot.can_undo
