"""The page of a study: its answer, pictures of effects, values, departures and orders, and all of it as tables."""

from __future__ import annotations

import math
import re
from itertools import cycle
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from markupsafe import Markup, escape

from recbole_cadmr.formatting import short, unmarked
from recbole_cadmr.html_page import INK, PALETTE, chart, label, write_page
from recbole_cadmr.study.answer import Findings, correlation_table, effect_table, name_of, number, order_table
from recbole_cadmr.study.correlations import points_of
from recbole_cadmr.study.effects import LEVEL

_LONGEST = 44  # characters of a name in a chart
_ROW = 40  # pixels: a name, and below it what it names
_SIGNS = {"higher": PALETTE[0], "lower": PALETTE[1], "not told apart": "#8a949d"}
_DASHES = ("dash", "dot", "dashdot", "longdash", "longdashdot")


def write_study_page(found: Findings, name: str, path: Path) -> None:
    """Write the page; its numbers are in it as JSON, too (``<script id="facts">``)."""
    facts = {
        "study": name,
        "question": found.plan.question,
        "quick": found.quick,
        "effects": found.effects.to_dict("records"),
        "orders": found.orders.to_dict("records"),
        "published": found.published.to_dict("records"),
        "correlations": found.correlations.to_dict("records"),
        "missing": found.missing,
    }
    sections = [_section(found, dataset, place) for place, dataset in enumerate(found.datasets)]
    answer = [_marked_up(paragraph) for paragraph in found.answer().strip().split("\n\n")]
    write_page(
        path,
        "study.html.j2",
        name,
        facts,
        found=found,
        answer=answer,
        sections=sections,
        figure=found.plan.figures[0],
        scatters=[_scatter(found, pair, f"scatter-{place}") for place, pair in enumerate(found.plan.correlations)],
        correlations=correlation_table(found.correlations) if len(found.correlations) else None,
    )


def _marked_up(paragraph: str) -> Markup:
    """Bold and italics of our own markdown as html."""
    tags = {"**": cycle(("<b>", "</b>")), "*": cycle(("<i>", "</i>"))}
    parts = re.split(r"(\*\*?)", paragraph)
    return Markup("").join(Markup(next(tags[part])) if part in tags else escape(unmarked(part)) for part in parts)


def _section(found: Findings, dataset: str, place: int) -> dict[str, Any]:
    """What the template shows of a data set."""
    figure = found.plan.figures[0]
    effects = found.effects[found.effects["dataset"] == dataset]
    main = effects[effects["figure"] == figure]
    orders = found.orders[found.orders["dataset"] == dataset]
    values = found.values(dataset, figure).reset_index()
    strata = found.strata(dataset, figure)
    is_line = bool(found.x) and not values["variant"].map(found.x).isna().all()
    by_variant, by_departure = main[main["departure"] == ""], values[values["departure"] != ""]
    return {
        "dataset": dataset,
        "effects": _forest(by_variant, figure, f"effects-{place}") if len(by_variant) else "",
        "values": _spread(found, dataset, figure, f"values-{place}"),
        "lines": [
            (name, _line(found, dataset, name, f"line-{place}-{number}"))
            for number, name in enumerate(found.plan.figures if is_line else [])
        ],
        "departures": _departures(found, dataset, figure, f"departures-{place}") if len(by_departure) else "",
        "orders": _orders(orders, f"orders-{place}") if len(orders) else "",
        "order_table": order_table(orders) if len(orders) else None,
        "table": effect_table(effects) if len(effects) else None,
        "strata": strata,
        "best": strata.max() if len(strata) else None,
    }


