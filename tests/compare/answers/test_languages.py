"""The language of an answer is told where it can be, and left open where not."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.compare.answers.languages import languages


def language(text: str | None) -> str | None:
    told: str | None = languages(pl.Series([text], dtype=pl.String)).item()
    return told


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ("en", "The capital of France is Paris, and it lies on the Seine."),
        ("de", "Die Hauptstadt von Frankreich ist Paris, und sie liegt an der Seine."),
        ("fr", "La capitale de la France est Paris, et elle se trouve sur la Seine."),
        ("es", "La capital de Francia es París, y está en el norte del país."),
        ("pt", "A capital da França é Paris, e não há outra cidade como essa no país."),
        ("it", "La capitale della Francia è Parigi, e si trova nel nord del paese."),
        ("nl", "De hoofdstad van Frankrijk is Parijs, en het ligt aan de Seine."),
        ("sv", "Frankrikes huvudstad är Paris, och den ligger inte vid havet."),
        ("pl", "Stolicą Francji jest Paryż, który leży nad Sekwaną i nie jest mały."),
        ("tr", "Fransa'nın başkenti Paris'tir ve bu şehir çok büyük bir yer."),
        ("ru", "Столица Франции — это Париж, и он находится на севере страны, но не у моря."),
        ("uk", "Столиця Франції — це Париж, і він розташований на півночі країни, але не біля моря."),
        ("ar", "عاصمة فرنسا هي باريس و هي في شمال البلاد على نهر السين"),
        ("hi", "फ्रांस की राजधानी पेरिस है और यह देश के उत्तर में है।"),
        ("ja", "フランスの首都はパリです。"),
        ("zh", "法国的首都是巴黎。"),
        ("ko", "프랑스의 수도는 파리입니다."),
        ("el", "Η πρωτεύουσα της Γαλλίας είναι το Παρίσι."),
        ("he", "בירת צרפת היא פריז."),
        ("th", "เมืองหลวงของฝรั่งเศสคือปารีส"),
    ],
)
def test_a_sentence_tells_its_language(expected: str, text: str) -> None:
    assert language(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "ok",
        "Paris",
        "42",
        '{"answer": "The capital of France is Paris, and it lies on the Seine."}',
        "x = [f(i) for i in range(10)]",
        "https://example.com/a/b/c?d=e",
        "Lorem ipsum dolor",
        "😀 😀 😀 😀 😀 😀",
        "qwrt zxcv bnmp fghj klpo",
    ],
)
def test_what_is_no_prose_has_none(text: str | None) -> None:
    assert language(text) is None


def test_a_decomposed_text_is_read_as_a_composed_one() -> None:
    import unicodedata

    text = "Où est la bibliothèque, et à quelle heure est-ce qu'elle a été fermée ?"
    assert language(unicodedata.normalize("NFD", text)) == language(text) == "fr"


def test_each_text_keeps_its_row() -> None:
    texts = [
        "Das ist die Antwort auf die Frage.",
        None,
        "日本語の文章です。",
        "x",
        "This is the answer to that.",
    ]
    assert languages(pl.Series(texts)).to_list() == ["de", None, "ja", None, "en"]
    assert languages(pl.Series([], dtype=pl.String)).to_list() == []


@given(st.lists(st.none() | st.text(max_size=60), max_size=5))
def test_any_texts_have_as_many_answers(texts: list[str | None]) -> None:
    assert len(languages(pl.Series(texts, dtype=pl.String))) == len(texts)
