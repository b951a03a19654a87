"""What the runs of a study say, put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from recbole_cadmr.errors import UserError
from recbole_cadmr.execution.run_spec import RunSpec
from recbole_cadmr.reports.results_table import check_comparable
from recbole_cadmr.runs.result import RunResult, published_of, read_result, traits_of
from recbole_cadmr.runs.topk_lists import LISTS, read_lists
from recbole_cadmr.study.departures import NOT_THERE
from recbole_cadmr.study.figures import figures_of
from recbole_cadmr.study.measurements import measured_as, measured_on
from recbole_cadmr.study.variants import Trained


@dataclass(frozen=True)
class Cell:
    """A run of a variant on a data set."""

    dataset: str
    trained: Trained
    run: RunSpec

    @property
    def name(self) -> str:
        """What it is called where it has no result."""
        departure = self.trained.departure and f" ({self.trained.departure})"
        return f"{self.trained.variant}{departure} on {self.dataset}, seed {self.run.seed}"


class Collected:
    """The figures of finished runs, one added after the other.

    Args:
        measure: what is measured on trained models.

    Attributes:
        missing: by name, why something has no result.
        x: the places of variants on the axis of the study.
        lists_of: by data set and variant, the lists of a deterministic model under the protocol.
    """

    def __init__(self, measure: Sequence[str]) -> None:
        self.missing: dict[str, str] = {}
        self.x: dict[str, float] = {}
        self.lists_of: dict[tuple[str, str], Path] = {}
        self._measure = measure
        self._rows: list[tuple[str, str, str, int, str, str, float | None]] = []
        self._published: dict[tuple[str, str, str], tuple[float, str]] = {}
        self._first: dict[tuple[str, str], tuple[Path, RunResult]] = {}  # which others must be comparable with

    def add(self, cell: Cell) -> None:
        """Add a finished run.

        Raises:
            UserError: if its protocol is another than that of those before.
        """
        trained, run, key = cell.trained, cell.run, (cell.dataset, cell.trained.variant)
        if trained.x is not None:
            self.x[trained.variant] = trained.x
        if trained.source is not None:
            try:
                measured = measured_as(run, trained.source.data_folder, cell.dataset)
            except UserError as error:
                self.missing[cell.name] = str(error)
                return
            self._note(cell, trained.departure, measured)
            return
        result, lists = read_result(run.run), read_lists(run.run / LISTS)
        own = (run.run, result)
        check_comparable([self._first.setdefault((cell.dataset, trained.departure), own), own])
        self._rows += [(*key, trained.departure, run.seed, *entry) for entry in figures_of(lists, result)]
        if trained.departure:
            return
        if known := published_of(result):
            self._published |= {(*key, figure): (value, known.source) for figure, value in known.metrics.items()}
        if traits_of(result)["deterministic"]:
            self.lists_of[key] = run.run / LISTS
        self._add_measured(cell)

    def _add_measured(self, cell: Cell) -> None:
        for name in self._measure:
            try:
                of_departures = measured_on(cell.run, name)
            except UserError as error:
                self.missing[f"{name} of {cell.trained.variant} on {cell.dataset}, seed {cell.run.seed}"] = str(error)
                continue
            for departure, figures in of_departures.items():
                self._note(cell, departure, figures)
                if not figures:
                    self.missing[f"{departure} on {cell.dataset}"] = NOT_THERE

    def _note(self, cell: Cell, departure: str, figures: Mapping[str, float | None]) -> None:
        key = (cell.dataset, cell.trained.variant, departure, cell.run.seed, "")
        self._rows += [(*key, figure, value) for figure, value in figures.items()]

    @property
    def data(self) -> pd.DataFrame:
        """A row a figure of a run."""
        columns = ["dataset", "variant", "departure", "seed", "stratum", "figure", "value"]
        return pd.DataFrame(self._rows, columns=columns).astype({"value": float})

    @property
    def published(self) -> pd.DataFrame:
        """A row a published figure of a variant under the protocol."""
        rows = [(*key, *entry) for key, entry in self._published.items()]
        return pd.DataFrame(rows, columns=["dataset", "variant", "figure", "value", "source"])
