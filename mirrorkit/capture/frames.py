"""What the session's process and the one that makes its silent calls say to each other, over two pipes."""

import os
import pickle
import selectors
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import cloudpickle

from mirrorkit.capture.exchange import Asked
from mirrorkit.capture.policy import Policy
from mirrorkit.capture.router.blueprint import Blueprint, culprit, parameters_of, silenced
from mirrorkit.errors import ConfigError
from mirrorkit.records import Call

_HEAD = struct.Struct(">QQ")  # how long it is, and which order it is about
_MAIN = b"__main__"
NO_ORDER = 0
"""The ticket of what is about no order."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the process needs to know before it can take orders."""

    blueprint: Blueprint
    policy: Policy


@dataclass(frozen=True, slots=True)
class Order:
    """One silent call that is to be made.

    `asked` has what of the caller's keywords it may be sent. It may take `limit_s` seconds in all, which is
    the time-out of each attempt too where it `sets_timeout`: where neither caller nor Router has set one.
    """

    asked: Asked
    arm: str
    group: str
    primary_call_id: str | None
    limit_s: float
    sets_timeout: bool


@dataclass(frozen=True, slots=True)
class Models:
    """The Router's deployments are these now."""

    model_list: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Stop:
    """No more orders will come: flush what is to be flushed, and end."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Orders can come."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The process cannot be set up, or the order cannot be read."""

    why: str


@dataclass(frozen=True, slots=True)
class Fault:
    """Something of ours went wrong there."""

    text: str


@dataclass(frozen=True, slots=True)
class Ended:
    """How a silent call ended: the call, not yet made safe to record, and when it was sent.

    `started` is in seconds of `time.perf_counter`, None if it was never sent; `retry_after_s` how long its
    provider asks to be left alone.
    """

    call: Call
    started: float | None = None
    retry_after_s: float | None = None


def pack(value: Any) -> bytes:
    """The value as bytes; raises whatever a value raises that cannot be copied.

    Classes that a notebook cell or a script defines, as of an answer's format, go along by value.
    """
    try:
        data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception:  # what pickle cannot take, cloudpickle may
        data = _MAIN
    if _MAIN in data:
        # what pickle takes by a name of the main module, no other process could find
        data = cloudpickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    return data


def pack_plan(plan: Plan) -> bytes:
    """The plan as bytes; raises ConfigError that names the setting which cannot be taken along."""
    try:
        return pack(plan)
    except Exception as error:  # whatever an object's own way of being copied raises
        raise _stays_here(culprit(plan.blueprint.named()), error) from None


def pack_models(deployments: Iterable[Mapping[str, Any]]) -> bytes:
    """The deployments as bytes; raises ConfigError that names what cannot be taken along."""
    models = Models(silenced(deployments))
    try:
        return pack(models)
    except Exception as error:  # whatever an object's own way of being copied raises
        raise _stays_here(culprit(parameters_of(models.model_list)), error) from None


def _stays_here(name: str, error: Exception) -> ConfigError:
    # not the error's text, which may hold the value, a key among it
    return ConfigError(
        f'isolation="process": {name} cannot be taken along to the child process '
        f'({type(error).__name__}): give plain values, or use isolation="shared".'
    )


def unpack(data: bytes) -> Any:
    """The value of these bytes, which the other process packed: never those of anybody else."""
    return pickle.loads(data)  # noqa: S301


def framed(data: bytes, ticket: int = NO_ORDER) -> bytes:
    """Packed data as it goes through a pipe; the ticket says which order it is about."""
    return _HEAD.pack(len(data), ticket) + data


def write(fd: int, frame: bytes) -> None:
    """Write all of it, however often the pipe takes but a part."""
    left = memoryview(frame)
    while left := left[write_some(fd, left) :]:
        # not select(), which knows no file numbers beyond 1,023
        with selectors.DefaultSelector() as selector:
            selector.register(fd, selectors.EVENT_WRITE)
            selector.select()


def write_some(fd: int, frame: bytes | memoryview) -> int:
    """Write what a pipe takes; gives how many bytes that were."""
    try:
        return os.write(fd, frame)
    except BlockingIOError:  # it is full
        return 0


def read(file: IO[bytes]) -> tuple[int, bytes] | None:
    """The next frame, as its ticket and what was packed; None at the end, also if it comes amid a frame."""
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    length, ticket = _HEAD.unpack(head)
    data = file.read(length)
    return (ticket, data) if len(data) == length else None
