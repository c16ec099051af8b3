"""What a silent call sends: the request as it was, without what belongs to the primary."""

import copy
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.capture.exchange import Asked, request_of
from mirrorkit.capture.frames import Order
from mirrorkit.capture.observe import Pricer
from mirrorkit.capture.policy import Policy
from mirrorkit.capture.record import Recorder
from mirrorkit.capture.router.adapter import ENDPOINTS
from mirrorkit.capture.scrub import Scrubber
from mirrorkit.capture.silent import SILENT_TAG, SilentCall, silent_kwargs

MARKS = {SILENT_TAG: True, "mirrorkit_pair_id": "p-1", "mirrorkit_arm": "next"}
ALL = [pytest.param(endpoint, id=name) for name, endpoint in ENDPOINTS.items()]
CHAT = ENDPOINTS["completion"]


def silent(kwargs: dict[str, Any], endpoint: Any = CHAT, **options: Any) -> dict[str, Any]:
    defaults = {
        "group": "next",
        "trace_id": "trace-1",
        "marks": MARKS,
        "add_tag": True,
        "retries": 0,
        "timeout_s": None,
    }
    return silent_kwargs({"model": "chat", **kwargs}, endpoint, **(defaults | options))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(
    [
        "messages",
        "input",
        "metadata",
        "litellm_metadata",
        "headers",
        "extra_headers",
        "fallbacks",
        "api_key",
        "tools",
        "stream",
        "user",
        "litellm_call_id",
    ]
)
requests = st.fixed_dictionaries(
    {},
    optional={
        "metadata": st.none()
        | st.dictionaries(st.sampled_from(["tags", "x", "spend_logs_metadata"]), values),
        "stream_options": st.none() | st.dictionaries(st.text(max_size=4), values, max_size=2),
        "extra_headers": st.none() | st.dictionaries(st.text(max_size=9), values, max_size=3),
        "stream": st.booleans(),
    },
).flatmap(lambda some: st.dictionaries(names, values).map(lambda more: {**more, **some}))


@given(requests, st.sampled_from(list(ENDPOINTS.values())), st.booleans())
def test_the_request_itself_is_never_changed_nor_shared(
    kwargs: dict[str, Any], endpoint: Any, add_tag: bool
) -> None:
    before = copy.deepcopy(kwargs)
    sent = silent(kwargs, endpoint, add_tag=add_tag)
    assert kwargs == before
    for name in sent.keys() & kwargs.keys():
        assert sent[name] is not kwargs[name] or not isinstance(sent[name], dict | list) or not sent[name]


@given(requests, st.sampled_from(list(ENDPOINTS.values())))
def test_no_request_gets_around_the_rules(kwargs: dict[str, Any], endpoint: Any) -> None:
    sent = silent(kwargs, endpoint)
    assert sent["model"] == "next"
    assert sent["litellm_trace_id"] == "trace-1"
    assert sent["disable_fallbacks"] is True
    assert sent["cache"] == {"no-cache": True, "no-store": True}
    assert sent["cooldown_time"] == 0
    assert sent["num_retries"] == 0
    assert sent[endpoint.metadata][SILENT_TAG] is True


def test_retries_are_the_sessions_where_it_says_and_else_the_callers_and_the_routers() -> None:
    asked = {"num_retries": 9, "max_retries": 8}
    assert silent(asked, retries=None).items() >= asked.items()
    assert "num_retries" not in silent({}, retries=None)
    told = silent(asked, retries=2)
    assert (told["num_retries"], "max_retries" in told) == (2, False)


def test_a_server_that_refused_to_be_asked_for_usage_is_asked_no_more() -> None:
    assert "stream_options" not in silent({"stream": True}, ask_for_usage=False)
    asked = {"stream": True, "stream_options": {"x": 1}}
    assert silent(asked, ask_for_usage=False)["stream_options"] == {"x": 1}


def test_a_stream_is_asked_for_its_usage_and_keeps_its_other_options() -> None:
    assert silent({"stream": True})["stream_options"] == {"include_usage": True}
    asked = {"stream": True, "stream_options": {"include_usage": False, "x": 1}}
    assert silent(asked)["stream_options"] == {"include_usage": True, "x": 1}
    assert silent({"stream": True, "stream_options": None})["stream_options"] == {"include_usage": True}


def test_only_a_chat_stream_is_asked_for_its_usage() -> None:
    assert "stream_options" not in silent({})
    assert "stream_options" not in silent({"stream": False})
    assert "stream_options" not in silent({"stream": True}, ENDPOINTS["responses"])


@pytest.mark.parametrize("endpoint", ALL)
def test_metadata_says_what_the_call_is_where_each_logger_looks(endpoint: Any) -> None:
    kwargs = {endpoint.metadata: {"session_id": "s", "model_group": "chat", "spend_logs_metadata": {"a": 1}}}
    metadata = silent(kwargs, endpoint)[endpoint.metadata]
    assert metadata == {
        "session_id": "s",
        "model_group": "next",
        **MARKS,
        "spend_logs_metadata": {"a": 1, **MARKS},
        "tags": [SILENT_TAG],
    }


def test_the_responses_apis_own_metadata_is_a_parameter_like_any_other() -> None:
    sent = silent({"metadata": {"mine": "1"}}, ENDPOINTS["responses"])
    assert sent["metadata"] == {"mine": "1"}
    assert sent["litellm_metadata"][SILENT_TAG] is True


@pytest.mark.parametrize("tags", [["a"], ("a",)])
def test_a_tag_is_added_to_the_callers_or_not_at_all(tags: Any) -> None:
    assert silent({"metadata": {"tags": tags}})["metadata"]["tags"] == ["a", SILENT_TAG]
    assert silent({"metadata": {"tags": tags}}, add_tag=False)["metadata"]["tags"] == tags
    assert "tags" not in silent({}, add_tag=False)["metadata"]


@pytest.mark.parametrize("odd", [None, "text", ["list"], 7])
def test_odd_metadata_still_leaves_a_marked_call(odd: Any) -> None:
    assert silent({"metadata": odd})["metadata"]["mirrorkit_pair_id"] == "p-1"
    inner = silent({"metadata": {"spend_logs_metadata": odd, "tags": odd if odd != ["list"] else None}})
    assert inner["metadata"]["spend_logs_metadata"] == MARKS
    assert inner["metadata"]["tags"] == [SILENT_TAG]


def test_a_time_out_of_the_session_wins_and_none_leaves_the_callers() -> None:
    assert silent({"timeout": 60}, timeout_s=2.5)["timeout"] == 2.5
    assert silent({"timeout": 60})["timeout"] == 60
    assert "timeout" not in silent({})


def test_a_call_that_ends_twice_is_recorded_once() -> None:
    # as when a loop that stood still goes on after its calls were rescued from it
    request = request_of(ENDPOINTS["completion"], {"messages": []}, "chat", "r1", "t1")
    ended: list[Any] = []
    asked = Asked(request, ENDPOINTS["completion"], {}, None)
    call = SilentCall(
        Order(asked, "next", "next", None, limit_s=60.0, sets_timeout=True),
        adapter=cast(Any, None),
        policy=Policy(),
        recorder=Recorder(Pricer(lambda *_: {}), Scrubber(), ended.append),
        on_done=lambda _, told: ended.append((told.call.status, told.call.attempts, told.started)),
        on_fault=ended.append,
    )
    call.drop("given up")
    call.drop("given up")
    call.expire()
    call.record()
    assert ended == [("cancelled", 0, None)]
