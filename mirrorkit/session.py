"""MirrorSession: wraps a LiteLLM Router, mirrors its traffic and records every pair."""

import asyncio
import os
import threading
import warnings
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from datetime import datetime
from functools import partial
from os import PathLike
from types import TracebackType
from typing import Any, Self

import polars as pl

from mirrorkit.capture.batch import arun_all, read_requests, run_all
from mirrorkit.capture.judge import Claims
from mirrorkit.capture.lifetime import NO_POLARS, at_exit, at_fork, uses_polars
from mirrorkit.capture.mirror import Isolation, Mirror
from mirrorkit.capture.policy import Funnel, Policy
from mirrorkit.capture.router.adapter import Adapter, warm_up
from mirrorkit.capture.router.settings import (
    SilentModel,
    check_callable,
    check_groups,
    check_isolation,
    silent_groups,
)
from mirrorkit.capture.underway import UnderWay
from mirrorkit.compare.looked import Looked
from mirrorkit.errors import MirrorWarning, SessionClosed
from mirrorkit.judging import Judging
from mirrorkit.notebook import loops
from mirrorkit.notebook.progress import progress as progress_bar
from mirrorkit.records import Pair, Request
from mirrorkit.router_calls import RouterCalls
from mirrorkit.store.frame import FrameStore
from mirrorkit.store.journal import Journal
from mirrorkit.watching import Watching


