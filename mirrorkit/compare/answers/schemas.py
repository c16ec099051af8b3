"""Whether an answer is the JSON that its request asked for."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NoReturn

import polars as pl

from mirrorkit.compare.answers.documents import BeyondReading, NoJson, read

# what stands in recorded parameters for a part that was not recorded: a schema with it is not the one sent
_NOT_RECORDED = ("[secret]", "[too deep]")

_KEPT = 1_000
"""Parameters, and schemas, that are held ready: one that was made for each request comes once."""

_Fits = Callable[[Any], bool | None]


class Asked:
    """What the requests of a frame asked for: each parameter text is read once, each schema compiled once."""

    def __init__(self) -> None:
        # the parameters of many requests may differ in a seed alone
        self._fits = lru_cache(maxsize=_KEPT)(self._fits_of)
        self._compiled: dict[str, _Fits] = {}

    def valid(self, params: pl.Series, answers: pl.Series, read: Callable[[str], Any] = read) -> pl.Series:
        """Whether each answer fits what its request asked for; null where none asked, or it is unknown.

        A request asks by `response_format` (or `text.format` of the responses API): `json_object` for an
        object, `json_schema` for what fits the schema. Where the schema is missing, cannot be compiled, or
        was not recorded whole, an answer has only to be JSON. References to other documents are never
        fetched: what a schema with one asks for is unknown. `read` is how answers are read: `documents.read`,
        or as it.

        >>> params = '{"response_format": {"type": "json_object"}}'
        >>> Asked().valid(pl.Series([params] * 2 + ["{}"]), pl.Series(['{"a": 1}', "sure!", "{}"])).to_list()
        [True, False, None]
        """
        rows = pl.DataFrame({"params": params, "answer": answers}).with_row_index("row")
        asking = rows.filter(
            pl.col("params").str.contains_any(["response_format", '"format"']), pl.col("answer").is_not_null()
        )
        asking_rows = asking.select("params", "answer").iter_rows()
        found = [self._judged(params_of, answer, read) for params_of, answer in asking_rows]
        judged = asking.select("row").with_columns(valid=pl.Series(found, dtype=pl.Boolean))
        return rows.select("row").join(judged, on="row", how="left", maintain_order="left")["valid"]

    def _judged(self, params: str, answer: str, read: Callable[[str], Any]) -> bool | None:
        fits = self._fits(params)
        if fits is None:
            return None
        try:
            return fits(read(answer))
        except NoJson:
            return False
        except BeyondReading:
            return None

    def _fits_of(self, params: str) -> _Fits | None:
        """The test that the answers to a request have to pass; None where JSON was not asked for."""
        try:
            read_params = read(params)
        except (NoJson, BeyondReading):
            return None
        if not isinstance(read_params, dict) or read_params.get("n") not in (None, 1):
            return None  # several answers are recorded as one
        schema = _schema(read_params)
        if schema is None:
            return None
        try:
            text = repr(schema)
        except RecursionError:
            return _anything
        if text not in self._compiled:
            if len(self._compiled) == _KEPT:
                self._compiled.clear()
            whole = not any(mark in text for mark in _NOT_RECORDED)
            self._compiled[text] = _compiled(schema) if whole else _anything
        return self._compiled[text]


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


def _compiled(schema: Any) -> _Fits:
    from jsonschema_rs import Draft202012Validator, ValidationError, ValidationErrorKind, validator_for

    if not isinstance(schema, dict | bool):
        return _anything
    for of_schema in (validator_for, Draft202012Validator):  # the latter whatever draft it says it is of
        try:
            is_valid = of_schema(schema, validate_formats=False, retriever=_not_fetched).is_valid
        except ValidationError as error:
            if not isinstance(error.kind, ValidationErrorKind.Referencing):
                return _anything
        except ValueError:  # nested too deep, no text that UTF-8 can hold
            return _anything
        else:
            return _unless_it_fails(is_valid)
    return _unknown


def _unless_it_fails(is_valid: Callable[[Any], bool]) -> _Fits:
    def fits(document: Any) -> bool | None:
        try:
            return is_valid(document)
        except ValueError:  # nested too deep, half a character
            return None

    return fits


def _not_fetched(address: str) -> NoReturn:
    raise ValueError(f"{address} is not fetched")


def _anything(document: Any) -> bool:
    return True


def _unknown(document: Any) -> None:
    return None
