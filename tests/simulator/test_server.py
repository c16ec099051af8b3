"""The server over real HTTP: its models, faults and refusals, what a test controls, start and stop."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from mirrorkit.errors import ConfigError, MirrorError
from mirrorkit.simulator import DEFAULT_MODELS, Reply, SimulatedModel, Simulator
from mirrorkit.simulator.server import Pace

Say = Callable[..., str]
Connect = Callable[..., openai.OpenAI]
Eventually = Callable[[Callable[[], bool]], bool]
QUICK: dict[str, Any] = {"ttft_s": 0.0, "token_s": 0.0}
MODELS = (SimulatedModel("a", **QUICK), SimulatedModel("b", **QUICK, style="chatty", words=40))


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


def test_the_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["a", "b", "vectors"]


def test_without_models_ones_that_have_a_price_are_served(connect: Connect) -> None:
    with Simulator() as simulator:
        listed = [model.id for model in connect(simulator).models.list()]
    assert listed == [model.name for model in DEFAULT_MODELS]
    assert {"gpt-4o", "gpt-4o-mini", "text-embedding-3-small", "text-embedding-3-large"} <= set(listed)


def test_two_simulators_of_one_seed_agree_and_of_two_seeds_do_not(say: Say, connect: Connect) -> None:
    def said(seed: int) -> list[str]:
        with Simulator(MODELS, seed=seed) as simulator:
            return [say(connect(simulator), "b", f"Question {i} about shoes") for i in range(10)]

    first = said(1)
    assert first == said(1)
    assert first != said(2)


def test_pace_is_the_first_tokens_time_and_one_for_each_token_after_it() -> None:
    pace = Pace(SimulatedModel("x", ttft_s=0.5, token_s=0.25), factor=2, began=10)
    assert [pace.due(tokens) for tokens in (0, 1, 4)] == [11, 11.5, 13]


def test_a_slow_model_answers_after_a_quick_one_that_was_asked_later() -> None:
    asyncio.run(_overtaken(SimulatedModel("slow", ttft_s=3600), Reply()))


def test_a_delayed_reply_comes_after_one_that_was_asked_for_later() -> None:
    asyncio.run(_overtaken(SimulatedModel("slow", **QUICK), Reply(delay_s=3600)))


async def _overtaken(slow: SimulatedModel, reply: Reply) -> None:
    """Ask the slow model, and the quick one once the simulator has that request: the quick one answers."""
    with Simulator([slow, SimulatedModel("quick", **QUICK)]) as simulator:
        simulator.script("slow", reply)
        async with openai.AsyncOpenAI(
            base_url=simulator.url, api_key=simulator.api_key, max_retries=0
        ) as client:
            with simulator.hold("slow") as hold:
                first = asyncio.create_task(client.chat.completions.create(model="slow", messages=user("Hi")))
                await asyncio.to_thread(hold.wait_for, 1)
            assert (await client.chat.completions.create(model="quick", messages=user("Hi"))).choices
            assert not first.done()
            first.cancel()


def test_a_streams_first_words_do_not_wait_for_its_last(connect: Connect) -> None:
    with Simulator([SimulatedModel("x", ttft_s=0.0, token_s=3600)]) as simulator:
        stream = connect(simulator).chat.completions.create(model="x", messages=user("Hi"), stream=True)
        with stream:
            role, word = (next(iter(stream)).choices[0].delta for _ in range(2))
    assert role.role == "assistant"
    assert word.content


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("429", openai.RateLimitError),
        ("500", openai.InternalServerError),
        ("400", openai.BadRequestError),
        ("401", openai.AuthenticationError),
        ("cut", openai.APIConnectionError),
        ("garbage", ValueError),
    ],
)
@pytest.mark.parametrize("scripted", [True, False])
def test_a_fault_reaches_the_client_as_what_it_is(
    fault: Any, error: type[Exception], scripted: bool, say: Say, connect: Connect
) -> None:
    """Whether a script asks for it or the model's own share of errors does."""
    errors = {} if scripted else {fault: 1.0}
    with Simulator([SimulatedModel("x", **QUICK, errors=errors)]) as simulator:
        client = connect(simulator)
        if scripted:
            simulator.script("x", Reply(fault=fault))
        with pytest.raises(error):
            say(client, "x", "Hi")
        if scripted:
            assert say(client, "x", "Hi")


