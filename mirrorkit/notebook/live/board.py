"""The parts of the dashboard, from numbers to HTML and small SVG charts; texts from the data are escaped."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import log10

from mirrorkit.compare import wording
from mirrorkit.notebook import theme, words
from mirrorkit.notebook.compared import Compared
from mirrorkit.notebook.live.band import band
from mirrorkit.notebook.live.gauges import Arm, Bill, Failure, Glance, Tally, Times
from mirrorkit.notebook.live.ticks import dollars, round_steps, spread
from mirrorkit.records import CONTROL

PARTS = ("head", "counters", "spend", "charts", "gates", "errors")
"""What the dashboard is made of, from top to bottom."""

WAITING = '<p class="muted">No pairs yet.</p>'

_MESSAGE = 160
_ARMS = 3
"""Arms that are drawn in one chart."""

_STEPS = 40
"""Points of a distribution that are drawn as steps."""

_WIDTH, _HEIGHT = 340, 180
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 12, 22, 38

NOT_MIRRORED = {
    "sampled_out": "sampled out",
    "filtered": "filtered",
    "over_budget": "over budget",
    "saturated": "saturated",
    "no_silent_model": "no silent model",
    "not_portable": "tools that act or stored state",
    "not_mirrored": "other call types",
    "refused": "refused by the Router",
    "paused": "paused",
    "cancelled": "cancelled",
    "faulted": "faulted",
}

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a chart: its name and what is told of it, colour, dashes, points."""

    name: str
    told: str
    colour: str
    dash: str
    points: Sequence[Point]


@dataclass(frozen=True, slots=True)
class Axis:
    """From where to where an axis goes, its ticks as places and texts, and its title with the unit."""

    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    title: str

    def share(self, value: float) -> float:
        """Where on the axis a value is, 0 to 1."""
        return (value - self.low) / (self.high - self.low or 1)


def head(tally: Tally) -> str:
    """Which models are compared.

    >>> head(Tally())
    ''
    """
    if not tally.arms:
        return ""
    silent = wording.listing([arm for arm in tally.arms if arm != CONTROL], most=_ARMS)
    control = " and control" if CONTROL in tally.arms else ""
    return f"{escape(wording.listing(list(tally.groups), most=_ARMS))} → {escape(silent)}{control}"


def counters(glance: Glance) -> str:
    """The funnel: what came in, what became of it, what is recorded, and why the rest was not mirrored."""
    funnel = glance.funnel
    left_out = {name: funnel[name] for name in NOT_MIRRORED if funnel[name]}
    running = f"{counted(funnel.under_way, 'primary', 'primaries')}, {glance.calls:,} silent"
    tiles = [
        _tile("requests", funnel.requests, "came in"),
        _tile("mirrored", funnel.mirrored, _of(funnel.mirrored, funnel.requests)),
        _tile("under way", funnel.under_way + glance.calls, running),
        _tile("recorded", glance.recorded, "pair" if glance.recorded == 1 else "pairs"),
        _tile(
            "not mirrored", sum(left_out.values()), _of(sum(left_out.values()), funnel.requests, empty="none")
        ),
    ]
    reasons = "".join(
        f'<span class="chip">{NOT_MIRRORED[name]} <b>{count:,}</b></span>' for name, count in left_out.items()
    )
    chips = f'<p class="chips">not mirrored: {reasons}</p>' if reasons else ""
    return f'<div class="tiles">{"".join(tiles)}</div>{chips}{_faults(glance)}'


def _tile(label: str, count: int, below: str) -> str:
    return (
        f'<div class="tile"><span class="label">{label}</span><span class="count">{count:,}</span>'
        f'<span class="muted">{below}</span></div>'
    )


def _of(part: int, whole: int, empty: str = "–") -> str:
    return f"{wording.quantity(part / whole, 'share')} of requests" if whole and part else empty


def _faults(glance: Glance) -> str:
    if not glance.faults:
        return ""
    many = f"{counted(glance.faults, 'fault')} of mirrorkit’s own"
    last = sentence(glance.last_fault)
    return f'<p class="notice">{many} in the background; primaries are not affected. The last: {last}</p>'


def spend(glance: Glance, tally: Tally) -> str:
    """What both sides of the recorded pairs cost, and what mirroring has left of its budget."""
    arms = {arm: each.bill for arm, each in tally.arms.items()}
    others = _others(len(arms) - _ARMS - 1)
    over = f' <span class="muted">over {_read_of(tally)}</span>' if tally.n < tally.recorded else ""
    most = max((max(bill.primary, bill.silent) for bill in arms.values()), default=0.0)
    body = "".join(_bills(arm, bill, most) for arm, bill in list(arms.items())[: _ARMS + 1])
    return f'<h4>Spend{over}</h4><div class="sides">{body}</div>{others}{_budget(glance)}'


