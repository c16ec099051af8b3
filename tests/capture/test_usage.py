"""Tokens have one order of sources: the provider's count, an estimate that says so, nothing."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import litellm
import pytest
from litellm.types.utils import UnreportedUsage

from mirrorkit.capture.observe import NEVER_COUNT, SOMETIMES_COUNT, Pricer, Seen
from mirrorkit.capture.usage import StreamUsage, usage_of
from mirrorkit.capture.watch import Watch
from mirrorkit.records import Call

ASKED = [{"role": "user", "content": "Where is my parcel?"}]
BARE = {"prompt_tokens": 71, "completion_tokens": 9, "total_tokens": 80}
FULL = {**BARE, "prompt_tokens_details": {"cached_tokens": 0}}
MADE_UP = {"prompt_tokens": litellm.token_counter("gpt-4o", messages=ASKED), "completion_tokens": 3}


def call_of(seen: Seen, call_type: str = "completion") -> Call:
    return Pricer(lambda _id, _model: {}).call(seen, ASKED, None, call_type)


@pytest.mark.parametrize(
    "given",
    [
        None,
        "many",
        {},
        {"prompt_tokens": None},
        {"total_tokens": 9},
        {"prompt_tokens": 7},
        {"completion_tokens": 3},
        {"prompt_tokens": 0, "completion_tokens": 0},
        {"prompt_tokens": 0, "completion_tokens": 3},
        {"prompt_tokens": -7, "completion_tokens": 3},
        {"prompt_tokens": 7, "completion_tokens": -3},
        {"prompt_tokens": True, "completion_tokens": 3},
        {"prompt_tokens": 7.0, "completion_tokens": 3},
        {"prompt_tokens": "7", "completion_tokens": "3"},
        {"input_tokens": 7},
    ],
)
def test_half_a_usage_is_none_nor_is_one_that_cannot_be(given: Any) -> None:
    assert usage_of(given) is None
    call = call_of(Watch({}).answered({"choices": [{"message": {"content": "Hello."}}], "usage": given}))
    assert call.usage_source == "estimated"


@pytest.mark.parametrize("cost", [None, 0, 0.0, -1.0, float("nan"), float("inf"), True, "1"])
def test_a_price_that_cannot_be_is_none(cost: Any) -> None:
    usage = usage_of({**BARE, "cost": cost})
    assert usage is not None
    assert usage.cost_usd is None


def test_a_usage_is_a_copy() -> None:
    given = {**FULL, "prompt_tokens_details": {"cached_tokens": 5}}
    usage = usage_of(given)
    given["prompt_tokens_details"]["cached_tokens"] = 6
    assert usage is not None
    assert usage.raw["prompt_tokens_details"] == {"cached_tokens": 5}


def test_no_tokens_of_output_are_true_of_a_blank_answer_only() -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 0}
    for text, source in (("", "provider"), ("Hello.", "estimated")):
        call = call_of(Watch({}).answered({"choices": [{"message": {"content": text}}], "usage": usage}))
        assert call.usage_source == source, text
        assert (call.output_tokens == 0) == (text == "")


def test_that_nobody_thought_is_known_only_where_somebody_said_so() -> None:
    for details, known in (({"reasoning_tokens": 0}, 0), ({"reasoning_tokens": 0, "text_tokens": 9}, None)):
        usage = usage_of({**BARE, "completion_tokens_details": details})
        assert usage is not None
        assert usage.reasoning_tokens == known


# ------------------------------------------------------------ streams


def chunk(text: str | None = None, usage: Any = None, hidden: Any = None) -> Any:
    made = litellm.ModelResponseStream(
        model="gpt-4o",
        choices=[{"index": 0, "delta": {"content": text, "role": "assistant"}, "finish_reason": "stop"}],
        usage=usage,
    )
    made._hidden_params = {} if hidden is None else {"usage": hidden}
    return made


def read(*chunks: Any, kept: Any = ()) -> Call:
    watch = Watch({})
    for each in chunks:
        watch.chunk(each)
    return call_of(watch.streamed(SimpleNamespace(chunks=list(kept))))


UNREPORTED = UnreportedUsage(prompt_tokens=0, completion_tokens=0, total_tokens=0)


@pytest.mark.parametrize(
    ("chunks", "kept", "tokens", "source"),
    [
        # asked for, and LiteLLM knows who counted
        ((chunk("Hi"), chunk(usage=FULL)), (), 71, "provider"),
        ((chunk("Hi"), chunk(usage=BARE)), (chunk(usage=BARE),), 71, "provider"),
        ((chunk("Hi"), chunk(usage=FULL)), (chunk("Hi"),), None, "estimated"),
        # asked for, and LiteLLM does not say who counted
        ((chunk("Hi"), chunk(usage=BARE)), (), 71, "provider"),
        ((chunk("Where is it?"), chunk(usage={**MADE_UP, "completion_tokens": 4})), (), None, "estimated"),
        # not asked for, and hidden
        ((chunk("Hi", hidden=litellm.Usage(**BARE)),), (), 71, "provider"),
        ((chunk("Hi", hidden=UNREPORTED),), (), None, "estimated"),
        # not given at all
        ((chunk("Hi"),), (), None, "estimated"),
    ],
)
def test_a_streams_usage_is_found_wherever_litellm_keeps_it(
    chunks: Any, kept: Any, tokens: int | None, source: str
) -> None:
    call = read(*chunks, kept=kept)
    assert call.usage_source == source
    assert tokens is None or call.input_tokens == tokens
    assert tokens is not None or call.input_tokens == litellm.token_counter("gpt-4o", messages=ASKED)


def test_what_litellm_learns_after_the_last_chunk_counts() -> None:
    """It writes into the last chunk's hidden parameters when the stream has ended."""
    for late, expected in ((FULL, 71), (BARE, None)):
        last, usage = chunk("Hi", hidden=UNREPORTED), StreamUsage()
        usage.take({}, last._hidden_params)
        last._hidden_params["usage"] = litellm.Usage(**late)
        found = usage.read()
        assert (None if found is None else found.input_tokens) == expected


