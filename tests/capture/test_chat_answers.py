"""A stream is the whole answer, however it is cut into chunks."""

import json
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import litellm
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mirrorkit.capture.observe import Pricer, Seen
from mirrorkit.capture.watch import Watch
from mirrorkit.records import Call

USAGE = {"prompt_tokens": 71, "completion_tokens": 9, "total_tokens": 80}
ASKED = [{"role": "user", "content": "Where is my parcel?"}]


def call_of(seen: Seen) -> Call:
    return Pricer(lambda _id, _model: {}).call(seen, ASKED, None, "completion")


def whole(*messages: dict[str, Any], finish: str | None = "stop", usage: Any = USAGE) -> Call:
    choices = [{"index": i, "message": m, "finish_reason": finish} for i, m in enumerate(messages)]
    answer = {"choices": choices, "model": "m", "usage": usage}
    return call_of(Watch({}).answered(answer))


def streamed(*chunks: Any) -> Call:
    watch = Watch({})
    for chunk in chunks:
        watch.chunk(chunk)
    return call_of(watch.streamed(SimpleNamespace()))


def chunk(delta: dict[str, Any], index: int | None = 0, finish: str | None = None) -> dict[str, Any]:
    choice: dict[str, Any] = {"delta": delta, "finish_reason": finish}
    return {"choices": [choice if index is None else {**choice, "index": index}], "model": "m"}


def said(call: Call) -> tuple[Any, ...]:
    return (
        *(call.status, call.output_kind, call.output, call.tool_calls, call.finish_reason, call.model),
        *(call.input_tokens, call.output_tokens, call.reasoning_tokens, call.usage_source),
    )


# ------------------------------------------------------------ any answer, cut in any way

texts = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(["", " ", "Hi 😀😀", "🇨🇭"])
names = st.sampled_from(["look_up", "track", "weigh"])
arguments = st.dictionaries(st.sampled_from(["id", "b"]), st.integers() | texts, max_size=2).map(json.dumps)


