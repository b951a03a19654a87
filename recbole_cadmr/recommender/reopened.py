"""What the source of a model asks of RecBole: a checkpoint opened again, an engine or weights computed anew."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import scipy.sparse as sp
import torch

from recbole_cadmr.errors import UserError
from recbole_cadmr.models.content import ItemFeatures
from recbole_cadmr.models.item_weights import Given, ItemWeightsRecommender
from recbole_cadmr.models.registry import MODELS, get_model
from recbole_cadmr.recommender.catalogue import Catalogue
from recbole_cadmr.recommender.engine import Engine
from recbole_cadmr.recommender.model_engine import engine_of
from recbole_cadmr.recommender.session_source import source_of
from recbole_cadmr.recommender.sources import Source
from recbole_cadmr.runs.folder import scratch_folder
from recbole_cadmr.runs.rebuilt import rebuilt
from recbole_cadmr.runs.recbole_checkpoint import load_any_session
from recbole_cadmr.runs.session import Session, load_session
from recbole_cadmr.runs.undisturbed import undisturbed


def opened_again(file: Path, data_path: str | os.PathLike[str] | None, trust_checkpoint: bool) -> Session:
    """The session of a checkpoint.

    Raises:
        UserError: if it cannot be read or belongs to other data.
    """
    with undisturbed(), scratch_folder() as folder:
        return load_any_session(file, folder, data_path, trust_checkpoint=trust_checkpoint)


def source_of_checkpoint(file: Path, data_path: str | os.PathLike[str] | None, trust_checkpoint: bool) -> Source:
    """What an export of a checkpoint's model is given more by.

    Raises:
        UserError: if it cannot be read or belongs to other data.
    """
    session = opened_again(file, data_path, trust_checkpoint)
    with undisturbed():
        engine_of(session)  # fits what is not fitted yet
        return source_of(session)


def rebuilt_engine(
    file: Path, data_path: str | os.PathLike[str] | None, catalogue: Catalogue, added: sp.csr_matrix | None
) -> Engine:
    """The engine of a checkpoint's model on all items of a catalogue.

    Args:
        added: [n_users, n_items], interactions that came after training, of a model that is fitted anew.

    Raises:
        UserError: if it cannot be read or belongs to other data.
    """
    with undisturbed(), scratch_folder() as folder:
        session = load_session(file, folder, data_path)
        items = catalogue.item_ids[session.dataset.item_num :].tolist()
        more: dict[str, Any] = {}
        if added is not None:
            more = {"users": catalogue.user_ids[session.dataset.user_num :].tolist(), "pairs": added.nonzero()}
        return engine_of(rebuilt(session, items, catalogue.modalities, **more))


def item_weights(name: str, R: sp.csr_matrix, content: ItemFeatures, settings: Mapping[str, Any]) -> Any:
    """The weights of one of the package's models that weigh items by items, on other data than it was trained on."""
    model = get_model(name) if name in MODELS else None
    if model is None or not issubclass(model, ItemWeightsRecommender):
        raise UserError(f"the export was edited: {name:.100} weighs no items by items")
    return model.item_weights(Given(R, content, settings, torch.device("cpu")))
