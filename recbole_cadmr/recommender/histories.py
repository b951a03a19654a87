"""What people have chosen: sparse rows of users by items, by part of the data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
import torch

from recbole_cadmr.data.order import by_recency, with_later
from recbole_cadmr.data.rows import RatingRows, binary
from recbole_cadmr.errors import UserError

if TYPE_CHECKING:
    from recbole_cadmr.data.sequences import Sequences  # RecBole comes with it

PARTS = ("train", "valid", "test")
LEFT_OUT = {"train": 1, "train+valid": 2, "all": 3, "none": 0}  # how many of the parts


@dataclass(frozen=True)
class Histories:
    """What each user has, by numbers; rows are binary.

    Attributes:
        parts: [n_users, n_items] of ``train``, ``valid`` and ``test``.
        added: [n_users, n_items], what has come since.
        fitted: [n_users, n_items], those of ``added`` that a model was fitted to, beside the train part.
        sequences: the same in its order, for a model of sequences, by the number of parts; or why there is none.
        order: of :func:`data.order.ranked`, the places of the train part's entries in their rows [n_users, n_items],
            of a model that goes by them.
        recency: the exponent by which such a model weighs down what is not recent (:func:`data.order.by_recency`).
    """

    parts: Mapping[str, sp.csr_matrix]
    added: sp.csr_matrix
    fitted: sp.csr_matrix
    sequences: Mapping[int, Sequences | UserError] = field(default_factory=dict)
    order: sp.csr_matrix | None = None
    recency: float = 0.0

    @classmethod
    def of(
        cls,
        parts: list[sp.csr_matrix],
        sequences: Mapping[int, Sequences | UserError],
        order: sp.csr_matrix | None = None,
        recency: float = 0.0,
    ) -> Histories:
        """The histories of the parts of a data set, in their order."""
        matrices = [binary(part) for part in parts]
        nothing = sp.csr_matrix(matrices[0].shape, dtype=np.float32)
        return cls(dict(zip(PARTS, matrices)), nothing, nothing, sequences, order, recency)

    def left_out(self, leave_out: str) -> RatingRows:
        """What users are not recommended again; what was added since is among it, unless that is nothing.

        Args:
            leave_out: ``train``, ``train+valid``, ``all`` or ``none``.
        """
        return self._rows[leave_out]

    @cached_property
    def known(self) -> RatingRows:
        """What a model scores users by: the train part and what was added since."""
        if not self.recency or self.order is None:
            return RatingRows(self._known)
        return RatingRows(by_recency(with_later(self.order, self.added), self.recency), are_counts=True)

    @cached_property
    def trained(self) -> RatingRows:
        """What a model was trained on, which is all that it knows of a user if it takes no histories."""
        return RatingRows(self.parts["train"])

    def users_of(self, item: int) -> np.ndarray:
        """The numbers of those who have an item, by the train part and what was added since."""
        return self._by_item.indices[self._by_item.indptr[item] : self._by_item.indptr[item + 1]].astype(np.int64)

    @cached_property
    def has_added(self) -> torch.Tensor:
        """Of whom there is something that a model has not been trained on: bool [n_users]."""
        return torch.from_numpy(np.diff(self.added.indptr) > 0)

    @cached_property
    def popularity(self) -> torch.Tensor:
        """How many users have each item, by the train part and what was added since: float32 [n_items]."""
        return torch.from_numpy(np.bincount(self._known.indices, minlength=self._known.shape[1]).astype(np.float32))

    def sequences_of(self, leave_out: str) -> Sequences:
        """What a model of sequences goes on from: what is left out, or with ``none`` the train part.

        Raises:
            UserError: if these interactions have no order.
        """
        found = self.sequences[max(LEFT_OUT[leave_out], 1)]
        if isinstance(found, UserError):
            raise found
        return found

    @property
    def fitted_rows(self) -> sp.csr_matrix:
        """What a model that follows from interactions is fitted to: binary [n_users, n_items - 1], without padding."""
        return binary((self.parts["train"] + self.fitted)[:, 1:])

    @property
    def fitted_order(self) -> sp.csr_matrix | None:
        """The places of :attr:`fitted_rows` in their rows, if known; what came after training is behind the rest."""
        return None if self.order is None else with_later(self.order, self.fitted)[:, 1:]

    def with_added(self, rows: sp.csr_matrix, refit: bool = False) -> Histories:
        """The same with further pairs [n_users or more, n_items or more].

        Args:
            refit: whether the model is fitted to all that was added, these and others.
        """
        wider = {name: _resized(part, rows.shape) for name, part in self.parts.items()}
        added = binary(_resized(self.added, rows.shape) + rows)
        fitted = added if refit else _resized(self.fitted, rows.shape)
        order = None if self.order is None else _resized(self.order, rows.shape)
        return replace(self, parts=wider, added=added, fitted=fitted, order=order)

    @cached_property
    def _known(self) -> sp.csr_matrix:
        return binary(self.parts["train"] + self.added)

    @cached_property
    def _by_item(self) -> sp.csc_matrix:
        return self._known.tocsc()

    @cached_property
    def _rows(self) -> dict[str, RatingRows]:
        empty = sp.csr_matrix(self.added.shape, dtype=np.float32)
        rows = {"none": RatingRows(empty)}
        so_far = self.added
        for name, n in LEFT_OUT.items():
            if n:
                so_far = so_far + self.parts[PARTS[n - 1]]
                rows[name] = RatingRows(so_far)
        return rows


def _resized(matrix: sp.csr_matrix, shape: tuple[int, int]) -> sp.csr_matrix:
    matrix = matrix.copy()
    matrix.resize(shape)
    return matrix
