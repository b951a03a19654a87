"""The attentions that enhance the rating matrix, and the gate they pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cadmr.data.rows import RatingRows, RowBatch


class Gate(nn.Module):
    """How much of the attention's output is added to the rating row.

    ``tanh``: one scalar, 0 at ``start`` 0, so that fine-tuning begins at the pre-trained model. ``sigmoid``: one value
    for each of ``width`` columns, which cannot be 0. ``none``: 1.
    """

    def __init__(self, kind: str, width: int, start: float) -> None:
        super().__init__()
        self.kind = kind
        size = {"tanh": (), "sigmoid": (width,), "none": None}[kind]
        self.weight = None if size is None else nn.Parameter(torch.full(size, float(start)))

    def forward(self) -> Tensor | float:
        """The gate's value: a scalar, or [width]."""
        if self.weight is None:
            return 1.0
        return self.weight.tanh() if self.kind == "tanh" else self.weight.sigmoid()


class CrossAttention(nn.Module):
    """Multi-head cross-attention: rating rows ask, fused item latents answer.

    ``Q = R W_Q``, ``K = Z W_K``, ``V = Z W_V``, in each head ``softmax(Q K' / sqrt(d_h)) V``, and the heads side by
    side through ``W_O`` back to a row (CADMR, section 3; the shapes are ours). Never users x items x heads in memory:
    torch's fused attention over a batch of rows.

    Args:
        width: length of a rating row.
        latent_size: columns of Z.
        attention_size: d, split evenly over ``n_heads``.
    """

    def __init__(self, width: int, latent_size: int, attention_size: int, n_heads: int, dropout_prob: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.W_Q = nn.Linear(width, attention_size, bias=False)
        self.W_K = nn.Linear(latent_size, attention_size, bias=False)
        self.W_V = nn.Linear(latent_size, attention_size, bias=False)
        self.W_O = nn.Linear(attention_size, width, bias=False)
        self.dropout = nn.Dropout(dropout_prob)

    def content(self, Z: Tensor) -> tuple[Tensor, Tensor]:
        """K and V by head [n_heads, I, d_h], from Z [I, latent_size]."""
        return self._split(self.W_K(Z)), self._split(self.W_V(Z))

    def heads(self, query: Tensor, content: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Query and output of every head [n_heads, B, d_h], for queries R W_Q [B, attention_size]."""
        query, (keys, values) = self._split(query), content
        return query, F.scaled_dot_product_attention(query[None], keys[None], values[None])[0]

    def forward(self, batch: RowBatch, content: tuple[Tensor, Tensor]) -> Tensor:
        """The attention's output [B, width], before gate and residual."""
        output = self.heads(self.W_Q(batch.dense), content)[1]
        return self.W_O(self.dropout(output.transpose(0, 1).flatten(1)))

    def folded(self, content: tuple[Tensor, Tensor], W: Tensor) -> Any:
        """What :meth:`projected` needs besides a batch, for a linear layer W [width, h] behind the attention."""
        return content, self.W_Q.weight.T.contiguous(), self.W_O.weight.T @ W

    def projected(self, batch: RowBatch, folded: Any) -> Tensor:
        """``forward(batch) W`` [B, h] without the rows in between, at a cost that does not grow with ``width``."""
        content, W_Q, W_OW = folded
        output = self.heads(batch.matmul(W_Q), content)[1]
        return output.transpose(0, 1).flatten(1) @ W_OW

    def _split(self, x: Tensor) -> Tensor:
        return x.view(len(x), self.n_heads, -1).transpose(0, 1)


class ContentAttention(nn.Module):
    """Item-wise attention: items attend to the items most similar in content, ``R' = R + gate * R A``.

    Rows of A are softmaxes over an item's candidates, of scaled products of queries and keys that are both made from
    the fused latents; the heads' rows are averaged. Only the candidates' entries of A exist.

    Args:
        candidates: int64 [I, k], neighbours of every item, -1 for none.
    """

    candidates: Tensor

    def __init__(self, candidates: Tensor, latent_size: int, attention_size: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.W_Q = nn.Linear(latent_size, attention_size, bias=False)
        self.W_K = nn.Linear(latent_size, attention_size, bias=False)
        self.register_buffer("candidates", candidates, persistent=False)

    def content(self, Z: Tensor) -> Tensor:
        """Entries of A [I, k] at the candidates, from Z [I, latent_size]; 0 where there is none."""
        n_items = len(self.candidates)
        query = self.W_Q(Z).view(n_items, self.n_heads, -1)
        key = self.W_K(Z).view(n_items, self.n_heads, -1)
        none = self.candidates < 0
        near = key[self.candidates.clamp(min=0)]  # [I, k, n_heads, d_h]
        score = torch.einsum("ihd,ikhd->ihk", query, near) / query.shape[2] ** 0.5
        # An item without any candidate would have a row of -inf, whose softmax is NaN.
        score = score.masked_fill(none[:, None], torch.finfo(score.dtype).min)
        return score.softmax(2).mean(1).masked_fill(none, 0.0)

    def forward(self, batch: RowBatch, content: Tensor) -> Tensor:
        """``R A`` for a batch of user rows [B, I], at a cost of nnz x k."""
        value = batch.value[:, None] * content[batch.column]  # [nnz, k]
        return _scatter(
            batch.row[:, None], self.candidates[batch.column].clamp(min=0), value, (batch.n_rows, len(self.candidates))
        )

    def folded(self, content: Tensor, W: Tensor) -> Any:
        """``A W`` [I, h]: what :meth:`projected` needs besides a batch, for a linear layer W behind the attention."""
        width = self.candidates.shape[1]
        begin = torch.arange(0, content.numel(), width, device=content.device)
        near = self.candidates.clamp(min=0).flatten()
        return F.embedding_bag(near, W, begin, mode="sum", per_sample_weights=content.flatten())

    def projected(self, batch: RowBatch, folded: Any) -> Tensor:
        """``forward(batch) W`` [B, h] without the rows in between."""
        return batch.matmul(folded)


class NeighbourRows(ContentAttention):
    """The content attention where rows are items: ``R'^T = R^T + gate * A R^T``, the rows of similar items.

    Args:
        rating_rows: R^T, one row an item and an empty one for the padding item 0.
    """

    def __init__(
        self, candidates: Tensor, latent_size: int, attention_size: int, n_heads: int, rating_rows: RatingRows
    ) -> None:
        super().__init__(candidates, latent_size, attention_size, n_heads)
        self._rating_rows = rating_rows

    def forward(self, batch: RowBatch, content: Tensor) -> Tensor:
        """``A R^T`` for a batch of item rows [B, U], at a cost of k x the ratings of an item."""
        near = self._near(batch, content)
        return _scatter(near.row, near.column, near.value, (near.n_rows, near.n_columns))

    def folded(self, content: Tensor, W: Tensor) -> Any:
        """What :meth:`projected` needs besides a batch, for a linear layer W [U, h] behind the attention."""
        return content, W

    def projected(self, batch: RowBatch, folded: Any) -> Tensor:
        """``forward(batch) W`` [B, h] without the rows in between."""
        content, W = folded
        return self._near(batch, content).matmul(W)

    def _near(self, batch: RowBatch, content: Tensor) -> RowBatch:
        """The rows of the batch's neighbours, weighted by A: entries that may stand at one place several times."""
        assert batch.ids is not None, "only items of the data set have neighbours"
        near = self.candidates[batch.ids - 1]  # [B, k]
        place, column = self._rating_rows.entries(near.flatten() + 1)  # none is -1: the empty row of padding
        value = content[batch.ids - 1].flatten()[place]
        return RowBatch(place // near.shape[1], column, value, batch.n_rows, batch.n_columns)


class BothAttentions(nn.Module):
    """Rating rows ask, and items attend to similar ones: the sum of what a cross-attention and an item-wise one add."""

    def __init__(self, cross: CrossAttention, item: ContentAttention) -> None:
        super().__init__()
        self.cross, self.item = cross, item

    def content(self, Z: Tensor) -> tuple[Any, Any]:
        """What each asks of the items, from Z [I, latent_size]."""
        return self.cross.content(Z), self.item.content(Z)

    def forward(self, batch: RowBatch, content: tuple[Any, Any]) -> Tensor:
        """The sum of both outputs [B, width], before gate and residual."""
        return self.cross(batch, content[0]) + self.item(batch, content[1])

    def folded(self, content: tuple[Any, Any], W: Tensor) -> Any:
        """What :meth:`projected` needs besides a batch, for a linear layer W [width, h] behind the attention."""
        return self.cross.folded(content[0], W), self.item.folded(content[1], W)

    def projected(self, batch: RowBatch, folded: Any) -> Tensor:
        """``forward(batch) W`` [B, h] without the rows in between."""
        return self.cross.projected(batch, folded[0]) + self.item.projected(batch, folded[1])


def _scatter(row: Tensor, column: Tensor, value: Tensor, shape: tuple[int, int]) -> Tensor:
    """A matrix of sums of ``value`` at (``row``, ``column``)."""
    flat = torch.zeros(shape[0] * shape[1], device=value.device)
    return flat.index_add(0, (row * shape[1] + column).flatten(), value.flatten()).view(shape)


def merge_candidates(graphs: Sequence[Tensor]) -> Tensor:
    """Candidates of all modalities as one [I, k]: neighbours by each graph, every one once, -1 for none."""
    merged = torch.cat(list(graphs), 1)
    merged = torch.where(merged > 0, merged - 1, -1).sort(1, descending=True).values
    repeated = torch.zeros_like(merged, dtype=torch.bool)
    repeated[:, 1:] = merged[:, 1:] == merged[:, :-1]
    return merged.masked_fill(repeated, -1)
