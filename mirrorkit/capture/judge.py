"""A model of the router judges pairs: which ones, who may judge, and the calls, blocking or awaited."""

import asyncio
import warnings
from collections.abc import Callable, Generator, Mapping, Set
from copy import deepcopy
from datetime import UTC, datetime
from threading import Lock
from typing import Any

import polars as pl

from mirrorkit.capture.mirror import Mirror
from mirrorkit.capture.observe import Seen
from mirrorkit.capture.policy import unit_hash
from mirrorkit.capture.router.adapter import Adapter, bare_model
from mirrorkit.capture.verdicts import ORDERS, RESPONSE_FORMAT, Side, Verdict, prompt, read_verdict, settled
from mirrorkit.capture.watch import Watch
from mirrorkit.errors import ConfigError, MirrorWarning
from mirrorkit.records import CONTROL, Call, Judgement

JUDGE_TAG = "is_mirrorkit_judge"

_SHOWN = (
    "pair_id",
    "messages",
    "params",
    "primary_output",
    "primary_tool_calls",
    "silent_output",
    "silent_tool_calls",
)
_SUMMARY = ("pair_id", "arm", "judge_preference", "judge_flipped", "judge_reason", "judge_cost_usd")
_OTHER = "A judge must be a model of neither side: name another group, or add one to the router."
_ATTEMPTS = 2
# What the first verdicts are taken to cost, before one is known: as common tokenizers count, roughly.
_CHARACTERS_A_TOKEN = 4
_VERDICT_TOKENS = 100
_LATEST = 100

Row = dict[str, Any]
Steps = Generator[dict[str, Any], Call, None]


