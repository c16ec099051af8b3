"""The rules of mirroring, each kept by blocking and by awaited calls, here and in a child, over real HTTP."""

import asyncio
import contextlib
import contextvars
import copy
import gc
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import litellm
import polars as pl
import pytest
from litellm.router_api import ChangeSet
from litellm.types.router import Deployment

import mirrorkit as mk
from mirrorkit.simulator import Reply

MESSAGES = [{"role": "user", "content": "Where is my parcel?"}]


def deployments(sim: Any, **chat: Any) -> list[dict[str, Any]]:
    return [
        sim.deployment("chat", "gpt-4o", **chat),
        sim.deployment("next", "gpt-4o-mini"),
        sim.deployment("other", "gpt-4.1"),
    ]


ISOLATION = ["shared"]


@pytest.fixture(autouse=True)
def isolation(request: pytest.FixtureRequest) -> str:
    """Where the sessions of a test make their silent calls."""
    ISOLATION[:] = [getattr(request, "param", "shared")]
    return ISOLATION[0]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.get_closest_marker("here") is None:
        both = ["shared", pytest.param("process", marks=pytest.mark.slow)]
        metafunc.parametrize("isolation", both, indirect=True)


def session_on(sim: Any, silent: Any = "next", router: Any = None, **options: Any) -> mk.MirrorSession:
    return mk.MirrorSession(
        router or deployments(sim), silent_model=silent, isolation=ISOLATION[0], **options
    )


def within(router: litellm.Router, around: Callable[[str], Any]) -> litellm.Router:
    """The Router, each of whose chat calls is made within `around(model)`."""
    completion, acompletion = router.completion, router.acompletion

    def blocking(model: str, *args: Any, **kwargs: Any) -> Any:
        with around(model):
            return completion(model, *args, **kwargs)

    async def awaited(model: str, *args: Any, **kwargs: Any) -> Any:
        with around(model):
            return await acompletion(model, *args, **kwargs)

    router.completion, router.acompletion = blocking, awaited
    return router


def silent_model_of(router: litellm.Router) -> Any:
    """What LiteLLM itself would mirror requests of the first deployment to."""
    return router.registry().all()[0]["litellm_params"].get("silent_model")


def row(session: mk.MirrorSession, at: int = 0) -> dict[str, Any]:
    return session.frame.row(at, named=True)


class TestAnswers:
    def test_caller_gets_litellms_own_answer_and_the_pair_is_a_row(self, sim: Any, drive: Any) -> None:
        with session_on(sim) as session:
            answer = drive.chat(session)
            drive.drain(session)
            assert isinstance(answer, litellm.ModelResponse)
            pair = row(session)
            assert pair["primary_output"] == answer.choices[0].message.content
            assert (pair["arm"], pair["model_group"], pair["call_type"]) == ("next", "chat", "completion")
            assert (pair["primary_status"], pair["silent_status"]) == ("ok", "ok")
            assert (pair["primary_model"], pair["silent_model"]) == ("gpt-4o", "gpt-4o-mini")
            assert pair["primary_cost_usd"] > pair["silent_cost_usd"] > 0
            assert pair["primary_overhead_s"] > 0
            assert pair["silent_overhead_s"] > 0
            assert pair["lag_s"] >= pair["primary_latency_s"]
            assert json.loads(pair["messages"]) == MESSAGES

    @pytest.mark.parametrize(
        ("name", "text", "embeds"), [("embedding", None, True), ("responses", "output_text", False)]
    )
    def test_embeddings_and_responses_are_mirrored_too(
        self, sim: Any, drive: Any, name: str, text: str | None, embeds: bool
    ) -> None:
        models = [
            sim.deployment("chat", "text-embedding-3-small" if embeds else "gpt-4o"),
            sim.deployment("next", "text-embedding-3-large" if embeds else "gpt-4o-mini"),
        ]
        with session_on(sim, router=models) as session:
            answer = drive.call(session, name, "chat", "Where is my parcel?", user="u1")
            drive.drain(session)
            pair = row(session)
        assert pair["call_type"] == name
        assert (pair["primary_status"], pair["silent_status"]) == ("ok", "ok")
        # a user is no conversation: a service account is one for all
        assert pair["cluster"] is None
        assert pair["primary_input_tokens"] > 0
        assert pair["primary_cost_usd"] > 0
        assert pair["silent_cost_usd"] > 0
        assert json.loads(pair["messages"]) == "Where is my parcel?"
        if text is not None:
            assert pair["primary_output"] == getattr(answer, text)
            assert pair["primary_finish_reason"] == "stop"
        else:
            assert json.loads(pair["primary_output"]) == {"vectors": 1, "dimensions": 8}

    def test_tool_calls_and_json_are_recorded_on_both_sides(self, sim: Any, drive: Any) -> None:
        called = Reply(tool_calls=[{"name": "look_up", "arguments": {"id": 7}}])
        sim.script("gpt-4o", called)
        sim.script("gpt-4o-mini", called)
        with session_on(sim) as session:
            drive.chat(session)
            drive.drain(session)
            pair = row(session)
        for side in ("primary", "silent"):
            calls = json.loads(pair[f"{side}_tool_calls"])
            assert [(c["name"], json.loads(c["arguments"])) for c in calls] == [("look_up", {"id": 7})]
            assert pair[f"{side}_finish_reason"] == "tool_calls"

    def test_cached_and_reasoning_tokens_are_recorded(self, sim: Any, drive: Any) -> None:
        sim.script("gpt-4o", Reply(cached_tokens=2, reasoning_tokens=3))
        with session_on(sim) as session:
            drive.chat(session)
            drive.drain(session)
            pair = row(session)
        assert (pair["primary_cached_input_tokens"], pair["primary_reasoning_tokens"]) == (2, 3)

    def test_several_choices_are_all_recorded(self, sim: Any, drive: Any) -> None:
        with session_on(sim) as session:
            answer = drive.chat(session, n=2)
            drive.drain(session)
            assert json.loads(row(session)["primary_output"]) == [c.message.content for c in answer.choices]