@st.composite
def cut(draw: st.DrawFn, text: str) -> list[str]:
    """A text in pieces, some of which may hold half a character."""
    raw = text.encode("utf-16-le")
    ends = sorted(draw(st.lists(st.integers(0, len(raw) // 2), max_size=3)))
    borders = [0, *(2 * end for end in ends), len(raw)]
    return [raw[begin:end].decode("utf-16-le", "surrogatepass") for begin, end in pairwise(borders)]


@st.composite
def shuffled(draw: st.DrawFn, queues: list[list[Any]]) -> list[Any]:
    """What is in the queues, each in its order, one among the other."""
    queues, mixed = [list(queue) for queue in queues if queue], []
    while queues:
        queue = draw(st.sampled_from(queues))
        mixed.append(queue.pop(0))
        queues = [left for left in queues if left]
    return mixed


@st.composite
def tool_calls(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Whole tool calls, and the pieces that they come in."""
    index = draw(st.sampled_from(["own", "zero", "lost"]))
    ids = draw(st.sampled_from(["first", "all"] + ["none"] * (index == "own")))
    repeats_names = draw(st.booleans())
    calls, queues = [], []
    for at in range(draw(st.integers(1, 3))):
        is_custom = draw(st.booleans())
        name, given = draw(names), draw(texts if is_custom else arguments)
        body, field = ("custom", "input") if is_custom else ("function", "arguments")
        calls.append({"id": f"call-{at}", "type": body, body: {"name": name, field: given}})
        pieces = []
        for n, part in enumerate(draw(cut(given))):
            # without ids nothing tells more of a free text from another call of the same tool
            named = n == 0 or (repeats_names and (ids == "all" or not is_custom))
            piece: dict[str, Any] = {"type": body, body: {"name": name if named else None, field: part}}
            if ids == "all" or (ids == "first" and n == 0):
                piece["id"] = f"call-{at}"
            if index != "lost":
                piece["index"] = at if index == "own" else 0
            pieces.append(piece)
        queues.append(pieces)
    return calls, draw(shuffled(queues)) if index == "own" else [piece for queue in queues for piece in queue]


@st.composite
def messages(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A whole message, and the deltas that it comes in."""
    message: dict[str, Any] = {"role": "assistant", "content": None}
    queues = []
    for field in draw(st.sets(st.sampled_from(["content", "reasoning_content", "refusal"]))):
        message[field] = draw(texts)
        queues.append([{field: part} for part in draw(cut(message[field]))])
    kind = draw(st.sampled_from(["text", "tools", "function", "audio", "image"]))
    if kind == "tools":
        message["tool_calls"], pieces = draw(tool_calls())
        queues.append([{"tool_calls": [piece]} for piece in pieces])
    if kind == "function":
        message["function_call"] = {"name": draw(names), "arguments": draw(arguments)}
        parts = draw(cut(message["function_call"]["arguments"]))
        given = [{"arguments": part} for part in parts]
        given[0]["name"] = message["function_call"]["name"]
        queues.append([{"function_call": each} for each in given])
    if kind == "audio":
        message["audio"] = {"id": "a", "data": "UklG", "transcript": draw(texts)}
        spoken = [{"transcript": part} for part in draw(cut(message["audio"]["transcript"]))]
        queues.append([{"audio": each} for each in ({"id": "a"}, *spoken, {"data": "UklG"})])
    if kind == "image":
        message["images"] = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}}]
        queues.append([{"images": message["images"]}])
    return message, [{"role": "assistant"}, *draw(shuffled(queues))]


@given(st.data())
def test_any_answer_cut_in_any_way_is_the_row_of_the_whole(data: st.DataObject) -> None:
    both = data.draw(st.lists(messages(), min_size=1, max_size=3))
    finish = data.draw(st.sampled_from(["stop", "length", "content_filter"]))
    usage = data.draw(st.sampled_from([USAGE, None]))
    index = [None if len(both) == 1 and data.draw(st.booleans()) else at for at in range(len(both))]
    queues = [[chunk(delta, index[at]) for delta in deltas] for at, (_, deltas) in enumerate(both)]
    ends = [chunk({}, at, finish) for at in index]
    last = [] if usage is None else [{"choices": [], "usage": usage, "model": "m"}]
    chunks = [*data.draw(shuffled(queues)), *ends, *last]
    expected = whole(*(message for message, _ in both), finish=finish, usage=usage)
    assert said(streamed(*chunks)) == said(expected)


def _is_encodable(delta: Any) -> bool:
    try:
        json.dumps(delta, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


@given(messages())
def test_litellms_own_chunks_are_read_like_dicts(both: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    message, deltas = both
    # LiteLLM has no such deltas: it gives indices of its own where there are none
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    assume(all("index" in call and call.get("id") for call in calls))
    raw = [*(chunk(delta) for delta in deltas), chunk({}, finish="stop")]
    # nor does it take half a character
    assume(all(_is_encodable(each) for each in raw))
    chunks = [litellm.ModelResponseStream(**json.loads(json.dumps(each))) for each in raw]
    chunks.append(litellm.ModelResponseStream(choices=[], model="m", usage=USAGE))
    assert said(streamed(*chunks)) == said(whole(message))


# ------------------------------------------------------------ what providers do


def piece(name: str | None, arguments: Any, **more: Any) -> dict[str, Any]:
    return chunk({"tool_calls": [{"function": {"name": name, "arguments": arguments}, **more}]})


def calls_of(*chunks: Any) -> list[tuple[str, str]]:
    made = json.loads(streamed(*chunks).tool_calls or "[]")
    return [(call["name"], call["arguments"]) for call in made]


@pytest.mark.parametrize("index", [{"index": 0}, {"index": None}, {}])
class TestToolCallsWithOneIndexOrNone:
    def test_a_new_id_begins_a_new_call(self, index: dict[str, Any]) -> None:
        chunks = [
            piece("weather", '{"city":', id="1", **index),
            piece(None, '"Rome"}', **index),
            piece("weather", '{"city":"Bern"}', id="2", **index),
        ]
        assert calls_of(*chunks) == [("weather", '{"city":"Rome"}'), ("weather", '{"city":"Bern"}')]

    def test_another_name_begins_a_new_call(self, index: dict[str, Any]) -> None:
        assert calls_of(piece("f", "{}", **index), piece("g", "{}", **index)) == [("f", "{}"), ("g", "{}")]

    def test_the_same_name_after_whole_arguments_begins_a_new_call(self, index: dict[str, Any]) -> None:
        assert calls_of(piece("f", "{}", **index), piece("f", "{}", **index)) == [("f", "{}")] * 2

    def test_an_id_and_a_name_that_are_repeated_begin_none(self, index: dict[str, Any]) -> None:
        chunks = [piece("f", part, id="1", **index) for part in ('{"a"', ":1}", "")]
        assert calls_of(*chunks) == [("f", '{"a":1}')]

    def test_a_name_that_is_repeated_without_ids_begins_none(self, index: dict[str, Any]) -> None:
        assert calls_of(*(piece("f", part, **index) for part in ('{"a"', ":1}"))) == [("f", '{"a":1}')]

    def test_a_name_may_come_in_pieces(self, index: dict[str, Any]) -> None:
        chunks = piece("look_", "", id="1", **index), piece("up", "", **index), piece(None, "{}", **index)
        assert calls_of(*chunks) == [("look_up", "{}")]

    def test_calls_that_come_one_among_the_other_are_told_apart_by_their_ids(
        self, index: dict[str, Any]
    ) -> None:
        chunks = [piece(None, part, id=id_, **index) for part in ('{"a"', ":1}") for id_ in "12"]
        assert [arguments for _, arguments in calls_of(*chunks)] == ['{"a":1}'] * 2


def test_a_custom_tool_takes_free_text() -> None:
    custom = {"id": "1", "type": "custom", "custom": {"name": "shell", "input": "ls -l"}}
    call = whole({"content": None, "tool_calls": [custom]})
    assert json.loads(call.tool_calls or "") == [{"name": "shell", "arguments": "ls -l"}]
    assert (call.output_kind, call.finish_reason) == ("tool_calls", "tool_calls")


def test_what_is_spoken_is_the_text() -> None:
    spoken = whole({"content": None, "audio": {"id": "a", "data": "UklG", "transcript": "Hello"}})
    assert (spoken.output_kind, spoken.output) == ("media", "Hello")


def test_an_image_among_the_parts_of_a_content_is_media() -> None:
    parts = [{"type": "text", "text": "Look: "}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    call = whole({"content": parts})
    assert (call.output_kind, call.output) == ("media", "Look: \ndata:,")


def test_thoughts_among_the_parts_of_a_content_are_no_text() -> None:
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"text": "Yes."}]
    call = whole({"content": parts}, usage=None)
    assert (call.output_kind, call.output) == ("text", "Yes.")
    assert (call.reasoning_tokens or 0) > 0


# ------------------------------------------------------------ nothing in it


def made_up(**hidden: Any) -> litellm.ModelResponseStream:
    """The chunk that LiteLLM makes at the end of a stream."""
    chunk = litellm.ModelResponseStream(model="m")
    chunk.choices[0].finish_reason = "stop"
    chunk._hidden_params = {"custom_llm_provider": "openai", **hidden}
    return chunk


@pytest.mark.parametrize("chunks", [(), (made_up(),), (None,), ({},), ({"choices": []},)])
def test_a_stream_with_nothing_in_it_is_an_error(chunks: tuple[Any, ...]) -> None:
    call = streamed(*chunks)
    assert (call.status, call.error_type) == ("error", "EmptyStream")
    assert (call.output, call.output_kind, call.finish_reason, call.input_tokens) == (None,) * 4


@pytest.mark.parametrize(
    "chunks",
    [
        (chunk({"role": "assistant", "content": ""}), made_up()),
        (made_up(received_model_id="chatcmpl-1"),),
        (made_up(), {"choices": [], "usage": {**USAGE, "completion_tokens": 0}}),
        (chunk({}, finish="length"),),
        (chunk({"content": " \n"}),),
    ],
)
def test_a_stream_in_which_the_provider_said_nothing_is_blank(chunks: tuple[Any, ...]) -> None:
    call = streamed(*chunks)
    assert (call.status, call.output_kind) == ("ok", "blank")
    assert call.output is not None
    assert not call.output.strip()
