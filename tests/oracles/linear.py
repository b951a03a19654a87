"""The closed forms, column by column and densely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tests.oracles.graphs import ITEMS


def ridge_columns(X: np.ndarray, reg_weight: float) -> np.ndarray:
    """Column by column: the ridge regression of an item on all others."""
    n_items = X.shape[1]
    B = np.zeros((n_items, n_items))
    for j in range(n_items):
        others = [i for i in range(n_items) if i != j]
        A = X[:, others].T @ X[:, others] + reg_weight * np.eye(n_items - 1)
        B[others, j] = np.linalg.solve(A, X[:, others].T @ X[:, j])
    return B


def ordered_columns(X: np.ndarray, places: np.ndarray, reg_weight: float) -> np.ndarray:
    """Column by column, on all other items: pairs of a row count by the steps from the first to the second, too."""
    n_items = X.shape[1]
    pairs = np.zeros((n_items, n_items))
    for row, place in zip(X, places):
        pairs += np.outer(row, row) * (1 + place[None] - place[:, None])
    B = np.zeros((n_items, n_items))
    for j in range(n_items):
        others = [i for i in range(n_items) if i != j]
        gram = X[:, others].T @ X[:, others] + reg_weight * np.eye(n_items - 1)
        B[others, j] = np.linalg.solve(gram, pairs[others, j])
    return B


def content_attention(
    features: Mapping[str, Sequence[float]], k: int = 10, temperature: float = 0.4, prior: Sequence[float] = (1,) * 4
) -> np.ndarray:
    """Softmax of the cosines of each item of the micro set with its ``k`` nearest others, whose odds have a prior."""
    A = np.zeros((4, 4))
    unit = {item: np.array(x) / np.linalg.norm(x) for item, x in features.items() if item in ITEMS}
    for i, x in unit.items():
        weight = {j: np.exp(x @ y / temperature) for j, y in unit.items() if j != i}
        for j in sorted(weight, key=weight.get)[-k:]:
            A[ITEMS.index(i), ITEMS.index(j)] = weight[j] * prior[ITEMS.index(j)]
    return A / np.maximum(A.sum(1, keepdims=True), 1e-300)


def linear_cadmr_scores(
    R: np.ndarray,
    text: Mapping[str, Sequence[float]],
    image: Mapping[str, Sequence[float]],
    a: float = 1.5,
    b: float = 0.3,
    d: float = 0.05,
    two_hop: float = 0.3,
    popularity: float = 0.0,
    damping: float = 0.0,
) -> np.ndarray:
    """The formula of LinearCADMR with modality weights .7 and .3, with every step dense."""
    users, items = np.maximum(R.sum(1), 1), np.maximum(R.sum(0), 1)
    A = sum(w * content_attention(m, prior=items**popularity) for w, m in ((0.7, text), (0.3, image)))
    A *= (items / np.prod(items) ** (1 / 4))[:, None] ** -damping
    H = A + two_hop * (A @ A) * (1 - np.eye(4))
    X = users[:, None] ** -0.25 * R
    scaled = X * items**-0.1
    reg_weight = 2.0 * (scaled**2).sum() / (X**2).sum()
    P = np.linalg.inv(scaled.T @ scaled + reg_weight * np.eye(4))
    B = -P / np.diag(P) * (1 - np.eye(4))
    of_scores = items**-0.05
    B = items[:, None] ** -0.1 * B * items**0.1 * of_scores / of_scores.mean()
    return R @ ((np.eye(4) + a * H) @ B @ (np.eye(4) + b * A.T) + d * H)


def guided_columns(X: np.ndarray, A: np.ndarray, reg_weight: float, guide_weight: float) -> np.ndarray:
    """Column by column: least squares on all other items, drawn towards 0 and towards the column of ``A``."""
    n_items = X.shape[1]
    B = np.zeros((n_items, n_items))
    for j in range(n_items):
        others = [i for i in range(n_items) if i != j]
        left = X[:, others].T @ X[:, others] + (reg_weight + guide_weight) * np.eye(n_items - 1)
        B[others, j] = np.linalg.solve(left, X[:, others].T @ X[:, j] + guide_weight * A[others, j])
    return B


def content_features(*modalities: Mapping[str, Sequence[float]]) -> np.ndarray:
    """Content of the items of the micro set side by side, centred and of length 1, zeros where it is missing."""
    parts = []
    for features in modalities:
        mean = np.mean([features[item] for item in ITEMS if item in features], axis=0)
        centred = [np.array(features[item]) - mean if item in features else 0 * mean for item in ITEMS]
        parts.append([x / max(np.linalg.norm(x), 1e-12) for x in centred])
    return np.hstack(parts)


def mmgf_weights(
    R: np.ndarray,
    modalities: Mapping[str, tuple[Mapping[str, Sequence[float]], float]],
    alpha: float,
    s: float,
    coefficients: Sequence[float],
) -> np.ndarray:
    """The filtered graphs of MM-GF, entry by entry; of each modality its features and its weight."""
    graphs = [(R.T, 1.0)]
    for features, weight in modalities.values():
        X = np.array([features[item] for item in ITEMS if item in features])
        low, high = np.percentile(X, 25, axis=0), np.percentile(X, 75, axis=0)
        X = (X - np.median(X, axis=0)) / (high - low)
        X -= X.min()
        rows = iter(X)
        graphs.append((np.array([next(rows) if item in features else 0 * X[0] for item in ITEMS]), weight))
    W = np.zeros((4, 4))
    for place, (X, weight) in enumerate(graphs):
        rows, columns = X.sum(1), X.sum(0)
        # Of interactions the rows are users; of content they are items.
        of_items, of_others = (1 - alpha, alpha) if place == 0 else (alpha, 1 - alpha)
        P = np.zeros((4, 4))
        for i in range(4):
            for j in range(4):
                entry = sum(
                    X[i, u] * X[j, u] / (rows[i] * rows[j]) ** of_items / columns[u] ** (2 * of_others)
                    for u in range(X.shape[1])
                    if X[i, u] * X[j, u] > 0
                )
                P[i, j] = entry**s
        r = np.linalg.eigvalsh(P).max()
        for k, coefficient in enumerate(coefficients, 1):
            W += weight * coefficient * r * np.linalg.matrix_power(P / r, k)
    return W


def rp3beta_weights(R: np.ndarray, alpha: float, beta: float, k: int, normalise: bool) -> np.ndarray:
    """Walks item by item: users of an item, their items; the largest of a row, then of a column."""
    n_users, n_items = R.shape
    W = np.zeros((n_items, n_items))
    for i in range(n_items):
        for j in range(n_items):
            walks = [(R[:, i].sum() * R[u].sum()) ** -alpha for u in range(n_users) if R[u, i] and R[u, j]]
            W[i, j] = sum(walks) / R[:, j].sum() ** beta if i != j and walks else 0
        W[i, np.argsort(-W[i], kind="stable")[k:]] = 0
        if normalise and W[i].any():
            W[i] /= W[i].sum()
    for j in range(n_items):
        W[np.argsort(-W[:, j], kind="stable")[k:], j] = 0
    return W
