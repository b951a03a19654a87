"""Whether a model's scores are inner products of vectors that do not change, and which vectors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from recbole_cadmr.recommender.model_engine import ModelEngine
from recbole_cadmr.recommender.vectors_engine import VectorsEngine

_EPS = 1e-4  # of the largest score, by which sums in another order may differ


class _LastProduct(TorchDispatchMode):
    """Remembers the matrix products of a computation: the result's storage, its factors and what is added."""

    def __init__(self) -> None:
        super().__init__()
        self.products: list[tuple[Tensor, Tensor, Tensor, Tensor | None]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if function is torch.ops.aten.mm.default:
            self.products.append((result, args[0], args[1], None))
        elif function is torch.ops.aten.addmm.default and not kwargs:
            self.products.append((result, args[1], args[2], args[0]))
        return result


def vectors_of(engine: ModelEngine) -> VectorsEngine | None:
    """The same scores by vectors of users and items; None if they are no such inner products.

    The scores of a block of users are traced: they have to be what a product of two matrices gave, of which the one is
    of the items and the same for all blocks. Then all of them are compared with the model's.
    """
    if engine.sequential:  # the vector of a user follows from a history
        return None
    n_users = engine.n_users
    of_users: list[Tensor] = []
    items = bias = None
    for block in torch.arange(n_users).split(engine.users_at_once):
        with torch.no_grad(), _LastProduct() as trace:
            scores = engine.raw_scores(block)
        if scores is None:
            return None
        found = [p for p in trace.products if p[0].data_ptr() == scores.data_ptr() and p[0].shape == scores.shape]
        if not found:
            return None
        _, left, right, added = found[-1]
        if items is None:
            items, bias = right.T.clone(), None if added is None else added.clone()
            if bias is not None and bias.shape != (engine.n_items,):
                return None
        if not torch.equal(right.T, items):
            return None
        of_users.append(left.clone())
        mine = of_users[-1] @ items.T if bias is None else torch.addmm(bias, of_users[-1], items.T)
        if not torch.allclose(mine, scores, rtol=_EPS, atol=_EPS * float(scores.abs().max())):
            return None
    if items is None:
        return None
    if engine.n_scored < engine.n_items:  # never recommended, whatever vectors they have
        bias = torch.zeros(engine.n_items) if bias is None else bias.clone()
        bias[engine.n_scored :] = -torch.inf
    parts = (torch.cat(of_users), items) if bias is None else (torch.cat(of_users), items, bias)
    return VectorsEngine(engine.name, *(part.cpu().float().contiguous() for part in parts))
