"""The shapes that providers have, each served by a model group of the simulator."""

from typing import Any

from mirrorkit.simulator import SimulatedModel, Simulator

ASKED = [{"role": "user", "content": "Where is my parcel?"}]
MODELS = {
    "openai": "gpt-4o",
    "azure": "my-own-name",
    "anthropic": "claude-sonnet-4-5",
    "gemini": "gemini-2.5-flash",
    "responses": "gpt-4o",
    "messages": "claude-sonnet-4-5",
}
"""The model that serves each shape; the last two are call types of their own."""


def simulator() -> Simulator:
    """A simulator of these models, which answer at once and the same each time."""
    return Simulator(
        [SimulatedModel(name, ttft_s=0, token_s=0, sigma=0) for name in sorted({*MODELS.values()})]
    )


def deployments(sim: Simulator) -> list[dict[str, Any]]:
    """A model list with one group a shape."""
    root = sim.url.removesuffix("/v1")
    openai = {"model": "openai/gpt-4o", "api_base": sim.url}
    claude = {"model": "anthropic/claude-sonnet-4-5", "api_base": root}
    azure = {"model": "azure/my-own-name", "api_base": root, "api_version": "2024-10-21"}
    wheres = {
        "openai": openai,
        "azure": {**azure, "base_model": "azure/gpt-4o"},
        "anthropic": claude,
        "gemini": {"model": "gemini/gemini-2.5-flash", "api_base": f"{root}/v1beta"},
        "responses": openai,
        "messages": claude,
    }
    return [
        {"model_name": name, "litellm_params": {**where, "api_key": sim.api_key}}
        for name, where in wheres.items()
    ]


def ask(
    session: Any, drive: Any, shape: str, stream: bool = False, group: str | None = None, **more: Any
) -> dict[str, Any]:
    """Ask a session that mirrors to itself, wait for both sides, and give their row.

    `group` may be of another shape than the call, which LiteLLM then translates.
    """
    group = group or shape
    more |= {"stream": True} if stream else {}
    if shape == "responses":
        answer = drive.call(session, "responses", model=group, input=ASKED[0]["content"], **more)
    elif shape == "messages":
        answer = drive.call(session, "anthropic_messages", model=group, messages=ASKED, max_tokens=99, **more)
    else:
        answer = drive.chat(session, model=group, messages=ASKED, **more)
    if stream:
        drive.read(answer)
    drive.drain(session)
    rows: list[dict[str, Any]] = session.frame.rows(named=True)
    return rows[-1]


def exists(shape: str, drive: Any) -> bool:
    """Whether the Router can make such a call: Anthropic's messages can only be awaited."""
    return shape != "messages" or bool(drive.is_async)
