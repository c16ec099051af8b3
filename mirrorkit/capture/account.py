"""What the sessions of one process have spent on one record: a budget is for all of them."""

import os
import threading
from collections.abc import Callable

from mirrorkit.capture.policy import Spending


class Account:
    """The spending of all sessions on a record, those of this process as they spend.

    `recorded_usd` is what others had spent on it before. `lock` guards it, and the books of its sessions.
    """

    def __init__(self, recorded_usd: float = 0.0) -> None:
        self.lock = threading.Lock()
        self.recorded_usd = recorded_usd
        self.process = os.getpid()
        self._spendings: dict[object, Spending] = {}

    def keep(self, session: object, spending: Spending) -> None:
        """Note what a session has spent by now, and its calls under way will cost; call it with the lock."""
        self._spendings[session] = spending

    def beside(self, session: object) -> float:
        """What all others have spent and will, in US dollars."""
        others = [each for key, each in list(self._spendings.items()) if key is not session]
        return self.recorded_usd + sum(each.spent + each.reserved for each in others)

    def look(self, recorded_usd: Callable[[], float]) -> None:
        """Ask what is in the record, of which the sessions of this process have spent their part."""
        # in this order: what is spent meanwhile counts twice, rather than not at all
        with self.lock:
            own = sum(each.spent for each in self._spendings.values())
        self.recorded_usd = max(0.0, recorded_usd() - own)

    def here(self) -> "Account":
        """This account, or in a process that was forked off one that goes on from it."""
        return self if self.process == os.getpid() else Account(self.beside(None))


_ACCOUNTS: dict[str, Account] = {}


def account_of(record: str | None) -> Account:
    """The account of a record in this process; of None, which is none, a new one.

    >>> account_of("july") is account_of("july"), account_of(None) is account_of(None)
    (True, False)
    """
    if record is None:
        return Account()
    account = _ACCOUNTS.setdefault(record, Account())
    if account.process != os.getpid():
        account = _ACCOUNTS[record] = Account()
    return account
