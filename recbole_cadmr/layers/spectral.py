"""Latents of modalities filtered and fused by frequency."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


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
