"""How the two answers of each pair differ, as data: one row a pair."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import polars as pl

from mirrorkit.compare.answers import documents
from mirrorkit.compare.answers.languages import languages
from mirrorkit.compare.answers.paths import Path
from mirrorkit.compare.answers.refusals import refused
from mirrorkit.compare.answers.rules import Rules
from mirrorkit.compare.answers.schemas import Asked
from mirrorkit.compare.answers.texts import answered, cleaned, looks_like_json, normalised

LONGEST = 20_000
"""Texts are cut at this many characters before their similarity is measured."""

MOST_CHANGES = 1_000
"""Of a pair's changes at most this many are kept, in the order of the documents."""

ROWS_A_STEP = 5_000

CHANGES = pl.List(pl.Struct({"path": pl.String(), "change": pl.String()}))

READ = (
    "params",
    *(
        f"{side}_{name}"
        for side in ("primary", "silent")
        for name in ("status", "output", "tool_calls", "finish_reason")
    ),
)
"""The columns that the differences come from."""

LENGTHS: dict[str, pl.DataType] = {
    "primary_output_length": pl.UInt32(),
    "silent_output_length": pl.UInt32(),
}

COLUMNS: dict[str, pl.DataType] = {
    **LENGTHS,
    "identical": pl.Boolean(),
    "similarity": pl.Float64(),
    "cut": pl.Boolean(),
    "json_equal": pl.Boolean(),
    "primary_json_valid": pl.Boolean(),
    "silent_json_valid": pl.Boolean(),
    "tools_equal": pl.Boolean(),
    "tool_names_equal": pl.Boolean(),
    "primary_language": pl.String(),
    "silent_language": pl.String(),
    "primary_refused": pl.Boolean(),
    "silent_refused": pl.Boolean(),
    "changes": CHANGES,
    "clean_failed": pl.Boolean(),
}

_SIDES = ("primary", "silent")
_NO_CALLS = ("", "[]", "null")
_CALLS = "tool_calls"
_FOUND = {
    "row": pl.UInt32(),
    "path": pl.String(),
    "change": pl.String(),
    "one": pl.String(),
    "other": pl.String(),
}

_Read = tuple[int, Any, Any]


def differences(
    frame: pl.DataFrame,
    rules: Rules = Rules(),  # noqa: B008  # frozen
    step: Callable[[int], object] = lambda n: None,
) -> pl.DataFrame:
    """How the answers differ: one row for each of `frame`, in its order; null where it cannot be told.

    `frame` has the columns of `mirrorkit.records.SCHEMA`; `step` is told how many rows are done.
    Of pairs whose sides are both ok:

    - `identical`: the same text (in Unicode's NFC, whitespace collapsed and trimmed, case kept) and the same
      tool calls; two JSON answers are compared as JSON.
    - `similarity` in [0, 1] of two texts: 1 - insertions and deletions / characters of both (Indel distance,
      by rapidfuzz), each text cut at `LONGEST` characters, which `cut` tells of; 1 for equal JSON.
    - `json_equal`: two JSON objects or arrays are equal; key order and spacing do not count.
    - `tools_equal`, `tool_names_equal`: the same tools called, in the same order, and the former with the
      same arguments; null where neither side called one.
    - `changes`: where two JSON answers, or two answers with tool calls, differ: `path`
      (`$.items[2].price`, `tool_calls[0].arguments.city`) and `change`: `added` (only the silent one has
      it), `removed` (only the primary has it), `type` or `value`. Empty where they are equal.
    - `clean_failed`: the user's `clean` failed on one of the texts, and so the answers were not compared.

    Of each side `…_output_length`, the characters of its text. Of each side that is ok: `…_json_valid`,
    whether it is the JSON that the request asked for (null where it asked for none); `…_language` (ISO 639-1;
    null where it is unsure) and `…_refused`, both heuristics.

    >>> from mirrorkit.records import SCHEMA
    >>> differences(SCHEMA.frame()).columns[2:5]
    ['identical', 'similarity', 'cut']
    """
    asked = Asked()
    parts = [pl.DataFrame(schema=COLUMNS)]
    for start in range(0, frame.height, ROWS_A_STEP):
        parts.append(_differences(frame.slice(start, ROWS_A_STEP), rules, asked))
        step(min(start + ROWS_A_STEP, frame.height))
    return pl.concat(parts)


