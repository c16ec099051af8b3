"""A frame that grows, held as few chunks, in little more memory than its texts take."""

from collections.abc import Sequence

import polars as pl

from mirrorkit.records import SCHEMA

WHOLE = 16_384
"""Rows of a chunk that is merged no more, which bounds what a merge costs."""

_SLIM = 2_048
"""Rows of a chunk from which on it is worth the time to make it small."""

_FEW, _SAMPLE = 16, 256


def put_together(chunks: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The chunks as one frame, which shares their memory."""
    return pl.concat(chunks, rechunk=False) if chunks else SCHEMA.frame()


def merged(chunks: Sequence[pl.DataFrame], whole: int = WHOLE) -> list[pl.DataFrame]:
    """The same rows in chunks of which each has `whole` rows or more, or is twice as long as the next.

    Each merge makes the chunk that a row is in at least half as long again, so a row is copied
    O(log n) times in all.
    """
    keep, height = len(chunks) - 1, chunks[-1].height
    while keep and chunks[keep - 1].height < min(2 * height, whole):
        keep -= 1
        height += chunks[keep].height
    last = pl.concat(chunks[keep:], rechunk=True)
    return [*chunks[:keep], slimmed(last) if height >= min(whole, _SLIM) else last]


def newest(chunks: Sequence[pl.DataFrame], most: int) -> list[pl.DataFrame]:
    """The last of the chunks, with at least so many rows if there are.

    >>> chunks = [pl.DataFrame({"n": [1, 2]}), pl.DataFrame({"n": [3]}), pl.DataFrame({"n": [4, 5]})]
    >>> [chunk["n"].to_list() for chunk in newest(chunks, 3)]
    [[3], [4, 5]]
    """
    height = sum(chunk.height for chunk in chunks)
    for gone, chunk in enumerate(chunks):
        if height - chunk.height < most:
            return list(chunks[gone:])
        height -= chunk.height
    return []


def slimmed(chunk: pl.DataFrame) -> pl.DataFrame:
    """The same chunk in less memory: nulls take none, a text that many rows have is there once.

    Other texts are copied, as those of a merged chunk point into the half empty buffers they were built in.

    >>> chunk = pl.DataFrame({"arm": ["a-model-with-a-long-name"] * 100, "note": [None] * 100})
    >>> slimmed(chunk).equals(chunk)
    True
    """
    return chunk.with_columns(_slim(column) for column in chunk.get_columns())


def _slim(column: pl.Series) -> pl.Series:
    if column.null_count() == len(column):
        return pl.repeat(None, len(column), dtype=column.dtype, eager=True).alias(column.name)
    if column.dtype != pl.String:
        return column
    if column.head(_SAMPLE).n_unique() > _FEW:
        return column + ""
    texts = column.unique().drop_nulls()
    if len(texts) * _FEW > len(column):
        return column + ""
    # what is gathered points at the text, which is not copied
    return texts.gather(column.cast(pl.Enum(texts)).to_physical()).alias(column.name)
