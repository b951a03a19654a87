"""Graphs of users and items, fixed ones and ones whose entries are learned, and graph convolution without weights.

Matrices carry RecBole's ids: row and column 0 are the padding user or item, which no edge reaches.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_cadmr.data.graph import ItemGraph
from recbole_cadmr.layers.sparse import EdgeMatrix, SparseMatrix
from recbole_cadmr.neighbours import nearest_rows


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


def counts_normalised(S: sp.csr_matrix) -> sp.csr_matrix:
    """``D^-1/2 S D^-1/2`` with the numbers D of entries in the rows: a cosine stays a cosine, over their number."""
    count = np.diff(S.indptr)
    scale = sp.diags(1 / np.sqrt(np.maximum(count, 1)))
    return (scale @ S @ scale).tocsr().astype(np.float32)


def co_occurrence(R: sp.csr_matrix, k: int, block: int = 1024) -> sp.csr_matrix:
    """For each row of R [n, m] the ``k`` other rows that share most columns with it, weighted by a softmax: [n, n].

    The softmax is over the numbers of shared columns. A row that shares none stays empty.
    """
    parts = []
    for start in range(0, R.shape[0], block):
        shared = (R[start : start + block] @ R.T).tocoo()
        other = shared.row + start != shared.col
        row, column, count = shared.row[other], shared.col[other], shared.data[other]
        order = np.lexsort((column, -count, row))
        row, column, count = row[order], column[order], count[order]
        first = np.searchsorted(row, row)  # where the row of each entry starts
        kept = np.arange(len(row)) - first < k
        weight = np.exp(count - count[first])  # of the row's highest, which its softmax does not feel
        parts.append(sp.csr_matrix((weight[kept], (row[kept], column[kept])), shared.shape))
    return row_normalised(sp.vstack(parts, format="csr"))


def mean_of_layers(A: SparseMatrix, E: Tensor, n_layers: int) -> Tensor:
    """Mean of ``E, A E, ..., A^n E`` (LightGCN, equations 7 and 4)."""
    return A.mean_of_powers(E, n_layers)


def smoothed(S: SparseMatrix | EdgeSum | SharedHyperedges, E: Tensor, n_layers: int) -> Tensor:
    """``S^n E``."""
    for _ in range(n_layers):
        E = S.matmul(E)
    return E


class SharedHyperedges:
    """The graph ``W = H H'`` of nodes by the hyperedges that they share, normalised by its row sums D.

    W is never made: a hyperedge of many nodes would fill it.

    Args:
        H: weights of nodes in hyperedges [n, m], none negative.
        with_self: whether a node is its own neighbour; else the diagonal of W is 0.
        symmetric: ``D^-1/2 W D^-1/2``, else ``D^-1 W``, whose rows are means. Rows of nodes without neighbours are 0.
    """

    def __init__(self, H: sp.csr_matrix, with_self: bool, symmetric: bool, device: str | torch.device = "cpu") -> None:
        H = H.astype(np.float64)
        own = np.zeros(H.shape[0]) if with_self else np.asarray(H.multiply(H).sum(1)).ravel()
        degree = np.asarray(H @ H.sum(0).T).ravel() - own
        with np.errstate(divide="ignore"):
            scale = np.where(degree > 0, degree ** (-0.5 if symmetric else -1.0), 0.0)
        self._H = SparseMatrix(H, device)
        self._left, self._own = (torch.from_numpy(x.astype(np.float32))[:, None].to(device) for x in (scale, own))
        self._right = self._left if symmetric else torch.ones_like(self._left)

    def matmul(self, E: Tensor) -> Tensor:
        """The graph's product with a dense E [n, d]."""
        E = self._right * E
        return self._left * (self._H.matmul(self._H.transposed_times(E)) - self._own * E)


class EdgeSum:
    """A sum of sparse matrices with learned entries.

    Args:
        parts: matrices and their values [nnz], which gradients may flow to.
    """

    def __init__(self, parts: Sequence[tuple[EdgeMatrix, Tensor]]) -> None:
        self.parts = list(parts)

    def matmul(self, E: Tensor) -> Tensor:
        """The sum's product with a dense E [m, d]."""
        return torch.stack([edges.matmul(value, E) for edges, value in self.parts]).sum(0)

    def constant(self) -> SparseMatrix:
        """The sum as a single matrix without gradients."""
        columns = zip(*((edges.row, edges.column, value.detach()) for edges, value in self.parts))
        row, column, value = (torch.cat(tensors) for tensors in columns)
        entries = value.cpu().numpy(), (row.cpu().numpy(), column.cpu().numpy())
        return SparseMatrix(sp.csr_matrix(entries, self.parts[0][0].shape), value.device)


def nearest_edges(X: Tensor, items: Tensor, k: int) -> EdgeMatrix:
    """Edges from each of the ``items`` to itself and to the ``k - 1`` of them that are nearest to it by cosine.

    Exact up to 100,000 items; time and memory are those of :func:`nearest_rows`.

    Args:
        X: rows of all items [n_items, d].
        items: ids of those that take part, ascending.
    """
    n_others = max(min(k, len(items)) - 1, 0)
    nearest, _ = nearest_rows(F.normalize(X[items].detach(), dim=1), n_others)
    row = torch.cat([items, items.repeat_interleave(n_others)]).cpu().numpy()
    column = torch.cat([items, items[nearest].flatten()]).cpu().numpy()
    return EdgeMatrix(sp.csr_matrix((np.ones(len(row)), (row, column)), 2 * (len(X),)), X.device)


def cosine_values(X: Tensor, edges: EdgeMatrix) -> Tensor:
    """Cosines [nnz] of the rows of X that edges connect; 0 for negative ones, lest a row's sum be negative."""
    unit = F.normalize(X, dim=1)
    return (unit[edges.row] * unit[edges.column]).sum(1).clamp(min=0)


def symmetric_normalised_sum(parts: Sequence[tuple[EdgeMatrix, Tensor]]) -> EdgeSum:
    """``D^-1/2 A D^-1/2`` with ``A`` the sum of the parts and D its row sums, which gradients flow through, too."""
    edges, value = parts[0]
    degree = value.new_zeros(edges.shape[0])
    for edges, value in parts:
        degree = degree.index_add(0, edges.row, value)
    scale = degree.clamp(min=1e-12).rsqrt()
    return EdgeSum([(edges, scale[edges.row] * value * scale[edges.column]) for edges, value in parts])
