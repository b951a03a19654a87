"""From the latents of the modalities to one item representation Z."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


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
