"""Tables of a benchmark as markdown and csv, and what those in LaTeX are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from recbole_cadmr.formatting import markdown_table, memory, p_value, plain, seconds
from recbole_cadmr.reports.frame import ALL, EVALUATION, GPU_MEMORY, MEMORY, PARAMETERS, RUN, TRAINING, Results
from recbole_cadmr.reports.measure import COLD
from recbole_cadmr.reports.results_table import COSTS

TABLE = "table.md"
SIGNIFICANT = "statistically significantly better than every other"
TEST = "paired t-test over users, scores averaged over seeds, two-sided, Holm-corrected, p < .05"
_LEGEND = f"best in bold, second underlined; * {SIGNIFICANT} ({TEST})"
_COUNTS = (MEMORY, GPU_MEMORY, PARAMETERS, "epochs")  # whole numbers


class Marks(NamedTuple):
    """How the best and the second of a column are marked, the best one that is significantly better, and what stands
    before a standard deviation."""

    best: str
    second: str
    star: str
    sign: str = " ± "


_MARKDOWN = Marks("**{}**", "<u>{}</u>", "\\*")
IN_HTML = Marks("<b>{}</b>", "<u>{}</u>", "*")


def marked(results: Results, metric: str, marks: Marks) -> list[str]:
    """The models' values of a metric; the best and the second are marked, with all that are equal to them."""
    order = [name for name in results.order(metric) if not np.isnan(results.means.at[name, metric])]
    if not order:
        return ["–"] * len(results.models)
    compared = results.comparison(order[0], metric)
    star = marks.star if compared is not None and compared["better"] else ""
    means = results.means[metric]
    first, second = [*means[order].unique()[:2], np.nan][:2]
    forms = {name: marks.second for name in order if means[name] == second}
    forms |= {name: marks.best + star for name in order if means[name] == first}
    return [forms.get(name, "{}").format(results.value(name, metric, marks.sign)) for name in results.models.index]


def headline(results: Results, escaped: Callable[[Any], str], marks: Marks) -> pd.DataFrame:
    """The headline metrics of each model and what they cost, as texts."""
    models, costs = results.models, results.costs
    seeds = models["seeds"].map(len).astype(str).mask(models["deterministic"], "deterministic")
    files = models["seeds"].map(len).map({1: "a file"}).fillna(seeds + " files")
    seeds = seeds.mask(models["from_file"], files)
    return pd.DataFrame(
        {
            "model": map(escaped, models.index),
            "seeds": seeds.tolist(),
            **{metric: marked(results, metric, marks) for metric in results.headline},
            "training": _if_known(seconds, costs[TRAINING]),
            "evaluation": _if_known(seconds, costs[EVALUATION]),
            **{head: _if_known(form, costs[name]) for name, (head, form) in COSTS.items() if name in costs},
            "peak memory": _if_known(memory, costs[MEMORY]),
            **({"of the GPU": _if_known(memory, costs[GPU_MEMORY])} if GPU_MEMORY in costs else {}),
            "parameters": _if_known("{:,.0f}".format, costs[PARAMETERS]),
        },
    )


def _if_known(form: Callable[[float], str], values: pd.Series) -> list[str]:
    return ["–" if np.isnan(value) else form(value) for value in values]


def protocol_lines(results: Results) -> list[str]:
    """How everything in the tables of a data set was measured."""
    protocol, counts = results.protocol, results.counts
    note = f" ({protocol['data_note']})" if protocol["data_note"] else ""
    train, valid, test = counts["interactions"]
    masked = "train and validation items" if protocol["mask_valid_at_test"] else "train items"
    split = f"{protocol['split']}, {protocol['group_by']}"
    if protocol["split"] == "pre-split":
        split = protocol.get("split_note") or "as in its files"
    tuning = "settings as given, none tried for this table but those that a model chooses by itself, listed below"
    if results.tuned:
        tuning = "settings chosen on validation, how many of the same budget are listed below (small spaces have fewer)"
    with_files = int(results.models["from_file"].any())
    threads = "1 thread" if results.threads == [1] else f"{' or '.join(map(str, results.threads))} threads"
    return [
        f"{results.dataset}{note}: {counts['users']:,} users, {counts['items']:,} items, {train:,} train interactions, "
        f"{valid:,} to validate, {test:,} to test; split {split}",
        f"ranking over {protocol['candidates']}, {masked} left out; means over users with a held-out item; chosen by "
        f"validation {protocol['valid_metric']}, the test part read once a run",
        f"{tuning}; seconds are of runs with {threads}",
        *(["(file): lists made elsewhere, measured alike; where they come from is listed below"] * with_files),
    ]


def against(results: Results, model: str, metric: str) -> str:
    """A model against the best other one, in words."""
    compared = results.comparison(model, metric)
    if compared is None:
        return ""
    return (
        f"{round(compared['difference'], 4) + 0.0:+.4f} against {compared['other']}, {p_value(compared['p'])} "
        f"(Wilcoxon {p_value(compared['wilcoxon'])})"
    )


def stratum_text(mean: float, stratum: str, from_file: bool = False) -> str:
    """A mean of a stratum, or why there is none."""
    if np.isnan(mean):
        return "not in the file" if from_file else "cannot score them" if stratum.startswith(COLD) else ""
    return f"{mean:.4f}"