class TestOncePerRequest:
    def test_a_primary_that_is_retried_is_mirrored_once(self, sim: Any, drive: Any) -> None:
        sim.script("gpt-4o", Reply(fault="500"))
        router = litellm.Router(model_list=deployments(sim), num_retries=2, retry_after=0)
        with session_on(sim, router=router) as session:
            drive.chat(session)
            drive.drain(session)
            pair = row(session)
        assert sim.count("gpt-4o") == 2
        assert sim.count("gpt-4o-mini") == 1
        assert (pair["primary_status"], pair["primary_attempts"], pair["silent_attempts"]) == ("ok", 2, 1)

    def test_a_primary_that_fell_back_is_mirrored_once_and_marked(self, sim: Any, drive: Any) -> None:
        sim.script("gpt-4o", Reply(fault="500"))
        router = litellm.Router(
            model_list=deployments(sim, silent_model="next"), num_retries=0, fallbacks=[{"chat": ["other"]}]
        )
        with session_on(sim, silent=None, router=router) as session:
            drive.chat(session)
            drive.drain(session)
            assert session.frame.height == 1
            pair = row(session)
        assert sim.count("gpt-4o-mini") == 1
        assert pair["primary_fell_back"] is True
        assert pair["primary_model"] == "gpt-4.1"
        assert pair["primary_attempts"] == 2
        assert pair["silent_fell_back"] is False

    def test_a_router_that_carries_silent_model_mirrors_once_and_gets_it_back(
        self, sim: Any, drive: Any
    ) -> None:
        router = litellm.Router(model_list=deployments(sim, silent_model="next"))
        session = session_on(sim, silent="next", router=router)
        assert not silent_model_of(router)
        drive.chat(session)
        drive.drain(session)
        assert sim.count("gpt-4o-mini") == 1
        drive.close(session)
        assert silent_model_of(router) == "next"

    def test_a_deployment_added_while_the_session_is_open_is_taken_over(self, sim: Any, drive: Any) -> None:
        router = litellm.Router(model_list=deployments(sim))
        with session_on(sim, router=router) as session:
            added = Deployment(**sim.deployment("new", "gpt-4.1-mini", silent_model="other"))
            router.apply(ChangeSet(upsert=[added]))
            drive.chat(session, model="new")
            drive.drain(session)
            assert sorted(session.frame["arm"]) == ["next", "other"]
        assert sim.count("gpt-4.1") == 1

    def test_two_sessions_on_one_router_give_its_settings_back_with_the_last(self, sim: Any) -> None:
        router = litellm.Router(model_list=deployments(sim, silent_model="next"))
        first, second = session_on(sim, None, router), session_on(sim, None, router)
        second.completion("chat", MESSAGES)
        first.close()
        assert not silent_model_of(router)
        second.close()
        assert silent_model_of(router) == "next"
        assert sim.count("gpt-4o-mini") == len(second.frame) == 1

    def test_a_session_dropped_unclosed_gives_the_settings_back(self, sim: Any, eventually: Any) -> None:
        router = litellm.Router(model_list=deployments(sim, silent_model="next"))
        session = session_on(sim, None, router)
        del session
        # a collection that another thread is at makes this one return at once
        assert eventually(lambda: gc.collect() is not None and silent_model_of(router) == "next")

    def test_a_request_that_is_a_silent_call_already_is_not_mirrored_again(
        self, sim: Any, drive: Any
    ) -> None:
        with session_on(sim) as session:
            drive.chat(session, metadata={"is_silent_experiment": True})
            drive.drain(session)
            assert session.funnel.no_silent_model == 1
        assert sim.count("gpt-4o-mini") == 0


