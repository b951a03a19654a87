"""Graphs of users and items, dense and from their definitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

ITEMS = ["a", "b", "c", "d"]  # of the micro set: ids 1, 2, ...; 0 is padding


def both_ways(R: np.ndarray) -> np.ndarray:
    """The adjacency of users and items, both ways, from a matrix users x items."""
    n_users, n_items = R.shape
    return np.block([[np.zeros((n_users, n_users)), R], [R.T, np.zeros((n_items, n_items))]])


def normalised(A: np.ndarray) -> np.ndarray:
    """Edges over the roots of the degrees of both their ends."""
    scale = A.sum(1).astype(float)
    scale[scale > 0] **= -0.5
    return scale[:, None] * A * scale


def nearest(features: Mapping[str, Sequence[float]], k: int) -> np.ndarray:
    """Cosines of every item with itself and its nearest others, k in all; 0 elsewhere."""
    S = np.zeros((5, 5))
    x = {ITEMS.index(item) + 1: np.array(f) / np.linalg.norm(f) for item, f in features.items() if item in ITEMS}
    for i in x:
        for j in sorted(x, key=lambda j: -(x[i] @ x[j]) - (i == j))[:k]:
            S[i, j] = x[i] @ x[j]
    return S
