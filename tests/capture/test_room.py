"""Primaries go first: silent calls start where the process has room, and always in the end."""

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.capture.room import Room


class Machine:
    """Two clocks that go as they are told, and the room judged by them."""

    def __init__(self) -> None:
        self.now = self.used = 0.0
        self.room = Room(lambda: self.now, lambda: self.used)

    def go_on(self, seconds: float, share: float) -> None:
        self.now += seconds
        self.used += seconds * share

    def starts(self, seconds: float, share: float, per_start: float = 0.0) -> int:
        """How many silent calls start in so long, each taking so much processor time, asked when told."""
        end, count, owed = self.now + seconds, 0, 0.0
        while self.now < end:
            if (wait := self.room.wait_s) == 0:
                self.room.started()
                count, owed = count + 1, owed + per_start
                continue
            busy = min(owed, wait)
            owed -= busy
            self.now += wait
            self.used += max(busy, wait * share)
        return count


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_a_burst_of_primaries_goes_first(machine: Machine) -> None:
    with machine.room.primary():
        # but for four a second, or a load that never ends would keep every mirror waiting
        assert 35 <= machine.starts(10, share=1.0) <= 41
    assert machine.starts(1, share=0.0) > 0


def test_other_threads_that_never_rest_do_not_hold_up_silent_calls_for_ever(machine: Machine) -> None:
    assert 100 <= machine.starts(10, share=2.0) <= 210


def test_primaries_that_wait_for_their_provider_hold_up_nothing(machine: Machine) -> None:
    with machine.room.primary():
        # 8 ms each: so many as keep the process at half of a core
        started = machine.starts(10, share=0.01, per_start=0.008)
    assert 100 < started <= 10 * 0.6 / 0.008


def test_the_process_is_kept_at_half_a_core_while_primaries_are_under_way(machine: Machine) -> None:
    with machine.room.primary():
        machine.starts(20, share=0.0, per_start=0.02)
    assert 0.3 < machine.used / machine.now < 0.65


def test_with_no_primary_under_way_the_core_is_used(machine: Machine) -> None:
    machine.starts(20, share=0.0, per_start=0.008)
    assert machine.used / machine.now > 0.6


def test_silent_calls_start_one_at_a_time(machine: Machine) -> None:
    machine.starts(0.1, share=0.0)
    while machine.room.wait_s:
        machine.go_on(0.001, 0.0)
    machine.room.started()
    assert machine.room.wait_s > 0


def test_a_look_of_long_ago_is_no_reason_to_start(machine: Machine) -> None:
    assert machine.room.wait_s > 0
    machine.go_on(60, 0.0)
    assert machine.room.wait_s > 0
    machine.go_on(0.01, 0.0)
    assert machine.room.wait_s == 0


@given(
    shares=st.lists(st.floats(0, 2), max_size=50),
    primaries=st.integers(0, 3),
    rest=st.floats(0, 0.8),
)
def test_whatever_was_before_calls_start_once_no_primary_is_under_way(
    shares: list[float], primaries: int, rest: float
) -> None:
    machine = Machine()
    with ExitStack() as stack:
        for _ in range(primaries):
            stack.enter_context(machine.room.primary())
        for share in shares:
            assert 0 <= machine.room.wait_s <= 0.04
            machine.go_on(0.01, share)
    assert machine.starts(0.1, share=rest) > 0
