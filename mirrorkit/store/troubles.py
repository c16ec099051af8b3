"""What goes wrong in the background is said once of each kind, and raised at nobody."""

import warnings
from collections.abc import Callable

from mirrorkit.errors import MirrorWarning
from mirrorkit.store import files


class Troubles:
    """The troubles of a journal at a place, of which `unwritten` tells how many lines wait in memory."""

    def __init__(self, place: str, unwritten: Callable[[], int]) -> None:
        self._place, self._unwritten = place, unwritten
        self._told: set[str] = set()

    def quietly(self, work: Callable[[], object], trouble: str) -> None:
        """Do this, and tell if it fails."""
        try:
            work()
        except Exception as error:  # Polars' own are of many types, and none may reach the primary
            self.tell(trouble, error)

    def tell(self, trouble: str, error: Exception | None = None) -> None:
        """Say what the trouble is, if this kind has not been said yet."""
        if trouble in self._told:
            return
        self._told.add(trouble)
        why = "" if error is None else f" ({files.first_line(error)})"
        many = self._unwritten()
        waiting = f"; {many:,} lines wait in memory" if many else ""
        warnings.warn(f"the journal '{self._place}' {trouble}{why}{waiting}", MirrorWarning, stacklevel=3)
