"""The judging half of a session: a model says which answer of each pair is better."""

import asyncio
from abc import abstractmethod
from concurrent.futures import Future

import polars as pl

from mirrorkit.capture.batch import arun_all, run_all
from mirrorkit.capture.judge import Claims, Judge, Row, check_judge, pairs_to_judge
from mirrorkit.capture.mirror import Mirror
from mirrorkit.capture.verdicts import RUBRIC
from mirrorkit.errors import ConfigError
from mirrorkit.notebook.progress import progress as progress_bar
from mirrorkit.recording import Readable


class Judging(Readable):
    """What can be judged: readable pairs, and a Router to ask a judge by."""

    _mirror: Mirror
    _claims: Claims
    _batch_workers: set[Future[None]]

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

        Asked about are pairs of `frame`, the control arm's left out, that have no verdict yet. The judge sees
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

        >>> import mirrorkit as mk
        >>> from mirrorkit.simulator import SimulatedModel, Simulator
        >>> groups = {"chat": "gpt-4o", "next": "gpt-4o-mini", "judge": "gpt-4.1"}
        >>> with Simulator([SimulatedModel(name) for name in groups.values()]) as sim:
        ...     models = [sim.deployment(group, name) for group, name in groups.items()]
        ...     with mk.MirrorSession(models, silent_model="next") as session:
        ...         answers = session.run(["Where is my parcel?"], model="chat", progress=False)
        ...         judged = session.judge("judge", rubric="The clearer answer is better.", progress=False)
        >>> judged.select("arm", "judge_flipped").height, session.frame["judge_model"][0]
        (1, 'gpt-4.1')
        """
        judge, rows = self._judging(model, rubric, sample, arm, labelled, concurrency)
        with progress_bar(len(rows), "judging", progress, "pairs") as show:
            workers = self._batch_workers
            run_all(
                rows, lambda row, _: judge.judge(row), concurrency, show, [None] * len(rows), None, workers
            )
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
            await arun_all(rows, lambda row, _: judge.ajudge(row), concurrency, show, [None] * len(rows))
        judge.finish()
        return await asyncio.to_thread(lambda: judge.summary(self.frame))

    def _judging(
        self, model: str, rubric: str, sample: float, arm: str | None, labelled: bool, concurrency: int
    ) -> tuple[Judge, list[Row]]:
        self._check_ready(concurrency)
        self._mirror.refresh()
        frame = self.frame
        pairs, rows = pairs_to_judge(frame, sample=sample, arm=arm, labelled=labelled)
        theirs = check_judge(self._mirror.adapter, model, rubric, frame, pairs)
        return Judge(model, rubric, self._mirror, self._store.judged, self._claims, theirs), rows

    def _check_ready(self, concurrency: int) -> None:
        self._check_open()
        if not isinstance(concurrency, int) or isinstance(concurrency, bool) or concurrency < 1:
            raise ConfigError(f"concurrency={concurrency!r}: give a whole number, 1 or more.")

    @abstractmethod
    def _check_open(self) -> None:
        """Raise SessionClosed after `close()`."""
