"""What RecBole's own functions ask this package, where :mod:`recbole_api.install` lets them ask.

It is imported with the package, and imports the rest when that is asked for.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_cadmr.errors import UserError

if TYPE_CHECKING:
    from recbole_cadmr.config.config import Config
    from recbole_cadmr.data.dataset import MultimodalDataset
    from recbole_cadmr.recbole_api.trainer import DeferredTrainer


def model_module(name: str) -> str | None:
    """The module of this package's model, or of the user's own, of a name in small letters; None if there is none."""
    if name in _own_names():
        return f"recbole_cadmr.models.{name}"
    registry = sys.modules.get("recbole_cadmr.models.registry")  # which knows nobody's before it is imported
    theirs = {} if registry is None else {one.lower(): model for one, model in registry.known_models().items()}
    return theirs[name].__module__ if name in theirs else None


@cache
def _own_names() -> frozenset[str]:
    declared = {file.name.partition(".")[0].lower() for file in (files("recbole_cadmr.properties") / "model").iterdir()}
    return frozenset(name for name in declared if (Path(__file__).parents[1] / "models" / f"{name}.py").is_file())


def has_own_settings(config: Any) -> bool:
    """Whether settings are a :class:`Config` of this package's."""
    return type(config).__module__.startswith("recbole_cadmr.")


def config_class(
    model: Any = None,
    dataset: str | None = None,
    config_file_list: Sequence[str] | None = None,
    config_dict: Mapping[str, Any] | Config | None = None,
) -> type[Config] | None:
    """What RecBole's ``Config`` is to be of a model of this package's: its own, which knows the model's settings.

    Raises:
        UserError: if the command line names the model, which this package does not read.
    """
    from recbole_cadmr.config.config import Config
    from recbole_cadmr.models.contract import OwnModel
    from recbole_cadmr.models.registry import is_own

    if isinstance(config_dict, Config):  # which knows its model, also one of RecBole's
        return Config
    on_command_line = [] if _is_notebook() else [text for text in sys.argv[1:] if re.match("--[^=]+=", text)]
    for text in on_command_line if model is None else ():
        if text.startswith("--model=") and text[len("--model=") :].lower() in _own_names():
            raise UserError(f"name the model in the call, not by {text}: it takes no settings from the command line")
    given = _settings_in(config_file_list or ()) | dict(config_dict or {})
    name: Any = model or given.get("model")
    # Also of the user's own: on a base of ours, or with what RecBole's Config knows nothing of.
    is_ours = isinstance(name, type) and (
        issubclass(name, OwnModel)
        or hasattr(name, "settings")
        or (is_own(name) and _comes_split(dataset or given.get("dataset"), given))
    )
    name = name if isinstance(name, str) else name.__name__ if is_ours else ""
    if name.lower() not in _own_names() and not is_ours:
        return None
    if on_command_line:
        logging.getLogger("recbole_cadmr").warning(
            f"{name} takes no settings from the command line ({on_command_line[0]}); give them in config_dict"
        )
    return Config


def _settings_in(config_files: Sequence[str]) -> dict[str, Any]:
    from recbole_cadmr.config.yaml_text import read_yaml

    settings: dict[str, Any] = {}
    for file in config_files:
        with suppress(UserError):  # for whose model it is to say so
            settings |= read_yaml(Path(file))
    return settings


def _comes_split(dataset: Any, given: Mapping[str, Any]) -> bool:
    """Whether the yaml of a data set, which RecBole does not read, alone says that it comes split."""
    from recbole_cadmr.config.data_sets import find_data_set
    from recbole_cadmr.config.yaml_text import read_yaml

    if not isinstance(dataset, str) or "benchmark_filename" in given:
        return False
    with suppress(UserError):
        folder = find_data_set(dataset, given.get("data_path"), "dataset")[1]
        return "benchmark_filename" in read_yaml(folder / f"{dataset}.yaml")
    return False


def _is_notebook() -> bool:
    return "ipykernel_launcher" in sys.argv[0]


def dataset_class(config: Any = None, *_: Any, **__: Any) -> type[MultimodalDataset] | None:
    """What a data set of RecBole's is to be with settings of this package's."""
    if not has_own_settings(config):
        return None
    from recbole_cadmr.data.dataset import MultimodalDataset

    return MultimodalDataset


def trainer_class(config: Any = None, *_: Any, **__: Any) -> type[DeferredTrainer] | None:
    """What a trainer of RecBole's is to be with settings of this package's."""
    if not has_own_settings(config):
        return None
    from recbole_cadmr.recbole_api.trainer import DeferredTrainer

    return DeferredTrainer


def loaders(config: Any, parts: Sequence[Any]) -> tuple[Any, Any, Any] | None:
    """The loaders of the parts of a data set by settings of this package's.

    Raises:
        UserError: if the data set is not of this package's class, or a setting would have no effect.
    """
    if not has_own_settings(config):
        return None
    from recbole_cadmr.data.dataset import MultimodalDataset
    from recbole_cadmr.recbole_api.prepared import prepared

    if not all(isinstance(part, MultimodalDataset) for part in parts):
        raise UserError("a Config of recbole_cadmr goes with its Dataset; make it by create_dataset with this Config")
    return prepared(config, parts)


def load_data_and_model(model_file: str | os.PathLike[str], trust_checkpoint: bool = False) -> tuple[Any, ...]:
    """RecBole's ``load_data_and_model`` of a checkpoint of this package's, or of a trusted one of RecBole's.

    Returns:
        Config, model, data set, and the loaders of the train, validation and test part.

    Raises:
        UserError: if the checkpoint cannot be read, or belongs to other data.
    """
    from recbole_cadmr.recbole_api.prepared import opened

    session = opened(model_file, trust_checkpoint)
    return session.config, session.model, session.dataset, session.train_data, session.valid_data, session.test_data
