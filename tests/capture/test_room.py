"""Primaries go first: silent calls start where the process has room, and always in the end."""

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.capture.room import Room

EVERY_S = 0.02
HANDED_OVER_S = 0.005


class Machine:
    """A core with work in bursts, and who asks for room: answered when the core is free, or handed over."""

    def __init__(self) -> None:
        self.now = self.used = self._free_at = self._next_burst_at = 0.0
        self.room = Room(lambda: self.now, lambda: self.used)

    def _pass(self, seconds: float, share: float) -> None:
        """Time goes on, with bursts of work that take this share of it; then the core answers."""
        until = self.now + seconds
        while self._next_burst_at <= until:
            self._work(self._next_burst_at, share * EVERY_S)
            self._next_burst_at += EVERY_S
        self.now = min(max(until, self._free_at), until + HANDED_OVER_S)

    def _work(self, at: float, seconds: float) -> None:
        self._free_at = max(self._free_at, at) + seconds
        self.used += seconds

    def starts(self, seconds: float, share: float, per_start: float = 0.0) -> int:
        """How many silent calls start in so long, each taking so much processor time, asked when told."""
        end, count = self.now + seconds, 0
        while self.now < end:
            if (wait := self.room.wait_s) == 0:
                self.room.started()
                self._work(self.now, per_start)
                count += 1
            self._pass(wait, share)
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


@pytest.mark.parametrize(("share", "least"), [(0.01, 700), (0.25, 400)])
def test_silent_calls_keep_up_with_primaries_that_leave_them_room(
    machine: Machine, share: float, least: int
) -> None:
    """At a quarter of the load some forty come in a second; those made are not counted as load themselves."""
    with machine.room.primary():
        assert machine.starts(10, share, per_start=0.008) > least


@pytest.mark.parametrize("per_start", [0.003, 0.008, 0.02])
def test_primaries_that_need_the_core_get_it(machine: Machine, per_start: float) -> None:
    with machine.room.primary():
        machine.starts(1, share=0.6, per_start=per_start)
        assert machine.starts(10, share=0.6, per_start=per_start) < 10 * 0.2 / per_start


def test_with_no_primary_under_way_the_core_is_used(machine: Machine) -> None:
    machine.starts(20, share=0.0, per_start=0.008)
    assert machine.used / machine.now > 0.6


def test_silent_calls_start_one_at_a_time(machine: Machine) -> None:
    assert machine.starts(1, share=0.0) <= 1 / 0.008


def test_a_look_that_comes_late_is_no_reason_to_start(machine: Machine) -> None:
    with machine.room.primary():
        machine.starts(0.1, share=0.0)
        machine.room.started()
        assert 0 < machine.room.wait_s < 0.2
        machine.now += 0.2
        assert machine.room.wait_s > 0


def test_a_look_before_its_time_does_not_put_the_time_off(machine: Machine) -> None:
    with machine.room.primary():
        machine.room.started()
        wait_s = machine.room.wait_s
        machine.now += wait_s / 2
        machine.room.wait_s
        machine.now += wait_s / 2
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
            machine.starts(0.01, share)
    assert machine.starts(0.1, share=rest) > 0
