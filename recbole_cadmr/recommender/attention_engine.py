"""Scores ``R S + weight log p`` by a closed form and a trained attention, without a model and its data."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_cadmr.data.rows import RowBatch
from recbole_cadmr.layers.attention_scores import AttentionScores, candidates
from recbole_cadmr.layers.score_paths import ScorePath
from recbole_cadmr.recommender.engine import Engine
from recbole_cadmr.recommender.weights_engine import WeightsEngine, without_padding


class AttentionEngine(Engine):
    """Scores of people by what they have.

    Args:
        name: of the model.
        closed_form: gives ``R S``.
        attention: gives log p.
        weight: of log p.
        n_candidates: how many of the best by the closed form the attention looks at; None for all.
    """

    takes_histories = True

    def __init__(
        self,
        name: str,
        closed_form: WeightsEngine,
        attention: AttentionScores,
        weight: float,
        n_candidates: int | None = None,
    ) -> None:
        self.name, self.closed_form, self.attention = name, closed_form, attention
        self.weight, self.n_candidates = weight, n_candidates
        self.n_items = closed_form.n_items
        self.explains, self.weighs_content = closed_form.explains, closed_form.weighs_content

    @property
    def modality_weights(self) -> Mapping[str, float]:
        """How much each modality counts in the closed form, by name."""
        return self.closed_form.modality_weights

    def for_many(self, n_rows: int) -> AttentionEngine:
        """With the attention's rows kept, if memory has room for them, where most items are asked for anyway."""
        if n_rows < self.n_items or self.n_candidates is not None:
            return self
        attention = AttentionScores(self.attention.members, keeps_rows=True)
        return AttentionEngine(self.name, self.closed_form.for_many(n_rows), attention, self.weight)

    @torch.no_grad()
    def scores(self, rows: RowBatch, content_weight: float = 1.0) -> Tensor:
        """Scores of people by what they have."""
        batch = without_padding(rows)
        scores = self.closed_form.scores_of(batch, content_weight)
        return F.pad(self.attention.added_to(scores, batch, self.weight, self.n_candidates), (1, 0))

    @torch.no_grad()
    def listed(self, rows: RowBatch) -> sp.csr_matrix | None:
        """What the attention looks at, if that is not all."""
        if self.n_candidates is None:
            return None
        batch = without_padding(rows)
        scores = self.closed_form.scores_of(batch)
        items = candidates(scores, self.n_candidates)
        listed = scores.gather(1, items) + self.weight * self.attention.log_p_at(batch, items)
        place = 1 + items.flatten().numpy(), np.arange(batch.n_rows + 1) * items.shape[1]
        return sp.csr_matrix((listed.flatten().numpy(), *place), (batch.n_rows, self.n_items))

    @torch.no_grad()
    def score_paths(
        self, chosen: Tensor, item: int, user: int | None, content_weight: float = 1.0, counts: Tensor | None = None
    ) -> list[ScorePath]:
        """The paths of the closed form, and what each chosen item adds to log p."""
        row, scores = chosen.cpu() - 1, None
        if self.n_candidates is not None:
            value = torch.ones(len(row)) if counts is None else counts
            batch = RowBatch(torch.zeros_like(row), row, value, 1, self.n_items - 1)
            scores = self.closed_form.scores_of(batch, content_weight)
        attention = self.attention.paths(row, item - 1, self.weight, scores, self.n_candidates, counts)
        return [*self.closed_form.score_paths(chosen, item, user, content_weight, counts), *attention]

    def item_vectors(self) -> Tensor:
        """The keys of all members side by side."""
        keys = torch.cat([key for _, key in self.attention.members], 1)
        return F.normalize(F.pad(keys, (0, 0, 1, 0)), dim=1)
