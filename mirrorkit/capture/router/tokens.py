"""Tokens by LiteLLM's tokenizers, for what no provider counted; nothing is fetched to count it."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import litellm

from mirrorkit.capture.answer import Answer
from mirrorkit.capture.fields import field_of
from mirrorkit.capture.usage import Usage

# as many as LiteLLM takes for an image that it may not fetch
_IMAGE_TOKENS = 250
_IMAGES = ("image", "image_url", "input_image")
_MEDIA = ("audio", "document", "file", "input_audio", "input_file", "video", "video_url")
# what is for the provider, and is not read by the model
_NO_TEXT = ("cache_control", "call_id", "id", "role", "status", "tool_call_id", "tool_use_id", "type")
# LiteLLM would fetch the tokenizers of these
_FETCHED = ("command-r", "llama", "replicate")


COUNTED = ("tools", "functions", "system", "instructions")
"""The parameters of a request that the model reads besides its payload."""


class _Unknown(Exception):
    """There is something in a prompt that has no length in tokens."""


def estimated_usage(
    answer: Answer, model: str | None, payload: Any, params: Mapping[str, Any], call_type: str
) -> Usage | None:
    """Tokens of a request and its answer as they can be told from their texts; None where they cannot.

    Args:
        answer: what was answered; its reasoning counts too.
        model: the name by which LiteLLM knows the model, to pick its tokenizer.
        payload: messages or input.
        params: the other parameters of the request, of which tools and instructions are read too.
        call_type: as LiteLLM names it; an embedding makes no tokens.
    """
    model = _tokenizer(model)
    if answer.has_media:
        return None
    try:
        read = _prompt_tokens(model, payload, params, call_type == "completion")
        thought = _text_tokens(model, answer.reasoning)
        made = 0 if call_type == "embedding" else thought + _text_tokens(model, _words(answer))
    except Exception:  # shapes that LiteLLM cannot count: unknown stays unknown
        return None
    if not read:
        return None
    return Usage(read, made, reasoning_tokens=thought or None, source="estimated")


def is_litellms_count(
    usage: Usage,
    answer: Answer,
    models: Iterable[str | None],
    payload: Any,
    params: Mapping[str, Any],
    call_type: str,
    streamed: bool,
) -> bool:
    """Whether a usage that somebody counted is LiteLLM's own, as its tokenizers give the very same.

    Of a whole answer LiteLLM makes up one count alone, if the provider gave the other.
    """
    with suppress(Exception):  # shapes that LiteLLM cannot count, and so did not
        messages, words = payload, "".join(answer.texts)
        if call_type == "responses":
            messages = _as_litellms_messages(payload, params)
            words += "".join(call["arguments"] or "" for call in answer.tool_calls)
        elif answer.tool_calls or answer.reasoning:
            # which it counts as it pleases
            words = ""
        messages, images = _without_images(messages)
        if images and not (streamed and words):
            return False
        for model in {_tokenizer(name) for name in ("", *models)}:
            # LiteLLM has measured the images, and had to fetch them
            read = usage.input_tokens if images else litellm.token_counter(model=model, messages=messages)
            made = _text_tokens(model, words) if streamed and words else usage.output_tokens
            if (read, made) == (usage.input_tokens, usage.output_tokens):
                return True
    return False


def spare_images(stream: Any) -> None:
    """Keep LiteLLM from fetching the images of a silent stream to measure them, when it counts at its end.

    It does so where a provider tells no tokens, for each image that is to be looked at in detail. The request
    has been sent by now, and its messages are a copy of our own.
    """
    messages = field_of(stream, "messages")
    for message in messages if isinstance(messages, list) else ():
        content = field_of(message, "content")
        for part in content if isinstance(content, list) else ():
            image = field_of(part, "image_url")
            if isinstance(image, dict) and image.get("detail") == "high":
                image["detail"] = "auto"


def _as_litellms_messages(payload: Any, params: Mapping[str, Any]) -> Any:
    from litellm.responses.litellm_completion_transformation import transformation

    request = {"instructions": params.get("instructions")}
    return transformation.LiteLLMCompletionResponsesConfig.transform_responses_api_input_to_messages(
        input=payload, responses_api_request=request
    )


def _tokenizer(model: str | None) -> str:
    name = model or ""
    return "" if any(word in name.lower() for word in _FETCHED) else name


def _words(answer: Answer) -> str:
    calls = (f"{call['name'] or ''}{call['arguments'] or ''}" for call in answer.tool_calls)
    return "".join((*answer.texts, *calls))


def _text_tokens(model: str, text: str) -> int:
    return int(litellm.token_counter(model=model, text=text, count_response_tokens=True)) if text else 0


def _prompt_tokens(model: str, payload: Any, params: Mapping[str, Any], is_chat: bool) -> int:
    tools = [
        *(params.get("tools") or ()),
        *({"type": "function", "function": each} for each in params.get("functions") or ()),
    ]
    if is_chat:
        messages, images = _without_images(payload)
        with suppress(Exception):  # as it does for tools that it does not know
            read = litellm.token_counter(model=model, messages=messages, tools=tools or None)
            return int(read) + images * _IMAGE_TOKENS
    parts = list(_parts([payload, params.get("system"), params.get("instructions")]))
    if tools:
        parts.append(json.dumps(tools, default=str))
    texts = [part for part in parts if isinstance(part, str)]
    return _text_tokens(model, "\n".join(texts)) + sum(part for part in parts if isinstance(part, int))


def _without_images(messages: Any) -> tuple[list[Any], int]:
    """Chat messages without their images, and how many there were; raises _Unknown for other media."""
    bare, images = [], 0
    for message in messages:
        content = message.get("content")
        if isinstance(content, list):
            kinds = [part.get("type") if isinstance(part, Mapping) else "text" for part in content]
            if any(kind in _MEDIA for kind in kinds):
                raise _Unknown
            images += sum(1 for kind in kinds if kind in _IMAGES)
            rest = [part for part, kind in zip(content, kinds, strict=True) if kind not in _IMAGES]
            message = {**message, "content": rest}
        bare.append(message)
    return bare, images


def _parts(value: Any) -> Iterator[str | int]:
    """The texts in a payload of any shape, and the tokens of what is none."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, int):
        # an input to be embedded may be tokens
        yield 1
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _parts(each)
    elif isinstance(value, Mapping):
        kind = value.get("type")
        if kind in _MEDIA:
            raise _Unknown
        if kind in _IMAGES:
            yield _IMAGE_TOKENS
            return
        for name, inner in value.items():
            if name not in _NO_TEXT:
                yield from _parts(inner)
