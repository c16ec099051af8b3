"""What an answer is and what its text is: as recorded, or as an older recording lets it be told."""

import polars as pl

BLANK, CALLS, MEDIA = "blank", "tool_calls", "media"

_NO_CALLS = ("", "[]", "null")
# the call types whose answers have a kind, whether or not they have a text
_CHATS = ("completion", "responses", "anthropic_messages")


def ok(side: str) -> pl.Expr:
    """Whether the side has an answer at all; never null."""
    return pl.col(f"{side}_status").eq_missing("ok")


def calls(side: str) -> pl.Expr:
    """The side's tool calls as JSON text; null where it made none, or is not ok."""
    made = pl.col(f"{side}_tool_calls").str.strip_chars()
    return pl.when(ok(side) & ~made.is_in(_NO_CALLS)).then(made)


def kind(side: str) -> pl.Expr:
    """What the side's answer is (`mirrorkit.records.OutputKind`).

    Null where it is not ok, where nothing is known of its answer, and for vectors. Recordings before
    schema 3 do not say it: there it is told from the text, the tool calls and the kind of call, and an
    answer to a chat that has neither is blank.

    >>> frame = pl.DataFrame({
    ...     "call_type": "completion", "silent_status": ["ok", "ok", "error"], "silent_output_kind": None,
    ...     "silent_output": ["Yes", None, None], "silent_tool_calls": None,
    ... }, schema_overrides={"silent_output_kind": pl.String, "silent_tool_calls": pl.String})
    >>> frame.select(kind("silent")).to_series().to_list()
    ['text', 'blank', None]
    """
    output, call_type = pl.col(f"{side}_output"), pl.col("call_type")
    told = (
        pl.when(calls(side).is_not_null())
        .then(pl.lit(CALLS))
        .when(pl.col(f"{side}_output_kind").is_not_null())
        .then(f"{side}_output_kind")
        .when(call_type.eq_missing("embedding"))
        .then(None)
        .when(output.str.strip_chars() != "")
        .then(pl.lit("text"))
        .when(output.is_not_null() | call_type.is_in(_CHATS))
        .then(pl.lit(BLANK))
    )
    return pl.when(ok(side)).then(told)


def text(side: str) -> pl.Expr:
    """The text of the side's answer: empty if it has none, null if it is not ok or its text is unknown.

    A blank answer has none, whatever spaces it is made of. The text of media may be unknown: it is what they
    say, where that was recorded.
    """
    said, answer = pl.col(f"{side}_output"), kind(side)
    return pl.when(answer == BLANK).then(pl.lit("")).when(ok(side)).then(_or_none(said, pl.lit(""), answer))


def length(side: str) -> pl.Expr:
    """How many characters the text of the side's answer has; null where `text` is."""
    said, answer, none = pl.col(f"{side}_output").str.len_chars(), kind(side), pl.lit(0, pl.UInt32)
    return pl.when(answer == BLANK).then(none).when(ok(side)).then(_or_none(said, none, answer))


def _or_none(said: pl.Expr, none: pl.Expr, answer: pl.Expr) -> pl.Expr:
    """What is known of a text, where a tool call without one is known to say nothing."""
    return pl.coalesce(said, pl.when(answer == CALLS).then(none))
