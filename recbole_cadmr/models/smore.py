"""SMORE: Spectrum-based Modality Representation Fusion Graph Convolutional Network for Multimodal Recommendation."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

import scipy.sparse as sp
import torch
from recbole.config import Config
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.errors import UserError
from recbole_cadmr.layers.propagation import symmetric_normalised
from recbole_cadmr.layers.sparse import SparseMatrix
from recbole_cadmr.models.two_views import TwoViewRecommender, gate


class SpectralFusion(nn.Module):
    """Filters over the frequencies of latents: a complex weight a frequency for each modality and for their product.

    With the Fourier transform F along a latent (SMORE, Ong and Khong, WSDM 2025)::

        X_m' = F^-1(w_m * F(X_m)),    X_f = F^-1(w_f * prod_m F(X_m))

    A product of spectra is a circular convolution of the latents.
    """

    def __init__(self, names: list[str], size: int) -> None:
        super().__init__()
        self.size = size
        # Real and imaginary parts beside each other: optimisers handle real parameters alone with care.
        self.w = nn.ParameterDict({name: nn.Parameter(torch.randn(size // 2 + 1, 2)) for name in names})
        self.w_fused = nn.Parameter(torch.randn(size // 2 + 1, 2))

    def forward(self, latents: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        """Denoised latents by modality and the fused one, [n, size] each, from latents [n, size] by modality."""
        spectra = {name: torch.fft.rfft(X, norm="ortho") for name, X in latents.items()}
        product = torch.stack(list(spectra.values())).prod(0)
        return {name: self._back(X, self.w[name]) for name, X in spectra.items()}, self._back(product, self.w_fused)

    def _back(self, spectrum: Tensor, w: Tensor) -> Tensor:
        return torch.fft.irfft(spectrum * torch.view_as_complex(w), n=self.size, norm="ortho")


class SMORE(TwoViewRecommender):
    """MGCN with latents denoised and fused by frequency, and a view of its own for what is fused.

    Ong and Khong, WSDM 2025. With free vectors E of items, features F_m and the item graph S_m of a modality m::

        latents             X_m = W1_m F_m + b1_m
        spectral fusion     X'_m, X'_f: filters w_m on the spectra of X_m, and w_f on their product
        purified content    P_x = E * gate(X'_x)                     x: every modality, and f for what is fused
        item views          V_x = [R~ S_x P_x; S_x P_x]              S_f = max_m S_m entry by entry
        user-item view      C   = mean of [U; E], A [U; E], ... A^L [U; E]
        preferences         T_m = gate(C) * softmax_d(Q_m tanh(W_m V_f + b_m)) * V_m,    T_f = gate(C) * V_f
        vectors             C + side,  side = (sum_m T_m + T_f) / (M + 1)

    and the loss is BPR + ``contrast_weight`` InfoNCE(side, C) + ``reg_weight`` L2. As in the published code, the
    softmax is over the d entries of a vector, the gates on C have dropout in training, features are trained, and
    edges of S_m weigh their cosine. Settings are declared in ``properties/model/SMORE.yaml``.
    """

    def __init__(self, config: Config, dataset: MultimodalDataset) -> None:
        super().__init__(config, dataset)
        self.dropout, d = config["dropout"], self.size
        if self.dropout:
            self.shared_by = None  # dropout is drawn for the distinct users and items of a batch
        self.spectral = SpectralFusion(list(self.features), d)
        self.purifier = nn.ModuleDict({name: gate(d) for name in self.features})
        self.query = nn.ModuleDict({name: _query(d) for name in self.features})
        self.preference = nn.ModuleDict({name: gate(d) for name in self.features})
        self.purifier_fused, self.preference_fused = gate(d), gate(d)
        S = {name: self._item_graph(name, config["modality_neighbours"]) for name in self.features}
        self._S = {name: SparseMatrix(matrix, self.device) for name, matrix in S.items()}
        self._S_fused = SparseMatrix(reduce(lambda one, other: one.maximum(other), S.values()), self.device)

    def _item_graph(self, name: str, neighbours: Mapping[str, Any] | None) -> sp.csr_matrix:
        """The normalised graph of a modality, with as many neighbours as its setting says."""
        k = (neighbours or {}).get(name, self.k)
        if not isinstance(k, int) or k < 2:
            raise UserError(f"modality_neighbours must be whole numbers of at least 2, not {k!r} for {name}")
        return symmetric_normalised(self.neighbour_matrix(name, weighted=True, k=k))

    def _content(self) -> dict[str, Tensor]:
        return {name: self.W1[name](table()) for name, table in self.features.items()}

    def _side_and_behaviour(self, rows: Tensor | slice) -> tuple[Tensor, Tensor]:
        E, C = self.items.weight, self._user_item_view()[rows]
        X, X_fused = self.spectral(self._exchanged())
        V_fused = self._item_item_view(self._S_fused, E * self.purifier_fused(X_fused))[rows]
        side = self._dropped(self.preference_fused(C)) * V_fused
        for name in self.features:
            V_m = self._item_item_view(self._S[name], E * self.purifier[name](X[name]))[rows]
            attention = self.query[name](V_fused).softmax(1)
            side = side + self._dropped(self.preference[name](C)) * attention * V_m
        return side / (len(self.features) + 1), C

    def _dropped(self, weights: Tensor) -> Tensor:
        return F.dropout(weights, self.dropout, self.training)


def _query(size: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size, size), nn.Tanh(), nn.Linear(size, size, bias=False))
