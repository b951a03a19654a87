"""Losses that several models share and RecBole does not have."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def bpr(users: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """Mean of ``-log sigmoid(u.i - u.j)`` over triples of vectors [B, d] (Rendle et al. 2009)."""
    return -F.logsigmoid((users * positive).sum(1) - (users * negative).sum(1)).mean()


def info_nce(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """Mean cross-entropy of telling each row's counterpart in ``other`` [B, d] among all of its rows, by cosine."""
    logits = F.normalize(one, dim=1) @ F.normalize(other, dim=1).T / temperature
    return (logits.logsumexp(1) - logits.diagonal()).mean()


def mean_square(*vectors: Tensor) -> Tensor:
    """Half the squared lengths of the rows of all ``vectors`` [B, d], a mean over the B rows: the L2 term of BPR."""
    return sum((v.square().sum() / len(v) for v in vectors), vectors[0].new_zeros(())) / 2
