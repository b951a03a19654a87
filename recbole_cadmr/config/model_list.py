"""What there is to choose from: models, from the registry, and their presets, from the yaml."""

from __future__ import annotations

import re
import sys
from typing import Any, TypedDict

from recbole_cadmr.config.model_yaml import DEFAULT_PRESET, find_preset, preset_names, preset_note
from recbole_cadmr.models.contract import traits
from recbole_cadmr.models.registry import MODELS, get_model, model_names

_REFERENCE = re.compile(r"Reference[s]?:\s*\n(.+?)(?:\n\s*\n|\n\s*Reference|\Z)", re.DOTALL)
_TITLE = re.compile(r'["“](.+?)[.,]?["”]')


class ListedModel(TypedDict):
    """A model as it is listed; ``about`` is the title of its paper, or what it is; "" if nothing is said."""

    name: str
    package: str
    reads: str
    scores_cold_items: bool
    deterministic: bool
    presets: list[str]
    about: str


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


def _listed(name: str) -> ListedModel:
    own, model = traits(name), get_model(name)
    parts = ["sequences" if own.sequential else "interactions", *(["content"] if own.multimodal else [])]
    return {
        "name": name,
        "package": model.__module__.partition(".")[0],
        "reads": ", ".join(parts),
        "scores_cold_items": own.scores_cold_items,
        "deterministic": own.deterministic,
        "presets": preset_names(name),
        "about": _about(name, sys.modules[model.__module__].__doc__ or "") or _first_line(model),
    }


def _first_line(model: type) -> str:
    return next((line.strip() for line in (model.__doc__ or "").splitlines() if line.strip()), "")


def _about(name: str, docstring: str) -> str:
    """The first line of the package's own modules, which names the paper; the reference in RecBole's."""
    if name in MODELS:
        return docstring.splitlines()[0].removeprefix(f"{name}: ").rstrip(".")
    reference = _REFERENCE.search(docstring)
    text = " ".join(reference[1].split()) if reference else ""
    title = _TITLE.search(text)
    return title[1] if title else text
