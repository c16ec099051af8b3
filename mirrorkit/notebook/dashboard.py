"""The dashboard: a thread that ticks, what is worth sending at a tick, and the widget that shows it."""

import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakMethod

import polars as pl

from mirrorkit.capture.lifetime import at_exit
from mirrorkit.compare import wording
from mirrorkit.notebook.compared import Compared
from mirrorkit.notebook.live import board
from mirrorkit.notebook.live.gauges import Glance, Tally

EVERY_S = 0.5
"""Seconds between two ticks."""

SHARE = 0.04
"""How much of the time the charts may take, and the gates: what is dear is done as much more rarely."""

_FILES = Path(__file__).parent / "static"
_JOIN_S = 2.0

Show = Callable[[Mapping[str, str]], object]


class Source(Protocol):
    """What a dashboard looks at; it does not keep it alive."""

    def glance(self) -> Glance | None:
        """What is cheap to know; None if what was looked at is gone."""

    def pairs(self) -> pl.DataFrame:
        """The pairs so far."""

    def compare(self) -> Compared | None:
        """Where the gates stand, asked only where there are pairs; None if what was looked at is gone."""


class Ration:
    """Holds something dear to a share of a core, by letting it wait after each turn but the first.

    The first one loads what it needs, and says nothing of how long others take. What counts is the thread's
    own work: on a busy machine it takes longer, and is no dearer. But it rests for as long as it took.

    >>> clock, work = iter([0.0, 9.0, 9.0, 9.0, 13.0, 28.0, 29.0]), iter([0.0, 9.0, 9.0, 11.0])
    >>> ration = Ration(0.1, clock.__next__, work.__next__)
    >>> ration.run(lambda: "drawn"), ration.is_due(), ration.run(lambda: "again")
    ('drawn', True, 'again')
    >>> ration.is_due(), ration.is_due()
    (False, True)
    """

    def __init__(
        self,
        share: float,
        clock: Callable[[], float] = time.monotonic,
        work: Callable[[], float] = time.thread_time,
    ) -> None:
        self._share, self._clock, self._work = share, clock, work
        self._next, self._is_first = float("-inf"), True

    def is_due(self) -> bool:
        """Whether it has waited long enough."""
        return self._clock() >= self._next

    def run(self, make: Callable[[], str]) -> str:
        """Do it, and set when it may be done next."""
        began, worked = self._clock(), self._work()
        try:
            return make()
        finally:
            ended, worked = self._clock(), self._work() - worked
            rested = max(began + worked / self._share, ended + (ended - began))
            self._next = ended if self._is_first else rested
            self._is_first = False


class Dashboard:
    """Decides at each tick what is to be made anew, and shows the parts that are not as they were.

    Args:
        source: what it looks at.
        show: told the parts that changed, as HTML by name.
        clock: seconds, for the rations.
        work: seconds that this thread has worked, for the rations.

    >>> class Quiet:
    ...     def glance(self): return Glance()
    ...     def pairs(self): raise AssertionError("nothing to read")
    ...     def compare(self): raise AssertionError("nothing to compare")
    >>> shown = []
    >>> dashboard = Dashboard(Quiet(), shown.append)
    >>> dashboard.tick(), dashboard.tick(), [sorted(parts) for parts in shown]
    (True, True, [['counters', 'gates', 'spend']])
    """

    def __init__(
        self,
        source: Source,
        show: Show,
        clock: Callable[[], float] = time.monotonic,
        work: Callable[[], float] = time.thread_time,
    ) -> None:
        self._source, self._show = source, show
        self._glance: Glance | None = None
        self._tally = Tally()
        self._parts = dict.fromkeys(board.PARTS, "")
        self._dear = {
            name: (Ration(SHARE, clock, work), make)
            for name, make in (("charts", self._draw), ("gates", self._judge))
        }
        self._stale: set[str] = set()
        self._ended = False
        self._ticking = threading.Lock()

    @property
    def glance(self) -> Glance:
        """The session at the last tick."""
        return self._glance or Glance()

    @property
    def ended(self) -> bool:
        """Whether nothing more will come: the session is gone, or closed with nothing under way."""
        return self._ended or self.glance.ended

    @property
    def parts(self) -> Mapping[str, str]:
        """What is shown, as HTML by name."""
        return dict(self._parts)

    def tick(self, paused: bool = False, *, judge: bool = True) -> bool:
        """Look, and show what is new; False if nothing more will come.

        While paused, only the end is new; without `judge` the gates, which may take long, are left to later.
        """
        with self._ticking:
            glance = self._source.glance()
            if glance is None:
                self._ended = True
                return False
            if paused and not glance.ended:
                return True
            before = self._glance
            if before != glance:
                self._glance = glance
                self._stale |= _stale(before, glance)
            elif not self._stale:
                return not glance.ended
            self._refresh(glance, judge)
            return not glance.ended

    def _refresh(self, glance: Glance, judge: bool) -> None:
        """What is cheap is made anew each time, what is dear when its turn has come, or it is the last."""
        made: dict[str, str] = {}
        for name, (ration, make) in self._dear.items():
            due = glance.ended or (ration.is_due() and (judge or name != "gates"))
            if name in self._stale and due:
                self._stale.discard(name)
                # without pairs there is nothing dear, and the ration's first turn is kept for the real one
                made[name] = _tried(name, partial(ration.run, make) if glance.recorded else make)
        made["counters"] = _tried("counters", lambda: board.counters(glance))
        made["spend"] = _tried("spend", lambda: board.spend(glance, self._tally))
        if "charts" in made:
            made["head"] = _tried("models", lambda: board.head(self._tally))
            made["errors"] = _tried("errors", lambda: board.errors(self._tally))
        changed = {name: part for name, part in made.items() if part != self._parts[name]}
        if changed:
            self._parts |= changed
            self._show(changed)

    def _draw(self) -> str:
        self._tally.read(self._source.pairs(), self.glance.recorded)
        return board.charts(self._tally)

    def _judge(self) -> str:
        return board.gates(self._source.compare() if self.glance.recorded else None)


