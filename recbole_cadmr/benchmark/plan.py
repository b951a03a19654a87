"""What a benchmark runs: its options, and the models that they name, checked before anything runs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml
from msgspec import Meta

from recbole_cadmr.arguments import MOST_SEED
from recbole_cadmr.benchmark.lists import absolute
from recbole_cadmr.config.config import placed
from recbole_cadmr.config.deprecated import current_name, current_names, first_names, nearest_settings
from recbole_cadmr.config.domain_metrics import DOMAIN_METRICS
from recbole_cadmr.config.yaml_text import shown
from recbole_cadmr.errors import UserError, did_you_mean
from recbole_cadmr.execution.run_spec import ModelSpec
from recbole_cadmr.files import path_of
from recbole_cadmr.models.own import is_reference, named, source_of
from recbole_cadmr.models.registry import model_names
from recbole_cadmr.runs.topk_lists import RANKING
from recbole_cadmr.runs.trackers import refuse_missing
from recbole_cadmr.training.energy import refuse_unmeasurable

# What the plan decides, and where that is said instead.
_NOT_SETTINGS = {
    "model": "--models",
    "dataset": "--datasets",
    "preset": "--models MODEL@PRESET",
    "seed": "--seeds",
    "output": "--output",
    "checkpoint_dir": "--output",
    "config_files": "settings as --name=value",
    "evaluate_test": "nothing instead: tables need the test part",
    "save_lists": "nothing instead: tables need the lists",
}
_MOST_SEEDS = 100
ModelLabel = Annotated[str, Meta(pattern=r"^[^\W\d]\w*(@[^/:]+)?$")]  # a name, never a reference to a class


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the tables of a benchmark depend on, as ``benchmark.json`` keeps it.

    Attributes:
        settings: as yaml, since JSON has no numbers as keys.
        tune: settings of each model that are tried on validation; 0 or 1 tries none.
        runs: folders of finished runs that join the cells in the tables.
        own_models: how classes of the user's own were named, by the names that they have among ``models``.
        lists: files of recommendation lists that join them, as ``NAME=FILE``.
    """

    models: list[ModelLabel]
    datasets: list[str]
    seeds: list[int]
    settings: str
    tune: int
    runs: list[str]
    own_models: dict[str, str] = {}
    lists: list[str] = []


def planned(
    models: Sequence[str | type],
    datasets: Sequence[str | os.PathLike[str]],
    seeds: int | Sequence[int],
    settings: Mapping[str, Any],
    tune: int,
    runs: Sequence[str | os.PathLike[str]],
    lists: Sequence[str],
) -> tuple[Options, list[ModelSpec]]:
    """The options of a benchmark, as its folder keeps them, and its models on its data sets.

    Args:
        models, datasets, seeds, settings, tune, runs, lists: as of :func:`recbole_cadmr.benchmark.benchmark.benchmark`.

    Raises:
        UserError: on anything wrong with them; of runs and lists nothing is read.
    """
    if not isinstance(settings, Mapping) or not all(isinstance(name, str) for name in settings):
        raise UserError(f"settings are given as a mapping of names to values, not as {shown(settings)}")
    if lone := next((given for given in (models, datasets) if isinstance(given, (str, os.PathLike, type))), None):
        raise UserError(f"models and data sets of a benchmark are given in lists, as in [{shown(lone)}]")
    names: list[str] = []
    for dataset in datasets:
        name, settings = placed(dataset, settings)
        names.append(str(name))
    numbers = seeds_of(str(seeds) if isinstance(seeds, int) else seeds)
    if "data_path" in settings:  # from another working folder it is resumed with the same data
        settings = {**settings, "data_path": str(path_of(settings["data_path"], "data_path").absolute())}
    labels = take_in_models(models)
    specs = model_specs(labels, names, settings)
    for spec in specs:
        refuse_missing(spec.config["tracker"])
        refuse_unmeasurable(spec.config["energy"])
    own = {spec.model: source.reference for spec in specs if (source := source_of(spec.model)) is not None}
    folders, text = [str(Path(run).absolute()) for run in runs], yaml.safe_dump(dict(settings), sort_keys=False)
    return Options(labels, names, numbers, text, tune, folders, own, [absolute(option) for option in lists]), specs


def take_in_models(models: Sequence[str | type]) -> list[str]:
    """Models by name and preset, in which classes of the user's own, or references to them, have become names.

    Raises:
        UserError: if one cannot be taken in, or two have the same name.
    """
    labels: list[str] = []
    owners: dict[str, Any] = {}
    for model in models:
        given: Any = model
        at = preset = ""
        if isinstance(model, str) and "@" in model and not is_reference(model.rpartition("@")[2]):
            given, at, preset = model.rpartition("@")
        name = named(given)
        if (is_reference(given) or isinstance(given, type)) and owners.setdefault(name, given) != given:
            raise UserError(f"two classes are called {name}, {owners[name]} and {given}; give one another name")
        labels.append(f"{name}{at}{preset}")
    return labels


