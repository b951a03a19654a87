"""What there is to choose from: models, from the registry, and their papers and presets, from the yaml."""

from __future__ import annotations

import re
import sys
from typing import Any, TypedDict

from recbole_cadmr.config.model_yaml import (
    DEFAULT_PRESET,
    find_preset,
    own_settings,
    paper,
    preset_names,
    preset_note,
)
from recbole_cadmr.models.contract import ModelTraits, OwnModel, traits
from recbole_cadmr.models.registry import MODELS, get_model, model_names

_REFERENCE = re.compile(r"Reference[s]?:\s*\n(.+?)(?:\n\s*\n|\n\s*Reference|\Z)", re.DOTALL)
_TITLE = re.compile(r'["“](.+?)[.,]?["”]')


class ListedModel(TypedDict):
    """A model as it is listed, or with one of its presets as ``NAME@PRESET``.

    ``about`` is the title of its paper, or what it is; ``paper`` the whole reference; "" if nothing is said.
    """

    name: str
    package: str
    reads: str
    scores_cold_items: bool
    recommends_from_history: bool
    explains: bool
    takes_new_items: bool
    deterministic: bool
    presets: list[str]
    about: str
    paper: str


class ListedPreset(TypedDict):
    """A preset as it is listed: the settings that it changes, and what its file says of it."""

    model: str
    preset: str
    default: bool
    about: str
    settings: dict[str, Any]


def listed_models() -> list[ListedModel]:
    """Every model that has a name, the package's first."""
    return [_listed(name) for name in model_names()]


def listed_forms(model: str) -> list[ListedModel]:
    """A model with each of its presets that makes it something else than it is by default: CADMR with ``best``."""
    forms = {preset: traits_with(model, preset) for preset in preset_names(model)}
    return [
        {**_listed(model, form), "name": f"{model}@{preset}", "about": _first_sentence(model, preset)}
        for preset, form in forms.items()
        if form != traits(model)
    ]


def traits_with(model: str, preset: str | None) -> ModelTraits:
    """The traits of a model with a preset, which may ask for another form of it."""
    chosen, form = find_preset(model, preset), get_model(model)
    if chosen is not None and issubclass(form, OwnModel):
        defaults = {name: setting.default for name, setting in own_settings(model).items()}
        form = form.form({**defaults, **chosen.settings})
    return traits(form)


def listed_presets(model: str | None = None) -> list[ListedPreset]:
    """The presets of a model, or of all.

    Raises:
        UserError: if there is no such model.
    """
    if model is not None:
        get_model(model)
    found: list[ListedPreset] = []
    for name in MODELS if model is None else [model]:
        for preset in preset_names(name):
            known = find_preset(name, preset)
            if known is not None:
                is_default = preset == DEFAULT_PRESET
                about = preset_note(known)
                found.append(
                    ListedPreset(model=name, preset=preset, default=is_default, about=about, settings=known.settings)
                )
    return found


def _listed(name: str, form: ModelTraits | None = None) -> ListedModel:
    own, model = form or traits(name), get_model(name)
    first = "sequences" if own.sequential else "interactions"
    others = {"content": own.multimodal, "item graphs": own.reads_item_graphs}
    about, reference = _said_of(name, model)
    return {
        "name": name,
        "package": model.__module__.partition(".")[0],
        "reads": ", ".join([first, *(what for what, is_read in others.items() if is_read)]),
        "scores_cold_items": own.scores_cold_items,
        "recommends_from_history": own.recommends_from_history,
        "explains": own.explains,
        "takes_new_items": own.takes_new_items,
        "deterministic": own.deterministic,
        "presets": preset_names(name),
        "about": about,
        "paper": reference,
    }


def _said_of(name: str, model: type) -> tuple[str, str]:
    """The title of a model's paper, or what it is; and the whole reference. RecBole's stand in docstrings."""
    docstring = sys.modules[model.__module__].__doc__ or ""
    if name in MODELS:
        published = paper(name)
        return (published.title, str(published)) if published else (_first_line(docstring, name), "")
    found = _REFERENCE.search(docstring)
    if found is None:
        return _first_line(model.__doc__ or "", name), ""
    reference = " ".join(found[1].split())
    title = _TITLE.search(reference)
    return title[1] if title else reference, reference


def _first_sentence(model: str, preset: str) -> str:
    chosen = find_preset(model, preset)
    return "" if chosen is None else preset_note(chosen).partition(". ")[0]


def _first_line(docstring: str, name: str) -> str:
    line = next((line.strip() for line in docstring.splitlines() if line.strip()), "")
    return line.removeprefix(f"{name}: ").rstrip(".")
