"""Requests to try a mirror with: those of a web shop's help desk."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from mirrorkit.simulator.models import pick, share

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
