"""How two answers differ, as Polars expressions."""

import polars as pl

_STRING = r'"(?:[^"\\]|\\.)*"'
_ARGUMENTS = rf'"arguments":{_STRING}'


def answered(side: str) -> pl.Expr:
    """Whether the side has an answer on record: a text, an empty one included, or tool calls.

    >>> frame = pl.DataFrame({"silent_output": ["", None], "silent_tool_calls": [None, None]})
    >>> frame.select(answered("silent")).to_series().to_list()
    [True, False]
    """
    return pl.col(f"{side}_output").is_not_null() | pl.col(f"{side}_tool_calls").is_not_null()


def identical() -> pl.Expr:
    """Whether both sides gave the same text and the same tool calls; never null.

    Texts are compared without the whitespace around them. Tool calls are compared as JSON: spacing does
    not count, neither outside nor inside their arguments; the order of calls and of keys does. What is no
    valid JSON is compared as it stands.

    >>> frame = pl.DataFrame({
    ...     "primary_output": ["Paris ", "Paris"], "silent_output": ["Paris", "Rome"],
    ...     "primary_tool_calls": [None, None], "silent_tool_calls": [None, None],
    ... }, schema_overrides={"primary_tool_calls": pl.String, "silent_tool_calls": pl.String})
    >>> frame.select(identical()).to_series().to_list()
    [True, False]
    """
    same_text = _text("primary") == _text("silent")
    # Most pairs have no tool calls, or differ in their text already: only the others are worth parsing.
    matters = same_text & (
        pl.col("primary_tool_calls").is_not_null() | pl.col("silent_tool_calls").is_not_null()
    )
    return same_text & pl.all_horizontal(
        first.eq_missing(second)
        for first, second in zip(_tool_calls("primary", matters), _tool_calls("silent", matters), strict=True)
    )


def _text(side: str) -> pl.Expr:
    return pl.col(f"{side}_output").fill_null("").str.strip_chars()


def _tool_calls(side: str, matters: pl.Expr) -> tuple[pl.Expr, ...]:
    """The arguments of each call, and the calls without them."""
    raw = pl.when(matters).then(pl.col(f"{side}_tool_calls").fill_null("").str.strip_chars())
    # Reading a document and writing it again sets the spacing; what cannot be read is null.
    document = pl.coalesce(raw.str.json_path_match("$"), raw)
    arguments = document.str.extract_all(_ARGUMENTS).list.eval(_spaced_alike(pl.element())).list.join("\n")
    rest = document.str.replace_all(_ARGUMENTS, '"arguments":""')
    none = document.is_in(["", "[]"])
    return tuple(pl.when(none).then(pl.lit("")).otherwise(part) for part in (arguments, rest))


def _spaced_alike(member: pl.Expr) -> pl.Expr:
    inner = ("{" + member + "}").str.json_path_match("$.arguments")
    return pl.coalesce(inner.str.json_path_match("$"), member)
