"""The pairs that differ most, as a reader of the report meets them."""

import json
import re

import polars as pl
import pytest

from mirrorkit.comparison import compare
from mirrorkit.notebook.page.cases import MOST_CHARACTERS, cases
from mirrorkit.notebook.page.redaction import Redaction
from mirrorkit.records import CONTROL
from pairs import recorded

ASKED = "What is it about?"


def frame(arm: str = "mini", prefix: str = "p") -> pl.DataFrame:
    """Forty pairs whose sides are ok and the same."""
    return recorded(
        40,
        name=prefix,
        arm=arm,
        lag_s=0.25,
        messages=json.dumps([{"role": "user", "content": ASKED}]),
        model="m",
        latency_s=1.0,
        cost_usd=0.1,
        output="It is about this.",
    )


def shown(pairs: pl.DataFrame, count: int = 20, *, redaction: Redaction | None = None, **gates: float) -> str:
    return cases(compare(pairs, gates=gates), count, redaction or Redaction(None))


def ids(page: str) -> list[str]:
    return re.findall(r"<summary>\d+\. .*?\(pair (\w+)\)</summary>", page)


def only(page: str) -> str:
    """The first pair's own part of the page."""
    return page[page.index('<details class="example"') :].split('<details class="example">')[0]


def test_prompt_and_both_answers_of_the_most_different_pair_come_first() -> None:
    pairs = frame().with_columns(
        silent_latency_s=pl.when(pl.col("pair_id") == "p7").then(9.0).otherwise(1.5),
        silent_output=pl.format("said in {}", "pair_id"),
    )
    page = shown(pairs, latency=1.1)
    assert ids(page)[0] == "p7"
    first = only(page)
    assert "latency ×9.00" in first
    assert first.index(ASKED) < first.index("It is") < first.index("p7</")


def test_half_are_of_the_metric_that_decides_and_half_the_least_alike_no_pair_twice() -> None:
    number = pl.int_range(pl.len())
    pairs = frame().with_columns(
        silent_latency_s=1.0 + number / 10,
        silent_output=pl.when(number % 2 == 0).then(pl.lit("Else.")).otherwise("silent_output"),
    )
    page = shown(pairs, 8, latency=1.1)
    latency, similarity = page.split("<h3>in similarity</h3>")
    assert ids(latency) == ["p39", "p38", "p37", "p36"]
    assert len(ids(similarity)) == 4
    assert len(set(ids(page))) == 8


def test_pairs_that_do_not_differ_are_no_examples() -> None:
    assert shown(frame(), latency=1.1) == ""
    failed = pl.when(pl.col("pair_id") == "p3").then(pl.lit("error")).otherwise("silent_status")
    assert ids(shown(frame().with_columns(silent_status=failed), errors=0.5)) == ["p3"]


def test_of_a_metric_of_the_users_the_worst_are_shown_whatever_their_value() -> None:
    good = pl.when(pl.col("pair_id").is_in(["p3", "p8"])).then(0.0).otherwise(1.0)
    page = cases(compare(frame(), metrics={"good": good}, gates={"good": 0.9}), 4, Redaction(None))
    assert ids(page)[:2] == ["p3", "p8"]
    assert "mini: good 0 (pair p3)" in page


@pytest.mark.parametrize("metric", ["preference", "judge"])
def test_of_votes_it_is_said_who_is_preferred(metric: str) -> None:
    column = {"preference": "preference", "judge": "judge_preference"}[metric]
    votes = pl.Series(column, ["silent", "tie", "primary", None] * 10)
    page = cases(compare(frame().with_columns(votes), gates={metric: 0.5}), 30, Redaction(None))
    heads = re.findall(r"<summary>\d+\. mini: (.*?) \(pair", page)
    assert heads == [
        *[f"{metric}: the primary is preferred"] * 10,
        *[f"{metric}: a tie"] * 10,
        *[f"{metric}: the silent one is preferred"] * 10,
    ]


def test_none_are_shown_where_none_are_wanted() -> None:
    assert shown(frame().with_columns(silent_latency_s=pl.lit(2.0)), 0, latency=1.1) == ""


def test_without_gates_they_are_the_least_alike() -> None:
    page = shown(frame().with_columns(silent_output=pl.lit("Else.")))
    assert "<h3>in similarity</h3>" in page
    assert len(ids(page)) == 20


def test_they_are_of_the_arm_that_decides_however_much_another_differs() -> None:
    failing = frame("failing", "f").with_columns(silent_status=pl.lit("error"))
    pairs = pl.concat([failing, frame("mini").with_columns(silent_output=pl.lit("Else."))])
    assert compare(pairs, gates={"errors": 0.5}).verdict.arm == "mini"
    assert {each[0] for each in ids(shown(pairs, errors=0.5))} == {"p"}


