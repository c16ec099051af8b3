"""What simulated models say and how long they take: pure functions of a seed, a prompt and a model.

Nothing here draws random numbers: every choice is a hash of what it depends on, so that a run can
be repeated in any process and in any order.
"""

import copy
import hashlib
import json
import math
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, Literal, get_args

from mirrorkit.errors import ConfigError

Fault = Literal["429", "500", "400", "401", "hang", "cut", "garbage"]
FAULTS: tuple[str, ...] = get_args(Fault)

SHARED_WORDS = 24
"""Typical length, in words, of the answers that all models share."""

TOOL_SHARE = 0.8
"""Share of the prompts with tools that are answered by a tool call."""

_SHARED = "shared"
_MAX_DEPTH = 6
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class SimulatedModel:
    """A model the simulator serves: how fast it is, how it words its answers, how often it fails.

    Times are medians, in seconds: `ttft_s` until the first token, `token_s` for each output token;
    `sigma` is the standard deviation of the logarithm of both. `words` is the typical length of an
    answer in words, `style` its wording: "plain", "brief" or "chatty". `agreement` is the share of
    prompts on which the model gives the answer that all models share. `errors` maps a fault ("429",
    "500", "400", "401", "hang", "cut", "garbage") to its share of the requests. `dimensions` is the
    length of an embedding.

    Raises ConfigError for a value out of range, an unknown style or an unknown fault.

    >>> SimulatedModel("gpt-4o", ttft_s=0.3, errors={"429": 0.02}).style
    'plain'
    """

    name: str
    ttft_s: float = 0.02
    token_s: float = 0.0005
    sigma: float = 0.25
    words: int = 24
    style: str = "plain"
    agreement: float = 0.5
    errors: Mapping[str, float] = field(default_factory=dict)
    dimensions: int = 8

    def __post_init__(self) -> None:
        if self.style not in _SENTENCES:
            raise ConfigError(f"style={self.style!r} of {self.name!r}: take one of {', '.join(_SENTENCES)}")
        for name in ("ttft_s", "token_s", "sigma"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name}={getattr(self, name)!r} of {self.name!r}: must be 0 or more")
        for name in ("words", "dimensions"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)!r} of {self.name!r}: must be 1 or more")
        if not 0 <= self.agreement <= 1:
            raise ConfigError(f"agreement={self.agreement!r} of {self.name!r}: must lie in 0 to 1")
        for fault, part in self.errors.items():
            if fault not in FAULTS:
                raise ConfigError(
                    f"errors of {self.name!r}: unknown fault {fault!r}; take {', '.join(FAULTS)}"
                )
            if not 0 <= part <= 1:
                raise ConfigError(
                    f"errors of {self.name!r}: the share of {fault!r} is {part!r}, not in 0 to 1"
                )
        if sum(self.errors.values()) > 1 + 1e-9:
            raise ConfigError(f"errors of {self.name!r}: the shares add up to more than 1")


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


# ---------------------------------------------------------------- choices


def share(*key: object) -> float:
    """A number above 0 and below 1 that depends on the key alone, uniform over keys.

    >>> share("a", 1) == share("a", 1), share("a", 1) == share("a", 2), 0 < share("a") < 1
    (True, False, True)
    """
    text = "\x1f".join(map(str, key)).encode("utf-8", "surrogatepass")
    number = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
    return ((number >> 12) + 0.5) / 2**52


def pick(options: Sequence[Any], *key: object) -> Any:
    """One of the options, chosen by the key.

    >>> pick("ab", "some", "key") in "ab"
    True
    """
    return options[int(share(*key) * len(options))]


