"""Mirror a LiteLLM Router's traffic to a second model, see both answers side by side, and decide."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

# The room mirrorkit.compare is loaded with this, so the function of that name comes after it.
from mirrorkit.compare.metrics import Metric
from mirrorkit.comparison import Comparison, compare
from mirrorkit.errors import (
    CompareError,
    ConfigError,
    LabelError,
    LoopRunning,
    MirrorError,
    MirrorWarning,
    RecordingError,
    SessionClosed,
    UnsupportedCall,
)
from mirrorkit.recording import Recording, delete, load, scan
from mirrorkit.records import SCHEMA, Call, Pair, Request

if TYPE_CHECKING:
    from mirrorkit import notebook as notebook
    from mirrorkit.capture.policy import Funnel
    from mirrorkit.session import MirrorSession

# Loaded when first used: reading a recording needs no LiteLLM.
_HOMES = {"MirrorSession": "mirrorkit.session", "Funnel": "mirrorkit.capture.policy"}

__all__ = [
    "SCHEMA",
    "Call",
    "CompareError",
    "Comparison",
    "ConfigError",
    "Funnel",
    "LabelError",
    "LoopRunning",
    "Metric",
    "MirrorError",
    "MirrorSession",
    "MirrorWarning",
    "Pair",
    "Recording",
    "RecordingError",
    "Request",
    "SessionClosed",
    "UnsupportedCall",
    "compare",
    "delete",
    "load",
    "notebook",
    "scan",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mirrorkit' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
