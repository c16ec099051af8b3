"""The watching half of a session: a dashboard that lives in a cell."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from weakref import ref

import polars as pl

from mirrorkit.capture.mirror import Mirror
from mirrorkit.compare.answers.differences import ALONE, COLUMNS
from mirrorkit.compare.looked import Looked
from mirrorkit.compare.measured import Kept
from mirrorkit.compare.metrics import columns_of
from mirrorkit.compare.plan import Plan
from mirrorkit.comparison import Comparison, look
from mirrorkit.errors import CompareError
from mirrorkit.recording import Readable
from mirrorkit.store.frame import FrameStore

if TYPE_CHECKING:
    from mirrorkit.notebook.live.gauges import Glance

_SAID = ("labelled_at", "judged_at")


class Watching(Readable):
    """What can be watched: readable pairs that become more, and the books of their mirror."""

    _mirror: Mirror
    _closed: bool

    def live(self, *, gates: Mapping[str, float] | None = None, alpha: float | None = None) -> Any:
        """A dashboard for a cell, which goes on by itself while pairs come in.

        It shows what became of the requests, what both sides cost and what is left of the budget, latency
        and the running bill, where each gate stands, and the latest errors. It is refreshed at most twice a
        second, also while a cell runs, and ends when its output is cleared, or when the session is closed
        and nothing is under way any more. Where there is no notebook it shows how things stand, once.

        Looking does not harm the verdict, but what is tested must be set before: set the gates here, or by
        `compare`; changing them after the first pairs were seen is told of in a comparison's `warnings`.

        Args:
            gates: the margins, as `compare` takes them; by default those of the last look.
            alpha: as `compare` takes it.

        Returns:
            A widget; a cell shows it if it is the cell's last line.

        Raises:
            CompareError: a gate is on a metric that there is not, or a value is out of range.

        >>> import mirrorkit as mk
        >>> from mirrorkit.simulator import Simulator
        >>> with Simulator() as sim:
        ...     models = [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")]
        ...     with mk.MirrorSession(models, silent_model="next") as session:
        ...         session.live(gates={"latency": 1.2})
        mirrorkit: 0 requests, 0 mirrored, 0 under way, 0 pairs; mirroring has cost $0
        """
        from mirrorkit.notebook import dashboard

        looked = self._remembered()
        if gates is not None or alpha is not None:
            looked.intend(looked.plan(gates=gates, alpha=alpha))
        return dashboard.live(Watched(self))


class Watched:
    """A session as its dashboard sees it, which does not keep it alive."""

    def __init__(self, session: Watching) -> None:
        self._session = ref(session)
        # not the session's own, which a comparison in a cell may be writing to at the same time
        self._kept = Kept()

    def glance(self) -> "Glance | None":
        """What is cheap to know of the session; None if it is gone."""
        from mirrorkit.notebook.live.gauges import Glance

        session = self._session()
        if session is None:
            return None
        mirror, looked = session._mirror, session._remembered()
        books, plan = mirror.books, _plan(looked)
        # what nobody will end any more: a stream that was dropped, and calls on a loop that was closed
        mirror.streams.sweep()
        mirror.dispatcher.rescue_closed()
        # in this order, so that what it finds where nothing is under way any more is all there is
        closed, funnel, calls = session._closed, books.funnel, mirror.dispatcher.under_way
        return Glance(
            funnel,
            books.spending,
            calls,
            len(session._store),
            books.faults,
            books.last_fault,
            closed,
            None if plan is None else _said(session._store, plan),
            "" if plan is None else plan.words(),
            looked.looks,
        )

    def pairs(self) -> pl.DataFrame:
        """The pairs so far, the newest where some are in the journal alone."""
        session = self._session()
        return pl.DataFrame() if session is None else session._store.frame()

    def compare(self) -> Comparison | None:
        """Where the gates stand, on all pairs; that is a look, and remembered as one."""
        session = self._session()
        if session is None:
            return None
        looked = session._remembered()
        # in this order: counting may wait for the store, and a cell may set gates meanwhile
        many, known = len(session._store), looked.looks
        plan, looks = looked.watch(many)
        if looks is not known:
            looked.keep(session._store.looked)
        before = session.complete_before
        everything = session._store.lazy()
        return look(
            session._store.frame() if everything is None else everything,
            _gated(plan),
            kept=self._kept,
            before=before,
            looks=looks,
            outputs=_reads_answers(plan),
            progress=False,
        )


def _plan(looked: Looked) -> Plan | None:
    """What is set; None where a gate is on a metric that this session has not got yet."""
    try:
        return looked.plan()
    except CompareError:
        return None


def _said(store: FrameStore, plan: Plan) -> datetime | None:
    """When something was last said of a pair, if a gate rests on that."""
    if all(plan.metric(name).order is None for name in plan.gates):
        return None
    newest = store.frame().select(pl.max_horizontal(pl.col(_SAID).max())).item()
    return newest if isinstance(newest, datetime) else None


def _gated(plan: Plan) -> Plan:
    """The plan without the user's metrics on which there is no gate: they may be dear."""
    return replace(plan, metrics={name: each for name, each in plan.metrics.items() if name in plan.gates})


def _reads_answers(plan: Plan) -> bool:
    """Whether a gate needs the answers compared; of a metric of the user's that is not known."""
    compared = COLUMNS.keys() - ALONE.keys()
    return any(name in plan.metrics or columns_of(plan.metric(name)) & compared for name in plan.gates)
