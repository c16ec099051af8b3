"""Whatever a request holds, the primary gets what it would have got unmirrored, and the row is there."""

import asyncio
import gc
import json
import math
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, get_args

import httpx
import litellm
import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import mirrorkit as mk
from mirrorkit.capture.policy import Reason
from mirrorkit.capture.snapshot import snapshot
from mirrorkit.records import Status
from mirrorkit.simulator import Reply, SimulatedModel, Simulator

pytestmark = [
    pytest.mark.filterwarnings("ignore::mirrorkit.MirrorWarning"),
    # of odd things that are let go open
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

ASKED = [{"role": "user", "content": "Where is my parcel?"}]


class Refused(Exception):
    """What an odd object raises; its own text cannot be had either."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def refusing(name: str, *methods: str, base: type = object, error: type[Exception] = RuntimeError) -> type:
    """A class whose methods raise, as a notebook cell would define it."""

    def refuse(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise error(f"{name} refuses")

    return type(name, (base,), {**dict.fromkeys(methods, refuse), "__module__": "__main__"})


TEXT, SAME = ("__str__", "__repr__", "__format__"), ("__eq__", "__hash__")
SIZE = ("__bool__", "__len__", "__iter__", "__contains__")
COPY = ("__deepcopy__", "__copy__", "__reduce__", "__reduce_ex__")

Copyless = refusing("Copyless", "__deepcopy__", "__copy__")
Pickleless = refusing("Pickleless", "__reduce__", "__reduce_ex__")
Touchy = refusing("Touchy", "__getattr__")
Textless = refusing("Textless", *TEXT)
Unequal = refusing("Unequal", *SAME)
Sizeless = refusing("Sizeless", *SIZE)
Hostile = refusing("Hostile", *TEXT, *SAME, *SIZE, *COPY, "__getattr__", error=Refused)
OddDict = refusing("OddDict", "copy", "__copy__", "__deepcopy__", base=dict)
OddText = refusing("OddText", base=str)


class Masked:
    """Like a web framework's proxy outside of its request: it cannot even be asked what it is."""

    __module__ = "__main__"

    @property
    def __class__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("working outside of a request")


def nested(depth: int) -> Any:
    value: Any = "at last"
    for _ in range(depth):
        value = [value]
    return value


def holding_itself() -> Any:
    loop: dict[str, Any] = {"role": "user"}
    loop["self"] = [loop]
    return loop


def in_many_places() -> Any:
    value: Any = ["x"]
    for _ in range(40):
        value = [value, value]
    return value


MAKERS: Mapping[str, Callable[[], Any]] = {
    "copyless": Copyless,
    "pickleless": Pickleless,
    "touchy": Touchy,
    "textless": Textless,
    "unequal": Unequal,
    "sizeless": Sizeless,
    "hostile": Hostile,
    "masked": Masked,
    "class": lambda: Hostile,
    "odd dict": lambda: OddDict(a=[1]),
    "odd text": lambda: OddText("odd"),
    "lock": threading.Lock,
    "generator": lambda: (n for n in (1, 2)),
    "client": httpx.Client,
    "file": lambda: open(os.devnull, encoding="utf-8"),  # noqa: SIM115
    "function": lambda: lambda: None,
    "module": lambda: sys,
    "frozen": lambda: MappingProxyType({"a": [1]}),
    "tuple": lambda: ("a", ["b"]),
    "set": lambda: {"a", "b"},
    "bytes": lambda: b"\xff\x00",
    "bytearray": lambda: bytearray(b"\xff"),
    "nan": lambda: math.nan,
    "inf": lambda: -math.inf,
    "decimal": lambda: Decimal("0.1"),
    "complex": lambda: 1j,
    "huge number": lambda: 10**5_000,
    "surrogate": lambda: "half \ud83d of a smile",
    "nul": lambda: "a\x00b",
    "unicode": lambda: "\u202eabc\u202c \ufeff\u2028 e\u0301 \U0001f468\u200d\U0001f469 \x1b[31m",
    "number key": lambda: {1: "a", None: "b", (1, 2): "c", 2.5: "d"},
    "surrogate key": lambda: {"\udc80": "a"},
    "nan key": lambda: {math.nan: 1},
    "object key": lambda: {threading.Lock(): 1},
    "itself": holding_itself,
    "deep": lambda: nested(400),
    "too deep": lambda: nested(3_000),
    "megabyte": lambda: "\U0001f600 word " * 120_000,
    "image": lambda: [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBO" * 99}}],
    "large image": lambda: [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iV" * 2**20}}
    ],
}
# LiteLLM and json walk each of its places, and would never come back from most parts of a request
NOWHERE_ELSE: Mapping[str, Callable[[], Any]] = {"in many places": in_many_places}


@dataclass(frozen=True)
class Odd:
    """Stands in a recipe for something odd, which is made anew for each call."""

    name: str

    def made(self) -> Any:
        return {**MAKERS, **NOWHERE_ELSE}[self.name]()


def made(recipe: Any) -> Any:
    """What a recipe describes, all of it new."""
    if isinstance(recipe, Odd):
        return recipe.made()
    if isinstance(recipe, dict):
        return {key: made(value) for key, value in recipe.items()}
    return [made(value) for value in recipe] if isinstance(recipe, list) else recipe


def shape(value: Any) -> list[Any]:
    """All that a value holds, to be compared with what it held before; touches no foreign object."""
    told: list[Any] = []
    known: set[int] = set()
    left = [value]
    while left:
        value = left.pop()
        kind = type(value)
        told.append(repr(value) if kind in (str, bytes, bool, float, type(None)) else (kind, id(value)))
        if id(value) not in known and issubclass(kind, dict | list | tuple):
            known.add(id(value))
            told.append(len(value))
            left += [part for item in dict.items(value) for part in item] if issubclass(kind, dict) else value
    return told


class Told(NamedTuple):
    """What came of a call: the answer or the exception, what the provider got, whether arguments changed."""

    answer: tuple[str, str]
    failed: bool
    sent: list[tuple[str, str, dict[str, str]]]
    changed: bool
    metadata_changed: bool


class Ways:
    """The same request, by a plain Router and by a session on another one."""

    def __init__(self, isolation: Any, is_async: bool, journal: Path) -> None:
        names = ("gpt-4o", "gpt-4o-mini", "text-embedding-3-small")
        self.sim = Simulator([SimulatedModel(name, ttft_s=0.001, token_s=0.0001, words=4) for name in names])
        self.sim.start()
        served = {"chat": "gpt-4o", "vectors": "text-embedding-3-small", "next": "gpt-4o-mini"}
        models = [self.sim.deployment(group, model, max_retries=0) for group, model in served.items()]
        alike = {"num_retries": 0, "disable_cooldowns": True}
        self.router = litellm.Router(model_list=models, **alike)
        self.journal = journal
        self.session = mk.MirrorSession(
            litellm.Router(model_list=models, **alike), "next", isolation=isolation, journal=journal
        )
        self._runner = asyncio.Runner() if is_async else None

    def close(self) -> None:
        if self._runner is not None:
            self._runner.run(self.session.aclose())
            self._runner.close()
        self.session.close()
        self.sim.stop()

    def drain(self) -> None:
        if self._runner is None:
            assert self.session.drain(110)
        else:
            assert self._runner.run(self.session.adrain(110))

    def call(self, target: Any, name: str, recipe: Mapping[str, Any]) -> Told:
        kwargs = made(recipe)
        before, metadata = shape(kwargs), shape(kwargs.get("metadata"))
        already = len(self.sim.requests)
        if self._runner is None:
            answer, failed = self._answer(target, name, kwargs)
        else:
            answer, failed = self._runner.run(self._aanswer(target, name, kwargs))
        sent = [
            (r.path, repr(r.body), dict(r.headers))
            for r in self.sim.requests[already:]
            if r.model != "gpt-4o-mini"
        ]
        return Told(answer, failed, sent, shape(kwargs) != before, shape(kwargs.get("metadata")) != metadata)

    def _answer(self, target: Any, name: str, kwargs: Any) -> tuple[tuple[str, str], bool]:
        try:
            answer = getattr(target, name)(**kwargs)
            return _of_answer(list(answer) if hasattr(answer, "__next__") else answer), False
        except Exception as error:
            return _of_error(error), True

    async def _aanswer(self, target: Any, name: str, kwargs: Any) -> tuple[tuple[str, str], bool]:
        try:
            answer = await getattr(target, f"a{name}")(**kwargs)
            return _of_answer([c async for c in answer] if hasattr(answer, "__anext__") else answer), False
        except Exception as error:
            return _of_error(error), True


def _of_answer(answer: Any) -> tuple[str, str]:
    if isinstance(answer, list):
        return "stream", "".join(c.choices[0].delta.content or "" for c in answer if c.choices)
    if isinstance(answer, litellm.ModelResponse):
        return "answer", repr([choice.message.content for choice in answer.choices])
    return type(answer).__name__, repr(getattr(answer, "data", None) or answer.output_text)


def _of_error(error: Exception) -> tuple[str, str]:
    try:
        said = str(error)
    except Exception:
        said = "no text"
    # two objects of a kind are told apart by where they are, of which pydantic shows a part
    return type(error).__name__, re.sub("(?s)0x[0-9a-f]+|input_value=.*?, input_type=", "…", said)


WAYS = [
    pytest.param((isolation, is_async), id=f"{isolation}-{'async' if is_async else 'sync'}", marks=marks)
    for isolation, marks in (("shared", ()), ("process", pytest.mark.slow))
    for is_async in (False, True)
]


@pytest.fixture(scope="module", params=WAYS)
def ways(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    ways = Ways(*request.param, tmp_path_factory.mktemp("journal"))
    # a child process is up when the first silent call has ended
    ways.call(ways.session, "completion", {"model": "chat", "messages": ASKED})
    ways.drain()
    yield ways
    ways.close()


@pytest.fixture(scope="module", autouse=True)
def _collected_where_there_is_room() -> Iterator[None]:
    """Where a walk ends at too deep a value, a finaliser has no stack left, and pytest would report it."""
    gc.disable()
    gc.freeze()
    yield
    gc.unfreeze()
    gc.enable()


def counted(session: mk.MirrorSession) -> dict[str, int]:
    funnel = session.funnel
    return {name: getattr(funnel, name) for name in ("requests", "mirrored", *get_args(Reason))}


def check(ways: Ways, recipe: Mapping[str, Any], name: str = "completion") -> pl.DataFrame:
    """The promise, for one request; gives its row, or none if it was counted instead."""
    gc.collect(1)
    recipe = {"model": "vectors" if name == "embedding" else "chat", **recipe}
    before, rows = counted(ways.session), ways.session.frame.height
    plain = ways.call(ways.router, name, recipe)
    ours = ways.call(ways.session, name, recipe)
    ways.drain()
    assert ours.answer == plain.answer
    assert ours.sent == plain.sent
    assert plain.changed or not ours.changed
    now = counted(ways.session)
    outcomes = {reason: n - before[reason] for reason, n in now.items() if n > before[reason]}
    new = ways.session.frame[rows:]
    assert outcomes.pop("requests") == 1
    assert sum(outcomes.values()) == 1
    assert new.height == outcomes.get("mirrored", 0)
    for pair in new.iter_rows(named=True):
        assert pair["primary_status"] == ("error" if ours.failed else "ok")
        assert pair["silent_status"] in get_args(Status)
        assert json.loads(pair["params"]) is not None
        assert pair["messages"] is None or json.loads(pair["messages"]) is not None
        if type(made(recipe.get("metadata", {}))) is dict:
            assert not ours.metadata_changed
    return new


odd = st.sampled_from([Odd(name) for name in MAKERS if name not in ("megabyte", "large image")])
text = st.text(st.characters(exclude_categories=()), max_size=20)
atom = st.none() | st.booleans() | st.integers() | st.floats() | text
value = st.recursive(
    atom | odd,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
part = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image_url", "input_audio", "file"]) | odd},
    optional={"text": text | odd, "image_url": value, "input_audio": value},
)
message = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "tool"]) | odd},
    optional={
        "content": text | st.lists(part, max_size=2) | value,
        "name": value,
        "tool_calls": st.lists(st.fixed_dictionaries({"id": text, "function": value}), max_size=1) | value,
        "tool_call_id": value,
        "cache_control": value,
    },
)
messages = st.just(ASKED) | st.lists(message | odd, max_size=3) | st.none() | value
tool = st.fixed_dictionaries(
    {"type": st.just("function"), "function": st.fixed_dictionaries({"name": text, "parameters": value})}
)
labels = st.fixed_dictionaries(
    {},
    optional={
        "tags": st.lists(value, max_size=2) | value,
        "session_id": value,
        "trace_id": value,
        "spend_logs_metadata": value,
        "anything": value | st.sampled_from([Odd(name) for name in NOWHERE_ELSE]),
    },
)
PARAMS = ("user", "temperature", "stop", "seed", "logit_bias", "max_tokens", "tool_choice", "response_format")
OWN = (
    "extra_body",
    "extra_headers",
    "api_key",
    "litellm_call_id",
    "litellm_trace_id",
    "unheard_of",
    "caching",
)
chats = st.fixed_dictionaries(
    {"messages": messages},
    optional={
        **dict.fromkeys((*PARAMS, *OWN), value),
        "metadata": labels | value,
        "stream": st.just(True) | value,
        "tools": st.lists(tool | value, max_size=2) | value,
        "stream_options": value,
        "model": st.just("next") | value,
    },
)
inputs = st.fixed_dictionaries(
    {"input": text | st.lists(text, max_size=3) | value},
    optional={"user": value, "metadata": labels, "litellm_metadata": labels | value, "unheard_of": value},
)
shared = settings(max_examples=40, suppress_health_check=list(HealthCheck))


