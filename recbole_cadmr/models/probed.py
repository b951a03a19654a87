"""Models that measure how orthogonal what their gated cross-attention adds is, before training and at validations."""

from __future__ import annotations

import json
import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from recbole_cadmr.layers.alignment import alignment
from recbole_cadmr.layers.gated_cross_attention import GatedCrossAttention
from recbole_cadmr.models.contract import TrainingHooks


def figures_of(place: str, X: Tensor, added: Tensor, module: GatedCrossAttention) -> dict[str, float]:
    """The figures of :func:`alignment` and the gate, by ``FIGURE_PLACE`` (``abs_cos_A0``); what is NaN is left out."""
    found = {**alignment(X, added), "gate": float(module.alpha)}
    chance = {"isotropic": found.pop("isotropic")}
    return chance | {f"{figure}_{place}": value for figure, value in found.items() if math.isfinite(value)}


class ProbedModel(TrainingHooks):
    """A model that measures the alignment of its cross-attention, if it has one, before training and at validations.

    Attributes:
        untrained: figures before training, as text: ``resume.pt`` keeps plain attributes.
    """

    untrained: str

    @abstractmethod
    def _alignment(self) -> dict[str, float]:
        """The figures of :func:`figures_of` at every place; {} without cross-attention. In evaluation mode."""

    def before_epoch(self) -> None:
        """Measure the alignment before training, once."""
        if not self.untrained and (figures := self._probed_now()):
            self.untrained = json.dumps(figures)

    def diagnostics(self) -> dict[str, float]:
        """Of each place of the cross-attention the figures of :func:`alignment`, now and before training.

        ``abs_cos_A0`` is that of the stream A before the first layer, ``abs_cos_text`` that of a modality.
        """
        before = json.loads(self.untrained) if self.untrained else {}
        untrained = {f"untrained_{name}": value for name, value in before.items() if name != "isotropic"}
        return self._probed_now() | untrained

    @torch.no_grad()
    def _probed_now(self) -> dict[str, float]:
        model: Any = self
        training = model.training
        model.eval()
        figures = self._alignment()
        model.train(training)
        return figures
