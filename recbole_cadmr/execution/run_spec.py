"""What is run: a model with its settings on a data set, one run of it, and what runs it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from recbole_cadmr.config.config import Config
from recbole_cadmr.config.deprecated import first_names
from recbole_cadmr.config.rules import OF_RUN
from recbole_cadmr.files import write_text
from recbole_cadmr.models.own import source_of
from recbole_cadmr.runs.folder import RunFolder


@dataclass(frozen=True)
class ModelSpec:
    """A model with its preset and settings, on a data set."""

    model: str
    preset: str | None
    dataset: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Model and preset as given on the command line."""
        return self.model + (f"@{self.preset}" if self.preset else "")

    @cached_property
    def config(self) -> Config:
        """All settings of a run, defaults included; :class:`UserError` on anything wrong with them."""
        preset = {"preset": self.preset} if self.preset else {}
        return Config(self.model, self.dataset, settings={**preset, **self.settings})

    @cached_property
    def digest(self) -> str:
        """A hash of the model and all of its settings, defaults included; other defaults make another one, too.

        Of a class of the user's own, another source does.
        """
        settings = first_names(self.model, self.config.plain_settings())
        kept = {name: value for name, value in settings.items() if name not in ("preset", *OF_RUN)}
        if (source := source_of(self.model)) is not None:
            kept["own_model"] = source.sha256
        return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class RunSpec:
    """One run of a model, with its folder and its needs.

    Attributes:
        folder: holds the run itself in ``run``, and beside it its settings, its log, and why it failed.
        memory: bytes that it is expected to need.
        settings: of the run, where the model's say nothing else.
    """

    model_spec: ModelSpec
    seed: int
    folder: Path
    memory: int = 0
    threads: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def run(self) -> Path:
        """The folder that training writes."""
        return self.folder / "run"

    @property
    def is_finished(self) -> bool:
        """Whether its result is there."""
        return RunFolder(self.run).is_finished

    @property
    def failure_file(self) -> Path:
        """The file that says why there is no result."""
        return self.folder / "failure.txt"

    @property
    def failure(self) -> str | None:
        """Why there is no result; None if nothing went wrong."""
        return self.failure_file.read_text(encoding="utf-8").strip() if self.failure_file.is_file() else None

    def fail(self, reason: str) -> None:
        """Record why there is no result."""
        write_text(self.failure_file, reason + "\n")

    @property
    def duration_file(self) -> Path:
        """The file that says how many seconds it took from its start to its end, its process included."""
        return self.folder / "seconds.txt"

    @property
    def config(self) -> Config:
        """All settings of the run, defaults included."""
        return Config(settings=self.all_settings)

    @property
    def all_settings(self) -> dict[str, Any]:
        """The content of its settings file."""
        spec = self.model_spec
        named = {"model": spec.model, "dataset": spec.dataset} | ({"preset": spec.preset} if spec.preset else {})
        return {**named, **self.settings, **spec.settings, "seed": self.seed, "threads": self.threads}


OnStart: TypeAlias = Callable[[RunSpec], None]
OnEnd: TypeAlias = Callable[[RunSpec, float], None]


class Runner(Protocol):
    """Runs what is to be run, each in a process of its own; what fails says so in its folder and stops nothing."""

    def run(self, specs: Sequence[RunSpec], on_start: OnStart, on_end: OnEnd) -> None:
        """Run all; each is reported as it starts, and with its seconds as it ends, finished or not."""
