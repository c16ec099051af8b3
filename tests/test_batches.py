"""A batch is an experiment: the sides are sent together, it ends with its pairs, and says what came of it."""

import asyncio
import threading
from typing import Any

import litellm
import pytest

import mirrorkit as mk
from mirrorkit.simulator import Reply

MESSAGES = [{"role": "user", "content": "Where is my parcel?"}]


@pytest.fixture
def models(sim: Any) -> list[dict[str, Any]]:
    return [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")]


def run(drive: Any, session: Any, requests: Any, **options: Any) -> list[Any]:
    return drive.call(session, "run", requests, progress=False, **options)


def test_both_sides_are_sent_before_either_has_answered(sim: Any, models: Any) -> None:
    with mk.MirrorSession(models, silent_model="next", control=1.0) as session:
        with sim.hold("gpt-4o") as primary, sim.hold("gpt-4o-mini") as silent:
            runner = threading.Thread(target=run_in_thread, args=(session, 2))
            runner.start()
            primary.wait_for(4)
            silent.wait_for(2)
            primary.release()
            silent.release()
            runner.join(60)
        assert session.frame.height == 4
        assert set(session.frame["silent_status"]) == {"ok"}


def run_in_thread(session: Any, many: int) -> None:
    session.run([f"Parcel {n}" for n in range(many)], concurrency=many, progress=False)


def test_now_the_one_goes_first_and_now_the_other(models: Any) -> None:
    async def main() -> Any:
        async with mk.MirrorSession(models, silent_model="next", seed=1) as session:
            await session.arun([f"Parcel {n}" for n in range(30)], concurrency=1, progress=False)
            return session.frame["lag_s"]

    lags = asyncio.run(main())
    assert lags.null_count() == 0
    assert 5 <= (lags < 0).sum() <= 25


def test_a_deployment_that_decides_by_itself_goes_first(sim: Any, drive: Any) -> None:
    models = [
        sim.deployment("chat", "gpt-4o", silent_model="next"),
        sim.deployment("chat", "gpt-4.1", silent_model="other"),
        sim.deployment("next", "gpt-4o-mini"),
        sim.deployment("other", "gpt-4.1-mini"),
    ]
    with mk.MirrorSession(models) as session:
        run(drive, session, [f"Parcel {n}" for n in range(20)], model="chat")
        frame = session.frame
    assert frame.height == 20
    assert (frame["lag_s"] >= 0).all()
    assert {(p, s) for p, s in frame.select("primary_model", "arm").rows()} <= {
        ("gpt-4o", "next"),
        ("gpt-4.1", "other"),
    }


def test_a_model_group_that_does_not_exist_is_refused_before_the_first_call(
    sim: Any, models: Any, drive: Any
) -> None:
    with mk.MirrorSession(models, silent_model="next") as session:
        with pytest.raises(mk.ConfigError, match=r"model: 'typo' is no model group.*'chat', 'next'"):
            run(drive, session, ["Hi"], model="typo")
        assert session.funnel.requests == 0
    assert not sim.requests


def test_a_batch_in_which_every_primary_fails_says_why(sim: Any, drive: Any) -> None:
    models = [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")]
    models[0]["litellm_params"]["api_key"] = "sk-wrong-0123456789abcdef"
    # one attempt: each would be refused alike
    router = litellm.Router(model_list=models, num_retries=0)
    with mk.MirrorSession(router, silent_model="next") as session:
        with pytest.warns(mk.MirrorWarning, match="3 of 3 primaries failed: AuthenticationError") as caught:
            answers = run(drive, session, ["Hi"] * 3)
        assert not any("sk-wrong" in str(each.message) for each in caught)
    assert all(isinstance(answer, litellm.AuthenticationError) for answer in answers)


def test_the_answers_of_an_interrupted_batch_can_be_had_and_what_was_not_sent_is_not_sent(
    sim: Any, models: Any
) -> None:
    async def main(session: Any) -> None:
        running = asyncio.create_task(session.arun(["Hi"] * 6, concurrency=1, progress=False))
        await asyncio.to_thread(hold.wait_for, 1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    with mk.MirrorSession(models, silent_model="next") as session:
        assert len(session.run(["Ho"] * 2, progress=False)) == 2
        with sim.hold("gpt-4o") as hold:
            asyncio.run(main(session))
        assert session.answers == [None] * 6
        assert session.drain(60)
        assert sim.count("gpt-4o") == 3
        assert session.completion("chat", MESSAGES).choices
    assert session.frame["primary_status"].to_list() == ["ok", "ok", "cancelled", "ok"]


def test_batches_that_run_at_once_give_each_its_own_answers(models: Any) -> None:
    async def main() -> tuple[list[Any], list[Any]]:
        async with mk.MirrorSession(models, silent_model="next") as session:
            runs = [session.arun([f"Parcel {n}"] * n, progress=False) for n in (1, 3)]
            one, three = await asyncio.gather(*runs)
            return one, three

    one, three = asyncio.run(main())
    assert (len(one), len(three)) == (1, 3)
    assert None not in [*one, *three]


@pytest.mark.parametrize("after", range(0, 14, 2))
def test_a_batch_that_is_cancelled_at_any_step_leaves_a_row_for_each_mirror(models: Any, after: int) -> None:
    async def main(session: Any) -> None:
        running = asyncio.create_task(session.arun(["Hi"] * 6, concurrency=4, progress=False))
        for _ in range(after):
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert await session.adrain(60)

    with mk.MirrorSession(models, silent_model="next", seed=1) as session:
        asyncio.run(main(session))
        funnel, frame = session.funnel, session.frame
        assert funnel.under_way == 0
        assert frame.height == funnel.mirrored
        # nothing that was given up keeps later pairs from being compared
        session.completion("chat", MESSAGES)
        session.drain(60)
        assert session.complete_before > session.frame["started_at"].max()


def test_a_close_amid_a_batch_leaves_a_row_for_each_mirror(sim: Any, models: Any) -> None:
    session = mk.MirrorSession(models, silent_model="next")
    with sim.hold("gpt-4o") as hold:
        runner = threading.Thread(target=run_in_thread, args=(session, 3))
        runner.start()
        hold.wait_for(3)
        assert session.drain(0.3) is False
        session.close(timeout_s=0.3)
        hold.release()
        runner.join(60)
    frame = session.frame
    assert frame.height == session.funnel.mirrored == 3
    assert set(frame["primary_status"]) == {"unknown"}


@pytest.mark.slow
@pytest.mark.parametrize("journal", [False, True])
def test_nothing_is_sent_once_a_session_is_closed(
    sim: Any, models: Any, drive: Any, tmp_path: Any, journal: bool
) -> None:
    options = {"journal": tmp_path} if journal else {}
    for _ in range(3):
        session, before = mk.MirrorSession(models, silent_model="next", **options), sim.count("gpt-4o-mini")
        drive.chat(session)
        drive.call(session, "close", 0)
        assert session.funnel.mirrored + session.funnel.cancelled == 1
        assert session.frame.height >= session.funnel.mirrored
        drive.chat(mk.MirrorSession(models, silent_model="next", sample=0.0))
        # what was cancelled is never sent; one that LiteLLM was just sending gets there once, and has its row
        assert sim.count("gpt-4o-mini") - before <= session.funnel.mirrored


def test_what_waits_is_not_sent_once_a_session_is_closed(sim: Any, models: Any, drive: Any) -> None:
    with sim.hold("gpt-4o-mini") as hold:
        session = mk.MirrorSession(models, silent_model="next", max_in_flight=1)
        for _ in range(3):
            drive.chat(session)
        drive.run(asyncio.to_thread(hold.wait_for, 1)) if drive.is_async else hold.wait_for(1)
        drive.call(session, "close", 0)
        sent = sim.count("gpt-4o-mini")
        hold.release()
    drive.chat(mk.MirrorSession(models, silent_model="next", sample=0.0))
    assert sim.count("gpt-4o-mini") == sent == 1
    assert session.frame["silent_status"].to_list() == ["cancelled"] * session.funnel.mirrored


def test_run_works_in_a_cell_whose_loop_has_mirrors_under_way(sim: Any, models: Any) -> None:
    async def cell(session: Any) -> list[Any]:
        with sim.hold("gpt-4o-mini") as hold:
            await session.acompletion("chat", MESSAGES)
            await session.adrain(0.1)
            hold.release()
        return session.run(["Hi"] * 2, progress=False)

    with mk.MirrorSession(models, silent_model="next") as session:
        assert len(asyncio.run(cell(session))) == 2
        session.drain(60)
        assert session.frame.height == 3


def test_cancel_drops_what_waits_and_counts_it(sim: Any, models: Any, drive: Any) -> None:
    with sim.hold("gpt-4o-mini") as hold:
        session = mk.MirrorSession(models, silent_model="next", max_in_flight=1)
        for _ in range(3):
            drive.chat(session)
        # an event loop has to run for a silent call to start on it
        assert drive.call(session, "drain", 0.5) is False
        hold.wait_for(1)
        assert session.cancel() == 2
        hold.release()
        drive.drain(session)
        drive.close(session)
    assert sorted(session.frame["silent_status"].to_list()) == ["cancelled", "cancelled", "ok"]


def test_nothing_is_mirrored_while_paused(sim: Any, models: Any, drive: Any) -> None:
    with mk.MirrorSession(models, silent_model="next") as session:
        session.pause()
        drive.chat(session)
        session.resume()
        drive.chat(session)
        drive.drain(session)
        assert (session.funnel.paused, session.funnel.mirrored, session.frame.height) == (1, 1, 1)


def test_the_environment_switches_all_sessions_off(models: Any, drive: Any, monkeypatch: Any) -> None:
    with mk.MirrorSession(models, silent_model="next") as session:
        monkeypatch.setenv("MIRRORKIT_DISABLED", "1")
        assert drive.chat(session).choices
        monkeypatch.setenv("MIRRORKIT_DISABLED", "0")
        drive.chat(session)
        drive.drain(session)
        assert (session.funnel.paused, session.funnel.mirrored) == (1, 1)


def test_one_reason_for_which_all_silent_calls_fail_is_named(sim: Any, drive: Any) -> None:
    models = [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")]
    models[1]["litellm_params"]["api_key"] = "sk-wrong-0123456789abcdef"
    with (
        pytest.warns(mk.MirrorWarning, match="first 10 silent calls of 'next' have failed alike: Auth"),
        mk.MirrorSession(models, silent_model="next", silent_retries=0) as session,
    ):
        for _ in range(10):
            drive.chat(session)
        drive.drain(session)


def test_silent_calls_are_retried_as_primaries_are(sim: Any, models: Any, drive: Any) -> None:
    """A default Router tries a failing call twice more; so it does with a silent one."""
    for name in ("gpt-4o", "gpt-4o-mini"):
        sim.script(name, Reply(fault="500"))
    with mk.MirrorSession(models, silent_model="next") as session:
        drive.chat(session)
        drive.drain(session)
        row = session.frame.row(0, named=True)
    assert (row["primary_status"], row["silent_status"]) == ("ok", "ok")
    assert (row["primary_attempts"], row["silent_attempts"]) == (2, 2)
