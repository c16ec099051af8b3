"""MirrorSession: wraps a LiteLLM Router, mirrors its traffic and records every pair."""

import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from inspect import iscoroutinefunction
from os import PathLike
from types import TracebackType
from typing import Any, Literal, Self

import polars as pl

from mirrorkit.capture.adapter import Adapter, CallType, as_names, warm_up
from mirrorkit.capture.batch import arun_all, read_requests, run_all
from mirrorkit.capture.mirror import Mirror
from mirrorkit.capture.policy import Funnel, Policy
from mirrorkit.errors import ConfigError, SessionClosed, UnsupportedCall
from mirrorkit.notebook import loops
from mirrorkit.notebook.progress import progress as progress_bar
from mirrorkit.recording import Readable
from mirrorkit.records import CONTROL, Request
from mirrorkit.store.frame import FrameStore

SilentModel = str | Sequence[str] | Mapping[str, str | Sequence[str]] | None
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
        _check_callable("where", where)
        _check_callable("redact", redact)
        _check_place(isolation, journal)
        self._store = FrameStore()
        self._closed = False
        self._batch_workers: set[Future[None]] = set()
        adapter = Adapter(router)
        try:
            silent = _silent_groups(silent_model)
            _check_groups(adapter, silent, policy)
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
        """What silent calls are known to have cost so far, in US dollars."""
        return self._mirror.books.spending.spent

    @property
    def under_way(self) -> int:
        """How many silent calls wait or run."""
        return self._mirror.dispatcher.under_way

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

    def _asked(
        self,
        requests: Any,
        model: str | None,
        column: str | None,
        params: Mapping[str, Any],
        concurrency: int,
    ) -> list[dict[str, Any]]:
        self._check_open()
        if not isinstance(concurrency, int) or isinstance(concurrency, bool) or concurrency < 1:
            raise ConfigError(f"concurrency={concurrency!r}: give a whole number, 1 or more.")
        return read_requests(requests, model or self._mirror.only_primary(), column, params)

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


def _silent_groups(silent_model: SilentModel) -> dict[str | None, tuple[str, ...]]:
    if isinstance(silent_model, Mapping):
        if not all(isinstance(group, str) for group in silent_model):
            raise ConfigError("silent_model: give a dict with the names of model groups as keys.")
        return {group: as_names(names) for group, names in silent_model.items()}
    names = as_names(silent_model)
    return {None: names} if names else {}


def _check_groups(adapter: Adapter, silent: Mapping[str | None, Sequence[str]], policy: Policy) -> None:
    """Say what is wrong with the silent models, the session's and the deployments' own."""
    told = [(group, name) for group, names in silent.items() for name in names]
    told += [(group, name) for group, own in adapter.silent_models() for name in as_names(own)]
    groups = adapter.groups()
    for group, name in told:
        for known in (group, name):
            if known is not None and not adapter.knows(known):
                raise ConfigError(
                    f"silent_model: {known!r} is no model group of this router, which has {groups}."
                )
        if name == CONTROL:
            raise ConfigError(f"silent_model: {CONTROL!r} is the name of the control arm; rename that group.")
        if group == name or (group is None and groups == [name]):
            raise ConfigError(
                f"silent_model: {name!r} would mirror onto itself; control= compares a model with itself."
            )
    if not told and policy.control == 0:
        raise ConfigError(
            f"nothing to mirror to: no deployment has a silent_model. Give silent_model=, one of {groups}."
        )


def _check_callable(name: str, value: object) -> None:
    if value is not None and not callable(value):
        raise ConfigError(f"{name}={value!r}: give a function.")
    if iscoroutinefunction(value):
        raise ConfigError(f"{name}={value!r}: give a plain function; an async one is never awaited here.")


def _check_place(isolation: str, journal: object) -> None:
    if isolation == "process":
        raise ConfigError('isolation="process" comes with a later version: use "shared".')
    if isolation != "shared":
        raise ConfigError(f'isolation={isolation!r}: use "shared".')
    if journal is not None:
        raise ConfigError(f"journal={journal!r} comes with a later version: keep the pairs by to_parquet().")