def _differences(frame: pl.DataFrame, rules: Rules, asked: Asked) -> pl.DataFrame:
    pairs = _pairs(_answers(frame, rules), rules)
    recorded = {side: frame.select(pl.when(_ok(side)).then(f"{side}_output")).to_series() for side in _SIDES}
    return pairs.with_columns(
        *lengths(frame).get_columns(),
        *frame.select(refused(side).alias(f"{side}_refused") for side in _SIDES).get_columns(),
        *_similarity(pairs).get_columns(),
        **{f"{side}_json_valid": asked.valid(frame["params"], recorded[side]) for side in _SIDES},
        **{f"{side}_language": languages(recorded[side]) for side in _SIDES},
    ).select(pl.col(name).cast(kind) for name, kind in COLUMNS.items())


def lengths(frame: pl.DataFrame) -> pl.DataFrame:
    """How many characters the text of each side has.

    >>> lengths(pl.DataFrame({"primary_output": ["äöü"], "silent_output": ["yes"]})).row(0)
    (3, 3)
    """
    return frame.select(
        pl.col(f"{side}_output").str.len_chars().alias(f"{side}_output_length") for side in _SIDES
    )


def _ok(side: str) -> pl.Expr:
    return pl.col(f"{side}_status").eq_missing("ok")


