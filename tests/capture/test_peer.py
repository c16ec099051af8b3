"""What LiteLLM's own tests promise of its `silent_model`: a session keeps it too, or differs on purpose.

Each promise is kept for every kind of call that is mirrored, blocking and awaited, over real HTTP and with a
real logger. Where mirrorkit differs from LiteLLM 1.110, `TestWhereWeDiffer` shows what it does instead:

| LiteLLM's mirroring | mirrorkit's |
|---|---|
| chat alone | chat, responses, embeddings and Anthropic messages |
| one silent call for each attempt of the primary, its fallbacks included | one for each request |
| sent while the primary runs | sent when the primary has settled, whether it answered or failed |
| retries and falls back as the Router is set | `silent_retries`, and never to another group |
| answers from LiteLLM's cache | always asks the provider, and leaves nothing in the cache |
| takes the caller's keys and headers to the silent model's provider | leaves them with the primary |
| has tools that the provider runs itself (MCP) run twice | does not mirror such a request |
| its failures cool deployments down | they cool nothing down |
| a malformed `silent_model` is logged, an unknown group ignored | both are refused at construction |
| a group may mirror to itself | refused: `control=` is for that |
| a group that is named twice is mirrored to twice | once |
| as many silent calls at once as there are requests | `max_in_flight` at once, `max_waiting` more |
| silent calls end with their event loop | they are finished elsewhere |
| a silent stream has the caller's options | it is asked for its usage as well |
| metadata has the mark | it has our ids as well, and `tags` the mark |
"""

import asyncio
import contextlib
import copy
import threading
from typing import Any

import litellm
import openai
import pytest

import mirrorkit as mk
from call_kinds import KINDS, Kind, deployments, each
from mirrorkit.simulator import Reply, SimulatedModel, Simulator
from recording_logger import RecordingLogger

MESSAGES = [{"role": "user", "content": "Where is my parcel?"}]
CHAT = KINDS[:2]
STREAMS = tuple(kind for kind in KINDS if kind.stream)


def session_on(sim: Any, silent: Any = "next", *more: dict[str, Any], **options: Any) -> mk.MirrorSession:
    """A session on a Router whose chat deployment has this `silent_model`."""
    settings = options.pop("settings", {})
    models = [*deployments(sim, silent_model=silent), *more]
    return mk.MirrorSession(litellm.Router(model_list=models, **settings), **options)


def row(session: mk.MirrorSession) -> dict[str, Any]:
    assert session.frame.height == 1
    return session.frame.row(0, named=True)


@pytest.fixture
def logger(litellm_state: Any) -> RecordingLogger:
    logger = RecordingLogger()
    litellm_state.callbacks = [logger]
    return logger


class Span:
    """A telemetry span, which belongs to one trace and is not copied."""

    def get_span_context(self) -> None: ...

    def __deepcopy__(self, memo: Any) -> None:
        raise TypeError("spans are not copied")


class KeyOwner:
    """What a proxy says of a key's owner: it holds a span, so that no deep copy can be made of it."""

    def __init__(self) -> None:
        self.parent_otel_span = Span()

    def __deepcopy__(self, memo: Any) -> None:
        raise TypeError("it holds a span")


