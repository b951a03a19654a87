"""A learned attention of items to items, whose rows are softmaxes over the catalogue."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cadmr.data.rows import RowBatch
from recbole_cadmr.layers.sparse import SparseMatrix

_LOGITS = 2**22  # held at once, where a sum is all that is wanted of them


class Smoothing:
    """``E + content A E + cooccurrence C E``: rows of items mixed with those of the items they belong with.

    ``C = N'N`` without its diagonal is the co-occurrence of items in the training rows, ``N = D_u^-1/2 R D_i^-1/2``
    (the propagation of LightGCN, two hops at once). It is never formed.

    Args:
        R: training rows [U, I].
        A: content attention [I, I].

    Attributes:
        content, cooccurrence: the weights.
    """

    def __init__(
        self, R: sp.csr_matrix, A: sp.csr_matrix, content: float, cooccurrence: float, device: torch.device
    ) -> None:
        self.content, self.cooccurrence = content, cooccurrence
        users, items = (np.maximum(np.asarray(R.sum(axis)).ravel(), 1.0) ** -0.5 for axis in (1, 0))
        N = (sp.diags(users) @ R @ sp.diags(items)).tocsr()
        self._A = SparseMatrix(A, device) if A.nnz else None
        self._N = SparseMatrix(N, device)
        diagonal = np.asarray(N.multiply(N).sum(0), dtype=np.float32).reshape(-1, 1)
        self._diagonal = torch.from_numpy(diagonal).to(device)

    def __call__(self, E: Tensor) -> Tensor:
        """E [I, d] smoothed."""
        smoothed = E
        if self.content and self._A is not None:
            smoothed = smoothed + self.content * self._A.matmul(E)
        if self.cooccurrence:
            together = self._N.transposed_times(self._N.matmul(E)) - self._diagonal * E
            smoothed = smoothed + self.cooccurrence * together
        return smoothed


class ItemAttention(nn.Module):
    """``A_ij = softmax_j(cos(q_i, k_j) / temperature)``: what item i in a row says of every item j.

    Queries and keys are a free embedding plus a linear map of the item's features, smoothed.

    Args:
        n_items, n_features: shape of the features that :meth:`forward` takes.
        size: d, columns of queries and of keys.
        scale: standard deviation that embeddings and maps start from. Cosines do not feel it, steps of training do:
            the smaller, the faster directions turn.
    """

    def __init__(
        self, n_items: int, n_features: int, smoothing: Smoothing, size: int, temperature: float, scale: float
    ) -> None:
        super().__init__()
        self._smoothing, self.temperature = smoothing, temperature
        # Queries and keys side by side, so that each step smooths once.
        self.embedding = nn.Parameter(scale * torch.randn(n_items, 2 * size))
        self.content_map = nn.Parameter(scale * torch.randn(n_features, 2 * size))

    def forward(
        self, features: Tensor, asking: Tensor | None = None, answering: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Queries [n, d], divided by the temperature, and keys [m, d]: their products are the softmax's logits.

        Args:
            features: [I, F], content of the items.
            asking, answering: the items of the queries [n] and of the keys [m]; all, each, if not given.
        """
        both = self._smoothing(torch.addmm(self.embedding, features, self.content_map))
        return queries_and_keys(both, self.temperature, asking, answering)


