"""Parts that MGCN and SMORE share: views of users and items along graphs, and gates."""

from __future__ import annotations

import scipy.sparse as sp
import torch
from torch import Tensor, nn

from recbole_cadmr.layers.propagation import bipartite, mean_of_layers, symmetric_normalised
from recbole_cadmr.layers.sparse import SparseMatrix


class Views:
    """Views [n_users + n_items, d] of users and items, by what users did and by what items are alike.

    Args:
        R: [n_users, n_items], entries of 1.
    """

    def __init__(self, R: sp.csr_matrix, device: str | torch.device = "cpu") -> None:
        n_users = R.shape[0]
        A = symmetric_normalised(bipartite(R))
        self._A, self._R = SparseMatrix(A, device), SparseMatrix(A[:n_users, n_users:], device)

    def user_item(self, users: Tensor, items: Tensor, n_layers: int) -> Tensor:
        """LightGCN's mean of layers of both."""
        return mean_of_layers(self._A, torch.cat([users, items]), n_layers)

    def item_item(self, S: SparseMatrix, items: Tensor, n_layers: int) -> Tensor:
        """Items smoothed over the item graph S, and users as the normalised sums of the smoothed items they have."""
        for _ in range(n_layers):
            items = S.matmul(items)
        return torch.cat([self._R.matmul(items), items])


def gate(size: int) -> nn.Sequential:
    """``sigmoid(W x + b)`` of the length of x."""
    return nn.Sequential(nn.Linear(size, size), nn.Sigmoid())
