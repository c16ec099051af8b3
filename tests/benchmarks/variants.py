"""The ways to send the same requests that the benches compare, all through one Router.

LiteLLM's own mirror is switched on for its turns alone: a second Router in the process would add its logging
callbacks to every call of the first.
"""

import argparse
import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import litellm
import polars as pl
from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER
from litellm.router_api import ChangeSet

import mirrorkit as mk
from mirrorkit.simulator import SimulatedModel, SimulatorProcess


class Name(StrEnum):
    """The variants, the plain one first; each has a label for tables."""

    label: str

    def __new__(cls, name: str, label: str) -> "Name":
        one = str.__new__(cls, name)
        one._value_, one.label = name, label
        return one

    PLAIN = "plain", "plain Router"
    LITELLM = "litellm", "LiteLLM silent_model"
    NOTHING = "nothing", "session, sample=0"
    SHARED = "shared", "session shared"
    PROCESS = "process", "session process"


MESSAGES = [
    {"role": "system", "content": "You are a support agent of a parcel service. Answer in one sentence."},
    {"role": "user", "content": "Where is my parcel? It was to come on Monday, and it is Thursday."},
]
_PATIENCE_S = 120.0
_REST_S = 0.05
_LOGGERS_S = 5.0
_PRIMARY, _SILENT = "chat", "next"


class Variant:
    """A plain Router, which mirrors nothing; the others build on it."""

    def __init__(self, router: litellm.Router) -> None:
        self._router = router
        self.acompletion: Callable[..., Any] = router.acompletion
        self.completion: Callable[..., Any] = router.completion

    @property
    def completed(self) -> int:
        """Mirrors that were answered, so far."""
        return 0

    @property
    def dropped(self) -> int:
        """Mirrors that were not sent, so far."""
        return 0

    @property
    def under_way(self) -> int:
        """Mirrors that wait or run."""
        return 0

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """While this variant, and no other, is measured."""
        yield

    async def settle(self) -> None:
        """Wait until nothing is under way any more, loggers included."""
        # not its flush(), which waits for ever once a call was made on another loop
        end, queue = time.monotonic() + _LOGGERS_S, GLOBAL_LOGGING_WORKER._queue
        while queue is not None and not queue.empty() and time.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(_REST_S)
        await asyncio.sleep(_REST_S)

    def settle_blocking(self) -> None:
        """The same for blocking calls."""

    def close(self) -> None:
        """Let everything go."""


class LiteLLMMirror(Variant):
    """LiteLLM's own `silent_model`; counts the silent calls that the Router begins and ends."""

    def __init__(self, router: litellm.Router) -> None:
        super().__init__(router)
        # lists, as threads append to them
        self._expected: list[None] = []
        self._ended: list[bool] = []
        original = router.acompletion

        async def counted(model: str, messages: Any, **kwargs: Any) -> Any:
            if model != _SILENT:
                return await original(model=model, messages=messages, **kwargs)
            answered = False
            try:
                answer = await original(model=model, messages=messages, **kwargs)
                answered = True
                return answer
            finally:
                self._ended.append(answered)

        self._counted = counted
        self.acompletion = self._call
        self.completion = self._call_blocking

    async def _call(self, **kwargs: Any) -> Any:
        self._expected.append(None)
        return await self._router.acompletion(**kwargs)

    def _call_blocking(self, **kwargs: Any) -> Any:
        self._expected.append(None)
        return self._router.completion(**kwargs)

    @property
    def completed(self) -> int:
        return sum(self._ended)

    @property
    def under_way(self) -> int:
        return len(self._expected) - len(self._ended)

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        plain = self._router.registry().deployments(_PRIMARY, source="first_in_group")
        params = plain.litellm_params.model_copy(update={"silent_model": _SILENT})
        self._router.apply(ChangeSet(upsert=[plain.model_copy(update={"litellm_params": params})]))
        self._router.acompletion = self._counted
        try:
            yield
        finally:
            del self._router.acompletion
            self._router.apply(ChangeSet(upsert=[plain]))

    async def settle(self) -> None:
        end = time.monotonic() + _PATIENCE_S
        while self.under_way and time.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.005)  # LiteLLM offers no event to wait for
        await super().settle()

    def settle_blocking(self) -> None:
        for thread in threading.enumerate():
            name = getattr(getattr(thread, "_target", None), "__name__", "")
            if name == "_silent_experiment_completion":
                thread.join(_PATIENCE_S)


