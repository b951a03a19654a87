"""Where a model comes from, to be given more than it was trained on: items, users and interactions."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from recbole_cadmr.data.graph import ItemGraph, nearest_items
from recbole_cadmr.data.modality import Modality
from recbole_cadmr.data.rows import binary
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import sha256_of
from recbole_cadmr.layers.content_autoencoder import ContentAutoencoder
from recbole_cadmr.layers.content_graph import content_attention
from recbole_cadmr.recommender.catalogue import Catalogue
from recbole_cadmr.recommender.engine import Engine
from recbole_cadmr.recommender.histories import Histories
from recbole_cadmr.recommender.pruning import pruned
from recbole_cadmr.recommender.weights_engine import WeightsEngine

if TYPE_CHECKING:
    from recbole_cadmr.runs.session import Session


class Source(ABC):
    """Where a model comes from.

    Attributes:
        takes_new_items: whether it scores items that came after training, by their content.
        refits: whether it can be fitted anew to all interactions.
    """

    takes_new_items: bool
    refits: bool

    @abstractmethod
    def engine(self, catalogue: Catalogue, histories: Histories) -> Engine:
        """The engine of the model on all items of a catalogue, and, if it refits, on all that was added to histories.

        Raises:
            UserError: if what it comes from is not there any more.
        """

    def session(self) -> Session:
        """The model on the data that it was trained on.

        Raises:
            UserError: if it does not come from a checkpoint, or that is not there any more.
        """
        raise UserError("an export holds no data set and no model of RecBole's kind; load the run's model.pt")


@dataclass(frozen=True)
class CheckpointSource(Source):
    """A checkpoint and its data set, which are opened again.

    Attributes:
        file: the checkpoint.
        sha256: of it, as it was when the model was loaded.
        data_path: where the data set lies, if no longer where it was trained.
        trust_checkpoint: whether it may be one of RecBole's own.
    """

    file: Path
    sha256: str
    data_path: str | os.PathLike[str] | None
    takes_new_items: bool
    refits: bool
    trust_checkpoint: bool = False

    def engine(self, catalogue: Catalogue, histories: Histories) -> Engine:
        """The engine of the checkpoint's model."""
        from recbole_cadmr.recommender.loading import rebuilt_engine  # heavy: RecBole

        self._refuse_another()
        added = histories.added if self.refits and histories.added.nnz else None
        return rebuilt_engine(self.file, self.data_path, catalogue, added)

    def session(self) -> Session:
        """The checkpoint's model, opened again."""
        from recbole_cadmr.recommender.loading import opened_again

        self._refuse_another()
        return opened_again(self.file, self.data_path, self.trust_checkpoint)

    def _refuse_another(self) -> None:
        if not self.file.is_file() or sha256_of(self.file) != self.sha256:
            raise UserError(f"{self.file} is no longer the model that was loaded; load it again")


@dataclass(frozen=True)
class ClosedFormSource(Source):
    """What an export of a closed form holds: settings, and in its tables features and interactions.

    Attributes:
        name: of the model.
        settings: those that it was fitted by.
        neighbours: entries that an item keeps of its weights, on average; None for all.
    """

    name: str
    settings: Mapping[str, Any]
    neighbours: int | None = None
    takes_new_items = refits = True

    def engine(self, catalogue: Catalogue, histories: Histories) -> Engine:
        """The closed form, fitted anew and pruned as it was."""
        from recbole_cadmr.config.model_yaml import own_settings  # and yaml, which asking does not need

        declared = own_settings("LinearCADMR")
        for name, setting in declared.items():
            if name not in self.settings:
                raise UserError(f"the export was edited: its closed form has no setting {name}")
            setting.check(self.settings[name], "the export was edited")
        R = binary((histories.parts["train"] + histories.added)[:, 1:])
        attention = partial(content_attention, _Features(catalogue.modalities), R)
        closed_form = ContentAutoencoder(R, attention, self.settings, torch.device("cpu"))
        closed_form.fit()
        assert closed_form.weights is not None
        weights = closed_form.modality_weights
        engine = WeightsEngine(self.name, closed_form.weights, closed_form, modality_weights=weights)
        return engine if self.neighbours is None else pruned(engine, self.neighbours, histories)


@dataclass(frozen=True)
class _Features:
    """Features of the items, as what a closed form reads its content from."""

    modalities: Mapping[str, Modality]

    @property
    def modality_names(self) -> list[str]:
        return list(self.modalities)

    def modality(self, name: str) -> Modality:
        return self.modalities[name]

    def nearest_items(self, name: str, k: int) -> ItemGraph:
        return nearest_items(self.modalities[name], k)
