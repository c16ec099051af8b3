"""`complete_before`: what started before it is recorded, all of it, however requests end."""

import asyncio
import gc
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import litellm
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mirrorkit as mk
from mirrorkit.capture.mirror import Mirror
from mirrorkit.capture.policy import Policy
from mirrorkit.capture.router.adapter import Adapter
from mirrorkit.capture.underway import UnderWay
from mirrorkit.simulator import Reply

MESSAGES = [{"role": "user", "content": "Where is my parcel?"}]
START = datetime(2026, 11, 22, tzinfo=UTC)
ARMS = ("next", "other")


# -- by itself

steps = st.one_of(
    st.just(("enter", 0)),
    st.tuples(st.sampled_from(["mirror", "refuse", "record"]), st.integers(0, 9)),
    st.tuples(st.just("clock"), st.integers(-3, 3)),
)


@given(st.lists(steps, max_size=60))
def test_before_its_answer_all_is_over_and_nothing_starts_whatever_the_clock_does(
    plan: list[tuple[str, int]],
) -> None:
    time = START
    requests = UnderWay(lambda: time)
    left: dict[datetime, list[str | None]] = {}
    said = START - timedelta(1)
    for step, value in plan:
        if step == "clock":
            time += timedelta(microseconds=value)
        elif step == "enter":
            started_at = requests.enter()
            assert started_at > max(left, default=said)
            assert started_at >= said
            left[started_at] = [None]
        elif left:
            started_at = sorted(left)[value % len(left)]
            arms = left[started_at]
            if step == "mirror" and None in arms and len(arms) == 1:
                requests.expect(started_at, ARMS)
                arms += ARMS
            if arms:
                requests.leave(started_at, arms.pop(0 if step == "refuse" else -1))
        said = requests.oldest()
        under_way = [started_at for started_at, arms in left.items() if arms]
        assert said == min(under_way, default=said)
        assert all(started_at < said for started_at in left if not under_way)


def test_leaving_twice_is_leaving_once() -> None:
    requests = UnderWay()
    first, second = requests.enter(), requests.enter()
    requests.expect(first, ["next"])
    requests.leave(first)
    requests.leave(first)
    assert requests.oldest() == first
    requests.leave(first, "next")
    requests.leave(first, "next")
    assert requests.oldest() == second


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("restless")
def test_its_answer_holds_while_other_threads_start_and_end_requests() -> None:
    requests, recorded = UnderWay(), []

    def work() -> None:
        for _ in range(400):
            started_at = requests.enter()
            requests.expect(started_at, ARMS)
            requests.leave(started_at)
            for arm in ARMS:
                recorded.append((started_at, arm))
                requests.leave(started_at, arm)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    looks = []
    while any(worker.is_alive() for worker in workers):
        looks.append((requests.oldest(), len(recorded)))
    for worker in workers:
        worker.join()
    late = [(said, had) for said, had in looks if any(started < said for started, _ in recorded[had:])]
    assert late == []
    assert len({started for started, _ in recorded}) == 1_600


# -- in a session


def deployments(sim: Any) -> list[dict[str, Any]]:
    names = {"chat": "gpt-4o", "quick": "gpt-4.1", "next": "gpt-4o-mini", "other": "gpt-4.1-mini"}
    return [sim.deployment(group, model) for group, model in names.items()]


def session_on(sim: Any, silent: Any = "next", **options: Any) -> mk.MirrorSession:
    return mk.MirrorSession(deployments(sim), silent_model=silent, **options)


def wait_for_pairs(session: mk.MirrorSession, drive: Any, pairs: int) -> None:
    for _ in range(500):
        if len(session) >= pairs:
            return
        drive.call(session, "drain", 0.02)
    raise AssertionError(f"{len(session)} of {pairs} pairs came")


def oldest_of(session: mk.MirrorSession) -> datetime:
    """The start of the oldest request under way; where none is, no two looks agree."""
    said = session.complete_before
    assert session.complete_before == said
    return said


def assert_nothing_under_way(session: mk.MirrorSession) -> None:
    before = datetime.now(UTC)
    assert session.complete_before >= before
    assert all(started_at < before for started_at in session.frame["started_at"])


def test_it_is_the_start_of_the_oldest_whose_silent_call_is_held_and_moves_on(sim: Any, drive: Any) -> None:
    with (
        session_on(sim, {"chat": "next", "quick": "other"}) as session,
        sim.hold("gpt-4o-mini") as hold,
    ):
        assert_nothing_under_way(session)
        drive.chat(session, "quick")
        wait_for_pairs(session, drive, 1)
        drive.chat(session, "chat")
        drive.chat(session, "quick")
        wait_for_pairs(session, drive, 2)
        said = oldest_of(session)
        early, late = session.frame.sort("started_at")["started_at"]
        assert early < said < late
        hold.release()
        drive.drain(session)
        assert session.frame.filter(model_group="chat")["started_at"].to_list() == [said]
        assert_nothing_under_way(session)


