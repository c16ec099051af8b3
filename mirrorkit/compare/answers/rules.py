"""What the user wants left out of account when two answers are compared."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import polars as pl

from mirrorkit.compare.answers.paths import Path, read_path
from mirrorkit.errors import CompareError


@dataclass(frozen=True, slots=True)
class Rules:
    """What does not count when two answers are compared; made by `make_rules`, which checks it.

    `ignore` has JSON paths and regular expressions, `clean` is applied to each answer's text, `tolerance`
    is relative and for the numbers in JSON. What is recorded is never changed by them.
    """

    ignore: tuple[str, ...] = ()
    clean: Callable[[str], str] | None = None
    tolerance: float = 0.0

    @property
    def paths(self) -> tuple[Path, ...]:
        """The ignored places of a JSON answer, as steps."""
        return tuple(read_path(entry) for entry in self.ignore if _is_path(entry))

    @property
    def patterns(self) -> tuple[str, ...]:
        """The regular expressions whose matches are left out."""
        return tuple(entry for entry in self.ignore if not _is_path(entry))

    def describe(self) -> str:
        r"""The rules in words.

        >>> make_rules(["$.id", r"\d{4}"], tolerance=0.01).describe()
        'ignored: $.id, matches of \\d{4}; numbers within 1 % are equal'
        >>> Rules().describe()
        'nothing is ignored'
        """
        said = []
        if self.ignore:
            shown = (entry if _is_path(entry) else f"matches of {entry}" for entry in self.ignore)
            said.append(f"ignored: {', '.join(shown)}")
        if self.clean is not None:
            said.append(f"texts cleaned by {getattr(self.clean, '__name__', type(self.clean).__name__)}")
        if self.tolerance:
            said.append(f"numbers within {100 * self.tolerance:.3g} % are equal")
        return "; ".join(said) or "nothing is ignored"


def make_rules(
    ignore: Iterable[str] = (), clean: Callable[[str], str] | None = None, tolerance: float = 0.0
) -> Rules:
    r"""Rules for comparing answers, checked.

    An entry of `ignore` that starts with `$` is a JSON path (`$.id`, `$.items[*].price`, `$.items[0].id`,
    `$.a["odd key"]`) and leaves out all that lies there; one that starts with `tool_calls[` is the path of a
    part of a tool call. Any other is a regular expression (Rust's syntax, as Polars runs it) whose matches
    are removed from texts, and from the strings of JSON answers. `clean` gets each answer's text and
    returns the one that is compared. `tolerance` is relative, as in `math.isclose`: 0.01 is one per cent.

    Raises CompareError for a path or an expression that cannot be read, for a `clean` that cannot be called
    and for a tolerance that is not at least 0 and below 1.

    >>> make_rules(["$.id"]).paths
    (('id',),)
    >>> make_rules(["(unclosed"])
    Traceback (most recent call last):
    mirrorkit.errors.CompareError: ignore: '(unclosed' is no regular expression: ...
    """
    if isinstance(ignore, str):
        raise CompareError(f"ignore is a list of paths and expressions, got the text {ignore!r}")
    if not isinstance(ignore, Iterable):
        raise CompareError(f"ignore is a list of paths and expressions, got {ignore!r}")
    entries = tuple(ignore)
    for entry in entries:
        _check(entry)
    if clean is not None and not callable(clean):
        raise CompareError(f"clean is a function from text to text, got {clean!r}")
    number = isinstance(tolerance, int | float) and not isinstance(tolerance, bool)
    if not number or not math.isfinite(tolerance) or not 0 <= tolerance < 1:
        raise CompareError(f"tolerance is relative, at least 0 and below 1, got {tolerance!r}")
    return Rules(entries, clean, float(tolerance))


def _is_path(entry: str) -> bool:
    return entry.startswith(("$", "tool_calls["))


def _check(entry: object) -> None:
    if not isinstance(entry, str) or not entry:
        raise CompareError(f"ignore has {entry!r}: it takes paths such as '$.id' and regular expressions")
    if _is_path(entry):
        try:
            read_path(entry)
        except ValueError as error:
            raise CompareError(
                f"ignore: the path {entry!r} {error}; paths look like '$.id', '$.items[*].price' or "
                "'$[\"odd key\"]', and an expression that starts with $ is written (?:$...)"
            ) from None
        return
    try:
        pl.Series([""]).str.replace_all(entry, "")
    except pl.exceptions.PolarsError as error:
        raise CompareError(f"ignore: {entry!r} is no regular expression: {_said(error)}") from None


def _said(error: Exception) -> str:
    return " ".join(str(error).split())
