"""The report of a benchmark: one html page that opens without a network, a section a data set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from markupsafe import Markup

from recbole_cadmr import html_page as html
from recbole_cadmr.formatting import seconds, signed
from recbole_cadmr.reports.benchmark_charts import (
    NARROW,
    accuracy_and_time,
    diversity,
    learning_curves,
    main_metric,
    pareto_front,
    seed_spread,
)
from recbole_cadmr.reports.benchmark_tables import (
    headline_table,
    p_value,
    settings_table,
    strata_table,
)
from recbole_cadmr.reports.summary import DatasetTable, Row
from recbole_cadmr.reports.tables import chosen_settings, protocol_lines, value

_NEAR = 0.95  # of the best figure
_STYLE = """
section { scroll-margin-top: 48px; } section + section { border-top: 1px solid #dde3e9; margin-top: 64px; }
nav { position: sticky; top: 0; z-index: 2; background: #fff; border-bottom: 1px solid #dde3e9; padding: 8px 0;
  overflow-x: auto; white-space: nowrap; }
nav a { color: #1f5fbf; text-decoration: none; margin-right: 20px; } nav a:hover { text-decoration: underline; }
ul.protocol { color: #56636f; font-size: 15px; margin: 0 0 20px; padding-left: 20px; }
.charts figure { margin: 0; } figcaption { color: #56636f; font-size: 14px; } figcaption b { color: #1c2733; }
th:first-child, td:first-child { min-width: 105px; max-width: 190px; overflow-wrap: break-word; }
table.heat td, table.heat th { border: 1px solid #fff; } table.heat th.n { max-width: 100px; }
table.heat td { vertical-align: middle; }
table.heat tbody tr:hover td:not(:first-child) { outline: 1px solid #56636f; outline-offset: -1px; }
td.never { color: #56636f; font-size: 12px; text-align: right; white-space: nowrap;
  background: repeating-linear-gradient(135deg, #f4f5f6 0 6px, #e8ebee 6px 12px); }
"""
# On a narrow screen fewer points have names.
_SCRIPT = """
addEventListener("load", () => {
  if (innerWidth < NARROW) document.querySelectorAll("script.narrow").forEach(names =>
    Plotly.relayout(names.dataset.chart, { annotations: JSON.parse(names.textContent) }));
});
""".replace("NARROW", str(NARROW))


def write_report(tables: Sequence[DatasetTable], path: Path) -> None:
    """Write the page; its numbers are in it as JSON, too (``<script id="facts">``)."""
    title = f"Benchmark on {tables[0].dataset}" if len(tables) == 1 else "Benchmark"
    links = [f'<a href="#data-{place}">{escape(table.dataset)}</a>' for place, table in enumerate(tables)]
    body = [
        f"<h1>{escape(title)}</h1>",
        '<p class="lead">Figures are those of the test part; ± is the standard deviation over seeds. Point at a chart '
        "for what lies behind a point, click names in a legend to hide and show them, and heads of tables to sort."
        "</p>",
        f"<nav>{''.join(links)}</nav>" if len(tables) > 1 else "",
        *(f'<section id="data-{place}">{"".join(_section(table, place))}</section>'
          for place, table in enumerate(tables)),
    ]  # fmt: skip
    facts = {"datasets": [figures(table) for table in tables]}
    html.write_page(
        path, "report.html.j2", title, facts, body=Markup("".join(body)), style=Markup(_STYLE), script=Markup(_SCRIPT)
    )


def figures(table: DatasetTable) -> dict[str, Any]:
    """The numbers behind a section."""
    metric = main_metric(table)
    best = _best(table)
    return {
        "dataset": table.dataset,
        "metric": metric,
        "protocol": table.protocol,
        "best": best.name if best else None,
        "fastest_near_best": _fastest_near_best(table).name if best else None,
        "pareto_front": [row.name for row in pareto_front(table.rows, metric)],
        "models": [
            {
                "name": row.name,
                "seeds": row.seeds,
                "deterministic": row.deterministic,
                "metrics": {name: {"mean": row.mean(name), "deviation": row.deviation(name), "values": values}
                            for name, values in row.metrics.items()},
                "strata": row.strata,
                "training_seconds": row.training_seconds,
                "evaluation_seconds": row.evaluation_seconds,
                "peak_memory_bytes": row.peak_memory,
                "parameters": row.parameters,
                "comparisons": {name: vars(found[row.name]) for name, found in table.comparisons.items()
                                if row.name in found},
                "settings": chosen_settings(row),
            }
            for row in table.rows
        ],
        "missing": table.missing,
    }  # fmt: skip


def _section(table: DatasetTable, place: int) -> Iterable[str]:
    yield f"<h2>{escape(table.dataset)}</h2>"
    yield f'<ul class="protocol">{"".join(f"<li>{escape(line)}</li>" for line in protocol_lines(table))}</ul>'
    if table.rows:
        yield html.macro("facts_grid", _glance(table))
        yield from _drawn(table, place)
        yield _title("Settings", "What differs from a model's defaults; names of presets are part of a model's name.")
        yield settings_table(table)
    if table.missing:
        yield _title("What is not there", "These failed or were left out, so no figure above speaks of them.")
        yield html.macro("grid", ["model", "why"], table.missing.items())


def _drawn(table: DatasetTable, place: int) -> Iterable[str]:
    metric, rows = main_metric(table), table.rows
    yield _title("Accuracy and time", "Higher is better, further left is quicker. The line joins the models that no "
                 "other beats without taking longer; bars span a standard deviation over seeds. "
                 "On a narrow screen only these models are named; tap a point for its model.")  # fmt: skip
    yield accuracy_and_time(table, f"accuracy-{place}")
    yield _title("Figures", "Best bold, second underlined; * better than every other model beyond chance (paired "
                 "t-test over users, scores averaged over seeds, two-sided, Holm-corrected, p &lt; .05). Nothing is "
                 "drawn in models of &lsquo;all&rsquo; seeds, so one run stands for them.")  # fmt: skip
    yield headline_table(table)
    stratum_metric = next((m for m in (metric, "recall@20", "recall@10") for r in rows for s in r.strata.values()
                           if m in s), None)  # fmt: skip
    if stratum_metric:
        yield _title("Where the hits come from", f"{stratum_metric} by what is to be found, among all items as "
                     "candidates; only for &lsquo;cold items among themselves&rsquo; are the candidates cold items. "
                     "The darker a cell, the nearer it is to the best of its column.")  # fmt: skip
        yield strata_table(table, stratum_metric)
    if any(result["history"] for row in rows for result in row.results):
        yield _title("Learning curves", "Thick: the first seed, thin: the others. Models of one fit are a dot. Those "
                     "that are pale in the legend wait for a click; a double click shows one alone.")  # fmt: skip
        yield learning_curves(table, f"curves-{place}")
    yield _title("Spread over seeds", "A dot a seed; the stroke is the mean.")
    yield seed_spread(table, f"seeds-{place}")
    k = metric.partition("@")[2]
    kinds = {
        "itemcoverage": ("Coverage", f"share of all items that stand in anyone&rsquo;s list of {k}"),
        "giniindex": ("Gini index", "0: all items are shown equally often, 1: always the same ones"),
        "tailpercentage": ("Tail share", "of what is shown, how much belongs to the least chosen 80% of the items"),
    }
    charts = [
        f"<figure><figcaption><b>{head}</b>: {words}</figcaption>"
        + diversity(table, f"{kind}@{k}", head, f"{kind}-{place}")
        + "</figure>"
        for kind, (head, words) in kinds.items()
        if any(f"{kind}@{k}" in row.metrics for row in rows)
    ]
    if charts:
        yield _title("What the lists are like", f"Against {metric}; labelled are the most accurate model and the "
                     "extremes.")  # fmt: skip
        yield f'<div class="charts">{"".join(charts)}</div>'


def _title(text: str, lead: str) -> str:
    return f'<h3>{text}</h3><p class="lead">{lead}</p>'


def _best(table: DatasetTable) -> Row | None:
    return max(table.rows, key=lambda row: row.mean(main_metric(table)), default=None)


def _fastest_near_best(table: DatasetTable) -> Row:
    metric = main_metric(table)
    least = _NEAR * max(row.mean(metric) for row in table.rows)
    return min((row for row in table.rows if row.mean(metric) >= least), key=lambda row: row.training_seconds)


def _glance(table: DatasetTable) -> dict[str, str]:
    """The facts at the head of a section, by what they are."""
    metric, best, quick = main_metric(table), _best(table), _fastest_near_best(table)
    assert best is not None  # there are rows
    facts = {f"best by {metric}: {_unbroken(value(best, metric))}": best.name}
    found = table.comparisons.get(metric, {}).get(best.name)
    if found:
        chance = "beyond chance" if found.better else "may be chance"
        facts[f"ahead of {found.other}; {p_value(found.p)}, {chance}"] = signed(found.difference)
    cost = f"{seconds(quick.training_seconds)} of training, {value(quick, metric)}"
    facts[f"fastest within 5% of the best: {_unbroken(cost)}"] = quick.name
    missing = f"; {len(table.missing)} failed or left out, see below" if table.missing else ""
    facts[f"compared{missing}"] = f"{len(table.rows)} models"
    return facts


def _unbroken(text: str) -> str:
    return text.replace(" ", "\u00a0")
