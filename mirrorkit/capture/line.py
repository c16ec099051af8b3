"""Those that wait: first come, first served, but for the groups that may not."""

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Line(Generic[T]):
    """A queue for each group, so that one that has to wait holds up no other.

    >>> line = Line[str]()
    >>> for group, call in [("a", "first"), ("b", "second"), ("a", "third")]:
    ...     line.push(group, call)
    >>> line.pop(lambda group: group != "a"), line.pop(), len(line)
    ('second', 'first', 1)
    """

    def __init__(self) -> None:
        self._queues: dict[str, deque[tuple[int, T]]] = {}
        self._turn = 0
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups of those that wait."""
        return tuple(self._queues)

    @property
    def first(self) -> T:
        """The one that came first."""
        return min((queue[0] for queue in self._queues.values()), key=lambda turn: turn[0])[1]

    def push(self, group: str, item: T) -> None:
        """Stand in line."""
        self._turn += 1
        self._length += 1
        self._queues.setdefault(group, deque()).append((self._turn, item))

    def pop(self, may: Callable[[str], bool] = lambda _: True) -> T | None:
        """The one that came first, of the groups that may; None where there is none."""
        heads = [(queue[0][0], group) for group, queue in self._queues.items() if may(group)]
        if not heads:
            return None
        _, group = min(heads)
        _, item = self._queues[group].popleft()
        if not self._queues[group]:
            del self._queues[group]
        self._length -= 1
        return item

    def clear(self, group: str | None = None) -> list[T]:
        """Send all of them away, or all of one group; gives them in the order in which they came."""
        if group is not None:
            left = [item for _, item in self._queues.pop(group, ())]
            self._length -= len(left)
            return left
        waiting = sorted((turn, n) for n, queue in enumerate(self._queues.values()) for turn, _ in queue)
        queues = list(self._queues.values())
        self._queues, self._length = {}, 0
        return [queues[n].popleft()[1] for _, n in waiting]
