"""Graphs of users and items, and graph convolution without weights.

Matrices carry RecBole's ids: row and column 0 are the padding user or item, which no edge reaches.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from recbole_cadmr.data.graph import ItemGraph
from recbole_cadmr.layers.learned_graph import EdgeSum
from recbole_cadmr.layers.sparse import SparseMatrix


def bipartite(R: sp.csr_matrix) -> sp.csr_matrix:
    """The graph [U + I, U + I] of users and items whose edges are the entries of R [U, I], both ways."""
    return sp.bmat([[None, R], [R.T, None]], format="csr", dtype=np.float32)


def symmetric_normalised(A: sp.csr_matrix) -> sp.csr_matrix:
    """``D^-1/2 A D^-1/2`` with the row sums D; empty rows stay empty (LightGCN, equation 8)."""
    degree = np.asarray(A.sum(1), dtype=np.float64).ravel()
    with np.errstate(divide="ignore"):
        scale = np.where(degree > 0, degree**-0.5, 0.0)
    return (sp.diags(scale) @ A @ sp.diags(scale)).tocsr().astype(np.float32)


def row_normalised(A: sp.csr_matrix) -> sp.csr_matrix:
    """``D^-1 A`` with the row sums D: each row a mean; empty rows stay empty."""
    degree = np.asarray(A.sum(1), dtype=np.float64).ravel()
    scale = np.where(degree > 0, 1 / np.maximum(degree, 1e-300), 0.0)
    return (sp.diags(scale) @ A).tocsr().astype(np.float32)


def neighbour_matrix(graph: ItemGraph, k: int, weighted: bool = False, with_self: bool = True) -> sp.csr_matrix:
    """The k nearest items of every item as a matrix [n_items, n_items].

    The papers' k counts the item itself, which is its own nearest: with ``with_self`` these are the item and ``k - 1``
    others. Items without neighbours have empty rows.

    Args:
        weighted: entries are cosines, the item's own 1; else every entry is 1.
    """
    idx, cos = graph.idx[:, : k - with_self], graph.cos[:, : k - with_self]
    item, place = (idx > 0).nonzero(as_tuple=True)
    row, column, value = item, idx[item, place], cos[item, place] if weighted else torch.ones(len(item))
    if with_self:
        own = (graph.idx > 0).any(1).nonzero().squeeze(1)
        row, column, value = torch.cat([row, own]), torch.cat([column, own]), torch.cat([value, torch.ones(len(own))])
    entries = value.numpy(), (row.numpy(), column.numpy())
    return sp.csr_matrix(entries, shape=2 * (len(idx),), dtype=np.float32)


def mean_of_layers(A: SparseMatrix, E: Tensor, n_layers: int) -> Tensor:
    """Mean of ``E, A E, ..., A^n E`` (LightGCN, equations 7 and 4)."""
    layers = [E]
    for _ in range(n_layers):
        layers.append(A.matmul(layers[-1]))
    return torch.stack(layers).mean(0)


def smoothed(S: SparseMatrix | EdgeSum, E: Tensor, n_layers: int) -> Tensor:
    """``S^n E``."""
    for _ in range(n_layers):
        E = S.matmul(E)
    return E