def model_specs(models: Sequence[str], datasets: Sequence[str], settings: Mapping[str, Any]) -> list[ModelSpec]:
    """Every model on every data set, with the settings that are meant for it.

    Args:
        models: names such as ``LightGCN`` or, with a preset, ``CADMR@best``.
        settings: by name for all models that have such a setting, or by ``MODEL.name`` for one model alone.

    Raises:
        UserError: on an unknown model, preset, data set, setting or metric, and on a model named twice.
    """
    for what, names in (("model", models), ("data set", datasets)):
        if not names:
            raise UserError(f"a benchmark needs at least one {what}")
        if len(set(names)) < len(names):
            raise UserError(f"a {what} is named twice in {', '.join(names)}")
    for name in settings:
        if name.rpartition(".")[2] in _NOT_SETTINGS:
            raise UserError(f"--{name} is no setting of a benchmark; use {_NOT_SETTINGS[name.rpartition('.')[2]]}")
    specs, used = [], set[str]()
    for dataset in datasets:
        same: dict[tuple[str, str], str] = {}
        for label in models:
            model, at, preset = label.partition("@")
            if at and not preset:
                raise UserError(f"'{label}' names no preset; leave out the @")
            place = {"data_path": settings["data_path"]} if "data_path" in settings else {}
            declared = ModelSpec(model, preset or None, dataset, place).config.declarations
            own = {n: value for n, value in settings.items() if "." not in n and current_name(model, n) in declared}
            mine = {name for name in settings if name.rpartition(".")[0] in (model, label)}
            used |= mine | own.keys()
            own |= {name.rpartition(".")[2]: settings[name] for name in sorted(mine, key=len)}
            model_spec = ModelSpec(model, preset or None, dataset, current_names(model, own, "settings"))
            for name in model_spec.config["metrics"]:
                if name.lower() not in map(str.lower, (*RANKING, *DOMAIN_METRICS)):
                    raise UserError(f"a benchmark measures {', '.join(RANKING)} and what it always adds, not {name}")
            twin = same.setdefault((model, model_spec.digest), label)
            if twin != label:
                raise UserError(f"{twin} and {label} are the same model with the same settings; name one of them")
            specs.append(model_spec)
    for name in settings.keys() - used:
        owner, _, rest = name.rpartition(".")
        if owner and owner not in {*models, *(label.partition("@")[0] for label in models)}:
            near = did_you_mean(owner, model_names())
            raise UserError(f"--{name} is for {owner}, which is none of the models of this benchmark{near}")
        known_names = {n for model_spec in specs for n in model_spec.config.declarations}
        raise UserError(f"none of the models has a setting '{rest}'{nearest_settings(rest, known_names)}")
    _tell_renamed(specs, settings)
    return specs


def _tell_renamed(specs: Sequence[ModelSpec], settings: Mapping[str, Any]) -> None:
    """Say which settings for all models reach one that had its own by another name before, beside others."""
    models = {spec.model: spec for spec in specs}
    for name in (name for name in settings if "." not in name):
        reached = [model for model, spec in models.items() if name in spec.config.declarations]
        for model in reached if len(reached) > 1 else ():
            (old,) = first_names(model, {name: None})
            if old != name:
                print(f"--{name} reaches {model}, too, where it was called {old}; for one: --MODEL.{name}", flush=True)


def seeds_of(given: str | Sequence[int]) -> list[int]:
    """Seeds from a text, ``5`` (1 to 5) or ``3,7,2020`` (these; of one seed, ``7,``), or as they are.

    Raises:
        UserError: if there is none, or one that numpy does not take.
    """
    if not isinstance(given, str):
        seeds = list(given)
        check_seeds(seeds)
        return seeds
    text = given
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() and len(part) <= 20 for part in parts):  # whatever is longer is no seed
        raise UserError(f"--seeds must be a number of seeds such as 5, or seeds such as 1,2,3, not {shown(text)}")
    seeds = [int(part) for part in parts]
    if "," not in text:
        if seeds[0] > _MOST_SEEDS:
            raise UserError(f"--seeds {text} means {seeds[0]:,} seeds; for the one seed {text} give {text},")
        seeds = list(range(1, seeds[0] + 1))
    check_seeds(seeds)
    return seeds


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise :class:`UserError` unless all are seeds that numpy takes, and there is one."""
    if not seeds:
        raise UserError("a benchmark needs at least one seed; give --seeds such as 5, or 1,2,3")
    for seed in seeds:
        if not isinstance(seed, int) or not 0 <= seed <= MOST_SEED or seeds.count(seed) > 1:
            raise UserError(f"--seeds must be whole numbers from 0 to {MOST_SEED}, each named once, not {seed}")
