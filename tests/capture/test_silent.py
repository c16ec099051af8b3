"""What a silent call sends: the request as it was, without what belongs to the primary."""

import copy
import threading
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.capture.exchange import Asked, request_of
from mirrorkit.capture.observe import Pricer
from mirrorkit.capture.policy import Policy
from mirrorkit.capture.record import Recorder
from mirrorkit.capture.router.adapter import ENDPOINTS
from mirrorkit.capture.scrub import Scrubber
from mirrorkit.capture.silent import SILENT_TAG, SilentCall, silent_kwargs

MARKS = {SILENT_TAG: True, "mirrorkit_pair_id": "p-1", "mirrorkit_arm": "next"}
ALL = [pytest.param(endpoint, id=name) for name, endpoint in ENDPOINTS.items()]
CHAT = ENDPOINTS["completion"]
CREDENTIALS = {
    "api_key": "k",
    "api_base": "https://primary",
    "base_url": "https://primary",
    "api_version": "v",
    "organization": "o",
    "custom_llm_provider": "openai",
    "client": object,
    "user_config": {"model_list": []},
    "aws_secret_access_key": "a",
    "aws_region_name": "eu",
    "azure_ad_token": "t",
    "vertex_credentials": "{}",
    "watsonx_token": "w",
}


def silent(kwargs: dict[str, Any], endpoint: Any = CHAT, **options: Any) -> dict[str, Any]:
    defaults = {
        "group": "next",
        "own_group": False,
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


@given(requests, st.sampled_from(list(ENDPOINTS.values())), st.booleans(), st.booleans())
def test_the_request_itself_is_never_changed_nor_shared(
    kwargs: dict[str, Any], endpoint: Any, own: bool, add_tag: bool
) -> None:
    before = copy.deepcopy(kwargs)
    sent = silent(kwargs, endpoint, own_group=own, add_tag=add_tag)
    assert kwargs == before
    for name in sent.keys() & kwargs.keys():
        assert sent[name] is not kwargs[name] or not isinstance(sent[name], dict | list) or not sent[name]


@given(requests, st.sampled_from(list(ENDPOINTS.values())), st.booleans())
def test_no_request_gets_around_the_rules(kwargs: dict[str, Any], endpoint: Any, own: bool) -> None:
    sent = silent(kwargs, endpoint, own_group=own)
    assert sent["model"] == "next"
    assert sent["litellm_trace_id"] == "trace-1"
    assert sent["disable_fallbacks"] is True
    assert sent["cache"] == {"no-cache": True, "no-store": True}
    assert sent["cooldown_time"] == 0
    assert sent["num_retries"] == 0
    assert "fallbacks" not in sent
    assert "litellm_call_id" not in sent
    assert sent[endpoint.metadata][SILENT_TAG] is True
    assert own or "api_key" not in sent


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("endpoint", ALL)
def test_what_belongs_to_the_primarys_one_call_is_stripped(endpoint: Any, own: bool) -> None:
    ids = {
        "litellm_call_id": "c",
        "litellm_logging_obj": threading.Lock(),
        "standard_logging_object": {},
        "litellm_trace_id": "the caller's",
    }
    routing = {
        "specific_deployment": True,
        "num_retries": 9,
        "fallbacks": [{"chat": ["other"]}],
        "context_window_fallbacks": [{}],
        "content_policy_fallbacks": [{}],
        "disable_fallbacks": False,
        "cooldown_time": 60,
        "cache": {"ttl": 9},
    }
    sent = silent({**ids, **routing, "temperature": 0.5}, endpoint, own_group=own, retries=2)
    assert set(sent) == {
        "model",
        "temperature",
        "litellm_trace_id",
        "num_retries",
        "disable_fallbacks",
        "cache",
        "cooldown_time",
        endpoint.metadata,
    }
    assert (sent["litellm_trace_id"], sent["num_retries"], sent["temperature"]) == ("trace-1", 2, 0.5)


@pytest.mark.parametrize("name", CREDENTIALS)
def test_credentials_stay_with_the_primarys_group(name: str) -> None:
    kwargs = {name: CREDENTIALS[name], "max_tokens": 9}
    assert name not in silent(kwargs)
    assert silent(kwargs)["max_tokens"] == 9
    assert silent(kwargs, own_group=True)[name] == CREDENTIALS[name]


@pytest.mark.parametrize("field", ["headers", "extra_headers"])
@pytest.mark.parametrize(
    "header",
    [
        "Authorization",
        "AUTHORIZATION",
        "Proxy-Authorization",
        "api-key",
        "X-Api-Key",
        "x-goog-api-key",
        "X-Amz-Security-Token",
        "Cookie",
        "Set-Cookie",
        "X-Client-Secret",
        "my_api_key",
    ],
)
def test_credential_headers_go_whatever_their_case_and_the_others_stay(field: str, header: str) -> None:
    kwargs = {field: {header: "s3cret", "X-Team": "search"}}
    assert silent(kwargs)[field] == {"X-Team": "search"}
    assert silent(kwargs, own_group=True)[field] == kwargs[field]


@pytest.mark.parametrize("header", ["Ocp-Apim-Subscription-Key", "apikey", "X-Auth-Key", "X-Password"])
def test_other_vendors_credential_headers_go_too(header: str) -> None:
    assert header not in silent({"extra_headers": {header: "s3cret"}})["extra_headers"]


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
    call = SilentCall(
        Asked(request, ENDPOINTS["completion"], {}, None),
        "next",
        "next",
        adapter=cast(Any, None),
        policy=Policy(),
        recorder=Recorder(Pricer(lambda *_: {}), Scrubber(), ended.append),
        primary_call_id=None,
        on_done=lambda _, told: ended.append((told.call.status, told.call.attempts, told.started)),
        on_fault=ended.append,
    )
    call.drop()
    call.drop()
    assert ended == [("cancelled", 0, None)]
