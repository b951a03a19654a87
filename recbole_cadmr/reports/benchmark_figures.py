"""The figures of a benchmark."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
import plotly.express as px
import plotly.graph_objects as go
from markupsafe import Markup

from recbole_cadmr.formatting import seconds, short
from recbole_cadmr.html_page import FAINT, INK, PALETTE, around, chart, label
from recbole_cadmr.reports.frame import ALL, TRAINING, Results
from recbole_cadmr.reports.tables import Marks, against, headline

_KINDS = {
    "uses content": (PALETTE[0], "circle"),
    "interactions alone": (PALETTE[1], "diamond"),
    "lists from a file": (PALETTE[2], "square"),
}
_DASHES = ("solid", "dash", "dot", "dashdot")
_LONGEST = 26  # characters of a name in a chart
_SHOWN_CURVES = 8
_LEAST_SECONDS = 1e-3  # for the logarithm
_TIMES = {"1 ms": 0.001, "3 ms": 0.003, "10 ms": 0.01, "30 ms": 0.03, "0.1 s": 0.1, "0.3 s": 0.3, "1 s": 1, "3 s": 3,
          "10 s": 10, "1 min": 60, "3 min": 180, "10 min": 600, "1 h": 3600, "3 h": 10_800, "10 h": 36_000,
          "30 h": 108_000, "100 h": 360_000}  # fmt: skip
_FEW_TIMES = {text: value for text, value in _TIMES.items() if "3" not in text}
_WIDE = 1000  # times the least duration; where they span more, there is room for few ticks on a phone


def _time_axis(durations: pd.Series) -> dict[str, Any]:
    """A logarithmic axis of round durations."""
    ticks = _FEW_TIMES if durations.max() > _WIDE * durations.min() else _TIMES
    return {"type": "log", "tickvals": list(ticks.values()), "ticktext": list(ticks)}


def accuracy_and_time(results: Results, name: str) -> Markup:
    """Accuracy against seconds of training; the models that no other beats without taking longer are named."""
    metric, front = results.main_metric, results.pareto_front(results.main_metric)
    points = pd.DataFrame({"time": results.costs[TRAINING].clip(lower=_LEAST_SECONDS), metric: results.means[metric]})
    points = points.dropna()  # lists from files have no time
    # Above and left of the front there is no point, so names have room there.
    figure = _scatter(results, points, front, "top", log_x=True, error_y=results.deviations[metric][points.index])
    figure.update_traces(error_y={"thickness": 1, "width": 4})
    steps = go.Scatter(x=points.loc[front, "time"], y=points.loc[front, metric], mode="lines", hoverinfo="skip")
    steps.update(line={"color": FAINT, "width": 1.2, "shape": "hv"}, showlegend=False)
    layout = {"height": 560, "margin": {"t": 34}, "xaxis": _time_axis(points["time"]), "yaxis_rangemode": "normal"}
    return chart(name, [steps, *figure.data], "training, construction included", metric, **layout)


def diversity(results: Results, metric: str, title: str, name: str) -> Markup:
    """What the lists are like (``itemcoverage@20``) against accuracy; the extremes are named."""
    points = results.means[[results.main_metric, metric]].dropna()
    named = {*points.idxmax(), points[metric].idxmin()}
    figure = _scatter(results, points, named, "bottom")
    layout = {"height": 290, "margin": {"t": 8, "b": 48}, "font": {"size": 12}, "yaxis_rangemode": "normal"}
    return chart(name, figure.data, results.main_metric, title, showlegend=False, **layout)


def _scatter(results: Results, points: pd.DataFrame, named: Collection[str], side: str, **more: Any) -> go.Figure:
    """A point a model, at the two columns of ``points``; names of some reach from their points to the middle."""
    x, y = points.columns
    content, alone, file = _KINDS
    kinds = np.where(results.models["from_file"], file, np.where(results.models["multimodal"], content, alone))
    figure = px.scatter(
        points.assign(kind=pd.Series(kinds, results.models.index)),
        x=x,
        y=y,
        color="kind",
        symbol="kind",
        text=[_name(model) if model in named else "" for model in points.index],
        custom_data=[_descriptions(results)[points.index]],
        color_discrete_map={kind: colour for kind, (colour, _) in _KINDS.items()},
        symbol_map={kind: symbol for kind, (_, symbol) in _KINDS.items()},
        category_orders={"kind": list(_KINDS)},
        render_mode="svg",
        **more,
    )
    figure.update_traces(
        hovertemplate="%{customdata[0]}<extra></extra>",
        marker={"size": 9, "line": {"width": 1, "color": "#fff"}},
        textfont={"size": 12, "color": INK},
        cliponaxis=False,
    )
    middle = points[x].median()
    for trace in figure.data:
        trace.update(textposition=[f"{side} {'left' if value > middle else 'right'}" for value in trace.x])
    return figure


def _descriptions(results: Results) -> pd.Series:
    """All that is known of each model, by name, for when it is pointed at."""
    main, models = results.main_metric, results.models.index
    known = headline(results, str, Marks("{}", "{}", "")).drop(columns="model")
    known[f"{main}:"] = [against(results, model, main) for model in models]
    texts = [
        "<br>".join([f"<b>{label(model)}</b>", *(label(f"{what} {text}") for what, text in row.items() if text)])
        for model, row in zip(models, known.to_dict("records"))
    ]
    return pd.Series(texts, models)


def learning_curves(results: Results, name: str) -> Markup | str:
    """Validation scores over time, a line a run; the best models are drawn, the others wait in the legend.

    "" if nothing was validated.
    """
    order, validations = results.order(results.main_metric), results.validations
    if validations.empty:
        return ""
    frame = validations.assign(
        place=validations["model"].map(order.index).astype(str),
        time=validations["seconds"].clip(lower=_LEAST_SECONDS),
        name=validations["model"].map(label),
        after=validations["seconds"].map(seconds),
    )
    figure = px.line(
        frame,
        x="time",
        y="score",
        color="place",
        line_dash="place",
        line_group="seed",
        custom_data=["name", "seed", "epoch", "after"],
        markers=True,
        render_mode="svg",
        category_orders={"place": [str(place) for place in range(len(order))]},
        color_discrete_sequence=PALETTE,
        line_dash_sequence=[dash for dash in _DASHES for _ in PALETTE],
    )
    hovertemplate = "<b>%{customdata[0]}</b>, seed %{customdata[1]}<br>epoch %{customdata[2]} after %{customdata[3]}"
    figure.update_traces(hovertemplate=f"{hovertemplate}: %{{y:.4f}}<extra></extra>", marker={"size": 5})
    for trace in figure.data:
        place = int(trace.name)
        is_hidden = place >= _SHOWN_CURVES and len(order) > _SHOWN_CURVES + 2
        trace.update(name=_name(order[place]), visible="legendonly" if is_hidden else True)
    score = f"{label(results.protocol['valid_metric'].lower())} in validation"
    layout = {"height": 480 + 9 * len(order), "xaxis": _time_axis(frame["time"]), **around(frame["score"])}
    legend = {"title": {"text": ""}, "y": -0.16, "yanchor": "top", "itemwidth": 34, "font": {"size": 12}}
    return chart(name, figure, "time since the start", score, legend=legend, **layout)


def seed_spread(results: Results, name: str) -> Markup:
    """A strip a model: every seed, and the mean."""
    metric = results.main_metric
    runs, means = results.runs, results.means[metric]
    values = runs[(runs["part"] == ALL) & (runs["metric"] == metric)]
    rows = results.order(metric)[::-1]
    heights = values["model"].map(rows.index)
    figure = px.scatter(x=values["value"], y=heights, custom_data=[values["seed"]], render_mode="svg")
    figure.update_traces(
        name="one seed",
        showlegend=True,
        marker={"color": PALETTE[0], "size": 8, "opacity": 0.5},
        hovertemplate=f"seed %{{customdata[0]}}<br>{metric} %{{x:.4f}}<extra></extra>",
    )
    figure.add_scatter(
        x=means,
        y=means.index.map(rows.index),
        mode="markers",
        name="mean",
        hovertext=_descriptions(results),
        hoverinfo="text",
        marker={"symbol": "line-ns", "size": 15, "line": {"width": 2, "color": INK}},
    )
    names = {"tickvals": list(range(len(rows))), "ticktext": [_name(model) for model in rows], "zeroline": False}
    yaxis = {"title": {"text": ""}, "range": [-0.7, len(rows) - 0.3], "automargin": True, **names}
    legend, height = {"y": 1, "yanchor": "bottom"}, 90 + 24 * len(rows)
    return chart(name, figure, metric, yaxis=yaxis, height=height, margin={"l": 10, "t": 30}, legend=legend)


def _name(model: str) -> str:
    return label(short(model, _LONGEST))
