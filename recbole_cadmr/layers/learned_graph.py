"""Item graphs whose entries are cosines of vectors in training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_cadmr.layers.sparse import EdgeMatrix, SparseMatrix


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


@torch.no_grad()
def nearest_edges(X: Tensor, items: Tensor, k: int, block: int = 1024) -> EdgeMatrix:
    """Edges from each of the ``items`` to itself and to the ``k - 1`` of them that are nearest to it by cosine.

    Exact. Time is quadratic in the number of items; memory is block x items.

    Args:
        X: rows of all items [n_items, d].
        items: ids of those that take part, ascending.
    """
    unit, k = F.normalize(X[items], dim=1), min(k, len(items))
    nearest = torch.empty(len(items), k, dtype=torch.long, device=X.device)
    for rows in torch.arange(len(items), device=X.device).split(block) if len(items) else ():
        cosine = unit[rows] @ unit.T
        cosine[rows - rows[0], rows] = torch.inf  # the item itself, whatever duplicates it has
        nearest[rows] = cosine.topk(k, dim=1).indices
    row, column = (index.flatten().cpu().numpy() for index in (items[:, None].expand(-1, k), items[nearest]))
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
