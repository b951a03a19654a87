"""The weight of the attention beside the closed form, by how both together rank held-out items."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from recbole_cadmr.data.rows import RowBatch
from recbole_cadmr.layers.content_autoencoder import as_batch
from recbole_cadmr.layers.shared_batch import agreed
from recbole_cadmr.models.softmaxcadmr import SoftmaxCADMR
from recbole_cadmr.training.coordinate_descent import Point, better, descend
from recbole_cadmr.training.held_out import HeldOut

_WEIGHT = "attention_weight"
_BLOCK, _SCORES = 1024, 2**25  # users scored at once at most, and scores of them
_CLEAR = 1.0  # standard errors by which the attention has to be better than none: it is the best of many epochs


class AttentionWeight:
    """Looks for the best of the model's ``attention_weights``; the closed form is scored once."""

    def __init__(self, model: SoftmaxCADMR, held_out: HeldOut) -> None:
        self._model, self._held_out = model, held_out
        self._settings: dict[str, Any] = {}
        self._parts: list[tuple[Tensor, Tensor | None]] = []
        self._n_items = held_out.rows.shape[1]

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

    def _beside(self) -> Callable[..., Point]:
        """What the attention comes to beside the closed form, by its weight."""
        model, held_out = self._model, self._held_out
        model.eval()
        model.fit()
        if self._settings != model.closed_form.settings:
            self._parts = [self._closed_form(batch) for batch in self._batches()]
            self._settings = dict(model.closed_form.settings)
        log_p = torch.cat(
            [
                model.log_p(batch) if items is None else model.log_p_at(batch, items)
                for batch, (_, items) in zip(self._batches(), self._parts)
            ]
        )
        closed = torch.cat([scores for scores, _ in self._parts])
        listed = [items for _, items in self._parts if items is not None]
        items = torch.cat(listed) if listed else None

        def scores_of(weight: float, users: Tensor) -> Tensor:
            mixture = torch.add(closed[users], log_p[users], alpha=weight)
            if items is None:
                return mixture
            return mixture.new_full((len(users), self._n_items), -torch.inf).scatter_(1, items[users], mixture)

        def beside(weight: dict[str, Any], _: Point | None = None) -> Point:
            return Point(weight, held_out.measure(partial(scores_of, weight[_WEIGHT])))

        return beside

    def _closed_form(self, batch: RowBatch) -> tuple[Tensor, Tensor | None]:
        """Scores of the closed form, and of which items [n, C] where it lists candidates: else all."""
        scores = self._model.closed_form.scores(batch)
        items = self._model.candidates(scores)
        return (scores, None) if items is None else (scores.gather(1, items), items)

    def _batches(self) -> Iterator[RowBatch]:
        form, like = self._model.closed_form, self._model.attention_weight
        rows = form.rows(form.settings)[self._held_out.users]
        step = max(min(_BLOCK, _SCORES // self._n_items), 1)
        for at in range(0, rows.shape[0], step):
            yield as_batch(rows[at : at + step], like)
