"""What RecBole's models refuse in their own way, and scores that are NaN or infinite, each as one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from recbole_cadmr.config.config import Config
from recbole_cadmr.errors import ModelError, refusals_of
from recbole_cadmr.models.registry import is_recboles

# Models of RecBole's that divide by a power of the length of a user's history.
_BY_HISTORY = ("FISM", "NAIS")
# Settings of the package's that say nothing about a model and how it is trained.
_OF_DATA = {"data_note", "item_graphs", "modalities"}
_OF_RUN = {"evaluate_test", "mask_valid_at_test", "preset", "resume_seconds", "resume_step", "save_lists", "threads"}


@contextmanager
def refusals(config: Config, model_class: type, doing: str) -> Iterator[None]:
    """Raise what RecBole raises within for a model of its own as a :class:`ModelError` that quotes it.

    RecBole refuses settings, and data that a model was not made for, by exceptions of every kind.

    Args:
        doing: what is done with the model, such as "train".
    """
    if not is_recboles(model_class):
        yield
        return
    name = config["model"]
    try:
        with refusals_of("recbole", f"{doing} {name} on {config['dataset']} with {_settings(config)}", ModelError):
            yield
    except np.linalg.LinAlgError as error:  # of an inverse, which is verified by code of this package
        raise ModelError(f"cannot solve the equations of {name} with {_settings(config)}: {error}") from error
    except ModuleNotFoundError as error:
        if str(error.name).startswith("recbole"):
            raise
        raise ModelError(
            f"{name} needs the package {error.name}, which is not installed; install it, or choose another model"
        ) from error


def _settings(config: Config) -> str:
    """The settings of model and training that are not the defaults."""
    others = {name for kind, names in config.parameters.items() if kind != "Training" for name in names}
    changed = {name: value for name, value in config.changed.items() if name not in others | _OF_DATA | _OF_RUN}
    return ", ".join(f"{name}={value}" for name, value in changed.items()) or "the default settings"


def check_scores(scores: Tensor, config: Config) -> None:
    """Raise :class:`ModelError` if one of the scores [B, n] is NaN or infinite.

    It costs one sum over what was just written: a fortieth of the product of embeddings that gave it.
    """
    if are_finite(scores):
        return
    concerned = (~torch.isfinite(scores)).any(1)
    some = not bool(concerned.all())
    if some and config["model"] in _BY_HISTORY and config["alpha"]:
        cure = "users without interactions in the train part get none unless alpha=0"
    else:
        cure = f"it was trained with {_settings(config)}; lower learning_rate or change these, and train it again"
    who = f" to {int(concerned.sum())} of {len(scores)} users at once" if some else ""
    raise ModelError(f"{config['model']} gives scores that are NaN or infinite{who}; {cure}")


def check_weights(model: torch.nn.Module, config: Config) -> None:
    """Raise :class:`ModelError` if a parameter of the model is NaN or infinite."""
    name = next((name for name, value in model.named_parameters() if not are_finite(value.detach())), None)
    if name is not None:
        raise ModelError(
            f"training made {name} of {config['model']} NaN or infinite with {_settings(config)}; lower learning_rate "
            f"or change these"
        )


def are_finite(values: Tensor) -> bool:
    """Whether no value is NaN or infinite."""
    # Whatever is NaN or infinite makes the sum so, and no pass is faster than a sum; finite values may overflow.
    return bool(torch.isfinite(values.sum())) or bool(torch.isfinite(values).all())
