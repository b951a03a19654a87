"""Gated cross-attention: what one sequence, or set, of vectors adds to another (arXiv 2510.09435)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cadmr.layers.alignment import Projection, kept_part
from recbole_cadmr.layers.packed_attention import Earlier, dropped_out

Gate = Literal["tanh", "sigmoid", "scalar", "none"]
_GATES = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "scalar": lambda start: start, "none": torch.ones_like}


class GatedCrossAttention(nn.Module):
    """``X + alpha X'`` with ``X' = CrossAttention(q = X, k = v = Y)`` and a gate ``alpha`` for the whole layer.

    A query that sees no key adds nothing: its row of the output is exactly that of X. The paper publishes no code;
    what it leaves open is an argument here.

    Args:
        width: d, of the vectors of X and Y.
        heads: of the attention; must divide the width.
        gate: function of the learnt number that gives alpha; ``none`` for alpha = 1, with nothing learnt.
        start: that number before training; 0 is alpha = 0 with ``tanh`` and ``scalar``, 1/2 with ``sigmoid``.
        layer_norm: whether X and Y are normalised on their way into the attention (not X in the sum).
        feed_forward: width of a residual feed-forward network behind the attention, inside X', in multiples of d; 0
            for none. With 6, two layers have about the parameters that the paper counts for a stage.
        project: an intervention on X', of :func:`kept_part`.
        keys: whether there are any. Without, a feed-forward network of as many parameters (4 d^2) that reads X alone
            stands in the place of the attention: a control.
        dropout: of attention weights and of X'.
    """

    def __init__(
        self,
        width: int,
        heads: int = 1,
        gate: Gate = "tanh",
        start: float = 0.0,
        layer_norm: bool = True,
        feed_forward: int = 0,
        project: Projection = "none",
        keys: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        self.heads, self.project, self.dropout = heads, project, dropout
        self.gate = gate
        self.gate_start = None if gate == "none" else nn.Parameter(torch.tensor(float(start)))
        self.norm = nn.ModuleList(nn.LayerNorm(width) if layer_norm else nn.Identity() for _ in range(1 + keys))
        self.attention = nn.ModuleDict(
            {name: nn.Linear(width, width, bias=False) for name in ("query", "key", "value", "out")} if keys else {}
        )
        self.control = None if keys else _feed_forward(width, 2 * width, layer_norm=False)
        self.feed_forward = _feed_forward(width, feed_forward * width, layer_norm) if feed_forward else None

    @property
    def alpha(self) -> Tensor:
        """The gate, a number."""
        some = next(self.parameters()) if self.gate_start is None else self.gate_start
        return _GATES[self.gate](some.new_zeros(()) if self.gate_start is None else some)

    def forward(self, X: Tensor, Y: Tensor, seen: Tensor | Earlier | None = None) -> Tensor:
        """``X + alpha X'`` [..., n, d]; arguments as of :meth:`added`."""
        return X + self.alpha * self.added(X, Y, seen)

    def added(self, X: Tensor, Y: Tensor, seen: Tensor | Earlier | None = None) -> Tensor:
        """X' [..., n, d], before the gate.

        Args:
            X: queries [..., n, d].
            Y: keys and values [..., m, d]; not read by the control.
            seen: bool [..., n, m], which keys a query sees; None for all. Of sequences without padding, where X is
                [N, d] and Y [M, d], those of the same sequence that are :class:`Earlier`.
        """
        added = self.control(self.norm[0](X)) if self.control is not None else self._attend(X, Y, seen)
        if self.feed_forward is not None:
            added = added + self.feed_forward(added)
        added = dropped_out(added, self.dropout if self.training else 0.0)
        added = kept_part(added, X, self.project)
        if seen is not None:
            some = seen.some if isinstance(seen, Earlier) else seen.any(-1)
            added = torch.where(some[..., None], added, 0.0)
        return added

    def _attend(self, X: Tensor, Y: Tensor, seen: Tensor | Earlier | None) -> Tensor:
        X, Y = self.norm[0](X), self.norm[1](Y)
        query, key, value = (self.attention[name](rows) for name, rows in (("query", X), ("key", Y), ("value", Y)))
        dropout = self.dropout if self.training else 0.0
        if isinstance(seen, Earlier):
            return self.attention["out"](seen.attend(query, key, value, self.heads, dropout))
        if seen is not None:
            # A softmax over nothing is NaN: such a query sees all, and what it sees is dropped in `added`.
            seen = (seen | ~seen.any(-1, keepdim=True)).unsqueeze(-3)
        query, key, value = (
            rows.unflatten(-1, (self.heads, -1)).transpose(-2, -3)  # [..., heads, n, d / heads]
            for rows in (query, key, value)
        )
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=seen, dropout_p=dropout)
        return self.attention["out"](found.transpose(-2, -3).flatten(-2))


def _feed_forward(width: int, inner: int, layer_norm: bool) -> nn.Sequential:
    before: list[Any] = [nn.LayerNorm(width)] if layer_norm else []
    return nn.Sequential(*before, nn.Linear(width, inner, bias=False), nn.GELU(), nn.Linear(inner, width, bias=False))
