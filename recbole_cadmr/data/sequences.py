"""What users have chosen in its order: the histories that models of sequences read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_cadmr.data.interactions import InteractionDataset
from recbole_cadmr.errors import UserError


@dataclass(frozen=True)
class Sequences:
    """The histories of all users, by RecBole's ids.

    Attributes:
        items: int64 [n_users, L], the last L items of each user in their order, and 0 behind them.
        length: int64 [n_users], how many these are.
        longest: L.
    """

    items: Tensor
    length: Tensor

    @classmethod
    def of(cls, parts: Sequence[InteractionDataset], longest: int) -> Sequences:
        """The last ``longest`` interactions of each user in some parts of a data set.

        Raises:
            UserError: if there is no order, as of :func:`in_order`.
        """
        users, items, _ = in_order(parts)
        n_users = parts[0].user_num
        size = np.bincount(users, minlength=n_users)
        from_end = np.repeat(size.cumsum(), size) - np.arange(len(users))  # 1 for a user's last
        kept = from_end <= longest
        length = np.minimum(size, longest)
        table = np.zeros((n_users, longest), dtype=np.int64)
        table[users[kept], length[users[kept]] - from_end[kept]] = items[kept]
        return cls(torch.from_numpy(table), torch.from_numpy(length))

    def interaction(self, users: Tensor, config: Any) -> Interaction:
        """The histories of users [B] in the fields of RecBole's models of sequences.

        Who has none gets one of length 1 that holds the padding item, as these models look at the last place.
        """
        fields = config["ITEM_ID_FIELD"] + config["LIST_SUFFIX"], config["ITEM_LIST_LENGTH_FIELD"]
        return Interaction(dict(zip(fields, (self.items[users], self.length[users].clamp(min=1)))))


def in_order(parts: Sequence[InteractionDataset]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """User, item and part (by number) of all interactions of some parts, by user and then by time.

    Raises:
        UserError: if no times are loaded, two of a user are equal, or one of a later part is earlier than one of a part
            before.
    """
    first = parts[0]
    name, field = first.dataset_name, first.time_field
    if field not in first.inter_feat:
        raise UserError(
            f"models of sequences need the order of interactions, and no column {field} of {name} is loaded; name one "
            f"by TIME_FIELD, and in load_col"
        )
    columns = (first.uid_field, first.iid_field, field)
    users, items, times = (np.concatenate([part.inter_feat[column].numpy() for part in parts]) for column in columns)
    part = np.repeat(np.arange(len(parts)), [len(each) for each in parts])
    order = np.lexsort((times, users))
    users, items, times, part = users[order], items[order], times[order], part[order]
    steps = users[1:] == users[:-1]
    tied = int((steps & (times[1:] == times[:-1])).sum())
    if tied:
        raise UserError(
            f"{tied:,} of {int(steps.sum()):,} steps of the users of {name} have no order: their {field} is equal in "
            f"float32, whose steps are 128 s in a time of today; write a column order:float, a number that rises with "
            f"each interaction of a user, and name it by TIME_FIELD"
        )
    if (steps & (part[1:] < part[:-1])).any():
        raise UserError(
            f"held-out interactions of {name} are earlier than others of the same user that are trained on, which a "
            f"model of sequences would be told; split by time, or leave the last ones out"
        )
    return users, items, part
