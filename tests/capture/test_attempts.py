"""How many calls a primary took: as many as the provider saw, whatever failed, or null."""

import contextlib
from typing import Any

import litellm
import pytest

import mirrorkit as mk
from mirrorkit.simulator import Reply

MESSAGES = [{"role": "user", "content": "Where is my parcel?"}]


def asked(sim: Any, drive: Any, retries: int, failures: int, other_failures: int | None) -> dict[str, Any]:
    """The row of a request whose group fails so often, and whose fallback, if it has one, fails so often."""
    models = [
        sim.deployment("chat", "gpt-4o"),
        sim.deployment("other", "gpt-4.1"),
        sim.deployment("next", "gpt-4o-mini"),
    ]
    fallbacks = {} if other_failures is None else {"fallbacks": [{"chat": ["other"]}]}
    router = litellm.Router(model_list=models, num_retries=retries, retry_after=0, **fallbacks)
    sim.script("gpt-4o", *[Reply(fault="500")] * failures)
    sim.script("gpt-4.1", *[Reply(fault="500")] * (other_failures or 0))
    with mk.MirrorSession(router, silent_model="next") as session:
        with contextlib.suppress(litellm.InternalServerError):
            drive.chat(session)
        drive.drain(session)
        return session.frame.row(0, named=True)


@pytest.mark.parametrize(
    ("retries", "failures", "other_failures", "fell_back"),
    [
        (0, 0, None, False),
        (0, 1, None, False),
        (2, 1, None, False),
        (2, 3, None, False),
        (0, 1, 0, True),
        (0, 1, 1, True),
        (1, 1, 0, False),
        (1, 2, 0, True),
        (1, 2, 1, True),
    ],
)
@pytest.mark.slow
def test_attempts_are_the_calls_that_the_provider_saw(
    sim: Any, drive: Any, retries: int, failures: int, other_failures: int | None, fell_back: bool
) -> None:
    pair = asked(sim, drive, retries, failures, other_failures)
    assert pair["primary_attempts"] == sim.count("gpt-4o") + sim.count("gpt-4.1")
    assert pair["primary_fell_back"] is fell_back


@pytest.mark.slow
def test_a_fallback_that_failed_after_retries_has_taken_nobody_knows_how_many(sim: Any, drive: Any) -> None:
    """LiteLLM says that it fell back, and no more."""
    pair = asked(sim, drive, retries=1, failures=2, other_failures=2)
    assert sim.count("gpt-4o") + sim.count("gpt-4.1") == 4
    assert (pair["primary_attempts"], pair["primary_fell_back"]) == (None, True)


def test_a_failed_call_names_its_model_alike_however_it_was_made(sim: Any, drive: Any) -> None:
    pair = asked(sim, drive, retries=0, failures=1, other_failures=None)
    assert (pair["primary_model"], pair["primary_provider"]) == ("gpt-4o", "openai")
