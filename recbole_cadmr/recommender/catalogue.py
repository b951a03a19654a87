"""The items that a model recommends and the users it knows, by their ids and by number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import repeat
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_cadmr.data.encoders import Encoder
from recbole_cadmr.data.modality import Modality
from recbole_cadmr.errors import UserError


@dataclass(frozen=True)
class Catalogue:
    """Items and users; numbers are RecBole's, 0 the padding item and the padding user.

    Attributes:
        user_ids, item_ids: [n_users] and [n_items] of texts, by number; at 0 stands ``[PAD]``.
        table: what the data set says of the items, columns of texts with one row an item but the padding item, indexed
            by the id; without columns if it says nothing.
        modalities: features of the items by name, as of the data set.
        encoders: what made the features, by name, where the data set says so.
    """

    user_ids: np.ndarray
    item_ids: np.ndarray
    table: pd.DataFrame = field(default_factory=pd.DataFrame)
    modalities: Mapping[str, Modality] = field(default_factory=dict)
    encoders: Mapping[str, Encoder] = field(default_factory=dict)

    @property
    def n_users(self) -> int:
        """How many users there are, with the padding user."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """How many items there are, with the padding item."""
        return len(self.item_ids)

    @cached_property
    def user_numbers(self) -> dict[str, int]:
        """The number of each user by id."""
        return _numbers(self.user_ids)

    @cached_property
    def item_numbers(self) -> dict[str, int]:
        """The number of each item by id."""
        return _numbers(self.item_ids)

    @cached_property
    def titles(self) -> dict[str, str]:
        """The titles of the items that have one, by id."""
        if "title" not in self.table:
            return {}
        return {item: title for item, title in zip(self.table.index, self.table["title"]) if title}

    @cached_property
    def content_vectors(self) -> Tensor | None:
        """The content of the items [n_items, d], whose cosines say how alike they are; None if nothing is known of it.

        The modalities side by side, each centred, as features of networks have a direction in common, and of length 1;
        together of length 1, or 0 of items without any.
        """
        if not self.modalities:
            return None
        units = []
        for modality in self.modalities.values():
            present = modality.present[:, None]
            mean = modality.features.sum(0) / present.sum().clamp(min=1)
            units.append(F.normalize((modality.features - mean) * present, dim=1))
        return F.normalize(torch.cat(units, 1), dim=1)

    def column(self, name: str) -> list[str] | None:
        """A column of :attr:`table` in the order of the items; None if there is none of this name."""
        return self.table[name].tolist() if name in self.table else None

    def numbers_of(self, ids: list[str]) -> np.ndarray:
        """The numbers of items by id, 0 of ids that are not in the catalogue."""
        return np.fromiter(map(self.item_numbers.get, ids, repeat(0)), dtype=np.int64, count=len(ids))

    def with_users(self, ids: list[str]) -> Catalogue:
        """The same with further users, numbered behind the others."""
        return replace(self, user_ids=np.append(self.user_ids, np.array(ids, dtype=object)))

    def with_items(self, ids: list[str], titles: list[str], features: Mapping[str, Tensor]) -> Catalogue:
        """The same with further items, numbered behind the others.

        Args:
            titles: of these items, "" where there is none.
            features: [n, width] by modality, zeros where an item lacks it; of a modality that is not named, all do.
        """
        rows = pd.DataFrame("", index=pd.Index(ids, dtype=object), columns=self.table.columns)
        table = pd.concat([self.table.reindex(self.item_ids[1:], fill_value=""), rows])
        if "title" in table or any(titles):
            known = table["title"].iloc[: self.n_items - 1] if "title" in table else [""] * (self.n_items - 1)
            table["title"] = [*known, *titles]
        modalities = {name: m.with_items(features.get(name), len(ids)) for name, m in self.modalities.items()}
        item_ids = np.append(self.item_ids, np.array(ids, dtype=object))
        return replace(self, item_ids=item_ids, table=table, modalities=modalities)

    def item_number(self, item_id: str) -> int:
        """The number of an item.

        Raises:
            UserError: if it is not in the catalogue.
        """
        if item_id not in self.item_numbers:
            raise UserError(f"the item '{item_id:.100}' is not in the catalogue")
        return self.item_numbers[item_id]


def _numbers(ids: np.ndarray) -> dict[str, int]:
    return dict(zip(ids[1:].tolist(), range(1, len(ids))))


def item_texts(table: pd.DataFrame, item_ids: np.ndarray) -> pd.DataFrame:
    """The rows of a table of texts, indexed by item id, in the order of the catalogue; "" of items it does not name."""
    table = table[~table.index.duplicated()]
    return table.reindex(pd.Index(item_ids[1:]), fill_value="")


def plain_ids(ids: Any) -> np.ndarray:
    """Ids as an array of objects, so that the rows of a table share the texts."""
    return np.asarray(ids).astype(object)
