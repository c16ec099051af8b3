"""A filter's text becomes a Polars expression by what is allowed, and nothing of it is ever run."""

import ast
import builtins
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mirrorkit.compare.plan import Plan
from mirrorkit.errors import CompareError
from mirrorkit.notebook.reading.expression import expression
from mirrorkit.notebook.reading.shelf import Query, pick
from pairs import STARTED, recorded

PAIRS = recorded(
    4,
    arm=["mini", "maxi", "mini", "nano"],
    latency_s=(1.0, [0.5, 2.0, 3.5, None]),
    output=("Yes, of course.", ["yes", "I am sorry", "no", None]),
    cluster=["a", "a", "b", None],
    tags=[["x"], ["x", "y"], [], None],
    started_at=[STARTED + timedelta(hours=n) for n in range(4)],
)


def kept(text: str) -> list[int]:
    return pick(PAIRS, Query(expression=text), Plan()).rows.to_list()


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("silent_latency_s > 2", [2]),
        ('pl.col("silent_latency_s") > 2', [2]),
        ("pl.col.silent_latency_s >= 2.0", [1, 2]),
        ("silent_latency_s > primary_latency_s", [1, 2]),
        ("silent_latency_s / primary_latency_s > 1.5", [1, 2]),
        ("1 < silent_latency_s < 3", [1]),
        ("(silent_latency_s - 1) ** 2 < 1.5 and not arm == 'mini'", [1]),
        ('(pl.col("silent_latency_s") > 1) & (pl.col("arm") == "mini")', [2]),
        ('(arm == "maxi") | (arm == "nano")', [1, 3]),
        ('~(arm == "mini")', [1, 3]),
        ("arm == 'maxi' or arm == 'nano'", [1, 3]),
        ('arm in ["maxi", "nano"]', [1, 3]),
        ('arm not in ("maxi", "nano")', [0, 2]),
        ('pl.col("arm").is_in(["maxi"])', [1]),
        ("silent_latency_s is None", [3]),
        ("silent_output is not None", [0, 1, 2]),
        ("pl.col('silent_output').is_null()", [3]),
        ('silent_output.str.contains("(?i)sorry")', [1]),
        ('silent_output.str.starts_with("y") | silent_output.str.ends_with("o")', [0, 2]),
        ("silent_output.str.len_chars() < primary_output.str.len_chars() - 11", [0, 2]),
        ("silent_output.str.to_lowercase() == 'yes'", [0]),
        ('tags.list.contains("y")', [1]),
        ("tags.list.len() == 0", [2]),
        ("started_at.dt.hour() >= 2", [2, 3]),
        ("started_at > pl.datetime(2026, 11, 2, 1, time_zone='UTC')", [2, 3]),
        ("silent_latency_s > silent_latency_s.mean()", [2]),
        ("silent_latency_s == silent_latency_s.max().over('arm')", [1, 2]),
        ("silent_latency_s.is_between(1, 3)", [1]),
        ("pl.when(arm == 'mini').then(silent_latency_s > 1).otherwise(True)", [1, 2, 3]),
        ("pl.any_horizontal(arm == 'nano', silent_latency_s < 1)", [0, 3]),
        ("silent_latency_s.cast(pl.Int64) == 3", [2]),
        ("silent_latency_s.fill_null(strategy='forward') == 3.5", [2, 3]),
        ("-silent_latency_s < -3", [2]),
        ("pl.lit(True)", [0, 1, 2, 3]),
        ("3 > 2", [0, 1, 2, 3]),
    ],
)
def test_what_is_allowed_means_what_polars_means(text: str, rows: list[int]) -> None:
    assert kept(text) == rows


