"""The page of a benchmark: one html page that opens without a network, a section a data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from recbole_cadmr.formatting import p_value, signed
from recbole_cadmr.html_page import write_page
from recbole_cadmr.reports.benchmark_figures import accuracy_and_time, diversity, learning_curves, seed_spread
from recbole_cadmr.reports.frame import ALL, EVALUATION, GPU_MEMORY, MEMORY, PARAMETERS, RUN, TRAINING, Results
from recbole_cadmr.reports.results_table import CO2, CPU, ENERGY
from recbole_cadmr.reports.tables import IN_HTML, headline, protocol_lines, published_table, stratum_text

_NEAR = 0.95  # of the best value
_DIVERSITY = {
    "itemcoverage": ("Coverage", "share of all items that are in anyone’s list of {k}"),
    "giniindex": ("Gini index", "0: all items are shown equally often, 1: always the same ones"),
    "tailpercentage": ("Tail share", "of what is shown, how much belongs to the least chosen 80% of the items"),
}


def write_benchmark_page(tables: Sequence[Results], path: Path) -> None:
    """Write the page; its numbers are in it as JSON, too (``<script id="facts">``)."""
    title = f"Benchmark on {tables[0].dataset}" if len(tables) == 1 else "Benchmark"
    facts = {"datasets": [_facts(results) for results in tables]}
    sections = [_section(results, place) for place, results in enumerate(tables)]
    write_page(path, "benchmark.html.j2", title, facts, sections=sections, stratum_text=stratum_text)


def _facts(results: Results) -> dict[str, Any]:
    """The numbers behind a section."""
    metric = results.main_metric
    return {
        "dataset": results.dataset,
        "metric": metric,
        "protocol": results.protocol,
        "best": results.order(metric)[0],
        "fastest_near_best": _fastest_near_best(results),
        "pareto_front": results.pareto_front(metric),
        "models": [_model_facts(results, model) for model in results.models.index],
        "missing": results.missing,
        "published": results.published.to_dict("records"),
    }


def _model_facts(results: Results, model: str) -> dict[str, Any]:
    runs = results.runs[results.runs["model"] == model].groupby(["part", "metric"], sort=False)["value"].agg(list)
    strata = runs.drop([ALL, RUN], errors="ignore").groupby("part", sort=False)
    costs, compared = results.costs.loc[model], results.comparisons.query("model == @model").droplevel("model")
    return {
        "name": model,
        "seeds": results.models.at[model, "seeds"],
        "deterministic": bool(results.models.at[model, "deterministic"]),
        "from_file": bool(results.models.at[model, "from_file"]),
        "metrics": {
            metric: {
                "mean": results.means.at[model, metric],
                "deviation": results.deviations.at[model, metric],
                "values": values,
            }
            for metric, values in runs[ALL].items()
        },
        "strata": {part: values.droplevel("part").to_dict() for part, values in strata},
        "training_seconds": costs[TRAINING],
        "evaluation_seconds": costs[EVALUATION],
        "cpu_seconds": costs.get(CPU),
        "energy_kwh": costs.get(ENERGY),
        "kg_co2": costs.get(CO2),
        "peak_memory_bytes": costs[MEMORY],
        "peak_gpu_memory_bytes": costs.get(GPU_MEMORY),
        "parameters": None if np.isnan(costs[PARAMETERS]) else int(costs[PARAMETERS]),
        "comparisons": compared[["other", "difference", "p", "wilcoxon"]].to_dict("index"),
        "settings": results.models.at[model, "settings"],
    }


def _fastest_near_best(results: Results) -> str:
    accuracy = results.means.loc[~results.models["from_file"], results.main_metric]
    near = accuracy.index[accuracy >= _NEAR * accuracy.max()]
    return str(results.costs.loc[near, TRAINING].idxmin())


def _section(results: Results, place: int) -> dict[str, Any]:
    """What the template shows of a data set."""
    metric = results.main_metric
    k = metric.partition("@")[2]
    return {
        "results": results,
        "protocol": protocol_lines(results),
        "quick": _fastest_near_best(results),
        "accuracy": accuracy_and_time(results, f"accuracy-{place}"),
        "table": _headline(results),
        "strata": results.by_stratum(metric),
        "curves": learning_curves(results, f"curves-{place}"),
        "seeds": seed_spread(results, f"seeds-{place}"),
        "diversity": [
            (title, words.format(k=k), diversity(results, f"{name}@{k}", title, f"{name}-{place}"))
            for name, (title, words) in _DIVERSITY.items()
        ],
        "published": published_table(results),
    }


def _headline(results: Results) -> dict[str, Any]:
    """The first table, sorted by numbers, for the macro ``sortable``."""
    main = results.main_metric
    texts = headline(results, escape, IN_HTML)
    keys = results.means[results.headline].join(results.costs)
    keys.insert(0, "model", keys.index)
    keys.insert(1, "seeds", results.models["seeds"].map(len))
    if main in results.comparisons.index:
        compared = results.comparisons.loc[main].reindex(results.models.index)
        against = [_against(one) for _, one in compared.iterrows()]
        place = 2 + len(results.headline)
        keys.insert(place, "against", compared["difference"])
        texts.insert(place, f"{main} against the best other", against)
    return {
        "columns": [(name, name != "model") for name in texts],
        # Row by row: a column of pandas 3 holds plain texts alone.
        "rows": [list(zip(map(Markup, shown), key)) for shown, key in zip(texts.to_numpy(), keys.to_numpy())],
    }


def _against(compared: pd.Series) -> str:
    """A model against the best other one as html; "" where it was not measured."""
    if np.isnan(compared["difference"]):
        return ""
    tests = f"{p_value(compared['p'])}, Wilcoxon {p_value(compared['wilcoxon'])}"
    return f"{signed(compared['difference'])} <br><small>{escape(tests)}</small>"
