"""What simulated models say: pure functions of a seed, a request and a model."""

import hashlib
import json
import math
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mirrorkit.simulator.models import SimulatedModel, agrees, pick, share

SHARED_WORDS = 24
"""Typical length, in words, of the answers that all models share."""

TOOL_SHARE = 0.8
"""Share of the prompts with tools that are answered by a tool call."""

_SHARED = "shared"
_MAX_DEPTH = 6


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of one of the tools that a request offers; `arguments` is JSON text."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model says to one request."""

    text: str | None
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str = "stop"

    @property
    def tokens(self) -> int:
        """The answer's length in tokens, by `count_tokens`."""
        return count_tokens(
            (self.text or "") + "".join(call.name + call.arguments for call in self.tool_calls)
        )


@dataclass(frozen=True, slots=True)
class Ask:
    """What a request asks for, whichever endpoint it came through.

    `prompt` is all of the text and decides the answer; `question` is what the user said last, and
    lends the answer its words. `schema` is the JSON schema of the answer, or None for prose.
    """

    prompt: str
    question: str
    schema: Mapping[str, Any] | None = None
    tools: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    tool_choice: str | None = None
    max_tokens: int | None = None


def count_tokens(text: str) -> int:
    """The simulator's rule for tokens: one for every 4 characters begun, at least one.

    >>> count_tokens(""), count_tokens("four"), count_tokens("fiver")
    (1, 1, 2)
    """
    return max(1, -(-len(text) // 4))


_SENTENCES: Mapping[str, Sequence[str]] = {
    "plain": (
        "The {topic} can be changed in the settings of your account.",
        "We have looked at the {topic} and found nothing unusual.",
        "Please check that the {topic} matches what is written on the invoice.",
        "It usually takes two working days until the {topic} is updated.",
        "If the {topic} is still wrong after that, reply with a screenshot.",
        "The team that looks after the {topic} has been told about it.",
    ),
    "brief": (
        "Check the {topic}.",
        "Settings, then {topic}, then save.",
        "No known fault with the {topic}.",
        "Allow two days.",
        "Reply if the {topic} persists.",
    ),
    "chatty": (
        "Great question, and thank you so much for asking about the {topic}!",
        "I completely understand how frustrating the {topic} must be for you.",
        "Let's walk through the {topic} together, one step at a time.",
        "First of all, have a look at the {topic} on your profile page.",
        "Do let me know how it goes with the {topic}, I am happy to help further!",
        "As a rule, anything about the {topic} is sorted out within a couple of days.",
    ),
}

_NO_TOPICS = frozenset(
    "about after again although another answer answered anyone arrived because before being cannot charged "  # noqa: SIM905
    "could delivered does every exchange first hello house having inside might nobody other please shall "
    "should since still stopped their there these thing think those three through today tomorrow twice until "
    "using versus where whether which while whose without would working write wrong yesterday".split()
)
"""Words that an answer should not take for its topic."""

_DEFAULT_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "category": {"enum": ["billing", "delivery", "account", "technical"]},
        "sentiment": {"enum": ["positive", "neutral", "negative"]},
        "confidence": {"type": "number"},
        "summary": {"type": "string"},
    },
}

_PROSE_FIELDS = ("summary", "reason", "note", "description", "message", "title", "body")
_CONFIDENCE_FIELDS = ("confidence", "certainty", "probability", "likelihood", "score")


def answer_to(model: SimulatedModel, ask: Ask, seed: int, choice: int = 0, wording: str = "") -> Answer:
    """The model's answer to a request: prose, a JSON object or a tool call; `choice` counts from 0.

    A `wording` that is not empty names another wording of the same answer: other prose, in the same voice
    and of the same typical length; in JSON, other texts in prose fields and another confidence, no more.

    >>> ask = Ask(prompt="user: Where is my parcel?", question="Where is my parcel?")
    >>> a, b = SimulatedModel("a", agreement=1.0), SimulatedModel("b", agreement=1.0, style="chatty")
    >>> answer_to(a, ask, seed=0) == answer_to(b, ask, seed=0)
    True
    """
    voice = _Voice(model, ask, seed, choice, wording)
    tool = _chosen_tool(ask, seed)
    if tool is not None:
        name, parameters = tool
        arguments = json.dumps(voice.value(parameters, parameters, name))
        return Answer(None, (ToolCall(name, arguments),), "tool_calls")
    text = voice.prose() if ask.schema is None else json.dumps(voice.value(ask.schema, ask.schema, ""))
    if ask.max_tokens is not None and count_tokens(text) > ask.max_tokens:
        return Answer(text[: 4 * ask.max_tokens], finish_reason="length")
    return Answer(text)


