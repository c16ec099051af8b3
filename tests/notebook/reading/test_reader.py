"""What keys and buttons do: places, votes, notes, undo, blindness, and that only one page crosses."""

import json
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.errors import CompareError
from mirrorkit.notebook.reading.ballot import silent_is_left
from mirrorkit.notebook.reading.reader import Reader
from mirrorkit.notebook.reading.sides import FIRST
from mirrorkit.records import CONTROL, SCHEMA
from mirrorkit.store.frame import FrameStore
from pairs import recorded


def frame(count: int = 50, **columns: Any) -> pl.DataFrame:
    given = {
        "latency_s": (1.0, [1.0 + n for n in range(count)]),
        "output": ("of the primary", "of the silent"),
        "messages": [json.dumps([{"role": "user", "content": f"question {n}"}]) for n in range(count)],
    }
    return recorded(count, **{**given, **columns})


class Session:
    """A store and a reader of it."""

    def __init__(self, pairs: pl.DataFrame, **how: Any) -> None:
        self.store = FrameStore(pairs, clock=lambda: datetime(2026, 11, 22, tzinfo=UTC))
        self.reader = Reader(self.store.frame, self.store.label, **how)

    def do(self, deed: str, **more: Any) -> dict[str, Any]:
        self.reader.do({"do": deed, **more})
        return self.reader.view()

    def vote(self, choice: str) -> dict[str, Any]:
        return self.do("vote", pair=self.reader.pair_id, choice=choice)

    def said(self, pair_id: str) -> tuple[str | None, str | None]:
        row: Any = self.store.frame().filter(pl.col("pair_id") == pair_id).select("preference", "note").row(0)
        return row


def test_a_vote_is_in_the_frame_at_once_for_the_side_that_was_chosen() -> None:
    session = Session(frame(), seed=3)
    for number in range(20):
        pair_id = f"p{number}"
        before = session.reader.view()["pair"]
        assert not before["revealed"]
        view = session.vote("left")
        silent_left = silent_is_left(pair_id, 3)
        assert session.said(pair_id)[0] == ("silent" if silent_left else "primary")
        written = "".join(text for _, text in before["left"]["segments"])
        assert written == ("of the silent" if silent_left else "of the primary")
        assert view["pair"]["revealed"]
        assert view["pair"]["preferred"] == "left"
        session.do("next")
    assert session.reader.view()["count"]["voted"] == 20


def test_both_orders_are_shown() -> None:
    left = {silent_is_left(f"p{n}", 0) for n in range(20)}
    assert left == {True, False}
    session = Session(frame(), blind=False)
    for _ in range(20):
        view = session.do("next")
        assert view["pair"]["left"]["side"] == "primary", "not shuffled, where nobody is blind"


def test_where_nobody_is_blind_a_vote_goes_on_to_the_next_pair() -> None:
    session = Session(frame(3), blind=False)
    assert session.reader.view()["pair"]["revealed"]
    assert session.vote("right")["at"] == 1
    assert session.said("p0")[0] == "silent"
    session.do("go_on", on=False)
    assert session.vote("tie")["at"] == 1


def test_skipping_leaves_no_label_and_undo_goes_back_to_it() -> None:
    session = Session(frame(3))
    view = session.do("skip", pair="p0")
    assert (view["at"], view["count"]["skipped"], view["page"]["rows"][0]["mark"]) == (1, 1, "skipped")
    assert session.said("p0") == (None, None)
    session.vote("tie")
    view = session.do("undo")
    assert session.said("p1")[0] is None
    assert not view["pair"]["revealed"]
    view = session.do("undo")
    assert (view["at"], view["count"]["skipped"], view["can_undo"]) == (0, 0, False)


def test_a_note_keeps_the_preference_and_shows_what_is_recorded() -> None:
    store = FrameStore(frame(2))
    reader = Reader(
        store.frame, lambda pair_id, vote, note: store.label(pair_id, vote, note and note.upper())
    )
    reader.do({"do": "vote", "pair": "p0", "choice": "tie"})
    reader.do({"do": "note", "pair": "p0", "text": "secret"})
    assert store.frame().select("preference", "note").row(0) == ("tie", "SECRET")
    assert reader.view()["pair"]["note"] == "SECRET", "what `redact` left of it is not shown"


def test_labels_set_elsewhere_meanwhile_stay() -> None:
    session = Session(frame(3))
    session.store.label("p0", "silent", None)
    view = session.do("note", pair="p0", text="hm")
    assert session.said("p0") == ("silent", "hm")
    assert view["pair"]["revealed"], "what was said elsewhere is not shown"
    session.store.label("p0", "primary", "mine")
    view = session.do("undo")
    assert session.said("p0") == ("primary", "mine")
    assert "not undone" in view["message"]
    assert (view["pair"]["note"], view["can_undo"]) == ("mine", False)


