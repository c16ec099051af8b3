"""Chat answers: a whole one is read as a stream of one piece, so that both read alike."""

from collections.abc import Mapping
from typing import Any

from mirrorkit.capture.answer import Answer, finish_of
from mirrorkit.capture.failures import EmptyStream
from mirrorkit.capture.fields import field_of, name_of, text_of, values_of
from mirrorkit.capture.media import address_of
from mirrorkit.capture.tool_calls import ToolCalls
from mirrorkit.capture.usage import Usage, usage_of

# after the tool calls of today, of which an answer has none where it has this
_FUNCTION_CALL_INDEX = 1_000_000


class _Choice:
    """One of the answers that a request asks for (`n`), as far as it has come."""

    __slots__ = ("content", "finish", "reasoning", "refusal", "transcript")

    def __init__(self) -> None:
        self.content: list[str] = []
        self.transcript: list[str] = []
        self.refusal: list[str] = []
        self.reasoning: list[str] = []
        self.finish: Any = None

    @property
    def text(self) -> str:
        """What it says: the content, else what was spoken, else why it refuses."""
        return "".join(self.content or self.transcript or self.refusal)

    @property
    def is_refusal(self) -> bool:
        """Whether it refuses, and says nothing else."""
        return bool(self.refusal) and not self.content and not self.transcript


class ChatAnswer:
    """A chat answer that is put together from messages or from what streams tell of them."""

    def __init__(self) -> None:
        self._choices: dict[int, _Choice] = {}
        self._calls = ToolCalls()
        self._has_media = False
        self._media: list[str] = []
        self._has_provider = False
        self._model: str | None = None
        self.begun = False
        """whether anything of the answer itself has come"""

    def take_chunk(self, chunk: Mapping[str, Any], hidden: Mapping[str, Any]) -> None:
        """Take a chunk of a stream, by its fields and its hidden parameters."""
        self._model = name_of(chunk.get("model")) or self._model
        # the id that the provider gave: a chunk that LiteLLM makes up has none
        self._has_provider = self._has_provider or bool(hidden.get("received_model_id"))
        for choice in map(values_of, chunk.get("choices") or ()):
            index, delta = choice.get("index"), values_of(choice.get("delta"))
            at = index if isinstance(index, int) else 0
            self._has_provider = self._has_provider or delta.get("role") is not None
            self._take(at, delta, choice.get("finish_reason"))
            for piece in delta.get("tool_calls") or ():
                self._calls.add(at, piece)
                self.begun = True
            if (function := delta.get("function_call")) is not None:
                self._calls.add(at, {"function": function, "index": _FUNCTION_CALL_INDEX})
                self.begun = True

    def take_whole(self, answer: Any) -> None:
        """Take a whole answer."""
        self._model = name_of(field_of(answer, "model"))
        for at, choice in enumerate(field_of(answer, "choices") or ()):
            message = values_of(field_of(choice, "message"))
            self._take(at, message, field_of(choice, "finish_reason"))
            for call in message.get("tool_calls") or ():
                self._calls.begin(at, call)
            if (function := message.get("function_call")) is not None:
                self._calls.begin(at, {"function": function})

    @property
    def has_finished(self) -> bool:
        """Whether it is known why it ended, so that no more will come of it but its usage."""
        return any(choice.finish for choice in self._choices.values())

    def read(self, usage: Usage | None = None) -> Answer:
        """The answer, as far as it has come."""
        choices = [choice for _, choice in sorted(self._choices.items())]
        finish = next((choice.finish for choice in choices if choice.finish), None)
        spoken = [choice for choice in choices if choice.content or choice.transcript or choice.refusal]
        return Answer(
            texts=tuple(choice.text for choice in choices),
            tool_calls=self._calls.made(),
            reasoning="".join(part for choice in choices for part in choice.reasoning),
            finish_reason=finish_of(finish, bool(self._calls)),
            has_media=self._has_media,
            media=tuple(self._media),
            is_refusal=bool(spoken) and all(choice.is_refusal for choice in spoken),
            model=self._model,
            usage=usage,
        )

    def read_stream(self, usage: Usage | None = None) -> Answer:
        """The answer of a stream that has come to its end, which is none if nothing was in it.

        Of a stream with nothing in it LiteLLM makes one chunk, which says that it stopped.
        """
        answer = self.read(usage)
        was_said = answer.says_something or usage is not None or self._has_provider
        if was_said or answer.finish_reason not in (None, "stop"):
            return answer
        return Answer(model=answer.model, failure=EmptyStream())

    def _take(self, at: int, message: Mapping[str, Any], finish: Any) -> None:
        if (choice := self._choices.get(at)) is None:
            choice = self._choices[at] = _Choice()
        choice.finish = finish or choice.finish
        reasoning = message.get("reasoning_content") or message.get("reasoning")
        images = list(message.get("images") or ())
        if content := message.get("content"):
            text, thought, others = _content_of(content)
            reasoning = thought or reasoning
            self._add(choice.content, text)
            images += others
        if audio := message.get("audio"):
            self._add(choice.transcript, field_of(audio, "transcript"))
        if reasoning:
            self._add(choice.reasoning, reasoning)
        if refusal := message.get("refusal"):
            self._add(choice.refusal, refusal)
        if images or audio:
            self._media += filter(None, map(address_of, images))
            self._has_media = self.begun = True

    def _add(self, texts: list[str], text: Any) -> None:
        if isinstance(text, str) and text:
            texts.append(text)
            self.begun = True


def chat_answer(answer: Any, streamed: bool = False) -> Answer:
    """What a whole chat answer says, or one that was put together from a stream."""
    chat = ChatAnswer()
    chat.take_whole(answer)
    return chat.read(usage_of(field_of(answer, "usage"), is_certain=not streamed))


def _content_of(content: Any) -> tuple[str, str, list[Any]]:
    """The text and the reasoning of a message's content, and what else is in it, as an image."""
    if isinstance(content, str):
        return content, "", []
    if not isinstance(content, list | tuple):
        return text_of(content) or "", "", []
    texts: list[str] = []
    reasoning: list[str] = []
    others: list[Any] = []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif (text := field_of(part, "text")) is not None:
            texts.append(text_of(text) or "")
        elif (thought := field_of(part, "thinking")) is not None:
            reasoning.append(_content_of(thought)[0])
        else:
            others.append(part)
    return "".join(texts), "".join(reasoning), others
