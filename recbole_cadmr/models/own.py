"""Models of the user's own: classes that a command or a program names, known by their names from then on.

A class is imported on the word of a caller alone, who names it by ``package.module:Class``, by ``FILE.py:Class``, or
hands it over (:func:`named`). What a file says (a checkpoint, a benchmark, a search) is a name and a hash; it imports
nothing.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import shlex
from collections.abc import Iterable
from importlib.resources import files as resources
from typing import Any

from recbole.model.abstract_recommender import AbstractRecommender
from recbole.utils import ModelType

from recbole_cadmr.errors import UserError
from recbole_cadmr.files import cache_folder
from recbole_cadmr.models.own_import import HOW, imported
from recbole_cadmr.models.own_source import ModelSource, hash_of, source_of_class
from recbole_cadmr.models.registry import is_own, known_models, model_names, take_in_class

_KINDS = {
    ModelType.CONTEXT: "a context-aware model",
    ModelType.KNOWLEDGE: "a model of knowledge graphs",
    ModelType.DECISIONTREE: "a model of decision trees",
}
_given: dict[str, str] = {}  # how the classes were named here, folders included
_sources: dict[str, ModelSource] = {}  # by name, of the classes that the registry has taken in


def is_reference(text: Any) -> bool:
    """Whether a text names a class of the user's own, not a model by its name."""
    return isinstance(text, str) and any(sign in text for sign in (".", ":", "/", os.sep))


def named(model: Any) -> Any:
    """The name of a model that is given by its class or by a reference to it; anything else as it is.

    The class is known by this name from now on, in place of another one.

    Raises:
        UserError: if the reference names none, its module fails on import, or the class is no model that can be
            trained here.
    """
    own: Any = model
    if isinstance(model, type):
        name = model.__name__
        if known_models().get(name) is model:
            return name
        if not is_own(model):
            return name if issubclass(model, AbstractRecommender) else _checked(model, name)
        source = source_of_class(model)
    elif is_reference(model):
        own, source = imported(model)
    else:
        return model
    name = _checked(own, source.reference)
    take_in_class(own)
    _sources[name] = source
    _given[name] = f"{model}" if isinstance(model, str) else source.reference
    return name


def take_in(model: Any) -> str | None:
    """As :func:`named`, where what was trained says its model's name itself; None if no class is given.

    Raises:
        UserError: if a model of the package or of RecBole's is named, too.
    """
    if model is None:
        return None
    name = named(model)
    if name not in _sources:
        raise UserError(f"`model` names a class of your own here, as FILE.py:CLASS or package.module:CLASS, not {name}")
    return str(name)


def refuse_other(taken_in: str | None, name: str) -> None:
    """Raise :class:`UserError` if a class was given for what is of the model ``name``, which is another one."""
    if taken_in not in (None, name):
        raise UserError(f"it is a model of {name}, not of {taken_in}; leave out `model`, or give that class")


def source_of(name: str) -> ModelSource | None:
    """The source of a model of the user's own; None of any other one."""
    return _sources.get(name)


def again(option: str, names: Iterable[str]) -> str:
    """What a command that resumes has to name, of these models, as the end of its command line; "" if nothing."""
    own = ",".join(_given[name] for name in dict.fromkeys(names) if name in _given)
    return f" {option}={shlex.quote(own)}" if own else ""


def receive(source: ModelSource | None) -> None:
    """Take in a model in another process than the one that it was named in, from its source."""
    if source is not None and _sources.get(source.name) != source:
        key = hashlib.sha256("\0".join(f"{name} {hash_of(content)}" for name, content in source.files.items()).encode())
        named(source.write(cache_folder() / "models" / key.hexdigest()))
        _sources[source.name] = source  # as it was named there


def _checked(model: Any, shown: str) -> str:
    """The name of a class; :class:`UserError` unless it is a model that can be trained here."""
    base = "derive it from RecBole's GeneralRecommender or SequentialRecommender, or from a model"
    if not isinstance(model, type):
        raise UserError(f"{shown} is no class; {HOW}")
    if not issubclass(model, AbstractRecommender):
        raise UserError(f"{shown} is no recommender; {base}")
    kind = getattr(model, "type", None)
    if kind not in (ModelType.GENERAL, ModelType.TRADITIONAL, ModelType.SEQUENTIAL):
        what = _KINDS.get(kind, "of no kind that RecBole has")
        raise UserError(f"{shown} is {what}; here, models of users and items and models of sequences are trained")
    name = model.__name__
    if name in model_names() or (resources("recbole.properties") / "model" / f"{name}.yaml").is_file():
        raise UserError(f"{shown}: there is a model {name} already; give the class another name")
    lacking = {what for what in dir(model) if _is_to_be_written(getattr(model, what, None))}
    lacking -= {"predict"} if {"predict", "full_sort_predict"} <= lacking else {"predict", "full_sort_predict"}
    if lacking:
        needs = "a model needs calculate_loss, and full_sort_predict or predict"
        raise UserError(f"{shown} has no method {' and no '.join(sorted(lacking))}; {needs}")
    try:
        inspect.signature(model).bind(None, None)
    except TypeError as error:
        own = ", ".join(inspect.signature(model).parameters)
        raise UserError(
            f"the constructor of {shown} must take (config, dataset), not ({own}); what else it needs are settings"
        ) from error
    return name


def _is_to_be_written(method: Any) -> bool:
    """Whether a method of RecBole's or of the package's does nothing but raise NotImplementedError."""
    package = str(getattr(method, "__module__", "")).partition(".")[0]
    code = getattr(method, "__code__", None)
    return package in ("recbole", "recbole_cadmr") and code is not None and code.co_names == ("NotImplementedError",)
