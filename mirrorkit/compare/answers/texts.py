"""Texts as they are compared: cleaned by the user's rules, and without what does not count."""

from collections.abc import Callable

import polars as pl

from mirrorkit.compare.answers.rules import Rules

_SPACE = r"\s+"
_UNEVEN_SPACE = r"\s\s|[^\S ]"


def normalised(text: pl.Expr, rules: Rules = Rules()) -> pl.Expr:  # noqa: B008  # frozen
    r"""A text in Unicode's NFC without what matches a rule's expression, whitespace collapsed and trimmed.

    >>> frame = pl.DataFrame({"text": [" Paris,\r\n  2024 ", None]})
    >>> frame.select(normalised(pl.col("text"), Rules((r"\d+",)))).to_series().to_list()
    ['Paris,', None]
    """
    text = composed(text)
    for pattern in rules.patterns:
        text = text.str.replace_all(pattern, "")
    uneven = pl.when(text.str.contains(_UNEVEN_SPACE)).then(text)
    return pl.coalesce(uneven.str.replace_all(_SPACE, " "), text).str.strip_chars()


def composed(text: pl.Expr) -> pl.Expr:
    """A text in Unicode's NFC."""
    # most texts are ASCII, where there is nothing to do
    foreign = pl.when(text.str.len_bytes() != text.str.len_chars()).then(text)
    return pl.coalesce(foreign.str.normalize("NFC"), text)


def looks_like_json(text: pl.Expr) -> pl.Expr:
    """Whether a text begins and ends as a JSON object or array does; null for a null."""
    bare = text.str.strip_chars()
    opened = bare.str.starts_with("{") & bare.str.ends_with("}")
    return opened | (bare.str.starts_with("[") & bare.str.ends_with("]"))


def cleaned(texts: pl.Series, clean: Callable[[str], str] | None) -> tuple[pl.Series, pl.Series]:
    """The texts as the user's function returns them, null where it failed, and where it did.

    It failed where it raised, or returned what is no text that UTF-8 can hold. In a blank text there is
    nothing to clean.

    >>> texts, failed = cleaned(pl.Series(["a", "", "7", None]), lambda text: {"a": "A"}[text])
    >>> texts.to_list(), failed.to_list()
    (['A', '', None, None], [False, False, True, False])
    """
    if clean is None:
        return texts, pl.repeat(False, len(texts), dtype=pl.Boolean, eager=True)
    made = [text if text is None or not text.strip() else _applied(clean, text) for text in texts]
    result = pl.Series(texts.name, made, dtype=pl.String)
    return result, result.is_null() & texts.is_not_null()


def _applied(clean: Callable[[str], str], text: str) -> str | None:
    try:
        made = clean(text)
        if isinstance(made, str):
            made.encode()
            return made
    except Exception:  # whatever the user's function raises: that answer is not compared
        return None
    return None