class TestArms:
    def test_a_list_of_silent_models_gives_an_arm_each(self, sim: Any, drive: Any) -> None:
        router = litellm.Router(model_list=deployments(sim, silent_model=["next", "other"]))
        with session_on(sim, None, router) as session:
            drive.chat(session)
            drive.drain(session)
            assert sorted(session.frame["arm"]) == ["next", "other"]
            assert session.frame["request_id"].n_unique() == 1
            assert session.frame["pair_id"].n_unique() == 2
        assert (sim.count("gpt-4o-mini"), sim.count("gpt-4.1")) == (1, 1)

    def test_silent_model_is_that_of_the_deployment_which_was_picked(self, sim: Any, drive: Any) -> None:
        with_one = sim.deployment("chat", "gpt-4o", silent_model="next") | {"model_info": {"id": "with"}}
        without = sim.deployment("chat", "gpt-4.1") | {"model_info": {"id": "without"}}
        router = litellm.Router(model_list=[with_one, without, sim.deployment("next", "gpt-4o-mini")])
        with session_on(sim, None, router) as session:
            for _ in range(30):
                drive.chat(session)
            drive.drain(session)
            frame, funnel = session.frame, session.funnel
        assert set(frame["primary_deployment_id"]) == {"with"}
        assert frame.height == sim.count("gpt-4o") == sim.count("gpt-4o-mini") == funnel.mirrored
        assert funnel.no_silent_model == sim.count("gpt-4.1") > 0

    def test_with_retries_it_is_that_of_the_last_one_picked(self, sim: Any, drive: Any) -> None:
        first = sim.deployment("chat", "gpt-4o", silent_model="next", order=1) | {
            "model_info": {"id": "first"}
        }
        second = sim.deployment("chat", "gpt-4.1", silent_model="last", order=2) | {
            "model_info": {"id": "second"}
        }
        router = litellm.Router(
            model_list=[
                first,
                second,
                sim.deployment("next", "gpt-4o-mini"),
                sim.deployment("last", "gpt-4.1-mini"),
            ],
            num_retries=2,
            retry_after=0,
        )
        sim.script("gpt-4o", *[Reply(fault="500")] * 3)
        with session_on(sim, None, router) as session:
            drive.chat(session)
            drive.drain(session)
            pair = row(session)
        picked = pair["primary_deployment_id"]
        assert pair["arm"] == {"first": "next", "second": "last"}[picked]
        assert len(sim.requests) == pair["primary_attempts"] + 1

    def test_a_dict_names_silent_models_by_primary_group(self, sim: Any, drive: Any) -> None:
        with session_on(sim, {"chat": ["next"], "other": "next"}) as session:
            for group in ("chat", "other", "next"):
                drive.chat(session, model=group)
            drive.drain(session)
            assert sorted(session.frame["model_group"]) == ["chat", "other"]
            assert session.funnel.no_silent_model == 1

    def test_control_calls_the_primarys_own_group_again(self, sim: Any, drive: Any) -> None:
        with session_on(sim, control=1.0) as session:
            drive.chat(session)
            drive.drain(session)
            control = session.frame.filter(pl.col("arm") == "control").row(0, named=True)
            assert session.frame.height == 2
        assert control["silent_model"] == "gpt-4o"
        assert control["silent_output"] == control["primary_output"]

    def test_control_alone_is_enough_to_mirror(self, sim: Any, drive: Any) -> None:
        with session_on(sim, None, control=1.0) as session:
            drive.chat(session)
            drive.drain(session)
            assert session.frame["arm"].to_list() == ["control"]

    def test_an_alias_is_mirrored_like_its_group(self, sim: Any, drive: Any) -> None:
        router = litellm.Router(model_list=deployments(sim), model_group_alias={"alias": "chat"})
        with session_on(sim, {"chat": "next"}, router) as session:
            drive.chat(session, model="alias")
            drive.drain(session)
            assert row(session)["model_group"] == "alias"


