"""What the package's yaml says of a model: its paper, settings and presets, what a search tries, what was published.

Of one of the package's models it is in ``properties/model/NAME.yaml``, presets beside it in ``NAME.PRESET.yaml``; of
one of RecBole's in ``properties/recbole_models.yaml``. Beside a setting's default, ``search`` holds the values that a
search tries; a preset may have a ``search`` of its own in place of these. ``paper`` says where a model comes from,
``published`` holds published results.
A class of the user's own has what is said of the model that it derives from, presets too, and what it declares itself.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import takewhile
from pathlib import Path
from typing import Any

from msgspec import Struct, convert
from recbole.model.abstract_recommender import SequentialRecommender

from recbole_cadmr.config.declarations import Setting, setting_of
from recbole_cadmr.config.own_settings import declared_by
from recbole_cadmr.config.yaml_text import installed_yaml, shown
from recbole_cadmr.errors import UserError
from recbole_cadmr.models.registry import described_by, get_model, known_models

DEFAULT_PRESET = "paper"
_PROPERTIES = Path(str(files("recbole_cadmr.properties")))
_GENERAL = ("recbole.yaml", "overall.yaml")
_ALL = "every model"  # the part of recbole_models.yaml that is of no model alone
_BESIDE_SETTINGS = ("paper", "published")  # what the file of a model holds beside them


def declared_settings(model: str, shared: Sequence[str], recboles: Container[str] | None) -> dict[str, Setting]:
    """The declarations of everything that the package declares for a model.

    What a file says of a setting is added to what those before it say: general ones, shared ones, the model's own.

    Args:
        shared: names of the declarations in ``properties/shared/`` that the model has beside its own.
        recboles: settings of the model by RecBole's own yaml; None for a model of the package.
    """
    layers = [_read(name) for name in (*_GENERAL, *(f"shared/{name}.yaml" for name in shared))]
    if recboles is not None:
        common = _read("recbole_models.yaml")[_ALL]
        layers.append({name: entry for name, entry in common.items() if name in recboles})
    entries = _merged([*layers, _entries(model)])
    return {name: setting_of(name, entry) for name, entry in entries.items() if entry.keys() - {"search"}}


def general_settings() -> set[str]:
    """The names of settings that are declared for every model."""
    return {name for file in _GENERAL for name in _read(file)}


def own_settings(model: str) -> dict[str, Setting]:
    """The declarations of a model's own settings, without general and shared ones."""
    return {name: setting_of(name, entry) for name, entry in _entries(model).items() if "default" in entry}


def _entries(model: str) -> dict[str, Any]:
    """What is declared of a model's own settings, by name."""
    file = _file(described_by(model))
    described = {name: entry for name, entry in file.items() if name not in _BESIDE_SETTINGS}
    if model not in known_models():
        return described
    own = get_model(model)
    if issubclass(own, SequentialRecommender) and not described:  # which the other models have no use for
        described = {name: _read("recbole_models.yaml")["SASRec"][name] for name in ("MAX_ITEM_LIST_LENGTH",)}
    return _merged([described, *declared_by(own)])


def _merged(layers: Sequence[Mapping[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Declarations in rising priority: what one says of a setting is added to what those before it say."""
    entries: dict[str, dict[str, Any]] = {}
    for layer in layers:
        for name, entry in layer.items():
            entries[name] = {**entries.get(name, {}), **entry}
    return entries


def _file(model: str) -> dict[str, Any]:
    file = f"model/{model}.yaml"
    return _read(file) if (_PROPERTIES / file).is_file() else _read("recbole_models.yaml").get(model, {})


def _read(name: str) -> dict[str, Any]:
    return installed_yaml(_PROPERTIES / name)


@dataclass(frozen=True)
class Preset:
    """A preset of a model: ``settings`` over the defaults, and what its file says beside them."""

    name: str
    file: str
    settings: dict[str, Any]
    search: dict[str, Any] | None
    published: dict[str, Any]


def find_preset(model: str, name: Any) -> Preset | None:
    """The preset MODEL.NAME.yaml; the default one, if there is one, for the name None.

    Raises:
        UserError: if the model has no preset of this name.
    """
    presets = _preset_files(model)
    if name is not None and name not in presets:
        has = f"it has {', '.join(sorted(presets))}" if presets else "it has none"
        raise UserError(f"{model} has no preset {shown(name)}; {has}")
    name = name or DEFAULT_PRESET
    if name not in presets:
        return None
    settings = _read(f"model/{presets[name]}")
    return Preset(name, presets[name], settings, settings.pop("search", None), settings.pop("published", {}))


def preset_names(model: str) -> list[str]:
    """The presets of a model, by name."""
    return sorted(_preset_files(model))


def preset_note(preset: Preset) -> str:
    """What the file of a preset says of it before its settings; "" if nothing."""
    lines = (_PROPERTIES / "model" / preset.file).read_text(encoding="utf-8").splitlines()
    return " ".join(line.removeprefix("#").strip() for line in takewhile(lambda line: line.startswith("#"), lines))


def _preset_files(model: str) -> dict[str, str]:
    parts = {entry.name: entry.name.split(".") for entry in (_PROPERTIES / "model").iterdir()}
    return {part[1]: file for file, part in parts.items() if part[0] == described_by(model) and len(part) == 3}


def search_space(model: str, preset: str | None) -> dict[str, Any]:
    """What a search of a model tries, as the content of a yaml file of ``--space``; {} if nothing is said of it."""
    chosen = find_preset(model, preset)
    of_preset = chosen.search if chosen is not None else None
    if of_preset is not None and model not in known_models():
        return of_preset
    entries = _entries(model) if of_preset is None else _merged(declared_by(get_model(model)))
    return {**(of_preset or {}), **{name: entry["search"] for name, entry in entries.items() if "search" in entry}}


class Paper(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a model was published: ``authors`` by their last names, ``title``, and ``venue`` with the year."""

    authors: str
    title: str
    venue: str

    def __str__(self) -> str:
        return f"{self.authors}, {self.title}, {self.venue}"


def paper(model: str) -> Paper | None:
    """The paper of one of the package's models, or None: of a model that has none, or of RecBole's."""
    entry = _file(model).get("paper")
    return convert(entry, Paper) if entry is not None else None


@dataclass(frozen=True)
class Published:
    """Results that were published of a model: ``metrics`` by name as in ``result.json``, and where they stand."""

    metrics: dict[str, float]
    source: str


def published(model: str, preset: str | None, dataset: str, interactions: Sequence[int]) -> Published | None:
    """What was published of a model and preset on a data set, or None.

    Args:
        interactions: how many the train, validation and test part have; published results belong to one split, and
            ``properties/published_splits.yaml`` says to which.
    """
    if model in known_models() or list(interactions) != _read("published_splits.yaml").get(dataset):
        return None
    return published_results(model, preset).get(dataset)


def published_results(model: str, preset: str | None) -> dict[str, Published]:
    """All that was published of a model and preset, by data set."""
    chosen = find_preset(model, preset)
    results = dict(chosen.published if chosen is not None else _file(model).get("published", {}))
    source = results.pop("source", "")
    return {dataset: Published(metrics, source) for dataset, metrics in results.items()}
