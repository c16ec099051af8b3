"""The demo: mirrors simulated traffic from one model to another, and leaves what it saw on disk."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mirrorkit.comparison import Comparison
from mirrorkit.errors import ConfigError
from mirrorkit.recording import Recording
from mirrorkit.simulator import SimulatedModel, SimulatorProcess, prompts

# Real names, because only models in LiteLLM's price table have a cost. The speeds keep the demo short.
PRIMARY = SimulatedModel(
    "gpt-4o",
    ttft_s=0.12,
    token_s=0.002,
    words=60,
    style="chatty",
    errors={"429": 0.01, "500": 0.01, "garbage": 0.005},
)
SILENT = SimulatedModel(
    "gpt-4o-mini",
    ttft_s=0.05,
    token_s=0.001,
    words=18,
    style="brief",
    errors={"429": 0.01, "500": 0.01, "garbage": 0.005},
)

_STREAM = {"stream": True, "stream_options": {"include_usage": True}}


def run(n: int, folder: Path, *, seed: int = 0, say: Callable[[str], object] = print) -> None:
    """Mirror `n` simulated requests, print the comparison, and write the pairs and a report into `folder`.

    Needs no key and no network. The folder is made if it is missing; the answers, errors and costs are the
    same in each run with the same seed, the times are measured. `say` is given what there is to tell, a
    few lines at a time. Sets LITELLM_LOCAL_MODEL_COST_MAP and NO_PROXY in this process's environment.

    Raises ConfigError if the folder cannot be made.
    """
    _make(folder)
    say(
        f"Mirroring {n:,} simulated request{'' if n == 1 else 's'} from {PRIMARY.name} to {SILENT.name}, "
        f"on this machine only; loading LiteLLM first takes a few seconds."
    )
    pairs = _mirrored(n, seed)
    comparison = pairs.compare()
    say(f"\n{comparison}\n")
    _write(pairs, comparison, folder)
    say(
        f"Written to {folder}:\n"
        f"  report.html    the figures: open it in a browser\n"
        f"  pairs.parquet  every pair: mirrorkit.load({str(folder / 'pairs.parquet')!r})\n"
        f"  pairs.csv      the same, for a spreadsheet\n"
        f"Everything here was simulated: no model was asked, {PRIMARY.name} and {SILENT.name} are but names."
    )


def requests(n: int, seed: int) -> list[dict[str, Any]]:
    """`n` varied chat requests, each third one streamed.

    >>> [request.get("stream", False) for request in requests(4, seed=0)]
    [False, False, True, False]
    """
    plain = prompts(n, seed=seed)
    return [{**request, **_STREAM} if i % 3 == 2 else request for i, request in enumerate(plain)]


def _mirrored(n: int, seed: int) -> Recording:
    _stay_on_this_machine()
    from mirrorkit.session import MirrorSession

    # the simulated failures are in the comparison; LiteLLM would tell of each amid the progress bar
    logging.getLogger("LiteLLM Router").setLevel(logging.CRITICAL)
    with SimulatorProcess([PRIMARY, SILENT], seed=seed) as simulator:
        models = [
            simulator.deployment("chat", PRIMARY.name, silent_model="candidate"),
            simulator.deployment("candidate", SILENT.name),
        ]
        with MirrorSession(models, control=0.4, seed=seed) as session:
            # as silent calls are not tried again by default, so are the primaries here: like beside like
            session.run(requests(n, seed), model="chat", num_retries=0)
        return Recording(session.frame)


def _stay_on_this_machine() -> None:
    # or LiteLLM looks for newer prices on the network, at import
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    # or a proxy of the user's would be asked for the simulator
    direct = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = f"{direct},127.0.0.1" if direct else "127.0.0.1"


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made a folder ({error.strerror}); give another one") from None


def _write(pairs: Recording, comparison: Comparison, folder: Path) -> None:
    pairs.to_csv(folder / "pairs.csv")
    pairs.to_parquet(folder / "pairs.parquet")
    comparison.to_html(folder / "report.html", title=f"Simulated: {PRIMARY.name} and {SILENT.name}")
