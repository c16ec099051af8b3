"""MirrorSession: wraps a LiteLLM Router, mirrors its traffic and records every pair."""

import asyncio
import threading
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from datetime import datetime
from os import PathLike
from types import TracebackType
from typing import Any, Literal, Self

import polars as pl

from mirrorkit.capture.adapter import Adapter, CallType, warm_up
from mirrorkit.capture.batch import arun_all, read_requests, run_all
from mirrorkit.capture.judge import Claims, Judge, Row, check_judge, pairs_to_judge
from mirrorkit.capture.mirror import Mirror
from mirrorkit.capture.policy import Funnel, Policy
from mirrorkit.capture.settings import SilentModel, check_callable, check_groups, check_place, silent_groups
from mirrorkit.capture.verdicts import RUBRIC
from mirrorkit.compare.looked import Looked
from mirrorkit.errors import ConfigError, SessionClosed, UnsupportedCall
from mirrorkit.notebook import loops
from mirrorkit.notebook.progress import progress as progress_bar
from mirrorkit.recording import Readable
from mirrorkit.records import Request
from mirrorkit.store.frame import FrameStore

_MIRRORED = "completion, acompletion, embedding, aembedding, responses, aresponses"


class MirrorSession(Readable):
    """Wraps a Router with mirroring, and records every primary and silent pair.

    Call it as you call the Router: the answers are the Router's own, and each request is also sent, in the
    background, to the silent model of the deployment that answered.

    Args:
        router: a `litellm.Router`, a model list, or the path of a LiteLLM `config.yaml`.
        silent_model: silent model groups besides the deployments' own `silent_model`: a name or a list of
            names for every primary group, or a dict from primary group to names.
        control: share, 0 to 1, of mirrored requests that are also sent to the primary's own group again, to
            learn how much a model differs from itself.
        sample: share, 0 to 1, of requests that are mirrored; decided by a hash of the request's id (the
            caller's `litellm_call_id`, else a new one) and the seed.
        where: mirror only the requests for which this is true; called before the primary, so keep it quick.
        budget_usd: stop mirroring when silent calls have cost this many US dollars.
        max_in_flight: silent calls at once.
        max_waiting: silent calls that may wait; past it a mirror is dropped, and counted as `saturated`.
        timeout_s: seconds that a silent call may take; None leaves that to the Router.
        silent_retries: how often a failing silent call is tried again.
        isolation: where silent calls run. "shared": this process, on one thread pool (sync calls) or on the
            caller's event loop (async calls).
        journal: not in this version.
        redact: applied to every recorded text; what it raises on is recorded as null.
        seed: makes request ids, and with them sample and control, the same in each run.

    Raises:
        ConfigError: a value is out of range, or there is nothing to mirror to.

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
        timeout_s: float | None = None,
        silent_retries: int = 0,
        isolation: Literal["shared"] = "shared",
        journal: str | PathLike[str] | None = None,
        redact: Callable[[str], str] | None = None,
        seed: int | None = None,
    ) -> None:
        policy = Policy(
            sample, control, budget_usd, max_in_flight, max_waiting, timeout_s, silent_retries, seed
        )
        check_callable("where", where)
        check_callable("redact", redact)
        check_place(isolation, journal)
        self._store = FrameStore()
        self._looked = Looked()
        self._claims = Claims()
        self._closed = False
        self._batch_workers: set[Future[None]] = set()
        adapter = Adapter(router)
        try:
            silent = silent_groups(silent_model)
            check_groups(adapter, silent, policy)
            warm_up()
            self._mirror = Mirror(adapter, policy, silent, where, redact, self._store.append)
        except BaseException:
            adapter.give_back()
            raise
        _at_exit(weakref.WeakMethod(self._finish))

    @property
    def router(self) -> Any:
        """The Router itself, for calls that are not to be mirrored."""
        return self._mirror.adapter.router

    def completion(self, model: str, messages: Any, **kwargs: Any) -> Any:
        """`Router.completion`, mirrored: a chat answer, or with `stream=True` an iterator of its chunks."""
        return self._call("completion", {"model": model, "messages": messages, **kwargs})

    async def acompletion(self, model: str, messages: Any, **kwargs: Any) -> Any:
        """`Router.acompletion`, mirrored."""
        return await self._acall("completion", {"model": model, "messages": messages, **kwargs})

    def embedding(self, model: str, input: Any, **kwargs: Any) -> Any:
        """`Router.embedding`, mirrored."""
        return self._call("embedding", {"model": model, "input": input, **kwargs})

    async def aembedding(self, model: str, input: Any, **kwargs: Any) -> Any:
        """`Router.aembedding`, mirrored."""
        return await self._acall("embedding", {"model": model, "input": input, **kwargs})

    def responses(self, model: str, input: Any, **kwargs: Any) -> Any:
        """`Router.responses`, mirrored."""
        return self._call("responses", {"model": model, "input": input, **kwargs})

    async def aresponses(self, model: str, input: Any, **kwargs: Any) -> Any:
        """`Router.aresponses`, mirrored."""
        return await self._acall("responses", {"model": model, "input": input, **kwargs})

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

    def judge(
        self,
        model: str,
        *,
        rubric: str = RUBRIC,
        sample: float = 1.0,
        arm: str | None = None,
        labelled: bool = False,
        concurrency: int = 8,
        progress: bool = True,
    ) -> pl.DataFrame:
        """Have a model of the Router say which answer of each pair is better, on threads.

        Asked about are finished pairs, the control arm's left out, that have no verdict yet. The judge sees
        what is recorded of the request and of both answers, not who gave them, in both orders: where these
        disagree it is a tie, and `judge_flipped`. An answer that is no verdict is asked for once more; a pair
        without a verdict in both orders has a null `judge_preference` and a `judge_reason` that says why, and
        is asked about again by the next call. Verdicts are columns of `frame` as they come, so that an
        interrupt loses none. Their cost counts in `spent_usd`; a MirrorWarning says how many pairs
        `budget_usd` left unjudged.

        Args:
            model: the model group that judges; none of those judged, nor one with a model of theirs.
            rubric: what makes an answer the better one, in your words.
            sample: how much to judge, drawn by a hash of the pair ids: a share of the pairs, 0.0 to 1.0, or
                a whole number of them.
            arm: judge only this arm's pairs.
            labelled: also judge the pairs that a person has labelled, to see whether the two agree.
            concurrency: how many pairs at once.
            progress: whether to show a progress bar.

        Returns:
            The pairs judged by this call: `pair_id`, `arm`, `judge_preference`, `judge_flipped`,
            `judge_reason`, `judge_cost_usd`.

        Raises:
            ConfigError: the judge is unknown or one of the models judged, or a value is out of range.
            SessionClosed: after `close()`, as the judge is called through the Router.

        >>> from mirrorkit.simulator import SimulatedModel, Simulator
        >>> groups = {"chat": "gpt-4o", "next": "gpt-4o-mini", "judge": "gpt-4.1"}
        >>> with Simulator([SimulatedModel(name) for name in groups.values()]) as sim:
        ...     models = [sim.deployment(group, name) for group, name in groups.items()]
        ...     with MirrorSession(models, silent_model="next") as session:
        ...         answers = session.run(["Where is my parcel?"], model="chat", progress=False)
        ...         judged = session.judge("judge", rubric="The clearer answer is better.", progress=False)
        >>> judged.select("arm", "judge_flipped").height, session.frame["judge_model"][0]
        (1, 'gpt-4.1')
        """
        judge, rows = self._judging(model, rubric, sample, arm, labelled, concurrency)
        with progress_bar(len(rows), "judging", progress, "pairs") as show:
            run_all(rows, judge.judge, concurrency, lambda: True, show, self._batch_workers)
        judge.finish()
        return judge.summary(self.frame)

    async def ajudge(
        self,
        model: str,
        *,
        rubric: str = RUBRIC,
        sample: float = 1.0,
        arm: str | None = None,
        labelled: bool = False,
        concurrency: int = 8,
        progress: bool = True,
    ) -> pl.DataFrame:
        """The same, awaiting, on the running loop; see `judge`."""
        asked = (model, rubric, sample, arm, labelled, concurrency)
        judge, rows = await asyncio.to_thread(self._judging, *asked)
        with progress_bar(len(rows), "judging", progress, "pairs") as show:
            await arun_all(rows, judge.ajudge, concurrency, lambda: True, show)
        judge.finish()
        return await asyncio.to_thread(lambda: judge.summary(self.frame))

    @property
    def frame(self) -> pl.DataFrame:
        """The finished pairs so far, one row each, in the order they finished."""
        self._mirror.streams.sweep()
        return self._store.frame()

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
        return self._mirror.dispatcher.under_way

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
        self._mirror.streams.sweep()
        if self._mirror.dispatcher.blocks() and loops.nests():
            return loops.run_nested(self.adrain(timeout_s))
        return self._mirror.dispatcher.drain(timeout_s)

    async def adrain(self, timeout_s: float | None = None) -> bool:
        """The same, awaiting."""
        self._mirror.streams.sweep()
        return await self._mirror.dispatcher.adrain(timeout_s)

    def close(self) -> None:
        """Finish the mirrors under way and give the Router its settings back; frame and compare stay.

        Raises:
            LoopRunning: as `drain` does; use `await aclose()`.
        """
        self._mirror.streams.leave()
        self.drain()
        self._shut()

    async def aclose(self) -> None:
        """The same, awaiting."""
        self._mirror.streams.leave()
        await self.adrain()
        self._shut()

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
        await self.aclose()

    def __len__(self) -> int:
        return len(self._store)

    def __repr__(self) -> str:
        books, funnel = self._mirror.books, self.funnel
        parts = [
            f"{funnel.requests:,} requests",
            f"{funnel.mirrored:,} mirrored",
            f"{len(self._store):,} pairs",
            f"{self.under_way:,} under way",
            f"${books.spending.spent:.3g} spent"
            + ("" if books.spending.limit is None else f" of ${books.spending.limit:g}"),
        ]
        if books.faults:
            parts.append(f"{books.faults:,} faults (last: {books.last_fault})")
        return f"<MirrorSession {'closed' if self._closed else 'open'}: {', '.join(parts)}>"

    def __getattr__(self, name: str) -> Any:
        mirror = self.__dict__.get("_mirror")
        if mirror is not None and not name.startswith("_") and hasattr(mirror.adapter.router, name):
            raise UnsupportedCall(
                f"session.{name} is not mirrored (mirrored are {_MIRRORED}): "
                f"use session.router.{name} to reach the Router itself, unmirrored."
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _call(self, call_type: CallType, kwargs: dict[str, Any]) -> Any:
        self._check_open()
        return self._mirror.call(call_type, kwargs)

    async def _acall(self, call_type: CallType, kwargs: dict[str, Any]) -> Any:
        self._check_open()
        return await self._mirror.acall(call_type, kwargs)

    def _check_open(self) -> None:
        if self._closed:
            raise SessionClosed("this session is closed: make a new one, or call the Router itself.")

    def _check_ready(self, concurrency: int) -> None:
        self._check_open()
        if not isinstance(concurrency, int) or isinstance(concurrency, bool) or concurrency < 1:
            raise ConfigError(f"concurrency={concurrency!r}: give a whole number, 1 or more.")

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

    def _judging(
        self, model: str, rubric: str, sample: float, arm: str | None, labelled: bool, concurrency: int
    ) -> tuple[Judge, list[Row]]:
        self._check_ready(concurrency)
        self._mirror.refresh()
        frame = self.frame
        pairs, rows = pairs_to_judge(frame, sample=sample, arm=arm, labelled=labelled)
        theirs = check_judge(self._mirror.adapter, model, rubric, frame, pairs)
        return Judge(model, rubric, self._mirror, self._store.judged, self._claims, theirs), rows

    def _room(self, concurrency: int) -> Callable[[], bool]:
        # so that none of the primaries that a batch has under way finds the queue full
        jobs = concurrency * self._mirror.most_arms()
        return lambda: self._mirror.dispatcher.has_room(jobs)

    def _shut(self) -> None:
        self._closed = True
        self._mirror.dispatcher.shut_down()
        self._mirror.adapter.give_back()

    def _finish(self) -> None:
        if not self._closed:
            # what an interrupted run had sent
            wait(tuple(self._batch_workers))
            self._mirror.streams.leave()
            self._mirror.dispatcher.finish_at_exit()


def _at_exit(finish: "weakref.WeakMethod[Callable[[], None]]") -> None:
    def run() -> None:
        if (alive := finish()) is not None:
            alive()

    # atexit is too late: by then thread pools, LiteLLM's among them, take no more work. This hook runs
    # before theirs, and is private in CPython, where concurrent.futures uses it for the same reason.
    threading._register_atexit(run)  # type: ignore[attr-defined]