@pytest.mark.parametrize("call", ["embeddings", "responses"])
def test_faults_reach_every_endpoint(simulator: Simulator, client: openai.OpenAI, call: str) -> None:
    simulator.script("a", Reply(fault="500"))
    with pytest.raises(openai.InternalServerError):
        getattr(client, call).create(model="a", input="Hi")


def test_a_hang_lasts_until_the_client_leaves(simulator: Simulator, say: Say, connect: Connect) -> None:
    simulator.script("a", Reply(fault="hang"))
    impatient = connect(simulator, timeout=0.2)
    with pytest.raises(openai.APITimeoutError):
        say(impatient, "a", "Hi")
    assert say(impatient, "a", "Hi")


def test_a_stream_cut_by_a_fault_gives_some_words_and_then_breaks(
    simulator: Simulator, client: openai.OpenAI
) -> None:
    simulator.script("a", Reply(fault="cut"))
    chunks: list[Any] = []
    stream = client.chat.completions.create(model="a", messages=user("Hi"), stream=True)
    with pytest.raises((httpx.RemoteProtocolError, openai.APIConnectionError)):
        chunks.extend(stream)
    assert chunks


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_stream_is_cut_after_the_scripted_number_of_chunks(
    simulator: Simulator, client: openai.OpenAI, after: int
) -> None:
    simulator.script("a", Reply(cut_after_chunks=after))
    chunks: list[Any] = []
    stream = client.chat.completions.create(model="a", messages=user("Hi"), stream=True)
    with pytest.raises((httpx.RemoteProtocolError, openai.APIConnectionError)):
        chunks.extend(stream)
    assert len(chunks) == after


def test_a_stream_of_garbage_is_no_json(simulator: Simulator, client: openai.OpenAI) -> None:
    simulator.script("a", Reply(fault="garbage"))
    with pytest.raises(ValueError):
        list(client.chat.completions.create(model="a", messages=user("Hi"), stream=True))


def test_faults_come_in_their_shares_and_a_run_can_be_repeated(connect: Connect, say: Say) -> None:
    model = SimulatedModel("x", **QUICK, errors={"500": 0.2, "429": 0.2})

    def outcomes() -> list[int]:
        with Simulator([model]) as simulator:
            client = connect(simulator)
            return [_status(client, say, f"Question {i // 2}") for i in range(120)]

    first = outcomes()
    assert first == outcomes()
    assert {first.count(200) > 48, first.count(500) > 8, first.count(429) > 8} == {True}
    pairs = list(zip(first[::2], first[1::2], strict=True))
    assert any(one != 200 and two == 200 for one, two in pairs), "a retry may succeed"


def _status(client: openai.OpenAI, say: Say, text: str) -> int:
    try:
        say(client, "x", text)
    except openai.APIStatusError as error:
        return error.status_code
    return 200


def test_a_wrong_key_is_refused_and_echoed(
    simulator: Simulator, http: httpx.Client, say: Say, connect: Connect
) -> None:
    stranger = connect(simulator, api_key="sk-wrong-key")
    with pytest.raises(openai.AuthenticationError, match="sk-wrong-key"):
        say(stranger, "a", "Hi")
    with pytest.raises(openai.AuthenticationError):
        stranger.models.list()
    assert http.post(f"{simulator.url}/chat/completions", json={"model": "a"}).status_code == 401


def test_an_unknown_model_is_named_in_a_404(client: openai.OpenAI, say: Say) -> None:
    with pytest.raises(openai.NotFoundError, match="gpt-9"):
        say(client, "gpt-9", "Hi")