def count_tokens(text: str) -> int:
    """The simulator's rule for tokens: one for every 4 characters begun, at least one.

    >>> count_tokens(""), count_tokens("four"), count_tokens("fiver")
    (1, 1, 2)
    """
    return max(1, -(-len(text) // 4))


def agrees(model: SimulatedModel, prompt: str, seed: int) -> bool:
    """Whether the model gives the shared answer to the prompt; models agree on the same prompts.

    >>> [agrees(SimulatedModel("a", agreement=share), "Hello", 0) for share in (0.0, 1.0)]
    [False, True]
    """
    return share("agreement", seed, prompt) < model.agreement


def slowness(model: SimulatedModel, *key: object) -> float:
    """The factor on the model's median times for one request: log-normal with median 1.

    >>> slowness(SimulatedModel("a", sigma=0.0), "request", 1)
    1.0
    """
    return math.exp(model.sigma * _NORMAL.inv_cdf(share("latency", *key)))


def drawn_fault(model: SimulatedModel, *key: object) -> str | None:
    """The fault that one request meets, or None, in the shares of the model's `errors`.

    >>> drawn_fault(SimulatedModel("a", errors={"500": 1.0}), "request", 1)
    '500'
    """
    if not model.errors:
        return None
    left = share("fault", *key)
    for fault, part in model.errors.items():
        if left < part:
            return fault
        left -= part
    return None


# ---------------------------------------------------------------- answers

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


def answer_to(model: SimulatedModel, ask: Ask, seed: int, choice: int = 0) -> Answer:
    """The model's answer to a request: prose, a JSON object or a tool call; `choice` counts from 0.

    >>> ask = Ask(prompt="user: Where is my parcel?", question="Where is my parcel?")
    >>> a, b = SimulatedModel("a", agreement=1.0), SimulatedModel("b", agreement=1.0, style="chatty")
    >>> answer_to(a, ask, seed=0) == answer_to(b, ask, seed=0)
    True
    """
    voice = _Voice(model, ask, seed, choice)
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

    def __init__(self, model: SimulatedModel, ask: Ask, seed: int, choice: int) -> None:
        self.model = model
        self.question = ask.question
        self.key = (seed, ask.prompt, choice)
        self.shared = choice == 0 and agrees(model, ask.prompt, seed)

    def prose(self) -> str:
        style, words = ("plain", SHARED_WORDS) if self.shared else (self.model.style, self.model.words)
        key = (*self.key, _SHARED if self.shared else style)
        length = max(1, round(words * (0.6 + 0.8 * share("length", *key))))
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
            return {k: self.value(s, root, f"{path}.{k}", depth + 1) for k, s in properties.items()}
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
        if kind in ("number", "integer"):
            low = schema.get("minimum", 0)
            high = max(low, schema.get("maximum", low + (1 if kind == "number" else 9)))
            number = low + (high - low) * share(*key)
            return round(number, 2) if kind == "number" else int(number)
        name = path.rpartition(".")[2]
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
        while True:
            yield sentences[i % len(sentences)].format(topic=pick(topics, "topic", i, *key))
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
        tools=tuple((tool["name"], tool.get("parameters") or {}) for tool in tools if "name" in tool),
        tool_choice="none" if last in ("tool", "function_call_output") else _tool_choice(body),
        max_tokens=limit,
    )


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


# ---------------------------------------------------------------- requests for a demo

_PRODUCTS = (
    "headphones",
    "coffee machine",
    "rain jacket",
    "desk lamp",
    "running shoes",
    "tablet",
    "backpack",
)
_TROUBLES = (
    "arrived with a crack in the housing",
    "has not arrived although tracking says delivered",
    "was charged twice on my credit card",
    "stopped working after three days",
    "is the wrong size and I would like to exchange it",
    "came without the invoice that I need for my company",
)
_QUESTIONS = (
    "My {product} from order {order} {trouble}. What should I do?",
    "Hello, the {product} (order {order}) {trouble}. Can you help me today?",
    "Order {order}: the {product} {trouble}, and nobody answered my first message.",
)
_TICKET_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "category": {"type": "string", "enum": ["billing", "delivery", "exchange", "defect"]},
        "urgent": {"type": "boolean"},
        "order_id": {"type": "string"},
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
        "summary": {"type": "string"},
    },
    "required": ["category", "urgent", "order_id", "confidence", "summary"],
    "additionalProperties": False,
}
_TOOLS: Sequence[Mapping[str, Any]] = (
    {
        "type": "function",
        "function": {
            "name": "look_up_order",
            "description": "Find an order and where it is.",
            "parameters": {
                "type": "object",
                "properties": {"order_id": {"type": "string"}, "with_history": {"type": "boolean"}},
                "required": ["order_id"],
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "open_return",
            "description": "Start the return of an item.",
            "parameters": {
                "type": "object",
                "properties": {
                    "order_id": {"type": "string"},
                    "reason": {"type": "string"},
                    "refund": {"type": "string", "enum": ["card", "voucher"]},
                },
                "required": ["order_id", "reason"],
            },
        },
    },
)


def prompts(n: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """`n` varied chat requests as a shop's help desk sends them, without "model".

    Each is tagged "support" (prose), "extraction" (a JSON answer) or "tools" (tool calls), and with the
    customer's plan, "free" or "pro"; about three requests share a session.

    >>> request = prompts(1, seed=3)[0]
    >>> sorted(request["metadata"]), request["messages"][-1]["role"]
    (['session_id', 'tags'], 'user')
    """
    return [_prompt(i, i // 3, seed) for i in range(n)]


def _prompt(number: int, session: int, seed: int) -> dict[str, Any]:
    key = ("prompts", seed, number)
    kind = pick(("support", "support", "extraction", "tools"), "kind", seed, session)
    plan = pick(("free", "free", "pro"), "plan", seed, session)
    question = pick(_QUESTIONS, "question", *key).format(
        product=pick(_PRODUCTS, "product", *key),
        order=f"A-{10_000 + int(share('order', *key) * 90_000)}",
        trouble=pick(_TROUBLES, "trouble", *key),
    )
    return {
        "messages": [
            {"role": "system", "content": _SYSTEM[kind]},
            {"role": "user", "content": question},
        ],
        **_extras(kind, *key),
        "metadata": {"tags": [kind, plan], "session_id": f"session-{session:04d}"},
    }


_SYSTEM = {
    "support": "You answer customers of a web shop, friendly and to the point.",
    "extraction": "Turn the customer's message into a ticket. Answer in JSON.",
    "tools": "You work at the help desk of a web shop. Use the tools where they help.",
}


def _extras(kind: str, *key: object) -> dict[str, Any]:
    if kind == "tools":
        return {"tools": copy.deepcopy(list(_TOOLS)), "tool_choice": "auto"}
    if kind == "support":
        return {"max_tokens": 200, "stream": False} if share("explicit", *key) < 0.5 else {"temperature": 0.7}
    if share("loose", *key) < 0.5:
        return {"response_format": {"type": "json_object"}}
    schema = {"name": "ticket", "strict": True, "schema": copy.deepcopy(_TICKET_SCHEMA)}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}