def _bills(arm: str, bill: Bill, most: float) -> str:
    """Both sides' bills of an arm; of pairs without a price, how many there are."""
    sides = (("primary", bill.primary, theme.PRIMARY), ("silent", bill.silent, _colour(arm)))
    bars = "".join(_bar(name, usd, most, colour) for name, usd, colour in sides if bill.n)
    without = f", {bill.unpriced:,} without" if bill.unpriced else ""
    return (
        f'<div class="bills"><span>{_named(arm)}</span>{bars}'
        f'<span class="muted">{_pairs(bill.n)} with both prices{without}</span></div>'
    )


def _bar(name: str, usd: float, most: float, colour: str) -> str:
    share = 100 * usd / most if most else 0
    return (
        f'<span class="name">{name}</span><span class="track"><span class="fill" style="width: {share:.1f}%; '
        f'background: {colour}"></span></span><b>{wording.quantity(usd, "USD")}</b>'
    )


def _budget(glance: Glance) -> str:
    spending = glance.spending
    spent = f"Mirroring has cost <b>{wording.quantity(spending.spent, 'USD')}</b>"
    if spending.judged:
        spent += f", of which judges {wording.quantity(spending.judged, 'USD')}"
    if spending.elsewhere:
        spent += f", other sessions on the journal {wording.quantity(spending.elsewhere, 'USD')}"
    if spending.limit is None:
        return f"<p>{spent}; no budget is set.</p>"
    spent_by_all = spending.spent + spending.elsewhere
    left = max(0.0, spending.limit - spent_by_all)
    limit, rest = wording.quantity(spending.limit, "USD"), wording.quantity(left, "USD")
    share = min(1.0, spent_by_all / spending.limit) if spending.limit else 1.0
    reserved = (
        f" (calls under way may take {wording.quantity(spending.reserved, 'USD')})"
        if glance.calls and spending.reserved > 0
        else ""
    )
    return (
        f"<p>{spent} of {limit}: <b>{rest}</b> left{reserved}.</p>"
        f'<div class="track budget" role="img" aria-label="{wording.quantity(share, "share")} of the budget '
        f'is spent"><span class="fill" style="width: {100 * share:.1f}%; background: {theme.SILENT}"></span>'
        f"</div>"
    )


def charts(tally: Tally) -> str:
    """Latency, time to first token where answers were streamed, and the running bill."""
    if not tally.arms:
        return ""
    drawn = _drawn(tally)
    times = [
        _times(title, n, _time_lines(drawn, what))
        for title, what in (("Latency", "latency"), ("Time to first token", "ttft"))
        if (n := sum(_of_arm(arm, what)["silent"].n for _, arm in drawn)) or what == "latency"
    ]
    over = ""
    if tally.n < tally.recorded:
        over = f'<p class="muted">Over {_read_of(tally)}; the others are in the journal alone.</p>'
    others = _others(len(tally.arms.keys() - {CONTROL}) - _ARMS)
    return f'{over}<div class="panels">{"".join(times)}{_bill(drawn)}</div>{others}'


def _drawn(tally: Tally) -> list[tuple[str, Arm]]:
    """The arms that are drawn: silent models, the largest first; control only where there is no other."""
    silent = [(name, arm) for name, arm in tally.arms.items() if name != CONTROL]
    return sorted(silent or tally.arms.items(), key=lambda each: -each[1].n)[:_ARMS]


def _of_arm(arm: Arm, what: str) -> Mapping[str, Times]:
    return arm.ttft if what == "ttft" else arm.latency


def _time_lines(drawn: Sequence[tuple[str, Arm]], what: str) -> list[Line]:
    sides = [("primary", theme.PRIMARY, 0, _of_arm(drawn[0][1], what)["primary"])]
    sides += [(name, _colour(name), at, _of_arm(arm, what)["silent"]) for at, (name, arm) in enumerate(drawn)]
    return [
        Line(
            name,
            f"p50 {wording.quantity(times.quantile(0.5), 's')}, "
            f"p95 {wording.quantity(times.quantile(0.95), 's')}",
            colour,
            _dash(at),
            times.curve(),
        )
        for name, colour, at, times in sides
    ]


def _times(title: str, n: int, lines: Sequence[Line]) -> str:
    seen = [seconds for line in lines for seconds, _ in line.points]
    if not seen:
        return _figure(title, "no answers yet", "", [])
    low, high = (10**end for end in theme.log_range(min(seen), max(seen)))
    places, texts = theme.log_ticks(low, high, "s")
    ticks = [(log10(place), text) for place, text in zip(places, texts, strict=True) if low <= place <= high]
    x = Axis(log10(low), log10(high), spread(ticks, 6), f"{title.lower()}, seconds (log scale)")
    y = Axis(
        0,
        1,
        [(share, f"{100 * share:.0f} %") for share in (0, 0.25, 0.5, 0.75, 1)],
        "share of calls that took no longer",
    )
    drawn = [
        Line(
            line.name,
            line.told,
            line.colour,
            line.dash,
            _steps_of(line.points),
        )
        for line in lines
        if line.points
    ]
    return _figure(title, counted(n, "silent answer"), _svg(x, y, drawn), lines)