def test_scripted_replies_come_in_order_and_then_it_is_as_usual(
    simulator: Simulator, client: openai.OpenAI, say: Say
) -> None:
    usual = say(client, "a", "Hi")
    simulator.script("a", Reply(text="one"), Reply(text="two three"))
    assert [say(client, "a", "Hi") for _ in range(3)] == ["one", "two three", usual]


def test_a_script_for_one_model_leaves_the_others_alone(
    simulator: Simulator, client: openai.OpenAI, say: Say
) -> None:
    simulator.script("a", Reply(text="scripted"))
    assert say(client, "b", "Hi") != "scripted"
    assert say(client, "a", "Hi") == "scripted"


def test_a_gate_holds_a_stream_after_its_first_word_and_nothing_else(
    simulator: Simulator, client: openai.OpenAI, say: Say
) -> None:
    gate = threading.Event()
    simulator.script("a", Reply(text="one two three", chunk_gate=gate))
    stream = iter(client.chat.completions.create(model="a", messages=user("Hi"), stream=True))
    before = [next(stream).choices[0].delta.content for _ in range(2)]
    assert say(client, "a", "the server still answers")
    gate.set()
    after = [chunk.choices[0].delta.content for chunk in stream]
    assert before == ["", "one"]
    assert after == [" two", " three", None]


def test_held_requests_are_logged_and_wait_for_their_release(simulator: Simulator) -> None:
    async def scenario() -> None:
        async with openai.AsyncOpenAI(
            base_url=simulator.url, api_key=simulator.api_key, max_retries=0
        ) as client:
            with simulator.hold("a") as hold:
                calls = [
                    asyncio.create_task(client.chat.completions.create(model="a", messages=user(f"Hi {i}")))
                    for i in range(3)
                ]
                await asyncio.to_thread(hold.wait_for, 3)
                assert simulator.count("a") == 3
                other = await client.chat.completions.create(model="b", messages=user("Hi"))
                assert other.choices
                assert not any(call.done() for call in calls)
                hold.release()
                assert all([(await call).choices for call in calls])

    asyncio.run(scenario())


def test_waiting_for_more_requests_than_come_times_out(simulator: Simulator) -> None:
    with simulator.hold("a") as hold, pytest.raises(TimeoutError, match="0 of 1"):
        hold.wait_for(1, timeout=0.01)


def test_a_client_that_leaves_is_no_longer_held(
    simulator: Simulator, say: Say, connect: Connect, eventually: Eventually
) -> None:
    with simulator.hold("a") as hold:
        with pytest.raises(openai.APITimeoutError):
            say(connect(simulator, timeout=0.2), "a", "Hi")
        assert eventually(lambda: hold.held == 0)
    assert simulator.count("a") == 1


def test_every_request_is_logged_in_order_with_what_it_carried(
    simulator: Simulator, client: openai.OpenAI, say: Say
) -> None:
    say(client, "a", "first", extra_headers={"X-Trace": "t1"})
    client.embeddings.create(model="vectors", input="second")
    one, two = simulator.requests
    assert (one.model, two.model) == ("a", "vectors")
    assert (one.path, two.path) == ("/v1/chat/completions", "/v1/embeddings")
    assert one.body["messages"] == user("first")
    assert one.headers["X-Trace"] == one.headers["x-trace"] == "t1"
    assert one.received_at <= two.received_at <= time.monotonic()
    assert [simulator.count(name) for name in ("a", "b", "vectors")] == [1, 0, 1]
    assert simulator.api_key not in repr(one)


def test_a_deployment_is_an_entry_of_a_litellm_model_list(simulator: Simulator) -> None:
    assert simulator.deployment("chat", "a", silent_model="shadow") == {
        "model_name": "chat",
        "litellm_params": {
            "model": "openai/a",
            "api_base": simulator.url,
            "api_key": simulator.api_key,
            "silent_model": "shadow",
        },
    }


