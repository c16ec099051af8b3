"""The command line: `mirrorkit demo`, `mirrorkit report`."""

import argparse
import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Never

from mirrorkit.errors import CompareError, MirrorError, MirrorWarning

if TYPE_CHECKING:
    from mirrorkit.comparison import Comparison
    from mirrorkit.recording import Recording

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
        print(f"mirrorkit: {' '.join(str(error).split())}", file=sys.stderr)
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
    _add_report(commands.add_parser("report", help="compare what was recorded, as one HTML file"))
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


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Compare the pairs of a recording, print the verdict, and write a report: one HTML file that opens "
        "with no network. The gates are those that went with the recording, unless --gate names others."
    )
    parser.add_argument(
        "recordings",
        nargs="+",
        metavar="RECORDING",
        help="a journal's folder, a .parquet or .csv file, a glob or a URL; several are compared as one",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("report.html"),
        metavar="FILE",
        help="the file to write (default: %(default)s)",
    )
    parser.add_argument("--title", default="Model comparison", help="of the page (default: %(default)s)")
    parser.add_argument(
        "--examples",
        type=_number,
        default=20,
        metavar="N",
        help="how many of the pairs that differ most are shown, 0 for none (default: %(default)s)",
    )
    parser.add_argument(
        "--gate",
        type=_gate,
        action="append",
        dest="gates",
        metavar="METRIC=MARGIN",
        help="what must hold for a switch, as latency=1.1; may be given several times",
    )
    parser.add_argument("--slo-s", type=float, metavar="SECONDS", help="a call that takes longer is too late")
    parser.set_defaults(command=_report)


def _report(args: argparse.Namespace) -> None:
    from mirrorkit.notebook.page import pages
    from mirrorkit.recording import describe, load

    pages.check(args.out)  # before the work, not after it
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", MirrorWarning)
        recording = load(*args.recordings)
        comparison = _compared(recording, args)
        comparison.to_html(args.out, title=args.title, examples=args.examples)
    for each in told:
        if issubclass(each.category, MirrorWarning):
            print(f"mirrorkit: {each.message}", file=sys.stderr)
    frame = recording.frame
    once = frame.unique("pair_id", keep="first", maintain_order=True)
    if again := frame.height - once.height:
        print(f"mirrorkit: counted once, as they came twice (same pair_id): {again:,} pairs", file=sys.stderr)
    print(f"Recording: {describe(once)}\n{comparison.verdict}\nWritten to {args.out}")


def _compared(recording: "Recording", args: argparse.Namespace) -> "Comparison":
    try:
        return recording.compare(gates=dict(args.gates) if args.gates else None, slo_s=args.slo_s)
    except CompareError as error:
        # a command line has no functions: what can be done there is another thing than in Python
        said, own, _ = str(error).partition(" A metric of your own ")
        if not own:
            raise
        raise CompareError(
            f"{said} A recording keeps no metric of your own: name other gates, as --gate latency=1.1, or "
            "compare it in Python"
        ) from None


def _gate(text: str) -> tuple[str, float]:
    metric, _, margin = text.rpartition("=")
    try:
        return metric.strip(), float(margin)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: give a metric and its margin, as latency=1.1") from None


def _number(text: str) -> int:
    return 0 if text.strip() == "0" else _count(text)


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
