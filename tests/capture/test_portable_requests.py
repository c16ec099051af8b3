"""Requests that not every model can be sent: what is stripped, what is not sent at all, what is counted."""

from typing import Any

import litellm
import pytest

import mirrorkit as mk
from mirrorkit.simulator import Reply

MESSAGES = [{"role": "user", "content": "Where is my parcel?"}]
MCP = {
    "type": "mcp",
    "server_label": "desk",
    "server_url": "https://desk.example.org/mcp",
    "authorization": "t0k",
}


def models_of(sim: Any, **other: Any) -> list[dict[str, Any]]:
    return [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini", **other)]


def test_a_server_that_refuses_to_be_asked_for_usage_is_asked_without_and_remembered(
    sim: Any, drive: Any
) -> None:
    sim.script("gpt-4o-mini", Reply(fault="400", error_message="Unknown parameter: 'stream_options'."))
    with mk.MirrorSession(models_of(sim), silent_model="next") as session:
        for _ in range(2):
            drive.read(drive.chat(session, stream=True))
            drive.drain(session)
        frame = session.frame
    assert frame["silent_status"].to_list() == ["ok", "ok"]
    assert frame["silent_attempts"].to_list() == [2, 1]
    asked = ["stream_options" in request.body for request in sim.requests if request.model == "gpt-4o-mini"]
    assert asked == [True, False, False]


def test_a_primary_that_the_router_refuses_is_counted_as_that(sim: Any, drive: Any) -> None:
    models = models_of(sim)
    models[0]["litellm_params"]["silent_model"] = "next"
    with mk.MirrorSession(litellm.Router(model_list=models)) as session:
        with pytest.raises(litellm.BadRequestError):
            drive.chat(session, model="typo")
        drive.drain(session)
        assert (session.funnel.refused, session.funnel.mirrored, session.frame.height) == (1, 0, 0)
    assert sim.count("gpt-4o-mini") == 0


def test_a_group_that_does_not_exist_is_billed_at_no_silent_model(sim: Any, drive: Any) -> None:
    with mk.MirrorSession(models_of(sim), silent_model="next") as session:
        with pytest.raises(litellm.BadRequestError):
            drive.chat(session, model="typo")
        drive.drain(session)
        assert (session.funnel.refused, session.frame.height) == (1, 0)
    assert sim.count("gpt-4o-mini") == 0


def test_what_the_provider_has_stored_goes_to_the_same_account_and_to_control_alone(
    sim: Any, drive: Any
) -> None:
    silent = {"silent_model": ["next", "elsewhere"], "control": 1.0}
    models = [*models_of(sim), sim.deployment("elsewhere", "gpt-4.1", organization="org-other")]
    with mk.MirrorSession(models, **silent) as session:
        drive.call(session, "responses", "chat", "And now?", previous_response_id="resp_1")
        drive.drain(session)
        assert sorted(session.frame["arm"].to_list()) == ["control", "next"]
        assert session.funnel.mirrored == 1
    with mk.MirrorSession(models, silent_model="elsewhere") as session:
        drive.call(session, "responses", "chat", "And now?", previous_response_id="resp_1")
        drive.drain(session)
        assert (session.funnel.not_portable, session.frame.height) == (1, 0)


def test_a_tool_that_acts_runs_once_unless_the_user_says_otherwise_and_then_for_control(
    sim: Any, drive: Any
) -> None:
    for repeats, wanted in ((False, []), (True, ["control"])):
        options = {"silent_model": "next", "control": 1.0, "repeat_actions": repeats}
        with mk.MirrorSession(models_of(sim), **options) as session:
            drive.call(session, "responses", "chat", "Open a ticket", tools=[MCP])
            drive.drain(session)
            assert session.frame["arm"].to_list() == wanted
            assert session.funnel.not_portable == (not repeats)
            assert "t0k" not in str(session.frame["params"].to_list())


def test_what_is_not_sent_is_named_in_the_row_and_once_in_a_warning(sim: Any, drive: Any) -> None:
    models = models_of(sim)
    with (
        pytest.warns(mk.MirrorWarning, match=r"without my_parameter, .*forward=\['my_parameter'\]") as caught,
        mk.MirrorSession(models, silent_model="next") as session,
    ):
        for _ in range(2):
            drive.chat(session, extra_headers={"X-Team": "a"}, my_parameter=1, temperature=0)
            drive.drain(session)
        frame = session.frame
    assert len([each for each in caught if "my_parameter" in str(each.message)]) == 1
    assert frame["stripped"].to_list() == [["extra_headers", "my_parameter"]] * 2
    assert '"temperature":0' in frame["params"][0]
    assert "my_parameter" not in frame["params"][0]
    with mk.MirrorSession(models, silent_model="next", forward=["my_parameter"]) as session:
        drive.chat(session, my_parameter=1)
        drive.drain(session)
        assert session.frame["stripped"].to_list() == [[]]
    assert sim.requests[-1].body["my_parameter"] == 1
