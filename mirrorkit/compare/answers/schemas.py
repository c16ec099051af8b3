"""Whether an answer is the JSON that its request asked for."""

from collections.abc import Callable
from functools import cache
from typing import Any

import polars as pl

from mirrorkit.compare.answers.documents import BeyondReading, NoJson, read

# what stands in recorded parameters for a part that was not recorded: a schema with it is not the one sent
_NOT_RECORDED = ("[secret]", "[too deep]")

_Fits = Callable[[Any], bool | None]


class Asked:
    """What the requests of a frame asked for: each parameter text and each schema is read once."""

    def __init__(self) -> None:
        self._fits = cache(_fits_of)

    def valid(self, params: pl.Series, answers: pl.Series) -> pl.Series:
        """Whether each answer fits what its request asked for; null where none asked, or it is unknown.

        A request asks by `response_format` (or `text.format` of the responses API): `json_object` for an
        object, `json_schema` for what fits the schema. Where the schema is missing, invalid, or was not
        recorded whole, an answer has only to be JSON. References to other documents are never fetched.

        >>> params = '{"response_format": {"type": "json_object"}}'
        >>> Asked().valid(pl.Series([params] * 2 + ["{}"]), pl.Series(['{"a": 1}', "sure!", "{}"])).to_list()
        [True, False, None]
        """
        rows = pl.DataFrame({"params": params, "answer": answers}).with_row_index("row")
        asking = rows.filter(
            pl.col("params").str.contains_any(["response_format", '"format"']), pl.col("answer").is_not_null()
        )
        found = [self._judged(*row) for row in asking.select("params", "answer").iter_rows()]
        judged = asking.select("row").with_columns(valid=pl.Series(found, dtype=pl.Boolean))
        return rows.select("row").join(judged, on="row", how="left", maintain_order="left")["valid"]

    def _judged(self, params: str, answer: str) -> bool | None:
        fits = self._fits(params)
        if fits is None:
            return None
        try:
            return fits(read(answer))
        except NoJson:
            return False
        except BeyondReading:
            return None


def _fits_of(params: str) -> _Fits | None:
    """The test that the answers to a request have to pass; None where JSON was not asked for."""
    try:
        read_params = read(params)
    except (NoJson, BeyondReading):
        return None
    if not isinstance(read_params, dict) or read_params.get("n") not in (None, 1):
        return None  # several answers are recorded as one
    schema = _schema(read_params)
    return None if schema is None else _validator(schema)


def _schema(params: dict[str, Any]) -> Any:
    """The schema asked for; True where any JSON will do, None where JSON was not asked for."""
    asked = params.get("response_format")
    if asked is None and isinstance(text := params.get("text"), dict):
        asked = text.get("format")
    if not isinstance(asked, dict):
        return None
    if asked.get("type") == "json_object":
        return {"type": "object"}
    if asked.get("type") == "json_schema":
        inner = asked.get("json_schema")
        schema = inner.get("schema") if isinstance(inner, dict) else asked.get("schema")
        return True if schema is None else schema
    # a pydantic class is recorded as its schema
    return asked if isinstance(asked.get("properties"), dict) else None


def _validator(schema: Any) -> _Fits:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for
    from referencing import Registry

    if any(mark in repr(schema) for mark in _NOT_RECORDED):
        return _anything
    try:
        kind = validator_for(schema, default=Draft202012Validator)
        kind.check_schema(schema)
        # a registry of its own: jsonschema's default one would fetch what a schema refers to
        checker = kind(schema, registry=Registry())
    except Exception:  # a schema may be anything
        return _anything

    def fits(document: Any) -> bool | None:
        try:
            return bool(checker.is_valid(document))
        except Exception:  # a reference that leads nowhere, a pattern that does not compile, too deep
            return None

    return fits


def _anything(document: Any) -> bool:
    return True
