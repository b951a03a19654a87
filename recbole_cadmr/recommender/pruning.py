"""Engines small enough to hand on: weights of items by items pruned, and what that costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from recbole_cadmr.data.rows import RatingRows
from recbole_cadmr.layers.low_rank_autoencoder import LowRankPlusSparse, strongest
from recbole_cadmr.recommender.attention_engine import AttentionEngine
from recbole_cadmr.recommender.engine import Engine
from recbole_cadmr.recommender.histories import Histories
from recbole_cadmr.recommender.path_weights import PathWeights
from recbole_cadmr.recommender.weights_engine import WeightsEngine, product
from recbole_cadmr.training.ranking import best

_BLOCK = 512  # rows of weights at once
_LEAST, _MOST = 4, 4  # a row keeps this part of the average, and this many times as much
TOP = 20


def pruned(engine: Engine, neighbours: int, histories: Histories) -> Engine:
    """An engine whose weights keep ``neighbours`` entries an item, as :func:`prune` says; others as they are."""
    cold = histories.popularity[1:].numpy() == 0
    if isinstance(engine, AttentionEngine):
        closed_form = _pruned_weights(engine.closed_form, neighbours, cold)
        return AttentionEngine(engine.name, closed_form, engine.attention, engine.weight, engine.n_candidates)
    return _pruned_weights(engine, neighbours, cold) if isinstance(engine, WeightsEngine) else engine


def _pruned_weights(engine: WeightsEngine, neighbours: int, cold: np.ndarray) -> WeightsEngine:
    weights = prune(engine.weights, neighbours, cold)
    paths = None
    if engine.closed_form is not None and isinstance(engine.weights, Tensor):
        terms = engine.closed_form.terms_at(weights)
        paths = PathWeights(weights.indptr, weights.indices, terms, weights.data)
    elif engine.paths is not None and len(weights.data) == len(engine.paths.weights):
        paths = engine.paths
    return WeightsEngine(engine.name, weights, None, paths, engine.modality_weights, engine.n_scored)


def prune(weights: Any, neighbours: int, cold: np.ndarray) -> sp.csr_matrix:
    """Weights [I, I] of which a row keeps ``neighbours`` entries on average, those of largest magnitude of all.

    Each row and each column keeps a quarter of as many at least, so that rare items have neighbours and are neighbours,
    and a row four times as many at most, but for these. So many are kept of the columns of ``cold`` items, too: all
    their weights, which come of content alone, are small beside others'. The same number for each row loses a percent
    of recall on Amazon Baby that this does not. Where four times as many are all items, so are all entries.

    Args:
        cold: [I], items that nobody has.
    """
    n_items, most, least = len(cold), _MOST * neighbours, -(-neighbours // _LEAST)
    by_row = _strongest(weights, most).tocoo()
    by_column = _strongest(_transposed(weights), most if cold.any() else least).tocoo()
    sure_by_column = _ranks(by_column) < np.where(cold, most, least)[by_column.row]
    sure = np.concatenate([_ranks(by_row) < least, sure_by_column[sure_by_column]])
    row = np.concatenate([by_row.row, by_column.col[sure_by_column]]).astype(np.int64)
    column = np.concatenate([by_row.col, by_column.row[sure_by_column]]).astype(np.int64)
    value = np.concatenate([by_row.data, by_column.data[sure_by_column]])
    order = np.lexsort((~sure, row * n_items + column))
    order = order[np.append(True, np.diff((row * n_items + column)[order]) > 0)[: len(order)]]
    order = order[value[order] != 0]
    if n_items > most:
        magnitude = np.where(sure[order], np.inf, np.abs(value[order]))
        n_kept = min(max(neighbours * n_items, int(sure[order].sum())), len(order))
        order = order[np.sort(np.argpartition(-magnitude, n_kept - 1)[:n_kept])] if n_kept else order[:0]
    kept = sp.csr_matrix((value[order], (row[order], column[order])), (n_items, n_items))
    kept.sort_indices()
    return kept


def _transposed(weights: Any) -> Any:
    if isinstance(weights, LowRankPlusSparse):
        return LowRankPlusSparse(weights.right, weights.left, weights.sparse.T.tocsr())
    return weights.T


def _strongest(weights: Any, n: int) -> sp.csr_matrix:
    """The ``n`` entries of largest magnitude of each row."""
    if sp.issparse(weights):
        return strongest(weights.tocsr().astype(np.float32), n)
    n_items = len(weights if isinstance(weights, Tensor) else weights.left)
    return sp.vstack([_largest(rows, n) for rows in _rows(weights, n_items)], "csr")


def _ranks(entries: sp.coo_matrix) -> np.ndarray:
    """The place of each entry among those of its row, by magnitude: int64 [nnz], from 0."""
    order = np.lexsort((-np.abs(entries.data), entries.row))
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order)) - np.searchsorted(entries.row[order], entries.row[order])
    return ranks


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