def _chosen_tool(ask: Ask, seed: int) -> tuple[str, Mapping[str, Any]] | None:
    if not ask.tools or ask.tool_choice == "none":
        return None
    named = [tool for tool in ask.tools if tool[0] == ask.tool_choice]
    if named:
        return named[0]
    if ask.tool_choice != "required" and share("tool", seed, ask.prompt) >= TOOL_SHARE:
        return None
    chosen: tuple[str, Mapping[str, Any]] = pick(ask.tools, "which tool", seed, ask.prompt)
    return chosen


class _Voice:
    """One model's wording of the answer to one prompt."""

    def __init__(self, model: SimulatedModel, ask: Ask, seed: int, choice: int, wording: str) -> None:
        self.model = model
        self.question = ask.question
        self.key = (seed, ask.prompt, choice)
        self.anew = (model.name, wording) if wording else ()
        self.shared = choice == 0 and agrees(model, ask.prompt, seed)

    def prose(self) -> str:
        style, words = ("plain", SHARED_WORDS) if self.shared else (self.model.style, self.model.words)
        key = (*self.key, _SHARED if self.shared else style)
        length = max(1, round(words * (0.6 + 0.8 * share("length", *key, *self.anew))))
        written: list[str] = []
        for sentence in self._sentences(style, key):
            words_more = sentence.split()
            if not written and len(words_more) > length:
                return " ".join(words_more[:length]).rstrip(".,;!") + "."
            if written and len(written) + len(words_more) / 2 > length:
                break
            written += words_more
        return " ".join(written)

    def value(self, schema: Mapping[str, Any], root: Mapping[str, Any], path: str, depth: int = 0) -> Any:
        """A value that follows a simple JSON schema; some fields are the same from every model."""
        if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
            return None
        if (target := _referred(schema, root)) is not None:
            return self.value(target, root, path, depth + 1)
        key = (*self.key, path, self._field_voice(path))
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return pick(schema["enum"], *key)
        kind = schema.get("type", "object" if "properties" in schema else "string")
        if isinstance(kind, Sequence) and not isinstance(kind, str):
            kind = next((k for k in kind if k != "null"), "null")
        if kind == "object":
            properties = schema.get("properties", {})
            kept = ((k, s) for k, s in properties.items() if k not in self.model.omits)
            return {k: self.value(s, root, f"{path}.{k}", depth + 1) for k, s in kept}
        if kind == "array":
            low = schema.get("minItems", 1)
            high = max(low, schema.get("maxItems", low + 2))
            items = pick(range(low, high + 1), "items", *key)
            return [
                self.value(schema.get("items", {}), root, f"{path}[{i}]", depth + 1) for i in range(items)
            ]
        return self._scalar(kind, schema, path, key)

    def _scalar(self, kind: str, schema: Mapping[str, Any], path: str, key: tuple[object, ...]) -> Any:
        if kind == "null":
            return None
        if kind == "boolean":
            return share(*key) < 0.5
        name = path.rpartition(".")[2]
        if kind in ("number", "integer"):
            key += self.anew if name in _CONFIDENCE_FIELDS else ()
            low = schema.get("minimum", 0)
            high = max(low, schema.get("maximum", low + (1 if kind == "number" else 9)))
            number = low + (high - low) * share(*key)
            return round(number, 2) if kind == "number" else int(number)
        if name in _PROSE_FIELDS:
            style = "plain" if self._field_voice(path) == _SHARED else self.model.style
            return next(self._sentences(style, key))
        words = re.findall(r"[\w#@.-]*\w", self.question) or ["unknown"]
        if name.endswith(("id", "number", "date")):
            words = [word for word in words if any(map(str.isdigit, word))] or words
        return pick(words, *key)

    def _field_voice(self, path: str) -> str:
        if self.shared or share("field", *self.key, path) < 0.5:
            return _SHARED
        return self.model.style

    def _sentences(self, style: str, key: tuple[object, ...]) -> Iterator[str]:
        words = (word.lower() for word in re.findall(r"[A-Za-z]{5,}", self.question))
        topics = [word for word in words if word not in _NO_TOPICS] or ["request"]
        sentences = _SENTENCES[style]
        i = int(share("start", *key) * len(sentences))
        if self.anew:  # any sentence but the usual first one
            i += pick(range(1, len(sentences)), "start", *key, *self.anew)
        while True:
            yield sentences[i % len(sentences)].format(topic=pick(topics, "topic", i, *key, *self.anew))
            i += 1


