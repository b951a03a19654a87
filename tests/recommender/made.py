"""Recommenders of given scores, for exact expectations."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch

from recbole_cadmr.data.modality import Modality
from recbole_cadmr.data.rows import RowBatch
from recbole_cadmr.recommender.catalogue import Catalogue
from recbole_cadmr.recommender.engine import Engine
from recbole_cadmr.recommender.histories import Histories
from recbole_cadmr.recommender.parts import Parts
from recbole_cadmr.recommender.recommender import Recommender

USERS = ["ann", "bob", "cid", "dot"]
ITEMS = ["a", "b", "c", "d", "e", "f"]
HAS = {"ann": ["ab", "c", ""], "bob": ["bc", "", "d"], "cid": ["b", "", ""], "dot": ["", "e", "f"]}
# What each user thinks of a, b, c, d, e, f; strangers are scored by the sum of ITEM_SCORES over what they have.
SCORES = [[6, 5, 4, 3, 2, 1], [1, 2, 3, 4, 5, 6], [3, 1, 4, 1, 5, 9], [2, 7, 1, 8, 2.5, 8.5]]
# a and b, c and d, e and f are alike.
CONTENT = [[1, 0, 0], [1, 0.1, 0], [0, 1, 0], [0, 1, 0.1], [0, 0, 1], [0.1, 0, 1]]


class GivenEngine(Engine):
    """Scores by user and, of strangers, by item, that are given."""

    name = "Given"
    takes_histories = knows_users = True

    def __init__(self, lists_candidates: bool = False) -> None:
        self.n_items = len(ITEMS) + 1
        self.by_user = torch.zeros(len(USERS) + 1, self.n_items)
        self.by_user[1:, 1:] = torch.tensor(SCORES)
        self.by_item = torch.arange(self.n_items**2).reshape(self.n_items, -1).float() % 11
        self.lists_candidates = lists_candidates

    def scores(self, rows: RowBatch, content_weight: float = 1.0) -> torch.Tensor:
        return rows.dense @ self.by_item

    def scores_of_users(self, users: torch.Tensor, sequences: object = None) -> torch.Tensor:
        return self.by_user[users].clone()

    def listed(self, rows: RowBatch) -> sp.csr_matrix | None:
        if rows.ids is None:
            return None
        scores = self.by_user[rows.ids]
        return sp.csr_matrix(torch.where(scores > 1.5, scores, 0.0).numpy()) if self.lists_candidates else None


def made(engine: Engine | None = None, content: bool = True) -> Recommender:
    """A recommender of four people and six items."""
    ids = [np.array(["[PAD]", *names], dtype=object) for names in (USERS, ITEMS)]
    parts = []
    for part in range(3):
        pairs = [(USERS.index(user) + 1, ITEMS.index(i) + 1) for user, has in HAS.items() for i in has[part]]
        rows, columns = zip(*pairs)
        shape = len(USERS) + 1, len(ITEMS) + 1
        parts.append(sp.csr_matrix((np.ones(len(pairs), np.float32), (rows, columns)), shape=shape))
    features = torch.tensor([[0.0, 0, 0], *CONTENT])
    modalities = {"text": Modality("text", features, features.any(1))} if content else {}
    card = {"model": "Given", "dataset": "made"}
    return Recommender(
        Parts(Catalogue(*ids, modalities=modalities), Histories.of(parts, {}), engine or GivenEngine(), card)
    )