class TestThePrimaryIsUntouched:
    @pytest.mark.parametrize(
        ("fault", "status"),
        [
            ("500", "error"),
            ("429", "error"),
            ("401", "error"),
            ("garbage", "error"),
            ("cut", "error"),
            ("hang", "timeout"),
        ],
    )
    def test_a_silent_call_that_goes_wrong_is_only_recorded(
        self, sim: Any, drive: Any, fault: Any, status: str
    ) -> None:
        sim.script("gpt-4o-mini", Reply(fault=fault))
        # without retries, as the next attempt would succeed
        with session_on(sim, timeout_s=0.5 if fault == "hang" else 30, silent_retries=0) as session:
            answer = drive.chat(session)
            drive.drain(session)
            pair = row(session)
            assert session.funnel.mirrored == 1
            assert "fault" not in repr(session)
        assert answer.choices[0].message.content
        assert sim.count("gpt-4o-mini") == 1
        assert (pair["primary_status"], pair["silent_status"]) == ("ok", status)
        assert pair["silent_error_type"]
        assert pair["silent_error_message"]
        assert pair["silent_cost_usd"] is None
        assert pair["silent_output"] is None
        assert pair["silent_latency_s"] > 0

    @pytest.mark.here
    def test_a_failing_primary_raises_its_own_exception_the_very_object(self, sim: Any, drive: Any) -> None:
        raised: list[BaseException] = []

        @contextlib.contextmanager
        def noting(model: str) -> Iterator[None]:
            try:
                yield
            except BaseException as error:
                raised.append(error)
                raise

        sim.script("gpt-4o", Reply(fault="400", error_message="no such thing"))
        router = within(litellm.Router(model_list=deployments(sim)), noting)
        with session_on(sim, router=router) as session:
            with pytest.raises(litellm.BadRequestError) as caught:
                drive.chat(session)
            drive.drain(session)
            pair = row(session)
        assert caught.value is raised[0]
        assert (pair["primary_status"], pair["primary_error_type"]) == ("error", "BadRequestError")
        assert "no such thing" in pair["primary_error_message"]
        assert pair["primary_deployment_id"] is not None
        assert pair["primary_fell_back"] is False
        assert pair["silent_status"] == "ok"

    def test_the_callers_metadata_and_messages_stay_as_they_were(self, sim: Any, drive: Any) -> None:
        metadata = {"tags": ["a"], "session_id": "s", "spend_logs_metadata": {"k": 1}, "deep": {"x": [1]}}
        messages = [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]
        kwargs = {"metadata": metadata, "messages": messages, "tools": [], "temperature": 0.5}
        before = copy.deepcopy(kwargs)
        with session_on(sim, control=1.0) as session:
            drive.chat(session, **kwargs)
            drive.drain(session)
            assert session.frame.height == 2
        assert kwargs == before

    def test_what_the_caller_does_to_the_answer_is_not_recorded(self, sim: Any, drive: Any) -> None:
        with session_on(sim) as session:
            answer = drive.chat(session)
            said = answer.choices[0].message.content
            answer.choices[0].message.content = "changed by the caller"
            drive.drain(session)
            assert row(session)["primary_output"] == said

    def test_what_the_caller_does_to_the_messages_is_not_sent(self, sim: Any, drive: Any) -> None:
        messages = [{"role": "user", "content": "before"}]
        with sim.hold("gpt-4o-mini") as hold, session_on(sim) as session:
            drive.chat(session, messages=messages)
            messages[0]["content"] = "after"
            hold.release()
            drive.drain(session)
            assert json.loads(row(session)["messages"])[0]["content"] == "before"
        assert sim.requests[-1].body["messages"][0]["content"] == "before"

    def test_the_answer_does_not_wait_for_the_silent_call(self, sim: Any, drive: Any) -> None:
        with sim.hold("gpt-4o-mini") as hold, session_on(sim) as session:
            for _ in range(3):
                assert drive.chat(session).choices
            assert session.frame.height == 0
            assert session.under_way == 3
            hold.release()
            drive.drain(session)
            assert session.frame.height == 3

    def test_a_filter_that_raises_and_a_redaction_that_raises_reach_nobody(
        self, sim: Any, drive: Any
    ) -> None:
        def broken(_: Any) -> Any:
            raise RuntimeError("my hook is broken")

        with pytest.warns(mk.MirrorWarning, match="my hook is broken"), session_on(sim, where=broken) as one:
            assert drive.chat(one).choices
            assert drive.chat(one).choices
            assert one.funnel.faulted == 2
            assert "2 faults" in repr(one)
        with pytest.warns(mk.MirrorWarning), session_on(sim, redact=broken) as two:
            drive.chat(two)
            drive.drain(two)
            pair = row(two)
        assert (pair["primary_status"], pair["primary_output"]) == ("ok", None)
        assert "parcel" not in str(pair)

    def test_a_cancelled_primary_is_not_mirrored_and_counted(self, sim: Any) -> None:
        async def main(session: mk.MirrorSession) -> None:
            task = asyncio.create_task(session.acompletion("chat", MESSAGES))
            await asyncio.to_thread(hold.wait_for, 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        with sim.hold("gpt-4o") as hold, session_on(sim) as session:
            asyncio.run(main(session))
            assert session.funnel.cancelled == 1
            assert session.funnel.under_way == 0
        assert sim.count("gpt-4o-mini") == 0

    def test_failing_control_calls_take_no_deployment_away_from_primaries(self, sim: Any, drive: Any) -> None:
        # two deployments, as LiteLLM never cools down the last of a group
        models = [*deployments(sim), sim.deployment("chat", "gpt-4o", weight=1)]
        router = litellm.Router(model_list=models, num_retries=0, cooldown_time=60)
        # a refusal that LiteLLM cools down for, and that gives no time to wait
        sim.script("gpt-4o", *[Reply(), Reply(fault="401")] * 6)
        with session_on(sim, None, router, control=1.0) as session:
            for _ in range(6):
                drive.chat(session)
                drive.drain(session)
            assert set(session.frame["silent_error_type"]) == {"AuthenticationError"}
            assert set(session.frame["primary_status"]) == {"ok"}


class TestTheSilentCall:
    @pytest.mark.here
    def test_values_that_cannot_be_copied_go_by_reference_and_spans_are_dropped(
        self, sim: Any, drive: Any, litellm_state: Any
    ) -> None:
        class Span:
            def get_span_context(self) -> None: ...

            def __deepcopy__(self, memo: Any) -> None:
                raise TypeError("spans are not copied")

        logger, lock = _logger(), threading.Lock()
        litellm_state.callbacks = [logger]
        metadata = {"lock": lock, "litellm_parent_otel_span": Span(), "mine": Span()}
        with session_on(sim) as session:
            drive.chat(session, metadata=metadata)
            drive.drain(session)
            assert row(session)["silent_status"] == "ok"
        silent = logger.wait(2)["gpt-4o-mini"]["litellm_params"]["metadata"]
        assert silent["lock"] is lock
        assert "litellm_parent_otel_span" not in silent
        assert "mine" not in silent

    @pytest.mark.here
    def test_it_runs_in_a_context_of_its_own(self, sim: Any, drive: Any) -> None:
        # telemetry keeps the current span in a context variable
        span = contextvars.ContextVar("span", default="none")
        seen: dict[str, str] = {}

        @contextlib.contextmanager
        def noting(model: str) -> Iterator[None]:
            seen[model] = span.get()
            yield

        async def enter_span() -> None:
            span.set("the primary's")

        if drive.is_async:
            drive.run(enter_span())
        else:
            span.set("the primary's")
        router = within(litellm.Router(model_list=deployments(sim)), noting)
        with session_on(sim, router=router) as session:
            drive.chat(session)
            drive.drain(session)
        assert seen == {"chat": "the primary's", "next": "none"}

    @pytest.mark.here
    def test_a_logger_of_the_standard_payload_tells_silent_from_primary_and_joins_them(
        self, sim: Any, drive: Any, litellm_state: Any
    ) -> None:
        logger = _logger()
        litellm_state.callbacks = [logger]
        with session_on(sim) as session:
            drive.chat(session, metadata={"tags": ["mine"], "spend_logs_metadata": {"team": "x"}})
            drive.drain(session)
            pair = row(session)
        seen = logger.wait(2)
        primary, silent = (seen[m]["standard_logging_object"] for m in ("gpt-4o", "gpt-4o-mini"))
        assert primary["trace_id"] == silent["trace_id"] == pair["trace_id"]
        assert "is_silent_experiment" not in primary["request_tags"]
        assert {"mine", "is_silent_experiment"} <= set(silent["request_tags"])
        logged = silent["metadata"]["spend_logs_metadata"]
        assert logged["team"] == "x"
        assert logged["is_silent_experiment"] is True
        assert logged["mirrorkit_pair_id"] == pair["pair_id"]
        assert seen["gpt-4o-mini"]["litellm_params"]["metadata"]["is_silent_experiment"] is True
        assert primary["metadata"]["spend_logs_metadata"] == {"team": "x"}
        assert "is_silent_experiment" not in seen["gpt-4o"]["litellm_params"]["metadata"]

    @pytest.mark.here
    def test_loggers_see_both_sides_of_responses_too(self, sim: Any, drive: Any, litellm_state: Any) -> None:
        logger = _logger()
        litellm_state.callbacks = [logger]
        with session_on(sim) as session:
            drive.call(session, "responses", "chat", "Hi")
            drive.drain(session)
        seen = logger.wait(2)
        primary, silent = (seen[m]["standard_logging_object"] for m in ("gpt-4o", "gpt-4o-mini"))
        assert primary["trace_id"] == silent["trace_id"]
        assert "is_silent_experiment" in silent["request_tags"]
        assert "is_silent_experiment" not in primary["request_tags"]

    @pytest.mark.here
    def test_it_is_a_call_of_its_own_to_litellm(self, sim: Any, drive: Any, litellm_state: Any) -> None:
        logger = _logger()
        litellm_state.callbacks = [logger]
        with session_on(sim) as session:
            drive.chat(session, litellm_call_id="mine-1", litellm_trace_id="trace-1")
            drive.drain(session)
            assert (row(session)["request_id"], row(session)["trace_id"]) == ("mine-1", "trace-1")
        seen = logger.wait(2)
        assert seen["gpt-4o"]["litellm_call_id"] == "mine-1"
        assert seen["gpt-4o-mini"]["litellm_call_id"] != "mine-1"

    def test_it_never_falls_back_to_another_group(self, sim: Any, drive: Any) -> None:
        sim.script("gpt-4o-mini", *[Reply(fault="500")] * 4)
        router = litellm.Router(model_list=deployments(sim), num_retries=1, fallbacks=[{"next": ["other"]}])
        with session_on(sim, router=router) as session:
            drive.chat(session)
            drive.drain(session)
            assert row(session)["silent_status"] == "error"
        # as often as the Router tries
        assert sim.count("gpt-4o-mini") == 2
        assert sim.count("gpt-4.1") == 0

    def test_it_is_retried_as_often_as_the_session_says(self, sim: Any, drive: Any) -> None:
        sim.script("gpt-4o-mini", Reply(fault="500"))
        with session_on(sim, silent_retries=1) as session:
            drive.chat(session)
            drive.drain(session)
            pair = row(session)
        assert (pair["silent_status"], pair["silent_attempts"]) == ("ok", 2)

    def test_it_does_not_answer_from_litellms_cache(self, sim: Any, drive: Any, litellm_state: Any) -> None:
        litellm_state.cache = litellm.Cache(type="local")
        router = litellm.Router(model_list=deployments(sim), cache_responses=True)
        drive.call(router, "completion", "next", MESSAGES)
        with session_on(sim, router=router) as session:
            drive.chat(session)
            drive.drain(session)
            pair = row(session)
        assert sim.count("gpt-4o-mini") == 2
        assert (pair["silent_cache_hit"], pair["primary_cache_hit"]) == (False, False)

    def test_credentials_of_the_primarys_provider_are_not_sent_to_the_silent_one(
        self, sim: Any, drive: Any
    ) -> None:
        with session_on(sim) as session:
            drive.chat(
                session,
                api_key=sim.api_key,
                extra_headers={
                    "Authorization": f"Bearer {sim.api_key}",
                    "X-Tenant": "t1",
                    "X-Api-Key": "abcdefgh",
                },
            )
            drive.drain(session)
            pair = row(session)
        assert pair["silent_status"] == "ok"
        assert pair["stripped"] == ["api_key", "extra_headers"]
        primary, silent = (request.headers for request in sim.requests)
        assert primary["X-Api-Key"] == "abcdefgh"
        assert not {"X-Api-Key", "X-Tenant"} & set(silent)

    def test_it_works_where_the_router_picks_by_tags(self, sim: Any, drive: Any) -> None:
        models = [
            sim.deployment("chat", "gpt-4o", tags=["paid"]),
            sim.deployment("next", "gpt-4o-mini", tags=["paid"]),
        ]
        router = litellm.Router(model_list=models, enable_tag_filtering=True, tag_filtering_match_any=False)
        with session_on(sim, router=router) as session:
            drive.chat(session, metadata={"tags": ["paid"]})
            drive.drain(session)
            assert row(session)["silent_status"] == "ok"


class TestWhatIsNotMirrored:
    def test_each_request_is_counted_once_with_its_reason(self, sim: Any, drive: Any) -> None:
        with session_on(sim, where=lambda request: "parcel" in request.messages[0]["content"]) as session:
            drive.chat(session)
            drive.chat(session, messages=[{"role": "user", "content": "Hi"}])
            drive.chat(session, model="next")
            drive.drain(session)
            counts = session.funnel.as_dict()
        assert {k: v for k, v in counts.items() if v} == {
            "requests": 3,
            "mirrored": 1,
            "filtered": 1,
            "no_silent_model": 1,
        }

    def test_sample_is_repeatable_and_about_its_share(self, sim: Any, drive: Any) -> None:
        def mirrored() -> list[str]:
            with session_on(sim, sample=0.5, seed=3) as session:
                for _ in range(20):
                    drive.chat(session)
                drive.drain(session)
                assert session.funnel.sampled_out == 20 - session.frame.height
                return sorted(session.frame["request_id"])

        first = mirrored()
        assert 2 < len(first) < 18
        assert mirrored() == first

    def test_a_budget_stops_the_mirroring_and_is_overshot_by_one_call_at_most(
        self, sim: Any, drive: Any
    ) -> None:
        reply = Reply(text="x", usage={"prompt_tokens": 1000, "completion_tokens": 1, "total_tokens": 1001})
        sim.script("gpt-4o-mini", *[reply] * 20)
        price = litellm.model_cost["gpt-4o-mini"]
        each = 1000 * price["input_cost_per_token"] + price["output_cost_per_token"]
        with session_on(sim, budget_usd=2.5 * each) as session:
            for _ in range(6):
                drive.chat(session)
                drive.drain(session)
            assert session.frame.height == 3
            assert session.spent_usd == pytest.approx(3 * each)
            assert session.funnel.over_budget == 3

    def test_a_budget_that_cannot_be_kept_is_refused(self, sim: Any) -> None:
        models = [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "home-made")]
        with pytest.raises(mk.ConfigError, match=r"budget_usd=1 cannot be kept: .* no price for 'next'"):
            session_on(sim, "next", models, budget_usd=1)

    def test_past_max_waiting_mirrors_are_dropped_and_counted(self, sim: Any, drive: Any) -> None:
        with (
            sim.hold("gpt-4o-mini") as hold,
            session_on(sim, max_in_flight=1, max_waiting=1) as session,
        ):
            for _ in range(4):
                drive.chat(session)
            assert session.funnel.saturated == 2
            hold.release()
            drive.drain(session)
            assert session.frame.height == 2

    def test_no_more_than_max_in_flight_are_sent_at_once(self, sim: Any, drive: Any) -> None:
        with sim.hold("gpt-4o-mini") as hold, session_on(sim, max_in_flight=2) as session:
            for _ in range(5):
                drive.chat(session)
            if drive.is_async:
                drive.run(asyncio.to_thread(hold.wait_for, 2))
            hold.wait_for(2)
            assert sim.count("gpt-4o-mini") == hold.held == 2
            hold.release()
            drive.drain(session)
            assert session.frame.height == 5


