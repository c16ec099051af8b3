"""The pair browser as a widget: what crosses, what is shown without a front end, what the script may do."""

import gc
import json
import re
import warnings
import weakref
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import mirrorkit
from mirrorkit.notebook.browser import PairBrowser
from mirrorkit.recording import Recording
from pairs import recorded

STATIC = Path(mirrorkit.__file__).parent / "notebook" / "static"
VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def recording() -> Recording:
    answers = ("<script>yes</script>\x1b[31m", "no")
    return Recording(recorded(2, pair_id=["p1", "p2"], arm="name-of-the-silent", output=answers))


def say(browser: PairBrowser, **message: Any) -> None:
    """What the page's script sends, the way it comes in."""
    browser._handle_custom_msg(message, [])


def test_votes_go_into_the_frame_and_into_the_next_comparison(recording: Recording) -> None:
    browser = recording.browse(blind=False)
    say(browser, do="vote", pair="p1", choice="right")
    say(browser, do="vote", pair="p2", choice="tie")
    assert recording.frame["preference"].to_list() == ["silent", "tie"]
    row = recording.compare(progress=False).table.row(
        by_predicate=pl.col("metric") == "preference", named=True
    )
    assert (row["n"], row["effect"]) == (2, 0.75)


def test_a_session_browses_too_and_what_is_said_is_redacted_and_journaled(sim: Any, tmp_path: Path) -> None:
    models = [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")]
    how: dict[str, Any] = {"silent_model": "next", "journal": tmp_path, "redact": lambda text: text.upper()}
    with mirrorkit.MirrorSession(models, **how) as session:
        browser = session.browse()
        assert repr(browser) == "No pairs."
        session.run(["Hi"], model="chat", progress=False)
        say(browser, do="refresh")
        say(browser, do="vote", pair=browser.pair_id, choice="tie")
        say(browser, do="note", pair=browser.pair_id, text="so so")
        assert session.frame.select("preference", "note").row(0) == ("tie", "SO SO")
        assert browser.view["pair"]["note"] == "SO SO"
    assert mirrorkit.load(tmp_path).frame.select("preference", "note").row(0) == ("tie", "SO SO")


def test_a_vote_on_a_pair_that_left_memory_stays_when_a_note_is_added(sim: Any, tmp_path: Path) -> None:
    models = [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")]
    how: dict[str, Any] = {"silent_model": "next", "journal": tmp_path, "max_pairs_in_memory": 2}
    with mirrorkit.MirrorSession(models, **how) as session, warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ResourceWarning)  # of what other tests left open
        session.run(["Hi"] * 2, model="chat", progress=False)
        browser = session.browse(blind=False)
        first = browser.pair_id
        session.run(["Ho"] * 4, model="chat", progress=False)
        say(browser, do="go_on", on=False)
        say(browser, do="vote", pair=first, choice="right")
        say(browser, do="note", pair=first, text="why")
        say(browser, do="note", pair=first, text="why not")
        assert browser.view["message"] == "noted"
        say(browser, do="undo")
        say(browser, do="undo")
        assert browser.view["pair"]["note"] == ""
        say(browser, do="refresh")
        assert browser.view["message"].endswith("new pairs"), "what is hidden is no error of the reader's"
    said = mirrorkit.load(tmp_path).frame.filter(pl.col("pair_id") == first)
    assert said.select("preference", "note").row(0) == ("silent", None), (
        "undo leaves what was not there before"
    )


def test_a_browser_does_not_keep_its_session_alive_and_says_so_when_it_is_gone(sim: Any) -> None:
    models = [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")]
    session = mirrorkit.MirrorSession(models, silent_model="next")
    session.run(["Hi"], model="chat", progress=False)
    browser, gone = session.browse(), weakref.ref(session)
    session.close()
    del session
    gc.collect()
    assert gone() is None
    say(browser, do="vote", pair=browser.pair_id, choice="tie")
    assert "the session is gone" in browser.view["message"]


def test_a_recording_is_held_and_does_not_look_for_new_pairs(recording: Recording) -> None:
    browser = Recording(recording.frame).browse()
    gc.collect()
    say(browser, do="vote", pair="p1", choice="tie")
    assert browser.view["count"]["voted"] == 1
    assert not browser.view["grows"]


def test_a_recording_whose_gate_waits_for_a_metric_is_browsed(recording: Recording, tmp_path: Path) -> None:
    recording.compare(gates={"short": 0.5}, metrics={"short": lambda _: 1.0}, progress=False)
    recording.to_parquet(tmp_path / "pairs.parquet")
    assert mirrorkit.load(tmp_path / "pairs.parquet").browse().pair_id == "p1"


def test_one_trait_crosses_and_it_is_data(recording: Recording) -> None:
    browser = recording.browse()
    state = browser.get_state()
    ours = {name for name in state if not name.startswith("_")} - {"layout", "tabbable", "tooltip"}
    assert ours == {"view"}
    assert "name-of-the-silent" not in json.dumps(state["view"])
    say(browser, do="vote", pair="p1", choice="left")
    assert "name-of-the-silent" in json.dumps(browser.get_state()["view"])
    assert browser.pair_id == "p1"
    assert browser.pairs["pair_id"].to_list() == ["p1", "p2"]


def test_where_nothing_draws_widgets_there_is_a_picture_and_a_sentence(recording: Recording) -> None:
    data, _ = recording.browse()._repr_mimebundle_()
    assert VIEW in data
    assert "still picture" in data["text/html"]
    assert "<script" not in data["text/html"]
    assert "&lt;script&gt;yes" in data["text/html"]
    assert data["text/plain"].startswith("Pair 1 of 2, 0 voted, 2 left.")
    assert "\x1b" not in data["text/plain"] + data["text/html"]


def test_nbconvert_shows_the_picture(recording: Recording) -> None:
    import nbformat
    from nbconvert import HTMLExporter

    data, _ = recording.browse()._repr_mimebundle_()
    output = nbformat.v4.new_output("display_data", data=data)
    cell = nbformat.v4.new_code_cell("session.browse()", outputs=[output])
    page, _ = HTMLExporter(template_name="basic").from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    assert "still picture" in page
    assert "&lt;script&gt;yes" in page


def test_what_is_no_message_is_let_be(recording: Recording) -> None:
    browser = recording.browse()
    for message in ({}, {"do": None}, {"do": "nothing"}):
        say(browser, **message)
    browser._handle_custom_msg("text", [])
    assert browser.pair_id == "p1"


def test_the_script_puts_texts_into_the_page_as_text_alone() -> None:
    script = (STATIC / "browser.js").read_text(encoding="utf-8")
    ways_in = r"innerHTML|outerHTML|insertAdjacent|document\.write|DOMParser|createContextualFragment|srcdoc"
    ways_in += (
        r"|\beval\b|new Function|setAttribute\(\s*[\"'`](on|href|src|style)|\.href|\.src\b|import\(|fetch\("
    )
    assert re.findall(ways_in, script) == []
    style = (STATIC / "browser.css").read_text(encoding="utf-8")
    assert re.findall(r"@import|url\(|https?:", style + script) == []


def test_the_script_stands_among_what_is_installed() -> None:
    assert PairBrowser._esm is not None
    assert {path.suffix for path in STATIC.iterdir()} == {".js", ".css"}
