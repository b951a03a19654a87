"""Loaders of a run: training batches, and full ranking of the held-out parts, without Python per user."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader
from recbole.data.interaction import Interaction
from recbole.data.utils import get_dataloader
from recbole.sampler import Sampler

from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.data.rows import RatingRows
from recbole_cadmr.errors import UserError

# Scores held at once in evaluation; RecBole's default of 4,096 would score one user a step.
_SCORES = 2**23


def derived_eval_batch_size(n_items: int) -> int:
    """Scores (users x items) of one evaluation step for a catalogue of ``n_items``: at least one user's."""
    return max(_SCORES, n_items)


def prepare_loaders(config: Any, dataset: MultimodalDataset, model_class: type) -> tuple[Any, Any, Any]:
    """Split a data set and return its train, validation and test loader.

    Samplers and training batches know the train part alone; RecBole's popularity sampling would count held-out
    interactions, too.

    Raises:
        UserError: if the evaluation mode is not full ranking, or the train part is empty.
    """
    modes = set(config["eval_args"]["mode"].values())
    if modes != {"full"}:
        raise UserError(f"only full ranking is measured here, not eval_args mode {', '.join(sorted(modes))}")
    train, valid, test = dataset.build()
    if not len(train):
        raise UserError(f"the split leaves {dataset.dataset_name} without train interactions; change eval_args")
    if config["eval_batch_size"] is None:
        config["eval_batch_size"] = derived_eval_batch_size(dataset.item_num)
    train_rows, valid_rows = (part.inter_matrix(form="csr") for part in (train, valid))
    seen = train_rows + valid_rows if config["mask_valid_at_test"] else train_rows
    return (
        _train_loader(config, train, model_class),
        FullRankingLoader(config, valid, train_rows),
        FullRankingLoader(config, test, seen),
    )


def _train_loader(config: Any, train: MultimodalDataset, model_class: type) -> Any:
    if getattr(model_class, "batch_by_rows", False):
        return RowLoader(config, train, shuffle=config["shuffle"])
    sampling = config["train_neg_sample_args"]
    sampler = None
    if sampling["distribution"] != "none":
        try:
            sampler = Sampler(["train"], [train], sampling["distribution"], sampling["alpha"]).set_phase("train")
        except ValueError as error:
            raise UserError(
                "a user has every item, so that no negative item can be sampled; leave such users out with "
                "--user_inter_num_interval"
            ) from error
    return get_dataloader(config, "train")(config, train, sampler, shuffle=config["shuffle"])


class RowLoader(AbstractDataLoader):
    """Batches of rows of the rating matrix: ids of users (or of items, by the setting ``rows``).

    Rows without a train interaction, the padding row among them, are left out.
    """

    def __init__(self, config: Any, dataset: MultimodalDataset, sampler: None = None, shuffle: bool = True) -> None:
        self._field = dataset.iid_field if config["rows"] == "items" else dataset.uid_field
        self._ids = torch.unique(dataset.inter_feat[self._field])
        self.sample_size = len(self._ids)
        super().__init__(config, dataset, sampler, shuffle=shuffle)

    def _init_batch_size_and_step(self) -> None:
        self.step = self.config["train_batch_size"]
        self.set_batch_size(self.step)

    def collate_fn(self, index: Sequence[int]) -> Interaction:
        """The ids at ``index``."""
        return Interaction({self._field: self._ids[torch.as_tensor(index)]})


class FullRankingLoader(FullSortEvalDataLoader):
    """What RecBole's ``FullSortEvalDataLoader`` yields, from compressed rows.

    Args:
        dataset: the held-out part; its users are ranked in ascending id.
        known: [n_users, n_items] interactions left out of the ranking, unless they are held-out ones.
    """

    def __init__(self, config: Any, dataset: MultimodalDataset, known: sp.csr_matrix) -> None:
        self.logger = logging.getLogger()
        self.uid_field, self.iid_field = dataset.uid_field, dataset.iid_field
        self.is_sequential = False
        positive = _binary(dataset.inter_matrix(form="csr"))
        self._positive = RatingRows(positive)
        known = _binary(known)
        self._history = RatingRows(_binary(known - known.multiply(positive)))
        self.uid_list = torch.from_numpy(np.flatnonzero(np.diff(positive.indptr)))
        self.user_df = dataset.join(Interaction({self.uid_field: self.uid_list}))
        self.sample_size = len(self.uid_list)
        AbstractDataLoader.__init__(self, config, dataset, None, shuffle=False)

    def collate_fn(self, index: Sequence[int]) -> tuple[Any, ...]:
        """Users, (row, item) of their known items, and row and item of their held-out ones."""
        at = torch.as_tensor(index)
        users = self.uid_list[at]
        return self.user_df[at], self._history.entries(users), *self._positive.entries(users)


def _binary(matrix: sp.csr_matrix) -> sp.csr_matrix:
    matrix = sp.csr_matrix(matrix)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    matrix.data[:] = 1
    return matrix
