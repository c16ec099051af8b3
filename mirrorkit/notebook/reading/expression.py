"""The text of a filter becomes a Polars expression: built from its syntax tree by a list of what is allowed.

Nothing of the text is run. Of Polars only what is named here can be reached: no function of Python's, no
file, and nothing that makes much out of little.
"""

import ast
import operator
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import polars as pl

from mirrorkit.errors import CompareError

_LONGEST = 2_000
_DEEPEST = 100
_MAY = (
    "a filter has columns by name, numbers, texts, comparisons, `in [...]`, `is None`, and, or, not, & | ~, "
    'arithmetic and methods as in pl.col("silent_output").str.contains("sorry")'
)

_Binary = Callable[[Any, Any], Any]
_COMPARISONS: Mapping[type[ast.cmpop], _Binary] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_OPERATORS: Mapping[type[ast.operator], _Binary] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
}
_LOGIC: Mapping[type[ast.boolop], _Binary] = {ast.And: operator.and_, ast.Or: operator.or_}

_FUNCTIONS = frozenset((
    "col", "lit", "when", "coalesce", "len", "date", "datetime", "duration", "all_horizontal",
    "any_horizontal", "max_horizontal", "mean_horizontal", "min_horizontal", "sum_horizontal",
))  # fmt: skip
_TYPES = frozenset(("Boolean", "Date", "Datetime", "Float32", "Float64", "Int32", "Int64", "String"))
# none that Polars makes of its input twice, as `diff` and `fill_nan` are: in a chain they double each time
_METHODS = frozenset((
    "abs", "add", "all", "and_", "any", "cast", "ceil", "clip", "count", "cum_count", "eq",
    "eq_missing", "exp", "fill_null", "first", "floor", "floordiv", "ge", "gt", "is_between",
    "is_duplicated", "is_finite", "is_first_distinct", "is_in", "is_infinite", "is_last_distinct", "is_nan",
    "is_not_nan", "is_not_null", "is_null", "is_unique", "last", "le", "len", "log", "log10", "log1p", "lt",
    "max", "mean", "median", "min", "mod", "mul", "n_unique", "ne", "ne_missing", "neg", "not_", "null_count",
    "or_", "otherwise", "over", "pow", "quantile", "rank", "round", "shift", "sign", "sqrt", "std", "sub",
    "sum", "then", "truediv", "var", "when", "xor",
))  # fmt: skip
_SPACES: Mapping[str, frozenset[str]] = {
    "str": frozenset((
        "contains", "contains_any", "count_matches", "ends_with", "extract", "find", "head", "len_bytes",
        "len_chars", "slice", "split", "starts_with", "strip_chars", "strip_prefix", "strip_suffix", "tail",
        "to_lowercase", "to_uppercase",
    )),
    "list": frozenset((
        "all", "any", "contains", "first", "get", "last", "len", "max", "mean", "min", "n_unique", "sum",
    )),
    "dt": frozenset((
        "date", "day", "hour", "minute", "month", "second", "time", "total_hours", "total_minutes",
        "total_seconds", "week", "weekday", "year",
    )),
}  # fmt: skip


def expression(text: str) -> pl.Expr:
    """The Polars expression that a text spells.

    A column is written by its name alone or as `pl.col("name")`; `and`, `or`, `not`, `in [...]`, `is None`
    and chains such as `1 < latency < 2` mean what they mean in Python.

    Raises CompareError for a text that is no expression, or has something in it that is not allowed; and what
    Polars raises of arguments that it does not take.

    >>> str(expression('silent_latency_s > 2 and arm in ["mini"]'))
    '[([(col("silent_latency_s")) > (dyn int: 2)]) & (col("arm").is_in([["mini"]]))]'
    >>> expression("open('/etc/passwd')")
    Traceback (most recent call last):
        ...
    mirrorkit.errors.CompareError: open(…) is not allowed: a filter has columns by name, numbers, texts, \
comparisons, `in [...]`, `is None`, and, or, not, & | ~, arithmetic and methods as in \
pl.col("silent_output").str.contains("sorry")
    """
    if len(text) > _LONGEST:
        raise CompareError(f"a filter may have {_LONGEST:,} characters, this has {len(text):,}")
    made = _value(_parsed(text.strip()), 0)
    if not isinstance(made, pl.Expr):
        raise CompareError(f"this is {_kind(made)}, not a condition on columns: {_MAY}")
    return made


def _parsed(text: str) -> ast.expr:
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError, SystemError) as error:
        said = error.msg if isinstance(error, SyntaxError) else str(error)
        raise CompareError(f"{type(error).__name__}: {said}") from None


def _value(node: ast.AST, depth: int) -> Any:
    """What a node stands for: an expression of Polars', or a literal, a list of them or a type."""
    read = _READ.get(type(node))
    if read is None:
        raise _refused(node)
    if depth > _DEEPEST:
        raise CompareError(f"a filter may be nested {_DEEPEST} deep: write it shorter")
    return read(node, depth + 1)


def _constant(node: ast.Constant, _: int) -> Any:
    if node.value is not None and not isinstance(node.value, bool | int | float | str):
        raise _refused(node)
    return node.value


def _name(node: ast.Name, _: int) -> pl.Expr:
    if node.id == "pl":
        raise _refused(node)
    return pl.col(node.id)


