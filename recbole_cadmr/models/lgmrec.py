"""LGMRec: Local and Global Graph Learning for Multimodal Recommendation."""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.layers.losses import bpr, sum_of_log_partitions
from recbole_cadmr.layers.propagation import mean_of_layers, row_normalised, smoothed
from recbole_cadmr.layers.shared_batch import gathered
from recbole_cadmr.layers.sparse import SparseMatrix
from recbole_cadmr.models.multimodal import MultimodalRecommender


class Hypergraph(NamedTuple):
    """A modality's hypergraph: how users [n_users, h] and items [n_items, h] depend on its h hyperedges, and these."""

    users: Tensor
    items: Tensor
    edges: Tensor  # [h, d]


class LGMRec(MultimodalRecommender):
    """Local graphs of behaviour and content, and global hyperedges that share what is learned among all items.

    Guo et al., AAAI 2024. With free vectors U, E of users and items, features F_m and the interactions R::

        behaviour       C   = mean of [U; E], A [U; E], ... A^L [U; E],  items' part C_I
        content         N_m = A^n [D^-1 R F_m W_m; F_m W_m]
        hyperedges      H_m = softmax((F_m V_m + g) / tau) of items, softmax((R F_m V_m + g) / tau) of users
        global          Y_m = H_m H_m,I' C_I                             (again with the items' part, a layer)
        vectors         C + sum_m unit(N_m) + alpha unit(sum_m Y_m)

    In training g is Gumbel noise and H_m has dropout; in evaluation there is neither, where the published code keeps
    the noise. The loss is BPR + ``contrast_weight`` x the contrast of the Y_m of two modalities, a sum (not a mean)
    over the batch's users and items against all users and items, + ``reg_weight`` x the lengths (not squared) of the
    batch's matrices by its size, both as published. Features are fixed.

    The contrast with all is most of the cost. Rows of Y_m are combinations of the few hyperedges, so that the products
    of all pairs need h multiplications each instead of d. Settings are declared in ``properties/model/LGMRec.yaml``.
    """

    def __init__(self, config: Config, dataset: MultimodalDataset) -> None:
        super().__init__(config, dataset)
        self.n_ui_layers, self.n_content_layers = config["n_ui_layers"], config["n_content_layers"]
        self.n_hyper_layers, self.hyperedge_dropout = config["n_hyper_layers"], config["hyperedge_dropout"]
        self.alpha, self.temperature = config["alpha"], config["temperature"]
        self.contrast_weight, self.reg_weight = config["contrast_weight"], config["reg_weight"]
        self.users, self.items = self.user_embedding(), self.item_embedding()
        self.features = self.feature_tables()
        self.W, self.V = (
            nn.ModuleDict({name: _linear(m.width, width) for name, m in dataset.modalities().items()})
            for width in (self.size, config["n_hyperedges"])
        )
        self._A = self.interaction_graph()
        self._sum, self._mean = (SparseMatrix(R, self.device) for R in (self.R, row_normalised(self.R)))

    def _content(self, name: str) -> Tensor:
        """N_m [n_users + n_items, d] of a modality."""
        X = self.W[name](self.features[name]())
        return smoothed(self._A, torch.cat([self._mean.matmul(X), X]), self.n_content_layers)

    def _hypergraph(self, name: str, C_items: Tensor) -> Hypergraph:
        """The hypergraph of a modality with the last layer's hyperedges."""
        logits = self.V[name](self.features[name]())
        H_users, H_items = (self._dependence(x) for x in (self._sum.matmul(logits), logits))
        edges = H_items.T @ C_items
        for _ in range(self.n_hyper_layers - 1):
            edges = H_items.T @ (H_items @ edges)
        return Hypergraph(H_users, H_items, edges)

    def _dependence(self, logits: Tensor) -> Tensor:
        if not self.training:
            return (logits / self.temperature).softmax(1)
        return F.dropout(F.gumbel_softmax(logits, self.temperature, dim=1), self.hyperedge_dropout)

    def _vectors(self, rows: Tensor | slice) -> tuple[Tensor, dict[str, Hypergraph]]:
        """``rows`` of the vectors [n_users + n_items, d], and the hypergraphs behind them."""
        C = mean_of_layers(self._A, torch.cat([self.users.weight, self.items.weight]), self.n_ui_layers)
        hypergraphs = {name: self._hypergraph(name, C[self.n_users :]) for name in self.features}
        Y = torch.stack([torch.cat([g.users, g.items])[rows] @ g.edges for g in hypergraphs.values()]).sum(0)
        vectors = C[rows] + self.alpha * F.normalize(Y)
        for name in self.features:
            vectors = vectors + F.normalize(self._content(name)[rows])
        return vectors, hypergraphs

    def forward(self) -> tuple[Tensor, Tensor]:
        """Vectors of users and items: behaviour, content and global parts added up."""
        vectors, _ = self._vectors(slice(None))
        return self.users_and_items(vectors)

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """BPR, the contrast of hypergraphs, and the lengths of the batch's vectors."""
        user, positive, _ = self.triple(interaction)
        rows, places = self.rows_of_triple(interaction)
        vectors, hypergraphs = self._vectors(rows)
        u, i, j = (vectors[place] for place in places)
        pairs = combinations((hypergraphs[name] for name in sorted(hypergraphs)), 2)  # image among text, as published
        apart = sum((self._contrast(*pair, user, positive) for pair in pairs), u.new_zeros(()))
        whole = [gathered(vectors) for vectors in (u, i, j)]  # neither term is a mean over the batch
        size, lengths = len(whole[0]), torch.stack([vectors.norm() for vectors in whole]).sum()
        regularisation = self.contrast_weight * size / len(u) * apart + self.reg_weight / size * lengths
        return bpr(u, i, j) + regularisation

    def _contrast(self, one: Hypergraph, other: Hypergraph, user: Tensor, item: Tensor) -> Tensor:
        """Sum of the cross-entropies of telling a user's (an item's) Y_m in the other modality among all of them."""
        # cos(h L, h' L') = (h / |h L|) (L L'') (h' / |h' L'|)' with L'' the transposed L'
        G = one.edges @ other.edges.T / self.temperature
        total = G.new_zeros(())
        for H, H_other, rows in ((one.users, other.users, user), (one.items, other.items, item)):
            a = _by_length(H[rows], one.edges) @ G
            c = _by_length(H_other, other.edges)
            total = total + sum_of_log_partitions(a, c[1:]) - (a * c[rows]).sum()  # row 0 is the padding
        return total


def _by_length(H: Tensor, edges: Tensor) -> Tensor:
    """Rows h of H divided by the length of ``h edges``."""
    return H / (H @ edges).norm(dim=1, keepdim=True).clamp(min=1e-12)


def _linear(width: int, size: int) -> nn.Linear:
    layer = nn.Linear(width, size, bias=False)
    nn.init.xavier_uniform_(layer.weight)
    return layer