def test_stop_waits_for_nobody_and_leaves_no_thread_and_no_socket_behind(eventually: Eventually) -> None:
    """Even with requests that are held, hang, or wait for a gate."""
    threads = set(threading.enumerate())
    simulator = Simulator([*MODELS, SimulatedModel("hangs", errors={"hang": 1.0})])
    simulator.start()
    port = httpx.URL(simulator.url).port
    simulator.script("b", Reply(chunk_gate=threading.Event()))
    hold = simulator.hold("a")

    async def scenario() -> list[BaseException | object]:
        async with openai.AsyncOpenAI(
            base_url=simulator.url, api_key=simulator.api_key, max_retries=0
        ) as client:
            calls = [
                asyncio.create_task(_read_all(client, model, stream))
                for model, stream in (("a", False), ("hangs", False), ("b", True))
            ]
            assert await asyncio.to_thread(eventually, lambda: len(simulator.requests) == 3)
            await asyncio.to_thread(hold.wait_for, 1)
            await asyncio.to_thread(simulator.stop)
            new = set(threading.enumerate()) - threads
            assert not any(thread.name == "mirrorkit-simulator" for thread in new)
            return await asyncio.gather(*calls, return_exceptions=True)

    outcomes = asyncio.run(scenario())
    assert all(isinstance(outcome, Exception) for outcome in outcomes)
    assert eventually(lambda: set(threading.enumerate()) <= threads)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port or 0), timeout=1)
    hold.release()


async def _read_all(client: openai.AsyncOpenAI, model: str, stream: bool) -> object:
    answer = await client.chat.completions.create(model=model, messages=user("Hi"), stream=stream)
    return [chunk async for chunk in answer] if isinstance(answer, openai.AsyncStream) else answer


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files by /proc")
def test_many_starts_and_stops_leave_no_open_files() -> None:
    def opened() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    with Simulator(MODELS):
        pass
    before = opened()
    for _ in range(5):
        with Simulator(MODELS):
            pass
    assert opened() <= before


def test_a_simulator_starts_again_after_a_stop(say: Say, connect: Connect) -> None:
    simulator = Simulator(MODELS)
    for _ in range(2):
        with simulator:
            assert say(connect(simulator), "a", "Hi")
    with pytest.raises(MirrorError, match="not running"):
        _ = simulator.url


def test_a_port_that_is_taken_is_an_error_and_leaves_no_thread(simulator: Simulator) -> None:
    threads = set(threading.enumerate())
    with pytest.raises(OSError, match="in use"):
        Simulator(MODELS, port=httpx.URL(simulator.url).port or 0).start()
    assert set(threading.enumerate()) <= threads


def test_what_cannot_be_simulated_is_refused() -> None:
    bad: Any = "teapot"
    with pytest.raises(ConfigError, match="teapot"):
        Reply(fault=bad)
    with pytest.raises(ConfigError, match="same name"):
        Simulator([MODELS[0], MODELS[0]])
    with pytest.raises(ConfigError, match="no model 'c'"):
        Simulator(MODELS).script("c", Reply())
    with pytest.raises(ConfigError, match="no model 'c'"):
        Simulator(MODELS).hold("c")


def test_a_model_with_variation_differs_from_itself_on_that_share_of_its_calls_and_repeatably(
    connect: Connect, say: Say
) -> None:
    def calls(variation: float) -> list[tuple[str, str]]:
        with Simulator([SimulatedModel("a", **QUICK, variation=variation)]) as simulator:
            client = connect(simulator)
            texts = [f"Question {i} about my shoes" for i in range(80)]
            return [(say(client, "a", text), say(client, "a", text)) for text in texts]

    def differing(pairs: list[tuple[str, str]]) -> int:
        return sum(one != two for one, two in pairs)

    some = calls(0.4)
    assert some == calls(0.4)
    assert differing(calls(0.0)) == 0
    assert 16 <= differing(some) <= 48
