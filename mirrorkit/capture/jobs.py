"""What a dispatcher runs: jobs, what it knows of each, and who judges whether one may start."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Protocol


class Job(Protocol):
    """One silent call, which can be made in any of these ways and records itself, once, when it ends."""

    @property
    def group(self) -> str:
        """The model group that is called."""

    def depart(self, done: Callable[[], None]) -> bool:
        """Start the call in another process, if it can; never raises.

        `done` is called once it ended, from any thread, if this gives True.
        """

    @property
    def limit_s(self) -> float:
        """How long the call may take, in seconds."""

    def run(self) -> None:
        """Make the call, blocking, and record it; never raises."""

    async def arun(self) -> None:
        """Make the call, awaiting, for `record` to record; raises CancelledError if it is cut off."""

    def record(self) -> None:
        """Record how the call ended that `arun` made; may take its time, never raises."""

    def drop(self, why: str) -> None:
        """Record that the call was given up, and why; called for what never ran to its end."""

    def expire(self) -> None:
        """Record that the call took longer than it may."""


class HasRoom(Protocol):
    """Judges whether a job may start now."""

    @property
    def wait_s(self) -> float:
        """0 where one may, else seconds until it is time to ask again."""

    def started(self) -> None:
        """One starts now."""


class Held:
    """A job under way, where it is to run, and the task that runs it there."""

    __slots__ = ("at", "begun", "deadline", "job", "loop", "made", "moved", "started", "task")

    def __init__(self, job: Job, loop: asyncio.AbstractEventLoop | None) -> None:
        self.job = job
        self.loop = loop
        self.task: asyncio.Task[None] | None = None
        self.at = monotonic()
        self.deadline = float("inf")
        self.started = False
        self.begun = False
        self.made = False
        self.moved = False
