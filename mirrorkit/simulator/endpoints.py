"""Where the simulator is asked, and what answers there."""

from collections.abc import Callable, Mapping

from mirrorkit.simulator.messages import messages
from mirrorkit.simulator.wire import Outcome, Turn, chat, embeddings, responses

ANSWERS: Mapping[str, Callable[[Turn], Outcome]] = {
    "/v1/chat/completions": chat,
    "/v1/responses": responses,
    "/v1/embeddings": embeddings,
    "/v1/messages": messages,
}
