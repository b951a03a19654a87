"""Models by name: the package's own first, then RecBole's."""

from __future__ import annotations

import importlib
import pkgutil
from importlib.resources import files
from pathlib import Path

from recbole.model.abstract_recommender import AbstractRecommender
from recbole.utils import get_model as get_recbole_model

from recbole_cadmr.compat.torch import anomaly_detection_kept
from recbole_cadmr.errors import UserError, did_you_mean


def _own_models() -> dict[str, str]:
    """Module of each model of the package by name: NAME.yaml in ``properties/model``, its class in ``name.py`` here."""
    modules = {module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)])}
    stems = (file.name.removesuffix(".yaml") for file in (files("recbole_cadmr.properties") / "model").iterdir())
    return {name: f"{__package__}.{name.lower()}" for name in sorted(stems) if name.lower() in modules}


MODELS = _own_models()
# RecBole's models of sequences that read nothing but the items, in their order, and learn by all of these at once.
SEQUENTIAL = ("BERT4Rec", "GRU4Rec", "SASRec")
_own: dict[str, type[AbstractRecommender]] = {}  # classes of the user's own by name, as ``own`` has taken them in


def is_recboles(model: type) -> bool:
    """Whether the class of a model is RecBole's own."""
    return model.__module__.partition(".")[0] == "recbole"


def is_own(model: type) -> bool:
    """Whether a class is neither the package's nor RecBole's, but the user's own."""
    return model.__module__.partition(".")[0] not in (__package__.partition(".")[0], "recbole", "torch", "builtins")


def take_in_class(model: type[AbstractRecommender]) -> None:
    """Know a class of the user's own by its name, in place of another one."""
    _own[model.__name__] = model


def known_models() -> dict[str, type[AbstractRecommender]]:
    """The classes of the user's own that were taken in, by name."""
    return dict(_own)


def described_by(name: str) -> str:
    """Whose yaml a model is described by: its own; of a class of the user's own that of the model it derives from.

    That is "" if it derives from none.
    """
    if name not in _own:
        return name
    names = (base.__name__ for base in _own[name].__mro__ if not is_own(base))
    return next((base for base in names if base in model_names() and issubclass(_own[name], get_model(base))), "")


def get_model(name: str) -> type[AbstractRecommender]:
    """The class of the model called ``name``.

    Raises:
        UserError: if ``name`` is no word, or names no model (then it names the nearest). A class of the user's own
            has a name once ``own`` has taken it in.
    """
    if not isinstance(name, str):
        raise UserError(f"a model is named by a word such as 'CADMR', not {name!r:.100}")
    if name in _own:
        return _own[name]
    if name in MODELS:
        return getattr(importlib.import_module(MODELS[name]), name)
    if not name.isidentifier() and any(sign in name for sign in ".:/"):
        raise UserError(f"a class of your own, {name!r:.100}, is named by `model` itself, never in a file or a setting")
    if name not in (names := model_names()):
        raise UserError(f"there is no model {name!r:.100}{did_you_mean(name, names)}")
    with anomaly_detection_kept():
        return get_recbole_model(name)


def model_names() -> list[str]:
    """Every model by name, the package's first: RecBole's general recommenders, and some of sequences."""
    import recbole.model.general_recommender as general

    modules = {module.name for module in pkgutil.iter_modules(general.__path__)}
    recboles = [name for name, value in vars(general).items() if isinstance(value, type) and name.lower() in modules]
    return [*MODELS, *sorted([*recboles, *SEQUENTIAL])]
