"""Losses that several models share and RecBole does not have."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_cadmr.layers.shared_batch import gathered, places

_LOGITS = 2**20  # held at once; a block fits in a cache
_ROWS = 8  # of a block at least: with fewer, products are slow


def bpr(users: Tensor, positive: Tensor, negative: Tensor, weight: Tensor | float = 1.0) -> Tensor:
    """Mean of ``-log sigmoid(u.i - u.j)`` over triples of vectors [B, d] (Rendle et al. 2009), times weights [B]."""
    return -(weight * F.logsigmoid((users * positive).sum(1) - (users * negative).sum(1))).mean()


def info_nce(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """Mean cross-entropy of telling each row's counterpart in ``other`` [B, d] among all of its rows, by cosine."""
    return in_batch_cross_entropy(F.normalize(one, dim=1), F.normalize(other, dim=1) / temperature)


def in_batch_cross_entropy(one: Tensor, other: Tensor) -> Tensor:
    """Mean cross-entropy of telling each row's counterpart in ``other`` [B, d] among its rows, by inner product.

    Of a batch that processes share, the rows of ``other`` are those of all.
    """
    return F.cross_entropy(one @ gathered(other).T, places(len(one), one.device))


def info_nce_of_views(one: Tensor, other: Tensor, temperature: float, rows: Tensor) -> Tensor:
    """Mean cross-entropy of telling a row's counterpart in ``other`` [n, d] among all rows of both views but itself.

    By cosine, over the given ``rows`` [B] of ``one`` [n, d] (GRACE, Zhu et al. 2020, equation 1). Expensive: 2 B n
    products of vectors.
    """
    one, other = F.normalize(one, dim=1), F.normalize(other, dim=1)
    anchors = one[rows] / temperature
    partitions = sum_of_log_partitions(anchors, torch.cat([one, other]), left_out=rows)
    return (partitions - (anchors * other[rows]).sum()) / len(rows)


def mean_square(*vectors: Tensor) -> Tensor:
    """Half the squared lengths of the rows of all ``vectors`` [B, d], a mean over the B rows: the L2 term of BPR."""
    return sum((v.square().sum() / len(v) for v in vectors), vectors[0].new_zeros(())) / 2


def sum_of_log_partitions(A: Tensor, C: Tensor, left_out: Tensor | None = None) -> Tensor:
    """``sum_i log sum_j exp(a_i . c_j)`` over the rows of A [B, d] and C [n, d].

    With ``left_out`` [B], the sum of each row of A leaves that row of C out.

    Expensive: 2 B n multiplications by d and B n exponentials. The gradient is computed on the way, in the same blocks
    of rows, so that memory does not grow with B n.
    """
    return _SumOfLogPartitions.apply(A, C, left_out)


class _SumOfLogPartitions(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, A: Tensor, C: Tensor, left_out: Tensor | None) -> Tensor:
        total, of_A, of_C = A.new_zeros(()), torch.empty_like(A), torch.zeros_like(C)
        extended = torch.cat([C, C.new_ones(len(C), 1)], 1)  # its last column sums rows of weights up
        step = max(_LOGITS // max(len(C), 1), _ROWS)
        for start in range(0, len(A), step):
            a = A[start : start + step]
            weight = a @ C.T
            if left_out is not None:
                weight.scatter_(1, left_out[start : start + step, None], -torch.inf)
            highest = weight.amax(1, keepdim=True)
            product = weight.sub_(highest).exp_() @ extended
            partition = product[:, -1:]
            total += (highest + partition.log()).sum()
            of_A[start : start + step] = product[:, :-1] / partition
            of_C.addmm_(weight.T, a / partition)
        ctx.save_for_backward(of_A, of_C)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        of_A, of_C = ctx.saved_tensors
        return gradients[0] * of_A, gradients[0] * of_C, None