def test_a_first_note_that_is_undone_was_never_there() -> None:
    session = Session(frame(1))
    session.do("note", pair="p0", text="hm")
    view = session.do("undo")
    assert session.said("p0") == (None, None)
    assert view["message"] == "undone: note"


def test_a_note_is_of_the_pair_it_names_even_if_another_is_shown_by_now() -> None:
    session = Session(frame(3))
    session.do("next")
    view = session.do("note", pair="p0", text="of the first")
    assert (session.said("p0"), session.said("p1")) == ((None, "of the first"), (None, None))
    assert (view["at"], view["message"]) == (1, "noted")
    assert "no such pair" in session.do("note", pair="p9", text="x")["message"]


def test_a_note_that_was_refused_is_said_not_to_be_kept() -> None:
    store = FrameStore(frame(1))
    reader = Reader(store.frame, lambda pair_id, vote, note: store.label(pair_id, vote, None))
    reader.do({"do": "note", "pair": "p0", "text": "a name"})
    view = reader.view()
    assert "not kept" in view["message"]
    assert (view["pair"]["note"], view["can_undo"]) == ("", False)
    assert store.frame()["labelled_at"].null_count() == 1, "nothing was said"


def test_a_pair_that_left_memory_keeps_its_vote_when_a_note_is_added() -> None:
    store, pairs = FrameStore(frame(2)), frame(2)
    hidden: list[bool] = []
    reader = Reader(lambda: pairs.tail(1) if hidden else store.frame(), store.label)
    hidden.append(True)
    reader.do({"do": "vote", "pair": "p0", "choice": "tie"})
    assert reader.view()["pair"]["preferred"] == "tie"
    reader.do({"do": "note", "pair": "p0", "text": "even"})
    assert store.frame().select("preference", "note").row(0) == ("tie", "even")
    assert (reader.view()["pair"]["note"], reader.view()["count"]["voted"]) == ("even", 1)


def test_who_is_blind_cannot_sort_by_who_won() -> None:
    judged = frame(3, judge_preference=["silent", "primary", "tie"])
    session = Session(judged)
    assert not {"judge", "preference"} & {key for key, _ in session.reader.view()["options"]["sorts"]}
    view = session.do("query", query={"sort": "judge"})
    assert "tells who won" in view["error"]
    assert session.reader.pairs["pair_id"].to_list() == ["p0", "p1", "p2"]
    seeing = Session(judged, blind=False)
    assert seeing.do("query", query={"sort": "judge"})["error"] == ""
    assert seeing.reader.pairs["judge_preference"].to_list() != judged["judge_preference"].to_list()


def test_who_is_blind_chooses_among_silent_models_by_number() -> None:
    assert Session(frame(2, arm=["mini", CONTROL])).reader.view()["options"]["arms"] == []
    session = Session(frame(3, arm=["mini", CONTROL, "maxi"]))
    names = ["silent model 1", "silent model 2", CONTROL]
    assert session.reader.view()["options"]["arms"] == [(name, name) for name in names]
    view = session.do("query", query={"arm": "silent model 2"})
    assert view["pair"]["id"] == "p2"
    assert view["query"]["arm"] == "silent model 2"
    assert "maxi" not in json.dumps(view)
    seeing = Session(frame(2, arm=["mini", CONTROL]), blind=False)
    assert seeing.reader.view()["options"]["arms"] == [("mini", "mini"), (CONTROL, CONTROL)]
    assert seeing.do("query", query={"arm": CONTROL})["pair"]["id"] == "p1"


def test_what_can_be_chosen_is_shown_with_nothing_hidden() -> None:
    session = Session(frame(2, tags=[["a\u202eb"], []]))
    [(key, text)] = session.reader.view()["options"]["tags"]
    assert text == "a⟨U+202E⟩b"
    assert session.do("query", query={"tag": key})["count"]["shown"] == 1


def test_rows_without_an_id_are_left_out_and_told_of() -> None:
    session = Session(frame(3, pair_id=[None, "a", "b"]))
    view = session.reader.view()
    assert (view["count"]["all"], view["pair"]["id"]) == (2, "a")
    assert view["left_out"] == "1 row without a pair_id is left out"
    session.vote("tie")
    assert session.said("a")[0] == "tie"
    assert Session(frame(1)).reader.view()["left_out"] == ""


def test_a_vote_for_a_pair_that_is_shown_no_more_is_not_taken() -> None:
    session = Session(frame(3))
    session.do("next")
    view = session.do("vote", pair="p0", choice="left")
    assert "not done" in view["message"]
    assert session.store.frame()["preference"].null_count() == 3


def test_next_and_previous_stay_on_the_list() -> None:
    session = Session(frame(3))
    assert session.do("previous")["at"] == 0
    assert [session.do("next")["at"] for _ in range(4)] == [1, 2, 2, 2]
    assert session.do("go", to=-20)["at"] == 0
    assert session.do("go", to=20)["at"] == 2