class TestWhatIsMirrored:
    @each(*KINDS)
    def test_a_request_goes_to_the_silent_model_too_and_neither_provider_hears_of_it(
        self, sim: Any, drive: Any, kind: Kind
    ) -> None:
        with session_on(sim) as session:
            kind.ask(drive, session)
            drive.drain(session)
            pair = row(session)
        assert (sim.count(kind.primary), sim.count(kind.silent), len(sim.requests)) == (1, 1, 2)
        assert (pair["arm"], pair["primary_status"], pair["silent_status"]) == (kind.silent_group, "ok", "ok")
        assert all("silent_model" not in str(request.body) for request in sim.requests)

    @each(*CHAT)
    def test_each_name_of_a_list_gets_one_silent_call_like_the_primarys(
        self, sim: Any, drive: Any, kind: Kind
    ) -> None:
        with session_on(sim, ["next", "other"]) as session:
            kind.ask(drive, session)
            drive.drain(session)
            assert sorted(session.frame["arm"]) == ["next", "other"]
        assert sorted(request.model for request in sim.requests) == ["gpt-4.1", "gpt-4o", "gpt-4o-mini"]
        assert {bool(request.body.get("stream")) for request in sim.requests} == {kind.stream}

    def test_a_tuple_is_refused_as_it_cannot_be_taken_over(self, sim: Any) -> None:
        """LiteLLM mirrors to it, and undoes every write to it: both would mirror."""
        with pytest.raises(mk.ConfigError, match="silent_model of 'chat' is a tuple: give"):
            session_on(sim, ("next", "other"))

    @pytest.mark.parametrize("silent", [None, []])
    def test_a_deployment_that_names_none_is_not_mirrored(self, sim: Any, drive: Any, silent: Any) -> None:
        with session_on(sim, silent) as session:
            drive.chat(session)
            drive.drain(session)
            assert session.funnel.no_silent_model == 1
        assert len(sim.requests) == sim.count("gpt-4o") == 1

    @each(*KINDS)
    def test_a_request_that_says_it_is_a_silent_call_is_not_mirrored(
        self, sim: Any, drive: Any, kind: Kind
    ) -> None:
        with session_on(sim) as session:
            kind.ask(drive, session, **{kind.metadata: {"is_silent_experiment": True}})
            drive.drain(session)
            assert session.funnel.no_silent_model == 1
        assert sim.count(kind.silent) == 0

    @pytest.mark.parametrize(
        "metadata", [{"is_silent_experiment": False}, {"is_silent_experiment": None}, {}]
    )
    def test_a_request_that_says_it_is_none_is_mirrored(self, sim: Any, drive: Any, metadata: Any) -> None:
        with session_on(sim) as session:
            drive.chat(session, metadata=metadata)
            drive.drain(session)
            assert row(session)["silent_status"] == "ok"

    @pytest.mark.parametrize("name", ["afile_content", "aimage_generation", "amoderation"])
    def test_what_must_not_be_sent_twice_is_refused_with_the_way_to_send_it_once(
        self, sim: Any, name: str
    ) -> None:
        with (
            session_on(sim) as session,
            pytest.raises(mk.UnsupportedCall, match=rf"session\.router\.{name}"),
        ):
            getattr(session, name)

    def test_calls_on_the_router_itself_are_not_mirrored_and_no_provider_hears_of_silent_model(
        self, sim: Any
    ) -> None:
        with session_on(sim) as session:
            router = session.router
            asyncio.run(router.aanthropic_messages(model="chat", messages=MESSAGES, max_tokens=9))
            router.completion("chat", MESSAGES)
            session.drain()
            assert session.frame.height == 0
        assert [request.model for request in sim.requests] == ["gpt-4o", "gpt-4o"]
        assert all("silent_model" not in str(request.body) for request in sim.requests)


