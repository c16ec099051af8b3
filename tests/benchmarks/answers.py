"""Pairs of answers as models give them: prose, JSON by a schema, tool calls; half of them the same."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from mirrorkit.records import SCHEMA

KINDS = ("prose", "JSON with a schema", "tool calls")

WORDS = """
the of and to a in is it you that for on are as with they at be this have from or by but not what all
were when we there can an your which their if do will each about how up out them then she many some so
these would other into has more her two like him see time could no make than first been its who now
order parcel refund invoice customer account payment delivery warranty address receipt return shipping
support issue device battery screen replacement exchange discount subscription password please thank
sorry contact team check status number email within business days item package label confirm details
"""
_COUNTRIES = ("DE", "FR", "IT", "PL", "ES", "NL")

TICKET: dict[str, Any] = {
    "type": "object",
    "properties": {
        "category": {"type": "string", "enum": ["billing", "delivery", "exchange", "defect"]},
        "urgent": {"type": "boolean"},
        "order_id": {"type": "string", "pattern": "^[0-9]{6}$"},
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
        "summary": {"type": "string", "maxLength": 500},
        "customer": {"$ref": "#/$defs/customer"},
        "items": {"type": "array", "items": {"$ref": "#/$defs/item"}, "minItems": 1},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
    "required": ["category", "urgent", "order_id", "confidence", "summary", "customer", "items", "note"],
    "additionalProperties": False,
    "$defs": {
        "customer": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "country": {"enum": list(_COUNTRIES)}},
            "required": ["name", "country"],
            "additionalProperties": False,
        },
        "item": {
            "type": "object",
            "properties": {
                "sku": {"type": "string"},
                "quantity": {"type": "integer", "minimum": 1},
                "price": {"type": "number", "exclusiveMinimum": 0},
            },
            "required": ["sku", "quantity", "price"],
            "additionalProperties": False,
        },
    },
}
"""What a request for JSON asks for."""


def answers(kind: str, count: int) -> pl.DataFrame:
    """So many pairs of answers of a kind, as a record has them: of other columns than those read, null."""
    columns = _OF[kind](np.random.default_rng(1), count)
    known = {"call_type": "completion", "primary_status": "ok", "silent_status": "ok"}
    return pl.DataFrame({**columns, "pair_id": [f"{number:032x}" for number in range(count)]}).select(
        *(
            pl.col(name)
            if name in columns or name == "pair_id"
            else pl.lit(known.get(name), dtype=dtype).alias(name)
            for name, dtype in SCHEMA.columns.items()
        )
    )


def prose(random: np.random.Generator, sentences: int) -> list[str]:
    """Sentences of six to sixteen words."""
    lengths = random.integers(6, 17, sentences)
    words = random.choice(WORDS.split(), int(lengths.sum())).tolist()
    ends = np.cumsum(lengths)
    made = (" ".join(words[end - length : end]) for end, length in zip(ends, lengths, strict=True))
    return [f"{each.capitalize()}." for each in made]


def _prose(random: np.random.Generator, count: int) -> dict[str, Any]:
    pool = prose(random, 20_000)
    primary = random.integers(0, len(pool), (count, 12))
    silent = primary.copy()
    differ = random.random(count) < 0.5
    silent[differ, 4:9] = random.integers(0, len(pool), (int(differ.sum()), 5))
    texts = ([" ".join(pool[at] for at in row) for row in rows.tolist()] for rows in (primary, silent))
    return dict(zip(("primary_output", "silent_output"), texts, strict=True))


def _tickets(random: np.random.Generator, count: int) -> dict[str, Any]:
    pool = prose(random, 5_000)

    def ticket() -> dict[str, Any]:
        items = [
            {"sku": f"A-{random.integers(10**6)}", "quantity": int(random.integers(1, 5)), "price": 9.5 + n}
            for n in range(random.integers(1, 5))
        ]
        return {
            "category": "billing",
            "urgent": bool(random.random() < 0.5),
            "order_id": f"{random.integers(10**5, 10**6)}",
            "confidence": round(float(random.random()), 2),
            "summary": " ".join(pool[at] for at in random.integers(0, len(pool), 4)),
            "customer": {"name": "Ada Example", "country": _COUNTRIES[random.integers(6)]},
            "items": items,
            "note": None,
        }

    primary = [ticket() for _ in range(count)]
    silent = [
        each if same else {**each, "summary": pool[number % 5_000], "confidence": 1.2 if number % 9 else 0.5}
        for number, (each, same) in enumerate(zip(primary, random.random(count) < 0.5, strict=True))
    ]
    asked = {"type": "json_schema", "json_schema": {"name": "ticket", "schema": TICKET, "strict": True}}
    params = [json.dumps({"max_tokens": 100 * (n % 5 + 1), "response_format": asked}) for n in range(count)]
    return {
        "params": params,
        "primary_output": [json.dumps(each) for each in primary],
        "silent_output": [json.dumps(each, indent=1) for each in silent],
    }


def _calls(random: np.random.Generator, count: int) -> dict[str, Any]:
    def calls(city: str) -> str:
        arguments = json.dumps({"city": city, "unit": "celsius", "days": 3, "detail": ["wind", "rain"]})
        function = {"name": "weather", "arguments": arguments}
        return json.dumps(
            [{"id": f"call_{random.integers(10**9)}", "type": "function", "function": function}]
        )

    cities = random.choice(WORDS.split(), (2, count))
    same = random.random(count) < 0.5
    return {
        "primary_tool_calls": [calls(str(each)) for each in cities[0]],
        "silent_tool_calls": [calls(str(each)) for each in np.where(same, cities[0], cities[1])],
    }


_OF: dict[str, Callable[[np.random.Generator, int], dict[str, Any]]] = dict(
    zip(KINDS, (_prose, _tickets, _calls), strict=True)
)
