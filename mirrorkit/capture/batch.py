"""Many requests through one session: what a request may look like, and bounded ways to send them."""

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from time import sleep
from typing import Any, TypeVar

import polars as pl

from mirrorkit.capture.streams import is_stream
from mirrorkit.errors import ConfigError

_COLUMNS = ("messages", "prompt")
_TICK_S = 0.1
_PAUSE_S = 0.02

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


def run_all(
    requests: Sequence[_Asked],
    call: Callable[[_Asked], Any],
    concurrency: int,
    has_room: Callable[[], bool],
    show: Callable[[int], object],
    workers: set[Future[None]] | None = None,
) -> list[Any]:
    """Send the requests on threads, at most `concurrency` at once; gives each one's answer or exception.

    `show` hears, in this thread, how many are done; `has_room` holds the next request back while it is
    False. An interrupt stops the sending, and is raised; what was sent goes on in `workers`.
    """
    results: list[Any] = [None] * len(requests)
    turns, done = itertools.count(), itertools.count()
    finished, stopped = 0, False
    under_way: set[Future[None]] = set() if workers is None else workers

    def work() -> None:
        # here, as an interrupt can come between a thread's start and the next line of who started it
        ended = Future[None]()
        under_way.add(ended)
        try:
            send()
        finally:
            under_way.discard(ended)
            ended.set_result(None)

    def send() -> None:
        nonlocal finished
        while not stopped and (turn := next(turns)) < len(requests):
            while not has_room() and not stopped:
                sleep(_PAUSE_S)
            try:
                answer = call(requests[turn])
                results[turn] = list(answer) if is_stream(answer) else answer
            except Exception as error:
                results[turn] = error
            finished = next(done) + 1

    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="mirrorkit-run")
    try:
        working = {pool.submit(work) for _ in range(min(concurrency, len(requests)))}
        while working:
            _, working = wait(working, timeout=_TICK_S)
            show(finished)
    finally:
        stopped = True
        pool.shutdown(wait=False, cancel_futures=True)
    return results


async def arun_all(
    requests: Sequence[_Asked],
    call: Callable[[_Asked], Awaitable[Any]],
    concurrency: int,
    has_room: Callable[[], bool],
    show: Callable[[int], object],
) -> list[Any]:
    """The same on the running loop, awaiting."""
    results: list[Any] = [None] * len(requests)
    turns = itertools.count()
    finished = 0

    async def work() -> None:
        nonlocal finished
        while (turn := next(turns)) < len(requests):
            while not has_room():  # noqa: ASYNC110 (room is made by threads too, which set no asyncio.Event)
                await asyncio.sleep(_PAUSE_S)
            try:
                answer = await call(requests[turn])
                results[turn] = [chunk async for chunk in answer] if is_stream(answer) else answer
            except Exception as error:
                results[turn] = error
            finished += 1

    working = {asyncio.ensure_future(work()) for _ in range(min(concurrency, len(requests)))}
    try:
        while working:
            # the tick lets an interrupt through while every request waits for its provider
            done, working = await asyncio.wait(working, timeout=_TICK_S)
            show(finished)
            for task in done:
                task.result()
    finally:
        for task in working:
            task.cancel()
    return results
