"""The page of a benchmark: one html page that opens without a network, a section a data set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from recbole_cadmr.formatting import seconds, signed
from recbole_cadmr.html_page import write_page
from recbole_cadmr.reports.benchmark_figures import accuracy_and_time, diversity, learning_curves, seed_spread
from recbole_cadmr.reports.frame import ALL, EVALUATION, MEMORY, PARAMETERS, RUN, TRAINING, Results
from recbole_cadmr.reports.tables import (
    Marks,
    cost_texts,
    mark,
    p_value,
    protocol_lines,
    published_table,
    stratum_text,
)

_NEAR = 0.95  # of the best value
_MARKS = Marks("<b>{}</b>", "<u>{}</u>", "*")
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
    write_page(path, "benchmark.html.j2", title, facts, sections=sections)


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
    runs = results.runs[results.runs["model"] == model]
    parts = {part: group.groupby("metric", sort=False)["value"] for part, group in runs.groupby("part", sort=False)}
    costs, compared = results.costs.loc[model], results.comparisons.query("model == @model").droplevel("model")
    return {
        "name": model,
        "seeds": results.seeds(model),
        "deterministic": bool(results.models.at[model, "deterministic"]),
        "metrics": {
            metric: {
                "mean": results.means.at[model, metric],
                "deviation": _or_none(results.deviations.at[model, metric]),
                "values": values.tolist(),
            }
            for metric, values in parts[ALL]
        },
        "strata": {
            part: {metric: values.tolist() for metric, values in by_metric}
            for part, by_metric in parts.items()
            if part not in (ALL, RUN)
        },
        "training_seconds": costs[TRAINING],
        "evaluation_seconds": costs[EVALUATION],
        "peak_memory_bytes": costs[MEMORY],
        "parameters": int(costs[PARAMETERS]),
        "comparisons": compared[["other", "difference", "p"]].to_dict("index"),
        "settings": results.models.at[model, "settings"],
    }


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _fastest_near_best(results: Results) -> str:
    accuracy = results.means[results.main_metric]
    return str(results.costs.loc[accuracy >= _NEAR * accuracy.max(), TRAINING].idxmin())


def _section(results: Results, place: int) -> dict[str, Any]:
    """What the template shows of a data set."""
    metric = results.main_metric
    k = metric.partition("@")[2]
    return {
        "dataset": results.dataset,
        "protocol": protocol_lines(results),
        "missing": results.missing,
        "metric": metric,
        "glance": _glance(results),
        "accuracy": accuracy_and_time(results, f"accuracy-{place}"),
        "columns": _columns(results),
        "rows": [_row(results, model) for model in results.models.index],
        "pairs": results.pairs,
        "strata": _strata(results, metric),
        "curves": learning_curves(results, f"curves-{place}"),
        "seeds": seed_spread(results, f"seeds-{place}"),
        "diversity": [
            (title, words.format(k=k), diversity(results, f"{name}@{k}", title, f"{name}-{place}"))
            for name, (title, words) in _DIVERSITY.items()
            if f"{name}@{k}" in results.means
        ],
        "published": published_table(results),
        "settings": results.models["settings"],
    }


def _glance(results: Results) -> dict[str, str]:
    """The facts at the head of a section, by what they are."""
    metric, quick = results.main_metric, _fastest_near_best(results)
    best = results.order(metric)[0]
    facts = {f"best by {metric}: {_unbroken(results.value(best, metric))}": best}
    compared = results.comparison(best, metric)
    if compared is not None:
        significance = "statistically significant" if compared["better"] else "not statistically significant"
        what = f"ahead of {compared['other']}; {_short_p(compared['p'])}, {significance}"
        facts[what] = signed(compared["difference"])
    cost = f"{seconds(results.costs.at[quick, TRAINING])} of training, {results.value(quick, metric)}"
    facts[f"fastest within 5% of the best: {_unbroken(cost)}"] = quick
    missing = f"; {len(results.missing)} failed or left out, see below" if results.missing else ""
    facts[f"compared{missing}"] = f"{len(results.models)} models"
    return facts


def _unbroken(text: str) -> str:
    return text.replace(" ", "\u00a0")


def _short_p(p: float) -> str:
    return p_value(p).replace("0.", ".")


def _columns(results: Results) -> list[dict[str, Any]]:
    names = ["model", "seeds", *results.headline, f"{results.main_metric} against the best other"]
    names += ["training", "evaluation", "memory", "parameters"]
    return [{"name": name, "numeric": name != "model", "order": None} for name in names]


def _row(results: Results, model: str) -> dict[str, Any]:
    """The headline metrics of a model and what they cost; the best bold, the second underlined."""
    n_runs = len(results.seeds(model))
    seeds = "all" if results.models.at[model, "deterministic"] else n_runs
    cells = [{"text": model, "value": model, "class": "", "notes": []}, _cell(seeds, n_runs)]
    for metric in results.headline:
        mean, _, deviation = results.value(model, metric).partition(" ± ")
        text = Markup(mark(results, model, metric, mean, _MARKS))
        cells.append(_cell(text, results.means.at[model, metric], *([f"± {deviation}"] if deviation else [])))
    compared = results.comparison(model, results.main_metric)
    if compared is None:
        cells.append(_cell("", 0.0))
    else:
        cells.append(_cell(signed(compared["difference"]), compared["difference"], _short_p(compared["p"])))
    values = results.costs.loc[model, [TRAINING, EVALUATION, MEMORY, PARAMETERS]]
    cells += [_cell(text, value) for text, value in zip(cost_texts(results, model), values)]
    return {"class": "", "cells": cells}


def _cell(text: Any, value: float, *notes: str) -> dict[str, Any]:
    return {"text": text, "value": value, "class": "n", "notes": notes}


def _strata(results: Results, metric: str) -> list[tuple[str, list[dict[str, Any]]]]:
    """A heat map of a metric by what is to be found, each column with its own scale."""
    means = results.by_stratum(metric)
    shares = (means / means.max().where(means.max() > 0)).fillna(0.0)
    cells = {
        stratum: [
            {"text": stratum_text(mean, stratum), "measured": not math.isnan(mean), "share": share}
            for mean, share in zip(means[stratum], shares[stratum])
        ]
        for stratum in means
    }
    return [(model, [column[place] for column in cells.values()]) for place, model in enumerate(means.index)]
