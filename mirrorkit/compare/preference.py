"""What a judge's opinion is worth: how far people agree with it, and the win rate that they correct."""

import numpy as np
import polars as pl

from mirrorkit.compare import wording
from mirrorkit.compare.evidence import Evidence, Floats
from mirrorkit.compare.rows import Row, row
from mirrorkit.compare.statistics.agreement import kappa, win_rate_ppi

CORRECTED = "win rate of the judge, corrected by people's labels (PPI++)"
SCORES = {"primary": 0.0, "tie": 0.5, "silent": 1.0}
LEAST_LABELS = 10
"""Labels on judged pairs, below which nothing is corrected."""


def flip_note(evidence: Evidence) -> str:
    """How often the judge changed its mind with the order of the answers."""
    flipped = evidence.pairs["judge_flipped"].drop_nulls()
    share = float(flipped.sum()) / len(flipped) if len(flipped) else None
    return (
        f"judge flipped with the order in {wording.quantity(share, 'share')} of pairs"
        if share is not None
        else ""
    )


def corrected_row(evidence: Evidence, alpha: float) -> Row | None:
    """The judge's win rate, corrected by the labels that people gave to some of the judged pairs.

    Prediction-powered inference with power tuning: Angelopoulos, Duchi and Zrnic (2023), "PPI++". Valid for
    one look; None where people have labelled none of the judged pairs.
    """
    judged = evidence.pairs
    labelled = judged.filter(pl.col("preference").is_in(list(SCORES)))
    if labelled.is_empty():
        return None
    agreement = kappa(labelled["preference"].to_list(), labelled["judge_preference"].to_list())
    told = f"Cohen's kappa {agreement:.2f}" if agreement is not None else "Cohen's kappa unknown"
    notes = [
        f"people labelled {labelled.height:,} of the {judged.height:,} judged pairs: {told}",
        "valid for one look",
    ]
    corrected = None
    if labelled.height < LEAST_LABELS:
        notes[1] = f"a correction takes {LEAST_LABELS} labels: {LEAST_LABELS - labelled.height} missing"
    else:
        unlabelled = judged.filter(~pl.col("pair_id").is_in(labelled["pair_id"].implode()))
        corrected = win_rate_ppi(
            _scores(labelled["preference"]), _scores(labelled["judge_preference"]),
            _scores(unlabelled["judge_preference"]), alpha,
        )  # fmt: skip
    effect, one_look = (None, None) if corrected is None else (corrected[0], corrected[1:])
    return row(evidence, CORRECTED, "share", (None, None), effect, None, one_look, why="; ".join(notes))


def _scores(words: pl.Series) -> Floats:
    return np.array([SCORES[word] for word in words])
