"""What a benchmark runs: one cell a model, data set and seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from recbole_cadmr.config.config import Config
from recbole_cadmr.errors import UserError, did_you_mean
from recbole_cadmr.models.registry import is_deterministic, model_names

# Settings that every cell has unless told otherwise; a split that is drawn is the same one for all seeds.
_COMMON = {"save_lists": True, "show_progress": False, "split_seed": 2020}


@dataclass(frozen=True)
class Contender:
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

    def cell(self, seed: int, **more: Any) -> Cell:
        """The run with one seed."""
        return Cell(self, {**self.settings, **more, "seed": seed})


@dataclass(frozen=True)
class Cell:
    """One run of a contender: ``settings`` hold its seed and everything else that was given."""

    contender: Contender
    settings: Mapping[str, Any]

    @cached_property
    def name(self) -> str:
        """Name of the cell's folder; other settings make another name."""
        digest = hashlib.sha256(json.dumps(dict(self.settings), sort_keys=True, default=str).encode()).hexdigest()[:8]
        return f"{self.contender.dataset}-{self.contender.label}-{self.settings['seed']}-{digest}"

    @property
    def file_settings(self) -> dict[str, Any]:
        """Everything that the run's settings file says."""
        preset = {"preset": self.contender.preset} if self.contender.preset else {}
        given = {"model": self.contender.model, "dataset": self.contender.dataset, **preset}
        return {**given, **_COMMON, **self.settings}


def contenders(models: Sequence[str], datasets: Sequence[str], settings: Mapping[str, Any]) -> list[Contender]:
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
    found, used = [], set()
    for dataset in datasets:
        for label in models:
            model, _, preset = label.partition("@")
            known = Contender(model, preset or None, dataset).config(**_of_the_data(settings)).declarations
            own = {name: value for name, value in settings.items() if "." not in name and name in known}
            mine = {name for name in settings if name.startswith(f"{model}.")}
            own |= {name.partition(".")[2]: settings[name] for name in mine}
            used |= mine | {name for name in own if name in settings}
            contender = Contender(model, preset or None, dataset, own)
            contender.config()
            found.append(contender)
    for name in settings.keys() - used:
        owner, dot, rest = name.partition(".")
        if dot and owner not in {label.partition("@")[0] for label in models}:
            near = did_you_mean(owner, model_names())
            raise UserError(f"--{name} is for {owner}, which is none of the models of this benchmark{near}")
        known_names = {n for c in found for n in c.config().declarations}
        raise UserError(f"none of the models has a setting '{rest or name}'{did_you_mean(rest or name, known_names)}")
    return found


def _of_the_data(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: settings[name] for name in ("data_path",) if name in settings}


def seeds_of(text: str) -> list[int]:
    """Seeds from ``5`` (1 to 5) or ``3,7,2020`` (these; of one seed, ``7,``).

    Raises:
        UserError: if there is none, or one that is no whole number from 0 on.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() for part in parts):
        raise UserError(f"--seeds must be a number of seeds such as 5, or seeds such as 1,2,3, not {text!r}")
    seeds = [int(part) for part in parts]
    if "," not in text:
        seeds = list(range(1, seeds[0] + 1)) if seeds else []
    if not seeds:
        raise UserError("--seeds names no seed; give a number of seeds such as 5, or seeds such as 1,2,3")
    if len(set(seeds)) < len(seeds):
        raise UserError(f"--seeds names a seed twice: {text}")
    return seeds


def cells_of(contender: Contender, seeds: Sequence[int], **more: Any) -> list[Cell]:
    """A cell for each seed; for a model in which nothing is drawn, the first one."""
    deterministic = is_deterministic(contender.model)
    return [contender.cell(seed, **more) for seed in (seeds[:1] if deterministic else seeds)]