class TestAnyRequest:
    @pytest.mark.slow
    @shared
    @given(recipe=chats)
    @example({"messages": [{"role": "user", "content": Odd("megabyte")}]})
    @example({"messages": [{"role": "user", "content": Odd("large image")}], "stream": True})
    @example({"messages": ASKED, "metadata": {"tags": [Odd("hostile")], "session_id": Odd("textless")}})
    @example({"messages": ASKED, "metadata": {"anything": Odd("masked"), "more": Odd("odd dict")}})
    @example({"messages": ASKED, "metadata": {"anything": Odd("in many places")}})
    @example({"messages": ASKED, "metadata": None})
    @example({"messages": ASKED, "metadata": Odd("frozen")})
    @example({"messages": ASKED, "metadata": Odd("odd dict")})
    @example({"messages": ASKED, "litellm_trace_id": Odd("sizeless")})
    @example({"messages": ASKED, "user": Odd("huge number"), "api_key": Odd("itself")})
    @example({"messages": ASKED, "api_key": Odd("hostile"), "extra_headers": {"X": Odd("masked")}})
    @example({"messages": None, "stream": Odd("hostile")})
    def test_a_chat(self, ways: Ways, recipe: dict[str, Any]) -> None:
        check(ways, recipe)

    @settings(shared, max_examples=10)
    @given(recipe=inputs, name=st.sampled_from(["embedding", "responses"]))
    def test_an_embedding_or_a_response(self, ways: Ways, recipe: dict[str, Any], name: str) -> None:
        check(ways, recipe, name)

    @pytest.mark.slow
    @pytest.mark.timeout(900)
    @settings(shared, max_examples=400)
    @given(recipe=chats)
    def test_very_many_chats(self, ways: Ways, recipe: dict[str, Any]) -> None:
        check(ways, recipe)

    @pytest.mark.slow
    @pytest.mark.timeout(900)
    @settings(shared, max_examples=150)
    @given(recipe=inputs, name=st.sampled_from(["embedding", "responses"]))
    def test_very_many_others(self, ways: Ways, recipe: dict[str, Any], name: str) -> None:
        check(ways, recipe, name)


