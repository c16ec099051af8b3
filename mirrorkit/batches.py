"""The batch half of a session: many requests at once, as an experiment."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from mirrorkit.capture.batch import (
    STALL_S,
    OnMirrored,
    StallLimit,
    arun_all,
    failure_of,
    read_requests,
    run_all,
)
from mirrorkit.capture.mirror import Mirror
from mirrorkit.capture.router.adapter import CallType
from mirrorkit.errors import MirrorWarning
from mirrorkit.notebook.progress import progress as progress_bar


class Batches(ABC):
    """What a session does with many requests."""

    _mirror: Mirror
    _batch_workers: set[Future[None]]
    _answers: list[Any]

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

        A batch is an experiment: nobody waits for its primaries, so a request's silent calls are sent
        together with it, now the one first and now the other. (They follow the primary at once where the
        deployments of a group name different silent models, and where there is a budget.) It ends when the
        pairs are there, or when no silent call has ended for 30 s. Works in a script and in a cell whose
        event loop is running.

        Args:
            requests: prompts, message lists or request dicts, or a frame or series of them.
            model: the model group that answers; not needed where the session has one primary group, or
                where each request dict names its own.
            column: the frame's column; by default `messages`, else `prompt`.
            concurrency: how many requests at once.
            progress: whether to show a progress bar.
            params: further parameters of every request.

        Returns:
            For each request its answer (of a stream, the list of chunks), or the exception it raised. After
            an interrupt, `answers` has those that were there by then.

        Raises:
            ConfigError: the requests cannot be read, or name a model group that the Router has not got.
        """
        asked, answers = self._asked(requests, model, column, params, concurrency)
        limit = self._stall_limit()
        with (
            progress_bar(len(asked), "mirroring", progress) as show,
            self._mirror.dispatcher.regardless_of_room(),
        ):
            try:
                run_all(
                    asked,
                    lambda kwargs, hear: self._call("completion", kwargs, hear),
                    concurrency,
                    show,
                    answers,
                    limit,
                    self._batch_workers,
                )
            except BaseException:
                self.cancel()
                raise
        return self._answered(answers, limit)

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
        asked, answers = self._asked(requests, model, column, params, concurrency)
        limit = self._stall_limit()
        with (
            progress_bar(len(asked), "mirroring", progress) as show,
            self._mirror.dispatcher.regardless_of_room(),
        ):
            try:
                await arun_all(
                    asked,
                    lambda kwargs, hear: self._acall("completion", kwargs, hear),
                    concurrency,
                    show,
                    answers,
                    limit,
                )
            except BaseException:
                self.cancel()
                raise
        return self._answered(answers, limit)

    @property
    def answers(self) -> list[Any]:
        """The answers of the last `run` or `arun`, in the order of its requests; None for what is missing."""
        return list(self._answers)

    def _asked(
        self,
        requests: Any,
        model: str | None,
        column: str | None,
        params: Mapping[str, Any],
        concurrency: int,
    ) -> tuple[list[dict[str, Any]], list[Any]]:
        """The requests, and a place for the answer of each."""
        self._check_ready(concurrency)
        asked = read_requests(requests, model or self._mirror.arms.only_primary(), column, params)
        for group in {each["model"] for each in asked if isinstance(each["model"], str)}:
            self._mirror.check_group(group)
        # of its own, as several may run at once
        answers = self._answers = [None] * len(asked)
        return asked, answers

    def _stall_limit(self) -> StallLimit:
        return StallLimit(self._mirror.dispatcher, STALL_S)

    def _answered(self, answers: list[Any], limit: StallLimit) -> list[Any]:
        """The answers of a batch, with a word where it has come to nothing or not to its end."""
        # what is just being recorded is no reason to say so
        left = self._mirror.dispatcher.under_way if limit.is_over else 0
        if (failure := failure_of(answers)) is not None:
            why = self._mirror.recorder.scrubber.error(f"{type(failure).__name__}: {failure}")
            many = f"{len(answers):,} of {len(answers):,} primaries failed: {why}"
            warnings.warn(many, MirrorWarning, stacklevel=3)
        if left:
            warnings.warn(
                f"{left:,} silent calls are still under way, and none has ended for {STALL_S:g} s: wait "
                "for them with drain() or adrain(), or end them with close(timeout_s=0).",
                MirrorWarning,
                stacklevel=3,
            )
        return answers

    @abstractmethod
    def _call(
        self, call_type: CallType, kwargs: dict[str, Any], on_mirrored: OnMirrored | None = None
    ) -> Any:
        """Make a call, mirrored, blocking."""

    @abstractmethod
    async def _acall(
        self, call_type: CallType, kwargs: dict[str, Any], on_mirrored: OnMirrored | None = None
    ) -> Any:
        """The same, awaiting."""

    @abstractmethod
    async def adrain(self, timeout_s: float | None = None) -> bool:
        """Wait until the mirrors under way are recorded."""

    @abstractmethod
    def cancel(self) -> int:
        """Drop the silent calls that have not been sent."""

    @abstractmethod
    def _check_ready(self, concurrency: int) -> None:
        """Raise where no batch can be run."""
