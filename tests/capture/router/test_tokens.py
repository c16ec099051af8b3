"""Tokens are estimated from texts alone: other media are not guessed, and nothing is fetched."""

from typing import Any

import litellm
import pytest
from litellm.utils import huggingface_tokenizer_kind

from mirrorkit.capture.answer import Answer
from mirrorkit.capture.router.tokens import _tokenizer, estimated_usage
from mirrorkit.capture.usage import Usage

SAID = Answer(("On its way.",))
QUESTION = "Where is my parcel?"


def estimate(payload: Any, answer: Answer = SAID, call_type: str = "completion", **params: Any) -> Usage:
    usage = estimated_usage(answer, "gpt-4o", payload, params, call_type)
    assert usage is not None
    assert usage.source == "estimated"
    return usage


def user(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": QUESTION}, *parts]}]


def test_a_chat_is_counted_as_litellm_counts_it() -> None:
    messages, tool = [{"role": "user", "content": QUESTION}], {"function": {"name": "f"}, "type": "function"}
    assert estimate(messages).input_tokens == litellm.token_counter("gpt-4o", messages=messages)
    with_tool = litellm.token_counter("gpt-4o", messages=messages, tools=[tool])
    assert estimate(messages, tools=[tool]).input_tokens == with_tool
    assert estimate(messages, functions=[{"name": "f"}]).input_tokens == with_tool


def test_reasoning_counts_and_is_told_apart() -> None:
    thought = estimate(user(), Answer(("On its way.",), reasoning="Let me look it up."))
    assert thought.reasoning_tokens == litellm.token_counter("gpt-4o", text="Let me look it up.")
    assert thought.output_tokens == estimate(user()).output_tokens + thought.reasoning_tokens
    assert estimate(user()).reasoning_tokens is None


def test_tool_calls_count() -> None:
    assert estimate(user(), Answer(tool_calls=({"name": "f", "arguments": '{"a": 1}'},))).output_tokens > 3


@pytest.mark.parametrize("detail", ["low", "high", "auto"])
def test_an_image_is_not_fetched_and_counts_the_same_whatever_it_is(detail: str, monkeypatch: Any) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("socket.getaddrinfo", lambda *where, **_: asked.append(where))
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": detail}}
    assert estimate(user(image)).input_tokens == estimate(user()).input_tokens + 250
    assert asked == []


@pytest.mark.parametrize("kind", ["input_audio", "file", "video_url"])
def test_a_prompt_with_other_media_is_unknown(kind: str) -> None:
    assert estimated_usage(SAID, "gpt-4o", user({"type": kind}), {}, "completion") is None


def test_an_answer_with_an_image_is_unknown() -> None:
    assert estimated_usage(Answer(has_media=True), "gpt-4o", user(), {}, "completion") is None


def test_what_litellm_cannot_count_is_counted_by_its_texts() -> None:
    custom = {"id": "a", "type": "custom", "custom": {"name": "shell", "input": "ls -l"}}
    messages = [{"role": "user", "content": QUESTION}, {"role": "assistant", "tool_calls": [custom]}]
    with pytest.raises(Exception, match="function"):
        litellm.token_counter("gpt-4o", messages=messages)
    assert estimate(messages).input_tokens > litellm.token_counter("gpt-4o", text=QUESTION)


@pytest.mark.parametrize("model", ["ollama/llama3", "meta-llama/Llama-2-7b", "command-r", "replicate/x"])
def test_no_tokenizer_is_fetched(model: str, monkeypatch: Any) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("socket.getaddrinfo", lambda *where, **_: asked.append(where))
    assert estimated_usage(SAID, model, user(), {}, "completion") is not None
    assert asked == []


@pytest.mark.parametrize(
    ("payload", "params"),
    [
        (QUESTION, {}),
        ([{"role": "user", "content": [{"type": "input_text", "text": QUESTION}]}], {}),
        ([{"role": "user", "content": QUESTION}], {}),
        ("", {"instructions": QUESTION}),
        ([], {"system": [{"type": "text", "text": QUESTION, "cache_control": {"type": "ephemeral"}}]}),
    ],
)
def test_other_apis_are_counted_by_their_texts(payload: Any, params: Any) -> None:
    expected = litellm.token_counter("gpt-4o", text=QUESTION)
    assert estimate(payload, call_type="responses", **params).input_tokens in (expected, expected + 1)


@pytest.mark.parametrize(("payload", "tokens"), [(["Hi", "Hi"], 3), ([1, 2, 3], 3), ([[1, 2], [3]], 3)])
def test_an_embedding_makes_no_tokens(payload: Any, tokens: int) -> None:
    usage = estimate(payload, call_type="embedding")
    assert (usage.input_tokens, usage.output_tokens) == (tokens, 0)


@pytest.mark.parametrize("payload", [None, [], "", 7.5, [{"role": 3}], object(), [[[]]]])
def test_what_cannot_be_counted_is_unknown(payload: Any) -> None:
    for call_type in ("completion", "responses"):
        usage = estimated_usage(SAID, "gpt-4o", payload, {}, call_type)
        assert usage is None or usage.input_tokens > 0


def test_litellm_would_fetch_the_tokenizer_of_no_other_model() -> None:
    at_hand = (None, "anthropic", "deepseek")
    names = [*litellm.model_cost, *litellm.cohere_models, *litellm.replicate_models]
    assert {huggingface_tokenizer_kind(_tokenizer(name)) for name in names} <= set(at_hand)
