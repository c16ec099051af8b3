"""A simulator in a process of its own, and the command line that is that process."""

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import fields

from mirrorkit.errors import MirrorError
from mirrorkit.simulator.models import SimulatedModel
from mirrorkit.simulator.server import API_KEY, Endpoint, Simulator

_PATIENCE_S = 30.0


class SimulatorProcess(Endpoint):
    """A `Simulator` in a process of its own, so that its CPU time is not the client's.

    `models` and `seed` as of `Simulator`. It ends with the `with` block, or when this process ends.

    Raises MirrorError if it does not start.
    """

    def __init__(self, models: Iterable[SimulatedModel] = (), *, seed: int = 0) -> None:
        self._models = tuple(models)
        self._seed = seed
        self._process: subprocess.Popen[str] | None = None
        self._url = ""
        self.api_key = API_KEY

    @property
    def url(self) -> str:
        """The base URL for an OpenAI client; raises MirrorError while the process is not running."""
        if self._process is None:
            raise MirrorError("the simulator is not running; use it in a `with`, or call start() first")
        return self._url

    def start(self) -> None:
        """Start the process; returns when requests can be sent."""
        if self._process is not None:
            return
        entries = [{f.name: getattr(model, f.name) for f in fields(model)} for model in self._models]
        arguments = ["--models", json.dumps(entries, default=dict), "--seed", str(self._seed)]
        # A session of its own: an interrupt of the terminal or the notebook is not meant for it.
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "mirrorkit.simulator", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            said = json.loads(self._process.stdout.readline() if self._process.stdout else "")
        except BaseException as error:
            self.stop()
            if isinstance(error, ValueError):
                raise MirrorError("the simulator's process did not start; what it said is above") from error
            raise
        self._url, self.api_key = said["url"], said["api_key"]

    def stop(self) -> None:
        """End the process and wait until it has ended."""
        process, self._process = self._process, None
        if process is None:
            return
        with process:  # closes its stdin, at which it ends
            try:
                process.communicate(timeout=_PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until stdin closes or SIGTERM comes; prints one line of JSON, the URL and the key."""
    parser = argparse.ArgumentParser("python -m mirrorkit.simulator", description=main.__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 lets the system choose")
    parser.add_argument("--models", default="[]", help="a JSON list of objects, the fields of SimulatedModel")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    try:
        models = [SimulatedModel(**entry) for entry in json.loads(args.models)]
        simulator = Simulator(models, seed=args.seed, port=args.port, keep_requests=0)
    except (TypeError, ValueError) as error:
        parser.error(f"--models: {error}")
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: sys.exit(0))
    with simulator:
        sys.stdout.write(json.dumps({"url": simulator.url, "api_key": simulator.api_key}) + "\n")
        sys.stdout.flush()
        sys.stdin.buffer.read()
    return 0
