"""What an evaluation keeps of a batch of scores: RecBole's entries, bit for bit, with less work."""

from __future__ import annotations

import math

import torch
from recbole.data.interaction import Interaction
from recbole.evaluator.collector import Collector, DataStruct
from torch import Tensor

from recbole_cadmr.config.config import Config
from recbole_cadmr.training.ranking import ListedScores, best, contained

_ITEMS, _HITS, _DOMAIN = "rec.items", "rec.topk", "rec.domain"
_OF_ALL = ("rec.meanrank", "rec.score")
_GROUPS = 2  # groups of items a place of the list at least, see hits_by_rank
_LEAST_ROWS = 1024  # for which there is room
_BLOCK = 64  # rows of scores counted at once, which stay in the processor's cache


class RankingCollector(Collector):
    """RecBole's collector without a dense matrix [users, items] of held-out items and without copying what it returns.

    The list of best items (``rec.items``) and where in it the held-out ones are (``rec.topk``) are this class's, in
    int32; everything else is RecBole's. Ties are broken as ``torch.topk`` of the user's scores does, those of listed
    candidates by their ids.

    Args:
        domains: the domain of each item [n_items], of a data set of two; ``rec.domain`` says it of the held-out items.
    """

    def __init__(self, config: Config, domains: Tensor | None = None) -> None:
        super().__init__(config)
        self._domains = domains
        self._of_domains = _Rows()
        self._collected = {key: _Rows() for key in (_ITEMS, _HITS) if self.register.need(key)}
        for key in self._collected:
            setattr(self.register, key, False)  # super() is not to do it, too

    @property
    def needs_all_scores(self) -> bool:
        """Whether a metric asks for more than the best items of the users."""
        return any(map(self.register.need, _OF_ALL))

    def eval_batch_collect(
        self, scores_tensor: Tensor | ListedScores, interaction: Interaction, positive_u: Tensor, positive_i: Tensor
    ) -> None:
        """Keep what the metrics need of the scores [B, n_items] and the held-out (row, item) pairs of a batch."""
        if self._domains is not None:
            user, place = positive_u.cpu().unique(return_inverse=True)
            self._of_domains.append(torch.zeros_like(user).index_put_((place,), self._domains[positive_i.cpu()]))
        if isinstance(scores_tensor, Tensor):
            super().eval_batch_collect(scores_tensor, interaction, positive_u, positive_i)
        if not self._collected:
            return
        k, n_items = max(self.topk), scores_tensor.shape[1]
        held_out = (positive_u * n_items + positive_i).unique()  # ascending
        # A GPU's topk is fast, and breaks ties by the shape of the batch, so that it has to be asked for all of it.
        by_rank = _ITEMS not in self._collected and n_items >= 2 * _GROUPS * k
        if by_rank and isinstance(scores_tensor, Tensor) and scores_tensor.device.type == "cpu":
            self._collected[_HITS].append(hits_by_rank(scores_tensor, held_out, k))
            return
        items = best(scores_tensor, k)[1]
        for key, rows in self._collected.items():
            rows.append(items.int() if key == _ITEMS else hits(items, held_out.to(items.device), n_items))

    def get_data_struct(self) -> DataStruct:
        """All that was collected, on the CPU; what belongs to one evaluation is forgotten here."""
        taken = DataStruct()
        for key, value in list(self.data_struct._data_dict.items()):
            taken.set(key, value.cpu() if isinstance(value, Tensor) else value)
            if isinstance(value, Tensor):  # what data_collect found are numbers and counters
                del self.data_struct[key]
        for key, rows in {**self._collected, _DOMAIN: self._of_domains}.items():
            if (collected := rows.take()) is not None:
                taken.set(key, collected.cpu())
        return taken