def queries_and_keys(
    both: Tensor, temperature: float, asking: Tensor | None = None, answering: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Those of :class:`ItemAttention` out of smoothed rows [I, 2 d] of both side by side."""
    size = both.shape[1] // 2
    query, key = (both if items is None else both.index_select(0, items) for items in (asking, answering))
    return F.normalize(query[:, :size], dim=1) / temperature, F.normalize(key[:, size:], dim=1)


class _AttentionEntries(torch.autograd.Function):
    """Entries of ``softmax(query key')`` without the passes that a softmax of the whole matrix would take."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, row: Tensor, column: Tensor) -> Tensor:
        weight = (query @ key.T).exp_()  # logits are cosines / temperature, far from overflow
        total = weight.sum(1)
        entries = weight[row, column] / total[row]
        ctx.save_for_backward(query, key, total, row, column, entries)
        ctx.weight = weight  # ours alone, and overwritten by the gradient
        return entries

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        query, key, total, row, column, entries = ctx.saved_tensors
        gradient, ctx.weight = ctx.weight, None
        direct = gradients[0] * entries
        by_row = torch.zeros_like(total).index_add_(0, row, direct)
        gradient *= (-by_row / total)[:, None]
        gradient.view(-1).index_add_(0, row * gradient.shape[1] + column, direct)
        return gradient @ key, gradient.T @ query, None, None


def attention_entries(query: Tensor, key: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Entries (``row``, ``column``) of the row-wise softmax of ``query key'``: [nnz].

    One matrix product and one pass; its gradient can be taken once.

    Args:
        query: [n, d].
        key: [I, d].
    """
    return _AttentionEntries.apply(query, key, row, column)


class _ExpTotals(torch.autograd.Function):
    """``sum_j exp(q_i . k_j + offset_j)`` [n], without the passes over all logits that autograd would take."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, offset: Tensor) -> Tensor:
        weight, total = query.new_empty(len(query), len(key)), query.new_empty(len(query))
        step = max(_LOGITS // len(key), 1)  # rows in the processor's cache
        for rows, block, of_rows in zip(query.split(step), weight.split(step), total.split(step)):
            torch.sum(torch.addmm(offset, rows, key.T, out=block).exp_(), 1, out=of_rows)
        ctx.save_for_backward(query, key)
        ctx.weight = weight  # ours alone
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        (query, key), gradient = ctx.saved_tensors, gradients[0][:, None]
        weight, ctx.weight = ctx.weight, None
        return gradient * (weight @ key), weight.T @ (gradient * query), None


def sampled_attention_entries(
    query: Tensor, key: Tensor, row: Tensor, column: Tensor, sample: Tensor, log_weight: Tensor
) -> Tensor:
    """The same with the sum below the fraction estimated from a sample of the items.

    A sampled item counts for ``1 / (chance to be in the sample)`` items (the logQ correction of sampled softmax), but
    an entry's own counts once, whether it is in the sample or not: the sum is unbiased, and no entry exceeds 1. The
    gradient can be taken once.

    Args:
        sample: [m], distinct items in ascending order, drawn without a look at ``row`` and ``column``.
        log_weight: [I], log of what each item counts for if it is in the sample.
    """
    numerator = (query[row] * key[column]).sum(1).exp()
    total = _ExpTotals.apply(query, key[sample], log_weight[sample])
    in_sample = sample[torch.searchsorted(sample, column).clamp(max=len(sample) - 1)] == column
    own = 1 - log_weight[column].exp() * in_sample
    return numerator / (total[row] + own * numerator)


@torch.no_grad()
def log_totals(query: Tensor, key: Tensor) -> Tensor:
    """``log sum_j exp(q_i . k_j)`` [n] of queries [n, d] over all keys [I, d], a block of queries at a time."""
    total = query.new_empty(len(query))
    # Into the same memory: results kept between large blocks that come and go leave holes, gigabytes of them.
    logits = query.new_empty(min(max(_LOGITS // len(key), 1), len(query)), len(key))
    for block, result in zip(query.split(len(logits)), total.split(len(logits))):
        torch.sum(torch.mm(block, key.T, out=logits[: len(block)]).exp_(), 1, out=result)
    return total.log_()


def log_mean_entries(query: Tensor, key: Tensor, log_total: Tensor, batch: RowBatch, items: Tensor) -> Tensor:
    """``log mean_(i in row) A_ij`` [B, C] at the items [B, C] of each row of a batch alone; 0 for empty rows.

    Entries count for their values, which are 1 on average.

    Args:
        query, key: [I, d].
        log_total: [I], of :func:`log_totals`.
    """
    length = torch.bincount(batch.row, minlength=batch.n_rows)
    first = length.cumsum(0) - length
    longest = max(int(length.max()), 1)
    result = torch.zeros(items.shape, device=key.device)
    for rows in torch.arange(batch.n_rows, device=key.device).split(max(_LOGITS // (longest * items.shape[1]), 1)):
        step = torch.arange(int(length[rows].max()), device=key.device)
        inside = step < length[rows, None]
        asking = batch.column[torch.where(inside, first[rows, None] + step, 0)]
        counts = batch.value[torch.where(inside, first[rows, None] + step, 0)].log()
        logits = query[asking] @ key[items[rows]].mT + (counts - log_total[asking])[..., None]
        logits = logits.masked_fill_(~inside[..., None], -torch.inf)
        log_mean = logits.logsumexp(1) - length[rows, None].log()
        result[rows] = log_mean.masked_fill_((length[rows] == 0)[:, None], 0.0)
    return result


@torch.no_grad()
def shares_of_mean(
    query: Tensor, key: Tensor, row: Tensor, item: int, counts: Tensor | None = None
) -> tuple[float, Tensor]:
    """``log mean_(i in row) A_ij`` of an item j, and the share that each i has in this mean: float64 [n].

    Args:
        query, key: [I, d].
        row: int64 [n], the items of the row; one at least.
        counts: [n], what each counts for, 1 on average; all alike if not given.
    """
    asking = query[row]
    logits = (asking.double() @ key[item].double()) - log_totals(asking, key).double()
    if counts is not None:
        logits += counts.double().log()
    return float(logits.logsumexp(0)) - math.log(len(row)), logits.softmax(0)
