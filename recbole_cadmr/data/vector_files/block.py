"""What files of vectors are read into."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from recbole_cadmr.errors import UserError

NUMBERS = 2**21  # of a block
_KINDS = "fiu"  # of numbers: real, whole
_POOL = "give --pool mean for their mean, or --pool first (a class token)"


@dataclass(frozen=True)
class Block:
    """Some rows.

    Attributes:
        ids: of the rows; None where the file does not say.
        rows: [n, width], real or whole numbers.
    """

    ids: list[str] | None
    rows: np.ndarray


@dataclass(frozen=True)
class Reading:
    """How a file is read, as options say.

    Attributes:
        item_column, vector_column: of tables; without the latter it is the one column of lists, or all others.
        pool: what becomes of several vectors of one item: ``mean`` or ``first``; without it they are refused.
    """

    item_column: str = "item_id"
    vector_column: str | None = None
    pool: str | None = None


def vector_of(array: np.ndarray, where: str, reading: Reading) -> np.ndarray:
    """The one vector that an array holds, float32 or float64 [width].

    Args:
        where: what names the array in a message.

    Raises:
        UserError: if it holds no numbers, or several vectors of which ``--pool`` does not say what they become.
    """
    if array.dtype.kind not in _KINDS or not array.size or not array.ndim:
        raise UserError(f"{where} must hold a vector of numbers, not {array.dtype} of shape {array.shape}")
    if array.ndim > 1:
        rows = array.reshape(-1, array.shape[-1])
        if len(rows) > 1 and reading.pool is None:
            raise UserError(f"{where} holds {len(rows):,} vectors (shape {array.shape}), not one; {_POOL}")
        array = rows.mean(0, dtype=np.float64) if reading.pool == "mean" else rows[0]
    return np.asarray(array, dtype=np.float64 if array.dtype == np.float64 else np.float32)


def blocks_of_rows(rows: np.ndarray, reading: Reading, ids: list[str] | None = None) -> Iterator[Block]:
    """Blocks of what :func:`need_rows` lets through."""
    step = max(1, NUMBERS // rows[0].size)
    for start in range(0, len(rows), step):
        part = np.asarray(rows[start : start + step])
        yield Block(None if ids is None else ids[start : start + step], pooled(part, reading))


def pooled(rows: np.ndarray, reading: Reading) -> np.ndarray:
    """Rows [n, width] of numbers [n, width] or [n, vectors, width]."""
    if rows.ndim == 2:
        return rows
    if reading.pool == "first":
        return rows[:, 0]
    return rows.mean(1, dtype=np.float64).astype(np.float64 if rows.dtype == np.float64 else np.float32)


def blocks_of_vectors(vectors: Iterable[tuple[str, np.ndarray]], where: Callable[[str], str]) -> Iterator[Block]:
    """Blocks of vectors by id.

    Raises:
        UserError: if one has another width than the first.
    """
    waiting, width = iter(vectors), 0
    while some := list(islice(waiting, max(1, NUMBERS // (width or NUMBERS)))):
        width = width or len(some[0][1])
        for name, vector in some:
            if len(vector) != width:
                raise UserError(f"{where(name)} has {len(vector):,} numbers, the first vector {width:,}")
        yield Block([name for name, _ in some], np.stack([vector for _, vector in some]))


def ids_in(array: np.ndarray) -> list[str] | None:
    """Ids that an array of texts or whole numbers [n] holds; None if it holds something else."""
    if array.ndim != 1 or array.dtype.kind not in "USiu":
        return None
    try:
        return [each.decode() if isinstance(each, bytes) else str(each) for each in array.tolist()]
    except UnicodeDecodeError:
        return None


def need_rows(array: np.ndarray, where: str, reading: Reading) -> np.ndarray:
    """``array``, if it is a matrix of numbers, or has several vectors a row [n, vectors, width] to be pooled.

    Raises:
        UserError: if it is something else, or ``--pool`` is missing or has no effect.
    """
    if array.ndim not in (2, 3) or array.dtype.kind not in _KINDS or 0 in array.shape:
        raise UserError(
            f"{where} must hold a 2-D array of numbers, a vector a row, not {array.dtype} of shape {array.shape}"
        )
    if array.ndim == 3 and reading.pool is None:
        raise UserError(f"{where} holds {array.shape[1]:,} vectors a row (shape {array.shape}), not one; {_POOL}")
    if array.ndim == 2 and reading.pool is not None:
        raise UserError(f"{where} holds one vector a row, and --pool would do nothing; leave it out")
    return array
