"""The figures of a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
import pandas as pd
import plotly.express as px
from markupsafe import Markup
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from recbole_cadmr.formatting import short, text_of
from recbole_cadmr.html_page import FAINT, INK, PALETTE, chart, label
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
_WIDE = 20  # times the least value; what spans more is looked at by its logarithm


def parallel_coordinates(search: Mapping[str, Any], names: Sequence[str], scored: pd.DataFrame) -> Markup | str:
    """A line a trial through its settings and its score, drawn by Optuna; "" where there is nothing to compare."""
    varied = [name for name in names if scored[name].map(key_of).nunique() > 1]
    scores = scored["best_valid_score"].astype(float)
    if not varied or scores.nunique() < 2:
        return ""
    distributions = {label(name): _distribution(scored[name]) for name in varied}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize" if search["bigger"] else "minimize")
    for number, score in scores.items():
        values = {label(name): scored.loc[number, name] for name in varied}
        params = {
            name: value if isinstance(distributions[name], FloatDistribution) else label(text_of(value))
            for name, value in values.items()
        }
        study.add_trial(optuna.create_trial(params=params, distributions=distributions, value=score))
    figure = optuna.visualization.plot_parallel_coordinate(study, target_name=label(f"best {search['metric']}"))
    for is_best, is_default, line in zip(scored["is_best"], scored["is_default"], figure.data):
        if is_best or is_default:
            line.update(line={"color": _BEST if is_best else INK, "width": 3}, opacity=1)
    return chart("parallel", figure, title_text="", height=400, margin={"l": 60, "r": 20, "t": 40, "b": 60})


def _distribution(values: pd.Series) -> BaseDistribution:
    if not values.map(is_number).all():
        return CategoricalDistribution(sorted({label(text_of(value)) for value in values}))
    low, high = float(values.min()), float(values.max())
    return FloatDistribution(low, high, log=low > 0 and high > _WIDE * low)


def learning_curves(
    metric: str, names: Sequence[str], trained: pd.DataFrame, validations: pd.DataFrame
) -> Markup | str:
    """Validation scores over epochs, a line a trial; the best and the defaults stand out."""
    is_scored = np.isfinite(validations["score"].astype(float))
    shown = validations[validations["trial"].isin(trained.index) & is_scored]
    if shown.empty:
        return ""
    settings = {
        number: [f"{name} {short(text_of(trained.loc[number, name]), 40)}" for name in names]
        for number in trained.index
    }
    shown = shown.assign(
        kind=[_kind(trained.loc[number]) for number in shown["trial"]],
        over=[
            "<br>".join([f"<b>trial {number}</b>, {trained.loc[number, 'status']}", *map(label, settings[number])])
            for number in shown["trial"]
        ],
        phase=shown["phase"].map(label),
    )
    figure = px.line(
        shown,
        x="epoch",
        y="score",
        color="kind",
        line_group="trial",
        custom_data=["phase", "over"],
        category_orders={"kind": list(_LINES)},
        markers=True,
    )
    hovertemplate = "%{customdata[1]}<br>epoch %{x} %{customdata[0]}: %{y:.4f}<extra></extra>"
    figure.update_traces(hovertemplate=hovertemplate, marker={"size": 4})
    figure.for_each_trace(lambda trace: trace.update(line=_LINES[trace.name]))
    for number, trial in trained[trained["is_best"]].iterrows():
        name = f"best: trial {number}{', the defaults' if trial['is_default'] else ''}"
        figure.update_traces(name=name, selector={"name": "best"})
    begins = shown[shown["phase"].ne(shown.groupby("trial")["phase"].shift()) & shown["trial"].duplicated()]
    for phase, dots in begins.groupby("phase", sort=False):
        marker = {"size": 8, "symbol": "circle-open", "color": INK, "opacity": 0.6}
        figure.add_scatter(
            x=dots["epoch"], y=dots["score"], mode="markers", name=f"{phase} begins", hoverinfo="skip", marker=marker
        )
    return chart(
        "curves",
        figure,
        "epoch",
        f"{label(metric)} in validation",
        height=460,
        yaxis_rangemode="normal",
        hovermode="closest",
        legend={"y": -0.16, "yanchor": "top", "title": {"text": ""}},
    )


def _kind(trial: pd.Series) -> str:
    if trial["is_best"] or trial["is_default"]:
        return "best" if trial["is_best"] else "defaults: trial 1"
    return {"stopped": "stopped early", "failed": "failed"}.get(trial["status"], "finished")


def importance_bars(shares: Importance) -> Markup:
    """A bar a setting, grey where they are not to be read."""
    names = [label(short(name, 28)) for name in shares.shares]
    figure = px.bar(x=list(shares.shares.values()), y=names, orientation="h")
    colour = FAINT if shares.r_squared < LITTLE else _OTHERS
    figure.update_traces(
        texttemplate="%{x:.0%}",
        textposition="outside",
        cliponaxis=False,
        hoverinfo="skip",
        hovertemplate=None,
        marker_color=colour,
    )
    return chart(
        "importance",
        figure,
        "share of what the forest explains",
        height=70 + 30 * len(names),
        margin={"l": 10, "r": 50},
        xaxis={"tickformat": ".0%", "range": [0, 1.05 * max(shares.shares.values())], "nticks": 6},
        yaxis={"title": {"text": ""}, "autorange": "reversed", "automargin": True, "showgrid": False},
        bargap=0.35,
    )
