"""Who else in this process is on the same journal: what one gets, the others see."""

import os
from pathlib import Path
from threading import Lock
from typing import Any, Generic, TypeVar
from weakref import WeakValueDictionary

_Member = TypeVar("_Member")


class Neighbours(Generic[_Member]):
    """Those on one journal, held weakly.

    Who adds to the journal and tells the others does both behind the `gate`, and so does who takes in what
    is there already: so each of them gets everything once.
    """

    def __init__(self) -> None:
        self.gate = Lock()
        self._members: WeakValueDictionary[int, _Member] = WeakValueDictionary()

    def join(self, member: _Member) -> None:
        """From now on this one is among them."""
        with self.gate:
            self._members[id(member)] = member

    def members(self) -> list[_Member]:
        """All of them, in the order in which they came."""
        return [member for each in self._members.valuerefs() if (member := each()) is not None]


_ON: dict[tuple[int, Path], Neighbours[Any]] = {}


def on(folder: Path) -> Neighbours[Any]:
    """Those of this process on the journal in a folder; a fork has its own."""
    # one step of the interpreter, and so without a lock that a fork might find held
    return _ON.setdefault((os.getpid(), folder.resolve()), Neighbours())
