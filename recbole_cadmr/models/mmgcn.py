"""MMGCN: Multi-modal Graph Convolution Network for Personalized Recommendation of Micro-video."""

from __future__ import annotations

import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.layers.features import Table
from recbole_cadmr.layers.losses import bpr
from recbole_cadmr.layers.propagation import bipartite, row_normalised
from recbole_cadmr.layers.sparse import SparseMatrix
from recbole_cadmr.models.multimodal import MultimodalRecommender


class MMGCN(MultimodalRecommender):
    """A graph network of users and items for each modality; their outputs are averaged (Wei et al., MM 2019).

    The nodes of a modality m are users with a free preference and items with their features. A layer is

        h     = LeakyReLU(mean over the neighbours j of W_1 x_j)           aggregation
        x_hat = LeakyReLU(W_2 x) + id                                      combination, with a vector that all m share
        x     = LeakyReLU(W_3 [h, x_hat])  or  LeakyReLU(W_3 h + x_hat)    with ``concatenate``, and without

    In the published code the preferences and id vectors are plain tensors that no optimiser sees, and the word 'False'
    that chose between the last two acts as true; its figures are those of random, untrained vectors and of
    concatenation. The preset ``published`` is that form, the default what was meant. Both take three layers, the rows
    that enter the first one normalised, an average where the paper has a sum, and a map of the images' features to 256
    (``latent_sizes``). The L2 term takes the preferences of all modalities, there of the images alone.

    Expensive are the first layer's products of all nodes by matrices of a modality's own width. Settings are declared
    in ``properties/model/MMGCN.yaml``.
    """

    def __init__(self, config: Config, dataset: MultimodalDataset) -> None:
        super().__init__(config, dataset)
        self.reg_weight = config["reg_weight"]
        self.features = self.feature_tables()
        self._A = SparseMatrix(row_normalised(bipartite(self.R)), self.device)
        latent_sizes, trained = config["latent_sizes"] or {}, config["train_embeddings"]
        self.ids = Table(torch.cat([self.user_embedding().weight, self.item_embedding().weight]).detach(), trained)
        self.maps, self.preferences, self.networks = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        for name, modality in dataset.modalities().items():
            width = latent_sizes.get(name, modality.width)
            self.maps[name] = nn.Linear(modality.width, width) if name in latent_sizes else nn.Identity()
            self.preferences[name] = Table(self.user_embedding(width).weight.detach(), trained)
            self.networks[name] = _Network(width, self.size, config["n_layers"], config["concatenate"])

    def forward(self) -> tuple[Tensor, Tensor]:
        """Vectors of users and items, the mean over the modalities."""
        ids, of_modality = self.ids(), []
        for name, network in self.networks.items():
            features = self.maps[name](self.features[name]())
            x = F.normalize(torch.cat([self.preferences[name](), features]))  # [U + I, width]
            of_modality.append(network(self._A, x, ids))
        users, items = torch.stack(of_modality).mean(0).split([self.n_users, self.n_items])
        return users, items

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """BPR of the triples, and the mean squares of their id vectors and of all preferences."""
        user, positive, negative = self.triple(interaction)
        users, items = self.forward()
        user_ids, item_ids = self.ids().square().split([self.n_users, self.n_items])
        of_ids = user_ids[user].mean() + (item_ids[positive].mean() + item_ids[negative].mean()) / 2
        of_preferences = torch.stack([vectors().square().mean() for vectors in self.preferences.values()]).sum()
        return bpr(users[user], items[positive], items[negative]) + self.reg_weight * (of_ids + of_preferences)


class _Network(nn.Module):
    """The layers of one modality, from vectors [U + I, width] to [U + I, size]."""

    def __init__(self, width: int, size: int, n_layers: int, concatenate: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(n_in, size, concatenate) for n_in in [width] + (n_layers - 1) * [size])

    def forward(self, A: SparseMatrix, x: Tensor, ids: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(A, x, ids)
        return x


class _Layer(nn.Module):
    """One layer of a modality's network, from vectors [U + I, n_in] to [U + I, n_out]."""

    def __init__(self, n_in: int, n_out: int, concatenate: bool) -> None:
        super().__init__()
        self.concatenate = concatenate
        self.W_1 = nn.Linear(n_in, n_in, bias=False)
        self.W_2 = nn.Linear(n_in, n_out)
        self.W_3 = nn.Linear(n_in + n_out if concatenate else n_in, n_out)
        for linear in (self.W_1, self.W_2, self.W_3):
            nn.init.xavier_normal_(linear.weight)

    def forward(self, A: SparseMatrix, x: Tensor, ids: Tensor) -> Tensor:
        h = F.leaky_relu(A.matmul(self.W_1(x)))  # [U + I, n_in]
        x_hat = F.leaky_relu(self.W_2(x)) + ids  # [U + I, n_out]
        if self.concatenate:
            return F.leaky_relu(self.W_3(torch.cat([h, x_hat], 1)))
        return F.leaky_relu(self.W_3(h) + x_hat)
