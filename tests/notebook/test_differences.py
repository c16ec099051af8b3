"""How two answers differ: nothing lost, nothing made up, and never an error whatever a model wrote."""

import base64
import json
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.capture.scrub import Scrubber
from mirrorkit.notebook.differences import (
    MOST_ROWS,
    CallRow,
    FieldChange,
    ToolCall,
    Turn,
    calls,
    conversation,
    fields,
    words,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
SENTENCES = st.lists(st.sampled_from(["the", "cat", "sat", " ", "\n", ". ", ", ", "мир", "猫", "é"])).map(
    "".join
)


def sides(segments: Sequence[tuple[str, str]]) -> tuple[str, str]:
    one = "".join(text for kind, text in segments if kind != "added")
    other = "".join(text for kind, text in segments if kind != "removed")
    return one, other


@given(SENTENCES | st.text(), SENTENCES | st.text(), st.sampled_from([0, 3, 10_000]))
def test_the_segments_make_both_texts_again(one: str, other: str, limit: int) -> None:
    assert sides(words(one, other, limit)) == (one, other)


@given(SENTENCES, SENTENCES)
def test_no_segment_is_empty_and_no_two_neighbours_are_of_a_kind(one: str, other: str) -> None:
    segments = words(one, other)
    assert all(text for _, text in segments)
    kinds = [kind for kind, _ in segments]
    assert all(here != there for here, there in pairwise(kinds))
    assert ("added", "removed") not in pairwise(kinds)


@given(st.text(min_size=1))
def test_equal_texts_are_one_segment(text: str) -> None:
    assert words(text, text) == [("same", text)]


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        ("", "", []),
        ("", "new", [("added", "new")]),
        ("old", "", [("removed", "old")]),
        ("a cat sat", "a dog sat", [("same", "a "), ("removed", "cat"), ("added", "dog"), ("same", " sat")]),
        ("one two", "six ten", [("removed", "one two"), ("added", "six ten")]),  # no shared space between
        ("猫が好き", "犬が好き", [("removed", "猫"), ("added", "犬"), ("same", "が好き")]),
    ],
)
def test_words_are_told_as_a_reader_would(one: str, other: str, told: list[tuple[str, str]]) -> None:
    assert words(one, other) == told


def test_beyond_the_limit_only_the_beginning_and_the_end_in_common_are_told() -> None:
    one, other = "same a b c end", "same c b a end"
    assert words(one, other, limit=2) == [
        ("same", "same "), ("removed", "a b c"), ("added", "c b a"), ("same", " end")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x " * 500_000, "y " * 500_000),
        ("x" * 1_000_000, "y" * 1_000_000),
        ("a b " * 250_000, "b a " * 250_000),
        (" \n" * 500_000, "\n\n " * 300_000),
        ("a.b." * 4_000, "b,a." * 4_000),
    ],
    ids=["other words", "one word", "shifted", "blank", "many changes"],
)
def test_a_megabyte_is_not_compared_word_by_word(one: str, other: str) -> None:
    segments = words(one, other)
    assert len(segments) <= 4
    assert sides(segments) == (one, other)


def test_fields_have_their_place_both_values_and_what_became_of_them() -> None:
    one = '{"a": [{"b": 1}, 2], "gone": null, "text": "x", "list": [1], "same": true}'
    other = '```json\n{"a": [{"b": 1.5}, 2, 3], "text": 5, "list": {}, "same": true, "odd key": ""}\n```'
    assert fields(one, other) == [
        FieldChange("$.a[0].b", "1", "1.5", "changed"),
        FieldChange("$.a[1]", "2", "2", "same"),
        FieldChange("$.a[2]", None, "3", "added"),
        FieldChange("$.gone", "null", None, "removed"),
        FieldChange("$.text", '"x"', "5", "changed"),
        FieldChange("$.list", "[1]", "{}", "changed"),
        FieldChange("$.same", "true", "true", "same"),
        FieldChange('$["odd key"]', None, '""', "added"),
    ]


@pytest.mark.parametrize("text", ["", "5", '"text"', "no JSON", "{", "```\n5\n```", "[" * 100_000, "null"])
def test_what_is_no_object_and_no_array_has_no_fields(text: str) -> None:
    assert fields(text, "{}") is None
    assert fields("{}", text) is None


