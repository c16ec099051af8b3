"""Shared by all tests: the simulator as a provider, and one way to drive sessions, sync and async."""

import asyncio
import copy
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import hypothesis
import pytest

from mirrorkit.simulator import SimulatedModel, Simulator

_IS_CI = "MIRRORKIT_CI" in os.environ

hypothesis.settings.register_profile(
    "mirrorkit",
    # how long an example takes says what else the machine is doing, and LiteLLM's threads with it
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    # a run of CI that fails can be repeated; anyone else's looks at examples that nobody has tried
    derandomize=_IS_CI,
    max_examples=100 if _IS_CI else 40,
)
hypothesis.settings.load_profile("mirrorkit")

MESSAGES = [{"role": "user", "content": "Where is my parcel?"}]

_PATIENCE_S = 600
_LEFT_BY_OTHERS = ("ignore::ResourceWarning", "ignore:coroutine", "ignore:Exception ignored in")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A slow test on a busy machine does not hang; what others left open is none of a test's warnings."""
    for item in items:
        if item.get_closest_marker("unwarned"):
            # the garbage collector comes by when it likes
            item.add_marker(pytest.mark.filterwarnings("error", *_LEFT_BY_OTHERS))
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(_PATIENCE_S))


class Blocking:
    """Drives a session by its blocking calls."""

    is_async = False

    def call(self, session: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        return getattr(session, name)(*args, **kwargs)

    def chat(self, session: Any, model: str = "chat", messages: Any = MESSAGES, **kwargs: Any) -> Any:
        return session.completion(model, messages, **kwargs)

    def read(self, stream: Any, most: int | None = None) -> list[Any]:
        chunks = []
        for chunk in stream:
            chunks.append(chunk)
            if len(chunks) == most:
                break
        return chunks

    def leave(self, stream: Any) -> None:
        stream.close()

    def drain(self, session: Any) -> None:
        assert session.drain(100)

    def close(self, session: Any) -> None:
        session.close()


class Awaiting:
    """Drives a session by its awaited calls, all on one loop."""

    is_async = True

    def __init__(self, runner: asyncio.Runner) -> None:
        self.run = runner.run

    def call(self, session: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        return self.run(getattr(session, f"a{name}")(*args, **kwargs))

    def chat(self, session: Any, model: str = "chat", messages: Any = MESSAGES, **kwargs: Any) -> Any:
        return self.call(session, "completion", model, messages, **kwargs)

    def read(self, stream: Any, most: int | None = None) -> list[Any]:
        async def read() -> list[Any]:
            chunks = []
            async for chunk in stream:
                chunks.append(chunk)
                if len(chunks) == most:
                    break
            return chunks

        return self.run(read())

    def leave(self, stream: Any) -> None:
        self.run(stream.aclose())

    def drain(self, session: Any) -> None:
        assert self.run(session.adrain(100))

    def close(self, session: Any) -> None:
        self.run(session.aclose())


@pytest.fixture(params=["sync", "async"])
def drive(request: pytest.FixtureRequest) -> Iterator[Blocking | Awaiting]:
    """Each test that asks for this runs twice: by blocking calls and by awaited ones."""
    if request.param == "sync":
        yield Blocking()
        return
    with asyncio.Runner() as runner:
        yield Awaiting(runner)


QUICK = {"ttft_s": 0.002, "token_s": 0.0001, "words": 8}


@pytest.fixture
def sim() -> Iterator[Simulator]:
    """A provider of models with prices (gpt-4o and others) and one without."""
    names = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini", "home-made")
    embeddings = ("text-embedding-3-small", "text-embedding-3-large")
    models = [SimulatedModel(name, **QUICK) for name in (*names, *embeddings)]
    with Simulator(models) as simulator:
        yield simulator


CALLBACKS = (
    "callbacks",
    "input_callback",
    "success_callback",
    "failure_callback",
    "_async_success_callback",
    "_async_failure_callback",
)


@pytest.fixture(autouse=True)
def _callbacks_end_with_their_test() -> Iterator[None]:
    """Each Router leaves some in LiteLLM's lists, and of the hundredth LiteLLM takes no more."""
    lists = [getattr(litellm, name) for litellm in _litellm() for name in CALLBACKS]
    before = [list(callbacks) for callbacks in lists]
    yield
    if not lists:
        # it was loaded meanwhile, with nothing in its lists
        lists = [getattr(litellm, name) for litellm in _litellm() for name in CALLBACKS]
        before = [[] for _ in lists]
    for callbacks, those in zip(lists, before, strict=True):
        callbacks[:] = those


@pytest.fixture(autouse=True)
def _litellm_is_as_silent_as_before() -> Iterator[None]:
    """A verbose Router makes LiteLLM's loggers so, which doctests would take for their own output."""
    loggers = [logging.getLogger(name) for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy")]
    before = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


def _litellm() -> list[Any]:
    return [sys.modules["litellm"]] if "litellm" in sys.modules else []


@pytest.fixture
def litellm_state() -> Iterator[Any]:
    """LiteLLM's module, whose settings a test may change: they are as before when it ends."""
    import litellm

    # a logger is copied from `callbacks` to the other lists at the first call
    names = (
        *CALLBACKS,
        "cache",
        "drop_params",
        "num_retries",
        "max_budget",
    )
    before = {name: copy.copy(getattr(litellm, name)) for name in names}
    yield litellm
    for name, value in before.items():
        setattr(litellm, name, value)


def pytest_unconfigure() -> None:
    # LiteLLM leaves its HTTP clients to the garbage collector, and each would now tell of it at length
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], bool]:
    """Whether a condition comes true, where there is no event to wait on."""

    def eventually(condition: Callable[[], bool], timeout: float = 60) -> bool:
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > end:
                return False
            threading.Event().wait(0.005)
        return True

    return eventually
