"""Many requests through one session: what a request may look like, and bounded ways to send them."""

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, wait
from functools import partial
from time import monotonic
from typing import Any, TypeVar

import polars as pl

from mirrorkit.capture.dispatch import Dispatcher
from mirrorkit.capture.streams import is_stream
from mirrorkit.capture.threads import Threads
from mirrorkit.errors import ConfigError

_COLUMNS = ("messages", "prompt")
_TICK_S = 0.1

STALL_S = 30.0
"""Seconds without a silent call's end after which a batch waits no more for any."""

OnMirrored = Callable[["Future[None]"], None]
"""Is given, once a request is mirrored, what is done when its silent calls have ended."""

Kwargs = dict[str, Any]
_Asked = TypeVar("_Asked")


def read_requests(
    source: Any, model: str | None, column: str | None, params: Mapping[str, Any]
) -> list[Kwargs]:
    """Requests as keywords, from prompts, message lists, request dicts, or a frame with such a column.

    Anything else in the list becomes a request whose messages it is: the provider refuses it, and it is a
    row with an error instead of the end of the run.

    >>> read_requests(["Hi"], "gpt-4o", None, {"temperature": 0})
    [{'model': 'gpt-4o', 'temperature': 0, 'messages': [{'role': 'user', 'content': 'Hi'}]}]
    """
    if isinstance(source, pl.DataFrame):
        source = _column(source, column)
    if isinstance(source, pl.Series):
        source = source.to_list()
    if isinstance(source, pl.LazyFrame):
        raise ConfigError("requests=LazyFrame: collect() it first.")
    if hasattr(source, "columns"):
        raise ConfigError(
            f"requests={type(source).__name__}: give a polars frame; polars.from_pandas makes one."
        )
    if isinstance(source, str | bytes | Mapping) or not isinstance(source, Iterable):
        raise ConfigError(
            f"requests={type(source).__name__}: give a list of prompts, message lists or dicts, or a frame."
        )
    common = {**({} if model is None else {"model": model}), **params}
    requests = [_request(item, common) for item in source]
    if any("model" not in request for request in requests):
        raise ConfigError("some requests name no model: give model=, the model group that answers them.")
    return requests


def _column(frame: pl.DataFrame, column: str | None) -> pl.Series:
    names = [column] if column is not None else [name for name in _COLUMNS if name in frame.columns]
    if not names or names[0] not in frame.columns:
        wanted = repr(column) if column is not None else " or ".join(map(repr, _COLUMNS))
        raise ConfigError(f"the frame has no column {wanted}, but {frame.columns}: name one by column=.")
    return frame[names[0]]


def _request(item: Any, common: Mapping[str, Any]) -> Kwargs:
    if isinstance(item, Mapping):
        return {**common, **item}
    if isinstance(item, pl.Series):
        item = item.to_list()
    return {**common, "messages": _messages(item)}


def _messages(item: Any) -> Any:
    if not isinstance(item, str):
        return item
    if item.lstrip().startswith("["):
        # the messages column of a recording
        try:
            parsed = json.loads(item)
        except (ValueError, RecursionError):
            parsed = None
        if isinstance(parsed, list) and parsed and all(isinstance(m, dict) and "role" in m for m in parsed):
            return parsed
    return [{"role": "user", "content": item}]


class StallLimit:
    """How long a batch waits for silent calls: as long as some of them end.

    Over when none has ended for so many seconds; what waits for its turn is then dropped. `clock` counts
    seconds.
    """

    def __init__(
        self, dispatcher: Dispatcher, seconds: float = STALL_S, clock: Callable[[], float] = monotonic
    ) -> None:
        self._dispatcher = dispatcher
        self._seconds = seconds
        self._clock = clock
        self._since = clock()

    def renew(self) -> None:
        """Wait for as long again, as the last primary has been sent."""
        self._since = self._clock()

    @property
    def is_over(self) -> bool:
        """Whether to wait no more."""
        latest = max(self._since, self._dispatcher.ended_at, self._dispatcher.oldest_at)
        if self._clock() - latest <= self._seconds:
            return False
        self._dispatcher.give_up()
        return True


class Progress:
    """How many requests are done: answered, and their pairs recorded."""

    def __init__(self) -> None:
        self._pairs: list[Future[None]] = []
        # a list, as threads append to it
        self._done: list[None] = []

    @property
    def finished(self) -> int:
        """How many are done."""
        return len(self._done)

    @property
    def waited_for(self) -> list["Future[None]"]:
        """What is done once the pairs are there that are missing."""
        return [pairs for pairs in tuple(self._pairs) if not pairs.done()]

    def request(self, pairs: "Future[None] | None") -> None:
        """A request was answered; its pairs, if it has any, are there once this is done."""
        if pairs is None:
            self._done.append(None)
        else:
            self._pairs.append(pairs)
            pairs.add_done_callback(lambda _: self._done.append(None))


