"""Whether an answer fits its schema is what jsonschema, another reader of schemas, says."""

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrorkit.compare.answers.schemas import Asked

WORDS = st.sampled_from(["a", "b", "ab", "ü", ""])
NUMBERS = st.integers(-3, 3) | st.sampled_from([0.5, 1.0, -2.5, 1e30, 10**25])
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS,
    lambda deep: st.lists(deep, max_size=3) | st.dictionaries(WORDS, deep, max_size=3),
    max_leaves=8,
)
TYPES = st.sampled_from(["object", "array", "string", "integer", "number", "boolean", "null"])
LIMITS = st.integers(0, 3)


def keywords(deep: st.SearchStrategy[Any]) -> dict[str, st.SearchStrategy[Any]]:
    """What schemas are made of by people, and by pydantic; a few are wrong."""
    several = st.lists(deep, min_size=1, max_size=2)
    return {
        "type": TYPES | st.lists(TYPES, min_size=1, max_size=2, unique=True) | st.just("any"),
        "properties": st.dictionaries(WORDS, deep, max_size=3),
        "required": st.lists(WORDS, max_size=2, unique=True),
        "additionalProperties": deep,
        "patternProperties": st.dictionaries(st.sampled_from(["^a", "b$", "."]), deep, max_size=2),
        "propertyNames": deep,
        "items": deep,
        "prefixItems": several,
        "contains": deep,
        "enum": st.lists(DOCUMENTS, min_size=1, max_size=3),
        "const": DOCUMENTS,
        "minimum": NUMBERS,
        "exclusiveMaximum": NUMBERS | st.just("3"),
        "multipleOf": st.integers(1, 3) | st.just(0.5),
        **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "maxProperties"), LIMITS),
        # not a wrong one: where no document can get to it, one of the readers finds nothing wrong
        "pattern": st.sampled_from(["^a", "b$", "^(a|b)+$"]),
        "uniqueItems": st.booleans(),
        **dict.fromkeys(("anyOf", "oneOf", "allOf"), several),
        **dict.fromkeys(("not", "if", "then", "else"), deep),
        "$ref": st.sampled_from(["#/$defs/x", "#/$defs/y"]),
        "title": WORDS,
        "default": DOCUMENTS,
        "format": st.sampled_from(["date", "email", "uuid"]),
    }


def schemas_of(deep: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    made = keywords(deep)
    some = st.lists(st.sampled_from(sorted(made)), min_size=1, max_size=4, unique=True)
    return some.flatmap(lambda names: st.fixed_dictionaries({name: made[name] for name in names}))


PARTS = st.recursive(st.booleans() | st.builds(dict), schemas_of, max_leaves=5)
SIMPLE = st.sampled_from([{"type": "string"}, {"type": ["integer", "null"]}, {"minProperties": 1}, True])


@st.composite
def asked(draw: st.DrawFn) -> Any:
    return {**draw(schemas_of(PARTS)), "$defs": {"x": draw(SIMPLE), "y": draw(SIMPLE)}}


def by_jsonschema(schema: Any, document: Any) -> bool:
    from jsonschema import Draft202012Validator, SchemaError
    from referencing import Registry

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError:
        return True
    return Draft202012Validator(schema, registry=Registry()).is_valid(document)


@pytest.mark.slow
@given(asked(), st.lists(DOCUMENTS, min_size=1, max_size=4))
@settings(max_examples=500, deadline=None)
def test_the_answer_is_that_of_jsonschema(schema: Any, documents: list[Any]) -> None:
    params = {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}
    answers = pl.Series([json.dumps(each) for each in documents])
    told = Asked().valid(pl.Series([json.dumps(params)] * len(documents)), answers)
    assert told.to_list() == [by_jsonschema(schema, each) for each in documents]


def test_a_wrong_pattern_makes_a_schema_invalid_only_where_it_may_be_met() -> None:
    """Where the two differ: for jsonschema a schema is invalid wherever the pattern stands."""
    string = {"type": "string", "additionalProperties": {"then": {"pattern": "("}}}
    met = {"type": "string", "pattern": "("}
    for schema, ours in ((string, False), (met, True)):
        params = json.dumps({"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}})
        assert Asked().valid(pl.Series([params]), pl.Series(["1"])).to_list() == [ours]
        assert by_jsonschema(schema, 1) is True
