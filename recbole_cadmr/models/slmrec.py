"""SLMRec: Self-supervised Learning for Multimedia Recommendation."""

from __future__ import annotations

from itertools import pairwise

import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.layers.losses import in_batch_cross_entropy, info_nce
from recbole_cadmr.models.multimodal import MultimodalRecommender


class SLMRec(MultimodalRecommender):
    """LightGCN on ids and on every modality, fused, with a self-supervised task (Tao et al., TMM 2022).

    A channel c is the ids or a modality; users have one free vector in all of them, items e_i or a linear map of their
    features, of length 1. Each channel is propagated as in LightGCN, and one linear map of users, one of items makes a
    vector of all channels side by side. The main loss tells a user's item from the other users' in the batch by
    cosine / ``temperature``; scores are inner products. ``ssl_weight`` times the task's loss is added, one of

        FD     two views of users and items, apart by dropout in the propagation, are contrasted with those of others
        FM     the same, each view without its own one channel of the items
        FD+FM  both at once
        FAC    an item's ids are contrasted with other items' by its first modality, in a fine space; then what that
               space holds by the next modality, in a coarser one, and so on, by inner product / ``ssl_temperature``

    The published code's L2 term takes no part in its loss, but the optimiser's weight decay does; its coarsest space
    has half the length. Where the set has no audio, it maps linearly once more where audio would have been; not here.

    Expensive are the propagation of all channels, once, and twice more with FD and FM. Settings are declared in
    ``properties/model/SLMRec.yaml``.
    """

    def __init__(self, config: Config, dataset: MultimodalDataset) -> None:
        super().__init__(config, dataset)
        self.n_layers, self.task = config["n_layers"], config["ssl_task"]
        self.temperature, self.ssl_temperature = config["temperature"], config["ssl_temperature"]
        self.ssl_weight = config["ssl_weight"]
        self.dropout_prob = config["dropout_prob"] if self.task.startswith("FD") else 0.0
        self.users, self.items = self.user_embedding(), self.item_embedding()
        self.features = self.feature_tables()
        self._A = self.interaction_graph()
        self.E = self.feature_maps()
        self.n_channels = 1 + len(self.features)
        self.fuse_users = nn.Linear(self.n_channels * self.size, self.size)
        self.fuse_items = nn.Linear(self.n_channels * self.size, self.size)
        if self.task == "FAC":
            named = [name for name in config["modality_order"] if name in self.features]
            self.order = named + [name for name in self.features if name not in named]
            coarse = max(self.size // 2, 1) if len(self.order) > 1 else self.size
            sizes = len(self.order) * [self.size] + [coarse]
            self.from_finer = nn.ModuleList(nn.Linear(n_in, n_out) for n_in, n_out in pairwise(sizes))
            self.from_modality = nn.ModuleList(nn.Linear(self.size, n_out) for n_out in sizes[1:])
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)

    def forward(self) -> tuple[Tensor, Tensor]:
        """Fused vectors of users and items."""
        return self._fused(self._propagated(self._channels()))

    def _channels(self) -> Tensor:
        """Items before propagation [n_items, channel, d], the ids first."""
        return torch.stack([self.items.weight, *(self.E[n](F.normalize(t())) for n, t in self.features.items())], 1)

    def _propagated(self, items: Tensor, dropout_prob: float = 0.0) -> Tensor:
        """Mean of the layers of LightGCN in every channel: [U + I, channels x d]."""
        layer = total = torch.cat([self.users.weight.repeat(1, self.n_channels), items.flatten(1)])
        for _ in range(self.n_layers):
            layer = F.dropout(self._A.matmul(layer), dropout_prob)
            total = total + layer
        return total / (self.n_layers + 1)

    def _fused(self, propagated: Tensor) -> tuple[Tensor, Tensor]:
        users, items = self.users_and_items(propagated)
        return self.fuse_users(users), self.fuse_items(items)

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Cross-entropy of the batch's items given their users, and the self-supervised task."""
        user, item, _ = self.triple(interaction)
        channels = self._channels()
        propagated = self._propagated(channels)
        rows = propagated[self.n_users + item]  # [B, channels x d]
        main = info_nce(self.fuse_users(propagated[user]), self.fuse_items(rows), self.temperature)
        task = self._fine_and_coarse(rows) if self.task == "FAC" else self._two_views(channels, user, item)
        return main + self.ssl_weight * task

    def _fine_and_coarse(self, rows: Tensor) -> Tensor:
        ids, *of_modality = rows.split(self.size, 1)
        channel = dict(zip(self.features, of_modality))
        x, loss = ids, rows.new_zeros(())
        for name, from_finer, from_modality in zip(self.order, self.from_finer, self.from_modality):
            x = from_finer(x)  # [B, d of this space]
            loss = loss + in_batch_cross_entropy(x, from_modality(channel[name]) / self.ssl_temperature)
        return loss

    def _two_views(self, channels: Tensor, user: Tensor, item: Tensor) -> Tensor:
        without = torch.randperm(self.n_channels)[:2].tolist() if "FM" in self.task else [None, None]
        views = []
        for masked in without:
            kept = torch.ones(self.n_channels, 1, device=channels.device)
            if masked is not None:
                kept[masked] = 0.0
            propagated = self._propagated(channels * kept, self.dropout_prob)
            views.append((self.fuse_users(propagated[user]), self.fuse_items(propagated[self.n_users + item])))
        return sum((info_nce(one, other, self.ssl_temperature) for one, other in zip(*views)), channels.new_zeros(()))
