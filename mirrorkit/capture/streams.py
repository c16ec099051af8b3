"""A primary's stream, passed on chunk by chunk as it comes, and watched as it passes."""

import asyncio
import weakref
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Any, Protocol, Self


class Passing(Protocol):
    """What a stream tells of itself as it passes; `ended` and its like are heard once, the first time."""

    def chunk(self, chunk: Any) -> None:
        """A chunk came, and is about to be passed on."""

    def ended(self, stream: Any) -> None:
        """The stream came to its end."""

    def broke(self, error: BaseException, stream: Any) -> None:
        """The stream raised."""

    def left(self, stream: Any) -> None:
        """The caller closed it, or was cancelled, before its end."""

    def lost(self, stream: Any) -> None:
        """Nobody holds it any more; called by the garbage collector, so it must not take a lock."""


def is_stream(answer: Any) -> bool:
    """Whether an answer is to be read chunk by chunk."""
    return hasattr(answer, "__anext__") or hasattr(answer, "__next__")


class _Stream:
    """LiteLLM's own stream, with everything else it offers."""

    def __init__(self, inner: Any, passing: Passing) -> None:
        self._inner = inner
        self._passing = passing
        # the callback must not hold this object, or it would never be lost
        weakref.finalize(self, passing.lost, inner).atexit = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __repr__(self) -> str:
        return f"<mirrored {type(self._inner).__name__}>"


class MirroredStream(_Stream, Iterator[Any]):
    """A sync stream of LiteLLM's own chunks."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        try:
            chunk = next(self._inner)
        except StopIteration:
            self._passing.ended(self._inner)
            raise
        except (KeyboardInterrupt, SystemExit):
            self._passing.left(self._inner)
            raise
        except BaseException as error:
            self._passing.broke(error, self._inner)
            raise
        self._passing.chunk(chunk)
        return chunk

    def close(self) -> None:
        """Stop reading: the row says `abandoned`, unless the stream had come to its end."""
        self._passing.left(self._inner)
        close = getattr(self._inner, "close", None)
        if callable(close):
            close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncMirroredStream(_Stream, AsyncIterator[Any]):
    """An async stream of LiteLLM's own chunks."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            chunk = await self._inner.__anext__()
        except StopAsyncIteration:
            self._passing.ended(self._inner)
            raise
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit):
            self._passing.left(self._inner)
            raise
        except BaseException as error:
            self._passing.broke(error, self._inner)
            raise
        self._passing.chunk(chunk)
        return chunk

    async def aclose(self) -> None:
        """Stop reading: the row says `abandoned`, unless the stream had come to its end."""
        self._passing.left(self._inner)
        aclose = getattr(self._inner, "aclose", None)
        if callable(aclose):
            await aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