class Claims:
    """Which pairs of a session a judge is at work on or has settled, so that none is judged twice at once."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._claimed: set[str] = set()
        self._settled: set[str] = set()

    def claim(self, pair_id: str) -> bool:
        """Take a pair; False if another has it, or it has a verdict by now."""
        with self._lock:
            if pair_id in self._claimed or pair_id in self._settled:
                return False
            self._claimed.add(pair_id)
            return True

    def settle(self, pair_id: str) -> None:
        """The pair has a verdict."""
        with self._lock:
            self._settled.add(pair_id)

    def give_back(self, pair_id: str) -> None:
        """The work on a pair that was claimed is over."""
        with self._lock:
            self._claimed.discard(pair_id)


class _Barred(Exception):
    """The judge turned out to be one of the models judged."""


class Judge:
    """Asks one model group about pairs, each in both orders; every verdict goes to `sink` as it comes.

    What is asked next is decided in one place, `_steps`, which `judge` and `ajudge` drive. `theirs` are the
    bare names of the models judged: an answer by one of them ends the judging.
    """

    def __init__(
        self,
        group: str,
        rubric: str,
        mirror: Mirror,
        sink: Callable[[str, Judgement], None],
        claims: Claims,
        theirs: Set[str],
    ) -> None:
        self._group = group
        self._rubric = rubric
        self._adapter = mirror.adapter
        self._books = mirror.books
        self._recorder = mirror.recorder
        self._sink = sink
        self._claims = claims
        self._theirs = theirs
        self._barred: str | None = None
        self._price = self._adapter.token_price(group)
        self._costs: list[float] = []
        self._done: list[str] = []
        self._left: list[str] = []

    def judge(self, row: Row) -> None:
        """Judge a pair, blocking; a fault in it is counted, and leaves the pair unjudged."""
        steps = self._steps(row)
        try:
            ask = next(steps)
            while True:
                ask = steps.send(self._call(ask))
        except StopIteration:
            return
        except Exception as fault:
            self._books.fault(fault)
        finally:
            steps.close()

    async def ajudge(self, row: Row) -> None:
        """The same, awaiting."""
        steps = self._steps(row)
        try:
            ask = next(steps)
            while True:
                ask = steps.send(await self._acall(ask))
        except StopIteration:
            return
        except Exception as fault:
            self._books.fault(fault)
        finally:
            steps.close()

    def finish(self) -> None:
        """Say what ended it early: raises if the judge was one of the models judged, warns of the budget."""
        if self._barred is not None:
            raise ConfigError(
                f"model={self._group!r} answered as {self._barred!r}, which it would judge; none of its "
                f"verdicts as that model was kept. {_OTHER}"
            )
        if self._left:
            asked = len(self._left) + len(self._done)
            warnings.warn(
                f"budget_usd={self._books.spending.limit:g} is spent: {len(self._left):,} of {asked:,} pairs "
                "were not judged. Those that were are a random sample of them.",
                MirrorWarning,
                stacklevel=3,
            )

    def summary(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The pairs that were judged, of a frame that has their verdicts."""
        done = pl.Series(self._done, dtype=pl.String).implode()
        return frame.filter(pl.col("pair_id").is_in(done)).select(_SUMMARY)

    def _steps(self, row: Row) -> Steps:
        """One pair: yields the keywords of each call, and is sent what came of it."""
        if self._barred is not None or not self._claims.claim(row["pair_id"]):
            return
        try:
            yield from self._claimed(row)
        except _Barred:
            return
        finally:
            self._claims.give_back(row["pair_id"])

    def _claimed(self, row: Row) -> Steps:
        expected = self._expected(row)
        if not self._books.reserve_judge(expected):
            self._left.append(row["pair_id"])
            return
        calls: list[Call] = []
        try:
            judgement = yield from self._judged(row, calls)
        finally:
            # also where it is interrupted: what was spent was spent
            self._books.settle_judge(expected, calls)
        if judgement.cost_usd is not None:
            self._costs.append(judgement.cost_usd)
        self._sink(row["pair_id"], judgement)
        if judgement.preference is not None:
            self._claims.settle(row["pair_id"])
        self._done.append(row["pair_id"])

    def _judged(self, row: Row, calls: list[Call]) -> Generator[dict[str, Any], Call, Judgement]:
        verdicts: list[Verdict] = []
        reasons: list[str] = []
        for first in ORDERS:
            verdict = yield from self._verdict(row, first, calls)
            if isinstance(verdict, str):
                # without both orders there is no verdict, so the other is not asked for
                reasons = [f"{first} first: {verdict}"]
                break
            verdicts.append(verdict)
            reasons.append(f"{first} first → {verdict.preference}: {verdict.reason or 'no reason given'}")
        both = len(verdicts) == len(ORDERS)
        preference, flipped = settled(verdicts) if both else (None, None)
        models = dict.fromkeys(call.model or self._group for call in calls)
        costs = [call.cost_usd for call in calls]
        return Judgement(
            preference=preference,
            reason=self._recorder.scrubber.error("\n".join(reasons)),
            flipped=flipped,
            model=", ".join(models),
            cost_usd=None if None in costs else sum(cost for cost in costs if cost is not None),
            judged_at=datetime.now(UTC),
        )

    def _verdict(
        self, row: Row, first: Side, calls: list[Call]
    ) -> Generator[dict[str, Any], Call, Verdict | str]:
        """The verdict of one order, or why there is none."""
        for _ in range(_ATTEMPTS):
            if self._barred is not None:
                raise _Barred
            call = yield self._kwargs(row, first)
            calls.append(call)
            if call.status == "ok" and call.model and bare_model(call.model) in self._theirs:
                self._barred = call.model
                raise _Barred
            if call.status != "ok":
                return f"{call.error_type or call.status}: {call.error_message or 'no message'}"
            if (verdict := read_verdict(call.output, first)) is not None:
                return verdict
        return f"no verdict in {_ATTEMPTS} answers, the last of which ended with {call.finish_reason!r}"

    def _kwargs(self, row: Row, first: Side) -> dict[str, Any]:
        marks = {JUDGE_TAG: True, "mirrorkit_pair_id": row["pair_id"], "mirrorkit_first": first}
        metadata: dict[str, Any] = {**marks, "spend_logs_metadata": dict(marks)}
        if not self._adapter.filters_by_tags():
            metadata["tags"] = [JUDGE_TAG]
        return {
            "model": self._group,
            "messages": prompt(row, first, self._rubric),
            "response_format": deepcopy(RESPONSE_FORMAT),
            # not for a model that takes none: the prompt asks for JSON too
            "drop_params": True,
            # another group might be one of the arms, and an answer from the cache no second attempt
            "disable_fallbacks": True,
            "cache": {"no-cache": True, "no-store": True},
            # one call that fails must not take the judge away from the other pairs
            "cooldown_time": 0,
            "metadata": metadata,
        }

    def _call(self, kwargs: dict[str, Any]) -> Call:
        method = self._adapter.method("completion", is_async=False)
        watch = Watch(kwargs["metadata"], self._books.fault)
        try:
            seen = watch.answered(method(**kwargs))
        except Exception as error:
            seen = watch.failed(error)
        return self._priced(seen, kwargs)

    async def _acall(self, kwargs: dict[str, Any]) -> Call:
        method = self._adapter.method("completion", is_async=True)
        watch = Watch(kwargs["metadata"], self._books.fault)
        try:
            seen = watch.answered(await method(**kwargs))
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # not of this task, but of something that the call itself waited for
            seen = watch.failed(error)
        except Exception as error:
            seen = watch.failed(error)
        return self._priced(seen, kwargs)

    def _priced(self, seen: Seen, kwargs: Mapping[str, Any]) -> Call:
        try:
            return self._recorder.pricer.call(seen, kwargs["messages"], None, "completion")
        except Exception as fault:
            self._books.fault(fault)
            said = seen.answer
            return Call(seen.status, model=seen.model, output=said.output, finish_reason=said.finish_reason)

    def _expected(self, row: Row) -> float:
        """What both orders will cost: the mean of the latest; before there is one, by length and price."""
        if latest := self._costs[-_LATEST:]:
            return sum(latest) / len(latest)
        given = sum(len(m["content"]) for m in prompt(row, ORDERS[0], self._rubric)) / _CHARACTERS_A_TOKEN
        return len(ORDERS) * (given * self._price[0] + _VERDICT_TOKENS * self._price[1])


