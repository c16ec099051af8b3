"""Which columns of a frame are known only after a call: no slices can be made of them."""

import polars as pl

from mirrorkit.compare.answers.differences import COLUMNS
from mirrorkit.records import SCHEMA

_OF_THE_REQUEST = frozenset(
    {
        *("pair_id", "request_id", "trace_id", "arm", "call_type", "started_at", "cluster", "tags"),
        *("model_group", "messages", "params", "stripped", "stream"),
        # counted by the provider, but of what it was sent
        *("primary_input_tokens", "silent_input_tokens"),
    }
)

OUTCOMES = frozenset((*SCHEMA.columns, *COLUMNS)) - _OF_THE_REQUEST
"""The columns of a recording that are known only after a call, and all that is told of its answers."""


def outcomes_in(expression: pl.Expr) -> list[str]:
    """The columns of an expression that are known only after a call.

    >>> outcomes_in(pl.col("primary_latency_s") > pl.col("mine")), outcomes_in(pl.col("tags"))
    (['primary_latency_s'], [])
    """
    return [name for name in dict.fromkeys(expression.meta.root_names()) if name in OUTCOMES]


def why_no_slice(name: str) -> str:
    """Why no slice is made of such a column, and what to do.

    >>> why_no_slice("primary_latency_s").partition(":")[0]
    "'primary_latency_s' is known only after the call"
    """
    return (
        f"{name!r} is known only after the call: pairs that are chosen by how a call went differ by chance "
        "alone, as a primary that happened to be slow is set against a silent call that did not (regression "
        "to the mean). Slice by what was known before it: tags, model_group, call_type, stream, cluster, "
        "started_at, primary_input_tokens, or what the request says, as by "
        'pl.col("messages").str.len_chars() > 4_000'
    )
