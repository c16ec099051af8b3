"""The requests to try a mirror with."""

import json

import openai

from mirrorkit.simulator import prompts


def test_prompts_are_varied_repeatable_and_sliced_by_tags_and_sessions() -> None:
    requests = prompts(200, seed=1)
    assert requests == prompts(200, seed=1) != prompts(200, seed=2)
    assert requests[:50] == prompts(50, seed=1)
    assert not any("model" in request for request in requests)
    assert len({request["messages"][-1]["content"] for request in requests}) > 190
    kinds = [request["metadata"]["tags"][0] for request in requests]
    assert all(kinds.count(kind) > 20 for kind in ("support", "extraction", "tools"))
    assert all(("tools" in r) == (k == "tools") for r, k in zip(requests, kinds, strict=True))
    assert all(("response_format" in r) == (k == "extraction") for r, k in zip(requests, kinds, strict=True))
    assert 60 <= len({request["metadata"]["session_id"] for request in requests}) <= 70


def test_every_prompt_is_answered_in_the_form_it_asks_for(client: openai.OpenAI) -> None:
    called = 0
    for request in prompts(30):
        kind = request.pop("metadata")["tags"][0]
        choice = client.chat.completions.create(model="a", **request).choices[0]
        if kind == "extraction":
            assert json.loads(choice.message.content)["summary"]
        elif kind == "tools":
            called += bool(choice.message.tool_calls)
        else:
            assert choice.message.content
    assert called
