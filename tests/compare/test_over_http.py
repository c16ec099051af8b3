"""What a provider sent is what is compared: Router → HTTP → simulator → frame → comparison."""

from typing import Any

import pytest

import mirrorkit as mk
from mirrorkit.simulator import Reply

pytestmark = pytest.mark.slow

JSON = '{"parcel": 7}'
ASKED = {"response_format": {"type": "json_object"}}
BLANK, CALL = Reply(text=""), Reply(tool_calls=[{"name": "track", "arguments": {"parcel": 7}}])


@pytest.fixture
def compared(sim: Any, drive: Any) -> Any:
    """`compared(primary, silent, gates, **call)`: calls to which both sides reply so, compared."""

    def compared(primary: list[Reply], silent: list[Reply], gates: dict[str, float], **call: Any) -> Any:
        sim.script("gpt-4o", *primary)
        sim.script("gpt-4o-mini", *silent)
        models = [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")]
        session = mk.MirrorSession(models, "next")
        for _ in primary:
            answer = drive.chat(session, **call)
            if call.get("stream"):
                drive.read(answer)
        drive.drain(session)
        seen = session.compare(gates=gates, progress=False)
        drive.close(session)
        return seen

    return compared


@pytest.mark.parametrize("stream", [False, True])
def test_blank_answers_and_tool_calls_are_unlike_the_json_that_was_asked_for(
    compared: Any, stream: bool
) -> None:
    silent = [Reply(text=JSON), BLANK, Reply(text=JSON), CALL] * 6
    gates = {"json_valid": 0.05, "identical": 0.9}
    seen = compared([Reply(text=JSON)] * 24, silent, gates, stream=stream, **ASKED)
    kinds = seen.frame["silent_output_kind"].value_counts().sort("count", descending=True).rows()
    assert dict(kinds) == {"text": 12, "blank": 6, "tool_calls": 6}
    told = {row["metric"]: (row["n"], row["effect"]) for row in seen.table.iter_rows(named=True)}
    assert told["blank"] == (24, 0.25)
    assert told["identical"] == told["similarity"] == told["json_equal"] == (24, 0.5)
    assert told["json_valid"] == (18, pytest.approx(-1 / 3))
    assert (seen.verdict.answer, seen.verdict.decided_by) == ("keep", "identical")
    held = seen.gates.filter(metric="json_valid").row(0, named=True)
    assert held["state"] == "open"
    assert "6 of 24 pairs are left out because of one side alone" in held["note"]


def test_a_count_by_the_provider_is_not_compared_with_an_estimate(compared: Any) -> None:
    uncounted = [Reply(text="On its way.", usage=False)] * 6
    seen = compared(uncounted, [Reply(text="On its way.")] * 6, {"cost": 1.5})
    assert seen.frame["primary_usage_source"].unique().to_list() == ["estimated"]
    assert seen.frame["silent_usage_source"].unique().to_list() == ["provider"]
    assert seen.verdict.answer == "keep collecting"
    assert "ask for usage where it is estimated" in seen.verdict.sentence
    alike = compared(uncounted, uncounted, {"cost": 1.5})
    assert alike.table.filter(metric="input_tokens").select("n", "effect").row(0) == (6, 1.0)
