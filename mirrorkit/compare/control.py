"""How much more the silent model differs from the primary than the primary differs from itself."""

import numpy as np
import polars as pl

from mirrorkit.compare.evidence import CLUSTER, Evidence
from mirrorkit.compare.intervals import mean_of_clusters, of_bounded
from mirrorkit.compare.rows import Row, mean_of, row
from mirrorkit.compare.statistics import onelook

NET = "difference of shares, net of control"


def net_of_control(evidence: Evidence, control: Evidence, alpha: float) -> Row:
    """The row of a metric of likeness, net of the control arm.

    Over the requests that have both pairs, the mean of Z = d(A, B) − d(A, A′), where d is 1 minus the
    likeness and A′ the primary's second answer (the idea of Twitter's Diffy, 2015).
    """
    silent, again = (
        each.pairs.select("request_id", CLUSTER)
        .with_columns(pl.Series("d", 1 - each.values))
        .unique("request_id", keep="first", maintain_order=True)
        for each in (evidence, control)
    )
    both = silent.join(
        again.select("request_id", d_control="d"), on="request_id", how="inner", maintain_order="left"
    )
    d, d_control, codes = (both[name].to_numpy() for name in ("d", "d_control", CLUSTER))
    known = codes[codes >= 0]
    clusters = codes if len(np.unique(known)) < len(known) else None
    shown = row(
        evidence,
        NET,
        "share",
        (mean_of(d_control), mean_of(d)),
        mean_of_clusters(d - d_control, clusters),
        of_bounded(d - d_control, (-1.0, 1.0), alpha, clusters),
        onelook.paired_t(d - d_control, alpha, clusters),
    )
    note = "" if both.height else "no request has both a silent and a control pair"
    return {**shown, "n": both.height, "note": note or None}
