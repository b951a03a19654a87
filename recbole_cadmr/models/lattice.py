"""LATTICE: Mining Latent Structures for Multimedia Recommendation."""

from __future__ import annotations

from dataclasses import replace

import scipy.sparse as sp
import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.layers.losses import bpr, mean_square
from recbole_cadmr.layers.propagation import (
    EdgeSum,
    bipartite,
    cosine_values,
    mean_of_layers,
    nearest_edges,
    row_normalised,
    smoothed,
    symmetric_normalised,
    symmetric_normalised_sum,
)
from recbole_cadmr.layers.sparse import EdgeMatrix, SparseMatrix
from recbole_cadmr.models.multimodal import MultimodalRecommender

_SHORTEST = 1e-3  # a row of the item graph's output below this is not set to length 1: its direction is noise


class LATTICE(MultimodalRecommender):
    """LightGCN beside a graph of items by content that is partly learned (Zhang et al., MM 2021).

    - Each modality gives a frozen graph ``S_m`` of nearest neighbours, weighted by the cosines of the features, and a
      learned one ``S~_m``, the same of the features' linear maps.
    - With w a softmax of one weight a modality and N the symmetric normalisation, which takes D from the row sums, the
      item graph is ``A = (1 - learned_weight) sum_m w_m N(S_m) + learned_weight N(sum_m w_m S~_m)``.
    - An item is the mean of its LightGCN layers plus ``h / |h|`` with h its row of ``A^L E``.
    - The loss is BPR and the L2 term of the triples' vectors.

    Everything else is the published code's: an item counts among its own neighbours; users and items keep themselves
    in the propagation, whose rows are means; A passes gradients in the first batch of an epoch and is a constant for
    the rest of it. Scores rebuild A from the current parameters. Negative cosines, which the papers' features hardly
    have, are taken for 0, and items without a modality stay out of its graphs.

    Expensive: the learned neighbours are searched among all items, once an epoch and once an evaluation, in time
    quadratic in their number (up to 100,000; beyond, by clusters), in memory linear in it. ``learned_weight: 0`` leaves
    the learned graph out, and features with it ("frozen LATTICE" in the paper of FREEDOM). Settings are declared in
    ``properties/model/LATTICE.yaml``.
    """

    traits = replace(MultimodalRecommender.traits, reads_item_graphs=True)

    def __init__(self, config: Config, dataset: MultimodalDataset) -> None:
        super().__init__(config, dataset)
        self.n_layers, self.n_item_layers = config["n_layers"], config["n_item_layers"]
        self.learned_weight, self.reg_weight = config["learned_weight"], config["reg_weight"]
        self.users, self.items = self.user_embedding(), self.item_embedding()
        modalities = dataset.modalities()
        self.w = nn.Parameter(torch.zeros(len(modalities)))
        if self.learned_weight:
            self.features, self.projections = self.feature_tables(), self.feature_maps()
            self._present = {name: m.present.nonzero().squeeze(1).to(self.device) for name, m in modalities.items()}

        self._frozen = []
        for name in modalities:
            S = symmetric_normalised(self.neighbour_matrix(name, weighted=True).maximum(0))
            S.sort_indices()  # the order of an EdgeMatrix
            edges = EdgeMatrix(S, self.device)
            self._frozen.append((edges, torch.from_numpy(S.data).to(self.device)))
        A = bipartite(self.R)
        self._A = SparseMatrix(row_normalised(A + sp.identity(A.shape[0], dtype=A.dtype, format="csr")), self.device)
        self._epochs_graph: SparseMatrix | None = None

    def before_epoch(self) -> None:
        """Let the first batch build the item graph again."""
        self._epochs_graph = None

    def item_graph(self) -> EdgeSum:
        """A [n_items, n_items] from the current parameters."""
        w, share = self.w.softmax(0), self.learned_weight
        parts = [(edges, (1 - share) * w_m * value) for w_m, (edges, value) in zip(w, self._frozen)]
        if share:
            learned = []
            for w_m, (name, f) in zip(w, self.features.items()):
                X = self.projections[name](f())
                edges = nearest_edges(X, self._present[name], self.k)
                learned.append((edges, w_m * cosine_values(X, edges)))
            parts += [(edges, share * value) for edges, value in symmetric_normalised_sum(learned).parts]
        return EdgeSum(parts)

    def forward(self) -> tuple[Tensor, Tensor]:
        """Vectors of users and items, on an item graph built anew."""
        return self._propagated(self.item_graph())

    def _propagated(self, item_graph: EdgeSum | SparseMatrix) -> tuple[Tensor, Tensor]:
        E = self.items.weight
        h = smoothed(item_graph, E, self.n_item_layers)
        users, items = self.users_and_items(mean_of_layers(self._A, torch.cat([self.users.weight, E]), self.n_layers))
        return users, items + F.normalize(h, dim=1, eps=_SHORTEST)

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """BPR of the triples, and the L2 term of their vectors."""
        user, positive, negative = self.triple(interaction)
        if self._epochs_graph is None:
            item_graph = self.item_graph()
            self._epochs_graph = item_graph.constant()
            users, items = self._propagated(item_graph)
        else:
            users, items = self._propagated(self._epochs_graph)
        u, i, j = users[user], items[positive], items[negative]
        return bpr(u, i, j) + self.reg_weight * mean_square(u, i, j)