def _scatter(found: Findings, pair: tuple[str, str], name: str) -> Markup | str:
    """A point a run by two figures, coloured by its cell; "" if no run has both."""
    traces = []
    for place, (cell, points) in enumerate(points_of(found.data, pair, found.plan.cells).groupby("cell", sort=False)):
        trace = go.Scatter(x=points["x"], y=points["y"], mode="markers", name=label(short(str(cell), _LONGEST)))
        trace.update(marker={"size": 9, "color": PALETTE[place % len(PALETTE)]}, marker_symbol=place // len(PALETTE))
        trace.update(customdata=points[["variant", "seed"]].map(lambda value: label(str(value))))
        trace.update(hovertemplate="%{customdata[0]}, seed %{customdata[1]}: %{x:.4f}, %{y:.4f}<extra></extra>")
        traces.append(trace)
    return chart(name, traces, pair[0], pair[1], yaxis_rangemode="normal") if traces else ""


def _rows(texts: list[str], n_kinds: int = 2) -> dict[str, Any]:
    """The layout of a chart of rows, from the bottom at 0, 1, ...; their names stand above them, as on a phone there is
    no room beside them.

    Args:
        n_kinds: entries of the legend, of which a phone shows two in a line.
    """
    names = [
        {"text": label(short(text, _LONGEST)), "y": place, "yanchor": "bottom", "yshift": 5}
        | {"x": 0, "xref": "paper", "xanchor": "left", "showarrow": False, "bgcolor": "#fff"}
        for place, text in enumerate(texts)
    ]
    ticks = {"tickvals": list(range(len(texts))), "showticklabels": False, "range": [-0.5, len(texts) - 0.25]}
    return {
        "yaxis": {"title": {"text": ""}, "zeroline": False, **ticks},
        "annotations": names,
        "height": 100 + _ROW * len(texts) + 9 * n_kinds,
        "legend": {"y": 1, "yanchor": "bottom"},
        "margin": {"l": 10, "t": 34, "r": 24},
    }


def _forest(effects: pd.DataFrame, figure: str, name: str) -> Markup:
    """Differences with their intervals, a row a comparison."""
    rows = effects.to_dict("records")[::-1]
    texts = [f"{name_of(effect)} against {effect['base']}" for effect in rows]
    sign = [
        "not told apart" if not effect["p"] < LEVEL else "higher" if effect["difference"] > 0 else "lower"
        for effect in rows
    ]
    traces = []
    for what, colour in _SIGNS.items():
        mine = [place for place, own in enumerate(sign) if own == what]
        half = [rows[place]["high"] - rows[place]["difference"] for place in mine]
        trace = go.Scatter(
            x=[rows[place]["difference"] for place in mine],
            y=mine,
            mode="markers",
            name=what,
            error_x={"array": [0.0 if math.isnan(value) else value for value in half], "thickness": 1.5, "width": 4},
            marker={"color": colour, "size": 9},
            customdata=[[label(texts[place]), number(rows[place]["value"])] for place in mine],
            hovertemplate="%{customdata[0]}: %{x:+.4f}, to %{customdata[1]}<extra></extra>",
        )
        traces += [trace] if mine else []
    axis = {"zerolinecolor": INK, "zerolinewidth": 1, "exponentformat": "none"}
    return chart(name, traces, f"difference in {figure}", xaxis=axis, **_rows(texts))


def _spread(found: Findings, dataset: str, figure: str, name: str) -> Markup:
    """A strip a variant: every run under the protocol, and the mean."""
    rows = found.data.query("dataset == @dataset and departure == '' and stratum == '' and figure == @figure")
    variants = list(rows["variant"].unique())[::-1]
    runs = go.Scatter(x=rows["value"], y=rows["variant"].map(variants.index), mode="markers", name="one run")
    runs.update(customdata=rows[["seed"]], hovertemplate=f"seed %{{customdata[0]}}: {figure} %{{x:.4f}}<extra></extra>")
    runs.update(marker={"color": PALETTE[0], "size": 8, "opacity": 0.5})
    means = rows.groupby("variant")["value"].mean()
    stroke = {"symbol": "line-ns", "size": 15, "line": {"width": 2, "color": INK}}
    mean = go.Scatter(x=means, y=means.index.map(variants.index), mode="markers", name="mean", marker=stroke)
    mean.update(hovertemplate=f"mean {figure} %{{x:.4f}}<extra></extra>")
    return chart(name, [runs, mean], figure, **_rows(variants))


def _line(found: Findings, dataset: str, figure: str, name: str) -> Markup | str:
    """A figure along the axis of the study: means, and bars of a standard deviation."""
    values = found.values(dataset, figure).reset_index()
    values = values[values["departure"] == ""].assign(x=lambda frame: frame["variant"].map(found.x)).dropna(subset="x")
    if values.empty:
        return ""
    values = values.sort_values("x")
    deviations = {"array": values["std"].fillna(0.0), "thickness": 1, "width": 4}
    trace = go.Scatter(x=values["x"].map("{:g}".format), y=values["mean"], mode="lines+markers", error_y=deviations)
    trace.update(line={"color": PALETTE[0]}, marker={"size": 8}, hovertemplate="%{x}: %{y:.4f}<extra></extra>")
    axis = {"type": "category"}
    return chart(name, [trace], label(found.plan.axis), figure, xaxis=axis, yaxis_rangemode="normal", height=300)


def _departures(found: Findings, dataset: str, figure: str, name: str) -> Markup:
    """A row a departure, a point a variant; what was published is a line."""
    values = found.values(dataset, figure)["mean"]
    order = values.groupby("departure").max().sort_values()
    texts = [departure or "the protocol" for departure in order.index]
    traces = []
    for place, variant in enumerate(values.index.unique("variant")):
        own = values[variant]
        trace = go.Scatter(x=own, y=[order.index.get_loc(departure) for departure in own.index], mode="markers")
        trace.update(name=label(short(variant, _LONGEST)), marker={"size": 10, "color": PALETTE[place % len(PALETTE)]})
        trace.update(marker_symbol=place // len(PALETTE), hovertemplate=f"{label(variant)}: %{{x:.4f}}<extra></extra>")
        traces.append(trace)
    published = found.published.query("dataset == @dataset and figure == @figure").to_dict("records")
    layout = _rows(texts, len(traces) + len(published))
    for place, row in enumerate(published):
        line = {"color": INK, "dash": _DASHES[place % len(_DASHES)], "width": 1.5}
        trace = go.Scatter(x=[row["value"]] * 2, y=layout["yaxis"]["range"], mode="lines", line=line)
        trace.update(name=label(f"published: {number(row['value'])}"), meta=label(f"{row['variant']}, {row['source']}"))
        traces.append(trace.update(hovertemplate="%{meta}: %{x:.4f}<extra></extra>"))
    return chart(name, traces, figure, **layout)


def _orders(orders: pd.DataFrame, name: str) -> Markup:
    """Kendall's tau by departure."""
    rows = orders.sort_values("tau").iloc[::-1]
    deviations = {"array": (rows["high"] - rows["tau"]).fillna(0.0), "thickness": 1.5, "width": 4}
    trace = go.Scatter(x=rows["tau"], y=list(range(len(rows))), mode="markers", error_x=deviations)
    trace.update(marker={"color": PALETTE[0], "size": 9}, hovertemplate="%{x:.3f}<extra></extra>")
    axis = {"range": [min(0.0, float(rows["tau"].min()) - 0.1), 1.05]}
    return chart(name, [trace], "Kendall's tau", xaxis=axis, **_rows(list(rows["departure"])))
