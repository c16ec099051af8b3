"""How the two answers of each pair differ, as data: one row a pair."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import polars as pl

from mirrorkit.compare.answers import documents, kinds
from mirrorkit.compare.answers.languages import languages
from mirrorkit.compare.answers.paths import Path
from mirrorkit.compare.answers.refusals import refused
from mirrorkit.compare.answers.rules import Rules
from mirrorkit.compare.answers.schemas import Asked
from mirrorkit.compare.answers.texts import cleaned, looks_like_json, normalised

LONGEST = 20_000
"""Texts are cut at this many characters before their similarity is measured."""

MOST_CHANGES = 1_000
"""Of a pair's changes at most this many are kept, in the order of the documents."""

ROWS_A_STEP = 5_000

CHANGES = pl.List(pl.Struct({"path": pl.String(), "change": pl.String()}))

READ_ALONE = (
    "call_type",
    *(
        f"{side}_{name}"
        for side in ("primary", "silent")
        for name in ("status", "output_kind", "output", "tool_calls")
    ),
)
"""The columns that tell of each answer by itself."""

READ = (*READ_ALONE, "params", "primary_finish_reason", "silent_finish_reason")
"""The columns that the differences come from."""

ALONE: dict[str, pl.DataType] = {
    "primary_kind": pl.String(),
    "silent_kind": pl.String(),
    "primary_output_length": pl.UInt32(),
    "silent_output_length": pl.UInt32(),
}
"""What is told of each answer by itself, by its kind and its text."""

COLUMNS: dict[str, pl.DataType] = {
    **ALONE,
    "identical": pl.Boolean(),
    "similarity": pl.Float64(),
    "cut": pl.Boolean(),
    "json_answers": pl.Boolean(),
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
    "primary_clean_failed": pl.Boolean(),
    "silent_clean_failed": pl.Boolean(),
}

_SIDES = ("primary", "silent")
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
      by rapidfuzz), each text cut at `LONGEST` characters, which `cut` tells of; 1 for equal JSON and for two
      blank answers; null where both sides call tools and say nothing.
    - An answer is unlike one of another kind, where one is blank, calls tools, or is media, and the other is
      not so: `identical` is False and `similarity` 0, whatever the rules leave out.
    - `json_answers`: at least one of them is a JSON object or array; `json_equal`: both are, and equal; key
      order and spacing do not count.
    - `tools_equal`, `tool_names_equal`: the same tools called, in the same order, and the former with the
      same arguments; null where neither side called one.
    - `changes`: where two answers of which one is JSON, or calls tools, differ: `path`
      (`$.items[2].price`, `tool_calls[0].arguments.city`; `$` or `tool_calls` where only one of them has any)
      and `change`: `added` (only the silent one has it), `removed` (only the primary has it), `type` or
      `value`. Empty where they are equal.
    - `…_clean_failed`: the user's `clean` failed on that side's text, and so the texts were not compared.

    Of each side that is ok: `…_kind`, as `kinds.kind` tells it; `…_output_length`, the characters of its
    text; `…_json_valid`, whether it is the JSON that the request asked for (null where it asked for none, and
    for tool calls); `…_language` (ISO 639-1; null where it is unsure) and `…_refused`, both heuristics.

    >>> from mirrorkit.records import SCHEMA
    >>> differences(SCHEMA.frame()).columns[4:7]
    ['identical', 'similarity', 'cut']
    """
    asked = Asked()
    parts = [pl.DataFrame(schema=COLUMNS)]
    for start in range(0, frame.height, ROWS_A_STEP):
        parts.append(_differences(frame.slice(start, ROWS_A_STEP), rules, asked))
        step(min(start + ROWS_A_STEP, frame.height))
    return pl.concat(parts)


def alone(frame: pl.DataFrame) -> pl.DataFrame:
    """What is told of each answer by itself, from the columns of `READ_ALONE`.

    >>> from mirrorkit.records import SCHEMA
    >>> alone(SCHEMA.frame()).columns == list(ALONE)
    True
    """
    if not any(frame[name].count() for name in READ_ALONE if not name.endswith("_status")):
        return pl.DataFrame(
            {name: pl.repeat(None, frame.height, dtype=kind, eager=True) for name, kind in ALONE.items()}
        )
    return frame.select(
        *(kinds.kind(side).alias(f"{side}_kind") for side in _SIDES),
        *(kinds.length(side).alias(f"{side}_output_length") for side in _SIDES),
    )


def _differences(frame: pl.DataFrame, rules: Rules, asked: Asked) -> pl.DataFrame:
    of_each = alone(frame)
    read = documents.reader()
    pairs = _pairs(_answers(frame, of_each, rules), rules, read)
    texts = frame.select(kinds.text(side).alias(side) for side in _SIDES)
    # a tool call is on the way to an answer: neither the JSON that was asked for nor any other
    is_answer = {side: kinds.kind(side).ne_missing(kinds.CALLS) for side in _SIDES}
    answers = frame.select(pl.when(is_answer[side]).then(kinds.text(side)).alias(side) for side in _SIDES)
    return pairs.with_columns(
        *frame.select(refused(side).alias(f"{side}_refused") for side in _SIDES).get_columns(),
        *_similarity(pairs).get_columns(),
        *_languages(texts),
        **{f"{side}_json_valid": asked.valid(frame["params"], answers[side], read) for side in _SIDES},
    ).select(pl.col(name).cast(kind) for name, kind in COLUMNS.items())


def _languages(texts: pl.DataFrame) -> Iterator[pl.Series]:
    """Each side's language: equal texts have one."""
    primary, silent = texts["primary"], texts["silent"]
    same = primary.eq_missing(silent)
    of_primary = languages(primary)
    yield of_primary.alias("primary_language")
    of_others = languages(silent.to_frame().select(pl.when(~same).then("silent"))["silent"])
    yield of_primary.zip_with(same, of_others).alias("silent_language")


