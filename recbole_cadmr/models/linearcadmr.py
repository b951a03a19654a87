"""LinearCADMR: the closed-form member of the CADMR family."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from recbole.utils import ModelType
from torch import Tensor, nn

from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.data.rows import RowBatch
from recbole_cadmr.layers.low_rank_autoencoder import LowRankPlusSparse
from recbole_cadmr.models.base import IN_CLOSED_FORM, weights_of_items
from recbole_cadmr.models.closed_form import ClosedFormRecommender


class LinearCADMR(ClosedFormRecommender):
    """A :class:`ContentAutoencoder` of the training rows: content attention around a linear autoencoder, no epochs.

    With several values of ``reg_weight`` each is one epoch, and the best on validation is kept. Settings are
    declared in ``properties/model/LinearCADMR.yaml``.
    """

    type = ModelType.TRADITIONAL
    traits = replace(
        IN_CLOSED_FORM,
        reads_item_graphs=True,
        weighs_content=True,
        trainer="recbole_cadmr.training.linear_trainer:LinearTrainer",
        item_matrices=5,
        fits_sparse=True,
    )

    def __init__(self, config: Config, dataset: MultimodalDataset) -> None:
        super().__init__(config, dataset, config.model_settings(), config.changed)
        ridges = config["reg_weight"]
        self.reg_weights = list(ridges) if isinstance(ridges, (list, tuple)) else [ridges]
        self.reg_weight = self.reg_weights[0]
        self._fitted: float | None = None
        self._kind: str | None = None
        self.other_parameter_name = ["_weights"]
        self.nothing_to_learn = nn.Parameter(torch.zeros(1))  # RecBole's trainer wants an optimiser

    @property
    def _weights(self) -> Tensor | dict[str, Any] | None:
        weights = self.closed_form.weights
        return vars(weights) if isinstance(weights, LowRankPlusSparse) else weights

    @_weights.setter
    def _weights(self, weights: Tensor | dict[str, Any] | None) -> None:
        n_items = self.n_items - 1
        if isinstance(weights, dict):
            self.closed_form.weights = LowRankPlusSparse.from_parts(weights, n_items, self.device)
        elif weights is None:
            self.closed_form.weights = None
        elif isinstance(own := weights_of_items(weights, n_items, self.device), Tensor):
            self.closed_form.weights = own
        else:
            raise ValueError("its weights are of a sparse fit of an earlier version; train it again")
        self._fitted = None

    def refit(self, before: Any, dataset: MultimodalDataset, n_known: int) -> None:
        """Fit by the same settings, in the same way."""
        self._kind = "exact" if isinstance(before.closed_form.weights, Tensor) else "low rank"
        self._fitted = None
        self.calculate_loss(Interaction({}))

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Fit the model at the first batch of an epoch; the loss is 0 and teaches nothing."""
        if self._fitted != self.reg_weight:
            if not self.chosen:
                self.closed_form.settings["reg_weight"] = self.reg_weight
            self._kind = self.fit_closed_form(self._kind)
            self._fitted = self.reg_weight
        return self.nothing_to_learn.sum() * 0.0

    def _scores_of(self, batch: RowBatch) -> Tensor:
        return self._weighed_scores_of(batch, 1.0)

    def _weighed_scores_of(self, batch: RowBatch, content_weight: float) -> Tensor:
        self.adopt_choices()
        return self.closed_form.scores(batch, content_weight, padding=1)
