"""Scores as inner products of the users' and the items' vectors, without a model and its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_cadmr.data.modality import Modality
from recbole_cadmr.data.rows import RowBatch
from recbole_cadmr.errors import UserError
from recbole_cadmr.layers.score_paths import ScorePath
from recbole_cadmr.recommender.engine import Engine

if TYPE_CHECKING:
    from recbole_cadmr.data.sequences import Sequences  # RecBole comes with it


@dataclass(frozen=True)
class MappedContent:
    """What the last numbers of the items' vectors were made of: a linear map of their features, and a bias.

    Attributes:
        map: [d, F], from the features of all modalities side by side.
        modalities: features of all items; one without a modality has the mean of those with.
        n_trained: items whose features were trained and are not known; 0 if none were.
    """

    map: Tensor
    modalities: Mapping[str, Modality]
    n_trained: int

    def fits(self, vectors: Tensor) -> bool:
        """Whether vectors [n, D] can end with it."""
        size, n_features = self.map.shape
        return 0 < size < vectors.shape[1] and n_features == sum(each.width for each in self.modalities.values())

    def of_modalities(self, of_user: Tensor, item: int) -> dict[str, float]:
        """What the features of an item in each modality add to the score of a user's vector [d]; {} if not known."""
        if item < self.n_trained:
            return {}
        maps = self.map.double().split([modality.width for modality in self.modalities.values()], 1)
        features = (
            modality.features[item] if modality.present[item] else mean_features(modality, len(modality.features))
            for modality in self.modalities.values()
        )
        return {name: float(of_user @ (E @ f.double())) for name, E, f in zip(self.modalities, maps, features)}


def mean_features(modality: Modality, n_items: int) -> Tensor:
    """The features [width] of the items among the first ``n_items`` that have some, on average."""
    features = modality.features[:n_items][modality.present[:n_items]]
    return features.mean(0) if len(features) else torch.zeros(modality.width)


class VectorsEngine(Engine):
    """Scores of the users that a model was trained on.

    Args:
        name: of the model.
        user_vectors: float32 [n_users, d].
        item_vectors: float32 [n_items, d].
        item_bias: float32 [n_items], what an item has in all scores; None for nothing.
        content: what the items' vectors end with; None if that is not known, and then nothing is explained.
    """

    knows_users = True

    def __init__(
        self,
        name: str,
        user_vectors: Tensor,
        item_vectors: Tensor,
        item_bias: Tensor | None = None,
        *,
        content: MappedContent | None = None,
    ) -> None:
        self.name, self.n_items = name, len(item_vectors)
        self.vectors_of_users, self.vectors_of_items, self.item_bias = user_vectors, item_vectors, item_bias
        self.content, self.explains = content, content is not None

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

    @torch.no_grad()
    def score_paths(
        self, chosen: Tensor, item: int, user: int | None, content_weight: float = 1.0, counts: Tensor | None = None
    ) -> list[ScorePath]:
        """The inner products by the free vectors and by the content of each modality; of no chosen item in particular.

        Features may be held in half precision: what they lack by that is counted for the content of any item, so that
        the sum stays exact.
        """
        if self.content is None or user is None:
            raise UserError(
                f"an export of {self.name} may hold no more than vectors, as this one does, and their products do not "
                f"fall into parts that can be named; a model that explains its scores does so from its checkpoint"
            )
        size = len(self.content.map)
        of_user, of_item = self.vectors_of_users[user].double(), self.vectors_of_items[item].double()
        whole = float(of_user[-size:] @ of_item[-size:])
        by_modality = self.content.of_modalities(of_user[-size:], item)
        parts = [
            ("free vectors", "", float(of_user[:-size] @ of_item[:-size])),
            *(("content", name, value) for name, value in by_modality.items()),
            ("content of any item" if by_modality else "content", "", whole - sum(by_modality.values())),
        ]
        return [ScorePath(path, name, np.array([value]), by_item=False) for path, name, value in parts]

    def item_vectors(self) -> Tensor:
        """The vectors of the items; zeros of those that are never recommended."""
        vectors = F.normalize(self.vectors_of_items, dim=1)
        if self.item_bias is not None:
            vectors[self.item_bias == -torch.inf] = 0.0
        return vectors
