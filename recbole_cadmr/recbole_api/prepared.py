"""Loaders that know what they were made of, for trainers that are told no more than a loader."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from recbole_cadmr.config.config import Config
from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.data.fingerprint import fingerprint
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import path_of
from recbole_cadmr.runs.folder import scratch_folder
from recbole_cadmr.runs.recbole_checkpoint import load_any_session
from recbole_cadmr.runs.session import Session, check_topk, loaders_of
from recbole_cadmr.training.contents import Fingerprint


@dataclass(frozen=True)
class Prepared:
    """The loaders of a split data set, and what data these are."""

    train_data: Any
    valid_data: Any
    test_data: Any
    fingerprint: Fingerprint

    def attached(self) -> tuple[Any, Any, Any]:
        """The three loaders, each of which leads back to all of this."""
        loaders = self.train_data, self.valid_data, self.test_data
        for loader in loaders:
            loader.prepared = self
        return loaders


def prepared(config: Config, parts: Sequence[MultimodalDataset]) -> tuple[Any, Any, Any]:
    """The loaders of the parts of a data set.

    Raises:
        UserError: as of :func:`recbole_cadmr.data.loaders.prepare_loaders`; if ``topk`` is more than there are items;
            on a ``split_seed``, which is too late now.
    """
    if config["split_seed"] is not None:
        raise UserError("split_seed has no effect on a split that RecBole's data_preparation draws; leave it out")
    check_topk(config, parts[0])
    return Prepared(*loaders_of(config, parts), cast(Fingerprint, fingerprint(*parts))).attached()


def opened(checkpoint: str | os.PathLike[str], trust_checkpoint: bool) -> Session:
    """The session of a checkpoint, whose loaders RecBole's functions take.

    Raises:
        UserError: as of :func:`recbole_cadmr.runs.recbole_checkpoint.load_any_session`.
    """
    file = path_of(checkpoint, "model_file")
    with scratch_folder() as folder:
        session = load_any_session(file, folder, trust_checkpoint=trust_checkpoint)
    session.config["checkpoint_dir"] = str(file.parent)
    Prepared(session.train_data, session.valid_data, session.test_data, session.fingerprint).attached()
    return session
