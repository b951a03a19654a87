"""REARM: Refining Contrastive Learning and Homography Relations for Multi-Modal Recommendation."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import scipy.sparse as sp
import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.data.graph import cached_nearest_items
from recbole_cadmr.data.modality import Modality
from recbole_cadmr.layers.features import Table
from recbole_cadmr.layers.losses import bpr, info_nce
from recbole_cadmr.layers.propagation import (
    co_occurrence,
    counts_normalised,
    mean_of_layers,
    neighbour_matrix,
    row_normalised,
    smoothed,
)
from recbole_cadmr.layers.sparse import SparseMatrix
from recbole_cadmr.models.multimodal import MultimodalRecommender


class EntryAttention(nn.Module):
    """Attention over the entries of a vector, each a token of one number."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(1, 1, dropout, batch_first=True)

    def forward(self, query: Tensor, X: Tensor) -> Tensor:
        """What the entries of ``query`` [n, d] find among those of X [n, d]: [n, d]."""
        found, _ = self.attention(query[..., None], X[..., None], X[..., None], need_weights=False)
        return found.squeeze(2)


class MetaNetwork(nn.Module):
    """A linear map of rank r for every row, made of its content and applied to its ids.

    With K a fixed random projection of the content, and ``b`` the mean over all rows::

        W1 = unit(MLP_1(K)) [n, d, r],   W2 = unit(MLP_2(K)) [n, r, d]
        shared = (ids softmax_d(W1 + b1)) softmax_r(W2 + b2)
    """

    def __init__(self, n_modalities: int, size: int, rank: int) -> None:
        super().__init__()
        self.size, self.rank = size, rank
        self.K = nn.Linear(n_modalities * size, size).requires_grad_(False)
        self.mlp1, self.mlp2 = _mlp(size, size * rank), _mlp(size, size * rank)

    def forward(self, ids: Tensor, content: Tensor) -> Tensor:
        """What the content shares with ids [n, d], from content [n, M d]; row 0 is padding: [n, d]."""
        K = self.K(content).detach()
        W1 = F.normalize(self.mlp1(K)).view(-1, self.size, self.rank)
        W2 = F.normalize(self.mlp2(K)).view(-1, self.rank, self.size)
        inner = (ids[:, :, None] * (W1 + W1[1:].mean(0)).softmax(1)).sum(1)  # [n, r]
        return (inner[:, :, None] * (W2 + W2[1:].mean(0)).softmax(1)).sum(1)


