"""The best items of users: by the scores of all items, or by those of the few that a model lists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import scipy.sparse as sp
import torch
from torch import Tensor

_BLOCK = 2**19  # numbers looked at together, which stay in the processor's cache
_LOW = 2**32 - 1  # the lower half of a key
_LEFT_OUT = torch.iinfo(torch.int64).min | _LOW  # the key of what is in no list: below all others, of the padding item

Best = Callable[[Tensor, int, Tensor | None], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class ListedScores:
    """Scores [B, n_items] of which candidates alone are stored; see ``Recommender.listed_scores``.

    A candidate is one int64: above its score, by its bits, which have the order of whole numbers, below the item, so
    that of equal scores the lower id is the larger number.

    Attributes:
        start: int64 [B + 1], where the candidates of each user begin.
        keys: int64 [nnz], the candidates.
        n_items: items of the catalogue.
        dense: scores [b, n_items] of all items for some of the users, by their places [b], -inf where left out.
        users_at_once: how many users ``dense`` is to be asked for.
    """

    start: Tensor
    keys: Tensor
    n_items: int
    dense: Callable[[Tensor], Tensor]
    users_at_once: int

    @classmethod
    def of(
        cls,
        scores: sp.csr_matrix,
        known: tuple[Tensor, Tensor],
        dense: Callable[[Tensor], Tensor],
        users_at_once: int,
    ) -> ListedScores:
        """The candidates [B, n_items] without the ``known`` ones, (row, item), both ascending by row and item."""
        start, item = torch.from_numpy(scores.indptr).long(), torch.from_numpy(scores.indices)
        bits = (torch.from_numpy(scores.data) + 0.0).view(torch.int32)  # -0.0 is 0.0
        bits ^= (bits >> 31) & (2**31 - 1)
        keys = bits.long().bitwise_left_shift_(32).add_(_LOW).sub_(item)
        row, known_item = known
        is_known = torch.zeros(scores.shape[1], dtype=torch.bool)
        is_known[known_item] = True  # to some user; of these few it is looked up to whom
        place = is_known.index_select(0, item).nonzero().squeeze(1)
        owner = torch.searchsorted(start, place, right=True) - 1
        own = contained(owner * scores.shape[1] + item[place], row * scores.shape[1] + known_item)
        keys[place[own]] = _LEFT_OUT
        return cls(start, keys, scores.shape[1], dense, users_at_once)

    @property
    def shape(self) -> tuple[int, int]:
        """Users and items."""
        return len(self.start) - 1, self.n_items

    def best(self, k: int, among: Tensor | None = None, of_all: Best | None = None) -> tuple[Tensor, Tensor]:
        """:func:`best` of the users, where fewer than ``k`` candidates are left ``of_all`` items (:func:`best`)."""
        keys = self.keys
        if among is not None:
            keys = keys.masked_fill(~among.cpu()[self._items(keys)], _LEFT_OUT)
        size = self.start.diff()
        chosen = torch.full((len(size), k), _LEFT_OUT)
        order, first = size.argsort(descending=True), 0
        while first < len(order) and size[order[first]] > 0:
            width = max(int(size[order[first]]), k)
            rows = order[first : first + max(_BLOCK // width, 1)]
            column = torch.arange(width)
            place = (self.start[rows, None] + column).clamp_(max=len(keys) - 1)
            padded = keys.take(place).masked_fill_(column >= size[rows, None], _LEFT_OUT)
            chosen[rows] = padded.topk(k, dim=1).values
            first += len(rows)
        bits = (chosen >> 32).int()
        values, items = (bits ^ ((bits >> 31) & (2**31 - 1))).view(torch.float32), self._items(chosen)
        few = (chosen == _LEFT_OUT).any(1).nonzero().squeeze(1)
        for users in few.split(self.users_at_once) if len(few) else ():
            value, item = (of_all or best)(self.dense(users), k, among)
            values[users], items[users] = value.cpu(), item.cpu()
        return values, items

    @staticmethod
    def _items(keys: Tensor) -> Tensor:
        return _LOW - (keys & _LOW)


def best(scores: Tensor | ListedScores, k: int, among: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The ``k`` best items of each user, best first: scores and items, [B, k] each; -inf where there are no more.

    Of all items, ties are broken as ``torch.topk`` does, and so RecBole's evaluation; of candidates, and in
    :func:`best_by_id`, the lower id comes first.

    Args:
        scores: of all items [B, n_items], -inf where left out, or of those that the model lists.
        among: bool [n_items], the only items that count.
    """
    if isinstance(scores, ListedScores):
        return scores.best(k, among)
    value, item = (scores if among is None else scores.masked_fill(~among.to(scores.device), -torch.inf)).topk(k, dim=1)
    return value, item


def best_by_id(scores: Tensor | ListedScores, k: int, among: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """:func:`best`, of equal scores the lower id first, however the scores were computed."""
    if isinstance(scores, ListedScores):
        return scores.best(k, among, best_by_id)
    if among is not None:
        scores = scores.masked_fill(~among.to(scores.device), -torch.inf)
    value, item = scores.topk(min(k + 1, scores.shape[1]), dim=1)  # one more: it may be as good as the last
    after, equal = value[:, 1:], value[:, 1:] == value[:, :-1]
    value, item = value[:, :k], item[:, :k]
    if not equal.any():
        return value, item
    tied = (equal & (after > -torch.inf)).any(1).nonzero().squeeze(1)
    for rows in tied.split(max(_BLOCK // scores.shape[1], 1)):
        theirs, last = scores[rows], value[rows, -1:]
        better, equal = ~(theirs <= last), theirs == last  # NaN is best, as in topk
        equal &= equal.cumsum(1, dtype=torch.int32) <= k - better.sum(1, keepdim=True)
        items = (better | equal).nonzero()[:, 1].view(-1, k)
        values, order = theirs.gather(1, items).sort(dim=1, descending=True, stable=True)
        value[rows], item[rows] = values, items.gather(1, order)
    return value, item


def contained(keys: Tensor, ascending: Tensor) -> Tensor:
    """Which of ``keys`` are in ``ascending``: bool."""
    if not len(ascending):
        return torch.zeros_like(keys, dtype=torch.bool)
    place = torch.searchsorted(ascending, keys).clamp(max=len(ascending) - 1)
    return ascending[place] == keys