def test_pages_have_the_short_rows_of_one_page_alone() -> None:
    session = Session(frame(50), page=20)
    view = session.do("go", to=45)
    assert (view["page"]["number"], view["page"]["of"], view["page"]["first"]) == (3, 3, 40)
    assert [row["text"] for row in view["page"]["rows"]] == [f"question {n}" for n in range(40, 50)]
    with pytest.raises(CompareError, match="page=0"):
        Reader(lambda: frame(1), lambda *_: None, page=0)


def test_what_crosses_to_the_page_does_not_grow_with_the_pairs_nor_with_their_texts() -> None:
    few, many = (Session(frame(count, primary_output=["long " * 9] * count)) for count in (100, 5_000))
    assert len(json.dumps(many.reader.view())) < 1.1 * len(json.dumps(few.reader.view()))
    big = Session(frame(100, primary_output=["x" * 200_000] * 100, silent_output=["y" * 200_000] * 100))
    assert len(json.dumps(big.reader.view())) < 4 * FIRST


def test_texts_are_shown_in_steps_and_from_the_beginning_again_for_the_next_pair() -> None:
    session = Session(frame(2, primary_output=["x" * 500_000] * 2, silent_output=["y" * 500_000] * 2))
    assert session.do("more", part="right")["pair"]["right"]["cut"]["shown"] == 120_000
    assert session.do("more", part="right")["pair"]["right"]["cut"]["shown"] == 220_000
    assert session.do("next")["pair"]["right"]["cut"]["shown"] == FIRST


def test_a_filter_that_cannot_be_asked_says_why_and_leaves_the_list() -> None:
    session = Session(frame(5))
    session.do("next")
    view = session.do("query", query={"expression": "pl.col('x') > 1"})
    assert view["error"] == "there is no column 'x'"
    assert (view["at"], view["count"]["shown"], view["pair"]["id"]) == (1, 5, "p1")
    assert view["query"]["expression"] == "pl.col('x') > 1"
    view = session.do("query", query={"expression": "pl.col('silent_latency_s') > 2"})
    assert (view["error"], view["count"]["shown"], view["pair"]["id"]) == ("", 3, "p2")
    view = session.do("query", query={"sort": "latency"})
    assert view["pair"]["id"] == "p4"
    view = session.do("query", query={"expression": "pl.lit(False)"})
    assert view["pair"] is None
    assert session.vote("tie")["count"]["voted"] == 0
    assert session.do("next")["at"] == 0


def test_differences_are_told_in_the_list_only_of_pairs_that_are_voted_on() -> None:
    session = Session(frame(3))
    view = session.do("query", query={"sort": "latency"})
    assert [row["value"] for row in view["page"]["rows"]] == ["", "", ""]
    view = session.vote("tie")
    assert [row["value"] for row in view["page"]["rows"]] == ["×3.00", "", ""]


def test_new_pairs_come_when_they_are_looked_for_and_the_pair_stays() -> None:
    pairs = frame(5)
    now = [pairs.head(3)]
    reader = Reader(lambda: now[0], lambda *_: None)
    reader.do({"do": "go", "to": 2})
    now[0] = pairs
    assert reader.view()["count"]["all"] == 3
    reader.do({"do": "refresh"})
    view = reader.view()
    assert (view["count"]["all"], view["pair"]["id"], view["message"]) == (5, "p2", "2 new pairs")
    now[0] = frame(6)
    reader.do({"do": "refresh"})
    assert reader.view()["message"] == "1 new pair"


def test_no_pairs_is_no_error() -> None:
    reader = Reader(lambda: SCHEMA.frame(), lambda *_: None)
    for deed in ("next", "undo", "refresh", "vote", "skip", "note"):
        reader.do({"do": deed, "pair": None, "choice": "left"})
    assert reader.view()["pair"] is None
    assert reader.pair_id is None


@pytest.mark.parametrize("error", [OSError("the disk is full"), RuntimeError("the disk is full")])
def test_a_label_that_cannot_be_set_is_told_of(error: Exception) -> None:
    def broken(*_: Any) -> None:
        raise error

    reader = Reader(lambda: frame(2), broken)
    reader.do({"do": "vote", "pair": "p0", "choice": "tie"})
    assert "disk is full" in reader.view()["message"]
    assert not reader.view()["can_undo"]


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x, max_size=3))
WORDS = st.sampled_from(
    ["query", "refresh", "next", "previous", "go", "more", "go_on", "undo", "vote", "skip", "note", "x"]
)
KEYS = st.sampled_from(["to", "part", "on", "pair", "choice", "text", "query"])


@given(WORDS, st.dictionaries(KEYS, JSON | st.dictionaries(st.text(), JSON, max_size=3), max_size=4))
def test_whatever_the_page_says_nothing_breaks(deed: str, more: dict[str, Any]) -> None:
    session = Session(frame(3))
    assert json.dumps(session.do(deed, **more))