def _steps_of(points: Sequence[Point]) -> list[Point]:
    """A distribution on a log axis, as steps where they are few enough to be seen.

    >>> _steps_of([(1.0, 0.5), (10.0, 1.0)])
    [(0.0, 0.0), (0.0, 0.5), (1.0, 0.5), (1.0, 1.0)]
    """
    if len(points) > _STEPS:
        return [(log10(seconds), share) for seconds, share in points]
    before = [0.0, *(share for _, share in points)]
    return [
        (log10(seconds), level)
        for (seconds, share), start in zip(points, before, strict=False)
        for level in (start, share)
    ]


def _bill(drawn: Sequence[tuple[str, Arm]]) -> str:
    bills = [(name, arm.bill) for name, arm in drawn if arm.bill.n]
    if not bills:
        return _figure("Running bill", "no pair with both prices", "", [])
    # the primary's of the largest arm: those of others are of nearly the same requests
    sides = [("primary", theme.PRIMARY, 0, bills[0][1], 1)]
    sides += [(name, _colour(name), at, bill, 2) for at, (name, bill) in enumerate(bills)]
    lines = [
        Line(
            name,
            wording.quantity(bill.points[-1][place], "USD"),
            colour,
            _dash(at),
            [(float(point[0]), float(point[place])) for point in bill.points],
        )
        for name, colour, at, bill, place in sides
    ]
    most_pairs, most_usd = (max(line.points[-1][at] for line in lines) for at in (0, 1))
    x = Axis(0, most_pairs, [(t, f"{t:,.0f}") for t in round_steps(most_pairs) if t == int(t)], "pairs")
    y = Axis(0, 1.05 * most_usd or 1, dollars(round_steps(most_usd)), "cost so far, US dollars")
    n = max(bill.n for _, bill in bills)
    return _figure("Running bill", f"{_pairs(n)} with both prices", _svg(x, y, lines), lines)


def _figure(title: str, n: str, svg: str, lines: Iterable[Line]) -> str:
    legend = "".join(
        f'<span class="key"><svg width="22" height="8" viewBox="0 0 22 8" aria-hidden="true"><line x1="0" '
        f'y1="4" x2="22" y2="4" stroke="{line.colour}" stroke-width="3"{line.dash}></line></svg> '
        f"{escape(wording.name(line.name, 40))} <b>{line.told}</b></span>"
        for line in lines
    )
    return f'<div class="chart"><h4>{title} <span class="muted">{n}</span></h4><p>{legend}</p>{svg}</div>'


def _svg(x: Axis, y: Axis, lines: Sequence[Line]) -> str:
    def across(value: float) -> float:
        return _LEFT + x.share(value) * (_WIDTH - _LEFT - _RIGHT)

    def down(value: float) -> float:
        return _HEIGHT - _BOTTOM - y.share(value) * (_HEIGHT - _TOP - _BOTTOM)

    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    grid = "".join(
        f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{down(at):.1f}" y2="{down(at):.1f}"></line>'
        f'<text x="{_LEFT - 6}" y="{down(at) + 4:.1f}" text-anchor="end">{text}</text>'
        for at, text in y.ticks
    )
    grid += "".join(
        f'<line class="grid" x1="{across(at):.1f}" x2="{across(at):.1f}" y1="{_TOP}" y2="{bottom}"></line>'
        f'<text x="{across(at):.1f}" y="{bottom + 16}" text-anchor="middle">{text}</text>'
        for at, text in x.ticks
    )
    titles = (
        f'<text x="{(_LEFT + right) / 2:.0f}" y="{_HEIGHT - 5}" text-anchor="middle">{x.title}</text>'
        f'<text x="0" y="11">{y.title}</text>'
    )
    drawn = "".join(
        f'<polyline fill="none" stroke="{line.colour}" stroke-width="2"{line.dash} points="'
        + " ".join(f"{across(at):.1f},{down(value):.1f}" for at, value in line.points)
        + '"></polyline>'
        for line in lines
    )
    told = escape("; ".join(f"{wording.name(line.name, 40)}: {line.told}" for line in lines))
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{y.title} by {x.title}. {told}">'
        f"{grid}{titles}{drawn}</svg>"
    )