class TestWhatASilentCallCarries:
    def test_it_is_the_request_as_it_was_when_it_was_made(
        self, sim: Any, drive: Any, logger: RecordingLogger
    ) -> None:
        messages, metadata = copy.deepcopy(MESSAGES), {"foo": "bar", "deep": {"list": [1]}}
        with sim.hold("gpt-4o-mini") as hold, session_on(sim, max_in_flight=1) as session:
            drive.chat(session)
            # its silent call waits for the one before
            drive.chat(session, messages=messages, metadata=metadata)
            messages[0]["content"] = "changed"
            messages.append({"role": "user", "content": "added"})
            metadata["deep"]["list"].append(2)  # type: ignore[index]
            metadata["tags"] = ["added"]
            hold.release()
            drive.drain(session)
            silent = logger.of(drive, "gpt-4o-mini", 2)[1]
        assert sim.requests[-1].body["messages"] == MESSAGES
        assert (silent.metadata["foo"], silent.metadata["deep"]) == ("bar", {"list": [1]})
        assert "added" not in silent.payload["request_tags"]

    @each(*KINDS)
    def test_it_is_marked_and_named_by_its_own_group_and_the_primary_is_not(
        self, sim: Any, drive: Any, logger: RecordingLogger, kind: Kind
    ) -> None:
        given = {"foo": "bar"}
        with session_on(sim) as session:
            kind.ask(drive, session, **{kind.metadata: given})
            drive.drain(session)
            primary = logger.of(drive, kind.primary)[0]
            silent = logger.of(drive, kind.silent)[0]
        assert (silent.metadata["is_silent_experiment"], silent.mark, silent.metadata["foo"]) == (
            True,
            True,
            "bar",
        )
        assert silent.metadata["model_group"] == silent.payload["model_group"] == kind.silent_group
        assert primary.metadata["model_group"] == primary.payload["model_group"] == kind.group
        assert "is_silent_experiment" not in primary.metadata
        assert primary.mark is None
        assert given == {"foo": "bar"}

    @each(*KINDS)
    def test_its_ids_are_its_own_but_for_the_trace_it_shares(
        self, sim: Any, drive: Any, logger: RecordingLogger, kind: Kind
    ) -> None:
        with session_on(sim) as session:
            kind.ask(drive, session, litellm_call_id="call-123", litellm_trace_id="trace-123")
            drive.drain(session)
            primary = logger.of(drive, kind.primary)[0]
            silent = logger.of(drive, kind.silent)[0]
        assert primary.kwargs["litellm_call_id"] == "call-123"
        assert silent.kwargs["litellm_call_id"] not in (None, "call-123")
        assert silent.payload["id"] != primary.payload["id"]
        assert silent.payload["trace_id"] == primary.payload["trace_id"] == "trace-123"

    @each(*KINDS)
    def test_a_span_stays_with_the_primary_and_what_cannot_be_copied_goes_by_reference(
        self, sim: Any, drive: Any, logger: RecordingLogger, kind: Kind
    ) -> None:
        span, owner = Span(), KeyOwner()
        given = {"litellm_parent_otel_span": span, "user_api_key_auth": owner}
        with session_on(sim) as session:
            kind.ask(drive, session, **{kind.metadata: given})
            drive.drain(session)
            primary = logger.of(drive, kind.primary)[0].metadata
            silent = logger.of(drive, kind.silent)[0].metadata
        assert given == {"litellm_parent_otel_span": span, "user_api_key_auth": owner}
        assert primary["litellm_parent_otel_span"] is span
        assert "litellm_parent_otel_span" not in silent
        assert primary["user_api_key_auth"] is silent["user_api_key_auth"] is owner
        # a copy that fails must not leave both calls with one dict
        assert (primary["model_group"], silent["model_group"]) == (kind.group, kind.silent_group)

    def test_it_has_the_callers_tags_and_none_of_the_primarys_deployment(
        self, sim: Any, drive: Any, logger: RecordingLogger
    ) -> None:
        router = litellm.Router(model_list=deployments(sim, tags=["primary-only"]))
        with mk.MirrorSession(router) as session:
            drive.chat(session, metadata={"tags": ["mine"]})
            drive.drain(session)
            primary = logger.of(drive, "gpt-4o")[0].payload["request_tags"]
            silent = logger.of(drive, "gpt-4o-mini")[0].payload["request_tags"]
        assert {"mine", "primary-only"} <= set(primary)
        assert "mine" in silent
        assert "primary-only" not in silent

    def test_silent_calls_of_one_request_share_no_metadata(
        self, sim: Any, drive: Any, logger: RecordingLogger
    ) -> None:
        with session_on(sim, ["next", "other"]) as session:
            drive.chat(session, metadata={"deep": {"list": []}})
            drive.drain(session)
            calls = [logger.of(drive, model)[0] for model in ("gpt-4o-mini", "gpt-4.1", "gpt-4o")]
        assert [call.metadata["model_group"] for call in calls] == ["next", "other", "chat"]
        assert len({id(call.metadata) for call in calls}) == 3
        assert len({id(call.metadata["deep"]["list"]) for call in calls}) == 3

    @pytest.mark.parametrize(
        "name",
        [
            "mock_testing_fallbacks",
            "mock_testing_context_fallbacks",
            "mock_testing_content_policy_fallbacks",
            "mock_testing_rate_limit_error",
        ],
    )
    def test_a_failure_that_the_caller_wants_to_try_out_is_the_primarys_alone(
        self, sim: Any, drive: Any, name: str
    ) -> None:
        router = litellm.Router(model_list=deployments(sim, silent_model=None), num_retries=0)
        with mk.MirrorSession(router, {"chat": "next"}) as session:
            with pytest.raises(openai.OpenAIError):
                drive.chat(session, **{name: True})
            drive.drain(session)
            pair = row(session)
        assert (pair["primary_status"], pair["silent_status"]) == ("error", "ok")

    def test_metadata_of_the_responses_api_is_sent_as_the_caller_gave_it(self, sim: Any, drive: Any) -> None:
        with session_on(sim) as session:
            drive.call(session, "responses", "chat", "Hi", metadata={"trace": "mine"})
            drive.drain(session)
        assert [request.body["metadata"] for request in sim.requests] == [{"trace": "mine"}] * 2

    def test_loggers_get_what_a_proxy_says_of_its_request(
        self, sim: Any, drive: Any, logger: RecordingLogger
    ) -> None:
        request = {"body": {"model": "test"}}
        with session_on(sim) as session:
            drive.chat(session, proxy_server_request=request)
            drive.drain(session)
            silent = logger.of(drive, "gpt-4o-mini")[0]
        assert silent.kwargs["litellm_params"]["proxy_server_request"]["body"] == request["body"]


