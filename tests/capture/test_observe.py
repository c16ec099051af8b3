"""An answer of any shape becomes a Call: what it says is read, what it does not say is null."""

import asyncio
import json
from itertools import count
from types import SimpleNamespace
from typing import Any

import litellm
import pytest

from mirrorkit.capture.answer import Answer
from mirrorkit.capture.observe import Pricer, Seen
from mirrorkit.capture.usage import usage_of
from mirrorkit.capture.watch import Watch
from mirrorkit.records import Call

USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


class Bare(Exception):
    """An error that says nothing, and has no attributes of LiteLLM's."""


def watch(metadata: dict[str, Any] | None = None) -> Watch:
    ticks = count()
    return Watch({} if metadata is None else metadata, clock=lambda: float(next(ticks)))


def message(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "finish_reason": "stop", "message": fields}], "model": "m"}


def delta(index: int = 0, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": fields, "finish_reason": finish}], "model": "m"}


def piece(name: str | None, arguments: str | None, **where: Any) -> dict[str, Any]:
    return {"function": {"name": name, "arguments": arguments}, **where}


def streamed(*chunks: Any) -> Seen:
    one = watch()
    for chunk in chunks:
        one.chunk(chunk)
    return one.streamed(SimpleNamespace())


def as_object(value: Any) -> Any:
    if isinstance(value, dict):
        return SimpleNamespace(**{name: as_object(inner) for name, inner in value.items()})
    return [as_object(inner) for inner in value] if isinstance(value, list) else value


def call_of(seen: Seen, info: Any = None, request: Any = None, call_type: str = "completion") -> Call:
    return Pricer(lambda _id, _model: info).call(seen, request, None, call_type)


class TestWholeAnswers:
    @pytest.mark.parametrize(
        "answer",
        [
            {},
            {"choices": None},
            {"choices": []},
            None,
            object(),
            7,
            "text",
            {"choices": [None]},
            {"choices": [{}]},
        ],
    )
    def test_an_answer_that_says_nothing_is_blank_and_the_rest_unknown(self, answer: Any) -> None:
        call = call_of(watch().answered(answer))
        assert call.status == "ok"
        assert call.latency_s is not None
        assert (call.output, call.output_kind) == ("", "blank")
        assert (call.tool_calls, call.finish_reason, call.model) == (None, None, None)
        assert (call.input_tokens, call.cost_usd, call.usage_source) == (None, None, None)

    @pytest.mark.parametrize("shape", [dict, as_object, lambda a: litellm.ModelResponse(**a)])
    def test_dicts_objects_and_litellms_own_are_read_alike(self, shape: Any) -> None:
        answer = message(content="Hello", role="assistant") | {"usage": dict(USAGE)}
        seen = watch().answered(shape(answer))
        assert (seen.output, seen.answer.finish_reason, seen.model) == ("Hello", "stop", "m")
        assert seen.usage is not None
        assert (seen.usage.input_tokens, seen.usage.output_tokens, seen.usage.source) == (7, 3, "provider")

    def test_a_refusal_is_the_text(self) -> None:
        assert watch().answered(message(content=None, refusal="No.")).output == "No."

    def test_a_function_call_of_the_old_kind_is_a_tool_call(self) -> None:
        call = call_of(
            watch().answered(message(content=None, function_call={"name": "f", "arguments": "{}"}))
        )
        assert json.loads(call.tool_calls or "") == [{"name": "f", "arguments": "{}"}]

    @pytest.mark.parametrize("tool_calls", [None, []])
    def test_no_tool_calls_are_null(self, tool_calls: Any) -> None:
        assert call_of(watch().answered(message(content="x", tool_calls=tool_calls))).tool_calls is None

    def test_tool_calls_without_their_parts_are_rows_with_nulls(self) -> None:
        odd = [{"function": None}, {}, {"function": {"name": None, "arguments": None}}]
        call = call_of(watch().answered(message(content=None, tool_calls=odd)))
        assert json.loads(call.tool_calls or "") == [{"name": None, "arguments": None}] * 3

    def test_several_choices_are_a_json_array_with_their_gaps(self) -> None:
        choices = [{"message": {"content": text}, "finish_reason": "stop"} for text in ("a", None, "é")]
        assert json.loads(watch().answered({"choices": choices}).output or "") == ["a", "", "é"]

    def test_the_responses_api_is_read_by_its_items(self) -> None:
        items = [
            {"type": "reasoning", "content": None},
            {"type": "message", "content": [{"text": "Hel"}, {"text": "lo"}, {}]},
            {"type": "message", "content": None},
            {"type": "function_call", "name": "f", "arguments": "{}"},
        ]
        usage = {"input_tokens": 7, "output_tokens": 3, "input_tokens_details": {"cached_tokens": 2}}
        seen = watch().answered({"output": items, "status": "completed", "usage": usage})
        assert (seen.output, seen.answer.finish_reason) == ("Hello", "tool_calls")
        assert [c["name"] for c in seen.answer.tool_calls] == ["f"]
        assert seen.usage is not None
        assert (seen.usage.input_tokens, seen.usage.cached_input_tokens) == (7, 2)

    def test_an_embedding_is_its_number_and_length(self) -> None:
        for data, shape in (([], (0, 0)), ([{"embedding": [0.5] * 3}] * 2, (2, 3))):
            answer = litellm.EmbeddingResponse(model="e", data=data)
            vectors, dimensions = shape
            read = json.loads(watch().answered(answer).output or "")
            assert read == {"vectors": vectors, "dimensions": dimensions}


class TestUsage:
    @pytest.mark.parametrize(
        "usage",
        [
            None,
            {},
            {"prompt_tokens": 0, "completion_tokens": 0},
            {"prompt_tokens": None},
            {"total_tokens": 9},
            "many",
        ],
    )
    def test_what_the_provider_did_not_count_is_unknown_not_0(self, usage: Any) -> None:
        assert watch().answered({"usage": usage}).usage is None
        assert call_of(watch().answered({"usage": usage}), call_type="embedding").input_tokens is None

    def test_a_prompt_without_an_answer_counts_0_tokens_of_output(self) -> None:
        call = call_of(watch().answered({"usage": {"prompt_tokens": 7, "completion_tokens": 0}}))
        assert (call.input_tokens, call.output_tokens, call.usage_source) == (7, 0, "provider")

    @pytest.mark.parametrize("shape", [dict, as_object])
    @pytest.mark.parametrize("words", [("prompt", "completion"), ("input", "output")])
    def test_details_are_read_in_either_apis_words(self, shape: Any, words: tuple[str, str]) -> None:
        given, made = words
        usage = {
            f"{given}_tokens": 7,
            f"{made}_tokens": 3,
            f"{given}_tokens_details": {"cached_tokens": 0},
            f"{made}_tokens_details": {"reasoning_tokens": 2},
        }
        call = call_of(watch().answered(shape({"usage": shape(usage)})))
        assert (call.input_tokens, call.output_tokens) == (7, 3)
        assert (call.cached_input_tokens, call.reasoning_tokens) == (0, 2)

    @pytest.mark.parametrize("details", [None, {}, {"cached_tokens": None}])
    def test_details_that_are_not_given_are_null(self, details: Any) -> None:
        usage = {**USAGE, "prompt_tokens_details": details, "completion_tokens_details": details}
        call = call_of(watch().answered({"usage": usage}))
        assert (call.cached_input_tokens, call.reasoning_tokens) == (None, None)

    def test_tokens_are_estimated_only_where_nobody_counted_and_it_says_so(self) -> None:
        said = [{"role": "user", "content": "Where is my parcel?"}]
        chunks = [delta(content="On its way.")]
        call = call_of(streamed(*chunks), request=said)
        assert call.usage_source == "estimated"
        assert (call.input_tokens or 0) > 4
        assert (call.output_tokens or 0) > 1
        counted = call_of(streamed(*chunks, {"choices": [], "usage": USAGE}), request=said)
        assert (counted.input_tokens, counted.usage_source) == (7, "provider")

    def test_an_error_has_no_tokens_to_estimate(self) -> None:
        call = call_of(watch().failed(Bare()), request=[{"role": "user", "content": "Hi"}])
        assert (call.input_tokens, call.output_tokens, call.usage_source) == (None, None, None)

    @pytest.mark.parametrize("request_", [7, [7], [{"role": 3}], object(), [[[]]]])
    def test_what_cannot_be_counted_stays_unknown(self, request_: Any) -> None:
        call = call_of(streamed(delta(content="x")), request=request_)
        assert call.status == "ok"
        assert (call.usage_source, call.input_tokens) in (("estimated", call.input_tokens), (None, None))


class TestStreams:
    @pytest.mark.parametrize("shape", [dict, as_object])
    def test_chunks_of_dicts_and_of_objects_are_read_alike(self, shape: Any) -> None:
        chunks = [delta(role="assistant"), delta(content="Hel"), delta(content="lo"), delta(finish="stop")]
        seen = streamed(*(shape(c) if shape is dict else as_object(c) for c in chunks))
        assert (seen.output, seen.answer.finish_reason, seen.model) == ("Hello", "stop", "m")

    @pytest.mark.parametrize(
        "odd",
        [
            None,
            {},
            7,
            {"choices": None},
            {"choices": []},
            {"choices": [{}]},
            {"choices": [{"delta": None}]},
            delta(content=None),
            delta(content=""),
            delta(tool_calls=None),
            delta(tool_calls=[]),
        ],
    )
    def test_chunks_that_say_nothing_start_no_clock_and_lose_no_text(self, odd: Any) -> None:
        quiet = streamed(odd)
        assert (quiet.ttft_s, quiet.output) == (None, None)
        assert streamed(odd, delta(content="Hi"), odd, delta(finish="stop"), odd).output == "Hi"
        assert streamed(delta(content="Hi", finish="stop"), odd).answer.finish_reason == "stop"

    @pytest.mark.parametrize(
        "first",
        [
            delta(content="x"),
            delta(reasoning_content="hm"),
            delta(refusal="No"),
            delta(tool_calls=[piece("f", "")]),
        ],
    )
    def test_the_first_token_is_the_first_that_says_anything(self, first: Any) -> None:
        one = watch()
        one.chunk(delta(role="assistant", content=""))
        one.chunk(first)
        one.chunk(delta(content="later"))
        seen = one.streamed(None)
        assert (seen.ttft_s, seen.latency_s) == (1.0, 2.0)

    def test_choices_that_come_interleaved_are_put_together(self) -> None:
        chunks = [delta(1, content="b"), delta(0, content="a"), delta(1, content="B"), delta(0, content="A")]
        assert json.loads(streamed(*chunks).output or "") == ["aA", "bB"]

    def test_tool_calls_that_come_out_of_order_are_put_together(self) -> None:
        seen = streamed(
            delta(tool_calls=[piece("second", "", index=1)]),
            delta(tool_calls=[piece("first", "", index=0), piece(None, '{"b":', index=1)]),
            delta(tool_calls=[piece(None, "{}", index=0)]),
            delta(tool_calls=[piece(None, "2}", index=1)]),
        )
        assert [dict(c) for c in seen.answer.tool_calls] == [
            {"name": "first", "arguments": "{}"},
            {"name": "second", "arguments": '{"b":2}'},
        ]

    @pytest.mark.parametrize("where", [{}, {"index": None}])
    def test_one_tool_call_needs_no_index(self, where: Any) -> None:
        seen = streamed(
            delta(tool_calls=[piece("f", '{"a"', **where)]), delta(tool_calls=[piece(None, ":1}", **where)])
        )
        assert [dict(c) for c in seen.answer.tool_calls] == [{"name": "f", "arguments": '{"a":1}'}]

    def test_two_whole_tool_calls_without_an_index_are_two(self) -> None:
        seen = streamed(delta(tool_calls=[piece("f", "{}", id="1"), piece("g", "{}", id="2")]))
        assert [c["name"] for c in seen.answer.tool_calls] == ["f", "g"]

    def test_content_in_parts_ends_as_a_row_not_as_an_exception(self) -> None:
        one = watch()
        one.chunk(delta(content=[{"type": "text", "text": "Hi"}]))
        assert one.streamed(None).status == "ok"

    def test_arguments_that_are_a_dict_already_are_read(self) -> None:
        seen = streamed(delta(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": {"a": 1}}}]))
        assert json.loads(str(seen.answer.tool_calls[0]["arguments"])) == {"a": 1}

    def test_a_stream_that_breaks_keeps_what_came(self) -> None:
        one = watch()
        one.chunk(delta(content="Hel"))
        for seen, status in ((one.failed(Bare("cut")), "error"), (one.abandoned(None), "abandoned")):
            assert (seen.status, seen.output, seen.model) == (status, "Hel", "m")

    def test_the_responses_apis_last_event_holds_the_answer(self) -> None:
        answer = {
            "output": [{"type": "message", "content": [{"text": "Hello"}]}],
            "status": "completed",
            "usage": USAGE,
        }
        events = [
            {"type": "response.created", "response": {}},
            {"type": "response.output_text.delta", "delta": "Hel"},
            {"type": "response.output_text.delta", "delta": None},
            {"type": "response.unheard_of"},
        ]
        assert streamed(*events).output == "Hel"
        whole = streamed(*events, {"type": "response.completed", "response": answer})
        assert (whole.output, whole.answer.finish_reason) == ("Hello", "stop")
        assert whole.usage is not None


class TestErrors:
    def test_an_error_that_says_nothing_is_a_row_with_its_type(self) -> None:
        call = call_of(watch().failed(Bare("why")))
        assert (call.status, call.error_type, call.error_message) == ("error", "Bare", "why")
        assert (call.model, call.provider, call.deployment_id, call.attempts, call.fell_back) == (None,) * 5

    def test_an_error_of_litellms_names_model_and_provider(self) -> None:
        error = litellm.RateLimitError("slow down", llm_provider="openai", model="gpt-4o")
        call = call_of(watch({"model_info": {"id": 7}, "attempted_retries": 2}).failed(error))
        assert (call.model, call.provider, call.deployment_id, call.attempts) == ("gpt-4o", "openai", "7", 3)

    @pytest.mark.parametrize("error", [TimeoutError(), TimeoutError("x"), litellm.Timeout("x", "m", "p")])
    def test_a_time_out_is_one_however_it_is_called(self, error: Exception) -> None:
        assert watch().failed(error).status == "timeout"

    @pytest.mark.parametrize(
        "error", [asyncio.CancelledError(), KeyboardInterrupt(), SystemExit(), GeneratorExit()]
    )
    def test_a_call_that_was_cut_off_is_cancelled(self, error: BaseException) -> None:
        assert watch().failed(error).status == "cancelled"

    @pytest.mark.parametrize("link", ["__cause__", "__context__"])
    def test_a_time_out_hidden_in_a_broken_connection_is_found(self, link: str) -> None:
        outer, middle = litellm.APIConnectionError("x", llm_provider="p", model="m"), Bare()
        setattr(outer, link, middle)
        assert watch().failed(outer).status == "error"
        setattr(middle, link, TimeoutError())
        assert watch().failed(outer).status == "timeout"

    def test_a_time_out_behind_another_error_is_not_the_calls_own(self) -> None:
        outer = litellm.BadRequestError("x", llm_provider="p", model="m")
        outer.__context__ = TimeoutError()
        assert watch().failed(outer).status == "error"

    @pytest.mark.timeout(2)
    def test_a_chain_of_causes_that_closes_on_itself_ends(self) -> None:
        outer, inner = litellm.APIConnectionError("x", llm_provider="p", model="m"), Bare()
        outer.__cause__, inner.__cause__ = inner, outer
        assert watch().failed(outer).status == "error"

    def test_an_error_that_cannot_say_itself_is_a_row_too(self) -> None:
        class Mute(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no words")

        assert call_of(watch().failed(Mute())).error_type == "Mute"

    def test_an_errors_model_that_is_no_name_is_unknown(self) -> None:
        error = Bare()
        error.model = object()  # type: ignore[attr-defined]
        assert call_of(watch().failed(error)).model is None


class TestWhoAndHow:
    def test_the_hidden_parameters_are_read(self) -> None:
        hidden = {
            "model_id": "d-1",
            "response_cost": 0.5,
            "litellm_overhead_time_ms": 250,
            "litellm_call_id": "c-1",
            "custom_llm_provider": "openai",
            "litellm_model_name": "openai/gpt-4o",
            "cache_hit": True,
            "additional_headers": {"x-litellm-attempted-fallbacks": 1, "x-litellm-attempted-retries": 2},
        }
        seen = watch().answered(SimpleNamespace(_hidden_params=hidden))
        assert (seen.deployment_id, seen.response_cost, seen.overhead_s) == ("d-1", 0.5, 0.25)
        assert (seen.call_id, seen.provider, seen.litellm_model) == ("c-1", "openai", "openai/gpt-4o")
        assert (seen.cache_hit, seen.fell_back, seen.attempts) == (True, True, 4)

    @pytest.mark.parametrize("hidden", [None, {}, 7, {"additional_headers": None}, {"additional_headers": 7}])
    def test_without_them_what_is_known_is_what_the_router_wrote(self, hidden: Any) -> None:
        metadata = {"model_info": {"id": "d-1"}, "deployment": "openai/gpt-4o", "attempted_retries": 1}
        call = call_of(watch(metadata).answered(SimpleNamespace(_hidden_params=hidden)))
        assert (call.deployment_id, call.attempts, call.fell_back, call.overhead_s) == ("d-1", 2, False, None)
        assert (call.model, call.provider) == ("gpt-4o", "openai")

    @pytest.mark.parametrize("info", [None, 7, {}, {"id": None}])
    def test_no_deployment_was_picked_until_the_router_says_which(self, info: Any) -> None:
        assert watch({"model_info": info}).picked is None
        assert watch({}).failed(Bare()).attempts is None

    def test_an_overhead_that_is_no_number_is_unknown(self) -> None:
        assert (
            watch().answered(SimpleNamespace(_hidden_params={"litellm_overhead_time_ms": "9"})).overhead_s
            is None
        )


PRICED = {"input_cost_per_token": 1e-6}


class TestPrices:
    def seen(self, usage: Any = USAGE, **fields: Any) -> Seen:
        base = {"deployment_id": "d", "litellm_model": "openai/gpt-4o", "response_cost": 0.5}
        base |= {"provider": "openai", "answer": Answer(("Hi",), usage=usage_of(usage))}
        return Seen("ok", 1.0, **(base | fields))

    def test_litellms_price_is_taken_where_the_providers_tokens_stand_behind_it(self) -> None:
        assert call_of(self.seen(), PRICED).cost_usd == 0.5
        for unknown in (None, {"prompt_tokens": 0, "completion_tokens": 0}):
            said = [{"role": "user", "content": "Where is my parcel?"}]
            estimated = call_of(self.seen(unknown), PRICED, request=said)
            assert estimated.usage_source == "estimated"
            assert 0 < (estimated.cost_usd or 0) < 0.5
            assert call_of(self.seen(unknown), PRICED).cost_usd is None

    def test_tokens_that_litellm_has_no_price_of_are_priced_by_the_table(self) -> None:
        price = litellm.model_cost["gpt-4o"]
        assert call_of(self.seen(response_cost=None), PRICED).cost_usd == pytest.approx(
            7 * price["input_cost_per_token"] + 3 * price["output_cost_per_token"]
        )

    @pytest.mark.parametrize("info", [None, {}, {"input_cost_per_token": None}, {"mode": "chat"}])
    def test_a_model_without_a_price_has_no_cost_not_0(self, info: Any) -> None:
        assert call_of(self.seen(), info).cost_usd is None

    @pytest.mark.parametrize("unknown", [{"deployment_id": None}, {"litellm_model": None}])
    def test_an_unknown_deployment_has_no_cost(self, unknown: Any) -> None:
        assert call_of(self.seen(**unknown), PRICED).cost_usd is None

    def test_a_price_table_that_raises_has_no_cost(self) -> None:
        def table(deployment_id: str, model: str) -> Any:
            raise Exception("not mapped")

        assert Pricer(table).call(self.seen(), None, None, "completion").cost_usd is None

    def test_the_table_is_asked_once_for_each_deployment(self) -> None:
        asked: list[Any] = []
        pricer = Pricer(lambda *which: asked.append(which) or PRICED)
        for deployment in "abab":
            pricer.call(self.seen(deployment_id=deployment), None, None, "completion")
        assert asked == [("a", "openai/gpt-4o"), ("b", "openai/gpt-4o")]

    def test_an_answer_from_the_cache_costs_nothing_and_an_error_is_unknown(self) -> None:
        assert call_of(self.seen(cache_hit=True), PRICED).cost_usd == 0.0
        failed = Seen(
            "error", 1.0, error=Bare(), deployment_id="d", litellm_model="openai/gpt-4o", response_cost=0.5
        )
        assert call_of(failed, PRICED).cost_usd is None

    def test_a_stream_is_priced_by_its_tokens(self) -> None:
        call = call_of(self.seen(streamed=True, response_cost=99.0), PRICED)
        price = litellm.model_cost["gpt-4o"]
        assert call.cost_usd == pytest.approx(
            7 * price["input_cost_per_token"] + 3 * price["output_cost_per_token"]
        )
        assert call_of(self.seen(None, streamed=True), PRICED, request=object()).cost_usd is None
        told = self.seen({**USAGE, "cost": 0.25}, streamed=True)
        assert call_of(told, PRICED).cost_usd == 0.25