def test_control_pairs_are_no_examples() -> None:
    pairs = pl.concat([frame(CONTROL, "c"), frame().with_columns(silent_output=pl.lit("Else."))])
    assert {each[0] for each in ids(shown(pairs, latency=1.1))} == {"p"}


def test_what_only_one_text_says_is_marked() -> None:
    first = only(shown(frame().with_columns(silent_output=pl.lit("It is about that."))))
    assert "It is about <del>this</del>." in first
    assert "It is about <ins>that</ins>." in first


def test_texts_with_little_in_common_are_not_marked_all_over() -> None:
    page = only(shown(frame().with_columns(silent_output=pl.lit("Nothing else matters here"))))
    assert "<ins>" not in page


def test_json_is_a_table_of_the_fields_that_differ() -> None:
    pairs = frame().with_columns(
        primary_output=pl.lit('{"city": "Rome", "days": 2, "gone": null}'),
        silent_output=pl.lit('```json\n{"city": "Oslo", "days": 2}\n```'),
    )
    first = only(shown(pairs))
    assert (
        '<th scope="row">$.city</th><td><del>&quot;Rome&quot;</del></td><td><ins>&quot;Oslo&quot;</ins></td>'
        in first
    )
    assert '<th scope="row">$.gone</th><td><del>null</del></td><td>–</td>' in first
    assert "1 field is the same on both sides" in first
    assert "$.days" not in first


def test_tool_calls_are_a_table() -> None:
    calls = [json.dumps([{"name": "find", "arguments": json.dumps({"n": n})}]) for n in (1, 2)]
    pairs = frame().with_columns(
        primary_tool_calls=pl.lit(calls[0]), silent_tool_calls=pl.lit(calls[1]), silent_output=pl.lit("Else.")
    )
    first = only(shown(pairs))
    assert '<th scope="row">differs</th><td><b>find</b> <code>{&quot;n&quot;: 1}</code></td>' in first


def test_a_persons_note_and_a_judges_reason_are_shown() -> None:
    pairs = frame().with_columns(
        silent_output=pl.lit("Else."),
        preference=pl.lit("silent"),
        note=pl.lit("shorter & right"),
        judge_preference=pl.lit("tie"),
        judge_reason=pl.lit("both fine"),
    )
    first = only(shown(pairs))
    assert "A person prefers the silent model: shorter &amp; right" in first
    assert "The judge calls it a tie: both fine" in first


def test_a_megabyte_is_cut_and_says_so() -> None:
    page = shown(
        frame().with_columns(silent_output=pl.lit("x" * 1_000_000), messages=pl.lit("y" * 1_000_000))
    )
    assert f"… {1_000_000 - MOST_CHARACTERS:,} more characters" in page
    assert len(page) < 200_000


def test_of_a_long_conversation_the_end_is_shown() -> None:
    turns = [{"role": "user", "content": f"message {number}."} for number in range(40)]
    page = shown(frame().with_columns(silent_output=pl.lit("Else."), messages=pl.lit(json.dumps(turns))))
    assert "asked (40 messages)" in page
    assert "message 39." in page
    assert "message 1." not in page
    assert "28 earlier messages are not shown" in page


HOSTILE = "</pre></details><script>hacked=1</script><img src=x onerror=hacked=1>\x1b[2J\u202e"


def test_hostile_texts_are_escaped_wherever_they_stand() -> None:
    text = pl.lit(HOSTILE)
    calls = json.dumps([{"name": HOSTILE, "arguments": HOSTILE}])
    messages = json.dumps([{"role": HOSTILE, "content": [HOSTILE, {"type": HOSTILE}]}])
    pairs = frame().with_columns(
        silent_output=text, silent_error_message=text, silent_tool_calls=pl.lit(calls), note=text,
        judge_reason=text, messages=pl.lit(messages), arm=text, pair_id=pl.col("pair_id") + HOSTILE,
    )  # fmt: skip
    page = shown(pairs)
    assert "<script" not in page
    assert "<img" not in page
    assert page.count("<details") == page.count("</details>")
    assert not set("\x1b\u202e") & set(page)
    assert "⟨U+001B⟩[2J⟨U+202E⟩" in page


def test_what_the_redaction_raises_on_is_left_out_and_said_to_be() -> None:
    def redact(text: str) -> str:
        return text.upper() if text == ASKED else text[99]

    redaction = Redaction(redact)
    page = shown(frame().with_columns(silent_output=pl.lit("Secret.")), 1, redaction=redaction)
    assert ASKED.upper() in page
    assert "Secret" not in page
    assert "The redaction failed on 2 of their texts" in page


@pytest.mark.parametrize(
    "messages", [None, "no JSON", "[]", '"text"', '[{"role": "user"}]', "3", "[3]", "{}", "[" * 100_000]
)
def test_messages_of_any_shape_can_be_shown(messages: str | None) -> None:
    pairs = frame().with_columns(silent_output=pl.lit("Else."), messages=pl.lit(messages, pl.String))
    assert len(ids(shown(pairs))) == 20