HOSTILE = [
    "__import__('os').system('touch {path}')",
    "open('{path}', 'w')",
    "exec('1')",
    "print(1)",
    "pl.read_csv('/etc/passwd')",
    "pl.scan_parquet('{path}')",
    "pl.sql('select 1')",
    "pl.sql_expr('1')",
    "pl.Config.save_to_file('{path}')",
    "pl.io",
    "pl.col('arm').__class__",
    "pl.col('arm').__class__.__mro__[1].__subclasses__()",
    "arm.__init__.__globals__",
    "pl.col('arm').map_elements(lambda x: x)",
    "pl.col('arm').map_batches(print)",
    "pl.col('arm').pipe(print)",
    "pl.col('arm').inspect('{{}}')",
    "pl.col('arm').meta.write_json('{path}')",
    "pl.col('arm').meta.serialize('{path}')",
    "pl.col('arm').deserialize(b'')",
    "pl.Expr.deserialize('{path}')",
    "pl.col('arm').register_plugin(lib='{path}', symbol='x')",
    "pl.plugins",
    "pl.DataFrame({{}}).write_csv('{path}')",
    "pl.LazyFrame",
    "pl.element()",
    "pl.arange(0, 10**12)",
    "pl.col('arm').repeat_by(10**9)",
    "pl.col('arm').str.pad_start(10**12)",
    "pl.col('arm').str.replace_all('', 'xxxxxxxxxxxx')",
    "pl.col('tags').list.eval(pl.element())",
    "silent_latency_s.diff().diff() > 0",
    "silent_latency_s.fill_nan(1).fill_nan(1) > 0",
    "arm.str.json_path_match('$..*..*..*..*..*..*')",
    "tags.list.join(pl.col('silent_output'))",
    "pl.col('arm').str.encode('hex')",
    "'a'.join(['b'])",
    "'{{0.__class__}}'.format(1)",
    "f'{{arm}}'",
    "(lambda: 1)()",
    "[x for x in [1]]",
    "{{**{{}}}}",
    "{{'a': 1}}",
    "arm if True else arm",
    "(x := arm)",
    "arm[0]",
    "pl.col(*['arm'])",
    "pl.col(**{{}})",
    "pl",
    "pl.col",
    "pl.str.contains('x')",
    "pl.len",
    "...",
    "b'x'",
    "1j",
    "arm @ arm",
    "1 << 1000",
    "await arm",
    "import os",
    "arm; arm",
    "arm = 1",
    "(",
    "\x00",
    "\ud800",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_not_allowed_is_refused_in_words(text: str, tmp_path: Path) -> None:
    path = tmp_path / "written"
    with pytest.raises(CompareError) as caught:
        pick(PAIRS, Query(expression=text.format(path=path)), Plan())
    assert len(str(caught.value)) < 400
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("open('x')", r"open\(…\) is not allowed: a filter has columns by name"),
        ("pl.read_csv('x')", r"pl\.read_csv is not allowed"),
        ("pl.col('arm').map_elements(1)", r"….map_elements is not allowed"),
        ("arm[0]", "what Python calls Subscript is not allowed"),
        ("arm", "this gives String, not true or false"),
        ("'yes'", "this is str, not a condition"),
        ("pl.Int64", "not a condition"),
        ("arm == 'a' & cluster == 'b'", "put each comparison in brackets"),
        ("arm in 'mini'", "after `in` comes a list"),
        ("arm is 'mini'", "after `is` and `is not` comes None"),
        ("arm +", "SyntaxError"),
        ("nothing > 1", "there is no column 'nothing'"),
        ("arm > 3", "Error"),
        ("a" * 3_000, "2,000 characters"),
        ("~" * 500 + "(arm == 'mini')", "nested 100 deep"),
        ("1 < (arm < (arm < 2) < 3) < 4", "in a chain of comparisons"),
    ],
)
def test_what_is_wrong_is_said(text: str, says: str) -> None:
    with pytest.raises(CompareError, match=says):
        pick(PAIRS, Query(expression=text), Plan())


@pytest.mark.parametrize(
    "text",
    [
        "9**9**9**9**9 > 1",
        "'x' * 10**12 == 'x'",
        "(" * 900 + "arm" + ")" * 900,
        "-" * 1_900 + "1 > 0",
        "arm" + " + arm" * 90 + " == 'x'",
        " and ".join(["arm == arm"] * 130),
        "arm" + ".str.to_lowercase()" * 45 + " == 'mini'",
        "arm.str.contains('(a{1000}){1000}')",
        "10" * 900 + " > 1",
        "1e400 > 1",
    ],
)
def test_much_out_of_little_ends_soon(text: str) -> None:
    with suppress(CompareError):
        pick(PAIRS, Query(expression=text), Plan())


