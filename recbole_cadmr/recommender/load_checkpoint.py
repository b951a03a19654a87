"""Checkpoints as what a recommender is made of."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from recbole.utils import FeatureType

from recbole_cadmr.data.atomic import read_header, read_table
from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.data.encoders import read_encoders
from recbole_cadmr.data.sequences import Sequences
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import sha256_of
from recbole_cadmr.models.closed_form import OF_ORDER, ClosedFormRecommender
from recbole_cadmr.models.contract import traits
from recbole_cadmr.models.own import refuse_other, take_in
from recbole_cadmr.recommender.catalogue import Catalogue, item_texts, plain_ids
from recbole_cadmr.recommender.histories import Histories
from recbole_cadmr.recommender.model_engine import engine_of
from recbole_cadmr.recommender.parts import Parts
from recbole_cadmr.recommender.session_source import source_of
from recbole_cadmr.recommender.sources import CheckpointSource, Source
from recbole_cadmr.runs.folder import scratch_folder
from recbole_cadmr.runs.recbole_checkpoint import load_any_session
from recbole_cadmr.runs.session import Session
from recbole_cadmr.runs.undisturbed import undisturbed


def from_checkpoint(
    file: Path,
    data_path: str | os.PathLike[str] | None = None,
    trust_checkpoint: bool = False,
    model: str | type | None = None,
) -> Parts:
    """A recommender's parts out of a ``model.pt`` and the data set that it was trained on.

    Args:
        model: the class, of a model of the user's own.

    Raises:
        UserError: if the checkpoint cannot be read or belongs to other data.
    """
    taken_in = take_in(model)
    with undisturbed(), scratch_folder() as folder:
        session = load_any_session(file, folder, data_path, trust_checkpoint=trust_checkpoint)
        refuse_other(taken_in, session.config["model"])
        own, sha256 = traits(type(session.model)), sha256_of(file)
        source = CheckpointSource(file, sha256, data_path, own.takes_new_items, own.refits, trust_checkpoint)
        return parts_of(session, sha256[:12], source)


def parts_of(session: Session, version: str = "", source: Source | None = None) -> Parts:
    """A recommender's parts out of a model on its data, which is called ``version``.

    Args:
        source: what it is given more by; if not given, what an export would hold.
    """
    card = {**_card(session), "version": version}
    engine = engine_of(session)  # fits what is not fitted yet
    return Parts(_catalogue(session.dataset), _histories(session), engine, card, source or source_of(session))


def _card(session: Session) -> dict[str, Any]:
    metadata = session.trainer.metadata
    names = ("model", "dataset", "fingerprint", "settings", "changed", "versions", "id", "final")
    return {name: metadata[name] for name in names if name in metadata}


def _catalogue(dataset: MultimodalDataset) -> Catalogue:
    users, items = (plain_ids(dataset.field2id_token[field]) for field in (dataset.uid_field, dataset.iid_field))
    return Catalogue(
        users, items, _item_table(dataset, items), dataset.modalities(), read_encoders(Path(dataset.dataset_path))
    )


def _item_table(dataset: MultimodalDataset, item_ids: Any) -> pd.DataFrame:
    """What ``NAME.item`` says in words, whether the model reads it or not."""
    file = Path(dataset.dataset_path) / f"{dataset.dataset_name}.item"
    if not file.is_file():
        return item_texts(pd.DataFrame(index=pd.Index([], dtype=object)), item_ids)
    separator, encoding = dataset.config["field_separator"], dataset.config["encoding"] or "utf-8"
    words = {FeatureType.TOKEN.value, FeatureType.TOKEN_SEQ.value}
    header = read_header(file, separator, encoding)
    columns = [name for name in header if name.partition(":")[2] in words]
    table = read_table(file, separator, encoding, columns)
    table.columns = pd.Index([name.partition(":")[0] for name in table.columns])
    if dataset.iid_field not in table:
        raise UserError(f"{file} must have a column {dataset.iid_field}:token in its header")
    return item_texts(table.set_index(dataset.iid_field), item_ids)


def _histories(session: Session) -> Histories:
    parts = [data._dataset for data in (session.train_data, session.valid_data, session.test_data)]
    sequences: dict[int, Sequences | UserError] = {}
    if traits(type(session.model)).sequential:
        longest = session.config["MAX_ITEM_LIST_LENGTH"]
        for n in (1, 2, 3):
            try:
                sequences[n] = Sequences.of(parts[:n], longest)
            except UserError as error:  # of held-out interactions that nobody may ask for
                sequences[n] = error
    return Histories.of([part.inter_matrix(form="csr") for part in parts], sequences, *_order(session))


def _order(session: Session) -> tuple[sp.csr_matrix | None, float]:
    """Of a model that goes by the order of the train part, that, and by how much what is not recent counts for less."""
    model = session.model
    if not isinstance(model, ClosedFormRecommender):
        return None, 0.0
    model.adopt_choices()
    order, settings = model.closed_form.order, model.closed_form.settings
    if order is None or not any(settings[name] for name in OF_ORDER):
        return None, 0.0
    return sp.hstack([sp.csr_matrix((order.shape[0], 1)), order], "csr", np.float32), settings["recency"]