def _listed(node: ast.List | ast.Tuple | ast.Set, depth: int) -> list[Any]:
    return [_value(each, depth) for each in node.elts]


def _unary(node: ast.UnaryOp, depth: int) -> Any:
    if isinstance(node.op, ast.Not | ast.Invert):
        return ~_expr(_value(node.operand, depth))
    value = _value(node.operand, depth)
    if not isinstance(value, pl.Expr | int | float):
        raise _refused(node)
    return -value if isinstance(node.op, ast.USub) else +value


def _binary(node: ast.BinOp, depth: int) -> pl.Expr:
    made = _OPERATORS.get(type(node.op))
    if made is None:
        raise _refused(node)
    return _expr(made(_expr(_value(node.left, depth)), _expr(_value(node.right, depth))))


def _logic(node: ast.BoolOp, depth: int) -> pl.Expr:
    return reduce(_LOGIC[type(node.op)], (_expr(_value(each, depth)) for each in node.values))


def _comparison(node: ast.Compare, depth: int) -> pl.Expr:
    nodes = [node.left, *node.comparators]
    if any(isinstance(each, ast.BinOp) and isinstance(each.op, ast.BitAnd | ast.BitOr) for each in nodes):
        # & binds tighter than a comparison, which is hardly ever meant
        raise CompareError("put each comparison in brackets: (…) & (…)")
    # what is in the middle of a chain is there twice, and twice as often in each chain around it
    if any(isinstance(inner, ast.Compare) for each in nodes[1:-1] for inner in ast.walk(each)):
        raise CompareError("in a chain of comparisons stands another one: join them by `and`")
    values = [_value(each, depth) for each in nodes]
    return reduce(operator.and_, map(_compared, node.ops, values, values[1:]))


def _compared(op: ast.cmpop, left: Any, right: Any) -> pl.Expr:
    made = _COMPARISONS.get(type(op))
    if made is not None:
        return _expr(made(_expr(left), _expr(right)))
    if isinstance(op, ast.In | ast.NotIn):
        if not isinstance(right, list):
            raise CompareError(f"after `in` comes a list, as in arm in [...], not {_kind(right)}")
        told = _expr(left).is_in(right)
        return ~told if isinstance(op, ast.NotIn) else told
    if right is not None:
        raise CompareError("after `is` and `is not` comes None: write == to compare values")
    return _expr(left).is_null() if isinstance(op, ast.Is) else _expr(left).is_not_null()


def _attribute(node: ast.Attribute, _: int) -> Any:
    of = node.value
    if _is_polars(of) and node.attr in _TYPES:
        return getattr(pl, node.attr)
    if isinstance(of, ast.Attribute) and _is_polars(of.value) and of.attr == "col":
        return pl.col(node.attr)
    raise _refused(node)


def _call(node: ast.Call, depth: int) -> Any:
    if not isinstance(node.func, ast.Attribute) or any(each.arg is None for each in node.keywords):
        raise _refused(node)
    method = _member(node.func, depth)
    named = {str(each.arg): _value(each.value, depth) for each in node.keywords}
    return method(*(_value(each, depth) for each in node.args), **named)


def _member(node: ast.Attribute, depth: int) -> Callable[..., Any]:
    """The function of Polars', or the method of an expression, that is to be called."""
    of, name = node.value, node.attr
    owner: Any
    if _is_polars(of) and name in _FUNCTIONS:
        owner = pl
    elif isinstance(of, ast.Attribute) and name in _SPACES.get(of.attr, ()):
        owner = getattr(_owner(of.value, depth), of.attr)
    elif not _is_polars(of) and name in _METHODS:
        owner = _owner(of, depth)
    else:
        raise _refused(node)
    found: Callable[..., Any] = getattr(owner, name)
    return found


def _owner(node: ast.AST, depth: int) -> Any:
    """An expression, or one that is begun by `pl.when`; a literal has methods of Python's, and is refused."""
    value = _value(node, depth)
    if isinstance(value, pl.Expr) or type(value).__module__ == "polars.expr.whenthen":
        return value
    raise _refused(node)


def _expr(value: Any) -> pl.Expr:
    """A value as an expression: then it is Polars that reckons, whose numbers do not grow for ever."""
    return value if isinstance(value, pl.Expr) else pl.lit(value)


def _is_polars(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "pl"


def _refused(node: ast.AST) -> CompareError:
    return CompareError(f"{_told(node)} is not allowed: {_MAY}")


def _told(node: ast.AST) -> str:
    """A node by what is typed of it, without what is inside."""
    if isinstance(node, ast.Call):
        return f"{_told(node.func)}(…)"
    if isinstance(node, ast.Attribute):
        return f"{'pl' if _is_polars(node.value) else '…'}.{node.attr[:60]}"
    if isinstance(node, ast.Name):
        return node.id[:60]
    if isinstance(node, ast.Constant):
        return f"a value of type {type(node.value).__name__}"
    return f"what Python calls {type(node).__name__}"


def _kind(value: Any) -> str:
    return "a type" if isinstance(value, type) else type(value).__name__


_READ: Mapping[type[ast.AST], Callable[[Any, int], Any]] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.List: _listed,
    ast.Tuple: _listed,
    ast.Set: _listed,
    ast.UnaryOp: _unary,
    ast.BinOp: _binary,
    ast.BoolOp: _logic,
    ast.Compare: _comparison,
    ast.Attribute: _attribute,
    ast.Call: _call,
}