class TestStreams:
    @pytest.mark.parametrize(("stream", "asked"), [(True, True), (False, False), (None, False)])
    def test_a_silent_call_is_a_stream_if_the_primary_is_one(
        self, sim: Any, drive: Any, stream: bool | None, asked: bool
    ) -> None:
        with session_on(sim) as session:
            answer = drive.chat(session, **({} if stream is None else {"stream": stream}))
            if asked:
                drive.read(answer)
            drive.drain(session)
        assert [bool(request.body.get("stream")) for request in sim.requests] == [asked, asked]

    @each(*STREAMS)
    def test_a_silent_stream_is_read_to_its_end_and_logged_whole(
        self, sim: Any, drive: Any, logger: RecordingLogger, kind: Kind
    ) -> None:
        sim.script(kind.silent, Reply(text="one two three"))
        with session_on(sim) as session:
            kind.ask(drive, session)
            drive.drain(session)
            assert row(session)["silent_output"] == "one two three"
            silent = logger.of(drive, kind.silent)[0]
        whole = "async_complete_streaming_response" if drive.is_async else "complete_streaming_response"
        assert silent.ok
        assert silent.kwargs["stream"] is True
        assert silent.kwargs[whole] is not None
        assert silent.payload["completion_tokens"] > 0

    def test_a_stream_that_the_caller_reads_is_not_changed_by_its_mirror(self, sim: Any, drive: Any) -> None:
        _, kind = CHAT
        sim.script(kind.primary, *[Reply(text="one two three")] * 2)
        sim.script(kind.silent, Reply(text="quite another answer"))
        plain = kind.ask(drive, litellm.Router(model_list=deployments(sim, silent_model=None)))
        with session_on(sim) as session:
            mirrored = kind.ask(drive, session)
            drive.drain(session)
        texts = [[c.choices[0].delta.content for c in chunks if c.choices] for chunks in (plain, mirrored)]
        assert texts[0] == texts[1]


class TestItNeverMirrorsAgain:
    @pytest.mark.parametrize("onward", ["other", ["other", "chat"], "chat"])
    def test_a_silent_models_own_silent_model_is_not_called(self, sim: Any, drive: Any, onward: Any) -> None:
        models = deployments(sim)
        models[1] = sim.deployment("next", "gpt-4o-mini", silent_model=onward)
        with mk.MirrorSession(litellm.Router(model_list=models)) as session:
            drive.chat(session)
            drive.drain(session)
            assert row(session)["arm"] == "next"
        assert [request.model for request in sim.requests] == ["gpt-4o", "gpt-4o-mini"]


