"""A learned attention of items to items, whose rows are softmaxes over the catalogue."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cadmr.layers.sparse import SparseMatrix


class Smoothing:
    """``E + content A E + cooccurrence C E``: rows of items mixed with those of the items they belong with.

    ``C = N'N`` without its diagonal is the co-occurrence of items in the training rows, ``N = D_u^-1/2 R D_i^-1/2``
    (the propagation of LightGCN, two hops at once). It is never formed.

    Args:
        R: training rows [U, I].
        A: content attention [I, I].
    """

    def __init__(
        self, R: sp.csr_matrix, A: sp.csr_matrix, content: float, cooccurrence: float, device: torch.device
    ) -> None:
        users, items = (np.maximum(np.asarray(R.sum(axis)).ravel(), 1.0) ** -0.5 for axis in (1, 0))
        N = (sp.diags(users) @ R @ sp.diags(items)).tocsr()
        self._content = SparseMatrix(content * A, device) if content and A.nnz else None
        self._rows = SparseMatrix(cooccurrence**0.5 * N, device) if cooccurrence else None
        diagonal = cooccurrence * np.asarray(N.multiply(N).sum(0), dtype=np.float32).ravel()
        self._diagonal = torch.from_numpy(diagonal).to(device)[:, None]

    def __call__(self, E: Tensor) -> Tensor:
        """E [I, d] smoothed."""
        smoothed = E
        if self._content is not None:
            smoothed = smoothed + self._content.times(E)
        if self._rows is not None:
            smoothed = smoothed + self._rows.transposed_times(self._rows.times(E)) - self._diagonal * E
        return smoothed


class ItemAttention(nn.Module):
    """``A_ij = softmax_j(cos(q_i, k_j) / temperature)``: what item i in a row says of every item j.

    Queries and keys are a free embedding plus a linear map of the item's content, smoothed.

    Args:
        features: [I, F], content of the items.
        size: d, columns of queries and of keys.
        scale: standard deviation that embeddings and maps start from. Cosines do not feel it, steps of training do:
            the smaller, the faster directions turn.
    """

    features: Tensor

    def __init__(self, features: Tensor, smoothing: Smoothing, size: int, temperature: float, scale: float) -> None:
        super().__init__()
        self._smoothing, self.size, self._temperature = smoothing, size, temperature
        self.register_buffer("features", features, persistent=False)
        # Queries and keys side by side, so that each step smooths once.
        self.embedding = nn.Parameter(scale * torch.randn(len(features), 2 * size))
        self.content_map = nn.Parameter(scale * torch.randn(features.shape[1], 2 * size))

    def forward(self) -> tuple[Tensor, Tensor]:
        """Queries, divided by the temperature, and keys: their products are the softmax's logits. [I, d] each."""
        both = self._smoothing(torch.addmm(self.embedding, self.features, self.content_map))
        query, key = both[:, : self.size], both[:, self.size :]
        return F.normalize(query, dim=1) / self._temperature, F.normalize(key, dim=1)


class _AttentionEntries(torch.autograd.Function):
    """Entries of ``softmax(query key' + offset)`` without the passes that a softmax of the whole matrix would take."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, log_weight: Tensor | None, row: Tensor, column: Tensor) -> Tensor:
        weight = query @ key.T
        numerator = weight[row, column].exp()
        if log_weight is not None:
            weight += log_weight
        total = weight.exp_().sum(1)  # logits are cosines / temperature, far from overflow
        entries = numerator / total[row]
        ctx.save_for_backward(query, key, total, row, column, entries)
        ctx.weight = weight  # ours alone, and overwritten by the gradient
        return entries

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        query, key, total, row, column, entries = ctx.saved_tensors
        gradient, ctx.weight = ctx.weight, None
        direct = gradients[0] * entries
        by_row = torch.zeros_like(total).index_add_(0, row, direct)
        gradient *= (-by_row / total)[:, None]
        gradient.view(-1).index_add_(0, row * gradient.shape[1] + column, direct)
        return gradient @ key, gradient.T @ query, None, None, None


def attention_entries(
    query: Tensor, key: Tensor, row: Tensor, column: Tensor, log_weight: Tensor | None = None
) -> Tensor:
    """Entries (``row``, ``column``) of the row-wise softmax of ``query key'``: [nnz].

    One matrix product and one pass; its gradient can be taken once.

    Args:
        query: [n, d].
        key: [m, d], of all items or of a sample of them.
        log_weight: [m], how many items each column of a sample stands for (the logQ correction of sampled softmax);
            it weighs the sum below the fraction only.
    """
    return _AttentionEntries.apply(query, key, log_weight, row, column)
