"""Causal attention over sequences that lie one behind the other, without padding.

The sequences of a batch differ in length, several times over. What looks at one entry at a time (all of a transformer
but the attention itself) does so over the entries that there are; the attention pads groups of sequences, each group to
its own longest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_GROUPS = 4  # that sequences are padded in; more pad less and call more
_LEAST = 16  # sequences of a group
_NOWHERE = 2**31 - 1  # the place of padding, behind all others


@dataclass(frozen=True)
class _Group:
    """Successive sequences, padded to the longest.

    Attributes:
        begin, end: which entries they have.
        slot: int64 [n], where each of these lies in the padded table, row by row.
        place: int64 [b, L], places of the entries in their sequences.
    """

    begin: int
    end: int
    slot: Tensor
    place: Tensor

    def padded(self, rows: Tensor, heads: int) -> Tensor:
        """Rows [N, d] of all entries as the table [b, heads, L, d / heads] of this group, zeros where there is none."""
        table = rows.new_zeros(self.place.numel(), rows.shape[1])
        table = table.index_copy(0, self.slot, rows[self.begin : self.end])
        return table.view(*self.place.shape, heads, -1).transpose(1, 2)

    def packed(self, table: Tensor) -> Tensor:
        """The entries' rows [n, d] of such a table."""
        return table.transpose(1, 2).reshape(self.place.numel(), -1).index_select(0, self.slot)


@dataclass(frozen=True)
class Packed:
    """Where the entries of B sequences lie; those of like length should be neighbours.

    Attributes:
        row: int64 [N], sequence of each entry, ascending.
        place: int64 [N], place of each entry, ascending within a sequence; not all places need be taken.
        size: int64 [B], entries of each sequence.
    """

    row: Tensor
    place: Tensor
    size: Tensor

    @classmethod
    def of(cls, row: Tensor, place: Tensor, n_rows: int) -> Packed:
        """Of entries by their sequences and places."""
        return cls(row, place, torch.bincount(row, minlength=n_rows))

    def select(self, which: Tensor) -> Packed:
        """Some of the entries, by ascending numbers or as a mask."""
        return Packed.of(self.row[which], self.place[which], len(self.size))

    @cached_property
    def first(self) -> Tensor:
        """The entry that each sequence begins with, int64 [B]."""
        return self.size.cumsum(0) - self.size

    @cached_property
    def groups(self) -> Sequence[_Group]:
        """All sequences, in groups by their order."""
        step = max(-(-len(self.size) // _GROUPS), _LEAST)
        parts = self.size.split(step)
        longest = torch.stack([part.max() for part in parts]).tolist()
        bounds = [0, *torch.stack([part.sum() for part in parts]).cumsum(0).tolist()]
        column = torch.arange(len(self.row), device=self.row.device) - self.first[self.row]
        groups = []
        for number, (begin, end) in enumerate(pairwise(bounds)):
            shape = len(parts[number]), max(longest[number], 1)
            slot = (self.row[begin:end] - number * step) * shape[1] + column[begin:end]
            place = self.place.new_full((shape[0] * shape[1],), _NOWHERE).index_copy(0, slot, self.place[begin:end])
            groups.append(_Group(begin, end, slot, place.view(shape)))
        return groups


class Earlier:
    """Which keys queries see: those of the same sequence at their place and before.

    Args:
        queries, keys: entries of as many sequences.

    Attributes:
        some: bool [N], which queries see a key.
    """

    def __init__(self, queries: Packed, keys: Packed) -> None:
        self._groups = list(zip(queries.groups, keys.groups))
        self._bias, some = [], []
        for query, key in self._groups:
            seen = (key.place[:, None] <= query.place[..., None]) & (key.place != _NOWHERE)[:, None]
            sees = seen.any(-1)
            some.append(sees.flatten()[query.slot])
            # A softmax over nothing is NaN: such a query sees all, and what it sees is to be dropped.
            self._bias.append(torch.where(seen | ~sees[..., None], 0.0, -torch.inf)[:, None])
        self.some = torch.cat(some)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, heads: int, dropout: float) -> Tensor:
        """What queries [N, d] find in values [M, d] by keys [M, d]: [N, d]; arbitrary for those that see none.

        Args:
            dropout: of the weights.
        """
        found = []
        query = query * (heads / query.shape[1]) ** 0.5
        both = torch.cat([key, value], dim=1)
        for (queries, keys), bias in zip(self._groups, self._bias):
            key, value = keys.padded(both, 2 * heads).chunk(2, dim=1)
            weights = (queries.padded(query, heads) @ key.transpose(-2, -1) + bias).softmax(-1)
            found.append(queries.packed(dropped_out(weights, dropout) @ value))
        return torch.cat(found)


def dropped_out(X: Tensor, share: float) -> Tensor:
    """Dropout of X, by a share exact to 1 / 65,536; on a processor several times as fast as torch's, which draws a
    number of 32 bits for each decision."""
    if not share or X.device.type != "cpu":
        return F.dropout(X, share)
    bits = torch.empty((X.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
    kept = bits[: X.numel()] >= round(share * 2**16) - 2**15
    return X * kept.view(X.shape).to(X.dtype).div_(1 - share)


class EncoderLayer(nn.Module):
    """A layer of SASRec's encoder (Kang & McAuley, 2018), as RecBole has it: attention, then a feed-forward network,
    each added to its input and normalised.

    Args:
        width: d.
        heads: of the attention.
        inner: width of the feed-forward network.
        dropout: of attention weights and of what is added.
    """

    def __init__(self, width: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.inner, self.outer = nn.Linear(width, inner), nn.Linear(inner, width)
        self.last_norm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, X: Tensor, seen: Earlier, asked: Tensor | None = None) -> Tensor:
        """States [N, d] of entries X [N, d], or of those ``asked`` (by number, [n]), which are then the queries."""
        Q = X if asked is None else X[asked]
        dropout = self.dropout if self.training else 0.0
        found = seen.attend(self.query(Q), self.key(X), self.value(X), self.heads, dropout)
        Q = self.norm(Q + dropped_out(self.out(found), dropout))
        return self.last_norm(Q + dropped_out(self.outer(F.gelu(self.inner(Q))), dropout))
