"""Trained models, ready to recommend: from a checkpoint, or from an export."""

from __future__ import annotations

import os
from typing import Any

import pandas as pd

from recbole_cadmr.errors import UserError
from recbole_cadmr.files import path_of
from recbole_cadmr.recommender.load_export import is_export, read_export
from recbole_cadmr.recommender.recommender import Recommender


def load(
    path: str | os.PathLike[str],
    data_path: str | os.PathLike[str] | None = None,
    trust_checkpoint: bool = False,
    model: str | type | None = None,
) -> Recommender:
    """A trained model, ready to recommend.

    Args:
        path: a ``model.pt``, or the folder of an export.
        data_path: where the data set of a checkpoint lies, if no longer where it was trained.
        trust_checkpoint: whether a checkpoint of RecBole's is read, too: a pickle, which can run code.
        model: the class, of a checkpoint of a model of your own: itself, or as ``FILE.py:CLASS`` or
            ``package.module:CLASS``.

    Raises:
        UserError: if the checkpoint cannot be read or belongs to other data; if the export was cut short or changed.
    """
    file, place = path_of(path, "checkpoint"), None if data_path is None else path_of(data_path, "data_path")
    if is_export(file):
        if place is not None:
            raise UserError("an export needs no data set; leave out `data_path`")
        if model is not None:
            raise UserError("an export needs no class of its model; leave out `model`")
        return Recommender(read_export(file))
    if not os.path.lexists(file):
        raise UserError(f"there is no checkpoint or export {file}")
    if os.path.isdir(file):
        raise UserError(f"{file} is a folder; give the model.pt in it, or the folder of an export")
    from recbole_cadmr.runs.undisturbed import undisturbed

    with undisturbed():  # imports draw random numbers, too
        # What a checkpoint needs takes seconds to import.
        from recbole_cadmr.recommender.load_checkpoint import from_checkpoint

        return Recommender(from_checkpoint(file, place, trust_checkpoint, model))


def recommend(checkpoint: str | os.PathLike[str], *asked: Any, **options: Any) -> pd.DataFrame:
    """The items of highest score of a checkpoint.

    Args:
        asked, options: as of :meth:`Recommender.recommend`, which says what is returned and raised.
    """
    return load(checkpoint).recommend(*asked, **options)