class TestIds:
    def test_a_seed_repeats_request_ids_and_no_pair_or_trace_id(self, sim: Any, drive: Any) -> None:
        frames = []
        for _ in range(2):
            with session_on(sim, seed=7) as session:
                drive.chat(session)
                drive.chat(session, litellm_call_id="mine")
                drive.chat(session, litellm_call_id="mine")
                drive.drain(session)
                frames.append(session.frame.sort("started_at"))
        both = pl.concat(frames)
        assert frames[0]["request_id"].to_list() == frames[1]["request_id"].to_list()
        assert both["pair_id"].n_unique() == both["trace_id"].n_unique() == 6


class TestPrices:
    def test_a_model_without_a_price_has_no_cost_and_a_free_one_costs_nothing(
        self, sim: Any, drive: Any
    ) -> None:
        models = [
            sim.deployment("unknown", "home-made"),
            sim.deployment("free", "gpt-4.1", input_cost_per_token=0.0, output_cost_per_token=0.0),
            sim.deployment("own", "gpt-4.1-mini", input_cost_per_token=1.0, output_cost_per_token=0.0),
            sim.deployment("next", "gpt-4o-mini"),
        ]
        with session_on(sim, "next", models) as session:
            for group in ("unknown", "free", "own"):
                for stream in (False, True):
                    answer = drive.chat(session, model=group, stream=stream, max_tokens=3)
                    if stream:
                        drive.read(answer)
            drive.drain(session)
            costs = session.frame.sort("started_at").select(
                "model_group", "primary_cost_usd", "primary_input_tokens"
            )
        for group, cost, tokens in costs.iter_rows():
            assert cost == {"unknown": None, "free": 0.0, "own": float(tokens)}[group]