def test_a_request_is_over_when_the_last_of_its_arms_is_recorded(sim: Any, drive: Any) -> None:
    with session_on(sim, ["next", "other"], control=1.0) as session, sim.hold("gpt-4o-mini") as hold:
        drive.chat(session)
        wait_for_pairs(session, drive, 2)
        assert set(session.frame["arm"]) == {"other", "control"}
        assert {session.complete_before} == set(session.frame["started_at"])
        hold.release()
        drive.drain(session)
        assert_nothing_under_way(session)


def test_a_request_is_under_way_before_its_primary_answers(sim: Any) -> None:
    with session_on(sim) as session, sim.hold("gpt-4o") as hold:
        primary = threading.Thread(target=session.completion, args=("chat", MESSAGES))
        primary.start()
        hold.wait_for(1)
        said = oldest_of(session)
        session.completion("quick", MESSAGES)
        assert session.drain(20)
        assert session.complete_before == said
        hold.release()
        primary.join()
        assert session.drain(20)
        assert session.frame.sort("started_at")["started_at"][0] == said
        assert_nothing_under_way(session)


@pytest.mark.parametrize("end", ["read", "leave", "lose"])
def test_a_stream_that_is_half_read_is_under_way_until_its_reader_is_done(
    sim: Any, drive: Any, end: str
) -> None:
    with session_on(sim) as session:
        stream = drive.chat(session, stream=True)
        drive.read(stream, 2)
        said = oldest_of(session)
        drive.chat(session)
        drive.drain(session)
        assert session.complete_before == said < session.frame["started_at"][0]
        with sim.hold("gpt-4o-mini"):
            if end == "lose":
                del stream
                gc.collect()
            else:
                getattr(drive, end)(stream)
            assert session.complete_before == said
        drive.drain(session)
        first = session.frame.sort("started_at").row(0, named=True)
        assert first["started_at"] == said
        assert first["primary_status"] == ("ok" if end == "read" else "abandoned")
        assert_nothing_under_way(session)


def test_a_look_sends_the_mirror_of_a_stream_that_was_dropped(sim: Any) -> None:
    with session_on(sim) as session, sim.hold("gpt-4o-mini") as hold:
        stream = session.completion("chat", MESSAGES, stream=True)
        next(stream)
        said = oldest_of(session)
        del stream
        gc.collect()
        assert session.complete_before == said
        hold.wait_for(1)


def test_a_cancelled_primary_is_over_at_once(sim: Any) -> None:
    async def main() -> None:
        task = asyncio.create_task(session.acompletion("chat", MESSAGES))
        await asyncio.to_thread(hold.wait_for, 1)
        assert oldest_of(session) < datetime.now(UTC)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert_nothing_under_way(session)

    with session_on(sim) as session, sim.hold("gpt-4o") as hold:
        asyncio.run(main())
        assert session.funnel.cancelled == 1


def test_a_failing_primary_is_under_way_until_its_mirror_is_recorded(sim: Any, drive: Any) -> None:
    with session_on(sim) as session, sim.hold("gpt-4o-mini") as hold:
        sim.script("gpt-4o", Reply(fault="400"))
        with pytest.raises(litellm.BadRequestError):
            drive.chat(session)
        said = oldest_of(session)
        hold.release()
        drive.drain(session)
        assert session.frame["started_at"].to_list() == [said]
        assert_nothing_under_way(session)


def refuse(_: mk.Request) -> bool:
    return False


def broken(_: mk.Request) -> bool:
    raise RuntimeError("my filter is broken")


@pytest.mark.filterwarnings("ignore::mirrorkit.errors.MirrorWarning")
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"sample": 0.0}, "sampled_out"),
        ({"budget_usd": 0.0}, "over_budget"),
        ({"where": refuse}, "filtered"),
        ({"where": broken}, "faulted"),
        ({"silent": {"quick": "next"}}, "no_silent_model"),
    ],
)
def test_a_request_that_is_not_mirrored_leaves_nothing_behind(
    sim: Any, drive: Any, options: dict[str, Any], reason: str
) -> None:
    with session_on(sim, **options) as session:
        drive.chat(session)
        assert session.funnel[reason] == 1
        assert_nothing_under_way(session)


def test_an_interrupted_filter_leaves_nothing_behind(sim: Any, drive: Any) -> None:
    def interrupted(_: mk.Request) -> bool:
        raise KeyboardInterrupt

    with session_on(sim, where=interrupted) as session:
        with pytest.raises(KeyboardInterrupt):
            drive.chat(session)
        assert_nothing_under_way(session)


def test_where_sees_a_request_that_is_under_way_already(sim: Any, drive: Any) -> None:
    seen = []

    def look(request: mk.Request) -> bool:
        seen.append((request.started_at, session.complete_before))
        return False

    with session_on(sim, where=look) as session:
        drive.chat(session)
    assert seen[0][0] == seen[0][1]


