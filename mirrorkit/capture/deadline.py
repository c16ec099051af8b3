"""How long something may still take."""

from dataclasses import dataclass
from math import inf
from time import monotonic


@dataclass(frozen=True, slots=True)
class Deadline:
    """A time of the monotonic clock, in seconds; infinite where there is no hurry.

    >>> Deadline.after(None).left_s is None, Deadline.after(0).is_over, Deadline.after(60).left_s > 59
    (True, True, True)
    """

    at: float

    @classmethod
    def after(cls, seconds: float | None) -> "Deadline":
        """The time that is so many seconds from now."""
        return cls(inf if seconds is None else monotonic() + seconds)

    @property
    def is_over(self) -> bool:
        """Whether that time has come."""
        return monotonic() >= self.at

    @property
    def left_s(self) -> float | None:
        """The seconds until then, 0 once it has come; None where it never does."""
        return None if self.at == inf else max(0.0, self.at - monotonic())

    def within(self, seconds: float) -> float:
        """The seconds until then, or these if they are fewer."""
        left = self.left_s
        return seconds if left is None else min(left, seconds)
