"""Checkpoints of RecBole's own, which are pickles: read where the user says that who made them is trusted."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import recbole.config
import torch
from recbole.data.dataset import Dataset
from recbole.utils import ModelType, init_seed

from recbole_cadmr.compat.numpy import verified_inverses
from recbole_cadmr.config.config import Config
from recbole_cadmr.config.rules import first_metric
from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.data.fingerprint import fingerprint
from recbole_cadmr.errors import UserError, refusals_of
from recbole_cadmr.runs.session import Session, check_topk, checkpoint_metadata, load_session, loaders_of
from recbole_cadmr.training.checkpoint import RecboleCheckpointError
from recbole_cadmr.training.contents import Fingerprint
from recbole_cadmr.training.trainer import get_trainer

# How its data are read and split, and what is measured; the rest of these groups is the machine's, or RecBole's alone.
_OF_DATA = (
    *("seed", "benchmark_filename", "eval_args", "metrics", "topk", "valid_metric"),
    *("USER_ID_FIELD", "ITEM_ID_FIELD", "TIME_FIELD", "field_separator", "seq_separator"),
)


def load_any_session(
    checkpoint: str | os.PathLike[str],
    folder: Path,
    data_path: str | os.PathLike[str] | None = None,
    changes: Mapping[str, Any] | None = None,
    trust_checkpoint: bool = False,
) -> Session:
    """The model of a checkpoint on the data it was trained on.

    Args:
        trust_checkpoint: whether a checkpoint of RecBole's is read, too: a pickle, which can run code.

    Raises:
        UserError: as of :func:`recbole_cadmr.runs.session.load_session`; if a checkpoint of RecBole's is not trusted,
            or is not of a general recommender.
    """
    try:
        return load_session(checkpoint, folder, data_path, changes)
    except RecboleCheckpointError:
        if not trust_checkpoint:
            raise
    content = _read(checkpoint)
    return _session(content, checkpoint, folder, data_path, changes or {})


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:  # whatever a pickle's code raises
        raise UserError(
            f"{path} cannot be read as a checkpoint of RecBole's: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("config"), recbole.config.Config):
        raise UserError(f"{path} is no checkpoint of RecBole's: it holds no settings")
    if not isinstance(content.get("state_dict"), Mapping):
        raise UserError(f"{path} is no checkpoint of RecBole's: it holds no weights")
    kind, name = (content["config"][key] for key in ("MODEL_TYPE", "model"))
    if kind not in (ModelType.GENERAL, ModelType.TRADITIONAL):
        raise UserError(f"{path} is of {name}; of RecBole's checkpoints, those of general recommenders are read")
    return content


def _session(
    content: Mapping[str, Any],
    path: str | os.PathLike[str],
    folder: Path,
    data_path: str | os.PathLike[str] | None,
    changes: Mapping[str, Any],
) -> Session:
    """The model as RecBole builds it, on the parts of the data as RecBole reads and splits them."""
    theirs: recbole.config.Config = content["config"]
    name = theirs["dataset"]
    place = Path(theirs["data_path"]) if data_path is None else Path(data_path, name)
    if not place.is_dir():
        raise UserError(f"{path} was trained on {place}, which is no folder here; name its place with `data_path`")
    config = _own_config(theirs, place, changes)
    config["checkpoint_dir"] = str(folder)
    theirs["data_path"], theirs["device"] = str(place), config["device"]
    init_seed(theirs["seed"], theirs["reproducibility"])
    with refusals_of("recbole", f"read {name} by the settings in {path}"):
        dataset = Dataset(theirs)
        parts = dataset.build()
    own = [MultimodalDataset.of(part, config) for part in (*parts, dataset)]
    check_topk(config, own[0])
    loaders = loaders_of(config, own[:3])
    try:
        with verified_inverses():
            model = config.model_class(theirs, parts[0]).to(config["device"])
        model.load_state_dict(content["state_dict"])
        others = content.get("other_parameter") or {}
        for other, own_value in (model.other_parameter() or {}).items():  # matrices, of closed forms
            if np.shape(own_value) != np.shape(others[other]):
                raise ValueError(f"{other} is of the shape {np.shape(others[other])}, not {np.shape(own_value)}")
        model.load_other_parameter(others)
    except (KeyError, RuntimeError, ValueError, AttributeError, TypeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{path} does not fit {theirs['model']} on {name} in {place.parent}: {reason}") from error
    identity = cast(Fingerprint, fingerprint(*own[:3]))
    trainer = get_trainer(config.model_class)(config, model, loaders[0], checkpoint_metadata(config, identity))
    model.eval()
    mode = theirs["eval_args"]["mode"]
    note = "" if mode == config["eval_args"]["mode"] else f"all items are ranked; RecBole ranked them by {mode}"
    return Session(config, own[3], *loaders, model, trainer, identity, note)


def _own_config(theirs: recbole.config.Config, place: Path, changes: Mapping[str, Any]) -> Config:
    """This package's settings for the same run; the model is built by RecBole's."""
    kept = theirs.final_config_dict
    settings = {name: kept[name] for name in _OF_DATA if kept.get(name) is not None}
    settings["data_path"] = str(place.parent)
    split = {} if kept.get("benchmark_filename") else kept["eval_args"]  # of a set that comes split, it says nothing
    settings["eval_args"] = {**split, "mode": {"valid": "full", "test": "full"}}
    settings["mask_valid_at_test"] = True  # as RecBole does, also of a set that comes split
    settings |= changes
    if {"metrics", "topk"} & changes.keys():
        settings["valid_metric"] = first_metric(settings["metrics"], settings["topk"])
    config = Config(kept["model"], kept["dataset"], settings=settings)
    elsewhere = {name for group in ("General", "Evaluation", "Dataset") for name in config.parameters[group]}
    for name in kept.keys() & config.declarations.keys() - elsewhere - settings.keys() - {"model", "dataset"}:
        try:
            config.declarations[name].check(kept[name], name)
        except UserError:  # what RecBole allows, and no run of this package has
            continue
        settings[name] = kept[name]
    return Config(kept["model"], kept["dataset"], settings=settings)