class TestItsFailuresReachNobody:
    @each(*KINDS)
    def test_the_caller_has_the_primarys_answer_whatever_becomes_of_the_silent_call(
        self, sim: Any, drive: Any, kind: Kind
    ) -> None:
        sim.script(kind.silent, Reply(fault="400"))
        with session_on(sim) as session:
            assert kind.ask(drive, session)
            drive.drain(session)
            pair = row(session)
        assert (pair["primary_status"], pair["silent_status"]) == ("ok", "error")

    @each(*STREAMS)
    def test_a_silent_stream_that_breaks_leaves_the_callers_whole(
        self, sim: Any, drive: Any, kind: Kind
    ) -> None:
        sim.script(kind.silent, Reply(text="one two three", cut_after_chunks=2))
        # without retries, as the next attempt would succeed
        with session_on(sim, silent_retries=0) as session:
            assert kind.ask(drive, session)
            drive.drain(session)
            pair = row(session)
        assert (pair["primary_status"], pair["silent_status"]) == ("ok", "error")

    def test_a_group_that_is_not_there_is_only_recorded(self, sim: Any, drive: Any) -> None:
        with session_on(sim) as session:
            late = sim.deployment("late", "gpt-4.1", silent_model="nowhere") | {"model_info": {"id": "late"}}
            added = litellm.router_api.ChangeSet(upsert=[litellm.types.router.Deployment(**late)], delete=[])
            session.router.apply(added)
            assert drive.chat(session, model="late").choices
            drive.drain(session)
            pair = row(session)
        assert (pair["arm"], pair["silent_status"], sim.count("gpt-4o-mini")) == ("nowhere", "error", 0)


class TestThePrimaryIsNotDelayed:
    @each(*KINDS)
    def test_it_answers_while_its_silent_calls_are_still_being_made(
        self, sim: Any, drive: Any, kind: Kind
    ) -> None:
        with sim.hold(kind.silent) as hold, session_on(sim) as session:
            assert kind.ask(drive, session)
            assert (session.frame.height, session.under_way) == (0, 1)
            hold.release()
            drive.drain(session)
            assert row(session)["silent_status"] == "ok"


