"""Where the simulator is asked, and what answers there."""

from collections.abc import Callable, Mapping

from mirrorkit.simulator.gemini import generate_content, stream_generate_content
from mirrorkit.simulator.messages import messages
from mirrorkit.simulator.wire import Outcome, Turn, chat, embeddings, responses

ANSWERS: Mapping[str, Callable[[Turn], Outcome]] = {
    "/v1/chat/completions": chat,
    "/v1/responses": responses,
    "/v1/embeddings": embeddings,
    "/v1/messages": messages,
    # Azure's, and Google's
    "/openai/deployments/{model}/chat/completions": chat,
    "/v1beta/models/{model}:generateContent": generate_content,
    "/v1beta/models/{model}:streamGenerateContent": stream_generate_content,
}