def gates(comparison: Compared | None) -> str:
    """Where each gate stands: its state, its effect, its interval beside its margin, pairs still needed."""
    if comparison is None:
        return f"<h4>Gates</h4>{WAITING}"
    answer = comparison.verdict.answer
    sentences = " ".join(escape(sentence) for sentence in words.sentences(comparison))
    look = answer.rpartition(" ")[2]
    verdict = f'<p class="verdict {look}"><strong>{words.ANSWERS[answer]}</strong> {sentences}</p>'
    estimands = {(row["arm"], row["metric"]): row["estimand"] for row in words.main_rows(comparison.table)}
    body, last = "", None
    lines = words.gate_lines(comparison)
    several = len({line.arm for line in lines}) > 1
    for line, gate in zip(lines, comparison.gates.iter_rows(named=True), strict=True):
        if several and line.arm != last:
            body += f'<tr><th class="arm" colspan="5" scope="rowgroup">{escape(line.arm)}</th></tr>'
        last = line.arm
        state = str(gate["state"])
        picture = band(gate, estimands.get((gate["arm"], gate["metric"]), ""))
        body += (
            f'<tr><th scope="row">{escape(line.gate)}</th><td class="{state}">{line.state}</td>'
            f"<td><b>{escape(line.effect)}</b><br>"
            f'<span class="muted">{_interval(line.every_look)}</span></td>'
            f'<td>{picture}</td><td class="muted">{escape(line.pairs)}</td></tr>'
        )
    names = ("gate", "state", "effect", "interval and margin", "pairs")
    top = "".join(f'<th scope="col">{name}</th>' for name in names)
    table = (
        f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
        if body
        else ""
    )
    level = f"{100 * (1 - comparison.plan.alpha):g} %"
    note = (
        f'<p class="muted">Over {_pairs(comparison.frame.height)}. Intervals hold at every look, each at '
        f"{level}; the shaded side of the margin passes.</p>"
    )
    return f"<h4>Gates</h4>{verdict}{table}{note}"


def _interval(words: str) -> str:
    return "no interval yet" if words == wording.UNKNOWN else escape(words)


def errors(tally: Tally) -> str:
    """The latest failed calls."""
    if not tally.n:
        return ""
    counts = " and ".join(f"{count:,} {side}" for side, count in tally.failed.items())
    if not any(tally.failed.values()):
        return f'<h4>Errors</h4><p class="muted">None on either side of {_read_of(tally)}.</p>'
    title = f'<h4>Latest errors <span class="muted">{counts} among {_read_of(tally)}</span></h4>'
    top = "".join(f'<th scope="col">{name}</th>' for name in ("UTC", "side", "kind", "message"))
    body = "".join(map(_failure, reversed(tally.failures)))
    return (
        f'{title}<div class="wide"><table class="errors"><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _failure(failure: Failure) -> str:
    at = wording.UNKNOWN if failure.at is None else f"{failure.at:%H:%M:%S}"
    colour = theme.PRIMARY if failure.side == "primary" else _colour(failure.arm or "")
    side = failure.side if failure.side == "primary" else wording.name(failure.arm, 24)
    return (
        f'<tr><td>{at}</td><td><span class="dot" style="background: {colour}"></span> {escape(side)}</td>'
        f"<td>{escape(wording.name(failure.kind, 40))}</td>"
        f'<td class="message">{sentence(failure.message)}</td></tr>'
    )


def sentence(text: str | None) -> str:
    """A text from the data on one line, cut, and escaped.

    >>> sentence("<b>\\n\u202e bold"), len(sentence("long " * 1_000))
    ('&lt;b&gt; � bold', 160)
    """
    line = None if text is None else " ".join(text[: 4 * _MESSAGE].split())
    return escape(wording.name(line, _MESSAGE))


def _named(arm: str) -> str:
    return "control" if arm == CONTROL else escape(wording.name(arm, 30))


def _colour(arm: str) -> str:
    return theme.CONTROL if arm == CONTROL else theme.SILENT


def _dash(at: int) -> str:
    return ("", ' stroke-dasharray="6 4"', ' stroke-dasharray="2 3"')[at % 3]


def _read_of(tally: Tally) -> str:
    """How many pairs were read, and of how many, where some left memory before they were."""
    return f"{tally.n:,} of {_pairs(tally.recorded)}" if tally.n < tally.recorded else _pairs(tally.n)


def _others(arms: int) -> str:
    return f'<p class="muted">… and {counted(arms, "more arm")}</p>' if arms > 0 else ""


def _pairs(n: int) -> str:
    return counted(n, "pair")


def counted(n: int, one: str, many: str | None = None) -> str:
    """So many of something.

    >>> counted(1, "pair"), counted(1_200, "pair"), counted(2, "primary", "primaries")
    ('1 pair', '1,200 pairs', '2 primaries')
    """
    return f"{n:,} {one if n == 1 else many or one + 's'}"
