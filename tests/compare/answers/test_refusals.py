"""Refusals are told by how they begin, or by their finish reason."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.compare.answers.refusals import refused

TYPES = {
    "silent_status": pl.String(),
    "silent_output_kind": pl.String(),
    "call_type": pl.String(),
    "silent_output": pl.String(),
    "silent_tool_calls": pl.String(),
    "silent_finish_reason": pl.String(),
}


def refuses(
    output: str | None,
    finish: str | None = "stop",
    status: str | None = "ok",
    calls: str | None = None,
    kind: str | None = None,
    call_type: str | None = None,
) -> bool | None:
    frame = pl.DataFrame([(status, kind, call_type, output, calls, finish)], schema=TYPES, orient="row")
    answer: bool | None = frame.select(refused("silent")).item()
    return answer


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, but I can’t assist with that request.",
        "Sorry, I cannot provide that.",
        "I cannot help you with this.",
        "I can't fulfill this request.",
        "I'm unable to assist with that.",
        "I am not able to provide medical advice.",
        "I won't be able to help with that.",
        "Unfortunately, I cannot share this information.",
        "I apologize, but I cannot generate that content.",
        "As an AI language model, I cannot have opinions.",
        "I must respectfully decline.",
        "  \n**I'm sorry, but I can't do that.**",
        "Es tut mir leid, aber ich kann dabei nicht helfen.",
        "Leider kann ich dir dabei nicht helfen.",
        "Je suis désolé, mais je ne peux pas vous aider.",
        "Lo siento, pero no puedo ayudar con eso.",
        "Desculpe, mas não posso ajudar com isso.",
        "Mi dispiace, ma non posso aiutarti.",
        "Het spijt me, maar ik kan je daar niet bij helpen.",
        "Przykro mi, ale nie mogę w tym pomóc.",
        "Tyvärr kan jag inte hjälpa till med det.",
        "Извините, но я не могу помочь с этим.",
        "抱歉，我无法提供这些信息。",
        "申し訳ありませんが、そのご依頼にはお応えできません。",
        "죄송하지만 그 요청은 도와드릴 수 없습니다.",
    ],
)
def test_the_usual_phrases_are_seen(text: str) -> None:
    assert refuses(text) is True
    assert refuses(text.upper()) is True


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Paris",
        "I'm sorry to hear that! You could rest.",
        "I can't wait to see it!",
        "I cannot recommend this film enough.",
        "Sorry for the delay. The answer is 4.",
        "I can help with that.",
        "We won't know until tomorrow.",
        "Here is a polite refusal: I'm sorry, but I can't help with that.",
        "Ich kann nicht nur lesen, ich schreibe auch.",
        "Leider regnet es heute.",
        "No puedo creerlo, ¡qué bien!",
        "Désolé pour le retard, voici la réponse.",
    ],
)
def test_other_answers_are_none(text: str) -> None:
    assert refuses(text) is False


@pytest.mark.parametrize("reason", ["content_filter", "refusal", "SAFETY"])
@pytest.mark.parametrize("text", [None, "", "Sure!"])
def test_a_finish_reason_tells_whatever_the_text(reason: str, text: str | None) -> None:
    assert refuses(text, finish=reason) is True


def test_what_is_not_known_is_null() -> None:
    assert refuses("I can't help with that.", status="error") is None
    assert refuses("I can't help with that.", status=None) is None
    assert refuses(None) is None
    assert refuses(None, finish=None) is None
    assert refuses(None, calls='[{"name": "f", "arguments": "{}"}]') is False
    assert refuses("Sure", finish=None) is False


@given(st.text())
def test_any_text_has_an_answer(text: str) -> None:
    assert refuses(text) in (True, False)


def test_what_was_recorded_as_a_refusal_is_one_whatever_its_words() -> None:
    assert refuses("No.", kind="refusal") is True
    assert refuses("No.", kind="text") is False


def test_a_blank_answer_is_no_refusal() -> None:
    assert refuses("", kind="blank") is False
    assert refuses(None, call_type="completion") is False
    assert refuses(None, finish="content_filter", call_type="completion") is True
