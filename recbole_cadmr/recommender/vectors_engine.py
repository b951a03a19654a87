"""Scores as inner products of the users' and the items' vectors, without a model and its data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_cadmr.data.rows import RowBatch
from recbole_cadmr.errors import UserError
from recbole_cadmr.recommender.engine import Engine

if TYPE_CHECKING:
    from recbole_cadmr.data.sequences import Sequences  # RecBole comes with it


class VectorsEngine(Engine):
    """Scores of the users that a model was trained on.

    Args:
        name: of the model.
        user_vectors: float32 [n_users, d].
        item_vectors: float32 [n_items, d].
        item_bias: float32 [n_items], what an item has in all scores; None for nothing.
    """

    knows_users = True

    def __init__(self, name: str, user_vectors: Tensor, item_vectors: Tensor, item_bias: Tensor | None = None) -> None:
        self.name, self.n_items = name, len(item_vectors)
        self.vectors_of_users, self.vectors_of_items, self.item_bias = user_vectors, item_vectors, item_bias

    def scores(self, rows: RowBatch, content_weight: float = 1.0) -> Tensor:
        """None: the vectors of other people are not known."""
        raise UserError(f"{self.name} knows only the users it was trained on; it takes no `history`")

    @torch.no_grad()
    def scores_of_users(self, users: Tensor, sequences: Sequences | None = None) -> Tensor:
        """Scores of users."""
        of_users = self.vectors_of_users[users]
        if self.item_bias is None:
            return of_users @ self.vectors_of_items.T
        return torch.addmm(self.item_bias, of_users, self.vectors_of_items.T)

    def item_vectors(self) -> Tensor:
        """The vectors of the items; zeros of those that are never recommended."""
        vectors = F.normalize(self.vectors_of_items, dim=1)
        if self.item_bias is not None:
            vectors[self.item_bias == -torch.inf] = 0.0
        return vectors
