"""What the benches share: tables, the machine they ran on, goals, and one JSON file each."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure and the most (or least) that it should be."""

    what: str
    figure: float
    limit: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        found = f"{self.what}: {three(self.figure)} (goal {sign} {three(self.limit)})"
        return f"{'met' if self.met else 'NOT MET':<8}{found}"


@dataclass(frozen=True, slots=True)
class Spread:
    """The median over the rounds, and the lowest and highest."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.lowest:.2f}–{self.highest:.2f})"


def three(value: float) -> str:
    """A number to three significant digits, large ones with separators."""
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:#.3g}".rstrip(".")


def quantile(values: Sequence[float], level: float) -> float:
    """The value at a level, between two neighbours where it falls between them."""
    ordered = sorted(values)
    place = level * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def machine() -> dict[str, Any]:
    """Cores, versions, and how busy the machine is with other work."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("mirrorkit", "litellm", "polars")},
        "load_average": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def show(title: str, notes: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table: the first column to the left, the others to the right."""
    texts = [list(columns), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[n]) for row in texts) for n in range(len(columns))]
    here = machine()
    print(f"\n{title}")
    print(
        f"{here['cores']} cores ({here['processor']}), load average {here['load_average']}, Python "
        f"{here['python']}, LiteLLM {here['litellm']}, Polars {here['polars']}, mirrorkit {here['mirrorkit']}"
    )
    print(notes)
    for number, row in enumerate(texts):
        cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
        print("  ".join(cells))
        if number == 0:
            print("  ".join("-" * width for width in widths))


def finish(path: Path | None, rows: Sequence[Any], goals: Sequence[Goal], **more: Any) -> None:
    """Print the goals, and write the JSON file."""
    for goal in goals:
        print(goal)
    if path is not None:
        judged = [{**asdict(goal), "met": goal.met} for goal in goals]
        found = {"machine": machine(), **more, "rows": list(rows), "goals": judged}
        text = json.dumps(found, indent=1, ensure_ascii=False, default=_as_data)
        path.write_text(text, encoding="utf-8")


def _as_data(value: Any) -> Any:
    return asdict(value) if isinstance(value, Spread) else str(value)