def run_all(
    requests: Sequence[_Asked],
    call: Callable[[_Asked, OnMirrored], Any],
    concurrency: int,
    show: Callable[[int], object],
    results: list[Any],
    limit: StallLimit | None = None,
    workers: set[Future[None]] | None = None,
) -> None:
    """Send the requests on threads, at most `concurrency` at once, each until its pairs are there too.

    Each one's answer or exception is put into `results`, which has a place for each. `show` hears, in this
    thread, how many are done. An interrupt stops the sending, and is raised; what was sent goes on in
    `workers`.
    """
    turns, progress, stopped = itertools.count(), Progress(), False
    under_way: set[Future[None]] = set() if workers is None else workers

    def work() -> None:
        # here, as an interrupt can come between a thread's start and the next line of who started it
        ended = Future[None]()
        under_way.add(ended)
        try:
            while not stopped and (turn := next(turns)) < len(requests):
                send(turn)
        finally:
            under_way.discard(ended)
            ended.set_result(None)

    def send(turn: int) -> None:
        mirrored: list[Future[None]] = []
        try:
            answer = call(requests[turn], mirrored.append)
            results[turn] = list(answer) if is_stream(answer) else answer
        except BaseException as error:  # of a primary: no interrupt comes to this thread
            results[turn] = error
        pairs = mirrored[0] if mirrored else None
        progress.request(pairs)
        while pairs is not None and not stopped and not (limit and limit.is_over):
            if wait([pairs], timeout=_TICK_S).done:
                break

    threads = Threads("mirrorkit-run")
    working: set[Future[None]] = set()
    try:
        for _ in range(min(concurrency, len(requests))):
            ended = Future[None]()
            working.add(ended)
            threads.run(partial(_resolve, ended, work))
        while working:
            _, working = wait(working, timeout=_TICK_S)
            show(progress.finished)
    finally:
        stopped = True
    if limit is not None:
        limit.renew()
    while (left := progress.waited_for) and not (limit and limit.is_over):
        wait(left, timeout=_TICK_S)
        show(progress.finished)
    show(progress.finished)


def _resolve(ended: "Future[None]", work: Callable[[], None]) -> None:
    try:
        work()
    finally:
        ended.set_result(None)


async def arun_all(
    requests: Sequence[_Asked],
    call: Callable[[_Asked, OnMirrored], Awaitable[Any]],
    concurrency: int,
    show: Callable[[int], object],
    results: list[Any],
    limit: StallLimit | None = None,
) -> None:
    """The same on the running loop, awaiting."""
    turns, progress = itertools.count(), Progress()

    async def work() -> None:
        while (turn := next(turns)) < len(requests):
            await send(turn)

    async def send(turn: int) -> None:
        mirrored: list[Future[None]] = []
        try:
            answer = await call(requests[turn], mirrored.append)
            results[turn] = [chunk async for chunk in answer] if is_stream(answer) else answer
        except BaseException as error:
            task = asyncio.current_task()
            if not isinstance(error, Exception) and (task is None or task.cancelling()):
                raise
            results[turn] = error
        progress.request(mirrored[0] if mirrored else None)
        if not mirrored or mirrored[0].done():
            return
        pairs = asyncio.wrap_future(mirrored[0])
        while not pairs.done() and not (limit and limit.is_over):
            await asyncio.wait([pairs], timeout=_TICK_S)

    working = {asyncio.ensure_future(work()) for _ in range(min(concurrency, len(requests)))}
    try:
        while working:
            # the tick lets an interrupt through while every request waits for its provider
            done, working = await asyncio.wait(working, timeout=_TICK_S)
            show(progress.finished)
            for task in done:
                task.result()
    finally:
        for task in working:
            task.cancel()
    if limit is not None:
        limit.renew()
    while (left := progress.waited_for) and not (limit and limit.is_over):
        await asyncio.wait([asyncio.wrap_future(pairs) for pairs in left], timeout=_TICK_S)
        show(progress.finished)
    show(progress.finished)


def failure_of(results: Sequence[Any]) -> BaseException | None:
    """The first of the exceptions, where every request of a batch has failed.

    >>> failure_of([ValueError("a"), ValueError("b")]), failure_of([ValueError("a"), "answer"])
    (ValueError('a'), None)
    """
    failed = [result for result in results if isinstance(result, BaseException)]
    return failed[0] if failed and len(failed) == len(results) else None
