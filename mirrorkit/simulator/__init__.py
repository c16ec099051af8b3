"""An OpenAI-compatible HTTP server on loopback, for the demo, the notebooks, the tests and the benches.

They go the real way through it, LiteLLM's Router to the OpenAI SDK to HTTP, with no key and no network.
`Simulator` serves from a thread of this process, and a test can script it; `SimulatorProcess` serves from
a process of its own, so that its CPU time is not the client's. `python -m mirrorkit.simulator` is that
process.
"""

from mirrorkit.simulator.models import SimulatedModel
from mirrorkit.simulator.process import SimulatorProcess
from mirrorkit.simulator.prompts import prompts
from mirrorkit.simulator.server import API_KEY, DEFAULT_MODELS, Hold, SimulatedRequest, Simulator
from mirrorkit.simulator.wire import Reply

__all__ = [
    "API_KEY",
    "DEFAULT_MODELS",
    "Hold",
    "Reply",
    "SimulatedModel",
    "SimulatedRequest",
    "Simulator",
    "SimulatorProcess",
    "prompts",
]