def _referred(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The schema that stands for this one: the target of a local $ref, or the first alternative."""
    if isinstance(ref := schema.get("$ref"), str):
        target: Any = root
        for part in filter(None, ref.removeprefix("#").split("/")):
            target = target.get(part, {}) if isinstance(target, Mapping) else {}
        return target if isinstance(target, Mapping) else {}
    for word in ("anyOf", "oneOf", "allOf"):
        if schema.get(word):
            first: Mapping[str, Any] = schema[word][0]
            return first
    return None


def embedding_of(model: SimulatedModel, text: str, seed: int, dimensions: int | None = None) -> list[float]:
    """A vector of length 1 in the Euclidean norm; on agreed texts the same from every model.

    >>> vector = embedding_of(SimulatedModel("a"), "hello", seed=0)
    >>> len(vector), round(sum(x * x for x in vector), 6)
    (8, 1.0)
    """
    count = dimensions or model.dimensions
    voice = _SHARED if agrees(model, text, seed) else f"{model.name} {model.style}"
    key = f"{seed}\x1f{voice}\x1f{text}".encode("utf-8", "surrogatepass")
    raw = struct.unpack(f"<{count}i", hashlib.shake_256(key).digest(4 * count))
    norm = math.hypot(*raw) or 1.0
    return [x / norm for x in raw]


# ---------------------------------------------------------------- reading a request

_ASKS_FOR_JSON = re.compile(r"\bjson\b", re.IGNORECASE)


def ask_of(body: Mapping[str, Any]) -> Ask:
    """What the body of a chat completion or of a responses request asks for.

    Raises ValueError, AttributeError or TypeError for a body of another shape.

    >>> ask_of({"messages": [{"role": "user", "content": "Reply in JSON."}]}).schema["type"]
    'object'
    >>> ask_of({"input": "Hello", "max_output_tokens": 5}).max_tokens
    5
    """
    turns = _turns(body)
    question = next((text for role, text in reversed(turns) if role == "user"), "")
    last = turns[-1][0]
    limits = (body.get(name) for name in ("max_completion_tokens", "max_tokens", "max_output_tokens"))
    limit = next((limit for limit in limits if limit is not None), None)
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise ValueError(f"the limit on tokens is {limit!r}; it must be a whole number from 1")
    tools = [tool.get("function", tool) for tool in body.get("tools") or ()]
    return Ask(
        prompt="\n".join(f"{role}: {text}" for role, text in turns),
        question=question,
        schema=_answer_schema(body, question),
        tools=tuple((tool["name"], _parameters(tool)) for tool in tools if "name" in tool),
        tool_choice="none" if last in ("tool", "function_call_output") else _tool_choice(body),
        max_tokens=limit,
    )


def _parameters(tool: Mapping[str, Any]) -> Any:
    # Anthropic has a name of its own for them
    return tool.get("parameters") or tool.get("input_schema") or {}


def _turns(body: Mapping[str, Any]) -> list[tuple[str, str]]:
    said = body.get("messages", body.get("input"))
    if isinstance(said, str):
        said = [{"role": "user", "content": said}]
    if not isinstance(said, list) or not said:
        raise ValueError("'messages' (or 'input') must be a list that is not empty")
    turns = [
        (str(m.get("role") or m.get("type")), text_of(m.get("content") or m.get("output"))) for m in said
    ]
    return [("system", str(body["instructions"])), *turns] if body.get("instructions") else turns


def text_of(content: Any) -> str:
    """The text in a message's content: a string, a list of parts, or nothing.

    >>> text_of([{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": "x"}}])
    'Look'
    """
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(str(part.get("text") or "") for part in content if part.get("text"))


def _answer_schema(body: Mapping[str, Any], question: str) -> Mapping[str, Any] | None:
    wanted = body.get("response_format") or (body.get("text") or {}).get("format") or {}
    if wanted.get("type") == "json_schema":
        schema: Mapping[str, Any] = wanted.get("json_schema", wanted).get("schema") or _DEFAULT_SCHEMA
        return schema
    if wanted.get("type") == "json_object" or _ASKS_FOR_JSON.search(question):
        return _DEFAULT_SCHEMA
    return None


def _tool_choice(body: Mapping[str, Any]) -> str | None:
    choice = body.get("tool_choice")
    if isinstance(choice, Mapping):
        return str(choice.get("function", choice).get("name"))
    return choice
