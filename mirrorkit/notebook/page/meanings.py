"""What an effect says, in a sentence for a reader who is no statistician."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mirrorkit.compare import wording
from mirrorkit.compare.selection import of_arm
from mirrorkit.notebook.compared import Compared
from mirrorkit.notebook.words import FIRST

# of a ratio: what less and more of it are called, and what the same
_RATIOS = {
    "latency": (
        "A typical answer takes {} less time",
        "A typical answer takes {} more time",
        "It is as fast",
    ),
    "latency_with_errors": (
        "With failures as infinitely slow, half of the answers take {} less time or better",
        "With failures as infinitely slow, half of the answers take {} more time or worse",
        "It is as fast",
    ),
    "ttft": ("The first token takes {} less time", "The first token takes {} more time", "It is as fast"),
    "tokens_per_s": ("Its tokens come {} slower", "Its tokens come {} faster", "It is as fast"),
    "cost": ("The same requests cost {} less", "The same requests cost {} more", "It costs the same"),
    "input_tokens": (
        "The same prompts count {} fewer tokens",
        "The same prompts count {} more tokens",
        "The same prompts count as many tokens",
    ),
    "output_tokens": (
        "Its answers have {} fewer tokens",
        "Its answers have {} more tokens",
        "Its answers have as many tokens",
    ),
    "output_length": (
        "Its answers are {} shorter",
        "Its answers are {} longer",
        "Its answers are as long",
    ),
}
_OTHER_RATIO = ("It is {} lower", "It is {} higher", "It is the same")

# of a share: what the calls are that are counted
_SHARES = {
    "errors": "fail",
    "blank": "are answered with nothing",
    "refusals": "are refused",
    "truncated": "are cut off",
    "over_slo": "are too late or fail",
    "json_valid": "are the JSON that was asked for",
}

# of pairs: what it is that both sides do
_PAIRS = {
    "identical": "both give the same answer",
    "json_equal": "both give the same JSON",
    "tool_calls": "both call the same tools with the same arguments",
    "finish_reason": "both end for the same reason",
    "language": "both answer in the same language",
}
_WINS = {"preference": "People prefer its answer", "judge": "The judge prefers its answer"}
_WIN_OF_NONE = 0.5
_EQUAL = "no difference"
_FEW = "how sure that is cannot be said yet"


def meanings(comparison: Compared, arm: str) -> Iterator[tuple[str, str, str]]:
    """Metric, effect and what it says, for those metrics of an arm that are in view and have an effect."""
    in_view = {*FIRST, *comparison.plan.gates, *comparison.plan.metrics}
    in_view |= {finding.metric for finding in comparison.findings}
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in of_arm(comparison.table, arm).iter_rows(named=True):
        rows.setdefault(row["metric"], []).append(row)
    for metric, (row, *others) in rows.items():
        if metric in in_view and row["effect"] is not None:
            shown = wording.effect(row["effect"], row["estimand"], row["unit"])
            yield wording.name(metric).replace("_", " "), shown, meaning(row, others)


def meaning(row: Mapping[str, Any], others: Sequence[Mapping[str, Any]] = ()) -> str:
    """What a row of the table says, and what further rows of the same metric add to it.

    >>> row = {"metric": "cost", "estimand": "ratio of totals", "unit": "USD", "effect": 0.8,
    ...        "low": 0.75, "high": 1.1, "primary": 1.0, "silent": 0.8}
    >>> meaning(row)
    'The same requests cost 20.0 % less; what was seen allows anything from 25.0 % less to 10.0 % more.'
    """
    estimand = row["estimand"]
    if "ratio" in estimand:
        said = _of_ratio(row)
    elif estimand.startswith("difference of shares"):
        said = _of_shares(row)
    else:
        said = _of_pairs(row)
    return " ".join([f"{said}.", *filter(None, map(_further, others))])


def _of_ratio(row: Mapping[str, Any]) -> str:
    less, more, same = _RATIOS.get(row["metric"], _OTHER_RATIO)

    def words(ratio: float) -> tuple[str, str]:
        word = (less if ratio < 1 else more).partition("{}")[2].strip()
        return (_EQUAL, "") if ratio == 1 else (_percent(ratio), word)

    # the ends of an interval of nothing differ in their last digit
    effect = round(row["effect"], 9)
    low, high = (None if row[end] is None else round(row[end], 9) for end in ("low", "high"))
    if effect == low == high == 1:
        return same
    said = same if effect == 1 else (less if effect < 1 else more).format(_percent(effect))
    return f"{said}; {_sure(low, high, 1, words)}"


def _percent(ratio: float) -> str:
    return f"{wording.three_digits(100 * abs(ratio - 1))} %"


def _of_shares(row: Mapping[str, Any]) -> str:
    what = _SHARES.get(row["metric"], "are so")
    effect, primary, silent = row["effect"], row["primary"], row["silent"]

    def words(share: float) -> tuple[str, str]:
        return (_of_thousand(abs(share)), "more" if share > 0 else "fewer") if share else (_EQUAL, "")

    said = (
        f"Of 1,000 calls {' '.join(words(effect))} {what}"
        if effect
        else f"On both sides as many calls {what}"
    )
    if primary is not None and silent is not None:
        said += f" ({_of_thousand(silent)} instead of {_of_thousand(primary)})" if effect else ""
    return f"{said}; {_sure(row['low'], row['high'], 0, words)}"


def _of_thousand(share: float) -> str:
    """So many of 1,000 calls; with three digits where it is no whole number, so that a sentence adds up."""
    count = float(f"{1_000 * share:.9g}")  # 1,000 * 0.029 is more than 29
    return f"{count:,.0f}" if count.is_integer() else wording.three_digits(count)


def _of_pairs(row: Mapping[str, Any]) -> str:
    metric, effect = row["metric"], row["effect"]

    def words(value: float) -> tuple[str, str]:
        number, _, unit = wording.effect(value, row["estimand"], row["unit"]).partition(" ")
        return number, unit

    none = _WIN_OF_NONE if metric in _WINS else None
    shown = " ".join(words(effect)).strip()
    if metric in _PAIRS:
        said = f"In {shown} of the pairs {_PAIRS[metric]}"
    elif metric in _WINS:
        said = f"{_WINS[metric]} in {shown} of the pairs, a tie counting half"
    elif metric == "similarity":
        said = f"Two answers are alike to {shown} on average, where 100 % is the same text"
    else:
        said = f"Its mean over the pairs is {shown}"
    return f"{said}; {_sure(row['low'], row['high'], none, words, from_none=False)}"


def _sure(
    low: float | None,
    high: float | None,
    none: float | None,
    words: Callable[[float], tuple[str, str]],
    *,
    from_none: bool = True,
) -> str:
    """How sure an effect is, from the interval that holds at every look; `none` is that of no effect.

    `words` gives the number and the unit of an end, which is said once if both have the same; with
    `from_none` the number is how far it is from no effect.
    """
    ends = [words(end) for end in (low, high) if end is not None]
    if not ends:
        return _FEW
    if len(ends) == 1:
        return (
            f"what was seen allows {'up to' if low is None else 'no less than'} {' '.join(ends[0])}".strip()
        )
    if from_none and none is not None and high is not None and high < none:
        ends.reverse()  # 5 to 10 % less, not 10 to 5 % less
    (first, unit), (last, of_last) = ends
    first = first.removesuffix(" %") if last.endswith(" %") and unit == of_last else first
    until = " ".join((f"{first} {unit}" if unit != of_last else first, "to", last, of_last)).replace(
        "  ", " "
    )
    differs = none is None or low is None or high is None or not low <= none <= high
    return f"what was seen {'puts it at' if differs else 'allows anything from'} {until.strip()}"


def _further(row: Mapping[str, Any]) -> str:
    """What a further row of a metric adds, where it adds something that is told in a sentence."""
    estimand, unit, effect = row["estimand"], row["unit"], row["effect"]
    primary, silent = (
        wording.quantity(row[side], unit.partition(" per ")[0]) for side in ("primary", "silent")
    )
    if effect is None:
        return ""
    if estimand == "difference per 1,000 calls" and effect:
        more = "more" if effect > 0 else "less"
        return f"That is ${wording.three_digits(abs(effect))} {more} per 1,000 calls."
    if estimand == "difference of p95":
        return f"One call in 20 takes longer than {primary} with the primary, {silent} with the silent model."
    if "net of control" in estimand:
        how, of_pairs = ("by", "") if row["metric"] == "similarity" else ("in", " of the pairs")
        return (
            f"Where the primary was asked twice, it differs from itself {how} {primary}{of_pairs}; "
            f"there the silent model differs from it {how} {silent}."
        )
    return ""