class TestWhereWeDiffer:
    def test_one_silent_call_a_request_whatever_the_primarys_retries_and_fallbacks(
        self, sim: Any, drive: Any
    ) -> None:
        sim.script("gpt-4o", *[Reply(fault="500")] * 2)
        more = [sim.deployment("spare", "gpt-4.1", silent_model="other")]
        settings = {"num_retries": 1, "retry_after": 0, "fallbacks": [{"chat": ["spare"]}]}
        with session_on(sim, "next", *more, settings=settings) as session:
            drive.chat(session)
            drive.drain(session)
            pair = row(session)
        assert (pair["arm"], pair["primary_fell_back"]) == ("next", True)
        assert (sim.count("gpt-4o"), sim.count("gpt-4.1"), sim.count("gpt-4o-mini")) == (2, 1, 1)

    @each(*KINDS)
    def test_it_is_sent_when_the_primary_has_settled(self, sim: Any, drive: Any, kind: Kind) -> None:
        sim.script(kind.primary, Reply(delay_s=0.2))
        with session_on(sim) as session:
            kind.ask(drive, session)
            drive.drain(session)
        primary, silent = sim.requests
        assert silent.model == kind.silent
        assert silent.received_at - primary.received_at > 0.2

    @each(*KINDS)
    def test_a_primary_that_fails_is_mirrored_as_well(self, sim: Any, drive: Any, kind: Kind) -> None:
        sim.script(kind.primary, Reply(fault="400"))
        with session_on(sim) as session:
            with pytest.raises(litellm.BadRequestError):
                kind.ask(drive, session)
            drive.drain(session)
            pair = row(session)
        assert (pair["primary_status"], pair["silent_status"], sim.count(kind.silent)) == ("error", "ok", 1)

    @pytest.mark.parametrize("retries", [0, 1])
    def test_it_is_retried_as_the_session_says_and_never_falls_back(
        self, sim: Any, drive: Any, retries: int
    ) -> None:
        sim.script("gpt-4o-mini", *[Reply(fault="500")] * 9)
        settings = {"num_retries": 3, "retry_after": 0, "fallbacks": [{"next": ["other"]}]}
        with session_on(sim, settings=settings, silent_retries=retries) as session:
            drive.chat(session, num_retries=4, fallbacks=["other"])
            drive.drain(session)
            assert row(session)["silent_status"] == "error"
        assert (sim.count("gpt-4o-mini"), sim.count("gpt-4.1")) == (1 + retries, 0)

    def test_it_neither_answers_from_litellms_cache_nor_leaves_anything_there(
        self, sim: Any, drive: Any, litellm_state: Any
    ) -> None:
        litellm_state.cache = litellm.Cache(type="local")
        router = litellm.Router(model_list=deployments(sim, silent_model="next"), cache_responses=True)
        with mk.MirrorSession(router) as session:
            drive.call(router, "completion", "next", MESSAGES)
            drive.chat(session)
            other = [{"role": "user", "content": "Is anybody there?"}]
            drive.chat(session, messages=other)
            drive.drain(session)
            drive.call(router, "completion", "next", other)
            assert session.frame["silent_cache_hit"].to_list() == [False, False]
        assert sim.count("gpt-4o-mini") == 4

    def test_the_callers_keys_and_headers_stay_with_the_primary(self, sim: Any, drive: Any) -> None:
        with Simulator([SimulatedModel("gpt-4.1")], api_key="sk-of-another-provider-0123") as elsewhere:
            with session_on(
                sim, None, elsewhere.deployment("away", "gpt-4.1"), silent_model="away"
            ) as session:
                drive.chat(
                    session,
                    api_key=sim.api_key,
                    api_base=sim.url,
                    extra_headers={"Authorization": f"Bearer {sim.api_key}", "X-Api-Key": "abcdefgh"},
                )
                drive.drain(session)
                assert row(session)["silent_status"] == "ok"
            (silent,) = elsewhere.requests
        assert sim.api_key not in str(silent.headers)
        assert "abcdefgh" not in str(silent.headers)
        assert "abcdefgh" in str(sim.requests[0].headers)

    def test_a_caller_with_keys_of_its_own_is_mirrored_like_any_other(self, sim: Any, drive: Any) -> None:
        with session_on(sim) as session:
            # LiteLLM gives the deployment another id for such a request
            drive.chat(session, api_key=sim.api_key)
            drive.drain(session)
            assert row(session)["arm"] == "next"

    @pytest.mark.parametrize(
        ("tools", "mirrored"),
        [
            ([{"type": "web_search"}, {"type": "mcp", "server_label": "x", "server_url": "http://x"}], False),
            ([{"type": "web_search"}], True),
        ],
    )
    def test_a_request_whose_tools_the_provider_runs_itself_is_not_sent_twice(
        self, sim: Any, drive: Any, tools: Any, mirrored: bool
    ) -> None:
        with session_on(sim) as session:
            drive.call(session, "responses", "chat", "Refund my order", tools=tools)
            drive.drain(session)
            assert session.funnel.mirrored == mirrored
        assert sim.count("gpt-4o-mini") == mirrored

    @pytest.mark.slow
    def test_its_failures_cool_nothing_down(self, sim: Any, drive: Any) -> None:
        # two deployments, as LiteLLM never cools down the last of a group
        twin = sim.deployment("next", "gpt-4.1-mini")
        # a refusal that LiteLLM cools down for at once
        sim.script("gpt-4o-mini", *[Reply(fault="401")] * 50)
        settings = {"num_retries": 0, "cooldown_time": 60}
        with session_on(sim, "next", twin, settings=settings) as session:
            for _ in range(20):
                drive.chat(session)
            drive.drain(session)
            failed = sim.count("gpt-4o-mini")
            assert failed == session.frame["silent_status"].to_list().count("error") > 0
            for _ in range(50):
                with contextlib.suppress(litellm.AuthenticationError):
                    drive.call(session.router, "completion", "next", MESSAGES)
            assert sim.count("gpt-4o-mini") > failed

    @pytest.mark.parametrize("malformed", [42, True, "", ["next", 42], [""], {"next": 1}])
    def test_a_malformed_silent_model_is_refused_with_the_name_of_its_deployment(
        self, sim: Any, malformed: Any
    ) -> None:
        router = litellm.Router(model_list=deployments(sim, silent_model=malformed))
        with pytest.raises(mk.ConfigError, match="silent_model of 'chat'") as refused:
            mk.MirrorSession(router)
        for name in ("litellm", "_HostedEntry", "Params", "validation error"):
            assert name not in str(refused.value)
        # the Router is as it was
        assert router.registry().all()[0]["litellm_params"]["silent_model"] == malformed

    @pytest.mark.parametrize(("silent", "why"), [("nowhere", "no model group"), ("chat", "onto itself")])
    def test_a_group_that_is_not_there_or_the_primarys_own_is_refused(
        self, sim: Any, silent: str, why: str
    ) -> None:
        with pytest.raises(mk.ConfigError, match=f"'{silent}'.*{why}"):
            session_on(sim, silent)

    def test_a_name_that_is_given_twice_gets_one_silent_call(self, sim: Any, drive: Any) -> None:
        with session_on(sim, ["next", "next"]) as session:
            drive.chat(session)
            drive.drain(session)
            assert row(session)["arm"] == "next"
        assert sim.count("gpt-4o-mini") == 1

    def test_no_more_are_made_at_once_than_the_session_allows_nor_threads_for_them(
        self, sim: Any, drive: Any
    ) -> None:
        with sim.hold("gpt-4o-mini") as hold, session_on(sim, max_in_flight=2) as session:
            drive.chat(session)
            before = threading.active_count()
            for _ in range(19):
                drive.chat(session)
            if drive.is_async:
                drive.run(asyncio.to_thread(hold.wait_for, 2))
            hold.wait_for(2)
            assert sim.count("gpt-4o-mini") == 2
            assert threading.active_count() - before < 10
            hold.release()
            drive.drain(session)
            assert session.frame.height == 20

    def test_what_is_under_way_when_its_loop_ends_is_finished(self, sim: Any) -> None:
        async def ask() -> None:
            for _ in range(5):
                await session.acompletion("chat", MESSAGES)

        with session_on(sim) as session:
            asyncio.run(ask())
            session.drain()
            assert session.frame["silent_status"].to_list() == ["ok"] * 5

    def test_a_silent_stream_is_asked_for_its_usage_besides_the_callers_options(
        self, sim: Any, drive: Any
    ) -> None:
        with session_on(sim) as session:
            drive.read(drive.chat(session, stream=True, stream_options={"include_obfuscation": False}))
            drive.drain(session)
        primary, silent = (request.body["stream_options"] for request in sim.requests)
        assert primary == {"include_obfuscation": False}
        assert silent == {"include_obfuscation": False, "include_usage": True}

    def test_it_says_which_pair_it_belongs_to(self, sim: Any, drive: Any, logger: RecordingLogger) -> None:
        with session_on(sim) as session:
            drive.chat(session, metadata={"spend_logs_metadata": {"team": "x"}})
            drive.drain(session)
            pair = row(session)
            (silent,) = logger.of(drive, "gpt-4o-mini")
        logged = silent.payload["metadata"]["spend_logs_metadata"]
        assert logged["team"] == "x"
        assert logged["mirrorkit_pair_id"] == silent.metadata["mirrorkit_pair_id"] == pair["pair_id"]
        assert logged["mirrorkit_request_id"] == pair["request_id"]
        assert "is_silent_experiment" in silent.payload["request_tags"]
