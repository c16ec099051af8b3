"""The shape of the house: imports point down, rooms keep to themselves, files stay short."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import mirrorkit

HOUSE = Path(mirrorkit.__file__).parent
FILES = sorted(HOUSE.rglob("*.py"))
MOST_LINES = 450

# from the ground up; rooms on one floor never import each other
FLOORS = (
    ("errors",),
    ("records",),
    ("capture", "compare", "store", "simulator"),
    ("notebook",),
    ("comparison",),
    ("recording",),
    ("judging", "watching", "router_calls", "batches"),
    ("session",),
    ("demo", "__init__"),
    ("__main__",),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

# which files alone may know a package
HOMES = {
    "litellm": ("capture/router/", "capture/observe.py"),
    "openai": ("capture/router/adapter.py", "capture/observe.py"),
    "plotly": ("notebook/", "comparison.py"),
    "ipywidgets": ("notebook/",),
    "anywidget": ("notebook/",),
    "nest_asyncio": ("notebook/",),
    "nest_asyncio2": ("notebook/",),
    "tqdm": ("notebook/",),
    "IPython": ("notebook/",),
    "aiohttp": ("simulator/",),
    "yaml": ("capture/router/config.py",),
}
# imported inside the function that uses them, or `import mirrorkit` would pay for them
HEAVY = (
    "plotly",
    "ipywidgets",
    "anywidget",
    "tqdm",
    "aiohttp",
    "nest_asyncio",
    "nest_asyncio2",
    "IPython",
    "scipy",
)
# files of ours that are made of a heavy package, and so are as heavy
LADEN = {"notebook/chart.py": "plotly", "notebook/browser.py": "anywidget"}


def parsed(source: str) -> ast.Module:
    """The tree of a source; CPython 3.11 may fail to parse, with a SystemError, while other threads work."""
    for _ in range(20):
        try:
            return ast.parse(source)
        except SystemError:
            continue
    return ast.parse(source)


class Import(NamedTuple):
    module: str
    line: int
    typing: bool
    at_top: bool


def imports(tree: ast.Module) -> Iterator[Import]:
    """Every import of a file, wherever it stands; `from a import b` counts as a.b too."""

    def walk(node: ast.AST, typing: bool, at_top: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (Import(name.name, child.lineno, typing, at_top) for name in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"line {child.lineno}: a relative import"
                for name in child.names:
                    yield Import(f"{child.module}.{name.name}", child.lineno, typing, at_top)
            elif isinstance(child, ast.If) and ast.unparse(child.test) in (
                "TYPE_CHECKING",
                "typing.TYPE_CHECKING",
            ):
                for inner in child.body:
                    yield from walk(ast.Module([inner], []), True, at_top)
                for inner in child.orelse:
                    yield from walk(ast.Module([inner], []), typing, at_top)
            else:
                inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from walk(child, typing, at_top and not inside)

    yield from walk(tree, False, True)


def room_of(name: str) -> str | None:
    """The room, or the file on the ground of the house, that a dotted name of ours lies in."""
    package, _, rest = name.partition(".")
    if package != "mirrorkit":
        return None
    room = rest.partition(".")[0]
    return room if room in FLOOR else "__init__"


def _dotted(path: str) -> str:
    return path.removesuffix(".py").replace("/", ".")


def broken(path: str, source: str) -> list[str]:
    """What a file's imports break; `path` is within the house."""
    here = path.removesuffix(".py").partition("/")[0]
    faults = []
    for found in imports(parsed(source)):
        package, room = found.module.partition(".")[0], room_of(found.module)
        where = f"{path}:{found.line} imports {found.module}"
        if room is not None and room != here and here != "__init__" and FLOOR[room] >= FLOOR[here]:
            faults.append(f"{where}: {room} is not below {here}")
        homes = HOMES.get(package)
        if homes is not None and not path.startswith(homes):
            faults.append(f"{where}: only {', '.join(homes)} may know {package}")
        laden = any(f"{found.module}.".startswith(f"mirrorkit.{_dotted(file)}.") for file in LADEN)
        heavy = laden or (package in HEAVY and LADEN.get(path) != package)
        if heavy and found.at_top and not found.typing:
            faults.append(f"{where} at its top: import it inside the function that uses it")
        if package in ("litellm", "openai") and found.typing is False and not path.startswith("capture/"):
            faults.append(f"{where}: it would come with `import mirrorkit`")
    return faults


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(HOUSE)))
def test_imports_point_down_and_rooms_keep_to_themselves(file: Path) -> None:
    path = file.relative_to(HOUSE).as_posix()
    assert path.removesuffix(".py").partition("/")[0] in FLOOR, "a new room: give it its floor here"
    assert broken(path, file.read_text()) == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(HOUSE)))
