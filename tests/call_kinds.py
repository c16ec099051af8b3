"""The kinds of call that a session mirrors, each with a primary and a silent model of the simulator."""

from dataclasses import dataclass
from typing import Any

from mirrorkit.capture.router.adapter import ENDPOINTS, CallType


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of call: what is asked of whom, and whether as a stream."""

    name: str
    call_type: CallType
    group: str
    silent_group: str
    primary: str
    silent: str
    stream: bool = False

    @property
    def metadata(self) -> str:
        """The keyword of LiteLLM's own metadata."""
        return ENDPOINTS[self.call_type].metadata

    def ask(self, drive: Any, caller: Any, text: str = "Where is my parcel?", **kwargs: Any) -> Any:
        """Make the call on a session or a Router; a stream is read, and its chunks given."""
        payload: Any = [{"role": "user", "content": text}] if self.call_type == "completion" else text
        given = {"model": self.group, ENDPOINTS[self.call_type].payload: payload, **kwargs}
        answer = drive.call(caller, self.call_type, **given, **({"stream": True} if self.stream else {}))
        return drive.read(answer) if self.stream else answer


_CHAT = ("chat", "next", "gpt-4o", "gpt-4o-mini")
KINDS = (
    Kind("chat", "completion", *_CHAT),
    Kind("chat stream", "completion", *_CHAT, stream=True),
    Kind("responses", "responses", *_CHAT),
    Kind("responses stream", "responses", *_CHAT, stream=True),
    Kind("embedding", "embedding", "texts", "nearby", "text-embedding-3-small", "text-embedding-3-large"),
)


def deployments(sim: Any, **primary: Any) -> list[dict[str, Any]]:
    """A model list whose primaries mirror to their silent groups; `primary` goes to those of chat."""
    return [
        sim.deployment("chat", "gpt-4o", **{"silent_model": "next", **primary}),
        sim.deployment("next", "gpt-4o-mini"),
        sim.deployment("other", "gpt-4.1"),
        sim.deployment("texts", "text-embedding-3-small", silent_model="nearby"),
        sim.deployment("nearby", "text-embedding-3-large"),
    ]
