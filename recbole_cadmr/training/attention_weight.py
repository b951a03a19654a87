"""The weight of the attention beside the closed form, by how both together rank held-out items."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from recbole_cadmr.layers.content_autoencoder import as_batch
from recbole_cadmr.layers.shared_batch import agreed
from recbole_cadmr.models.softmaxcadmr import SoftmaxCADMR
from recbole_cadmr.training.coordinate_descent import Point, better, descend
from recbole_cadmr.training.held_out import HeldOut

_WEIGHT = "attention_weight"
_BLOCK = 1024  # users scored at once
_CLEAR = 1.0  # standard errors by which the attention has to be better than none: it is the best of many epochs


class AttentionWeight:
    """Looks for the best of the model's ``attention_weights``; the closed form is scored once."""

    def __init__(self, model: SoftmaxCADMR, held_out: HeldOut) -> None:
        self._model, self._held_out = model, held_out
        self._settings: dict[str, Any] = {}
        self._closed = torch.empty(0)

    @torch.no_grad()
    def best(self) -> None:
        """Give the model the weight that is best, on a walk from the one it has along the others."""
        model, beside = self._model, self._beside()
        start, weights = round(float(model.attention_weight), 6), sorted(model.attention_weights)

        def values(at: dict[str, Any], name: str, direction: int) -> list[float]:
            return sorted((w for w in weights if (w - at[name]) * direction > 1e-6), reverse=direction < 0)

        best = descend(beside({_WEIGHT: start}), [_WEIGHT], values, beside, margin=0.0)
        model.attention_weight.fill_(agreed(best.settings[_WEIGHT]))

    @torch.no_grad()
    def is_clear(self) -> bool:
        """Whether the attention, at the weight that the model has, is better than none by more than noise."""
        beside = self._beside()
        none, own = beside({_WEIGHT: 0.0}), beside({_WEIGHT: float(self._model.attention_weight)})
        return agreed(better(none, own, _CLEAR) is own)

    def _beside(self) -> Callable[[dict[str, Any]], Point]:
        """What the attention comes to beside the closed form, by its weight."""
        model, held_out = self._model, self._held_out
        model.eval()
        model.fit()
        if self._settings != model.closed_form.settings:
            self._closed, self._settings = self._scored(model.closed_form.scores), dict(model.closed_form.settings)
        log_p = self._scored(model.log_p)

        def beside(weight: dict[str, Any]) -> Point:
            return Point(weight, held_out.measure(partial(_mixture, self._closed, log_p, weight[_WEIGHT])))

        return beside

    def _scored(self, scores_of: Any) -> Tensor:
        rows, like = self._held_out.rows, self._model.attention_weight
        starts = range(0, rows.shape[0], _BLOCK)
        return torch.cat([scores_of(as_batch(rows[at : at + _BLOCK], like)) for at in starts])


def _mixture(closed: Tensor, log_p: Tensor, weight: float, users: Tensor) -> Tensor:
    return torch.add(closed[users], log_p[users], alpha=weight)