def test_no_file_is_too_long_to_read(file: Path) -> None:
    lines = len(file.read_text().splitlines())
    assert lines <= MOST_LINES, f"{lines} lines: split it by what it is about"


def test_no_import_runs_in_a_circle() -> None:
    names = {f.relative_to(HOUSE.parent).with_suffix("").as_posix().replace("/", "."): f for f in FILES}
    names = {name.removesuffix(".__init__"): file for name, file in names.items()}
    below: dict[str, set[str]] = {}
    for name, file in names.items():
        found = [i.module for i in imports(parsed(file.read_text())) if not i.typing and i.at_top]
        known = {m if m in names else m.rpartition(".")[0] for m in found}
        below[name] = (known & names.keys()) - {name, "mirrorkit"}
    while below:
        done = {name for name, needs in below.items() if not needs & below.keys()}
        assert done, f"a circle among {sorted(below)}"
        below = {name: needs for name, needs in below.items() if name not in done}


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("errors.py", "from mirrorkit.records import Call"),
        ("records.py", "import mirrorkit.store.frame"),
        ("store/frame.py", "from mirrorkit.compare.rows import TABLE"),
        ("store/frame.py", "def f():\n    from mirrorkit.capture import policy"),
        ("store/frame.py", "if TYPE_CHECKING:\n    from mirrorkit.capture import policy"),
        ("compare/rows.py", "from mirrorkit import notebook"),
        ("compare/rows.py", "import mirrorkit"),
        ("notebook/charts.py", "from mirrorkit.comparison import compare"),
        ("capture/mirror.py", "from mirrorkit.session import MirrorSession"),
        ("recording.py", "from mirrorkit.session import MirrorSession"),
        ("session.py", "import litellm"),
        ("capture/mirror.py", "import litellm.types"),
        ("capture/mirror.py", "def f():\n    import openai"),
        ("simulator/wire.py", "from litellm import Router"),
        ("compare/estimates.py", "def f():\n    import plotly"),
        ("session.py", "def f():\n    from tqdm.auto import tqdm"),
        ("capture/dispatch.py", "def f():\n    import nest_asyncio2"),
        ("notebook/charts.py", "import plotly.graph_objects"),
        ("notebook/charts.py", "try:\n    import ipywidgets\nexcept ImportError:\n    pass"),
        ("notebook/charts.py", "class A:\n    from tqdm import tqdm"),
        ("notebook/chart.py", "import ipywidgets"),
        ("notebook/theme.py", "from mirrorkit.notebook.chart import Chart"),
        ("notebook/theme.py", "from mirrorkit.notebook import chart"),
        ("compare/estimates.py", "import scipy.stats"),
    ],
)
def test_each_rule_is_seen_to_be_broken(path: str, source: str) -> None:
    assert broken(path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (
            "store/frame.py",
            "from mirrorkit.records import Pair\nfrom mirrorkit.store import files\nimport polars",
        ),
        ("capture/exchange.py", "if TYPE_CHECKING:\n    from mirrorkit.capture.mirror import Mirror"),
        ("notebook/charts.py", "if TYPE_CHECKING:\n    import plotly\ndef f():\n    import plotly"),
        ("notebook/chart.py", "from plotly.graph_objects import Figure"),
        ("notebook/theme.py", "from mirrorkit.notebook import charts"),
        ("capture/router/adapter.py", "import litellm, openai"),
        ("session.py", "from mirrorkit.notebook import loops\nfrom mirrorkit.capture.mirror import Mirror"),
    ],
)
def test_what_keeps_the_rules_is_let_be(path: str, source: str) -> None:
    assert broken(path, source) == []
