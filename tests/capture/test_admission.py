"""What a session is told to keep to holds over real HTTP, by blocking calls and by awaited ones."""

import threading
import time
from typing import Any

import pytest

import mirrorkit as mk
from mirrorkit.simulator import Reply

MESSAGES = [{"role": "user", "content": "Where is my parcel?"}]


def session_on(sim: Any, silent: Any = "next", **options: Any) -> mk.MirrorSession:
    models = [
        sim.deployment("chat", "gpt-4o"),
        sim.deployment("next", "gpt-4o-mini"),
        sim.deployment("other", "gpt-4.1"),
    ]
    return mk.MirrorSession(models, silent_model=silent, **options)


class TestRate:
    def test_silent_calls_start_at_most_at_the_rate_and_all_of_them_do(self, sim: Any, drive: Any) -> None:
        with session_on(sim, mirror_rate=20) as session:
            began = time.monotonic()
            for _ in range(5):
                drive.chat(session)
            drive.drain(session)
            assert time.monotonic() - began >= 4 / 20
            assert session.frame.height == 5
            drive.close(session)

    def test_what_the_rate_holds_back_is_saturated_past_max_waiting(self, sim: Any, drive: Any) -> None:
        with session_on(sim, mirror_rate=1e-6, max_in_flight=1, max_waiting=1) as session:
            drive.chat(session)
            drive.drain(session)
            for _ in range(4):
                drive.chat(session)
            funnel = session.funnel
            assert (funnel.mirrored, funnel.saturated, session.under_way) == (3, 2, 2)
            session._mirror.dispatcher.give_up()
            drive.close(session)
        assert session.frame["silent_status"].to_list() == ["ok", "cancelled", "cancelled"]

    def test_a_rate_of_nothing_is_refused(self, sim: Any) -> None:
        with pytest.raises(mk.ConfigError, match="mirror_rate=0: give a number above 0"):
            session_on(sim, mirror_rate=0)


class TestRetryAfter:
    @pytest.mark.parametrize("stream", [False, True])
    def test_a_group_that_is_refused_is_given_time_and_the_others_go_on(
        self, sim: Any, drive: Any, stream: bool
    ) -> None:
        sim.script("gpt-4o-mini", Reply(fault="429", retry_after_s=1_000))
        with session_on(sim, ["next", "other"], silent_retries=0) as session:
            for _ in range(3):
                answer = drive.chat(session, stream=stream)
                if stream:
                    drive.read(answer)
                if session.funnel.requests == 1:
                    drive.drain(session)
            dispatcher = session._mirror.dispatcher
            assert 900 < dispatcher.paused["next"] <= 1_000
            assert dispatcher.paused.keys() == {"next"}
            # those that may are made, and those that would wait too long are dropped
            drive.drain(session)
            assert (sim.count("gpt-4o-mini"), sim.count("gpt-4.1")) == (1, 3)
            drive.close(session)
        statuses = session.frame.filter(arm="next")["silent_status"].to_list()
        assert statuses == ["error", "cancelled", "cancelled"]
        assert session.frame.filter(arm="other")["silent_status"].to_list() == ["ok"] * 3

    def test_the_group_goes_on_when_its_time_is_over(self, sim: Any, drive: Any) -> None:
        sim.script("gpt-4o-mini", Reply(fault="429", retry_after_s=0.2))
        with session_on(sim, silent_retries=0) as session:
            drive.chat(session)
            drive.drain(session)
            refused = time.monotonic()
            held = session._mirror.dispatcher.paused.get("next", 0.0)
            drive.chat(session)
            drive.drain(session)
            assert time.monotonic() - refused >= held
            assert session.frame["silent_status"].to_list() == ["error", "ok"]
            drive.close(session)

    def test_a_control_call_that_is_refused_holds_up_no_primary(self, sim: Any, drive: Any) -> None:
        with session_on(sim, None, control=1.0, silent_retries=0) as session:
            drive.chat(session)
            drive.drain(session)
            session._mirror.dispatcher.pause("chat", 1_000)
            answer = drive.chat(session)
            assert answer.choices[0].message.content
            drive.close(session)
            assert session.frame["silent_status"].to_list() == ["ok", "cancelled"]


@pytest.mark.slow
def test_rate_and_retry_after_hold_for_calls_made_in_a_child_process(sim: Any, drive: Any) -> None:
    sim.script("gpt-4o-mini", Reply(fault="429", retry_after_s=0.5))
    with session_on(sim, mirror_rate=20, isolation="process", silent_retries=0) as session:
        drive.chat(session)
        drive.drain(session)
        refused = time.monotonic()
        held = session._mirror.dispatcher.paused["next"]
        for _ in range(4):
            drive.chat(session)
        drive.drain(session)
        assert time.monotonic() - refused >= held + 3 / 20
        assert session.frame["silent_status"].to_list() == ["error"] + ["ok"] * 4
        drive.close(session)


class TestExactly:
    @pytest.mark.parametrize("silent", ["next", ["next", "other"]])
    def test_concurrent_requests_overstep_the_budget_by_at_most_one_call(
        self, sim: Any, drive: Any, silent: Any
    ) -> None:
        with session_on(sim, silent) as session:
            drive.call(session, "run", [MESSAGES] * 3, model="chat", progress=False)
            dearest, each = session.frame["silent_cost_usd"].max(), session.spent_usd / 3
        budget = 4.5 * each
        with session_on(sim, silent, budget_usd=budget) as session:
            drive.call(session, "run", [MESSAGES] * 24, model="chat", concurrency=12, progress=False)
            funnel = session.funnel
            # answers of this simulator's models are alike in length, but not the same
            assert budget * 0.7 <= session.spent_usd <= budget + 1.5 * dearest
            assert funnel.over_budget == 24 - funnel.mirrored > 0
            drive.close(session)

    def test_max_in_flight_and_max_waiting_hold_however_many_call_at_once(self, sim: Any) -> None:
        gate = threading.Event()
        sim.script("gpt-4o-mini", *[Reply(chunk_gate=gate)] * 30)
        with session_on(sim, max_in_flight=2, max_waiting=3) as session:

            def ask() -> None:
                for _chunk in session.completion("chat", MESSAGES, stream=True):
                    pass

            threads = [threading.Thread(target=ask) for _ in range(12)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
            funnel = session.funnel
            assert (funnel.mirrored, funnel.saturated, session.under_way) == (5, 7, 5)
            assert sim.count("gpt-4o-mini") <= 2
            gate.set()
            session.drain(20)
        assert session.frame.height == 5


def test_a_primary_that_fails_before_any_cost_is_known_does_not_close_the_budget(sim: Any) -> None:
    """Nothing tells what its mirror will cost, and while that waits, others are to be mirrored too."""
    sim.script("gpt-4o", Reply(fault="400"), Reply(fault="400"))
    sim.script("gpt-4o-mini", Reply(fault="400"))
    with session_on(sim, budget_usd=1.0, mirror_rate=1e-6) as session:
        for _ in range(2):
            with pytest.raises(Exception, match="BadRequest"):
                session.completion("chat", MESSAGES, num_retries=0)
            session.drain(0.0 if session.funnel.mirrored > 1 else None)
        session.completion("chat", MESSAGES)
        assert (session.funnel.mirrored, session.funnel.over_budget) == (3, 0)
        session._mirror.dispatcher.give_up()