@given(JSON, JSON)
def test_of_equal_documents_every_field_is_the_same_and_of_others_some_is_not(
    one: object, other: object
) -> None:
    first, second = json.dumps([one]), json.dumps([other])
    alike = fields(first, first)
    assert alike is not None
    assert {field.kind for field in alike} == {"same"}
    both = fields(first, second)
    assert both is not None
    told_apart = any(field.kind != "same" for field in both)
    assert told_apart == (repr(one) != repr(other)) or one == other or _sorted(one) == _sorted(other)
    for field in both:
        assert (field.before is None) == (field.kind == "added")
        assert (field.after is None) == (field.kind == "removed")
        json.dumps(field.path).encode()


def _sorted(document: object) -> str:
    return json.dumps(document, sort_keys=True)


def test_a_boolean_is_no_number_and_1_is_1_point_0() -> None:
    assert [field.kind for field in fields("[true, 1]", "[1, 1.0]") or ()] == ["changed", "same"]


def test_of_too_many_fields_those_that_differ_are_kept() -> None:
    one = list(range(5_000))
    other = [*one[:4_990], *([None] * 10)]
    assert [field.kind for field in fields(json.dumps(one), json.dumps(other)) or ()] == ["changed"] * 10
    assert len(fields(json.dumps(one), json.dumps(one)) or ()) == MOST_ROWS


def test_what_is_long_is_cut_and_deep_is_bearable() -> None:
    deep = '{"' + "k" * 200 + '": '
    one, other = (deep * 300 + end + "}" * 300 for end in ('"' + "x" * 1_000_000 + '"', "[1]"))
    found = fields(one, other)
    assert found is not None
    [field] = found
    assert max(len(field.path), len(field.before or ""), len(field.after or "")) <= 300


WEATHER = {"name": "weather", "arguments": '{"city": "Rome", "days": 2}'}
FIND = {"name": "find", "arguments": '{"n": 1}'}


def test_calls_agree_whatever_the_order_of_their_arguments() -> None:
    spelled = {"name": "weather", "arguments": '{"days": 2.0, "city":"Rome"}'}
    [row] = calls(json.dumps([WEATHER]), json.dumps([spelled]))
    assert row.agrees
    assert row.primary == ToolCall("weather", '{"city": "Rome", "days": 2}')


def test_calls_are_lined_up_by_name() -> None:
    rows = calls(json.dumps([FIND, WEATHER]), json.dumps([WEATHER]))
    assert [
        (row.primary and row.primary.name, row.silent and row.silent.name, row.agrees) for row in rows
    ] == [
        ("find", None, False),
        ("weather", "weather", True),
    ]


def test_other_arguments_do_not_agree() -> None:
    [row] = calls(json.dumps([FIND]), json.dumps([{**FIND, "arguments": '{"n": 2}'}]))
    assert not row.agrees


@pytest.mark.parametrize("none", [None, "", "[]", "null", " [] "])
def test_no_calls_are_no_rows(none: str | None) -> None:
    assert calls(none, none) == []


ODD = ["no JSON", "5", '"x"', "{}", "[5, null, [1]]", '[{"name": 5}]', '[{"arguments": null}]', "[" * 100_000,
       '[{"function": {"name": "f", "arguments": "{broken"}}]', '[{"name": "\\ud800"}]']  # fmt: skip


@pytest.mark.parametrize("text", ODD)
def test_calls_of_any_shape_are_shown(text: str) -> None:
    rows = calls(text, json.dumps([FIND]))
    assert rows
    for row in rows:
        for side in (row.primary, row.silent):
            assert side is None or (side.name + side.arguments).encode()
    assert all(row.agrees for row in calls(text, text))


def test_arguments_that_are_no_json_are_shown_as_they_are() -> None:
    broken = json.dumps([{"name": "f", "arguments": "{broken"}])
    assert calls(broken, None) == [CallRow(ToolCall("f", "{broken"), None, agrees=False)]


