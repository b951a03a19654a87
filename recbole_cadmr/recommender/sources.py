"""Where a model comes from, to be given more than it was trained on: items, users and interactions."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recbole_cadmr.errors import UserError
from recbole_cadmr.files import sha256_of
from recbole_cadmr.recommender.catalogue import Catalogue
from recbole_cadmr.recommender.engine import Engine
from recbole_cadmr.recommender.histories import Histories

LEARNS_ITEMS = "it learns every item by itself"
TOO_LITTLE = "an export holds too little of it"

if TYPE_CHECKING:
    from recbole_cadmr.runs.session import Session


class Source(ABC):
    """Where a model comes from.

    Attributes:
        takes_new_items: whether it scores items that came after training, by their content.
        refits: whether it can be fitted anew to all interactions.
        reason: why it takes no new items, if it does not.
    """

    takes_new_items: bool
    refits: bool
    reason: str = LEARNS_ITEMS

    @abstractmethod
    def engine(self, catalogue: Catalogue, histories: Histories) -> Engine:
        """The engine of the model on all items of a catalogue, and, if it refits, as :attr:`Histories.fitted` says.

        Raises:
            UserError: if what it comes from is not there any more.
        """

    def session(self) -> Session:
        """The model on the data that it was trained on.

        Raises:
            UserError: if it does not come from a checkpoint, or that is not there any more.
        """
        raise UserError("an export holds no data set and no model of RecBole's kind; load the run's model.pt")

    def exported(self, neighbours: int) -> Source:
        """What an export has in its place, whose items keep so many weights, on average."""
        return self


@dataclass(frozen=True)
class Unchanging(Source):
    """What holds too little of a model for it to be given more."""

    reason: str = TOO_LITTLE
    takes_new_items = refits = False

    def engine(self, catalogue: Catalogue, histories: Histories) -> Engine:
        """None."""
        raise UserError(self.reason)


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
        from recbole_cadmr.recommender.reopened import rebuilt_engine  # heavy: RecBole

        self._refuse_another()
        added = histories.fitted if histories.fitted.nnz else None
        return rebuilt_engine(self.file, self.data_path, catalogue, added)

    def exported(self, neighbours: int) -> Source:
        """What an export holds, by the checkpoint opened again: few recommenders are exported."""
        from recbole_cadmr.recommender.reopened import source_of_checkpoint

        self._refuse_another()
        return source_of_checkpoint(self.file, self.data_path, self.trust_checkpoint).exported(neighbours)

    def session(self) -> Session:
        """The checkpoint's model, opened again."""
        from recbole_cadmr.recommender.reopened import opened_again

        self._refuse_another()
        return opened_again(self.file, self.data_path, self.trust_checkpoint)

    def _refuse_another(self) -> None:
        if not self.file.is_file() or sha256_of(self.file) != self.sha256:
            raise UserError(f"{self.file} is no longer the model that was loaded; load it again")
