"""What of a request goes to another model: what is known to be part of a request, and nothing else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from litellm.constants import DEFAULT_CHAT_COMPLETION_PARAM_VALUES
from litellm.types.llms.anthropic import AnthropicMessagesRequestOptionalParams
from litellm.types.llms.openai import ResponsesAPIOptionalRequestParams
from litellm.types.utils import all_litellm_params

from mirrorkit.capture.portability import PARAMETERS, forwarded, is_unknown, obstacle, recorded
from mirrorkit.capture.router.adapter import ENDPOINTS

RELATIONS = ("own group", "same account", "same provider", "other provider")
ELSEWHERE = RELATIONS[1:]
HELLO = {"model": "chat", "messages": [{"role": "user", "content": "Hi"}]}


def sent(
    kwargs: dict[str, Any], relation: Any = "other provider", call_type: str = "completion", **more: Any
) -> Any:
    return forwarded(kwargs, call_type, ENDPOINTS[call_type].metadata, relation, **more)  # type: ignore[index]


# What LiteLLM itself knows, and which of it goes nowhere else. One that is new fails these tests: look
# whether it is a part of a request, and put it here or into the allow-list.
CHAT_STAYS = {"api_version", "context_management", "custom_llm_provider", "extra_headers", "thinking"} | {
    "include_server_side_tool_invocations"
}
RESPONSES_STAY = {"background", "previous_response_id", "prompt"}
# of no use to another call, of which nobody needs to hear
OF_THE_PRIMARYS_CALL = {"litellm_call_id", "litellm_logging_obj", "standard_logging_object"} | {
    *("specific_deployment", "fallbacks", "context_window_fallbacks", "content_policy_fallbacks"),
    *("disable_fallbacks", "cooldown_time", "cache", "caching"),
}
MESSAGES_STAY = {"compaction", "container", "inference_geo", "mcp_servers", "safeguards", "speed"}


def test_each_parameter_of_a_chat_request_that_litellm_knows_is_sorted() -> None:
    given = dict.fromkeys(DEFAULT_CHAT_COMPLETION_PARAM_VALUES, "x")
    assert set(sent(given).stripped) == CHAT_STAYS


def test_each_parameter_of_a_responses_request_that_litellm_knows_is_sorted() -> None:
    given = dict.fromkeys(ResponsesAPIOptionalRequestParams.__annotations__, "x")
    assert set(sent(given, call_type="responses").stripped) == RESPONSES_STAY


def test_each_parameter_of_a_messages_request_that_litellm_knows_is_sorted() -> None:
    given = dict.fromkeys(AnthropicMessagesRequestOptionalParams.__annotations__, "x")
    assert set(sent(given, call_type="anthropic_messages").stripped) == MESSAGES_STAY


def test_of_litellms_own_keywords_none_that_tells_who_calls_goes_to_another_provider() -> None:
    given = dict.fromkeys(all_litellm_params, "x")
    gone = sent(given).kwargs.keys()
    assert gone <= {
        *("timeout", "stream_timeout", "request_timeout", "force_timeout", "num_retries", "max_retries"),
        *("retry_policy", "drop_params", "additional_drop_params", "allowed_openai_params", "guardrails"),
        *("mock_response", "mock_timeout", "enable_json_schema_validation", "litellm_disabled_callbacks"),
        *("merge_reasoning_content_in_choices", "ensure_alternating_roles", "supports_system_message"),
        *("user_continue_message", "assistant_continue_message", "prompt_id", "prompt_variables"),
        *("prompt_version", "prompt_label", "prompt_environment", "metadata", "litellm_metadata", "tags"),
        *("litellm_session_id", "litellm_trace_id", "no-log", "turn_off_message_logging"),
        "proxy_server_request",
    }


@pytest.mark.parametrize("relation", ELSEWHERE)
@pytest.mark.parametrize(
    "name",
    [
        *("api_key", "api_base", "organization", "extra_headers", "headers", "extra_body", "extra_query"),
        *("oci_key", "aws_session_token", "vertex_credentials", "azure_ad_token", "hf_token", "password"),
        *(
            "provider_specific_header",
            "client",
            "shared_session",
            "user_config",
            "litellm_params",
            "anything",
        ),
    ],
)
def test_what_may_be_a_credential_goes_nowhere_and_is_named(relation: Any, name: str) -> None:
    found = sent({**HELLO, name: "s3cret"}, relation)
    assert name not in found.kwargs
    assert found.stripped == (name,)


@pytest.mark.parametrize("name", ["api_key", "extra_headers", "anything", "top_k", "previous_response_id"])
def test_the_primarys_own_group_gets_what_the_primary_got(name: str) -> None:
    found = sent({**HELLO, name: "x"}, "own group")
    assert found.kwargs[name] == "x"
    assert found.stripped == ()


def test_a_providers_own_parameters_stay_with_that_provider() -> None:
    request = {**HELLO, "thinking": {"type": "enabled"}, "top_k": 5}
    assert sent(request, "other provider").stripped == ("thinking", "top_k")
    for relation in ("same provider", "same account"):
        assert sent(request, relation).kwargs == request


def test_the_user_names_what_else_is_part_of_a_request() -> None:
    request = {**HELLO, "my_parameter": 1}
    assert sent(request, named=("my_parameter",)).kwargs == request
    assert recorded({"my_parameter": 1, "other": 2}, "completion", ("my_parameter",)) == {"my_parameter": 1}


def test_a_tool_is_sent_without_its_credentials_and_a_functions_schema_stays() -> None:
    schema = {"type": "object", "properties": {"token": {"type": "string"}, "headers": {}}}
    function = {"type": "function", "function": {"name": "f", "parameters": schema}}
    search = {"type": "web_search", "headers": {"Authorization": "s3cret"}, "authorization": "s3cret"}
    found = sent({**HELLO, "tools": [function, search]})
    assert found.kwargs["tools"] == [function, {"type": "web_search"}]
    assert found.stripped == ("tools.authorization", "tools.headers")


@pytest.mark.parametrize("relation", RELATIONS)
def test_what_belongs_to_the_primarys_call_alone_goes_nowhere(relation: Any) -> None:
    found = sent({**HELLO, **dict.fromkeys(OF_THE_PRIMARYS_CALL, "x")}, relation)
    assert found.kwargs == HELLO
    assert found.stripped == ()


@pytest.mark.parametrize("relation", RELATIONS)
def test_ids_of_the_primarys_log_entries_are_not_written_over(relation: Any) -> None:
    request = {**HELLO, "metadata": {"generation_id": "g", "update_trace_keys": ["input"], "session_id": "s"}}
    found = sent(request, relation)
    assert found.kwargs["metadata"] == {"session_id": "s"}
    assert found.stripped == ("metadata.generation_id", "metadata.update_trace_keys")
    assert request["metadata"]["generation_id"] == "g"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(st.text(max_size=9) | st.sampled_from(["tools", "metadata", "input", "headers"]), values),
    st.sampled_from(ELSEWHERE),
    st.sampled_from(list(ENDPOINTS)),
)
def test_no_name_that_is_not_known_gets_out_and_each_that_stays_is_named(
    kwargs: dict[str, Any], relation: Any, call_type: Any
) -> None:
    found = sent(kwargs, relation, call_type)
    assert found.kwargs.keys() | set(found.stripped) >= kwargs.keys() - OF_THE_PRIMARYS_CALL
    assert not found.kwargs.keys() & set(found.stripped)
    assert recorded(kwargs, call_type).keys() <= kwargs.keys()


@pytest.mark.parametrize("kind", ["mcp", "mcp_toolset", "computer_use_preview", "computer_20250124", "shell"])
def test_a_tool_that_acts_is_an_obstacle(kind: str) -> None:
    assert obstacle({"tools": [{"type": kind}]}, "input") == "action"


@pytest.mark.parametrize(
    "request_",
    [
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"prompt": {"id": "pmpt_1"}},
        {"container": "cntr_1"},
        {"background": True},
        {"data_sources": [{"type": "azure_search"}]},
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}]},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
        {"input": [{"role": "user", "content": [{"type": "document", "source": {"file_id": "f"}}]}]},
        {"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]},
    ],
)
def test_what_only_the_primarys_provider_has_stored_is_an_obstacle(request_: dict[str, Any]) -> None:
    assert obstacle(request_, "input") == "stored state"


@given(values)
def test_any_shape_of_a_request_can_be_looked_at(value: Any) -> None:
    assert obstacle({"input": value, "tools": value}, "input") in (None, "action", "stored state")


def test_a_function_may_have_a_parameter_of_any_name() -> None:
    function = {"type": "function", "function": {"name": "f", "parameters": {"file_id": {"type": "string"}}}}
    assert obstacle({"tools": [function], "messages": HELLO["messages"]}, "messages") is None


def test_only_what_may_be_a_parameter_is_called_unknown() -> None:
    assert [
        name for name in ("api_key", "aws_region_name", "tools.headers", "top_k", "mine") if is_unknown(name)
    ] == ["mine"]


def test_the_call_types_are_the_endpoints() -> None:
    assert PARAMETERS.keys() == ENDPOINTS.keys()
    assert all({"model", ENDPOINTS[name].payload} <= known for name, known in PARAMETERS.items())
