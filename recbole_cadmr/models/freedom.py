"""FREEDOM: A Tale of Two Graphs: Freezing and Denoising Graph Structures for Multimodal Recommendation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.sparse as sp
import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor
from torch.nn import functional as F

from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.layers.losses import bpr
from recbole_cadmr.layers.propagation import bipartite, mean_of_layers, smoothed, symmetric_normalised
from recbole_cadmr.layers.sparse import SparseMatrix
from recbole_cadmr.models.multimodal import MultimodalRecommender


class FREEDOM(MultimodalRecommender):
    """LightGCN on a thinned graph, beside a graph of items by content that is never learned (Zhou and Shen, MM 2023).

    - The item graph ``S = sum_m alpha_m D^-1/2 S_m D^-1/2`` of unweighted nearest neighbours is built once. As in the
      published code, an item counts among its own neighbours, and D are the row sums.
    - Before every epoch, edges of users and items are drawn without replacement, with probabilities proportional to
      ``1 / sqrt(d_u d_i)``, and normalised anew. Scores are computed on all edges.
    - An item is the mean of its LightGCN layers plus its row of ``S^L E``.
    - The loss is BPR, plus ``reg_weight`` times BPR of the same users with the projected features of each modality.

    Expensive is the training of the features, which the published figures include: the optimiser passes over all of
    them in every step. ``trainable_features: False`` spares that. Settings are declared in
    ``properties/model/FREEDOM.yaml``.
    """

    traits = replace(MultimodalRecommender.traits, reads_item_graphs=True)

    def __init__(self, config: Config, dataset: MultimodalDataset) -> None:
        super().__init__(config, dataset)
        self.n_layers, self.n_item_layers = config["n_layers"], config["n_item_layers"]
        self.edge_dropout, self.reg_weight = config["edge_dropout"], config["reg_weight"]
        self.users, self.items = self.user_embedding(), self.item_embedding()
        self.features, self.projections = self.feature_tables(), self.feature_maps()

        S = sp.csr_matrix((self.n_items, self.n_items), dtype=np.float32)
        for name, alpha in self.modality_weights(config["modality_weights"]).items():
            S = S + alpha * symmetric_normalised(self.neighbour_matrix(name))
        self._S = SparseMatrix(S, self.device)
        edges = symmetric_normalised(bipartite(self.R))
        self._A = self._A_kept = SparseMatrix(edges, self.device)
        edges = edges[: self.n_users, self.n_users :].tocoo()
        self._edges, self._edge_weight = (edges.row, edges.col), torch.from_numpy(edges.data)  # 1 / sqrt(d_u d_i)

    def before_epoch(self) -> None:
        """Draw the edges of an epoch."""
        if self.edge_dropout:
            n_kept = max(int(len(self._edge_weight) * (1 - self.edge_dropout)), 1)
            kept = torch.multinomial(self._edge_weight, n_kept).numpy()
            user, item = (index[kept] for index in self._edges)
            R = sp.csr_matrix((np.ones(n_kept), (user, item)), self.R.shape)
            self._A_kept = SparseMatrix(symmetric_normalised(bipartite(R)), self.device)

    def forward(self) -> tuple[Tensor, Tensor]:
        """Vectors of users and items on the graph of all edges."""
        return self._propagated(self._A)

    def _propagated(self, A: SparseMatrix) -> tuple[Tensor, Tensor]:
        E = self.items.weight
        h = smoothed(self._S, E, self.n_item_layers)
        users, items = self.users_and_items(mean_of_layers(A, torch.cat([self.users.weight, E]), self.n_layers))
        return users, items + h

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """BPR of the triples on the epoch's edges, and of their users with the items' features."""
        user, positive, negative = self.triple(interaction)
        users, items = self._propagated(self._A_kept)
        u = users[user]
        loss = bpr(u, items[positive], items[negative])
        if self.reg_weight:
            both = torch.cat([positive, negative])
            for name, f in self.features.items():
                i, j = self.projections[name](F.embedding(both, f())).chunk(2)
                loss = loss + self.reg_weight * bpr(u, i, j)
        return loss
