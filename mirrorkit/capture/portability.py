"""What of a request may go to another model, and which requests may not be sent twice.

An allow-list: what is not known to be part of a request stays with the primary's provider, as it may be a
credential. Of what is known, some only the provider understands that it was written for. A request whose
answer rests on what its provider has stored, or whose provider runs a tool that may act, goes nowhere else.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from mirrorkit.capture.fields import field_of
from mirrorkit.capture.scrub import is_secret_name


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


Relation = Literal["own group", "same account", "same provider", "other provider"]
"""What the silent model group is to the deployment that served the primary."""

Obstacle = Literal["action", "stored state"]
"""Why a request is not for everyone: its provider runs a tool that may act, or has stored a part of it."""

_OPENAI = _names(
    "model stream stream_options temperature top_p tools tool_choice parallel_tool_calls user metadata seed "
    "service_tier safety_identifier prompt_cache_key prompt_cache_retention store top_logprobs "
    "reasoning_effort verbosity"
)

PARAMETERS: Mapping[str, frozenset[str]] = {
    "completion": _OPENAI
    | _names(
        "messages n stop max_tokens max_completion_tokens modalities prediction audio presence_penalty "
        "frequency_penalty logit_bias logprobs response_format functions function_call "
        "web_search_options"
    ),
    "responses": _OPENAI
    | _names(
        "input include instructions max_output_tokens reasoning text text_format truncation max_tool_calls "
        "partial_images prompt_cache_options moderation context_management"
    ),
    "embedding": frozenset({"model", "input", "dimensions", "encoding_format", "user"}),
    "anthropic_messages": _names(
        "model messages max_tokens metadata stop_sequences stream system temperature thinking tool_choice "
        "tools top_k top_p output_format output_config cache_control reasoning_effort service_tier "
        "context_management"
    ),
}
"""The parameters of each call type's own API, which LiteLLM puts into the words of any provider."""

_OF_PROVIDERS = _names(
    # Anthropic, Bedrock
    "thinking top_k cache_control betas speed output_config output_format inference_geo guardrailConfig "
    "performanceConfig requestMetadata safeguards compaction context_management "
    # Gemini
    "safety_settings response_modalities speech_config media_resolution labels "
    "include_server_side_tool_invocations "
    # Mistral, Cohere, Voyage, xAI, Perplexity, Groq, OpenRouter
    "safe_prompt random_seed documents citation_options input_type truncate search_parameters "
    "search_domain_filter search_recency_filter return_citations return_images return_related_questions "
    "reasoning_format include_reasoning reasoning transforms models provider route "
    # vLLM, Ollama and other servers of open models
    "top_a min_p typical_p tfs_z repetition_penalty length_penalty best_of min_tokens ignore_eos "
    "stop_token_ids skip_special_tokens include_stop_str_in_output guided_json guided_regex guided_choice "
    "guided_grammar chat_template_kwargs add_generation_prompt enable_thinking thinking_budget num_ctx "
    "num_predict keep_alive mirostat mirostat_eta mirostat_tau repeat_last_n repeat_penalty format raw"
)

_OF_LITELLM = _names(
    # how the call is made, whoever answers it
    "timeout stream_timeout request_timeout force_timeout num_retries max_retries retry_policy drop_params "
    "additional_drop_params allowed_openai_params mock_response mock_timeout enable_json_schema_validation "
    "merge_reasoning_content_in_choices ensure_alternating_roles user_continue_message "
    "assistant_continue_message supports_system_message guardrails prompt_id prompt_variables "
    "prompt_version prompt_label prompt_environment "
    # what loggers are told
    "litellm_metadata litellm_session_id litellm_trace_id tags no-log turn_off_message_logging "
    "litellm_disabled_callbacks"
)

# Loggers are told of the request that a proxy was sent, with its headers: it is not recorded.
_OF_A_PROXY = frozenset({"proxy_server_request"})

_OF_THE_PRIMARYS_CALL = _names(
    # LiteLLM keeps one of these for each call: with the primary's, one log entry would overwrite another
    "litellm_call_id litellm_logging_obj standard_logging_object "
    # where it is routed: a silent call never falls back, and is not picked for the deployment of another
    "specific_deployment fallbacks context_window_fallbacks content_policy_fallbacks disable_fallbacks "
    "cooldown_time cache caching"
)

# Ids of the primary's own log entries, in the words of Langfuse, LangSmith and Braintrust.
_OF_THE_PRIMARYS_LOG = ("generation_id", "update_trace_keys", "run_id", "span_id")

# A failure that the caller wants LiteLLM to make up is the primary's alone.
_MADE_UP = "mock_testing_"

_CONNECTION = _names(
    "api_base base_url api_version api_type organization custom_llm_provider client user_config "
    "litellm_credential_name extra_query shared_session provider_specific_header model_list"
)
_CLOUDS = ("aws_", "azure_", "oci_", "s3_", "vertex_", "watsonx_")

_STORED = ("previous_response_id", "conversation", "prompt", "container", "cached_content", "data_sources")
# what is answered later is no answer that could be compared
_LATER = "background"
_STORED_WITHIN = frozenset({"file_id", "file_ids", "vector_store_ids", "encrypted_content"})
_STORED_KINDS = frozenset({"item_reference", "reasoning"})
_ACTING = frozenset({"mcp", "mcp_toolset", "computer", "computer_use_preview", "shell", "local_shell"})
_ACTING_PREFIXES = ("computer_", "bash_", "mcp_")
_DEEPEST = 12
# what a tool takes is described, and may be called anything
_SCHEMAS = frozenset({"function", "parameters", "input_schema", "schema", "json_schema"})


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What of a caller's keywords a silent call may be sent, and the names of what it is sent without."""

    kwargs: Mapping[str, Any]
    stripped: tuple[str, ...] = ()


