"""From the features of the modalities to one item representation Z."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


class ModalityEncoder(nn.Module):
    """``h = f(W1 g(W0 N(x) + b0) + b1)`` (CADMR, section 3), N a layer normalisation, dropout behind g.

    Args:
        features: float32 [I, width], zeros where the modality is missing; not part of the state.
        present: bool [I].
        hidden_size, latent_size: units of the two layers.
        activation, latent_activation: g and f, names of ``ACTIVATIONS``.
        stand_in: what an item without the modality is encoded from: ``mean`` of the present rows, or ``learned``,
            a vector that starts there.
    """

    features: Tensor
    missing: Tensor

    def __init__(
        self,
        features: Tensor,
        present: Tensor,
        hidden_size: int,
        latent_size: int,
        activation: str = "relu",
        latent_activation: str = "identity",
        dropout_prob: float = 0.2,
        stand_in: str = "mean",
    ) -> None:
        super().__init__()
        missing = (~present).nonzero().squeeze(1)
        mean = features[present].mean(0) if present.any() else torch.zeros(features.shape[1])
        if stand_in == "mean" and len(missing):
            features = features.index_copy(0, missing, mean.expand(len(missing), -1))
        self.stand_in = nn.Parameter(mean.clone()) if stand_in == "learned" and len(missing) else None
        self.register_buffer("features", features, persistent=False)
        self.register_buffer("missing", missing, persistent=False)
        self.layers = nn.Sequential(
            nn.LayerNorm(features.shape[1]),
            nn.Linear(features.shape[1], hidden_size),
            ACTIVATIONS[activation](),
            nn.Dropout(dropout_prob),
            nn.Linear(hidden_size, latent_size),
            ACTIVATIONS[latent_activation](),
        )

    def forward(self) -> Tensor:
        """Latents of all items [I, latent_size]."""
        x = self.features
        if self.stand_in is not None:
            x = x.index_copy(0, self.missing, self.stand_in.expand(len(self.missing), -1))
        return self.layers(x)


class Fusion(nn.Module):
    """Fuse M latents [I, latent_size] each into Z [I, fused_size].

    ``concat`` is linear in all latents side by side; ``sum``, ``mean`` and ``gated`` (weights softmaxed over the
    modalities, for each item from all its latents) add the latents, and are linear only where the sizes differ.
    """

    def __init__(self, kind: str, n_modalities: int, latent_size: int, fused_size: int) -> None:
        super().__init__()
        self.kind = kind
        stacked = n_modalities * latent_size
        self.gate = nn.Linear(stacked, n_modalities) if kind == "gated" else None
        if kind == "concat":
            self.output: nn.Module = nn.Linear(stacked, fused_size)
        else:
            self.output = nn.Identity() if latent_size == fused_size else nn.Linear(latent_size, fused_size)

    def forward(self, latents: Sequence[Tensor]) -> Tensor:
        """Z of all items."""
        side_by_side = torch.cat(list(latents), 1)
        if self.kind == "concat":
            return self.output(side_by_side)
        stacked = torch.stack(list(latents), 1)  # [I, M, latent_size]
        if self.gate is not None:
            weights = self.gate(side_by_side).softmax(1)
            return self.output((weights[:, :, None] * stacked).sum(1))
        return self.output(stacked.sum(1) if self.kind == "sum" else stacked.mean(1))
