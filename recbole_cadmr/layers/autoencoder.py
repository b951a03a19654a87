"""The autoencoder that reconstructs rows of the rating matrix."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from recbole_cadmr.layers.encoder import ACTIVATIONS


class Autoencoder(nn.Module):
    """Symmetric autoencoder of rows of length ``width``; the output is linear.

    Args:
        hidden_sizes: units of the encoder's layers; the decoder has them in reverse.
    """

    def __init__(self, width: int, hidden_sizes: Sequence[int], activation: str = "relu") -> None:
        super().__init__()
        sizes = [width, *hidden_sizes]
        encoder: list[nn.Module] = []
        for a, b in pairwise(sizes):
            encoder += [nn.Linear(a, b), ACTIVATIONS[activation]()]
        decoder: list[nn.Module] = []
        for a, b in zip(sizes[:1:-1], sizes[-2:0:-1]):
            decoder += [nn.Linear(a, b), ACTIVATIONS[activation]()]
        self.encoder = nn.Sequential(*encoder)
        self.decoder = nn.Sequential(*decoder)
        self.output = nn.Linear(sizes[1], width)

    @property
    def first(self) -> nn.Linear:
        """The layer that reads the rows."""
        layer = self.encoder[0]
        assert isinstance(layer, nn.Linear)
        return layer

    def code(self, projected: Tensor) -> Tensor:
        """What the output layer reads [B, hidden_sizes[0]], from the first layer's output [B, hidden_sizes[0]]."""
        return self.decoder(self.encoder[1:](projected))

    def forward(self, rows: Tensor) -> Tensor:
        """Reconstruction of ``rows`` [B, width]."""
        return self.output(self.code(self.first(rows)))
