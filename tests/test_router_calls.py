"""A session is called as its Router is: mirrored, passed on and counted, or refused."""

import asyncio
from typing import Any

import litellm
import pytest
from litellm.router_api import ChangeSet
from litellm.types.router import Deployment

import mirrorkit as mk
from mirrorkit.errors import SessionClosed, UnsupportedCall

MESSAGES = [{"role": "user", "content": "Where is my parcel?"}]


@pytest.fixture
def router(sim: Any) -> litellm.Router:
    models = [
        sim.deployment("chat", "gpt-4o", silent_model="next", mock_response="fine"),
        sim.deployment("next", "gpt-4o-mini"),
    ]
    return litellm.Router(model_list=models, model_group_alias={"nick": "chat"})


class TestPassedOn:
    def test_text_completion_is_the_routers_own_and_is_counted(self, router: litellm.Router) -> None:
        with mk.MirrorSession(router) as session:
            answer = asyncio.run(session.atext_completion(model="chat", prompt="Where is my parcel?"))
            assert answer.choices[0].text == "fine"
            funnel = session.funnel
            assert (funnel.requests, funnel.not_mirrored, funnel.mirrored) == (1, 1, 0)
            assert funnel.not_mirrored_by_call_type == {"text_completion": 1}
            assert funnel["not_mirrored"] == 1
            assert sum(funnel.as_dict().values()) == 2 * funnel.requests
            assert session.frame.height == 0

    def test_a_blocking_one_raises_what_the_router_raises(self, router: litellm.Router) -> None:
        """LiteLLM 1.110.2 does not find the provider of a blocking text completion."""
        with mk.MirrorSession(router) as session:
            for owner in (session.router, session):
                with pytest.raises(litellm.BadRequestError, match="model=chat"):
                    owner.text_completion(model="chat", prompt="Where is my parcel?")
            assert session.funnel.not_mirrored_by_call_type == {"text_completion": 1}

    def test_a_rerank_that_fails_raises_its_own_error_and_is_counted(self, router: Any) -> None:
        with mk.MirrorSession(router) as session:
            with pytest.raises(litellm.BadRequestError):
                asyncio.run(session.arerank(model="nobody", query="q", documents=["a"]))
            assert session.funnel.not_mirrored_by_call_type == {"rerank": 1}

    def test_entry_points_are_the_routers_own(self, router: litellm.Router) -> None:
        with mk.MirrorSession(router) as session:
            assert session.registry().aliases() == {"nick": "chat"}
            for name in ("settings", "health", "observe", "select", "register_plugin", "retire"):
                assert getattr(session, name) == getattr(router, name)
                assert name in dir(session)

    def test_what_the_session_applies_is_taken_over_at_once(self, sim: Any, router: Any, drive: Any) -> None:
        """A call on the Router itself right after it is mirrored by nobody."""
        with mk.MirrorSession(router) as session:
            new = Deployment(**sim.deployment("new", "gpt-4o", silent_model="next"))
            changes = ChangeSet(upsert=[new], settings={"num_retries": 5})
            result = drive.call(session, "apply", changes)
            assert result.version == router.registry().version
            assert session.settings().as_dict()["num_retries"] == 5
            drive.call(router, "completion", model="new", messages=MESSAGES)
            assert sim.count("gpt-4o-mini") == 0
            drive.call(session, "completion", "new", MESSAGES)
            drive.drain(session)
            assert session.frame["arm"].to_list() == ["next"]
        assert sim.count("gpt-4o-mini") == 1


class TestRefused:
    def test_other_calls_name_the_way_to_the_router(self, router: litellm.Router) -> None:
        with mk.MirrorSession(router) as session:
            with pytest.raises(UnsupportedCall) as caught:
                session.aimage_generation(model="chat", prompt="a parcel")
            assert "session.router.aimage_generation" in str(caught.value)
            assert "aanthropic_messages" in str(caught.value)
            assert not hasattr(session, "nonsense")
            assert not hasattr(session, "_core")

    def test_after_close_nothing_is_called(self, router: litellm.Router, drive: Any) -> None:
        session = mk.MirrorSession(router)
        session.close()
        for name in ("text_completion", "completion"):
            with pytest.raises(SessionClosed):
                drive.call(session, name, model="chat", prompt="hi", messages=[])
        assert session.funnel.requests == 0