class _Rows:
    """The rows of all batches in one tensor, which grows by half.

    What each batch left behind by itself would split the memory that the next ones are to reuse
    (:func:`recbole_cadmr.memory.freed_memory_kept`), which then grows from batch to batch.
    """

    def __init__(self) -> None:
        self._kept: Tensor | None = None
        self._end = 0

    def append(self, rows: Tensor) -> None:
        begin, self._end = self._end, self._end + len(rows)
        if self._kept is None or self._end > len(self._kept):
            grown = rows.new_empty(max(self._end + begin // 2, _LEAST_ROWS), *rows.shape[1:])
            if self._kept is not None:
                grown[:begin] = self._kept[:begin]
            self._kept = grown
        self._kept[begin : self._end] = rows

    def take(self) -> Tensor | None:
        """All rows, which are forgotten here; None if there was no batch."""
        taken, end = self._kept, self._end
        self._kept, self._end = None, 0
        return None if taken is None else taken[:end].clone()


def hits(lists: Tensor, held_out: Tensor, n_items: int) -> Tensor:
    """Where the held-out items are in ``lists`` [B, k] of items, and in the last column how many there are.

    Args:
        held_out: int64, ``row * n_items + item`` of each, ascending.

    Returns:
        int32 [B, k + 1], 1 where the list has a held-out item.
    """
    rows = torch.arange(len(lists), device=lists.device)
    size = torch.bincount(held_out // n_items, minlength=len(lists))
    return torch.cat([contained(rows[:, None] * n_items + lists, held_out).int(), size[:, None].int()], dim=1)


def hits_by_rank(scores: Tensor, held_out: Tensor, k: int) -> Tensor:
    """:func:`hits` in the lists of the ``k`` best of ``scores`` [B, n_items], without the lists.

    The place of an item is the number of better ones. Few need counting: of more than ``k`` groups of items the ``k``
    best, by their best item, hold ``k`` items as good as the last of these. What is worse than it is in no list, and
    whatever is better than the others is in these groups, or behind the last one.
    Rows in which a held-out item ties with another one in the list get ``torch.topk``.
    """
    n_items = scores.shape[1]
    if n_items < _GROUPS * k:
        return hits(scores.topk(k, dim=1).indices, held_out, n_items)
    # sqrt(k n) groups would leave least to look at in a row that is counted; few are.
    groups = max(_GROUPS * k, math.isqrt(k * n_items) // 4 // 64 * 64)
    row, item = held_out // n_items, held_out % n_items
    result = torch.zeros(len(scores), k + 1, dtype=torch.int32, device=scores.device)
    result[:, k] = torch.bincount(row, minlength=len(scores))
    rounds = n_items // groups
    inside = rounds * groups
    if scores.stride(0) == 1:  # stored by items, as what a sparse matrix was multiplied by
        highest = scores.T[:inside].view(rounds, groups, len(scores)).amax(0).T
    else:
        highest = scores[:, :inside].view(len(scores), rounds, groups).amax(1)
    best_groups = highest.topk(k, dim=1)
    bound = best_groups.values[:, -1]
    score = scores[row, item]
    near = ~(score < bound[row])  # NaN counts as best, as in topk
    row, score = row[near], score[near]
    counted, place = row.unique(return_inverse=True)
    steps = groups * torch.arange(rounds, device=scores.device)
    in_groups = (best_groups.indices[counted, :, None] + steps).flatten(1)
    among = torch.cat([scores[counted[:, None], in_groups], scores[counted, inside:]], 1)
    better, same = torch.zeros_like(row), torch.zeros_like(row)
    for block in torch.arange(len(row)).split(_BLOCK):
        theirs, own = among[place[block]], score[block, None]
        better[block] = among.shape[1] - (theirs <= own).sum(1)
        same[block] = (theirs == own).sum(1)
    # As good as the last group, it may tie with an item of a group that is none of the k.
    is_last = score == bound[row]
    tied = row[((same != 1) | is_last) & ((better < k) | score.isnan())].unique()
    listed = better < k
    result[row[listed], better[listed]] = 1
    if len(tied):
        result[tied, :k] = contained(tied[:, None] * n_items + scores[tied].topk(k, dim=-1).indices, held_out).int()
    return result
