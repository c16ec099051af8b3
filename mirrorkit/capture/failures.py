"""Answers that are none, although LiteLLM raises nothing: what a row names as the error."""

from mirrorkit.errors import MirrorError


class StreamError(MirrorError):
    """What a provider says amid a stream that it cannot finish, or that it stopped before the end."""


class EmptyStream(StreamError):
    """A stream came to its end with nothing in it."""

    def __init__(self) -> None:
        super().__init__("the stream ended with nothing in it: no text, no tool call, no reason to finish")


class ResponseFailed(MirrorError):
    """The Responses API gave an answer that says it failed."""