def test_a_deployment_without_a_silent_model_leaves_nothing_behind(sim: Any, drive: Any) -> None:
    """Known only when its primary is done, and another deployment's silent model could have been asked."""
    models = [*deployments(sim), sim.deployment("mirrored", "gpt-4o", silent_model="next")]
    with mk.MirrorSession(models) as session:
        drive.chat(session)
        assert session.funnel.no_silent_model == 1
        assert_nothing_under_way(session)


def test_a_budget_that_is_spent_meanwhile_leaves_nothing_behind(sim: Any) -> None:
    async def main() -> None:
        primaries = asyncio.gather(*(session.acompletion("chat", MESSAGES) for _ in range(3)))
        await asyncio.to_thread(hold.wait_for, 3)
        hold.release()
        await primaries
        await session.adrain(20)

    with session_on(sim, budget_usd=1e-12) as session, sim.hold("gpt-4o") as hold:
        asyncio.run(main())
        assert session.funnel.over_budget == 2
        assert session.frame.height == 1
        assert_nothing_under_way(session)


def test_a_request_that_found_no_room_leaves_nothing_behind(sim: Any, drive: Any) -> None:
    with session_on(sim, max_in_flight=1, max_waiting=0) as session, sim.hold("gpt-4o-mini") as hold:
        drive.chat(session)
        said = oldest_of(session)
        drive.chat(session)
        assert session.funnel.saturated == 1
        hold.release()
        drive.drain(session)
        assert session.frame["started_at"].to_list() == [said]
        assert_nothing_under_way(session)


def test_silent_calls_that_are_given_up_are_over(sim: Any) -> None:
    with sim.hold("gpt-4o-mini") as hold:
        session = session_on(sim, max_in_flight=1)
        with pytest.raises(KeyboardInterrupt), session:
            for _ in range(3):
                session.completion("chat", MESSAGES)
            hold.wait_for(1)
            hold.release()
            raise KeyboardInterrupt
    assert session.frame.height == 3
    assert_nothing_under_way(session)


def test_what_a_dead_loop_cut_off_is_under_way_until_it_is_made_again(sim: Any) -> None:
    async def main() -> None:
        await session.acompletion("chat", MESSAGES)
        await asyncio.to_thread(hold.wait_for, 1)

    with session_on(sim) as session, sim.hold("gpt-4o-mini") as hold:
        asyncio.run(main())
        said = oldest_of(session)
        hold.release()
        assert session.drain(20)
        assert session.frame["started_at"].to_list() == [said]
        assert_nothing_under_way(session)


@pytest.mark.filterwarnings("ignore::mirrorkit.errors.MirrorWarning")
def test_a_pair_is_over_after_the_sink_and_also_when_that_refuses_it(sim: Any) -> None:
    looks = []

    def full(pair: mk.Pair) -> None:
        looks.append((pair.started_at, mirror.complete_before))
        raise OSError("the disk is full")

    mirror = Mirror(
        Adapter(deployments(sim)), Policy(), {None: ("next",)}, None, None, "shared", UnderWay(), full
    )
    with sim.hold("gpt-4o-mini") as hold:
        mirror.call("completion", {"model": "chat", "messages": MESSAGES})
        said = mirror.complete_before
        hold.release()
        assert mirror.dispatcher.drain(20)
    assert looks == [(said, said)]
    assert "the disk is full" in str(mirror.books.last_fault)
    before = datetime.now(UTC)
    assert mirror.complete_before >= before
    mirror.dispatcher.shut_down()
    mirror.adapter.give_back()


def test_metadata_that_cannot_be_copied_are_sent_and_leave_nothing_behind(sim: Any, drive: Any) -> None:
    class Stubborn(dict[str, Any]):
        def copy(self) -> Any:
            raise RuntimeError("no copy of me")

    with session_on(sim) as session:
        assert drive.chat(session, metadata={"mine": Stubborn()}).choices
        drive.drain(session)
        assert session.funnel.mirrored == len(session) == 1
        assert_nothing_under_way(session)


@pytest.mark.slow
def test_at_every_look_amid_traffic_no_pair_that_started_before_is_missing(sim: Any, drive: Any) -> None:
    looks: list[tuple[datetime, pl.DataFrame]] = []
    over = threading.Event()
    with session_on(sim, ["next", "other"], control=0.5, seed=1) as session:

        def watch() -> None:
            while not over.wait(0.001):
                looks.append((session.complete_before, session.frame))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            drive.call(session, "run", ["Hi", "Ho"] * 15, model="chat", concurrency=8, progress=False)
        finally:
            over.set()
            watcher.join()
        everything = session.frame
        assert_nothing_under_way(session)
    assert everything["started_at"].n_unique() == 30
    assert len({said for said, _ in looks}) > 3
    for said, frame in looks:
        before = pl.col("started_at") < said
        assert frame.filter(before).height == everything.filter(before).height