def forwarded(
    kwargs: Mapping[str, Any],
    call_type: str,
    metadata: str,
    relation: Relation,
    named: Collection[str] = (),
) -> Forwarded:
    """What of a caller's keywords may be sent to a silent model.

    Args:
        kwargs: the caller's keywords; nothing in them is changed.
        call_type: which API they are of.
        metadata: the keyword of LiteLLM's own metadata.
        relation: what the silent model group is to the primary's deployment.
        named: further keywords that the user lets through.

    >>> given = {"model": "chat", "messages": [], "top_k": 5, "api_key": "sk-1", "extra_headers": {}}
    >>> forwarded(given, "completion", "metadata", "other provider").stripped
    ('api_key', 'extra_headers', 'top_k')
    >>> sorted(forwarded(given, "completion", "metadata", "same provider").kwargs)
    ['messages', 'model', 'top_k']
    """
    kept = {
        name: value
        for name, value in kwargs.items()
        if name not in _OF_THE_PRIMARYS_CALL and not name.startswith(_MADE_UP)
    }
    stripped: set[str] = set()
    if relation != "own group":
        allowed = PARAMETERS[call_type] | _OF_LITELLM | _OF_A_PROXY | {metadata, *named}
        if relation != "other provider":
            allowed |= _OF_PROVIDERS
            allowed |= frozenset(_STORED) if relation == "same account" else frozenset()
        stripped = kept.keys() - allowed
        kept = {name: value for name, value in kept.items() if name not in stripped}
        if isinstance(tools := kept.get("tools"), list | tuple):
            kept["tools"], secrets = _without_secrets(tools)
            stripped |= {f"tools.{name}" for name in secrets}
    if isinstance(told := kept.get(metadata), Mapping) and (ids := told.keys() & set(_OF_THE_PRIMARYS_LOG)):
        kept[metadata] = {name: value for name, value in told.items() if name not in ids}
        stripped |= {f"{metadata}.{name}" for name in ids}
    return Forwarded(kept, tuple(sorted(stripped)))


def recorded(params: Mapping[str, Any], call_type: str, named: Collection[str] = ()) -> dict[str, Any]:
    """Those of a request's parameters whose values may be recorded: of a name that is not known, none may.

    >>> recorded({"temperature": 0, "oci_key": "k", "top_k": 5}, "completion")
    {'temperature': 0, 'top_k': 5}
    """
    known = PARAMETERS[call_type] | _OF_PROVIDERS | _OF_LITELLM | frozenset((*_STORED, *named))
    return {name: value for name, value in params.items() if name in known}


def is_unknown(name: str) -> bool:
    """Whether a stripped keyword may have been a parameter of the request that is not known here.

    >>> is_unknown("my_parameter"), is_unknown("extra_body"), is_unknown("api_key"), is_unknown("top_k")
    (True, True, False, False)
    """
    known = name in _OF_PROVIDERS or name in _CONNECTION or name.startswith((*_CLOUDS, _MADE_UP))
    return not known and "." not in name and not is_secret_name(name)


def obstacle(kwargs: Mapping[str, Any], payload: str) -> Obstacle | None:
    """Why a request is not to be sent to just any model; `payload` is the keyword of its messages or input.

    >>> obstacle({"tools": [{"type": "function"}]}, "input")
    >>> obstacle({"tools": [{"type": "mcp"}]}, "input"), obstacle({"previous_response_id": "r"}, "input")
    ('action', 'stored state')
    """
    kinds = set(_tool_kinds(kwargs.get("tools")))
    if kwargs.get("mcp_servers") or any(map(_acts, kinds)):
        return "action"
    if any(kwargs.get(name) for name in (*_STORED, _LATER)):
        return "stored state"
    if _refers(kwargs.get(payload), _DEEPEST) or _refers(kwargs.get("tools"), _DEEPEST):
        return "stored state"
    return None


def _tool_kinds(tools: Any) -> Iterator[str]:
    if isinstance(tools, list | tuple):
        for tool in tools:
            # whatever a foreign object raises that is looked at
            with suppress(Exception):
                yield str(field_of(tool, "type"))


def _acts(kind: str) -> bool:
    return kind in _ACTING or kind.startswith(_ACTING_PREFIXES)


def _refers(value: Any, depth: int) -> bool:
    """Whether a part of a request is but the id of what its provider has stored."""
    if depth == 0:
        return False
    if issubclass(type(value), dict):
        kind, container = value.get("type"), value.get("container")
        if (isinstance(kind, str) and kind in _STORED_KINDS) or (isinstance(container, str) and container):
            return True
        if any(value.get(name) for name in _STORED_WITHIN):
            return True
        return any(_refers(part, depth - 1) for name, part in value.items() if name not in _SCHEMAS)
    if issubclass(type(value), list | tuple):
        return any(_refers(part, depth - 1) for part in value)
    return False


def _without_secrets(tools: Iterable[Any]) -> tuple[list[Any], set[str]]:
    """The tools without what their provider is to identify itself with; a function's own schema stays."""
    found: set[str] = set()
    return [_without(tool, found, _DEEPEST) for tool in tools], found


def _without(value: Any, found: set[str], depth: int) -> Any:
    """The value without what is secret in it by its name; those names are added to `found`."""
    if depth == 0 or type(value) not in (dict, list):
        return value
    if type(value) is list:
        return [_without(part, found, depth - 1) for part in value]
    found |= {name for name in value if is_secret_name(name)}
    return {
        name: part if name in _SCHEMAS - {"function"} else _without(part, found, depth - 1)
        for name, part in value.items()
        if not is_secret_name(name)
    }
