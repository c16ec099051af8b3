"""Keys are masked in what is recorded, and words that only stand for a key are not."""

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit import MirrorSession
from mirrorkit.capture.books import Books
from mirrorkit.capture.keys import MASK, is_key, without_key, without_shapes
from mirrorkit.errors import MirrorWarning
from mirrorkit.records import Call
from mirrorkit.simulator import Reply, SimulatedModel, Simulator

QUICK: dict[str, Any] = {"ttft_s": 0.002, "token_s": 0.0001, "words": 8}
PLACEHOLDERS = [
    "ollama", "anything", "lm-studio", "dummy-key", "not-needed", "secret", "unused", "EMPTY", "none",
    "fake-key", "no-key-needed", "no-key-required", "placeholder", "changeme", "gpt4all", "sk-1234",
]  # fmt: skip


class TestTheRule:
    @pytest.mark.parametrize("word", PLACEHOLDERS)
    def test_a_word_that_stands_for_a_key_is_none(self, word: str) -> None:
        assert not is_key(word)

    @pytest.mark.parametrize(
        "key",
        [
            "sk-real-0123456789",
            "sk-1a2b3c4d",
            "token-abc123",
            "hunter2-key",
            "9f8e7d6c5b4a3210",
            "AbCdEfGhIjKlMnOpQrStUv",
            "correct horse battery staple",
            "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----",
        ],
    )
    def test_what_has_a_keys_length_or_shape_is_one(self, key: str) -> None:
        assert is_key(key)

    @given(st.text(string.ascii_letters + string.digits + "+/=-_.", min_size=16, max_size=60), st.text())
    def test_a_long_key_is_found_wherever_it_stands(self, key: str, around: str) -> None:
        assert key not in without_key(f"{around}{key}n{key}{around}\\n{key}", key)

    @pytest.mark.parametrize("text", ["xpass1234", "pass12345", "pass1234_", "mypass1234s"])
    def test_a_short_key_is_left_inside_of_a_word(self, text: str) -> None:
        assert without_key(text, "pass1234") == text

    @pytest.mark.parametrize("around", ["{}", "<{}>", "key={}&x", '"{}"', "{}.", "({})", "é {}\n"])
    def test_a_short_key_is_found_as_a_word(self, around: str) -> None:
        assert without_key(around.format("pass1234"), "pass1234") == around.format(MASK)


