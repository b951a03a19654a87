"""What a benchmark runs: one cell a model, data set and seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from recbole_cadmr.arguments import MOST_SEED, shown
from recbole_cadmr.config.config import Config
from recbole_cadmr.errors import UserError, did_you_mean
from recbole_cadmr.models.contract import traits
from recbole_cadmr.models.registry import model_names
from recbole_cadmr.runs.topk_lists import RANKING

# Settings that every cell has unless told otherwise; a split that is drawn is the same one for all seeds.
_COMMON = {"save_lists": True, "show_progress": False}
_SPLIT_SEED = 2020  # of a split that is drawn: one split for all seeds
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
# Settings of a machine: the same run on another one has others.
_MACHINE = ("data_path", "checkpoint_dir", "output", "gpu_id", "use_gpu", "threads", "show_progress", "resume_step",
            "resume_seconds", "state", "eval_batch_size", "worker", "seed", "split_seed", "evaluate_test",
            "save_lists")  # fmt: skip
_MOST_SEEDS = 100


@dataclass(frozen=True)
class ModelSpec:
    """A model with its preset and settings, on one data set."""

    model: str
    preset: str | None
    dataset: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Model and preset as given on the command line."""
        return self.model + (f"@{self.preset}" if self.preset else "")

    def config(self, **more: Any) -> Config:
        """The settings of a run; :class:`UserError` on anything wrong with them."""
        given = {"preset": self.preset} if self.preset else {}
        return Config(self.model, self.dataset, settings={**given, **self.settings, **more})

    def cell(self, seed: int, **more: Any) -> RunSpec:
        """The run with one seed."""
        return RunSpec(self, {**self.settings, **more, "seed": seed})

    @cached_property
    def resolved(self) -> Config:
        """The settings of the contender without a cell's own."""
        return self.config()


@dataclass(frozen=True)
class RunSpec:
    """One run of a contender: ``settings`` hold its seed and everything else that was given."""

    model_spec: ModelSpec
    settings: Mapping[str, Any]

    @cached_property
    def digest(self) -> str:
        """A hash of the model and all of its settings, defaults included, but for the seed."""
        more = {name: value for name, value in self.settings.items() if name not in self.model_spec.settings}
        everything = self.model_spec.config(**more).plain_settings()
        kept = {name: value for name, value in everything.items() if name not in (*_MACHINE, "preset")}
        return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()[:8]

    @property
    def name(self) -> str:
        """Name of the cell's folder; other settings make another name, and so do other defaults of a new version."""
        return f"{self.model_spec.dataset}-{self.model_spec.label}-{self.settings['seed']}-{self.digest}"

    @property
    def file_settings(self) -> dict[str, Any]:
        """Everything that the run's settings file says."""
        preset = {"preset": self.model_spec.preset} if self.model_spec.preset else {}
        given = {"model": self.model_spec.model, "dataset": self.model_spec.dataset, **preset}
        drawn = {} if self.model_spec.resolved["benchmark_filename"] else {"split_seed": _SPLIT_SEED}
        return {**given, **_COMMON, **drawn, **self.settings}


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
    found, used = [], set()
    for dataset in datasets:
        same: dict[tuple[str, str], str] = {}
        for label in models:
            model, at, preset = label.partition("@")
            if at and not preset:
                raise UserError(f"'{label}' names no preset; leave out the @")
            place = {name: settings[name] for name in ("data_path",) if name in settings}
            known = ModelSpec(model, preset or None, dataset, place).resolved.declarations
            own = {name: value for name, value in settings.items() if "." not in name and name in known}
            mine = {name for name in settings if name.rpartition(".")[0] in (model, label)}
            used |= mine | own.keys()
            own |= {name.rpartition(".")[2]: settings[name] for name in sorted(mine, key=len)}
            model_spec = ModelSpec(model, preset or None, dataset, own)
            _check_metrics(model_spec.resolved)
            twin = same.setdefault((model, model_spec.cell(0).digest), label)
            if twin != label:
                raise UserError(f"{twin} and {label} are the same model with the same settings; name one of them")
            found.append(model_spec)
    for name in settings.keys() - used:
        owner, _, rest = name.rpartition(".")
        if owner and owner not in {*models, *(label.partition("@")[0] for label in models)}:
            near = did_you_mean(owner, model_names())
            raise UserError(f"--{name} is for {owner}, which is none of the models of this benchmark{near}")
        known_names = {n for model_spec in found for n in model_spec.resolved.declarations}
        raise UserError(f"none of the models has a setting '{rest}'{did_you_mean(rest, known_names)}")
    return found


def _check_metrics(config: Config) -> None:
    for name in config["metrics"]:
        if name.lower() not in {metric.lower() for metric in RANKING}:
            raise UserError(f"a benchmark measures {', '.join(RANKING)} and what it always adds, not {name}")


def seeds_of(text: str) -> list[int]:
    """Seeds from ``5`` (1 to 5) or ``3,7,2020`` (these; of one seed, ``7,``).

    Raises:
        UserError: if there is none, or one that is no whole number from 0 on that numpy takes.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() and len(part) <= 20 for part in parts):  # whatever is longer is no seed
        raise UserError(f"--seeds must be a number of seeds such as 5, or seeds such as 1,2,3, not {shown(text)}")
    seeds = [int(part) for part in parts]
    if "," not in text and seeds and seeds[0] > _MOST_SEEDS:
        raise UserError(f"--seeds {text} means {seeds[0]:,} seeds; for the one seed {text} give {text},")
    if "," not in text:
        seeds = list(range(1, seeds[0] + 1)) if seeds else []
    if not seeds:
        raise UserError("--seeds names no seed; give a number of seeds such as 5, or seeds such as 1,2,3")
    if len(set(seeds)) < len(seeds):
        raise UserError(f"--seeds names a seed twice: {text}")
    check_seeds(seeds)
    return seeds


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise :class:`UserError` unless all are seeds that numpy takes, and there is one."""
    if not seeds:
        raise UserError("a benchmark needs at least one seed")
    wrong = next((seed for seed in seeds if not isinstance(seed, int) or not 0 <= seed <= MOST_SEED), None)
    if wrong is not None:
        raise UserError(f"a seed must be a whole number from 0 to {MOST_SEED}, not {wrong}")


def cells_of(model_spec: ModelSpec, seeds: Sequence[int], **more: Any) -> list[RunSpec]:
    """A cell for each seed; for a model in which nothing is drawn, the first one."""
    deterministic = traits(model_spec.model).deterministic
    return [model_spec.cell(seed, **more) for seed in (seeds[:1] if deterministic else seeds)]