def _answers(frame: pl.DataFrame, of_each: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Each side's text, cleaned and normalised, and its tool calls: null where not both sides are ok."""
    both = kinds.ok("primary") & kinds.ok("silent")
    made = frame.select(
        pl.int_range(pl.len(), dtype=pl.UInt32).alias("row"),
        *(pl.when(both).then(kinds.text(side)).alias(f"{side}_text") for side in _SIDES),
        *(pl.when(both).then(kinds.calls(side)).alias(f"{side}_calls") for side in _SIDES),
    ).hstack(of_each)
    for side in _SIDES:
        cleaned_texts, failed = cleaned(made[f"{side}_text"], rules.clean)
        made = made.with_columns(cleaned_texts, failed.alias(f"{side}_clean_failed"))
    plain = (normalised(pl.col(f"{side}_text"), rules).alias(f"{side}_plain") for side in _SIDES)
    return made.with_columns(*plain, unlike=_unlike())


def _unlike() -> pl.Expr:
    """Whether the answers are of kinds of which neither is like the other; null where one is unknown."""
    kind = [pl.col(f"{side}_kind") for side in _SIDES]
    return pl.any_horizontal(
        (kind[0] == one) != (kind[1] == one) for one in (kinds.BLANK, kinds.CALLS, kinds.MEDIA)
    )


def _pairs(answers: pl.DataFrame, rules: Rules, read: Callable[[str], Any]) -> pl.DataFrame:
    """The answers with what their documents and their tool calls have in common."""
    failed, looks_json, called = [
        pl.any_horizontal(of(side) for side in _SIDES) for of in (_failed, _looks_json, _called)
    ]
    known = _plain_of_both() | (pl.col("unlike") & ~failed)
    answers = answers.with_columns(known=known.fill_null(False), json_looks=failed | looks_json)
    container = partial(documents.read_container, read=read)
    texts = list(_read(answers.filter("known", "json_looks"), "text", container))
    calls = list(_read(answers.filter(called, pl.col("unlike").is_not_null()), "calls", documents.read_calls))
    for_calls = [path[1:] for path in rules.paths if path[0] == _CALLS and len(path) > 1]
    found = answers
    for part in (
        _changes(texts, "$", rules.paths, rules).rename({"changes": "in_text", "both": "both_json"}),
        _changes(calls, _CALLS, for_calls, rules).rename({"changes": "in_calls"}).drop("both"),
        _same_names(calls),
    ):
        found = found.join(part, on="row", how="left", maintain_order="left")
    return _judged(found)


def _judged(found: pl.DataFrame) -> pl.DataFrame:
    """What is equal and what is not, by the changes in the texts and in the tool calls."""
    in_text, in_calls = pl.col("in_text"), pl.col("in_calls")
    none = pl.lit([], dtype=CHANGES)
    both = pl.concat_list(in_text.fill_null(none), in_calls.fill_null(none)).list.head(MOST_CHANGES)
    return found.with_columns(
        json_answers=pl.when("known").then(in_text.is_not_null()).otherwise("json_looks"),
        json_equal=in_text.list.len() == 0,
        tools_equal=in_calls.list.len() == 0,
        tool_names_equal="same_names",
        same_text=pl.col("primary_plain") == pl.col("silent_plain"),
        changes=pl.when(in_text.is_not_null() | in_calls.is_not_null()).then(both),
    ).with_columns(
        identical=pl.when("unlike")
        .then(False)
        .otherwise(
            pl.coalesce(pl.when("both_json").then("json_equal"), "same_text")
            & pl.col("tools_equal").fill_null(True)
        )
    )


def _failed(side: str) -> pl.Expr:
    return pl.col(f"{side}_clean_failed")


def _looks_json(side: str) -> pl.Expr:
    return looks_like_json(pl.col(f"{side}_text")).fill_null(False)


def _called(side: str) -> pl.Expr:
    return pl.col(f"{side}_calls").is_not_null()


def _plain_of_both() -> pl.Expr:
    return pl.all_horizontal(pl.col(f"{side}_plain").is_not_null() for side in _SIDES)


def _read(answers: pl.DataFrame, kind: str, read: Callable[[str], Any]) -> Iterator[_Read]:
    """The row and each side's document, None for what cannot be read; but for rows with none at all."""
    for row, one, other in answers.select("row", f"primary_{kind}", f"silent_{kind}").iter_rows():
        first = _document(one, read)
        second = first if one == other else _document(other, read)
        if not (first is None and second is None):
            yield row, first, second


def _document(text: str | None, read: Callable[[str], Any]) -> Any:
    try:
        return None if text is None else read(text)
    except (documents.NoJson, documents.BeyondReading):
        return None


def _changes(read: Sequence[_Read], root: str, ignore: Sequence[Path], rules: Rules) -> pl.DataFrame:
    """The changes of each row: the texts of two documents differ only where they do so normalised.

    A document that only one side has is one change at its root; `both` tells of the others.
    """
    found = [
        (row, *change)
        for row, one, other in read
        if one is not other
        for change in _compared(one, other, root, ignore, rules)
    ]
    columns = zip(*found, strict=True) if found else [[]] * len(_FOUND)
    differ = pl.DataFrame(dict(zip(_FOUND, columns, strict=True)), schema=_FOUND).filter(
        normalised(pl.col("one"), rules).ne_missing(normalised(pl.col("other"), rules))
        | pl.col("one").is_null()
    )
    changes = differ.group_by("row", maintain_order=True).agg(
        changes=pl.struct("path", "change").head(MOST_CHANGES)
    )
    all_rows = pl.DataFrame(
        [(row, one is not None and other is not None) for row, one, other in read],
        schema={"row": pl.UInt32(), "both": pl.Boolean()},
        orient="row",
    )
    return all_rows.join(changes, on="row", how="left", maintain_order="left").with_columns(
        pl.col("changes").fill_null(pl.lit([], dtype=CHANGES))
    )


def _compared(
    one: Any, other: Any, root: str, ignore: Sequence[Path], rules: Rules
) -> Sequence[documents.Change]:
    if one is None or other is None:
        return [documents.Change(root, "added" if one is None else "removed")]
    return documents.compare(one, other, root, ignore, rules.tolerance)


def _same_names(calls: Sequence[_Read]) -> pl.DataFrame:
    same = [(row, _are_named_alike(one, other)) for row, one, other in calls]
    return pl.DataFrame(same, schema={"row": pl.UInt32(), "same_names": pl.Boolean()}, orient="row")


def _are_named_alike(one: Any, other: Any) -> bool | None:
    if one is None or other is None:
        return False
    names = documents.names(one), documents.names(other)
    return None if None in names else names[0] == names[1]


def _similarity(pairs: pl.DataFrame) -> pl.DataFrame:
    """The similarity of each pair of texts, and whether one was cut for it."""
    from rapidfuzz.distance import Indel
    from rapidfuzz.process import cpdist

    said = (pl.col("primary_plain") != "") | (pl.col("silent_plain") != "")
    texts = pairs.select(
        "row",
        "unlike",
        pl.col("primary_plain").alias("one"),
        pl.col("silent_plain").alias("other"),
        known=pl.col("unlike") | (_plain_of_both() & (said | ~(_called("primary") & _called("silent")))),
        equal=pl.col("same_text") | pl.col("json_equal"),
    ).with_columns(pl.col("unlike", "known", "equal").fill_null(False))
    differ = texts.filter(pl.col("known") & ~pl.col("equal") & ~pl.col("unlike"))
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
    similarity = pl.when("unlike").then(0.0).otherwise(pl.col("similarity").fill_null(1.0))
    return texts.join(measured, on="row", how="left", maintain_order="left").select(
        pl.when("known").then(similarity).alias("similarity"),
        pl.when("known").then(pl.col("cut").fill_null(False)).alias("cut"),
    )
