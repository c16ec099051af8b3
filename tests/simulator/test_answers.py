"""What simulated models say: in the form that is asked for, repeatable, alike in their share."""

import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.simulator import SimulatedModel
from mirrorkit.simulator.answers import Ask, answer_to, ask_of, embedding_of
from mirrorkit.simulator.models import agrees

Say = Callable[..., str]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "look_up",
        "parameters": {
            "type": "object",
            "properties": {
                "order_id": {"type": "string"},
                "limit": {"type": "integer", "minimum": 3, "maximum": 5},
                "kind": {"enum": ["new", "old"]},
                "deep": {"type": "boolean"},
                "places": {"type": "array", "items": {"type": "number"}},
            },
        },
    },
}


def test_tools_are_used_on_most_prompts_not_on_all_and_not_after_a_tool_has_answered() -> None:
    schema = TOOL["function"]["parameters"]
    model = SimulatedModel("a")

    def calls(**more: Any) -> int:
        asks = [Ask(f"prompt {i}", "What now?", tools=(("look_up", schema),), **more) for i in range(200)]
        return sum(bool(answer_to(model, ask, 0).tool_calls) for ask in asks)

    assert 120 < calls() < 200
    assert calls(tool_choice="none") == 0
    assert calls(tool_choice="look_up") == 200


@pytest.mark.parametrize("prompt", ["Answer with JSON please", "Sort this"])
def test_json_is_given_when_it_is_asked_for(client: openai.OpenAI, prompt: str, say: Say) -> None:
    more: Any = {} if "JSON" in prompt else {"response_format": {"type": "json_object"}}
    answer = json.loads(say(client, "a", prompt, **more))
    assert set(answer) == {"category", "sentiment", "confidence", "summary"}
    assert 0 <= answer["confidence"] <= 1


def test_a_json_schema_is_followed(client: openai.OpenAI, say: Say) -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": ["string", "null"]},
            "ticket": {"$ref": "#/$defs/Ticket"},
            "tags": {"type": "array", "items": {"enum": ["x", "y"]}, "minItems": 2, "maxItems": 2},
            "either": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        },
        "$defs": {"Ticket": {"type": "object", "properties": {"open": {"type": "boolean"}}}},
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    answer = json.loads(say(client, "a", "Order A-17 is late", response_format=wanted))
    assert isinstance(answer["name"], str)
    assert answer["ticket"]["open"] in (True, False)
    assert len(answer["tags"]) == 2
    assert set(answer["tags"]) <= {"x", "y"}
    assert isinstance(answer["either"], int)


