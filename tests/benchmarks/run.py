"""All benches, or those that are named, each in a process of its own: tables, and one JSON file.

    python tests/benchmarks/run.py [load] [cpu] [waits] [record] [compare] [answers] [charts] [browser]
        [dashboard] [--quick] [--json PATH]

Run it while the machine does nothing else. `--quick` only shows that the benches run.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
NAMES = ("load", "cpu", "waits", "record", "compare", "answers", "charts", "browser", "dashboard")
QUICK = {"compare": ["--pairs", "20000", "--rounds", "1"]}
"""How the benches that know no --quick are run quickly."""


def run(name: str, quick: bool, folder: Path, variants: str | None) -> dict[str, Any] | None:
    """Run one bench, which prints its tables; gives what it found, None if it failed."""
    path = folder / f"{name}.json"
    command = [sys.executable, str(HERE / f"bench_{name}.py"), "--json", str(path)]
    if quick:
        command += QUICK.get(name, ["--quick"])
    if variants and name in ("load", "cpu"):
        command += ["--variants", variants]
    began = time.monotonic()
    code = subprocess.run(command, check=False).returncode
    ended = "done" if code == 0 else f"failed with exit code {code}"
    print(f"\n[{name}: {ended} after {time.monotonic() - began:.0f} s]", flush=True)
    if code or not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument("--variants", help="of the benches load and cpu, such as plain,litellm,process")
    parser.add_argument("--quick", action="store_true", help="does it run? its figures say little")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(NAMES))
    if unknown:
        parser.error(f"no bench {unknown[0]!r}; there are {', '.join(NAMES)}")
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.names or NAMES:
            found[name] = run(name, options.quick, Path(folder), options.variants)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1, ensure_ascii=False), encoding="utf-8")
    return 1 if None in found.values() else 0


if __name__ == "__main__":
    sys.exit(main())