class TestWhatIsRecorded:
    @pytest.mark.parametrize(
        "name", ["touchy", "hostile", "masked", "textless", "sizeless", "lock", "itself"]
    )
    def test_beside_an_odd_value_all_is_recorded(self, ways: Ways, name: str) -> None:
        metadata = {"session_id": "s1"}
        pair = check(
            ways,
            {"messages": [*ASKED, Odd(name)], "user": "u1", "stop": [1, Odd(name)], "metadata": metadata},
        )
        told, params = json.loads(pair["messages"][0]), json.loads(pair["params"][0])
        assert told[0] == ASKED[0]
        assert len(told) == 2
        assert (params["user"], pair["cluster"][0]) == ("u1", "s1")
        assert params["stop"][0] == 1

    def test_a_label_that_has_no_text_is_left_out(self, ways: Ways) -> None:
        metadata = {"tags": ["a", Odd("textless"), "b"], "session_id": Odd("sizeless")}
        pair = check(ways, {"messages": ASKED, "metadata": metadata, "litellm_session_id": "s1"})
        assert pair["tags"][0].to_list() == ["a", "b"]
        assert pair["cluster"][0] == "s1"

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("said", ["half \ud83d of a smile", "a\x00b", "\u202eabc\u2028"])
    def test_an_odd_answer_is_passed_on_and_its_row_is_there(
        self, ways: Ways, said: str, stream: bool
    ) -> None:
        # one each for the plain Router and for the session
        ways.sim.script("gpt-4o", Reply(text=said, usage=False), Reply(text=said, usage=False))
        ways.sim.script("gpt-4o-mini", Reply(text=said, usage=False))
        pair = check(ways, {"messages": ASKED, "stream": stream})
        shown = said.encode("utf-8", "backslashreplace").decode()
        assert pair["primary_output"][0] == pair["silent_output"][0] == shown


