"""What was answered: the same record for every provider, whole or streamed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mirrorkit.capture.fields import mended
from mirrorkit.capture.usage import Usage
from mirrorkit.errors import MirrorError
from mirrorkit.records import OutputKind

_FINISH_REASONS: Mapping[str, tuple[str, ...]] = {
    "stop": ("end_turn", "stop_sequence", "completed", "complete", "eos", "eos_token"),
    "length": (
        *("max_tokens", "max_output_tokens", "model_length"),
        *("model_context_window_exceeded", "pause_turn", "compaction"),
    ),
    "tool_calls": ("tool_use", "tool_call", "function_call"),
    "content_filter": (
        *("content_filtered", "refusal", "safety", "recitation", "blocklist", "prohibited_content"),
        *("spii", "guardrail_intervened", "sensitive"),
    ),
}
_ONE_WORD = {word: reason for reason, words in _FINISH_REASONS.items() for word in (reason, *words)}


@dataclass(frozen=True, slots=True)
class Answer:
    """What one side said: plain values, no LiteLLM objects.

    `texts` has one text a choice; `tool_calls` are mappings of `name` and `arguments`; `reasoning` is kept
    to be counted. `is_refusal` says that the texts are what the provider gave as a refusal, `is_pending`
    that the answer is yet to be made, `failure` why this is no answer. `media` are the addresses of images in
    it, which are data URLs where they are in the answer itself.
    """

    texts: tuple[str, ...] = ()
    tool_calls: tuple[Mapping[str, str | None], ...] = ()
    reasoning: str = field(default="", repr=False)
    finish_reason: str | None = None
    has_media: bool = False
    media: tuple[str, ...] = field(default=(), repr=False)
    is_refusal: bool = False
    is_pending: bool = False
    model: str | None = None
    usage: Usage | None = None
    failure: MirrorError | None = None

    @property
    def kind(self) -> OutputKind:
        """What the answer is; blank where it is no text beyond whitespace, nor anything else.

        >>> Answer(("Hello",)).kind, Answer((" ",)).kind, Answer(("No.",), is_refusal=True).kind
        ('text', 'blank', 'refusal')
        """
        if self.tool_calls:
            return "tool_calls"
        if self.has_media:
            return "media"
        if not any(text.strip() for text in self.texts):
            return "blank"
        return "refusal" if self.is_refusal else "text"

    @property
    def output(self) -> str | None:
        """The text of one choice as it is; of several (`n` > 1) as a JSON array; None where there is none.

        >>> Answer(("Hello",)).output, Answer(("Hello", "")).output, Answer().output, Answer(("",)).output
        ('Hello', '["Hello", ""]', None, None)
        """
        if not any(self.texts):
            return None
        return self.texts[0] if len(self.texts) == 1 else json.dumps(self.texts, ensure_ascii=False)

    @property
    def recorded(self) -> str | None:
        r"""The output as it is recorded: its text, and each image on a line of its own.

        >>> Answer(("A dot:",), has_media=True, media=("https://host/dot.png",)).recorded
        'A dot:\nhttps://host/dot.png'
        """
        if not self.media:
            return self.output
        return "\n".join((*filter(None, (self.output,)), *self.media))

    @property
    def says_something(self) -> bool:
        """Whether it took tokens to make."""
        return any(self.texts) or bool(self.tool_calls or self.reasoning or self.has_media)

    def mended(self) -> "Answer":
        """The same with the halves of characters put together, which two chunks may have brought."""
        calls = tuple(
            {name: value and mended(value) for name, value in call.items()} for call in self.tool_calls
        )
        texts, reasoning = tuple(map(mended, self.texts)), mended(self.reasoning)
        return replace(self, texts=texts, tool_calls=calls, reasoning=reasoning)


def finish_of(reason: object, has_tool_calls: bool = False) -> str | None:
    """Why an answer ended, in one vocabulary: stop, length, tool_calls or content_filter; else as it came.

    >>> finish_of("end_turn"), finish_of("max_output_tokens"), finish_of("stop", has_tool_calls=True)
    ('stop', 'length', 'tool_calls')
    """
    word = getattr(reason, "value", reason)
    if not isinstance(word, str) or not word:
        return None
    known = _ONE_WORD.get(word.lower(), word)
    return "tool_calls" if known == "stop" and has_tool_calls else known
