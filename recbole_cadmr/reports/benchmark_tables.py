"""The tables of the report."""

from __future__ import annotations

from html import escape

from markupsafe import Markup

from recbole_cadmr.formatting import memory, seconds, signed
from recbole_cadmr.html_page import macro
from recbole_cadmr.reports.benchmark_charts import main_metric
from recbole_cadmr.reports.summary import DatasetTable, Row
from recbole_cadmr.reports.tables import (
    chosen_settings,
    headline,
    runs_of,
    strata_names,
    stratum_value,
    value,
)


def headline_table(table: DatasetTable) -> str:
    """The headline metrics and what they cost, sortable; best bold, second underlined."""
    metrics, main = headline(table), main_metric(table)
    names = ["seeds", *metrics, f"{main} against the best other", "training", "evaluation", "memory", "parameters"]
    heads = "".join(f'<th class="n"><button>{escape(name)}</button></th>' for name in names)
    lines = []
    for row in table.rows:
        found = table.comparisons.get(main, {}).get(row.name)
        against = f"{signed(found.difference)} <small>{escape(p_value(found.p))}</small>" if found else ""
        cells = [
            _cell("all" if row.deterministic else runs_of(row), len(row.results)),
            *(_cell(_marked(table, row, metric), row.mean(metric)) for metric in metrics),
            _cell(against, found.difference if found else 0.0),
            _cell(seconds(row.training_seconds), row.training_seconds),
            _cell(seconds(row.evaluation_seconds), row.evaluation_seconds),
            _cell(memory(row.peak_memory), row.peak_memory),
            _cell(f"{row.parameters:,}", row.parameters),
        ]
        lines.append(f'<tr><td data-v="{escape(row.name)}">{escape(row.name)}</td>{"".join(cells)}</tr>')
    return (
        f'<div class="scroll"><table class="sortable"><thead><tr><th><button>model</button></th>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _cell(text: str, number: float) -> str:
    return f'<td class="n" data-v="{number!r}">{text}</td>'


def _marked(table: DatasetTable, row: Row, metric: str) -> str:
    mean, _, deviation = value(row, metric).partition(" ± ")
    places, found = table.places(metric), table.comparisons.get(metric, {}).get(row.name)
    if row.name == places[0]:
        mean = f"<b>{mean}</b>" + ("*" if found and found.better else "")
    elif row.name == places[1]:
        mean = f"<u>{mean}</u>"
    return mean + (f" <small>± {deviation}</small>" if deviation else "")


def strata_table(table: DatasetTable, metric: str) -> str:
    """A heat map of a metric by what is to be found, each column with its own scale."""
    names = strata_names(table)
    means = {
        (row.name, name): sum(row.strata[name][metric]) / len(row.strata[name][metric])
        for row in table.rows for name in row.strata if metric in row.strata[name]
    }  # fmt: skip
    best = {name: max((mean for (_, stratum), mean in means.items() if stratum == name), default=0) for name in names}
    pairs = {name: next(row.strata[name]["pairs"][0] for row in table.rows if name in row.strata) for name in names}
    heads = "".join(f'<th class="n">{escape(name)}<br><small>{pairs[name]:,.0f} pairs</small></th>' for name in names)
    lines = []
    for row in table.rows:
        cells = []
        for name in names:
            text, mean = escape(stratum_value(row, name, metric)), means.get((row.name, name))
            if mean is None:
                cells.append(f'<td class="never">{text or "not measured"}</td>')
                continue
            share = mean / best[name] if best[name] else 0.0
            text = f"<b>{text}</b>" if best[name] and mean == best[name] else text
            cells.append(f'<td class="n" style="background: rgba(0, 114, 178, {0.5 * share * share:.3f})">{text}</td>')
        lines.append(f"<tr><td>{escape(row.name)}</td>{''.join(cells)}</tr>")
    return (
        f'<div class="scroll"><table class="heat"><thead><tr><th>model</th>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def settings_table(table: DatasetTable) -> str:
    """Rows by what differs from their defaults."""
    changed = [row for row in table.rows if chosen_settings(row) != "defaults"]
    others = [row.name for row in table.rows if chosen_settings(row) == "defaults"]
    lines = [[escape(row.name), escape(chosen_settings(row))] for row in changed]
    if others:
        lines.append([f"<small>{escape(', '.join(others))}</small>", "<small>defaults</small>"])
    return macro("grid", ["model", "settings"], [[Markup(cell) for cell in line] for line in lines])


def p_value(p: float) -> str:
    """A p value as it is printed."""
    return "p < .0001" if p < 0.0001 else f"p = {p:.2g}".replace("0.", ".")
