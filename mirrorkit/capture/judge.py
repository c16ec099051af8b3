"""A model of the router judges pairs: which ones, who may judge, and the calls, blocking or awaited."""

import warnings
from collections.abc import Callable, Generator, Mapping
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import polars as pl

from mirrorkit.capture.adapter import Adapter, bare_model
from mirrorkit.capture.mirror import Mirror
from mirrorkit.capture.observe import Seen
from mirrorkit.capture.policy import unit_hash
from mirrorkit.capture.verdicts import ORDERS, RESPONSE_FORMAT, Side, Verdict, prompt, read_verdict, settled
from mirrorkit.capture.watch import Watch
from mirrorkit.errors import ConfigError, MirrorWarning
from mirrorkit.records import CONTROL, Call, Judgement

JUDGE_TAG = "is_mirrorkit_judge"

_SHOWN = (
    "pair_id",
    "messages",
    "primary_output",
    "primary_tool_calls",
    "silent_output",
    "silent_tool_calls",
)
_SUMMARY = ("pair_id", "arm", "judge_preference", "judge_flipped", "judge_reason", "judge_cost_usd")
_ATTEMPTS = 2
# What the first verdicts are taken to cost, before one is known: as common tokenizers count, roughly.
_CHARACTERS_A_TOKEN = 4
_VERDICT_TOKENS = 100
_LATEST = 100

Row = dict[str, Any]
Steps = Generator[dict[str, Any], Call, None]


class Judge:
    """Asks one model group about pairs, each in both orders; every verdict goes to `sink` as it comes.

    What is asked next is decided in one place, `_steps`, which `judge` and `ajudge` drive.
    """

    def __init__(
        self,
        group: str,
        rubric: str,
        mirror: Mirror,
        sink: Callable[[str, Judgement], None],
    ) -> None:
        self._group = group
        self._rubric = rubric
        self._adapter = mirror.adapter
        self._books = mirror.books
        self._recorder = mirror.recorder
        self._sink = sink
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

    def summary(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The pairs that were judged, of a frame that has their verdicts; warns if the budget ended it."""
        if self._left:
            asked = len(self._left) + len(self._done)
            warnings.warn(
                f"budget_usd={self._books.spending.limit:g} is spent: {len(self._left):,} of {asked:,} pairs "
                "were not judged. Those that were are a random sample of them.",
                MirrorWarning,
                stacklevel=3,
            )
        done = pl.Series(self._done, dtype=pl.String).implode()
        return frame.filter(pl.col("pair_id").is_in(done)).select(_SUMMARY)

    def _steps(self, row: Row) -> Steps:
        """One pair: yields the keywords of each call, and is sent what came of it."""
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
            call = yield self._kwargs(row, first)
            calls.append(call)
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
        except Exception as error:
            seen = watch.failed(error)
        return self._priced(seen, kwargs)

    def _priced(self, seen: Seen, kwargs: Mapping[str, Any]) -> Call:
        return self._recorder.pricer.call(seen, kwargs["messages"], None, "completion")

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
    rows = pairs.select(_SHOWN).unique("pair_id").to_dicts()
    drawn = sorted((unit_hash("judge", row["pair_id"]), row["pair_id"], row) for row in rows)
    if isinstance(sample, int):
        return pairs, [row for _, _, row in drawn[:sample]]
    return pairs, [row for share, _, row in drawn if share < sample]


def check_judge(
    adapter: Adapter, group: object, rubric: object, frame: pl.DataFrame, pairs: pl.DataFrame
) -> None:
    """Say what is wrong with a judge: it must be a group of the router, and no model of either side.

    `pairs` are those of the frame that may be judged.
    """
    groups = adapter.groups()
    if not isinstance(group, str) or not adapter.knows(group):
        raise ConfigError(f"model={group!r} is no model group of this router, which has {groups}.")
    if not isinstance(rubric, str) or not rubric.strip():
        raise ConfigError(f"rubric={rubric!r}: say in a text what makes an answer the better one.")
    other = "A judge must be a model of neither side: name another group, or add one to the router."
    sides = _names(frame, "model_group") | (_names(frame, "arm") - {CONTROL})
    if adapter.resolved(group) in map(adapter.resolved, sides):
        raise ConfigError(f"model={group!r} is one of the groups that it would judge. {other}")
    answered = _names(pairs, "primary_model") | _names(pairs, "silent_model")
    theirs = {bare_model(name) for name in answered}.union(*map(adapter.models_of, sides))
    if shared := sorted(adapter.models_of(group) & theirs):
        raise ConfigError(f"model={group!r} is served by {shared[0]!r}, which it would judge. {other}")


def _check_sample(sample: object) -> None:
    whole = isinstance(sample, int) and not isinstance(sample, bool) and sample >= 0
    if not whole and not (isinstance(sample, float) and 0 <= sample <= 1):
        raise ConfigError(f"sample={sample!r}: give a share from 0.0 to 1.0, or a whole number of pairs.")


def _names(frame: pl.DataFrame, column: str) -> set[str]:
    return set(frame[column].drop_nulls().unique().to_list())
