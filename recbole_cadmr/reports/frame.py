"""Finished runs on one data set as frames: what the tables and the page of a benchmark are drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from recbole_cadmr.formatting import with_deviation
from recbole_cadmr.reports.results_table import (
    COSTS,
    METRICS,
)
from recbole_cadmr.runs.result import Protocol
from recbole_cadmr.training.contents import Counts

ALL, RUN = "", "run"  # parts of a frame of results that are no stratum: all held-out items, and the run itself
TRAINING, EVALUATION = "training seconds", "seconds of an evaluation"
MEMORY, GPU_MEMORY, PARAMETERS = "peak memory bytes", "peak GPU memory bytes", "parameters"


@dataclass
class Results:
    """Finished runs on one data set under one protocol, and lists from files.

    A *model* here is a model with its settings, by a name that no other has, or what made the lists of a file. Of the
    latter nothing is known but the lists: they have no costs, and no results at lengths that they do not reach.

    Attributes:
        protocol: what all runs have in common, as in ``result.json``.
        counts: users, items, and interactions of the three parts.
        models: by name, the best first by the metric that models were chosen by: ``multimodal``, ``deterministic``
            (whether one run stands for all seeds), ``settings`` (what differs from the defaults, or the files, in
            words), ``seeds``, ``from_file``.
        runs: a row a result: ``model``, ``seed``, ``part`` (``ALL``, a stratum, or ``RUN``: what the run took),
            ``metric`` and ``value``; runs of a model by ascending seed.
        validations: ``model``, ``seed``, ``epoch``, ``seconds`` and ``score``, in the order in which they happened.
        comparisons: by ``metric`` and ``model``, each model against the best other: see :func:`compare`.
        published: what was published on the same split: ``model``, ``metric``, ``value`` and ``source``.
        missing: by label, why there is no result (failed, skipped).
        tuned: whether settings were chosen on validation.
        threads: of the runs.
    """

    dataset: str
    protocol: Protocol
    counts: Counts
    models: pd.DataFrame
    runs: pd.DataFrame
    validations: pd.DataFrame
    comparisons: pd.DataFrame
    published: pd.DataFrame
    missing: dict[str, str]
    tuned: bool
    threads: list[int]

    @property
    def ranking_metrics(self) -> list[str]:
        """Names of the ranking metrics, in the order they were asked for."""
        return [f"{name.lower()}@{k}" for name in self.protocol["metrics"] for k in self.protocol["topk"]]

    @property
    def headline(self) -> list[str]:
        """The metrics of the first table: the usual four, or what was measured instead."""
        return [metric for metric in METRICS if metric in self.ranking_metrics] or self.ranking_metrics[:4]

    @property
    def main_metric(self) -> str:
        """The metric that charts show."""
        return "recall@20" if "recall@20" in self.ranking_metrics else self.headline[0]

    @cached_property
    def means(self) -> pd.DataFrame:
        """Means over the runs, of all held-out items: a row a model, a column a metric."""
        return self._over_runs(ALL, "mean")

    @cached_property
    def deviations(self) -> pd.DataFrame:
        """Sample standard deviations over the runs; NaN of one run."""
        return self._over_runs(ALL, "std")

    @cached_property
    def costs(self) -> pd.DataFrame:
        """What the runs of a model took: means of ``TRAINING`` (with construction, without evaluation) and
        ``EVALUATION``, the largest ``MEMORY``, of runs on a GPU also ``GPU_MEMORY``, and ``PARAMETERS``; NaN of lists
        from files. What else runs take (``COSTS``, of the whole run and all its processes) is there if a run has it.
        """
        means, largest = self._over_runs(RUN, "mean"), self._over_runs(RUN, "max")
        others = means[[name for name in COSTS if name in means]]
        memory = largest[[name for name in (MEMORY, GPU_MEMORY) if name in largest]]
        timed, sized = means[[TRAINING, EVALUATION]], memory.join(means[PARAMETERS])
        costs = timed.fillna(0.0).join(others).join(sized.fillna(0.0))
        return costs[~self.models["from_file"]].reindex(costs.index)

    def _over_runs(self, part: str, statistic: str) -> pd.DataFrame:
        of_part = self.runs[self.runs["part"] == part].groupby(["model", "metric"], sort=False)["value"]
        return of_part.agg(statistic).unstack().reindex(self.models.index)

    @cached_property
    def pairs(self) -> dict[str, float]:
        """How many held-out pairs each stratum has."""
        counted = self.runs[self.runs["metric"] == "pairs"]
        return counted.groupby("part", sort=False)["value"].first().to_dict()

    def by_stratum(self, metric: str) -> pd.DataFrame:
        """Means over the runs: a row a model, a column a stratum; NaN where a model cannot score its items."""
        measured = self.runs[(self.runs["metric"] == metric) & self.runs["part"].isin(self.pairs)]
        means = measured.groupby(["model", "part"])["value"].mean().unstack()
        return means.reindex(index=self.models.index, columns=list(self.pairs))

    def value(self, model: str, metric: str, sign: str = " ± ") -> str:
        """Mean, and the standard deviation over seeds if there are several; a dash if it was not measured."""
        if np.isnan(self.means.at[model, metric]):
            return "–"
        return with_deviation(self.means.at[model, metric], self.deviations.at[model, metric], sign)

    def order(self, metric: str) -> list[str]:
        """The models by a metric, the best first, those without it last; of equal ones, the one that is further up in
        the tables."""
        return list(self.means[metric].sort_values(ascending=False, kind="stable").index)

    def comparison(self, model: str, metric: str) -> pd.Series | None:
        """A model against the best other one; None if there is none."""
        key = (metric, model)
        return self.comparisons.loc[key] if key in self.comparisons.index else None

    def pareto_front(self, metric: str) -> list[str]:
        """Models that no other beats in a metric without taking longer, the quickest first."""
        points = pd.DataFrame({"seconds": self.costs[TRAINING], "worth": self.means[metric]}).dropna()
        points = points.sort_values(["seconds", "worth"], ascending=[True, False], kind="stable")
        before = points["worth"].cummax().shift(fill_value=-np.inf)
        return list(points.index[points["worth"] > before])
