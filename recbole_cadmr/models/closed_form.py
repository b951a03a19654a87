"""What models around a closed form share: the closed form itself, and the settings that it chooses on validation."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from recbole.config import Config
from torch import Tensor

from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.data.rows import RatingRows
from recbole_cadmr.errors import UserError
from recbole_cadmr.layers.content_autoencoder import ContentAutoencoder
from recbole_cadmr.layers.content_graph import GraphAttention
from recbole_cadmr.layers.score_paths import ScorePath, counted
from recbole_cadmr.models.base import HistoryRecommender
from recbole_cadmr.models.content import content_rows, training_order, training_rows

OF_ORDER = ("direction", "recency")  # settings that have no effect without an order


class ClosedFormRecommender(HistoryRecommender):
    """A model with a :class:`ContentAutoencoder`, whose settings are given or chosen on validation.

    Args:
        settings: values of the settings in ``properties/model/LinearCADMR.yaml``.
        given: names of those that are not to be chosen.

    Attributes:
        least_gain: the share by which chosen settings have to be better on validation than those at hand.
        closed_form: the autoencoder and its content attention.
        own_settings: those of an attention that learns which may be chosen, too, as they are given.
        chosen: what was chosen, as the text of a JSON object with ``settings``, ``fits`` and ``tried``, so that it is
            part of every checkpoint; empty if nothing was. Also ``found``, settings that were better alone but
            not by enough, as long as there is no last choice between both.
    """

    least_gain = 0.0

    def __init__(
        self, config: Config, dataset: MultimodalDataset, settings: Mapping[str, Any], given: Collection[str]
    ) -> None:
        super().__init__(config, dataset)
        R, order = training_rows(dataset), training_order(dataset)
        ordered = [name for name in OF_ORDER if settings[name]]
        if ordered and order is None:
            raise UserError(
                f"{ordered[0]} counts by the order of interactions, and no column {dataset.time_field} of "
                f"numbers of {dataset.dataset_name} is loaded; name one by TIME_FIELD and in load_col, or leave "
                f"{ordered[0]} out"
            )
        self.closed_form = ContentAutoencoder(
            R, GraphAttention(dataset, R), partial(content_rows, dataset), settings, self.device, order
        )
        self._take_rows()
        self.given, self._defaults = frozenset(given), dict(settings)
        self.own_settings: dict[str, float] = {}
        self.chosen, self._adopted = "", ""

    def choices(self) -> dict[str, Any]:
        """What was chosen: ``settings`` by name, how many were ``tried`` in how many ``fits``; {} if nothing was.

        Where there is an attention that learns, also its settings, ``attention``, and how many ``trials`` they took.

        Raises:
            UserError: if the checkpoint that it comes from was edited.
        """
        try:
            choices = json.loads(self.chosen or "{}")
            owners = {"settings": self._defaults, "found": self._defaults, "attention": self.own_settings}
            parts = [(choices.get(name, {}), own) for name, own in owners.items()]
            values = [value for part, _ in parts for value in part.values()]
            numbers = [n for value in values for n in (value if isinstance(value, list) else [value])]
            known = all(part.keys() <= own.keys() for part, own in parts)
            counts = [choices.get(name, 0) for name in ("fits", "tried", "trials")]
            numbers += [score for _, score in choices.get("done", [])]
            done = all(settings.keys() <= self.own_settings.keys() for settings, _ in choices.get("done", []))
            proper = all(map(math.isfinite, numbers)) and all(type(n) is int and n >= 0 for n in counts)
            damaged = not (known and done and proper)
        except (ValueError, TypeError, AttributeError):
            damaged = True
        if damaged:
            raise UserError("the checkpoint is damaged or was edited: the settings that it chose are none")
        return choices

    def fit_closed_form(self, kind: str | None) -> str:
        """Fit by the settings that were chosen, or those given; see :meth:`ContentAutoencoder.fit`."""
        self.adopt_choices()
        weights = ", ".join(f"{name} {weight:.2f}" for name, weight in self.closed_form.modality_weights.items())
        logging.getLogger("recbole_cadmr").info(f"content attention: {weights or 'none'}", extra={"screen": ""})
        return self.closed_form.fit(kind)

    def score_paths(
        self, chosen: Tensor, item: int, user: int | None = None, counts: Tensor | None = None
    ) -> list[ScorePath]:
        """The ways through the closed form; see :meth:`ContentAutoencoder.paths`.

        Args:
            counts: float32 [n], what each of the chosen items counts for; 1 if not given.
        """
        self.adopt_choices()
        paths = self.closed_form.paths(chosen.cpu().numpy() - 1, item - 1)
        return counted(paths, None if counts is None else counts.cpu().double().numpy())

    def _scores(self, users: Tensor) -> Tensor:
        self.adopt_choices()  # rows are weighed by them
        return super()._scores(users)

    def _take_rows(self) -> None:
        """Score users by what the settings make of their rows."""
        settings = self.closed_form.settings
        self.rating_rows = RatingRows(self.closed_form.rows(settings), self.device, bool(settings["recency"]))

    def adopt_choices(self) -> None:
        """Let the closed form use what was chosen."""
        if self.chosen != self._adopted:
            chosen = self.choices().get("settings", {})
            # What was given after the choice, by settings_schedule, holds.
            free = {name: value for name, value in chosen.items() if name not in self.given}
            self.closed_form.use({**self._defaults, **free})
            self._take_rows()
            self._adopted = self.chosen
