"""Silent calls start evenly paced; those of a group whose provider asked for time wait until it is over."""

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.capture.line import Line
from mirrorkit.capture.pace import Pace

groups = st.sampled_from("abc")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class TestRate:
    @given(rate=st.floats(0.01, 1_000), waits=st.lists(st.floats(0, 2), max_size=50))
    def test_no_two_calls_start_closer_than_the_rate_says(self, rate: float, waits: list[float]) -> None:
        clock, starts = Clock(), []
        pace = Pace(rate, clock)
        for wait in waits:
            clock.now += wait / rate
            if pace.wait_s == 0:
                pace.started()
                starts.append(clock.now)
        gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
        assert all(gap >= (1 - 1e-9) / rate - 1e-9 for gap in gaps)

    @given(rate=st.floats(0.01, 1_000), n=st.integers(1, 50))
    def test_who_waits_as_told_starts_at_the_rate(self, rate: float, n: int) -> None:
        clock = Clock()
        pace = Pace(rate, clock)
        for _ in range(n):
            while (wait := pace.wait_s) > 0:
                clock.now = max(clock.now + wait, math.nextafter(clock.now, math.inf))
            pace.started()
        assert math.isclose(clock.now - 100, (n - 1) / rate, rel_tol=1e-6, abs_tol=1e-6)

    def test_a_quiet_hour_is_not_made_up_for(self) -> None:
        clock = Clock()
        pace = Pace(10, clock)
        clock.now += 3_600
        pace.started()
        assert pace.wait_s > 0

    def test_without_a_rate_nothing_waits(self) -> None:
        pace = Pace()
        for _ in range(10):
            assert pace.wait_s == 0
            pace.started()


class TestPause:
    @given(st.lists(st.tuples(groups, st.floats(0, 100), st.floats(0, 50))))
    def test_each_group_gets_the_longest_time_it_asked_for_and_no_other_does(
        self, steps: list[tuple[str, float, float]]
    ) -> None:
        clock, until = Clock(), {}
        pace = Pace(None, clock)
        for group, seconds, later in steps:
            pace.pause(group, seconds)
            until[group] = max(until.get(group, 0.0), clock.now + seconds)
            clock.now += later
            for one in "abc":
                assert pace.pause_s(one) == max(0.0, until.get(one, 0.0) - clock.now)
            assert pace.paused == {one: at - clock.now for one, at in until.items() if at > clock.now}
        assert pace.wait_s == 0


class TestLine:
    @given(st.lists(groups | st.frozensets(groups)))
    def test_first_come_first_served_among_the_groups_that_may(
        self, steps: list[str | frozenset[str]]
    ) -> None:
        line, waiting = Line[tuple[str, int]](), []
        for turn, step in enumerate(steps):
            if isinstance(step, str):
                line.push(step, (step, turn))
                waiting.append((step, turn))
            else:
                first = next((one for one in waiting if one[0] in step), None)
                assert line.pop(lambda group, may=step: group in may) == first
                if first is not None:
                    waiting.remove(first)
            assert len(line) == len(waiting)
            assert set(line.groups) == {group for group, _ in waiting}
            if waiting:
                assert line.first == waiting[0]
        assert line.clear() == waiting
        assert (len(line), line.groups, line.pop()) == (0, (), None)