def test_a_schema_that_contains_itself_comes_to_an_end(client: openai.OpenAI, say: Say) -> None:
    schema = {"type": "object", "properties": {"child": {"$ref": "#"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert "child" in json.loads(say(client, "a", "Hi", response_format=wanted))["child"]


def test_two_models_agree_on_the_same_prompts_and_differ_on_the_others(
    client: openai.OpenAI, say: Say
) -> None:
    texts = [f"Question {i} about my shoes" for i in range(40)]
    same = {text for text in texts if say(client, "a", text) == say(client, "b", text)}
    assert same == {text for text in texts if agrees(SimulatedModel("a"), f"user: {text}", 0)}
    assert 5 < len(same) < 35


def test_json_of_two_models_agrees_in_some_fields_and_differs_in_others(
    client: openai.OpenAI, say: Say
) -> None:
    equal: list[bool] = []
    for i in range(20):
        one, two = (json.loads(say(client, model, f"Sort ticket {i} as JSON")) for model in "ab")
        assert set(one) == set(two)
        equal += [one[name] == two[name] for name in one]
    assert any(equal)
    assert not all(equal)


@given(agreement=st.floats(0, 1), prompt=st.text(), seed=st.integers())
def test_a_model_that_agrees_more_agrees_wherever_one_that_agrees_less_does(
    agreement: float, prompt: str, seed: int
) -> None:
    less, more = SimulatedModel("x", agreement=agreement / 2), SimulatedModel("y", agreement=agreement)
    assert agrees(more, prompt, seed) >= agrees(less, prompt, seed)


@given(prompt=st.text(), words=st.integers(1, 60), style=st.sampled_from(["plain", "brief", "chatty"]))
def test_an_answer_is_about_as_long_as_the_models_answers_are(prompt: str, words: int, style: str) -> None:
    model = SimulatedModel("x", words=words, style=style, agreement=0.0)
    text = answer_to(model, Ask(prompt, prompt), 0).text
    assert text is not None
    half_a_sentence = 8
    assert 0.6 * words - half_a_sentence <= len(text.split()) <= 1.4 * words + half_a_sentence


@given(text=st.text(), dimensions=st.integers(1, 64))
def test_an_embedding_of_any_text_has_length_one(text: str, dimensions: int) -> None:
    vector = embedding_of(SimulatedModel("x"), text, 0, dimensions)
    assert len(vector) == dimensions
    assert sum(x * x for x in vector) == pytest.approx(1)


WORDINGS = [f"wording {i}" for i in range(10)]


@pytest.mark.parametrize("agreement", [0.0, 1.0])
@pytest.mark.parametrize("style", ["plain", "brief", "chatty"])
def test_another_wording_of_prose_is_another_text_of_about_the_same_length(
    agreement: float, style: str
) -> None:
    model = SimulatedModel("a", agreement=agreement, style=style)
    ask = ask_of({"messages": [{"role": "user", "content": "Where are my shoes and my jacket?"}]})
    usual = answer_to(model, ask, 0).text or ""
    others = [answer_to(model, ask, 0, wording=wording).text or "" for wording in WORDINGS]
    assert usual not in others
    assert len(set(others)) > 5
    assert all(0.6 * 24 - 8 <= len(text.split()) <= 1.4 * 24 + 8 for text in others)


def test_another_wording_of_json_changes_its_prose_and_its_confidence_only() -> None:
    for i in range(20):
        ask = ask_of({"messages": [{"role": "user", "content": f"Sort ticket {i} about shoes as JSON"}]})
        usual, other = (
            json.loads(answer_to(SimulatedModel("a"), ask, 0, wording=wording).text or "")
            for wording in ("", WORDINGS[0])
        )
        assert usual["summary"] != other["summary"]
        assert usual["confidence"] != other["confidence"]
        assert {**usual, "summary": 0, "confidence": 0} == {**other, "summary": 0, "confidence": 0}


def test_on_a_prompt_they_agree_on_two_models_share_all_that_no_wording_changes() -> None:
    ask = ask_of({"messages": [{"role": "user", "content": "Sort my ticket about shoes as JSON"}]})
    one, two = (
        json.loads(
            answer_to(SimulatedModel(name, agreement=1.0, style=style), ask, 0, wording="w").text or ""
        )
        for name, style in (("a", "brief"), ("b", "chatty"))
    )
    assert (one["category"], one["sentiment"]) == (two["category"], two["sentiment"])


def test_another_wording_calls_the_same_tool() -> None:
    ask = Ask("Find it", "Find order A-17", tools=(("look_up", TOOL["function"]["parameters"]),))
    usual, other = (answer_to(SimulatedModel("a"), ask, 0, wording=wording) for wording in ("", "w"))
    assert usual == other


def test_a_model_leaves_out_of_its_json_the_fields_it_omits_and_no_others() -> None:
    ask = Ask("Turn it into a ticket.", "Where is A-1?", schema=TOOL["function"]["parameters"])
    whole = json.loads(answer_to(SimulatedModel("a", agreement=1.0), ask, 0).text or "")
    lacking = json.loads(answer_to(SimulatedModel("a", agreement=1.0, omits=("limit",)), ask, 0).text or "")
    assert "limit" in whole
    assert lacking == {name: value for name, value in whole.items() if name != "limit"}
