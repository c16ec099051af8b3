"""A primary's stream, passed on chunk by chunk as it comes, and watched as it passes."""

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Protocol, Self


class Passing(Protocol):
    """What hears of a stream as it passes; of its end only the first time."""

    def chunk(self, chunk: Any) -> None:
        """A chunk came, and is about to be passed on."""

    def ended(self, stream: Any) -> None:
        """The stream came to its end."""

    def broke(self, error: BaseException, stream: Any) -> None:
        """The stream raised."""

    def left(self) -> None:
        """The caller closed it, or was cancelled, before its end."""

    def lost(self) -> None:
        """Nobody holds it any more; called by the garbage collector, so it must not take a lock."""


class OpenStreams:
    """The streams that primaries are reading, and those that were dropped unread."""

    def __init__(self) -> None:
        self._open: set[Passing] = set()
        self._lost: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def add(self, passing: Passing) -> None:
        """A stream began."""
        self._open.add(passing)

    def discard(self, passing: Passing) -> None:
        """A stream is over, however it ended."""
        self._open.discard(passing)

    def lost(self, settle: Callable[[], None]) -> None:
        """A stream was dropped unread: it is settled at the next sweep, as no lock is taken here."""
        self._lost.put(settle)

    def sweep(self) -> None:
        """Settle the streams that were dropped unread."""
        while True:
            try:
                settle = self._lost.get_nowait()
            except Empty:
                return
            settle()

    def leave(self) -> None:
        """Settle those still open as left by their readers: the session ends before they do."""
        self.sweep()
        for passing in tuple(self._open):
            passing.left()


def is_stream(answer: Any) -> bool:
    """Whether an answer is to be read chunk by chunk."""
    return hasattr(answer, "__anext__") or hasattr(answer, "__next__")


class _Stream:
    """LiteLLM's own stream, with everything else it offers."""

    def __init__(self, inner: Any, passing: Passing) -> None:
        self._inner = inner
        self._passing = passing
        # the callback must not hold this object, or it would never be lost
        weakref.finalize(self, passing.lost).atexit = False

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
            self._passing.left()
            raise
        except BaseException as error:
            self._passing.broke(error, self._inner)
            raise
        self._passing.chunk(chunk)
        return chunk

    def close(self) -> None:
        """Stop reading: the row says `abandoned`, unless the stream had come to its end."""
        self._passing.left()
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
            self._passing.left()
            raise
        except BaseException as error:
            self._passing.broke(error, self._inner)
            raise
        self._passing.chunk(chunk)
        return chunk

    async def aclose(self) -> None:
        """Stop reading: the row says `abandoned`, unless the stream had come to its end."""
        self._passing.left()
        aclose = getattr(self._inner, "aclose", None)
        if callable(aclose):
            await aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
