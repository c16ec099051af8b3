"""The kinds of call that a session mirrors, each with a primary and a silent model of the simulator."""

from dataclasses import dataclass
from typing import Any

import pytest

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

    @property
    def ways(self) -> tuple[str, ...]:
        """How it can be called: the params of the `drive` fixture."""
        return ("sync", "async") if ENDPOINTS[self.call_type].blocks else ("async",)

    def ask(self, drive: Any, caller: Any, text: str = "Where is my parcel?", **kwargs: Any) -> Any:
        """Make the call on a session or a Router; a stream is read, and its chunks given."""
        payload = ENDPOINTS[self.call_type].payload
        given = {"model": self.group, payload: text, **kwargs}
        if payload == "messages":
            given["messages"] = [{"role": "user", "content": text}]
        if self.call_type == "anthropic_messages":
            given["max_tokens"] = 99
        if self.stream:
            given["stream"] = True
        answer = drive.call(caller, self.call_type, **given)
        return drive.read(answer) if self.stream else answer


_CHAT = ("chat", "next", "gpt-4o", "gpt-4o-mini")
_CLAUDE = ("claude", "claude-next", "gpt-4.1-mini", "home-made")
KINDS = (
    Kind("chat", "completion", *_CHAT),
    Kind("chat stream", "completion", *_CHAT, stream=True),
    Kind("responses", "responses", *_CHAT),
    Kind("responses stream", "responses", *_CHAT, stream=True),
    Kind("embedding", "embedding", "texts", "nearby", "text-embedding-3-small", "text-embedding-3-large"),
    Kind("messages", "anthropic_messages", *_CLAUDE),
    Kind("messages stream", "anthropic_messages", *_CLAUDE, stream=True),
)


def each(*kinds: Kind) -> pytest.MarkDecorator:
    """Runs a test for each of these kinds, blocking (where the Router can) and awaited."""
    ways = [pytest.param(way, kind, id=f"{kind.name}-{way}") for kind in kinds for way in kind.ways]
    return pytest.mark.parametrize(("drive", "kind"), ways, indirect=["drive"])


def deployments(sim: Any, **primary: Any) -> list[dict[str, Any]]:
    """A model list whose primaries mirror to their silent groups; `primary` goes to those of chat."""
    return [
        sim.deployment("chat", "gpt-4o", **{"silent_model": "next", **primary}),
        sim.deployment("next", "gpt-4o-mini"),
        sim.deployment("other", "gpt-4.1"),
        sim.deployment("texts", "text-embedding-3-small", silent_model="nearby"),
        sim.deployment("nearby", "text-embedding-3-large"),
        _anthropic(sim, "claude", "gpt-4.1-mini", silent_model="claude-next"),
        _anthropic(sim, "claude-next", "home-made"),
    ]


def _anthropic(sim: Any, group: str, model: str, **more: Any) -> dict[str, Any]:
    where = {"model": f"anthropic/{model}", "api_base": sim.url.removesuffix("/v1"), "api_key": sim.api_key}
    return {"model_name": group, "litellm_params": {**where, **more}}
