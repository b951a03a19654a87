"""The base of models that are trained on triples and score by an inner product of a user's and an item's vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import scipy.sparse as sp
import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from recbole.utils import InputType
from torch import Tensor, nn

from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.data.rows import binary
from recbole_cadmr.layers.features import feature_table
from recbole_cadmr.layers.propagation import bipartite, neighbour_matrix, symmetric_normalised
from recbole_cadmr.layers.sparse import SparseMatrix
from recbole_cadmr.models.base import CachingRecommender
from recbole_cadmr.models.content import modality_shares
from recbole_cadmr.models.contract import ModelTraits


class MultimodalRecommender(CachingRecommender):
    """Users [n_users, d] and items [n_items, d] as vectors by :meth:`forward`; scores are their inner products.

    Settings that all have in common are declared in ``properties/shared/multimodal.yaml``.
    """

    input_type = InputType.PAIRWISE
    traits = ModelTraits(multimodal=True, scores_cold_items=True)
    shared_settings: ClassVar[tuple[str, ...]] = ("multimodal",)
    shared_by: Literal["rows"] | None = "rows"

    def __init__(self, config: Config, dataset: MultimodalDataset) -> None:
        super().__init__(config, dataset)
        self.size = config["embedding_size"]
        self.R = binary(dataset.inter_matrix(form="csr"))  # [n_users, n_items] of the train part, with padding
        self._dataset_modalities = dataset.modalities()
        self._nearest = dataset.nearest_items
        self.k = config["neighbours"]
        self.trainable_features = config["trainable_features"]

    # What a model is made of

    def user_embedding(self, size: int | None = None, std: float | None = None) -> nn.Embedding:
        """Free vectors of the users [n_users, size], Xavier uniform, or normal of ``std``; the padding user's is 0."""
        return _embedding(self.n_users, size or self.size, np.diff(self.R.indptr) > 0, std)

    def item_embedding(self, size: int | None = None, std: float | None = None) -> nn.Embedding:
        """Free vectors of the items [n_items, size] alike; 0 for items without train interactions.

        Nothing can be learned about these: a random vector would be noise beside what their content says.
        """
        trained = np.bincount(self.R.indices, minlength=self.n_items) > 0
        return _embedding(self.n_items, size or self.size, trained, std)

    def feature_tables(self) -> nn.ModuleDict:
        """A :func:`feature_table` of each modality, by name."""
        modalities = self._dataset_modalities.items()
        return nn.ModuleDict({name: feature_table(m, self.trainable_features) for name, m in modalities})

    def feature_maps(self) -> nn.ModuleDict:
        """For each modality a linear map of its features to vectors of ``embedding_size``."""
        return nn.ModuleDict({name: nn.Linear(m.width, self.size) for name, m in self._dataset_modalities.items()})

    def interaction_graph(self) -> SparseMatrix:
        """The graph of users and items [n_users + n_items, n_users + n_items], normalised as in LightGCN."""
        return SparseMatrix(symmetric_normalised(bipartite(self.R)), self.device)

    def neighbour_matrix(self, name: str, weighted: bool = False, k: int | None = None) -> sp.csr_matrix:
        """The item and its nearest others by one modality, ``k`` (``neighbours``) in all: [n_items, n_items]."""
        k = self.k if k is None else k
        return neighbour_matrix(self._nearest(name, k - 1), k, weighted)

    def modality_weights(self, setting: Mapping[str, float] | None) -> dict[str, float]:
        """Weights of the modalities by name; see :func:`modality_shares`."""
        return modality_shares(list(self._dataset_modalities), setting)

    # Scores

    def forward(self) -> tuple[Tensor, Tensor]:
        """Vectors of all users [n_users, d] and all items [n_items, d]."""
        raise NotImplementedError

    def triple(self, interaction: Interaction) -> tuple[Tensor, Tensor, Tensor]:
        """Ids [B] of users, items they have, and items they do not have."""
        return interaction[self.USER_ID], interaction[self.ITEM_ID], interaction[self.NEG_ITEM_ID]

    def rows_of_triple(self, interaction: Interaction) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The distinct rows [n] of users and items that a batch of triples needs, and the places of each in them."""
        user, *items = self.triple(interaction)
        rows, place = torch.cat([user, *(item + self.n_users for item in items)]).unique(return_inverse=True)
        return rows, place.split(len(user))

    def users_and_items(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Users and items of vectors [n_users + n_items, d]."""
        users, items = vectors.split([self.n_users, self.n_items])
        return users, items

    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Scores of the batch's users for all items [B, n_items]."""
        users, items = self._cached("vectors", self.forward)
        return users[interaction[self.USER_ID]] @ items.T

    def predict(self, interaction: Interaction) -> Tensor:
        """Scores [B] of pairs of user and item."""
        users, items = self._cached("vectors", self.forward)
        return (users[interaction[self.USER_ID]] * items[interaction[self.ITEM_ID]]).sum(1)


def _embedding(n: int, size: int, trained: np.ndarray, std: float | None) -> nn.Embedding:
    table = nn.Embedding(n, size)
    if std is None:
        nn.init.xavier_uniform_(table.weight)
    else:
        nn.init.normal_(table.weight, std=std)
    with torch.no_grad():
        table.weight[torch.from_numpy(~trained)] = 0.0
    return table