def test_a_conversation_is_read_with_its_pictures_and_tools() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "What is it?"}, {"type": "image_url"}, {"type": "x"}],
        },
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": FIND}]},
        {"role": "tool", "tool_call_id": "1", "content": "found"},
        {"role": "assistant", "content": ""},
    ]
    assert conversation(json.dumps(messages)) == [
        Turn("system", "Be brief."),
        Turn("user", "What is it?\n[image]\n[x]"),
        Turn("assistant", '[tool call] find({"n": 1})'),
        Turn("result of find", "found"),
        Turn("assistant", ""),
    ]


def test_the_items_of_the_responses_api_are_read() -> None:
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "Find"}, {"type": "input_image"}]},
        {"type": "function_call", "call_id": "1", **FIND},
        {"type": "function_call_output", "call_id": "1", "output": "found"},
    ]
    assert conversation(json.dumps(items)) == [
        Turn("user", "Find\n[image]"),
        Turn("assistant", '[tool call] find({"n": 1})'),
        Turn("result of find", "found"),
    ]


@pytest.mark.parametrize(
    ("messages", "turns"),
    [
        (None, []),
        ("[]", []),
        ('"text"', [Turn("input", "text")]),
        ('["a", "b"]', [Turn("input", "a"), Turn("input", "b")]),
        ("[1, 2]", [Turn("input", "[1, 2]")]),
        ("[[1, 2], [3]]", [Turn("input", "[1, 2]"), Turn("input", "[3]")]),
        ("no JSON", [Turn("input", "no JSON")]),
        ("3", [Turn("input", "3")]),
        ("null", [Turn("input", "null")]),
        ("{}", [Turn("input", "")]),
        ('{"prompt": "x"}', [Turn("input", '{"prompt": "x"}')]),
        ('[{"role": "user"}]', [Turn("user", "")]),
        ('[{"role": 5, "content": 5}]', [Turn("input", "5")]),
        ('[{"role": "user", "parts": ["x"]}]', [Turn("user", '{"parts": ["x"]}')]),
    ],
)
def test_messages_of_odd_shapes_are_readable(messages: str | None, turns: list[Turn]) -> None:
    assert conversation(messages) == turns


@given(JSON)
def test_no_messages_are_an_error(document: object) -> None:
    keys = (
        "role",
        "type",
        "content",
        "tool_calls",
        "function_call",
        "text",
        "output",
        "tool_call_id",
        "name",
    )
    for messages in (document, [dict.fromkeys(keys, document)], [{"role": "tool", "content": [document]}]):
        for turn in conversation(json.dumps(messages)):
            (turn.role + turn.text).encode()


def test_messages_nested_too_deep_to_read_are_shown_as_they_are() -> None:
    deep = "[" * 100_000
    assert conversation(deep) == [Turn("input", deep)]


def test_media_are_told_by_kind_and_size_as_capture_records_them() -> None:
    png, wav, pdf = b"\x89PNG" * 11_525, b"RIFF____WAVE" * 100_000, b"%PDF"
    encoded = {
        kind: base64.b64encode(data).decode() for kind, data in (("png", png), ("wav", wav), ("pdf", pdf))
    }
    content = [
        {"type": "text", "text": "What are these?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded['png']}"}},
        {"type": "input_audio", "input_audio": {"data": encoded["wav"], "format": "wav"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": encoded["png"]}},
        {"type": "input_file", "file_data": f"data:application/pdf;base64,{encoded['pdf']}"},
        {"type": "image_url", "image_url": {"url": "https://host/a.png"}},
    ]
    [turn] = conversation(Scrubber().json([{"role": "user", "content": content}]))
    told = [
        "image/png, 46.1 kB",
        "audio/wav, 1.20 MB",
        "image/png, 46.1 kB",
        "application/pdf, 4 bytes",
        "image",
    ]
    assert turn.text == "\n".join(["What are these?", *(f"[{each}]" for each in told)])


@pytest.mark.parametrize(
    "text", ["[a/b, 1 bytes, sha256:0]", "[image/png, " + "9" * 5_000 + " bytes]", "[\x1b[31m/x]"]
)
def test_what_only_resembles_a_record_of_media_is_not_told_of(text: str) -> None:
    [turn] = conversation(
        json.dumps([{"role": "user", "content": [{"type": "image_url", "image_url": text}]}])
    )
    assert turn.text == "[image]"
