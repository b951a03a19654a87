"""Gated cross-attention in models: by their settings, and between the modalities of items."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recbole_cadmr.data.graph import ItemGraph
from recbole_cadmr.errors import UserError
from recbole_cadmr.layers.gated_cross_attention import GatedCrossAttention
from recbole_cadmr.models.probed import figures_of


def gated_cross_attention(config: Any, heads: int = 1, dropout: float = 0.0) -> GatedCrossAttention:
    """The layer that the settings ``gca_...`` ask for, of width ``embedding_size``."""
    how = {name: config[f"gca_{name}"] for name in ("gate", "layer_norm", "feed_forward", "project")}
    start, keys = config["gca_gate_start"], config["gca_source"] != "none"
    module = GatedCrossAttention(config["embedding_size"], heads, start=start, keys=keys, dropout=dropout, **how)
    if config["gca_frozen"]:
        for name, parameter in module.named_parameters():
            parameter.requires_grad = name == "gate_start"
    return module


def derangement(n: int, seed: int) -> Tensor:
    """Another one for each of 1 to n - 1, and 0 for 0, drawn by the seed: int64 [n]."""
    order = np.random.default_rng(seed).permutation(n - 1) + 1
    other = np.zeros(n, dtype=np.int64)
    other[order] = np.roll(order, 1)
    return torch.from_numpy(other)


class ModalityExchange(nn.Module):
    """Modalities of items that read each other: ``X_m + alpha CrossAttention(X_m, Y_m)`` for each modality m.

    Y_m are the vectors X_o of the nearest others of the item by each other modality o: a set of keys, since over a
    single one a softmax is 1. As controls the nearest others by m itself, the keys of another item, or none.

    Args:
        config: with the settings of gated cross-attention and ``gca_neighbours``.
        graphs: the nearest others by each modality.

    Raises:
        UserError: if the modality is the only one, and others are to be read.
    """

    def __init__(self, config: Any, graphs: Mapping[str, ItemGraph]) -> None:
        super().__init__()
        self.source, k = config["gca_source"], config["gca_neighbours"]
        if len(graphs) == 1 and self.source not in ("own", "none"):
            raise UserError(
                f"gca_source {self.source} reads other modalities, and {next(iter(graphs))} is the only one; leave out "
                f"gca_positions, or give gca_source=own"
            )
        self.layers = nn.ModuleDict({name: gated_cross_attention(config) for name in graphs})
        n_items = len(next(iter(graphs.values())).idx)
        other = derangement(n_items, config["seed"])
        for name, graph in graphs.items():
            idx = graph.idx[:, :k]
            self.register_buffer(f"near_{name}", idx[other] if self.source == "shuffled" else idx, persistent=False)

    def forward(self, latents: Mapping[str, Tensor], rows: Tensor | slice = slice(None)) -> dict[str, Tensor]:
        """Latents [n_items, d] by modality, each with what it reads; or of some rows alone."""
        return {
            name: X[rows] + self._gated(name).alpha * added for name, (X, added) in self._added(latents, rows).items()
        }

    def figures(self, latents: Mapping[str, Tensor], rows: Tensor) -> dict[str, float]:
        """The alignment of some rows, by modality."""
        figures: dict[str, float] = {}
        for name, (X, added) in self._added(latents, rows).items():
            figures |= figures_of(name, X[rows], added, self._gated(name))
        return figures

    def _gated(self, name: str) -> GatedCrossAttention:
        module: Any = self.layers[name]
        return module

    def _added(self, latents: Mapping[str, Tensor], rows: Tensor | slice) -> dict[str, tuple[Tensor, Tensor]]:
        """By modality X_m [n_items, d] and what the rows read [n, d]."""
        result = {}
        for name, X in latents.items():
            others = [other for other in latents if (other == name) == (self.source == "own")]
            queries, seen = X[rows], None
            keys = queries[:, None]
            if self.source != "none":
                near = [getattr(self, f"near_{other}")[rows] for other in others]
                keys = torch.cat([latents[other][idx] for other, idx in zip(others, near)], dim=1)
                seen = (torch.cat(near, dim=1) > 0)[:, None]  # [n, 1, keys]
            result[name] = X, self._gated(name).added(queries[:, None], keys, seen)[:, 0]
        return result
