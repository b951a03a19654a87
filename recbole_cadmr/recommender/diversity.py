"""Lists that repeat themselves less: maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998)."""

from __future__ import annotations

import torch
from torch import Tensor

POOL = 4  # items that a list is chosen from, for each that it holds
_NUMBERS = 2**19  # of the vectors that are looked at together, which stay in the processor's cache


def diversified(scores: Tensor, items: Tensor, vectors: Tensor, k: int, diversity: float) -> tuple[Tensor, Tensor]:
    """The ``k`` items of each list chosen one after the other, and their scores: [B, k] each.

    The next is the one of largest ``(1 - diversity) relevance - diversity similarity``: relevance is the score between
    the lowest (0) and the highest (1) of the pool, similarity the largest cosine with an item chosen already.

    Args:
        scores, items: pools [B, P], best first, -inf where there are no more.
        vectors: [n_items, d], of length 1, or 0 of items that are like no other.
        diversity: from 0 to below 1.
    """
    k = min(k, scores.shape[1])
    step = max(_NUMBERS // (scores.shape[1] * vectors.shape[1]), 1)
    blocks = zip(scores.split(step), items.split(step))
    chosen = torch.cat([_chosen(values, vectors[numbers], k, diversity) for values, numbers in blocks])
    return scores.gather(1, chosen), items.gather(1, chosen)


def _chosen(scores: Tensor, vectors: Tensor, k: int, diversity: float) -> Tensor:
    """The places [B, k] of the items chosen out of pools [B, P] of vectors [B, P, d]."""
    there = scores > -torch.inf
    lowest = scores.masked_fill(~there, torch.inf).amin(1, keepdim=True)
    relevance = (scores - lowest) / (scores[:, :1] - lowest).clamp(min=torch.finfo(scores.dtype).tiny)
    # Behind what is there comes what is not, behind that what is chosen already.
    relevance = relevance.masked_fill(~there, -1e6) * (1 - diversity)
    similarity = torch.full_like(scores, -1.0)
    chosen = torch.empty(len(scores), k, dtype=torch.long)
    rows = torch.arange(len(scores))
    chosen[:, 0] = 0
    for place in range(1, k):
        last = chosen[:, place - 1]
        relevance[rows, last] = -torch.inf
        of_last = torch.bmm(vectors, vectors[rows, last][:, :, None]).squeeze(2)
        torch.maximum(similarity, of_last, out=similarity)
        chosen[:, place] = (relevance - diversity * similarity).argmax(1)
    return chosen
