"""The figures of a search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from markupsafe import Markup

from recbole_cadmr.formatting import short, text_of
from recbole_cadmr.html_page import FAINT, INK, PALETTE, around, chart, label
from recbole_cadmr.reports.search_importance import Importance, is_number, key_of

LITTLE = 0.2  # R², below which the shares of the settings are not to be read
_BEST, _OTHERS = PALETTE[1], PALETTE[0]
_LINES = {  # how the lines of each kind are drawn; what comes later lies on top
    "failed": {"color": FAINT, "dash": "dot", "width": 1.2},
    "stopped early": {"color": FAINT, "dash": "solid", "width": 1.2},
    "finished": {"color": _OTHERS, "dash": "solid", "width": 1.3},
    "defaults: trial 1": {"color": INK, "dash": "dash", "width": 2},
    "best": {"color": _BEST, "dash": "solid", "width": 3},
}
_DOTS = {
    "stopped early": {"color": "#fff", "size": 8, "line": {"color": "#6b7883", "width": 1.5}},
    "finished": {"color": _OTHERS, "size": 8, "opacity": 0.7},
    "defaults: trial 1": {"color": INK, "size": 10, "symbol": "diamond"},
    "best": {"color": _BEST, "size": 13, "symbol": "star"},
}
_FEW = 8  # values that stand beside one another; more of them on a scale
_WIDE = 20  # times the least value; what spans more is looked at by its logarithm


def by_setting(metric: str, names: Sequence[str], scored: pd.DataFrame) -> dict[str, Markup]:
    """For each setting that varies a dot a trial, by its value and its score."""
    varied = [name for name in names if scored[name].map(key_of).nunique() > 1]
    return {name: _by_value(metric, name, scored, f"setting-{place}") for place, name in enumerate(varied)}


def _by_value(metric: str, name: str, scored: pd.DataFrame, chart_name: str) -> Markup:
    values, scores = scored[name], scored["best_valid_score"].astype(float)
    texts = values.map(text_of).map(lambda text: label(short(text, 16)))
    order = pd.DataFrame({"value": values if values.map(is_number).all() else texts, "text": texts})
    ticks = order.sort_values("value", kind="stable")["text"].unique()
    is_scale = len(ticks) > _FEW and values.map(is_number).all()
    is_wide = is_scale and 0 < values.min() < values.max() / _WIDE
    trials = pd.DataFrame({"x": values if is_scale else texts, "y": scores, "kind": _kinds(scored)})
    hovertemplate = f"%{{customdata}}<br>%{{x}}: {label(metric)} %{{y:.4f}}<extra></extra>"
    traces = []
    for kind, marker in _DOTS.items():
        mine = trials[trials["kind"] == kind]
        over = [f"<b>trial {number}</b>, {label(scored.loc[number, 'status'])}" for number in mine.index]
        trace = go.Scatter(x=mine["x"], y=mine["y"], customdata=over, mode="markers", marker=marker)
        traces.append(trace.update(hovertemplate=hovertemplate))
    xaxis = {"type": "log" if is_wide else "linear"} if is_scale else {"type": "category", "categoryarray": ticks}
    layout: dict[str, Any] = {"height": 240, "margin": {"t": 6, "b": 32}, "font": {"size": 12}, "showlegend": False}
    return chart(chart_name, traces, xaxis=xaxis, **around(scores.dropna()), **layout)


def learning_curves(
    metric: str, names: Sequence[str], trained: pd.DataFrame, validations: pd.DataFrame
) -> Markup | str:
    """Validation scores over epochs, a line a trial; the best and the defaults stand out.

    "" if no trial was validated twice.
    """
    is_scored = np.isfinite(validations["score"].astype(float))
    shown = validations[validations["trial"].isin(trained.index) & is_scored]
    if not shown["trial"].duplicated().any():
        return ""
    kinds, named = _kinds(trained), set()
    traces = []
    for kind, line in _LINES.items():
        for number in kinds.index[kinds == kind]:
            trial, mine = trained.loc[number], shown[shown["trial"] == number]
            if mine.empty:
                continue
            settings = [f"{name} {short(text_of(trial[name]), 40)}" for name in names]
            also = ", the defaults" if trial["is_default"] else ""
            trace = go.Scatter(x=mine["epoch"], y=mine["score"], customdata=mine["phase"].map(label), line=line)
            trace.update(name=f"best: trial {number}{also}" if kind == "best" else kind)
            trace.update(mode="lines+markers", marker={"size": 4}, legendgroup=kind, showlegend=kind not in named)
            trace.update(meta="<br>".join([f"<b>trial {number}</b>, {trial['status']}", *map(label, settings)]))
            trace.update(hovertemplate="%{meta}<br>epoch %{x} %{customdata}: %{y:.4f}<extra></extra>")
            named.add(kind)
            traces.append(trace)
    begins = shown[shown["phase"].ne(shown.groupby("trial")["phase"].shift()) & shown["trial"].duplicated()]
    for phase, dots in begins.groupby("phase", sort=False):
        marker = {"size": 8, "symbol": "circle-open", "color": INK, "opacity": 0.6}
        begin = go.Scatter(x=dots["epoch"], y=dots["score"], mode="markers", name=f"{label(phase)} begins")
        traces.append(begin.update(hoverinfo="skip", marker=marker))
    return chart(
        "curves",
        traces,
        "epoch",
        f"{label(metric)} in validation",
        height=460,
        **around(shown["score"]),
        hovermode="closest",
        legend={"y": 1.02, "yanchor": "bottom"},
    )


def _kinds(trials: pd.DataFrame) -> pd.Series:
    """Which of the kinds that are drawn each trial is."""
    kinds = trials["status"].map({"stopped": "stopped early", "failed": "failed"}).fillna("finished")
    return kinds.mask(trials["is_default"], "defaults: trial 1").mask(trials["is_best"], "best")


def importance_bars(shares: Importance) -> Markup:
    """A bar a setting, grey where they are not to be read."""
    names = [label(short(name, 28)) for name in shares.shares]
    bars = go.Bar(x=list(shares.shares.values()), y=names, orientation="h")
    colour = FAINT if shares.r_squared < LITTLE else _OTHERS
    bars.update(
        texttemplate="%{x:.0%}", textposition="outside", cliponaxis=False, hoverinfo="skip", marker_color=colour
    )
    return chart(
        "importance",
        [bars],
        "share of what the forest explains",
        height=70 + 30 * len(names),
        margin={"l": 10, "r": 50},
        xaxis={"tickformat": ".0%", "range": [0, 1.05 * max(shares.shares.values())], "nticks": 6},
        yaxis={"title": {"text": ""}, "autorange": "reversed", "automargin": True, "showgrid": False},
        bargap=0.35,
    )
