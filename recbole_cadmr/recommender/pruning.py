"""Engines small enough to hand on: weights of items by items pruned, and what that costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from recbole_cadmr.data.rows import RatingRows
from recbole_cadmr.layers.low_rank_autoencoder import strongest
from recbole_cadmr.recommender.attention_engine import AttentionEngine
from recbole_cadmr.recommender.engine import Engine
from recbole_cadmr.recommender.histories import Histories
from recbole_cadmr.recommender.path_weights import PathWeights
from recbole_cadmr.recommender.weights_engine import WeightsEngine, product
from recbole_cadmr.training.ranking import best

_BLOCK = 512  # rows of weights at once
_LEAST, _MOST = 4, 4  # a row keeps this part of the average, and this many times as much
TOP = 20


def pruned(engine: Engine, neighbours: int) -> Engine:
    """An engine whose weights keep ``neighbours`` entries an item, as :func:`prune` says; others as they are."""
    if isinstance(engine, AttentionEngine):
        closed_form = _pruned_weights(engine.closed_form, neighbours)
        return AttentionEngine(engine.name, closed_form, engine.attention, engine.weight, engine.n_candidates)
    return _pruned_weights(engine, neighbours) if isinstance(engine, WeightsEngine) else engine


def _pruned_weights(engine: WeightsEngine, neighbours: int) -> WeightsEngine:
    weights = prune(engine.weights, neighbours)
    paths = None
    if engine.closed_form is not None and isinstance(engine.weights, Tensor):
        terms = engine.closed_form.terms_at(weights)
        paths = PathWeights(weights.indptr, weights.indices, terms, weights.data)
    elif engine.paths is not None and len(weights.data) == len(engine.paths.weights):
        paths = engine.paths
    return WeightsEngine(engine.name, weights, paths=paths, modality_weights=engine.modality_weights)


def prune(weights: Any, neighbours: int) -> sp.csr_matrix:
    """Weights [I, I] of which a row keeps ``neighbours`` entries on average, those of largest magnitude of all.

    Each row keeps a quarter of as many at least, so that rare items have neighbours, and four times as many at most.
    The same number for each row loses a percent of recall on Amazon Baby that this does not.
    """
    most = _MOST * neighbours
    if sp.issparse(weights):
        largest = strongest(weights.tocsr().astype(np.float32), most)
    else:
        n_items = len(weights if isinstance(weights, Tensor) else weights.left)
        largest = sp.vstack([_largest(rows, most) for rows in _rows(weights, n_items)], "csr")
    magnitude = np.abs(largest.data)
    row = np.repeat(np.arange(largest.shape[0]), np.diff(largest.indptr))
    order = np.lexsort((-magnitude, row))
    rank = np.empty(len(row), dtype=np.int64)
    rank[order] = np.arange(len(row)) - largest.indptr[row]
    magnitude[rank < -(-neighbours // _LEAST)] = np.inf
    magnitude[largest.data == 0] = -1
    n_kept = min(neighbours * largest.shape[0], int((magnitude >= 0).sum()))
    kept = np.sort(np.argpartition(-magnitude, n_kept - 1)[:n_kept]) if n_kept else np.zeros(0, np.int64)
    pruned = sp.csr_matrix((largest.data[kept], (row[kept], largest.indices[kept])), largest.shape)
    pruned.sort_indices()
    return pruned


def _rows(weights: Any, n_items: int) -> Any:
    """All rows, dense, a block at a time."""
    if isinstance(weights, Tensor):
        return weights.split(_BLOCK)
    one_each = RatingRows(sp.identity(n_items, np.float32, "csr"))
    return (product(one_each.batch(block), weights) for block in torch.arange(n_items).split(_BLOCK))


def _largest(rows: Tensor, n: int) -> sp.csr_matrix:
    n = min(n, rows.shape[1])
    columns = rows.abs().topk(n, dim=1, sorted=False).indices
    values = rows.gather(1, columns)
    indptr = np.arange(0, rows.shape[0] * n + 1, n)
    return sp.csr_matrix((values.flatten().numpy(), columns.flatten().numpy(), indptr), tuple(rows.shape))


@dataclass(frozen=True)
class Agreement:
    """How lists of 20 by one engine compare with those by another.

    Attributes:
        users: how many were ranked: who has something in training and, if there is a validation part, in that.
        overlap: mean share of items that both have in a list.
        recall, recall_of_pruned: on validation; None if there is no such part.
    """

    users: int
    overlap: float
    recall: float | None
    recall_of_pruned: float | None


@torch.no_grad()
def agreement(whole: Engine, other: Engine, histories: Histories) -> Agreement:
    """Lists of both engines for all users, without what they have in training."""
    known, valid = histories.known, histories.parts["valid"]
    has_known = known.lengths(torch.arange(known.n_rows)) > 0
    held_out = valid.getnnz(1)
    is_asked = has_known.numpy() & ((held_out > 0) if valid.nnz else True)
    users = torch.from_numpy(np.flatnonzero(is_asked))
    top = min(TOP, whole.n_items - 1)
    engines = [engine.for_many(len(users)) for engine in (whole, other)]
    overlaps: list[float] = []
    hits = np.zeros((2, len(users)))
    for start in range(0, len(users), whole.users_at_once):
        block = users[start : start + whole.users_at_once]
        rows = known.batch(block)
        lists = []
        for engine in engines:
            scores = engine.scores(rows)
            scores[rows.row, rows.column] = -torch.inf
            scores[:, 0] = -torch.inf
            lists.append(best(scores, top)[1].numpy())
        held = valid[block.numpy()]
        place = np.arange(len(block))[:, None]
        for number, items in enumerate(lists):
            hits[number, start : start + len(block)] = np.asarray(held[place, items].todense()).sum(1).ravel()
        overlaps += [len(np.intersect1d(a, b)) / top for a, b in zip(*lists)]
    recalls = [float(np.mean(part / held_out[users.numpy()])) if valid.nnz else None for part in hits]
    return Agreement(len(users), float(np.mean(overlaps)) if overlaps else 1.0, *recalls)