def test_a_stream_that_was_left_has_no_usage_yet() -> None:
    """What a provider says at the beginning is a placeholder."""
    watch = Watch({})
    begun = chunk("Your", hidden=litellm.Usage(prompt_tokens=71, completion_tokens=1, total_tokens=72))
    begun.choices[0].finish_reason = None
    watch.chunk(begun)
    assert call_of(watch.abandoned(None)).usage_source == "estimated"


def test_what_the_caller_does_to_a_usage_later_does_not_show() -> None:
    last = chunk("Hi", hidden=litellm.Usage(**FULL))
    watch = Watch({})
    watch.chunk(last)
    seen = watch.streamed(None)
    last._hidden_params["usage"].prompt_tokens = 1
    assert call_of(seen).input_tokens == 71


# ------------------------------------------------------------ whole answers that LiteLLM counted


@pytest.mark.parametrize(
    ("provider", "usage", "source"),
    [
        ("ollama_chat", MADE_UP, "estimated"),
        ("replicate", BARE, "estimated"),
        ("ollama_chat", BARE, "provider"),
        ("ollama_chat", {**MADE_UP, "prompt_tokens_details": {"cached_tokens": 0}}, "provider"),
        # what these do not count is left out, so that a count like LiteLLM's is their own
        ("openai", MADE_UP, "provider"),
        ("mistral", MADE_UP, "provider"),
    ],
)
def test_a_count_of_litellms_is_an_estimate(provider: str, usage: Any, source: str) -> None:
    answer = litellm.ModelResponse(
        model="m", usage=usage, choices=[{"message": {"content": "Hello there."}, "finish_reason": "stop"}]
    )
    answer._hidden_params = {"custom_llm_provider": provider, "litellm_model_name": f"{provider}/m"}
    assert call_of(Watch({}).answered(answer)).usage_source == source


def test_a_count_of_a_request_with_images_is_the_providers_where_nothing_speaks_against_it() -> None:
    """What LiteLLM counts for an image depends on the image, which is not fetched to see."""
    image = {"type": "image_url", "image_url": {"url": "https://host/a.png"}}
    asked = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]}]
    for text, source in (("Hi there.", "provider"), ("Hi there, you.", "estimated")):
        usage = {
            "prompt_tokens": 300,
            "completion_tokens": litellm.token_counter("gpt-4o", text="Hi there, you."),
        }
        watch = Watch({})
        watch.chunk(chunk(text))
        watch.chunk(chunk(usage=usage))
        seen = watch.streamed(SimpleNamespace())
        assert Pricer(lambda _id, _model: {}).call(seen, asked, None, "completion").usage_source == source


# count what is embedded, spoken, compacted or limited, but no chat answer that lacks its usage
OTHERS = frozenset(
    {
        *("anthropic", "azure_ai", "cohere", "deprecated_providers", "huggingface"),
        *("openai", "openai_like", "triton", "vertex_ai"),
    }
)


def test_every_provider_of_litellms_that_counts_for_itself_is_known() -> None:
    llms = Path(litellm.__file__).parent / "llms"
    counts = re.compile(r"token_counter\(|\b(?:encoding|tokenizer)\.encode\(")
    found = {
        path.relative_to(llms).parts[0]
        for path in llms.rglob("*.py")
        if "Usage(" in (text := path.read_text(encoding="utf-8")) and counts.search(text)
    }
    assert found
    assert found <= NEVER_COUNT | SOMETIMES_COUNT | OTHERS
    known = {provider.value for provider in litellm.LlmProviders}
    assert known >= NEVER_COUNT | SOMETIMES_COUNT
