"""Models by name: the package's own first, then RecBole's."""

from __future__ import annotations

import importlib
import pkgutil

from recbole.model.abstract_recommender import AbstractRecommender
from recbole.utils import ModelType
from recbole.utils import get_model as get_recbole_model

from recbole_cadmr.errors import UserError, did_you_mean

# A new model is one file in this folder and one line here.
MODELS = {
    "CADMR": "recbole_cadmr.models.cadmr",
    "LinearCADMR": "recbole_cadmr.models.linearcadmr",
    "VBPR": "recbole_cadmr.models.vbpr",
    "MMGCN": "recbole_cadmr.models.mmgcn",
    "GRCN": "recbole_cadmr.models.grcn",
    "LATTICE": "recbole_cadmr.models.lattice",
    "SLMRec": "recbole_cadmr.models.slmrec",
    "BM3": "recbole_cadmr.models.bm3",
    "FREEDOM": "recbole_cadmr.models.freedom",
    "MGCN": "recbole_cadmr.models.mgcn",
    "LGMRec": "recbole_cadmr.models.lgmrec",
    "SMORE": "recbole_cadmr.models.smore",
    "MENTOR": "recbole_cadmr.models.mentor",
}


def is_recboles(model: type) -> bool:
    """Whether the class of a model is RecBole's own."""
    return model.__module__.partition(".")[0] == "recbole"


def get_model(name: str) -> type[AbstractRecommender]:
    """The class of the model called ``name``.

    Raises:
        UserError: if ``name`` is no word, names no model (then it names the nearest), or one that is no general
            recommender.
    """
    if not isinstance(name, str):
        raise UserError(f"a model is named by a word such as 'CADMR', not {name!r:.100}")
    if name in MODELS:
        return getattr(importlib.import_module(MODELS[name]), name)
    if name not in (known := model_names()):
        raise UserError(f"there is no model {name!r:.100}{did_you_mean(name, known)}")
    model = get_recbole_model(name)
    if model.type not in (ModelType.GENERAL, ModelType.TRADITIONAL):
        raise UserError(f"{name} is not a general recommender: it needs more than users and items")
    return model


def model_names() -> list[str]:
    """Every general recommender by name, the package's first."""
    import recbole.model.general_recommender as general

    modules = {module.name for module in pkgutil.iter_modules(general.__path__)}
    recboles = [name for name, value in vars(general).items() if isinstance(value, type) and name.lower() in modules]
    return [*MODELS, *sorted(recboles)]