class TestSecrets:
    def test_no_credential_is_recorded_or_shown(self, sim: Any, drive: Any, tmp_path: Any) -> None:
        key, other, token = sim.api_key, "other-key-0123456789", "tenant-token-987654"
        sim.script("gpt-4o", Reply(fault="400", error_message=f"wrong key {key} or {other} or {token}"))
        echo = f"Incorrect API key provided: sk-proj-abcdefghijkl. Bearer {token}"
        sim.script("gpt-4o-mini", Reply(fault="400", error_message=echo))
        models = [*deployments(sim), sim.deployment("spare", "gpt-4.1", organization="org-1") | {}]
        models[3]["litellm_params"]["api_key"] = other
        with session_on(sim, router=models) as session:
            with pytest.raises(litellm.BadRequestError):
                drive.chat(
                    session,
                    messages=[{"role": "user", "content": f"my key is {key}"}],
                    extra_headers={"X-Token": token},
                    extra_body={"nested": {"password": "hunter2-hunter2"}},
                    temperature=0,
                )
            drive.drain(session)
            session.to_csv(tmp_path / "pairs.csv")
            shown = [repr(session), (tmp_path / "pairs.csv").read_text(), str(session.frame.rows())]
            pair = row(session)
        for text in shown:
            for secret in (key, other, token, "hunter2", "sk-proj-abcdefghijkl"):
                assert secret not in text
        assert "my key is [secret]" in pair["messages"]
        assert json.loads(pair["params"])["temperature"] == 0

    def test_redact_is_applied_to_every_recorded_text(self, sim: Any, drive: Any) -> None:
        name = "Ada Lovelace"
        sim.script("gpt-4o", Reply(tool_calls=[{"name": "greet", "arguments": {"who": name}}]))
        sim.script("gpt-4o-mini", Reply(fault="400", error_message=f"no {name} here"))
        with session_on(sim, redact=lambda text: text.replace(name, "someone")) as session:
            drive.chat(
                session,
                messages=[{"role": "user", "content": f"I am {name}"}],
                stop=[name],
                metadata={"tags": [name], "session_id": name},
            )
            drive.drain(session)
            pair = row(session)
        assert name not in str(pair)
        assert json.loads(pair["messages"])[0]["content"] == "I am someone"
        assert json.loads(json.loads(pair["primary_tool_calls"])[0]["arguments"]) == {"who": "someone"}
        assert (pair["cluster"], pair["tags"]) == ("someone", ["someone"])


def _logger() -> Any:
    from litellm.integrations.custom_logger import CustomLogger

    class Logger(CustomLogger):
        def __init__(self) -> None:
            super().__init__()
            self.seen: dict[str, Any] = {}
            self.news = threading.Condition()

        def note(self, kwargs: Any) -> None:
            with self.news:
                self.seen[kwargs["model"]] = kwargs
                self.news.notify_all()

        def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
            self.note(kwargs)

        async def async_log_success_event(
            self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
        ) -> None:
            self.note(kwargs)

        def wait(self, models: int) -> dict[str, Any]:
            with self.news:
                assert self.news.wait_for(lambda: len(self.seen) >= models, 10), list(self.seen)
                return self.seen

    return Logger()