def published_table(results: Results) -> pd.DataFrame:
    """What was published of the models beside what was measured here; empty if nothing was."""
    frame = results.published[results.published["metric"].isin(results.ranking_metrics)]
    measured = [results.means.at[model, metric] for model, metric in zip(frame["model"], frame["metric"])]
    return frame.assign(
        value=frame["value"].map("{:.4f}".format),
        measured=[f"{value:.4f}" for value in measured],
        difference=[f"{share:+.1%}" for share in measured / frame["value"] - 1],
    ).rename(columns={"value": "published"})[["model", "metric", "published", "measured", "difference", "source"]]


# Markdown


def markdown(tables: Sequence[Results]) -> str:
    """Everything that was measured, a section a data set."""
    return "\n".join(line for results in tables for line in _markdown_section(results)).rstrip() + "\n"


def first_tables(tables: Sequence[Results]) -> str:
    """What a person wants to see first: the headline results of each data set, and which models have none."""
    return "\n".join(line for results in tables for line in (*_first(results), *_without(results, plain), ""))


def first_html(tables: Sequence[Results]) -> str:
    """The same for a notebook."""
    return "\n".join(line for results in tables for line in _first_in_html(results))


def _first_in_html(results: Results) -> Iterator[str]:
    yield headline(results, lambda value: escape(str(value)), IN_HTML).to_html(index=False, escape=False)
    lines = [*map(escape, [*protocol_lines(results), _LEGEND]), *filter(None, _without(results, escape))]
    yield from ("<ul>", *(f"<li>{line}</li>" for line in lines), "</ul>")


def _first(results: Results) -> Iterator[str]:
    yield f"## {plain(results.dataset)}\n"
    yield from (f"- {plain(line)}" for line in protocol_lines(results))
    yield f"- {_LEGEND}\n"
    yield markdown_table(headline(results, plain, _MARKDOWN))


def _without(results: Results, escaped: Callable[[str], str]) -> Iterator[str]:
    """What has no result, without the reason, which was said when a run ended."""
    if results.missing:
        yield from ("", f"Without a result, for the reasons in {TABLE}: {', '.join(map(escaped, results.missing))}")


def _markdown_section(results: Results) -> Iterator[str]:
    names = results.models.index
    models = {"model": list(map(plain, names))}
    yield from _first(results)
    if results.missing:
        yield from ("", *(f"- {plain(label)}: {plain(reason)}" for label, reason in results.missing.items()))
    yield from ("", "Against the best other model, by the t-test (Wilcoxon: signed-rank test, corrected alike):", "")
    compared = {metric: [plain(against(results, name, metric)) for name in names] for metric in results.headline}
    yield markdown_table(pd.DataFrame(models | compared))
    for k in results.protocol["topk"]:
        yield from ("", f"Lists of {k} (coverage, Gini index and tail share are of what is shown, not of hits):", "")
        of_length = [metric for metric in results.ranking_metrics if metric.endswith(f"@{k}")]
        ranking = {metric: marked(results, metric, _MARKDOWN) for metric in of_length}
        shown = {"coverage": "itemcoverage", "Gini": "giniindex", "tail share": "tailpercentage"}
        extra = {head: [results.value(name, f"{metric}@{k}") for name in names] for head, metric in shown.items()}
        yield markdown_table(pd.DataFrame(models | ranking | extra))
    usual = [metric for metric in ("recall@20", "ndcg@20") if metric in results.ranking_metrics]
    for metric in usual or results.headline[:1]:
        yield from ("", f"{metric} by what is to be found (the candidates stay all items):", "")
        strata = {
            f"{stratum} ({results.pairs[stratum]:,.0f})": [
                stratum_text(mean, stratum, from_file) for mean, from_file in zip(means, results.models["from_file"])
            ]
            for stratum, means in results.by_stratum(metric).items()
        }
        yield markdown_table(pd.DataFrame(models | strata))
    if len(beside := published_table(results)):
        yield from ("", "Beside what was published on this split:", "", markdown_table(beside.map(plain)))
    yield from ("", "Settings other than the defaults, and files that lists come from:", "")
    yield markdown_table(pd.DataFrame({**models, "settings": map(plain, results.models["settings"])}))
    yield ""


# csv


def csv_text(tables: Sequence[Results]) -> str:
    """One line a data set, model, seed and result, unrounded."""
    head = ["dataset", "model", "seed", "figure", "value"]
    return pd.concat(map(_csv_lines, tables))[head].to_csv(index=False, lineterminator="\n")


def _csv_lines(results: Results) -> pd.DataFrame:
    runs = results.runs
    of_all = runs["part"].isin([ALL, RUN])
    lines = runs.assign(
        figure=runs["metric"].where(of_all, runs["part"] + ": " + runs["metric"]),
        value=runs["value"].astype(object).mask(runs["metric"].isin(_COUNTS), runs["value"].map("{:.0f}".format)),
    )
    compared = results.comparisons.reset_index()
    compared["figure"] = compared["metric"] + " against " + compared["other"]
    values = ["difference", "p", "wilcoxon"]
    compared = compared.melt(["model", "figure"], values, ignore_index=False).sort_index(kind="stable")
    compared = compared.assign(seed="all", figure=compared["figure"] + ": " + compared["variable"])
    published = results.published.assign(seed="published", figure=results.published["metric"])
    frames = (lines, compared, published)
    parts = [frame[frame["model"] == model] for model in results.models.index for frame in frames]
    return pd.concat([part for part in parts if len(part)]).assign(dataset=results.dataset)
