"""What RecBole's models and the user's own refuse in ways of their own, and what no model may give, in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_cadmr.config.config import Config
from recbole_cadmr.errors import ModelError, UserError, is_out_of_memory, raised_in, refusals_of
from recbole_cadmr.models.own import source_of
from recbole_cadmr.models.registry import is_own, is_recboles

# Models of RecBole's that divide by a power of the length of a user's history.
_BY_HISTORY = ("FISM", "NAIS")
# Settings of the package's that say nothing about a model and how it is trained.
_OF_DATA = {"data_note", "item_graphs", "modalities"}
_OF_RUN = {"evaluate_test", "mask_valid_at_test", "preset", "resume_seconds", "resume_step", "save_lists", "threads"}


@contextmanager
def refusals(config: Config, model_class: type, doing: str) -> Iterator[None]:
    """Raise what RecBole or a class of the user's own raises within as a :class:`ModelError` that quotes it.

    RecBole refuses settings, and data that a model was not made for, by exceptions of every kind.

    Args:
        doing: what is done with the model, such as "train".
    """
    if not is_recboles(model_class) and not is_own(model_class):
        yield
        return
    with _faults(config["model"], model_class, doing), _of_recbole(config, doing):
        yield


@contextmanager
def _faults(name: str, model_class: type, doing: str) -> Iterator[None]:
    """Raise what is raised in the user's own code as a :class:`ModelError` that names the line."""
    top = model_class.__module__.partition(".")[0]
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError) or is_out_of_memory(error) or not is_own(model_class):
            raise
        place = raised_in(error, lambda frame: str(frame.f_globals.get("__name__", "")).partition(".")[0] == top)
        if not place:
            raise
        source = source_of(name)
        said = " ".join(str(error.args[0] if isinstance(error, KeyError) and error.args else error).split())[:300]
        raise ModelError(
            f"cannot {doing} {name}: {source.reference if source else name}{place} {type(error).__name__}: {said}"
        ) from error


@contextmanager
def _of_recbole(config: Config, doing: str) -> Iterator[None]:
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


def checked_loss(model: Any, loss: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
    """The loss of a batch, None for the model's own; of a class of the user's own refused where it is none."""
    if not is_own(type(model)):
        return loss
    name, compute = type(model).__name__, loss or model.calculate_loss

    def checked(batch: Any) -> Any:
        losses = compute(batch)
        for part in losses if isinstance(losses, tuple) else (losses,):
            what = None
            if not isinstance(part, Tensor):
                what = f"is of the type {type(part).__name__}, not a tensor"
            elif part.numel() != 1:
                what = f"is a tensor of the shape {list(part.shape)}, not one number; take its mean"
            elif not part.requires_grad:
                what = "does not depend on any parameter of the model, so that nothing can be learned"
            if what:
                raise ModelError(f"what calculate_loss of {name} returns {what}")
        return losses

    return checked


def whole_scores(model: Any, users: Any) -> Tensor:
    """What ``full_sort_predict`` of a class of the user's own gives for a batch of users: [B, n_items].

    Raises:
        ModelError: if it is something else.
    """
    scores, shape = model.full_sort_predict(users), (len(users), model.n_items)
    what = f"full_sort_predict of {type(model).__name__} must give scores of {shape[0]:,} users and {shape[1]:,} items"
    what += " (the padding item 0 among them)"
    if not isinstance(scores, Tensor) or not scores.is_floating_point():
        kind = scores.dtype if isinstance(scores, Tensor) else f"the type {type(scores).__name__}"
        raise ModelError(f"{what} as a tensor of real numbers, not of {kind}")
    is_flat = max(scores.shape, default=0) == scores.numel() == shape[0] * shape[1]  # as RecBole has it
    if scores.shape != shape and not is_flat:
        raise ModelError(f"{what}, not a tensor of the shape {list(scores.shape)}")
    scores = scores.reshape(shape)
    return scores if 0 not in scores.stride() else scores.clone()  # an expanded one cannot be written to


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
