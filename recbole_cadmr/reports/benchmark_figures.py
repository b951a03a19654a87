"""The figures of a benchmark."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.express as px
import plotly.graph_objects as go
from markupsafe import Markup

from recbole_cadmr.formatting import seconds, short
from recbole_cadmr.html_page import FAINT, INK, PALETTE, chart, label
from recbole_cadmr.reports.frame import TRAINING, Results
from recbole_cadmr.reports.tables import against, cost_texts

_DASHES = ("solid", "dash", "dot", "dashdot")
_CONTENT, _INTERACTIONS = "uses content", "interactions alone"
_LONGEST = 26  # characters of a name in a chart
_SHOWN_CURVES = 8
_LEAST_SECONDS = 1e-3  # for the logarithm
# Marks of a time axis; the second ones are drawn where few of the first fit.
_TIMES = {1e-3: "1 ms", 1e-2: "10 ms", 0.1: "0.1 s", 1: "1 s", 10: "10 s", 60: "1 min", 600: "10 min", 3600: "1 h",
          36000: "10 h", 360000: "100 h"}  # fmt: skip
_BETWEEN = {time * factor: seconds(time * factor) for time in (0.01, 0.1, 1, 10, 60, 600, 3600) for factor in (2, 5)}


def accuracy_and_time(results: Results, name: str) -> Markup:
    """Accuracy against seconds of training; the models that no other beats without taking longer are named."""
    metric = results.main_metric
    points = _points(results).assign(deviation=results.deviations[metric])
    front = results.pareto_front(metric)
    points["text"] = [_name(model) if model in front else "" for model in points.index]
    figure = _scatter(points, "time", metric, error_y="deviation", text="text", log_x=True)
    # Above and left of the front there is no point; names of the quickest would leave the chart there.
    middle = np.sqrt(points["time"].min() * points["time"].max())
    figure.for_each_trace(
        lambda trace: trace.update(
            textposition=["top left" if time > middle else "top right" for time in trace.x],
            error_y={"thickness": 1, "width": 4},
        )
    )
    line = {"color": FAINT, "width": 1.2, "shape": "hv"}
    on_front = points.loc[front]
    figure.add_scatter(
        x=on_front["time"], y=on_front[metric], mode="lines", line=line, hoverinfo="skip", showlegend=False
    )
    figure.data = (figure.data[-1], *figure.data[:-1])
    axis = _time_axis(points["time"], room=0.15)
    return chart(
        name,
        figure,
        "training, construction included",
        metric,
        height=560,
        margin={"t": 34},
        xaxis=axis,
        yaxis={"rangemode": "normal"},
        legend={"title": {"text": ""}},
    )


def learning_curves(results: Results, name: str) -> Markup | str:
    """Validation scores over time; the best models are drawn, the others wait in the legend. "" of no validation."""
    if results.validations.empty:
        return ""
    order = results.order(results.main_metric)
    frame = results.validations.assign(
        time=results.validations["seconds"].clip(lower=_LEAST_SECONDS),
        first=results.validations["seed"] == results.validations.groupby("model")["seed"].transform("min"),
    )
    figure = go.Figure()
    for (model, seed), run in sorted(frame.groupby(["model", "seed"]), key=lambda group: order.index(group[0][0])):
        place, is_first = order.index(model), run["first"].all()
        colour = PALETTE[place % len(PALETTE)]
        is_shown = place < _SHOWN_CURVES or len(order) <= _SHOWN_CURVES + 2
        figure.add_scatter(
            x=run["time"],
            y=run["score"],
            customdata=[f"epoch {epoch} after {seconds(after)}" for epoch, after in zip(run["epoch"], run["seconds"])],
            hovertemplate=f"<b>{label(model)}</b>, seed {seed}<br>%{{customdata}}: %{{y:.4f}}<extra></extra>",
            mode="lines" if len(run) > 1 else "markers",
            name=_name(model),
            legendgroup=str(place),
            showlegend=bool(is_first),
            visible=True if is_shown else "legendonly",
            opacity=1 if is_first else 0.4,
            line={
                "color": colour,
                "dash": _DASHES[place // len(PALETTE) % len(_DASHES)],
                "width": 2 if is_first else 1,
            },
            marker={"size": 7, "color": colour},
        )
    return chart(
        name,
        figure,
        "time since the start, training and validation",
        f"{label(results.protocol['valid_metric'].lower())} in validation",
        height=480 + 9 * len(order),
        xaxis=_time_axis(frame["time"]),
        yaxis={"rangemode": "normal"},
        legend={"y": -0.16, "yanchor": "top", "itemwidth": 34, "font": {"size": 12}},
    )


def seed_spread(results: Results, name: str) -> Markup:
    """A strip a model: every seed, and the mean."""
    metric = results.main_metric
    order = [_name(model) for model in results.order(metric)]
    values = results.values(metric)
    points = _points(results)
    figure = px.scatter(x=values["value"], y=values["model"].map(_name), custom_data=[values["seed"]])
    figure.update_traces(
        name="one seed",
        showlegend=True,
        marker={"color": PALETTE[0], "size": 8, "opacity": 0.5},
        hovertemplate="<b>%{y}</b>, seed %{customdata[0]}<br>" + metric + " %{x:.4f}<extra></extra>",
    )
    figure.add_scatter(
        x=points[metric],
        y=points.index.map(_name),
        mode="markers",
        name="mean",
        customdata=points["facts"],
        hovertemplate="%{customdata}<extra></extra>",
        marker={"symbol": "line-ns", "size": 15, "line": {"width": 2, "color": INK}},
    )
    return chart(
        name,
        figure,
        metric,
        height=90 + 24 * len(order),
        margin={"l": 10, "t": 30},
        legend={"y": 1, "yanchor": "bottom"},
        yaxis={"title": {"text": ""}, "categoryorder": "array", "categoryarray": order[::-1], "automargin": True},
    )


def diversity(results: Results, metric: str, title: str, name: str) -> Markup:
    """What the lists are like (``itemcoverage@20``) against accuracy; the extremes are named."""
    accuracy = results.main_metric
    points = _points(results)
    named = {points[accuracy].idxmax(), points[metric].idxmax(), points[metric].idxmin()}
    points["text"] = [_name(model) if model in named else "" for model in points.index]
    figure = _scatter(points, accuracy, metric, text="text")
    middle = points[accuracy].mean()
    figure.for_each_trace(
        lambda trace: trace.update(
            textposition=["bottom left" if worth > middle else "bottom right" for worth in trace.x]
        )
    )
    return chart(
        name,
        figure,
        accuracy,
        title,
        height=290,
        margin={"l": 58, "r": 8, "t": 8, "b": 48},
        font={"size": 12},
        showlegend=False,
        xaxis={"nticks": 5},
        yaxis={"rangemode": "normal", "nticks": 6},
    )


def _points(results: Results) -> pd.DataFrame:
    """A row a model: its means, the time of its training, its kind, and all that is known of it as text."""
    facts = {model: "<br>".join(_facts(results, model)) for model in results.models.index}
    return results.means.assign(
        time=results.costs[TRAINING].clip(lower=_LEAST_SECONDS),
        kind=np.where(results.models["multimodal"], _CONTENT, _INTERACTIONS),
        facts=facts,
    )


def _facts(results: Results, model: str) -> list[str]:
    lines = [f"{metric} {results.value(model, metric)}" for metric in results.headline]
    main = results.main_metric
    lines += [f"{main} {words}"] if (words := against(results, model, main)) else []
    training, evaluation, memory, parameters = cost_texts(results, model)
    n_runs = results.n_runs(model)
    lines += [
        f"training {training}, evaluation {evaluation}",
        f"{memory} memory, {parameters} parameters",
        f"seeds: {n_runs}",
    ]
    return [f"<b>{label(model)}</b>", *map(label, lines)]


def _scatter(points: pd.DataFrame, x: str, y: str, **more: Any) -> go.Figure:
    """A point a model, by the kind of its model, all that is known of it over its point."""
    figure = px.scatter(
        points,
        x=x,
        y=y,
        color="kind",
        symbol="kind",
        custom_data=["facts"],
        color_discrete_map={_CONTENT: PALETTE[0], _INTERACTIONS: PALETTE[1]},
        symbol_map={_CONTENT: "circle", _INTERACTIONS: "diamond"},
        **more,
    )
    return figure.update_traces(
        hovertemplate="%{customdata[0]}<extra></extra>",
        marker={"size": 9, "line": {"width": 1, "color": "#fff"}},
        textfont={"size": 12, "color": INK},
        cliponaxis=False,
    )


def _name(model: str) -> str:
    return label(short(model, _LONGEST))


def _time_axis(times: pd.Series, room: float = 0.03) -> dict[str, Any]:
    """A logarithmic axis with marks that a person reads, and room on both sides as a share of its length."""
    low, high = np.log10(times.min()), np.log10(times.max())
    pad = room * max(high - low, 0.5)
    marks = {time: text for time, text in _TIMES.items() if low - pad <= np.log10(time) <= high + pad}
    if len(marks) < 3:
        marks = _TIMES | _BETWEEN
    axis = {"type": "log", "range": [low - pad, high + pad]}
    return axis | {"tickvals": list(marks), "ticktext": list(marks.values())}
