"""Azure's and Google's shapes, and replies that are scripted whole, over real HTTP."""

import json
from typing import Any

import httpx
import pytest

from mirrorkit.simulator import Reply, SimulatedModel, Simulator

CONTENTS = [{"role": "user", "parts": [{"text": "Where is my parcel?"}]}]
TOOL = {"name": "look_up", "parameters": {"type": "object", "properties": {"id": {"type": "string"}}}}


@pytest.fixture
def sim() -> Any:
    with Simulator([SimulatedModel("gemini-2.5-flash"), SimulatedModel("gpt-4o")]) as simulator:
        yield simulator


def post(sim: Simulator, path: str, **body: Any) -> httpx.Response:
    root = sim.url.removesuffix("/v1")
    headers = {"x-goog-api-key": sim.api_key, "api-key": sim.api_key}
    return httpx.post(f"{root}{path}", json=body, headers=headers)


def generate(sim: Simulator, how: str = "generateContent", **body: Any) -> httpx.Response:
    return post(sim, f"/v1beta/models/gemini-2.5-flash:{how}", contents=CONTENTS, **body)


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]


def test_google_answers_with_candidates_and_a_usage_that_adds_up(sim: Simulator) -> None:
    answer = generate(sim).json()
    (candidate,), usage = answer["candidates"], answer["usageMetadata"]
    assert candidate["content"]["parts"][0]["text"]
    assert candidate["finishReason"] == "STOP"
    assert usage["totalTokenCount"] == usage["promptTokenCount"] + usage["candidatesTokenCount"]


def test_googles_stream_says_what_the_whole_answer_says(sim: Simulator) -> None:
    whole = generate(sim).json()["candidates"][0]["content"]["parts"][0]["text"]
    chunks = events(generate(sim, "streamGenerateContent"))
    parts = [part for chunk in chunks for part in chunk["candidates"][0]["content"]["parts"]]
    assert "".join(part["text"] for part in parts) == whole
    assert [("usageMetadata" in chunk) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]


@pytest.mark.parametrize("how", ["generateContent", "streamGenerateContent"])
def test_google_calls_functions(sim: Simulator, how: str) -> None:
    wanted = {"functionCallingConfig": {"mode": "ANY", "allowed_function_names": ["look_up"]}}
    answer = generate(sim, how, tools=[{"function_declarations": [TOOL]}], toolConfig=wanted)
    said = events(answer) if how.startswith("stream") else [answer.json()]
    parts = [part for chunk in said for part in chunk["candidates"][0]["content"]["parts"]]
    (call,) = [part["functionCall"] for part in parts if "functionCall" in part]
    assert call["name"] == "look_up"
    assert "id" in call["args"]


def test_azure_names_the_model_in_the_path(sim: Simulator) -> None:
    path = "/openai/deployments/gpt-4o/chat/completions"
    answer = post(sim, path, messages=[{"role": "user", "content": "Hi"}])
    assert answer.json()["choices"][0]["message"]["content"]
    assert sim.requests[-1].model == "gpt-4o"


def test_another_key_is_refused(sim: Simulator) -> None:
    root = sim.url.removesuffix("/v1")
    url = f"{root}/v1beta/models/gemini-2.5-flash:generateContent"
    assert httpx.post(url, json={"contents": CONTENTS}, headers={"x-goog-api-key": "no"}).status_code == 401


def test_a_body_is_sent_as_it_is_whole_or_as_events(sim: Simulator) -> None:
    sim.script("gpt-4o", Reply(body={"odd": 1}), Reply(body=[{"a": 1}, {"b": 2}]), Reply(body=[]))
    asked: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}
    path = "/openai/deployments/gpt-4o/chat/completions"
    assert post(sim, path, **asked).json() == {"odd": 1}
    assert events(post(sim, path, stream=True, **asked)) == [{"a": 1}, {"b": 2}]
    assert post(sim, path, stream=True, **asked).text == "data: [DONE]\n\n"