class REARM(MultimodalRecommender):
    """Content by graphs of users and of items, and what modalities share told from what each has alone.

    Ma et al., MM 2025. With free vectors U, E, features F_m and interests P_m = D^-1 R F_m of users, which are trained
    as features are::

        graphs          W_I, W_U   a share of co-occurrence, a softmax of counts; the rest cosines of F_m, of P_m
        along them      [e, x_1, ..., x_M] = unit(W^n [E, T_1 F_1, ..., T_M F_M]), users alike
        items only      x_m <- f(x_m + attention(x_m, x_m)),  then x_m <- f(x_m + attention(mean of other x, x_m))
        by interactions C = mean of layers of e,  N_m = mean of layers of x_m      over A, users' x_m through PReLU
        what is shared  Y = MetaNetwork(C, [N_1, ..., N_M])                        of users and of items
        vectors         [C + PReLU(N_1), ..., C + PReLU(N_M), C + PReLU(Y)] side by side

    with f the PReLU of a layer norm; attention is over the d entries of a vector. The loss is BPR + ``contrast_weight``
    InfoNCE between the N_m of the batch's users, and items, + ``orthogonal_weight`` times the mean squares of the
    products of N_m and N_m' column by column, of centred unit rows.

    As in the published code, the meta network's first projection is never trained, and the regularisation is the
    optimiser's weight decay. Expensive: attention takes d x d numbers an item, twice a modality, in every step; and
    features and interests are trained. Settings are declared in ``properties/model/REARM.yaml``.
    """

    traits = replace(MultimodalRecommender.traits, reads_item_graphs=True)
    shared_by = None  # its contrast is between the distinct users and items of a batch

    def __init__(self, config: Config, dataset: MultimodalDataset) -> None:
        super().__init__(config, dataset)
        self.n_ui_layers = config["n_ui_layers"]
        self.n_user_layers, self.n_item_layers = config["n_user_layers"], config["n_item_layers"]
        self.contrast_weight, self.temperature = config["contrast_weight"], config["temperature"]
        self.orthogonal_weight = config["orthogonal_weight"]
        self.users, self.items = self.user_embedding(std=0.1), self.item_embedding(std=0.1)
        self.features = self.feature_tables()
        mean = row_normalised(self.R)
        interests = {name: torch.from_numpy(mean @ f().detach().numpy()) for name, f in self.features.items()}
        self.interests = nn.ModuleDict({n: Table(P, self.trainable_features, kept=False) for n, P in interests.items()})
        self.T_items, self.T_users = self.feature_maps(), self.feature_maps()
        for layer in (*self.T_items.modules(), *self.T_users.modules()):
            if isinstance(layer, nn.Linear):
                nn.init.xavier_normal_(layer.weight)
        self.self_attention = nn.ModuleDict({name: EntryAttention(config["self_dropout"]) for name in self.features})
        crossed = self.features if len(self.features) > 1 else ()
        self.cross_attention = nn.ModuleDict({name: EntryAttention(config["cross_dropout"]) for name in crossed})
        self.norm, self.prelu = nn.LayerNorm(self.size), nn.PReLU()
        n_modalities, rank = len(self.features), config["rank"]
        self.meta_users, self.meta_items = (MetaNetwork(n_modalities, self.size, rank) for _ in range(2))
        self._A = self.interaction_graph()
        self._W_items = self._graph(
            self.R.T.tocsr(),
            self.k,
            config["item_co_occurrence"],
            config["item_modality_weights"],
            {name: self.neighbour_matrix(name, weighted=True) for name in self.features},
        )
        k, known = config["user_neighbours"], torch.from_numpy(self.R.getnnz(1) > 0)
        by_interest = {
            name: neighbour_matrix(cached_nearest_items(Modality(name, P, known), k - 1), k, weighted=True)
            for name, P in interests.items()
        }
        self._W_users = self._graph(
            self.R, k, config["user_co_occurrence"], config["user_modality_weights"], by_interest
        )

    def _graph(
        self,
        R: sp.csr_matrix,
        k: int,
        share: float,
        weights: dict[str, float] | None,
        by_modality: dict[str, sp.csr_matrix],
    ) -> SparseMatrix:
        """W of the rows of R: ``share`` of it co-occurrence, the rest by modalities."""
        W = share * co_occurrence(R, k)
        for name, weight in self.modality_weights(weights).items():
            W = W + (1 - share) * weight * counts_normalised(by_modality[name])
        return SparseMatrix(W.tocsr(), self.device)

    def _along(self, W: SparseMatrix, ids: Tensor, content: list[Tensor], n_layers: int) -> tuple[Tensor, ...]:
        """Ids and content of users or of items [n, d] each, after their own graph; together of length 1."""
        return F.normalize(smoothed(W, torch.cat([ids, *content], 1), n_layers)).split(self.size, 1)

    def _attended(self, content: tuple[Tensor, ...]) -> list[Tensor]:
        """Content of items by modality [n_items, d], after attention to itself and to the other modalities."""
        x = [self._settled(x_m, attention(x_m, x_m)) for x_m, attention in zip(content, self.self_attention.values())]
        if not self.cross_attention:
            return x
        total, n_others = torch.stack(x).sum(0), len(x) - 1
        found = [cross((total - x_m) / n_others, x_m) for x_m, cross in zip(x, self.cross_attention.values())]
        return [self._settled(x_m, found_m) for x_m, found_m in zip(x, found)]

    def _settled(self, x: Tensor, found: Tensor) -> Tensor:
        return self.prelu(self.norm(x + found))

    def _views(self) -> tuple[Tensor, Tensor]:
        """C [n_users + n_items, d] and the N_m side by side [n_users + n_items, M d]."""
        by_items = [self.T_items[name](f()) for name, f in self.features.items()]
        by_users = [self.T_users[name](P()) for name, P in self.interests.items()]
        item_ids, *by_items = self._along(self._W_items, self.items.weight, by_items, self.n_item_layers)
        user_ids, *by_users = self._along(self._W_users, self.users.weight, by_users, self.n_user_layers)
        content = torch.cat([self.prelu(torch.cat(by_users, 1)), torch.cat(self._attended(tuple(by_items)), 1)])
        both = torch.cat([torch.cat([user_ids, item_ids]), content], 1)
        C, N = mean_of_layers(self._A, both, self.n_ui_layers).tensor_split([self.size], 1)
        return C, N

    def _vectors(self, C: Tensor, N: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors of users and items, ``embedding_size`` long for each modality and for what is shared."""
        networks = zip((self.meta_users, self.meta_items), self.users_and_items(C), self.users_and_items(N))
        Y = torch.cat([network(ids, content) for network, ids, content in networks])
        parts = [C + self.prelu(part) for part in (*N.split(self.size, 1), Y)]
        return self.users_and_items(torch.cat(parts, 1))

    def forward(self) -> tuple[Tensor, Tensor]:
        """Vectors of users and items."""
        return self._vectors(*self._views())

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """BPR, the contrast of the modalities, and how far they are from orthogonal."""
        user, positive, negative = self.triple(interaction)
        C, N = self._views()
        users, items = self._vectors(C, N)
        loss = bpr(users[user], items[positive], items[negative])
        parts = dict(zip(self.features, N.split(self.size, 1)))
        item = positive + self.n_users
        contrasted = user.unique(), torch.cat([item, negative + self.n_users]).unique()
        for one, other in combinations((parts[name] for name in sorted(parts)), 2):  # image among text, as published
            apart = sum(info_nce(one[rows], other[rows], self.temperature) for rows in contrasted)
            crossed = sum(_crossed(one[rows], other[rows]) for rows in (user, item))
            loss = loss + self.contrast_weight * apart + self.orthogonal_weight * crossed
        return loss


def _crossed(one: Tensor, other: Tensor) -> Tensor:
    """Mean square of ``X' Y`` with X and Y the centred rows [B, d] of each, divided by their lengths."""
    one, other = (x - x.mean(0) for x in (one, other))
    # As published, lengths pass no gradient: a row could else turn orthogonal by its direction alone.
    one, other = (x / (x.detach().norm(dim=1, keepdim=True) + 1e-6) for x in (one, other))
    return (one.T @ other).square().mean()


def _mlp(size: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size, width), nn.PReLU(), nn.Linear(width, width))
