"""A running simulator, and the openai SDK as its client."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai
import pytest

from mirrorkit.simulator import SimulatedModel, Simulator, SimulatorProcess

QUICK: dict[str, Any] = {"ttft_s": 0.0, "token_s": 0.0}


@pytest.fixture(scope="session")
def http() -> Iterator[httpx.Client]:
    """One connection pool for all tests, because making one is slow."""
    with httpx.Client() as client:
        yield client


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """Serves "a", "b" (chatty) and "vectors", without delay."""
    models = (
        SimulatedModel("a", **QUICK),
        SimulatedModel("b", **QUICK, style="chatty", words=40),
        SimulatedModel("vectors", **QUICK),
    )
    with Simulator(models) as running:
        yield running


@pytest.fixture
def connect(http: httpx.Client) -> Callable[..., openai.OpenAI]:
    """Makes a client of a simulator."""

    def connect(simulator: Simulator | SimulatorProcess, **more: Any) -> openai.OpenAI:
        settings = {"api_key": simulator.api_key, "max_retries": 0, "timeout": 20, "http_client": http}
        return openai.OpenAI(base_url=simulator.url, **{**settings, **more})

    return connect


@pytest.fixture
def client(simulator: Simulator, connect: Callable[..., openai.OpenAI]) -> openai.OpenAI:
    return connect(simulator)


@pytest.fixture
def say() -> Callable[..., str]:
    """Asks a model something, and gives the text of its answer."""

    def say(client: openai.OpenAI, model: str, text: str, **more: Any) -> str:
        answer = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": text}], **more
        )
        said: str = answer.choices[0].message.content
        return said

    return say