def _answers(frame: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Each side's text, cleaned and normalised, and its tool calls: null where not both sides are ok."""
    both = _ok("primary") & _ok("silent")
    calls = {side: pl.col(f"{side}_tool_calls").str.strip_chars() for side in _SIDES}
    made = frame.select(
        pl.int_range(pl.len(), dtype=pl.UInt32).alias("row"),
        (both & (answered("primary") | answered("silent"))).alias("answered"),
        *(pl.when(both).then(f"{side}_output").alias(f"{side}_text") for side in _SIDES),
        *(pl.when(both & ~calls[s].is_in(_NO_CALLS)).then(calls[s]).alias(f"{s}_calls") for s in _SIDES),
    )
    (primary, first), (silent, second) = (cleaned(made[f"{side}_text"], rules.clean) for side in _SIDES)
    failed = first | second
    made = made.with_columns(primary, silent, clean_failed=failed).with_columns(
        pl.when(~failed).then(f"{side}_{kind}").alias(f"{side}_{kind}")
        for side in _SIDES
        for kind in ("text", "calls")
    )
    return made.with_columns(
        normalised(pl.col(f"{side}_text"), rules).alias(f"{side}_plain") for side in _SIDES
    )


def _pairs(answers: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """The answers with what their documents and their tool calls have in common."""
    both_json = looks_like_json(pl.col("primary_text")) & looks_like_json(pl.col("silent_text"))
    called = [pl.col(f"{side}_calls").is_not_null() for side in _SIDES]
    texts = list(_read(answers.filter(both_json), "text", documents.read_container))
    calls = list(_read(answers.filter(called[0] & called[1]), "calls", documents.read_calls))
    for_calls = [path[1:] for path in rules.paths if path[0] == _CALLS and len(path) > 1]
    found = answers.with_columns(one_called=called[0] ^ called[1])
    for part in (
        _changes(texts, "$", rules.paths, rules).rename({"changes": "in_text"}),
        _changes(calls, _CALLS, for_calls, rules).rename({"changes": "in_calls"}),
        _same_names(calls),
    ):
        found = found.join(part, on="row", how="left", maintain_order="left")
    return _judged(found)


def _judged(found: pl.DataFrame) -> pl.DataFrame:
    """What is equal and what is not, by the changes in the texts and in the tool calls."""
    in_text, in_calls = pl.col("in_text"), pl.col("in_calls")
    none = pl.lit([], dtype=CHANGES)
    both = pl.concat_list(in_text.fill_null(none), in_calls.fill_null(none)).list.head(MOST_CHANGES)
    alone = pl.when("one_called").then(False)
    return found.with_columns(
        json_equal=in_text.list.len() == 0,
        tools_equal=alone.otherwise(in_calls.list.len() == 0),
        tool_names_equal=alone.otherwise("same_names"),
        same_text=_plain("primary") == _plain("silent"),
        changes=pl.when(in_text.is_not_null() | in_calls.is_not_null()).then(both),
    ).with_columns(
        identical=pl.when(pl.col("answered") & ~pl.col("clean_failed")).then(
            pl.coalesce("json_equal", "same_text") & pl.col("tools_equal").fill_null(True)
        )
    )


def _plain(side: str) -> pl.Expr:
    return pl.col(f"{side}_plain").fill_null("")


def _read(answers: pl.DataFrame, kind: str, read: Callable[[str], Any]) -> Iterator[_Read]:
    """The row and both documents, where both can be read."""
    for row, one, other in answers.select("row", f"primary_{kind}", f"silent_{kind}").iter_rows():
        try:
            first = read(one)
            yield row, first, first if one == other else read(other)
        except (documents.NoJson, documents.BeyondReading):
            continue


def _changes(read: Sequence[_Read], root: str, ignore: Sequence[Path], rules: Rules) -> pl.DataFrame:
    """The changes of each row: the texts of two documents differ only where they do so normalised."""
    found = [
        (row, *change)
        for row, one, other in read
        if one is not other
        for change in documents.compare(one, other, root, ignore, rules.tolerance)
    ]
    columns = zip(*found, strict=True) if found else [[]] * len(_FOUND)
    differ = pl.DataFrame(dict(zip(_FOUND, columns, strict=True)), schema=_FOUND).filter(
        normalised(pl.col("one"), rules).ne_missing(normalised(pl.col("other"), rules))
        | pl.col("one").is_null()
    )
    changes = differ.group_by("row", maintain_order=True).agg(
        changes=pl.struct("path", "change").head(MOST_CHANGES)
    )
    all_rows = pl.DataFrame({"row": [row for row, *_ in read]}, schema={"row": pl.UInt32()})
    return all_rows.join(changes, on="row", how="left", maintain_order="left").with_columns(
        pl.col("changes").fill_null(pl.lit([], dtype=CHANGES))
    )


def _same_names(calls: Sequence[_Read]) -> pl.DataFrame:
    rows = ((row, documents.names(one), documents.names(other)) for row, one, other in calls)
    same = [(row, None if one is None or other is None else one == other) for row, one, other in rows]
    return pl.DataFrame(same, schema={"row": pl.UInt32(), "same_names": pl.Boolean()}, orient="row")


def _similarity(pairs: pl.DataFrame) -> pl.DataFrame:
    """The similarity of each pair of texts, and whether one was cut for it."""
    from rapidfuzz.distance import Indel
    from rapidfuzz.process import cpdist

    texts = pairs.select(
        "row",
        _plain("primary").alias("one"),
        _plain("silent").alias("other"),
        known=pl.col("primary_plain").is_not_null() & pl.col("silent_plain").is_not_null(),
        equal=pl.col("same_text") | pl.col("json_equal").fill_null(False),
    )
    differ = texts.filter(pl.col("known") & ~pl.col("equal"))
    cut = differ.select(pl.col("one", "other").str.slice(0, LONGEST))
    scores = cpdist(
        cut["one"].to_list(),
        cut["other"].to_list(),
        scorer=Indel.normalized_similarity,
        workers=max(1, (os.cpu_count() or 1) - 1),
    )
    measured = differ.select(
        "row",
        cut=(pl.col("one").str.len_chars() > LONGEST) | (pl.col("other").str.len_chars() > LONGEST),
        similarity=pl.Series(scores, dtype=pl.Float64),
    )
    return texts.join(measured, on="row", how="left", maintain_order="left").select(
        pl.when("known").then(pl.col("similarity").fill_null(1.0)).alias("similarity"),
        pl.when("known").then(pl.col("cut").fill_null(False)).alias("cut"),
    )
