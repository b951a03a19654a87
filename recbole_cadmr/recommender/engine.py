"""What a recommender asks for scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

import scipy.sparse as sp
from torch import Tensor

from recbole_cadmr.data.rows import RowBatch, users_at_once
from recbole_cadmr.errors import UserError
from recbole_cadmr.layers.score_paths import ScorePath

if TYPE_CHECKING:
    from recbole_cadmr.data.sequences import Sequences  # RecBole comes with it


class Engine(ABC):
    """Scores of all items, by the numbers of a :class:`Catalogue`; asking changes nothing that can be seen.

    Attributes:
        name: of the model.
        takes_histories: whether people are scored by what they have alone (:meth:`scores`), whoever they are.
        knows_users: whether the users it was trained on are scored by their numbers (:meth:`scores_of_users`).
        explains: whether it says what a score is made of (:meth:`score_paths`).
        weighs_content: whether :meth:`scores` takes a weight of content other than 1.
        sequential: whether :meth:`scores_of_users` reads what they have in its order.
        users_at_once: how many users to ask for together.
    """

    name: str
    takes_histories: bool = False
    knows_users: bool = False
    explains: bool = False
    weighs_content: bool = False
    sequential: bool = False
    n_items: int

    @property
    def users_at_once(self) -> int:
        """Users whose scores are computed together."""
        return users_at_once(self.n_items)

    @abstractmethod
    def scores(self, rows: RowBatch, content_weight: float = 1.0) -> Tensor:
        """Scores of people by what they have.

        Args:
            rows: [B, n_items], the padding item's column included.
            content_weight: factor of what content adds to the scores of a closed form, 1 as trained.

        Returns:
            float32 [B, n_items] in main memory, the padding item's column included, which is not read.

        Raises:
            UserError: if the model knows only the users it was trained on, or content has no weight in it.
        """

    def scores_of_users(self, users: Tensor, sequences: Sequences | None = None) -> Tensor:
        """Scores, as of :meth:`scores`, of users [B] that the model was trained on."""
        raise NotImplementedError

    def listed(self, rows: RowBatch) -> sp.csr_matrix | None:
        """Scores [B, n_items] of a few candidates of each person, as of ``TrainingHooks.listed_scores``; else None.

        Args:
            rows: as of :meth:`scores`; ``ids`` are the numbers of users.
        """
        return None

    def for_many(self, n_rows: int) -> Engine:
        """The engine to ask for the scores of so many people, one after the other."""
        return self

    def score_paths(
        self, chosen: Tensor, item: int, user: int | None, content_weight: float = 1.0, counts: Tensor | None = None
    ) -> list[ScorePath]:
        """The parts of the score of an item, which add up to it.

        Args:
            chosen: int64 [n], what the person has, ascending; one item at least.
            user: whose they are; None of people the model has not seen.
            content_weight: as of :meth:`scores`.
            counts: float32 [n], what each of the chosen items counts for in the person's row; 1 if not given.

        Raises:
            UserError: if nothing true can be said about this model's scores.
        """
        raise UserError(f"the scores of {self.name} do not fall into parts that can be named")

    @property
    def modality_weights(self) -> Mapping[str, float]:
        """How much each modality counts, by name; {} if they count alike."""
        return {}

    def item_vectors(self) -> Tensor | None:
        """Vectors of the items [n_items, d] whose cosines say how alike the model takes them to be; None without.

        Of length 1, or zeros of items about which it can say nothing.
        """
        return None
