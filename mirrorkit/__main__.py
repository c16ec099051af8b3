"""The command line: `mirrorkit demo`."""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from typing import Never

from mirrorkit.errors import MirrorError

_USAGE = 2
_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives its exit code: 0, 2 for what cannot be done, 130 for an interrupt."""
    if isinstance(sys.stdout, TextIOWrapper):
        # a terminal that has no "×" gets a "?", not a traceback; a pipe gets each line when it is said
        sys.stdout.reconfigure(errors="replace", line_buffering=True)
    args = _parser().parse_args(argv)
    try:
        args.command(args)
    except KeyboardInterrupt:
        print("\nmirrorkit: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except (MirrorError, OSError) as error:
        print(f"mirrorkit: {error}", file=sys.stderr)
        return _USAGE
    return 0


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> Never:
        self.exit(_USAGE, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser("mirrorkit", description="Mirror LLM traffic to a second model, and compare the two.")
    parser.add_argument("--version", action="version", version=f"mirrorkit {version('mirrorkit')}")
    commands = parser.add_subparsers(required=True, metavar="command", dest="name")
    _add_demo(commands.add_parser("demo", help="compare two simulated models: no key, no network"))
    return parser


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Mirror simulated requests from one model to another, print the comparison, and write pairs.csv, "
        "pairs.parquet and report.html. Needs no key and no network."
    )
    parser.add_argument(
        "--requests", type=_count, default=300, metavar="N", help="how many requests (default: %(default)s)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("mirrorkit-demo"),
        metavar="DIR",
        help="the folder to write to, made if missing (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="decides requests, answers and errors (default: %(default)s)"
    )
    parser.set_defaults(command=_demo)


def _demo(args: argparse.Namespace) -> None:
    from mirrorkit import demo

    demo.run(args.requests, args.out, seed=args.seed)


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give a whole number, 1 or more")
    return number


if __name__ == "__main__":
    sys.exit(main())