class MirrorSession(RouterCalls, Judging, Watching):
    """Wraps a Router with mirroring, and records every primary and silent pair.

    Call it as you call the Router: the answers are the Router's own, and each request is also sent, in the
    background, to the silent model of the deployment that the Router picked in the requested group.

    Args:
        router: a `litellm.Router`, a model list, or the path of a LiteLLM `config.yaml`.
        silent_model: silent model groups besides the deployments' own `silent_model`: a name or a list of
            names for every primary group, or a dict from primary group to names.
        control: share, 0 to 1, of mirrored requests that are also sent to the primary's own group again, to
            learn how much a model differs from itself.
        sample: share, 0 to 1, of requests that are mirrored; decided by a hash of the request's id (the
            caller's `litellm_call_id`, else a new one) and the seed.
        where: mirror only the requests for which this is true; called before the primary, so keep it quick.
        budget_usd: stop mirroring when silent calls have cost this many US dollars, those in flight counted
            at what they are expected to cost.
        max_in_flight: silent calls at once.
        mirror_rate: silent calls that may start in a second, evenly paced; None sets no limit. A provider
            that answers 429 is left alone as long as it asks, whatever the rate.
        max_waiting: silent calls that may wait; past it a mirror is dropped, and counted as `saturated`.
        timeout_s: seconds that a silent call may take; None leaves that to the Router.
        silent_retries: how often a failing silent call is tried again.
        isolation: where silent calls run. "shared": this process, on one thread pool (sync calls) or on the
            caller's event loop (async calls), where primaries go first. "process": a child process of lower
            priority, built from the Router's own settings, so that primaries are as fast as without.
        journal: a folder, made where missing, or the URL of a prefix in an object store: every finished pair
            is there before it is in the frame, and a session on it goes on where earlier ones ended. Many
            processes may share one; `mirrorkit.load` and `mirrorkit.scan` read it.
        max_pairs_in_memory: how many pairs `frame` holds, the newest; older ones are in the journal alone,
            where `compare` sees them.
        storage_options: Polars' own, for a journal in an object store.
        redact: applied to every recorded text; what it raises on is recorded as null.
        seed: makes request ids, and with them sample and control, the same in each run.

    Raises:
        ConfigError: a value is out of range, there is nothing to mirror to, or a child process cannot have
            something that the Router or LiteLLM is set up with.
        RecordingError: the journal cannot be made or written to.

    >>> from mirrorkit.simulator import Simulator
    >>> with Simulator() as sim:
    ...     models = [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")]
    ...     with MirrorSession(models, silent_model="next") as session:
    ...         answer = session.completion("chat", [{"role": "user", "content": "Hello!"}])
    >>> session.frame.select("model_group", "arm", "primary_model", "silent_status").row(0)
    ('chat', 'next', 'gpt-4o', 'ok')
    """

    def __init__(
        self,
        router: Any,
        silent_model: SilentModel = None,
        *,
        control: float = 0.0,
        sample: float = 1.0,
        where: Callable[[Request], bool] | None = None,
        budget_usd: float | None = None,
        max_in_flight: int = 16,
        max_waiting: int = 1_000,
        mirror_rate: float | None = None,
        timeout_s: float | None = None,
        silent_retries: int = 0,
        isolation: Isolation = "shared",
        journal: str | PathLike[str] | None = None,
        max_pairs_in_memory: int | None = None,
        storage_options: Mapping[str, Any] | None = None,
        redact: Callable[[str], str] | None = None,
        seed: int | None = None,
    ) -> None:
        policy = Policy(
            sample=sample,
            control=control,
            budget_usd=budget_usd,
            max_in_flight=max_in_flight,
            max_waiting=max_waiting,
            mirror_rate=mirror_rate,
            timeout_s=timeout_s,
            silent_retries=silent_retries,
            seed=seed,
        )
        check_callable("where", where)
        check_callable("redact", redact)
        check_isolation(isolation)
        self._looked = Looked()
        self._claims = Claims()
        self._closed = False
        self._beginning = threading.Lock()
        self._batch_workers: set[Future[None]] = set()
        adapter = Adapter(router)
        kept: Journal | None = None
        try:
            silent = silent_groups(silent_model)
            check_groups(adapter, silent, policy)
            if journal is not None:
                kept = Journal(journal, storage_options=storage_options)
            self._unreadable: str | None = None
            self._mirror_to = partial(Mirror, adapter, policy, silent, where, redact, isolation)
            self._store_in = partial(FrameStore, most=max_pairs_in_memory)
            self._begin(kept)
            warm_up()
            if self._mirror.away is not None:
                # it has been starting meanwhile
                self._mirror.away.wait_until_ready()
        except BaseException:
            adapter.give_back()
            if kept is not None:
                kept.close()
            raise
        if kept is not None:
            # a session that is dropped unclosed ends its journal too
            weakref.finalize(self, kept.close)
        at_exit(weakref.WeakMethod(self._finish))
        at_fork(weakref.WeakMethod(self._let_go))

    def _begin(self, journal: Journal | None) -> None:
        """Begin a record; once more in a process that is forked off, whose pairs are its own."""
        under_way = UnderWay()
        self._store = self._store_in(
            journal=journal, complete_before=under_way.oldest, unreadable=self._unreadable
        )
        mute = self._unreadable if journal is None else None
        # by this method, what is under way holds the session, whose hook ends it when the interpreter ends
        self._mirror = self._mirror_to(under_way, self._keep, mute)
        self._process = os.getpid()

    def _keep(self, pair: Pair) -> None:
        self._store.append(pair)

    def run(
        self,
        requests: Any,
        *,
        model: str | None = None,
        column: str | None = None,
        concurrency: int = 8,
        progress: bool = True,
        **params: Any,
    ) -> list[Any]:
        """Send many chat requests, mirrored, and wait for them and their mirrors, on threads.

        Works in a script and in a cell whose event loop is running.

        Args:
            requests: prompts, message lists or request dicts, or a frame or series of them.
            model: the model group that answers; not needed where the session has one primary group, or
                where each request dict names its own.
            column: the frame's column; by default `messages`, else `prompt`.
            concurrency: how many primaries at once.
            progress: whether to show a progress bar.
            params: further parameters of every request.

        Returns:
            For each request its answer (of a stream, the list of chunks), or the exception it raised.
        """
        asked = self._asked(requests, model, column, params, concurrency)
        with progress_bar(len(asked), "mirroring", progress) as show:
            room = self._room(concurrency)
            answers = run_all(
                asked,
                lambda kwargs: self._call("completion", kwargs),
                concurrency,
                room,
                show,
                self._batch_workers,
            )
        self._mirror.dispatcher.drain()
        return answers

    async def arun(
        self,
        requests: Any,
        *,
        model: str | None = None,
        column: str | None = None,
        concurrency: int = 8,
        progress: bool = True,
        **params: Any,
    ) -> list[Any]:
        """The same, awaiting, on the running loop; see `run`."""
        asked = self._asked(requests, model, column, params, concurrency)
        with progress_bar(len(asked), "mirroring", progress) as show:
            room = self._room(concurrency)
            answers = await arun_all(
                asked, lambda kwargs: self._acall("completion", kwargs), concurrency, room, show
            )
        await self.adrain()
        return answers

    def label(self, pair_id: str, preference: str | None, *, note: str | None = None) -> None:
        """Set which answer of a pair a person prefers, as `Recording.label` does; `redact` sees the note."""
        safe = self._mirror.recorder.scrubber.text(note) if isinstance(note, str) else note
        super().label(pair_id, preference, note=safe)

    @property
    def frame(self) -> pl.DataFrame:
        """The finished pairs so far, one row each, in the order they finished; see `max_pairs_in_memory`."""
        self._mirror.streams.sweep()
        # in this order: a pair that comes in between is no hidden one
        total, frame = len(self._store), self._store.frame()
        if (hidden := total - frame.height) > 0:
            place = None if self._store.journal is None else self._store.journal.place
            warnings.warn(
                f"the frame holds the newest {frame.height:,} pairs (max_pairs_in_memory); compare() sees "
                f"the {hidden:,} older ones too, and mirrorkit.scan({place!r}) reads them.",
                MirrorWarning,
                stacklevel=2,
            )
        return frame

    @property
    def funnel(self) -> Funnel:
        """How many requests came in, how many were mirrored, and why the others were not."""
        self._mirror.streams.sweep()
        return self._mirror.books.funnel

    @property
    def spent_usd(self) -> float:
        """What silent calls and judges are known to have cost so far, in US dollars."""
        return self._mirror.books.spending.spent

    @property
    def under_way(self) -> int:
        """How many silent calls wait or run."""
        return self._mirror.dispatcher.under_way if self._is_own() else 0

    @property
    def complete_before(self) -> datetime:
        """Each pair of a request that started before this (UTC) is recorded, and no more of them will come.

        It is the start of the oldest request under way, else now. Pairs past it are those that happened to
        finish first, which favours the fast. Read it before `frame`, which then holds all those pairs.
        """
        return self._mirror.complete_before

    def drain(self, timeout_s: float | None = None) -> bool:
        """Wait until the mirrors under way are recorded; False if `timeout_s` seconds were not enough.

        Raises:
            LoopRunning: in a cell or coroutine whose loop has mirrors under way: use `await adrain()`, or
                `mirrorkit.notebook.allow_nested_loops()` first.
        """
        if not self._is_own():
            return True
        self._mirror.streams.sweep()
        if self._mirror.dispatcher.blocks() and loops.nests():
            return loops.run_nested(self.adrain(timeout_s))
        return self._mirror.dispatcher.drain(timeout_s)

    async def adrain(self, timeout_s: float | None = None) -> bool:
        """The same, awaiting."""
        if not self._is_own():
            return True
        self._mirror.streams.sweep()
        return await self._mirror.dispatcher.adrain(timeout_s)

    def close(self, timeout_s: float | None = None) -> None:
        """Finish the mirrors under way and give the Router its settings back; frame and compare stay.

        Mirrors that have not started after `timeout_s` seconds are given up, and recorded as `cancelled`.

        Raises:
            LoopRunning: as `drain` does; use `await aclose()`.
        """
        if self._mirror.dispatcher.blocks():
            self.drain(timeout_s)
        self._mirror.streams.leave()
        if not self.drain(timeout_s):
            self._mirror.dispatcher.give_up()
        self._shut()

    async def aclose(self, timeout_s: float | None = None) -> None:
        """The same, awaiting."""
        self._mirror.streams.leave()
        if not await self.adrain(timeout_s):
            self._mirror.dispatcher.give_up()
        # a child process and a journal take their time to end
        await asyncio.to_thread(self._shut)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self._mirror.dispatcher.give_up()
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt | asyncio.CancelledError):
            self._mirror.dispatcher.give_up()
        await self.aclose()

    def __len__(self) -> int:
        return len(self._store)

    def __repr__(self) -> str:
        told = self._mirror.told(self.funnel, len(self._store), self.under_way)
        return f"<MirrorSession {'closed' if self._closed else 'open'}: {', '.join(told)}>"

    def _check_open(self) -> None:
        if self._closed:
            raise SessionClosed("this session is closed: make a new one, or call the Router itself.")
        if not self._is_own():
            with self._beginning:
                if not self._is_own():
                    journal = self._store.journal
                    self._begin(None if journal is None else journal.forked())

    def _is_own(self) -> bool:
        """Whether the record is this process's; a fork begins its own with its first call."""
        return self._process == os.getpid()

    def _asked(
        self,
        requests: Any,
        model: str | None,
        column: str | None,
        params: Mapping[str, Any],
        concurrency: int,
    ) -> list[dict[str, Any]]:
        self._check_ready(concurrency)
        return read_requests(requests, model or self._mirror.only_primary(), column, params)

    def _room(self, concurrency: int) -> Callable[[], bool]:
        # so that none of the primaries that a batch has under way finds the queue full
        jobs = concurrency * self._mirror.most_arms()
        return lambda: self._mirror.dispatcher.has_room(jobs)

    def _shut(self) -> None:
        self._closed = True
        if not self._is_own():
            return
        self._mirror.shut_down()
        if self._store.journal is not None:
            self._store.journal.close()

    def _finish(self) -> None:
        if not self._closed and self._is_own():
            # what an interrupted run had sent
            wait(tuple(self._batch_workers))
            self._mirror.streams.leave()
            self._mirror.dispatcher.finish_at_exit()
            self._shut()

    def _let_go(self) -> None:
        """In a process that is forked off: what is open and under way is the parent's."""
        if uses_polars(os.getppid()):
            self._unreadable = NO_POLARS
            self._store = FrameStore(journal=self._store.journal, unreadable=NO_POLARS)
        self._beginning = threading.Lock()  # a thread that is not here may have held it
        self._batch_workers = set()
        self._mirror.let_go()
        if self._store.journal is not None:
            self._store.journal.close()