# -- any text at all

PIECES = [
    "pl", "pl.col", "pl.lit", "pl.when", ".then", ".otherwise", "arm", "tags", "'x'", "2", "(", ")", "[", "]",
    ",", ".str", ".list", ".dt", ".contains", ".len", ".is_null", "()", " in ", " not ", " and ", " & ", "|",
    "~", "<", "==", "+", "**", "-", " is ", "None", "lambda: ", "__class__", ".", "open", "eval", "exec",
    "__import__", "*", "f'{arm}'", ":=", "{", "}", ":", "=", "\n", "#", "\\", "é", "\ud800", "0x", "1e",
    "if", "else", "for",
]  # fmt: skip
LEAVES = [
    "arm", "tags", "silent_latency_s", "started_at", "1", "-2.5", "'x'", "None", "True", "pl.lit(3)",
    "nowhere",
]  # fmt: skip


OPERATORS = [
    "+",
    "-",
    "*",
    "/",
    "//",
    "%",
    "**",
    "&",
    "|",
    "^",
    "<",
    "<=",
    "==",
    "!=",
    ">=",
    "in",
    "is",
    "and",
    "or",
]
METHODS = [
    "is_null()", "str.len_chars()", "list.len()", "dt.hour()", "mean()", "over('arm')", "cast(pl.String)",
    "abs()", "shift(1)",
]  # fmt: skip


@st.composite
def grammatical(draw: st.DrawFn, most: int = 4) -> str:
    """The text of an expression that Python can read, and Polars perhaps."""
    how = draw(st.integers(0, 5)) if most else 0
    if how == 0:
        return draw(st.sampled_from(LEAVES))
    one = draw(grammatical(most - 1))
    if how == 1:
        return f"({one}).{draw(st.sampled_from(METHODS))}"
    if how == 2:
        return f"(not {one})"
    other = draw(grammatical(most - 1))
    if how == 3:
        return draw(st.sampled_from([f"[{one}, {other}]", f"pl.coalesce({one}, {other})"]))
    return f"({one} {draw(st.sampled_from(OPERATORS))} {other})"


@given(st.text() | st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | grammatical())
@example("pl.col('^.*$') == 'mini'")
@settings(max_examples=300)
def test_whatever_is_typed_it_filters_or_says_why(text: str) -> None:
    try:
        picked = pick(PAIRS, Query(expression=text), Plan())
    except CompareError:
        return
    assert set(picked.rows) <= set(range(PAIRS.height))


@given(grammatical())
def test_an_expression_means_what_the_same_text_means_in_python(text: str) -> None:
    """Where Python gives an expression at all; of texts, Polars takes some for columns."""
    for node in ast.walk(ast.parse(text, mode="eval")):
        if isinstance(node, ast.BoolOp | ast.Not | ast.In | ast.Is | ast.List):
            return
        if isinstance(node, ast.BinOp | ast.Compare):
            inner = list(ast.walk(node))
            texts = [each for each in inner if isinstance(each, ast.Constant) and isinstance(each.value, str)]
            if texts or not any(isinstance(each, ast.Name) for each in inner):
                return
    names: dict[str, Any] = {name: pl.col(name) for name in PAIRS.columns}
    try:
        made = expression(text)
        meant = eval(text, {"__builtins__": {}, "pl": pl, **names})
    except Exception:
        return
    if isinstance(meant, pl.Expr):
        assert _outcome(made) == _outcome(meant)


def _outcome(made: pl.Expr) -> Any:
    try:
        return str(PAIRS.select(made.alias("x"))["x"].to_list())  # nan is not itself
    except (Exception, pl.exceptions.PanicException) as error:
        return type(error)


def test_nothing_of_python_is_within_reach() -> None:
    for name in dir(builtins):
        if name in ("True", "False", "None", "__debug__"):
            continue
        with pytest.raises(CompareError):
            pick(PAIRS, Query(expression=f"{name}(1)"), Plan())