class TestShapes:
    @pytest.mark.parametrize(
        "credential",
        [
            "sk-abcdefgh12345678",
            "sk-proj-A1b2C3d4-e5_f6",
            "sk-ant-api03-abcdefgh",
            "sk-abc*****wxyz",
            "gsk_abcdefgh1234",
            "hf_abcdefghijklmnop",
            "AKIAIOSFODNN7EXAMPLE",
            "AIzaSyA1234567890abcdefghijklmnopqrstuv",
            "Bearer abc.def-123_456==",
            "BEARER abcdefgh12345",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.SflKxwRJSMeKKF2QT4",
            "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAK\n-----END RSA PRIVATE KEY-----",
        ],
    )
    @pytest.mark.parametrize(
        "around", ["{}", "Incorrect API key provided: {}.", "key='{}', x", "<{}>", "({})"]
    )
    def test_what_looks_like_a_credential_is_masked(self, credential: str, around: str) -> None:
        masked = without_shapes(around.format(credential))
        assert credential not in masked
        # a full stop may belong to a token
        assert masked.rstrip(".") == around.format(MASK).rstrip(".")

    @pytest.mark.parametrize("url", ["https://user:pa55-word@host/x", "postgres://u:p%40w@db:5432/x"])
    def test_a_users_password_in_a_url_is_masked(self, url: str) -> None:
        scheme, rest = url.split("://")
        masked = f"cannot reach {scheme}://{MASK}@{rest.partition('@')[2]}"
        assert without_shapes(f"cannot reach {url}") == masked

    def test_a_password_without_a_user_is_masked_too(self) -> None:
        assert "hunter2" not in without_shapes("redis://:hunter2@cache:6379")

    @pytest.mark.parametrize("key", ["anything", "ollama", "my.own.word", "x"])
    @pytest.mark.parametrize(
        "around",
        [
            "Incorrect API key provided: {}. You can find your API key at https://platform.openai.com.",
            "OpenAIException - Incorrect API key provided: {}",
            "Invalid API key: {}",
            "invalid api_key={}, try again",
            "Received API Key = {}, which is not known",
            "API key '{}' is not valid",
            'a body of {{"api_key": "{}", "model": "x"}}',
            'a body of {{\\"api_key\\": \\"{}\\"}}',
            "OPENAI_API_KEY={}",
            "x-api-key: {}",
            "the access token: {}",
            "'Authorization': 'Basic {}'",
            "password={}; host=db",
            "GET https://host/v1?alt=json&key={}&page=2 failed",
        ],
    )
    def test_what_is_said_to_be_a_key_is_masked_whatever_it_is(self, key: str, around: str) -> None:
        assert without_shapes(around.format(key)) == around.format(MASK)

    def test_a_bearers_token_is_masked_however_short(self) -> None:
        for token in ("tea", "anything", "abc.def"):
            assert token not in without_shapes(f"Authorization: Bearer {token}")

    @pytest.mark.parametrize(
        "text",
        [
            "task-oriented, risk-averse, sk-short",
            "the bearer of news",
            "https://host:8080/path?x=1",
            "a mail to ann@example.com at 10:30",
            "keyboard key-less",
            "Rate limit reached for gpt-4o in organization org-abc on tokens per min",
            "max_tokens: 4096 is too large",
            "Unexpected token: < in JSON at position 0",
            "the api_key must be set",
            "api_key=None",
            "Invalid API key.",
            f"Incorrect API key provided: {MASK}.",
        ],
    )
    def test_plain_words_are_left(self, text: str) -> None:
        assert without_shapes(text) == text

    @given(st.text())
    def test_masking_twice_is_masking_once(self, text: str) -> None:
        once = without_shapes(text)
        assert without_shapes(once) == once


@pytest.mark.parametrize("key", ["ollama", "not-needed"])
def test_a_session_whose_key_is_a_word_records_texts_as_they_were(drive: Any, key: str) -> None:
    question, answer = f"Tell me {key}, or about {key}s.", f"All about {key}: {key}s."
    models = [SimulatedModel("gpt-4o", **QUICK), SimulatedModel("gpt-4o-mini", **QUICK)]
    with Simulator(models, api_key=key) as sim:
        for model in ("gpt-4o", "gpt-4o-mini"):
            sim.script(model, Reply(text=answer), Reply(text=answer))
        session = MirrorSession(
            [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")], "next"
        )
        for own in ({}, {"api_key": key}):
            drive.chat(session, messages=[{"role": "user", "content": question}], **own)
        drive.drain(session)
        drive.close(session)
    rows = session.frame.rows(named=True)
    assert len(rows) == 2
    for row in rows:
        assert question in row["messages"]
        assert row["primary_output"] == row["silent_output"] == answer
        assert "api_key" not in row["params"]


def test_a_wrong_key_is_in_no_error_whatever_it_is(sim: Any, drive: Any) -> None:
    models = [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini", api_key="anything")]
    session = MirrorSession(models, "next")
    drive.chat(session, messages=[{"role": "user", "content": "Say anything."}])
    drive.drain(session)
    drive.close(session)
    row = session.frame.row(0, named=True)
    assert row["silent_status"] == "error"
    assert f"API key provided: {MASK}" in row["silent_error_message"]
    assert "Say anything." in row["messages"]


def test_a_warning_that_all_silent_calls_fail_alike_tells_no_key() -> None:
    books = Books(None)
    books.mask(["sk-real-0123456789"])
    failed = Call(
        "error",
        error_type="AuthenticationError",
        error_message="no access\x1b[31m\nwith sk-real-0123456789" + "!" * 9_000,
    )
    with pytest.warns(MirrorWarning, match=r"no access \[31m with \[secret\]") as told:
        for _ in range(100):
            books.settle(0.0, failed, "next")
    assert len(str(told[0].message)) < 700
    assert str(told[0].message).isprintable()