def _stale(before: Glance | None, now: Glance) -> set[str]:
    """What is dear and rests on something that has changed."""
    if before is None:
        return {"gates"} | ({"charts"} if now.recorded else set())
    drawn = {"charts"} if before.recorded != now.recorded else set()

    def judged_by(glance: Glance) -> tuple[object, ...]:
        return glance.recorded, glance.funnel.under_way, glance.calls, glance.said, glance.plan, glance.plans

    return drawn | ({"gates"} if judged_by(before) != judged_by(now) else set())


def _tried(name: str, make: Callable[[], str]) -> str:
    """The part, or in its place why it cannot be had: a thread has nobody to raise at."""
    try:
        return make()
    except Exception as error:  # whatever a user's metric raises
        told = board.sentence(f"{type(error).__name__}: {error}")
        return f'<p class="notice">The {name} cannot be shown ({told}).</p>'


class Ticker:
    """Calls `tick` twice a second on a thread of its own, until it says False or is stopped.

    Args:
        tick: what to call; it must not raise.
        begun: makes the event that ends the thread; waiting on it is the pause between two ticks.
    """

    def __init__(
        self, tick: Callable[[], bool], begun: Callable[[], threading.Event] = threading.Event
    ) -> None:
        self._tick, self._begun = tick, begun
        self._lock = threading.Lock()
        self._end: threading.Event | None = None
        self._thread: threading.Thread | None = None
        at_exit(WeakMethod(self._leave))

    @property
    def ticks(self) -> bool:
        """Whether the thread is there and was not told to end."""
        return self._thread is not None and self._thread.is_alive() and not self._ending

    @property
    def _ending(self) -> bool:
        return self._end is None or self._end.is_set()

    def start(self) -> None:
        """Begin to tick, unless it does."""
        with self._lock:
            if self.ticks:
                return
            self._end = self._begun()
            self._thread = threading.Thread(
                target=_run, args=(self._tick, self._end), name="mirrorkit dashboard", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """Tick no more; a tick under way goes on."""
        if self._end is not None:
            self._end.set()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait until the thread has ended."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _leave(self) -> None:
        self.stop()
        self.join(_JOIN_S)


def _run(tick: Callable[[], bool], end: threading.Event) -> None:
    while not end.is_set() and tick():
        end.wait(EVERY_S)


def text(glance: Glance) -> str:
    """The counters as plain text.

    >>> from mirrorkit.capture.policy import Funnel
    >>> text(Glance(Funnel(requests=3, mirrored=2, filtered=1), recorded=2))
    'mirrorkit: 3 requests, 2 mirrored, 0 under way, 2 pairs, 1 filtered; mirroring has cost $0'
    """
    funnel, spending = glance.funnel, glance.spending
    counts = [
        board.counted(funnel.requests, "request"),
        f"{funnel.mirrored:,} mirrored",
        f"{funnel.under_way + glance.calls:,} under way",
        board.counted(glance.recorded, "pair"),
        *(f"{funnel[name]:,} {words}" for name, words in board.NOT_MIRRORED.items() if funnel[name]),
    ]
    limit = "" if spending.limit is None else f" of {wording.quantity(spending.limit, 'USD')}"
    spent = f"mirroring has cost {wording.quantity(spending.spent, 'USD')}{limit}"
    faults = f"; {board.counted(glance.faults, 'fault')}" if glance.faults else ""
    return f"mirrorkit{' (closed)' if glance.closed else ''}: {', '.join(counts)}; {spent}{faults}"


def html(parts: Mapping[str, str], glance: Glance, now: datetime | None = None) -> str:
    """The dashboard as a page that stands still, for where no widget lives."""
    when = f"{now or datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    state = "session closed" if glance.ended else f"as it was at {when}"
    body = "".join(f'<div class="part {name}">{parts[name]}</div>' for name in board.PARTS if name != "head")
    top = f'<div class="top"><span class="state">{state}</span><span class="part head">{parts["head"]}</span>'
    note = '<p class="muted">It lives only in a notebook with a running kernel; this is how it stood.</p>'
    return (
        f"<style>{_read('dashboard.css')}</style>"
        f'<div class="mirrorkit-live mathjax_ignore">{top}</div>{body}{"" if glance.ended else note}</div>'
    )


def _read(name: str) -> str:
    return (_FILES / name).read_text(encoding="utf-8")


def live(source: Source) -> Any:
    """The dashboard as a widget, which ticks as long as it is seen in a notebook."""
    return _widget_class()(source)


@cache
def _widget_class() -> Any:
    """The widget's class, made when it is first needed, as its base takes long to import."""
    import anywidget
    from comm import DummyComm
    from traitlets import Bool, Unicode

    class LiveDashboard(anywidget.AnyWidget):
        """A session's dashboard: the page shows the parts, and says when it is seen no more."""

        _esm = _read("dashboard.js")
        _css = _read("dashboard.css")
        head, counters, spend, charts, gates, errors = (Unicode().tag(sync=True) for _ in board.PARTS)
        paused = Bool(False, help="whether it stands still").tag(sync=True)
        closed = Bool(False, help="whether nothing more will come").tag(sync=True)

        def __init__(self, source: Source) -> None:
            self._dashboard = Dashboard(source, self._show)
            self._ticker = Ticker(self._tick)
            super().__init__()
            self.on_msg(self._hear)

        def _show(self, parts: Mapping[str, str]) -> None:
            # one message, however many parts
            with self.hold_sync():
                for name, part in parts.items():
                    setattr(self, name, part)
                self.closed = self._dashboard.ended

        def _tick(self, judge: bool = True) -> bool:
            goes_on = self._dashboard.tick(self.paused, judge=judge)
            self.closed = self._dashboard.ended
            return goes_on

        def _hear(self, _: Any, content: Any, buffers: Any) -> None:
            """A click; or a view has come or gone: those that are still there answer, and it goes on."""
            if "paused" in content:
                self.paused = content["paused"] is True
            elif content.get("view") == "shown":
                self._ticker.start()
            elif content.get("view") == "gone":
                self._ticker.stop()
                self.send({"ask": "who is there"})

        def close(self) -> None:
            """Show nothing more, here and in the page."""
            self._ticker.stop()
            super().close()

        def __repr__(self) -> str:
            if not self._ticker.ticks:
                self._tick(judge=False)
            return text(self._dashboard.glance)

        def _repr_mimebundle_(self, **_: Any) -> Any:
            has_page, goes_on = not isinstance(self.comm, DummyComm), True
            if not self._ticker.ticks:
                goes_on = self._tick(judge=not has_page)
            if has_page and goes_on:
                # not only when the page says that it is shown: it is not heard while a cell blocks
                self._ticker.start()
            return {
                "text/plain": text(self._dashboard.glance),
                "text/html": html(self._dashboard.parts, self._dashboard.glance),
                "application/vnd.jupyter.widget-view+json": {
                    "version_major": 2,
                    "version_minor": 1,
                    "model_id": self.model_id,
                },
            }

    return LiveDashboard
