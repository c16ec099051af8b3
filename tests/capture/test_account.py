"""One budget for all sessions of a process on one record."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from mirrorkit.capture.account import Account, account_of
from mirrorkit.capture.books import Books
from mirrorkit.records import Call

PAID = Call("ok", cost_usd=0.25)


def test_books_on_one_account_keep_to_the_budget_together() -> None:
    account = Account()
    first, second = Books(1.0, account), Books(1.0, account)
    for books in (first, second, first):
        assert books.reserve([0.25])
        books.settle(0.25, PAID)
    assert second.reserve([0.25])
    assert not first.reserve([0.25])
    assert (first.spending.spent, first.spending.elsewhere) == (0.5, 0.5)
    second.settle(0.25)  # it was not sent after all
    assert first.reserve([0.25])


def test_what_was_spent_before_counts_and_what_was_spent_here_counts_once() -> None:
    account = Account()
    first = Books(None, account)
    assert first.reserve([0.25])
    first.settle(0.25, PAID)
    account.look(lambda: 0.75)  # of which 0.25 are the first one's
    second = Books(1.0, account)
    assert second.spending.elsewhere == 0.75
    assert second.reserve([0.25])
    assert not second.reserve([0.25])
    account.look(lambda: 0.1)  # not everything could be written
    assert account.recorded_usd == 0


def test_a_session_that_is_gone_has_spent_what_it_has() -> None:
    account = Account()
    books = Books(1.0, account)
    assert books.reserve([0.25])
    books.settle(0.25, PAID)
    del books
    assert Books(1.0, account).spending.elsewhere == 0.25


def test_books_without_a_record_are_their_own() -> None:
    first, second = Books(1.0), Books(1.0)
    assert first.reserve([1.0])
    assert second.reserve([1.0])
    assert second.spending.elsewhere == 0


def test_many_at_once_overstep_the_budget_by_no_more_than_one_call() -> None:
    account, threads = Account(), 8
    start = Barrier(threads)

    def spend(_: int) -> int:
        books = Books(1.0, account)
        start.wait(30)
        return sum(books.reserve([0.01]) for _ in range(100))

    with ThreadPoolExecutor(threads) as pool:
        assert sum(pool.map(spend, range(threads))) == pytest.approx(100, abs=1)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_fork_goes_on_from_what_was_spent() -> None:
    account = account_of("a record of this test's")
    books = Books(1.0, account)
    assert books.reserve([0.25])
    read, write = os.pipe()
    with account.lock:  # as another thread may hold it
        child = os.fork()
        if child == 0:
            mine = account.here()
            os.write(write, f"{Books(1.0, mine).spending.elsewhere} {mine is account}".encode())
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 100) == b"0.25 False"
    assert account.here() is account_of("a record of this test's") is account
