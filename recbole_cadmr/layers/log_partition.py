"""Denominators of a contrast with every row of a table, without a matrix of all similarities."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_LOGITS = 2**19  # held at once; a block fits in a cache


def sum_of_log_partitions(A: Tensor, C: Tensor) -> Tensor:
    """``sum_i log sum_j exp(a_i . c_j)`` over the rows of A [B, d] and C [n, d].

    Expensive: 2 B n multiplications by d and B n exponentials. The gradient is computed on the way, in the same blocks
    of rows, so that memory does not grow with B n.
    """
    return _SumOfLogPartitions.apply(A, C)


class _SumOfLogPartitions(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, A: Tensor, C: Tensor) -> Tensor:
        total, of_A, of_C = A.new_zeros(()), torch.empty_like(A), torch.zeros_like(C)
        extended = torch.cat([C, C.new_ones(len(C), 1)], 1)  # its last column sums rows of weights up
        step = max(_LOGITS // max(len(C), 1), 1)
        for start in range(0, len(A), step):
            a = A[start : start + step]
            weight = a @ C.T
            highest = weight.amax(1, keepdim=True)
            product = weight.sub_(highest).exp_() @ extended
            partition = product[:, -1:]
            total += (highest + partition.log()).sum()
            of_A[start : start + step] = product[:, :-1] / partition
            of_C.addmm_(weight.T, a / partition)
        ctx.save_for_backward(of_A, of_C)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        of_A, of_C = ctx.saved_tensors
        return gradients[0] * of_A, gradients[0] * of_C