class TestCopies:
    def test_a_value_too_deep_to_be_walked_is_passed_by_reference_and_the_others_are_copied(self) -> None:
        request = {"messages": [{"role": "user"}], "deep": nested(3_000)}
        copied = snapshot(request)
        assert copied["deep"] is request["deep"]
        assert copied["messages"] == request["messages"]
        assert copied["messages"][0] is not request["messages"][0]

    def test_a_value_in_very_many_places_is_copied_once(self) -> None:
        copied = snapshot({"lock": threading.Lock(), "many": in_many_places()})["many"]
        for _ in range(40):
            assert copied[0] is copied[1]
            copied = copied[0]
        assert copied == ["x"]


@pytest.mark.parametrize("ways", [WAYS[2]], indirect=True)
class TestAnotherProcess:
    def test_what_cannot_go_there_is_named_and_its_request_is_mirrored_here(self, ways: Ways) -> None:
        pair = check(ways, {"messages": ASKED, "metadata": {"a": 1, "mine": Odd("client")}})
        assert pair["silent_status"].to_list() == ["ok"]
        assert "metadata['mine'] cannot be copied to the child process (TypeError)" in repr(ways.session)

    def test_what_the_silent_call_does_not_need_does_not_keep_it_here(self, ways: Ways) -> None:
        check(ways, {"messages": ASKED, "metadata": {"mine": Odd("lock")}})
        before = repr(ways.session).rpartition(", ")[2]
        pair = check(ways, {"messages": ASKED, "azure_ad_token_provider": Odd("lock")})
        assert pair["silent_status"].to_list() == ["ok"]
        assert repr(ways.session).rpartition(", ")[2] == before


NASTY = ("surrogate", "nul", "unicode", "nan", "huge number", "hostile", "masked", "number key", "itself")


def test_what_was_recorded_is_shown_written_and_read_back(ways: Ways, tmp_path: Path) -> None:
    for name in NASTY:
        for recipe in ({"messages": [{"role": "user", "content": Odd(name)}]}, {"messages": ASKED}):
            check(ways, {**recipe, "metadata": {"tags": ["a", Odd(name)], "session_id": Odd(name)}})
    session = ways.session
    frame = session.frame
    assert frame.height >= 2 * len(NASTY) - 2
    assert f"{frame.height:,} pairs" in repr(session)
    session.to_csv(tmp_path / "all.csv")
    session.to_parquet(tmp_path / "all.parquet")
    assert_frame_equal(mk.load(tmp_path / "all.parquet").frame, frame)
    assert pl.read_csv(tmp_path / "all.csv", infer_schema=False).height == frame.height
    assert_frame_equal(mk.load(ways.journal).frame, frame, check_row_order=False)
