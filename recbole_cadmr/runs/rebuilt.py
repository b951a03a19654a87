"""A trained model on more than it was trained on: further items, users and interactions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_cadmr.data.modality import Modality
from recbole_cadmr.models.closed_form import ClosedFormRecommender
from recbole_cadmr.runs.session import Session
from recbole_cadmr.training.state import random_state, set_random_state
from recbole_cadmr.training.trainer import get_trainer


def rebuilt(
    session: Session,
    items: Sequence[str] = (),
    modalities: Mapping[str, Modality] | None = None,
    users: Sequence[str] = (),
    pairs: tuple[np.ndarray, np.ndarray] | None = None,
) -> Session:
    """The session of the same model on the train part with more in it.

    What the model has learned is what it was; what follows from the data alone is computed anew, as it would be had
    they been there from the start (``OwnModel.refit``). No random state changes. The held-out parts stay as they are.

    Args:
        items: ids of items that the data set does not have.
        modalities: the features of all items, these included; where there are none, as the data set has them.
        users: ids of users that it does not have; only of models that learn nothing about single users.
        pairs: numbers of users and items, in the numbers of data set, ``users`` and ``items``, of further interactions.
    """
    before = session.train_data._dataset
    dataset = before
    if len(items):
        dataset = dataset.with_items(items, modalities or {}, isinstance(session.model, ClosedFormRecommender))
    if pairs is not None:
        dataset = dataset.with_pairs(users, *pairs)
    loader = copy(session.train_data)
    loader._dataset = dataset
    kept = random_state()
    try:
        model = type(session.model)(session.config, dataset).to(session.config["device"])
        trainer = get_trainer(type(model))(session.config, model, loader, session.trainer.metadata)
    finally:
        set_random_state(kept)
    model.eval()
    trainer.load_model_state(_grown(session.trainer.model_state(), model.state_dict()))
    with torch.no_grad():
        model.refit(session.model, dataset, before.item_num)
    return Session(
        session.config,
        dataset,
        loader,
        session.valid_data,
        session.test_data,
        model.eval(),
        trainer,
        session.fingerprint,
    )


def _grown(state: dict[str, Any], own: Mapping[str, Tensor]) -> dict[str, Any]:
    """A model's state with rows for further items, which are those that the larger model has begun with."""
    tables = {}
    for name, value in state["state_dict"].items():
        tables[name] = value
        if name in own and value.shape != own[name].shape:
            tables[name] = own[name].clone()
            tables[name][: len(value)] = value
    # What was computed from fewer items is computed again.
    return {**state, "state_dict": tables, "other_parameter": dict.fromkeys(state["other_parameter"] or {})}