def pairs_to_judge(
    frame: pl.DataFrame, *, sample: float, arm: str | None, labelled: bool
) -> tuple[pl.DataFrame, list[Row]]:
    """The finished pairs that may be judged, and the rows of those that will be, in a random order.

    The order is that of a hash of the pair's id: those judged before a budget or an interrupt ends it are
    a random sample, and the same in each run.
    """
    arms = frame["arm"].unique(maintain_order=True).drop_nulls().to_list()
    if arm == CONTROL:
        raise ConfigError(f"arm={arm!r}: its two sides are one model, which there is no sense in judging.")
    if arm is not None and arm not in arms:
        raise ConfigError(f"arm={arm!r}: no pair is of this arm; there are {arms}.")
    _check_sample(sample)
    answered = [
        (pl.col(f"{side}_status") == "ok")
        & pl.any_horizontal(pl.col(f"{side}_output", f"{side}_tool_calls").is_not_null())
        for side in ("primary", "silent")
    ]
    pairs = frame.filter(
        *answered,
        pl.col("arm") == arm if arm is not None else pl.col("arm") != CONTROL,
        # what is recorded of vectors is their number
        pl.col("call_type").ne_missing("embedding"),
        pl.col("judge_preference").is_null(),
        pl.lit(labelled) | pl.col("preference").is_null(),
    )
    ids = pairs["pair_id"].unique().to_list()
    drawn = sorted((unit_hash("judge", pair_id), pair_id) for pair_id in ids)
    chosen = drawn[:sample] if isinstance(sample, int) else [one for one in drawn if one[0] < sample]
    order = pl.DataFrame({"pair_id": [pair_id for _, pair_id in chosen]}, schema={"pair_id": pl.String})
    shown = pairs.select(_SHOWN).filter(pl.col("pair_id").is_in(order["pair_id"].implode()))
    rows = order.join(shown.unique("pair_id"), on="pair_id", how="left", maintain_order="left")
    return pairs, rows.to_dicts()


def check_judge(
    adapter: Adapter, group: object, rubric: object, frame: pl.DataFrame, pairs: pl.DataFrame
) -> set[str]:
    """Say what is wrong with a judge: it must be a group of the router, and no model of either side.

    `pairs` are those of the frame that may be judged. Gives the bare names of the models judged.
    """
    groups = adapter.groups()
    if not isinstance(group, str) or not adapter.knows(group):
        raise ConfigError(f"model={group!r} is no model group of this router, which has {groups}.")
    if not isinstance(rubric, str) or not rubric.strip():
        raise ConfigError(f"rubric={rubric!r}: say in a text what makes an answer the better one.")
    sides = _names(frame, "model_group") | (_names(frame, "arm") - {CONTROL})
    if adapter.resolved(group) in map(adapter.resolved, sides):
        raise ConfigError(f"model={group!r} is one of the groups that it would judge. {_OTHER}")
    answered = _names(pairs, "primary_model") | _names(pairs, "silent_model")
    theirs = {bare_model(name) for name in answered}.union(*map(adapter.models_of, sides))
    if shared := sorted(adapter.models_of(group) & theirs):
        raise ConfigError(f"model={group!r} is served by {shared[0]!r}, which it would judge. {_OTHER}")
    return theirs


def _check_sample(sample: object) -> None:
    whole = isinstance(sample, int) and not isinstance(sample, bool) and sample >= 0
    if not whole and not (isinstance(sample, float) and 0 <= sample <= 1):
        raise ConfigError(f"sample={sample!r}: give a share from 0.0 to 1.0, or a whole number of pairs.")


def _names(frame: pl.DataFrame, column: str) -> set[str]:
    return set(frame[column].drop_nulls().unique().to_list())