class Session(Variant):
    """A session on the Router; `settings` are MirrorSession's. Its mirrors are the pairs it recorded."""

    def __init__(self, router: litellm.Router, **settings: Any) -> None:
        super().__init__(router)
        self.session = mk.MirrorSession(router, silent_model=_SILENT, **settings)
        self.acompletion = self.session.acompletion
        self.completion = self.session.completion

    @property
    def completed(self) -> int:
        frame = self.session.frame
        return int((frame["silent_status"] == "ok").sum())

    @property
    def dropped(self) -> int:
        return self.session.funnel.saturated

    @property
    def under_way(self) -> int:
        return self.session.under_way

    def waits(self, newest: int) -> list[float]:
        """Seconds between the primary's answer and the silent call's start, of the newest pairs."""
        wait = pl.col("lag_s") - pl.col("primary_latency_s")
        return self.session.frame.tail(newest).select(wait).to_series().drop_nulls().to_list()

    async def settle(self) -> None:
        await self.session.adrain(_PATIENCE_S)
        await super().settle()

    def settle_blocking(self) -> None:
        self.session.drain(_PATIENCE_S)

    def close(self) -> None:
        self.session.close()


MAKE: dict[Name, Callable[[litellm.Router], Variant]] = {
    Name.PLAIN: Variant,
    Name.LITELLM: LiteLLMMirror,
    Name.NOTHING: lambda router: Session(router, sample=0.0),
    Name.SHARED: lambda router: Session(router, isolation="shared"),
    Name.PROCESS: lambda router: Session(router, isolation="process"),
}


class Contest:
    """The chosen variants on one Router, and the child process of the one that has one."""

    def __init__(self, sim: SimulatorProcess, names: Sequence[Name]) -> None:
        models = [sim.deployment(_PRIMARY, "gpt-4o"), sim.deployment(_SILENT, "gpt-4o-mini")]
        self.router = litellm.Router(models, num_retries=0)
        self.variants: dict[Name, Variant] = {}
        self.child: int | None = None
        before = _children()
        for name in names:
            try:
                self.variants[name] = MAKE[name](self.router)
            except mk.ConfigError as error:
                print(f"{name.label} is left out: {error}")
        self._before = before

    def find_child(self) -> int | None:
        """The process id of the child that makes silent calls, once it runs."""
        new = _children() - self._before
        return min(new) if new else None

    def turns(self, number: int) -> list[tuple[Name, Variant]]:
        """The variants in the order of a round: each has each place, as a later one may be a warmer one."""
        names = list(self.variants)
        at = number % len(names)
        return [(name, self.variants[name]) for name in names[at:] + names[:at]]

    def close(self) -> None:
        """Close the sessions."""
        for variant in self.variants.values():
            variant.close()


@contextlib.contextmanager
def contest_of(models: Sequence[SimulatedModel], names: str) -> Iterator[Contest]:
    """The variants of a comma-separated list, before a simulator of these models in a process of its own."""
    with SimulatorProcess(models) as sim:
        contest = Contest(sim, chosen(names))
        try:
            yield contest
        finally:
            contest.close()


def chosen(text: str) -> list[Name]:
    """Names of variants, of a comma-separated list; the plain one is always among them, and first."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = sorted(set(names) - set(Name))
    if unknown:
        raise ValueError(f"no variant {unknown[0]!r}; there are {', '.join(Name)}")
    return [name for name in Name if name is Name.PLAIN or name in names]


def parser_of(doc: str | None, rounds: int) -> argparse.ArgumentParser:
    """The options that both benches of variants have."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--variants", default=",".join(Name))
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--quick", action="store_true", help="does it run? its figures say little")
    parser.add_argument("--json", type=Path)
    return parser


def cpu_of(pid: int) -> float:
    """Seconds of CPU time that a process has taken; Linux alone."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _children() -> set[int]:
    """The processes that this one has started and that still run; Linux alone."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            found |= {int(pid) for pid in (task / "children").read_text(encoding="utf-8").split()}
    return found
