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


def is_own(config: Any) -> bool:
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

    if isinstance(config_dict, Config):  # which knows its model, also one of RecBole's
        return Config
    on_command_line = [] if _is_notebook() else [text for text in sys.argv[1:] if re.match("--[^=]+=", text)]
    for text in on_command_line if model is None else ():
        if text.startswith("--model=") and text[len("--model=") :].lower() in _own_names():
            raise UserError(f"name the model in the call, not by {text}: it takes no settings from the command line")
    name = model or (config_dict or {}).get("model") or _named_in(config_file_list or ())
    # Also of the user's own: on a base of ours, or with settings of its own, of which RecBole's knows nothing.
    is_ours = isinstance(name, type) and (issubclass(name, OwnModel) or hasattr(name, "settings"))
    name = name if isinstance(name, str) else name.__name__ if is_ours else ""
    if name.lower() not in _own_names() and not is_ours:
        return None
    if on_command_line:
        logging.getLogger("recbole_cadmr").warning(
            f"{name} takes no settings from the command line ({on_command_line[0]}); give them in config_dict"
        )
    return Config


def _named_in(config_files: Sequence[str]) -> Any:
    """The model that the last of some files of settings names."""
    from recbole_cadmr.config.yaml_text import read_yaml

    names: list[Any] = [None]
    for file in config_files:
        with suppress(UserError):  # for whose model it is to say so
            names.append(read_yaml(Path(file)).get("model", names[-1]))
    return names[-1]


def _is_notebook() -> bool:
    return "ipykernel_launcher" in sys.argv[0]


def dataset_class(config: Any = None, *_: Any, **__: Any) -> type[MultimodalDataset] | None:
    """What a data set of RecBole's is to be with settings of this package's."""
    if not is_own(config):
        return None
    from recbole_cadmr.data.dataset import MultimodalDataset

    return MultimodalDataset


def trainer_class(config: Any = None, *_: Any, **__: Any) -> type[DeferredTrainer] | None:
    """What a trainer of RecBole's is to be with settings of this package's."""
    if not is_own(config):
        return None
    from recbole_cadmr.recbole_api.trainer import DeferredTrainer

    return DeferredTrainer


def loaders(config: Any, parts: Sequence[Any]) -> tuple[Any, Any, Any] | None:
    """The loaders of the parts of a data set by settings of this package's.

    Raises:
        UserError: if the data set is not of this package's class, or a setting would have no effect.
    """
    if not is_own(config):
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
