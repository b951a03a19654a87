"""The order in which users have chosen: of sparse rows, the place of each entry."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp


def ranked(
    users: np.ndarray, items: np.ndarray, times: np.ndarray, shape: tuple[int, int] | Sequence[int]
) -> sp.csr_matrix:
    """Which of a user's items came first, second and so on.

    Args:
        users, items: int64 [n]; of a pair that is repeated the earliest counts.
        times: [n].
        shape: U, I.

    Returns:
        float32 [U, I], from 1 on in each row; items of the same time share the mean of their places.
    """
    order = np.lexsort((times, users))
    _, first = np.unique(users[order] * np.int64(shape[1]) + items[order], return_index=True)
    order = order[np.sort(first)]
    users, items, times = users[order], items[order], times[order]
    begins_user = np.append(True, users[1:] != users[:-1])[: len(users)]
    begins_time = begins_user | np.append(True, times[1:] != times[:-1])[: len(users)]
    place = np.arange(len(users)) - np.flatnonzero(begins_user)[begins_user.cumsum() - 1] + 1.0
    of_time = begins_time.cumsum() - 1
    mean = np.bincount(of_time, place) / np.bincount(of_time)
    return sp.csr_matrix((mean[of_time].astype(np.float32), (users, items)), tuple(shape))


def with_later(order: sp.csr_matrix, later: sp.csr_matrix) -> sp.csr_matrix:
    """:func:`ranked` of rows [U, I] to which others [U, I] have come, all of them at once and after the rest."""
    before, after = order.tocoo(), later.tocoo()
    users, items = (np.concatenate([getattr(before, name), getattr(after, name)]) for name in ("row", "col"))
    times = np.append(before.data, np.full(after.nnz, np.inf, np.float32))
    return ranked(users.astype(np.int64), items.astype(np.int64), times, order.shape)


def centred(order: sp.csr_matrix) -> sp.csr_matrix:
    """Places in rows [U, I] of :func:`ranked` as distances from the middle, over the root of the steps of a row.

    So the first and the last of n items are ``sqrt(n - 1)`` apart, whatever a step is worth in a longer row.
    """
    length = np.diff(order.indptr)
    total = np.bincount(np.repeat(np.arange(len(length)), length), order.data, len(length))
    middle, root = total / np.maximum(length, 1), np.sqrt(np.maximum(length - 1, 1))
    values = (order.data - np.repeat(middle, length)) / np.repeat(root, length)
    return sp.csr_matrix((values, order.indices, order.indptr), order.shape)


def by_recency(order: sp.csr_matrix, exponent: float) -> sp.csr_matrix:
    """What each entry of rows [U, I] of :func:`ranked` counts for: ``(1 + how many are later)^-exponent``.

    On average 1 in a row.
    """
    length = np.diff(order.indptr)
    counts = (np.repeat(length, length) + 1 - order.data.astype(np.float64)) ** -exponent
    total = np.bincount(np.repeat(np.arange(len(length)), length), counts, len(length))
    counts *= np.repeat(length / np.maximum(total, 1e-300), length)
    return sp.csr_matrix((counts.astype(np.float32), order.indices, order.indptr), order.shape)
