"""MirrorSession: wraps a LiteLLM Router, mirrors its traffic and records every pair."""

import asyncio
import os
import threading
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from datetime import datetime
from functools import partial
from os import PathLike
from types import TracebackType
from typing import Any, Self

import polars as pl

from mirrorkit.batches import Batches
from mirrorkit.capture.account import account_of
from mirrorkit.capture.deadline import Deadline
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
from mirrorkit.records import Pair, Request
from mirrorkit.router_calls import RouterCalls
from mirrorkit.store.frame import FrameStore
from mirrorkit.store.journal import Journal
from mirrorkit.watching import Watching

_JOURNAL_S = 2.0
"""Seconds that a journal has to end, however little of a time-out is left."""


class MirrorSession(RouterCalls, Judging, Batches, Watching):
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
        budget_usd: stop mirroring when silent calls and judges have cost this many US dollars, those in
            flight counted at what they are expected to cost. With a journal, it counts what all sessions on
            it have spent.
        max_in_flight: silent calls at once.
        mirror_rate: silent calls that may start in a second, evenly paced; None sets no limit. A provider
            that answers 429 is left alone as long as it asks, whatever the rate.
        max_waiting: silent calls that may wait; past it a mirror is dropped, and counted as `saturated`.
        timeout_s: seconds that a silent call may take, retries included. None leaves an attempt the time-out
            that the caller or the Router has set; where neither has, a silent call may take 120 s, or three
            times what its primary took, whichever is longer.
        silent_retries: how often a failing silent call is tried again; None leaves that to the Router, which
            tries primaries again too.
        forward: names of further request parameters that silent calls are sent with. A silent model of
            another provider gets the parameters of the OpenAI API, and one of the same provider that
            provider's own too; headers, credentials and unknown keywords go to neither.
        repeat_actions: whether to mirror, to the control arm, requests whose provider runs a tool that may
            act (MCP, computer use): it then acts twice.
        exit_timeout_s: seconds that the end of the program waits for silent calls; the interpreter takes
            some more to end.
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
        keep_media: record base64 images, audio and files as they are, not by kind, size and hash alone.
        seed: makes request ids, and with them sample and control, the same in each run.

    Raises:
        ConfigError: a value is out of range, there is nothing to mirror to, a silent model that is to keep to
            a budget has no price, or a child process cannot have
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
        silent_retries: int | None = None,
        forward: Sequence[str] = (),
        repeat_actions: bool = False,
        exit_timeout_s: float = 15.0,
        isolation: Isolation = "shared",
        journal: str | PathLike[str] | None = None,
        max_pairs_in_memory: int | None = None,
        storage_options: Mapping[str, Any] | None = None,
        redact: Callable[[str], str] | None = None,
        keep_media: bool = False,
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
            forward=forward if isinstance(forward, str) else tuple(forward),  # type: ignore[arg-type]
            repeat_actions=repeat_actions,
            exit_timeout_s=exit_timeout_s,
            keep_media=keep_media,
        )
        check_callable("where", where)
        check_callable("redact", redact)
        check_isolation(isolation)
        self._looked = Looked()
        self._claims = Claims()
        self._closed = False
        self._beginning = threading.Lock()
        self._batch_workers: set[Future[None]] = set()
        self._answers: list[Any] = []
        adapter = Adapter(router)
        kept: Journal | None = None
        try:
            silent = silent_groups(silent_model)
            check_groups(adapter, silent, policy)
            if journal is not None:
                kept = Journal(journal, storage_options=storage_options)
            self._account = account_of(None if kept is None else os.fspath(kept.folder.resolve()))
            if kept is not None and budget_usd is not None:
                self._account.look(kept.cost_usd)
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
            weakref.finalize(self, kept.close, exit_timeout_s)
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
        begin = None if journal is None else self._store.begun
        self._account = self._account.here()
        self._mirror = self._mirror_to(under_way, self._keep, begin, self._store.dropped, mute, self._account)
        self._process = os.getpid()

    def _keep(self, pair: Pair) -> None:
        self._store.append(pair)

    def cancel(self) -> int:
        """Drop the silent calls that have not been sent, which are recorded as `cancelled`; how many.

        Those in flight go on, and so do primaries.
        """
        return self._mirror.dispatcher.give_up()

    def pause(self) -> None:
        """Mirror nothing until `resume`: primaries are served, and counted as `paused` in the funnel.

        `MIRRORKIT_DISABLED=1` in the environment does the same to all sessions of a process.
        """
        self._mirror.is_paused = True

    def resume(self) -> None:
        """Mirror again, after `pause`."""
        self._mirror.is_paused = False

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
        """What silent calls and judges of this session are known to have cost so far, in US dollars."""
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
        own, others = self._mirror.complete_before, self._store.others_before
        return own if others is None else min(own, others)

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
        return self._mirror.drain(timeout_s)

    async def adrain(self, timeout_s: float | None = None) -> bool:
        """The same, awaiting."""
        if not self._is_own():
            return True
        self._mirror.streams.sweep()
        return await self._mirror.adrain(timeout_s)

    def close(self, timeout_s: float | None = None) -> None:
        """Finish the mirrors under way and give the Router its settings back; frame and compare stay.

        Mirrors that have not ended after `timeout_s` seconds are given up, and recorded as `cancelled`.

        Raises:
            LoopRunning: as `drain` does; use `await aclose()`.
        """
        deadline = Deadline.after(timeout_s)
        if self._mirror.dispatcher.blocks():
            self.drain(timeout_s)
        self._mirror.streams.leave()
        if not self.drain(timeout_s):
            self._mirror.cancel()
        self._shut(deadline)

    async def aclose(self, timeout_s: float | None = None) -> None:
        """The same, awaiting."""
        deadline = Deadline.after(timeout_s)
        self._mirror.streams.leave()
        if not await self.adrain(timeout_s):
            await asyncio.to_thread(self._mirror.cancel)
        # a child process and a journal take their time to end
        await asyncio.to_thread(self._shut, deadline)

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
        return f"<MirrorSession {'closed' if self._closed else 'open'}: {', '.join(self._summary())}>"

    def _summary(self) -> list[str]:
        """What has come of the session, and what it is doing, in a few words each."""
        funnel, mirror = self.funnel, self._mirror
        spending, books = mirror.books.spending, mirror.books
        limit = "" if spending.limit is None else f" of ${spending.limit:g}"
        parts = [f"{funnel.requests:,} requests", f"{funnel.mirrored:,} mirrored"]
        parts += [f"{len(self._store):,} pairs", f"{self.under_way:,} under way"]
        others = f", ${spending.elsewhere:.3g} by other sessions on the journal" if spending.elsewhere else ""
        parts.append(f"${spending.spent:.3g} spent{limit}{others}")
        if mirror.is_off and not self._closed:
            parts.append("paused")
        if mirror.away is not None and not mirror.away.closed:
            parts.append(mirror.away.state)
        rests = mirror.dispatcher.paused.items()
        parts += [f"{group} asked for {seconds:.3g} s of rest" for group, seconds in rests]
        if books.faults:
            parts.append(f"{books.faults:,} faults (last: {books.last_fault})")
        return parts

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

    def _shut(self, deadline: Deadline) -> None:
        self._closed = True
        if not self._is_own():
            return
        self._mirror.shut_down()
        if self._store.journal is not None:
            left_s = deadline.left_s
            self._store.journal.close(None if left_s is None else max(_JOURNAL_S, left_s))

    def _finish(self) -> None:
        if not self._closed and self._is_own():
            deadline = Deadline.after(self._mirror.policy.exit_timeout_s)
            # what an interrupted run had sent
            wait(tuple(self._batch_workers), deadline.left_s)
            self._mirror.streams.leave()
            self._mirror.finish_at_exit(deadline.left_s or 0.0)
            self._shut(deadline)

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
