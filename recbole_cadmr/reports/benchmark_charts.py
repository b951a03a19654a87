"""The charts of the report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from recbole_cadmr import html_page as html
from recbole_cadmr.formatting import memory, seconds, short
from recbole_cadmr.html_page import FAINT, GREY, INK, PALETTE
from recbole_cadmr.models.contract import traits
from recbole_cadmr.reports.benchmark_labels import HEIGHT, label_width, place_labels
from recbole_cadmr.reports.summary import DatasetTable, Row
from recbole_cadmr.reports.tables import comparison, headline, runs_of, value

_DASHES = ("solid", "dash", "dot", "dashdot")
_KINDS = {True: ("looks at content", PALETTE[0], "circle"), False: ("interactions alone", PALETTE[1], "diamond")}
_FONT = "Arial, Helvetica, Liberation Sans, sans-serif"  # of labels, whose width is reckoned with
_LONGEST = 26  # characters of a name in a chart
_SHOWN_CURVES = 8
# Marks of a time axis; the ones between are drawn where these are few.
_TIMES = {0.001: "1 ms", 0.01: "10 ms", 0.1: "0.1 s", 1: "1 s", 10: "10 s", 60: "1 min", 600: "10 min", 3600: "1 h",
          36000: "10 h", 360000: "100 h"}  # fmt: skip
_BETWEEN = {0.002: "2 ms", 0.005: "5 ms", 0.02: "20 ms", 0.05: "50 ms", 0.2: "0.2 s", 0.5: "0.5 s", 2: "2 s", 5: "5 s",
            20: "20 s", 120: "2 min", 300: "5 min", 1200: "20 min", 7200: "2 h", 18000: "5 h"}  # fmt: skip
_MARGIN, _TALL = {"l": 62, "r": 12, "t": 34, "b": 52}, 580
# Pixels that the chart of accuracy and time may be wide; on a narrow screen it has room for the names of the front.
NARROW, _WIDE, _PHONE = 720, (680, 1120), (350, 420)


def main_metric(table: DatasetTable) -> str:
    """The metric that charts show."""
    return "recall@20" if "recall@20" in table.ranking_metrics else headline(table)[0]


def pareto_front(rows: Sequence[Row], metric: str) -> list[Row]:
    """Rows that no other beats in accuracy without taking longer, the quickest first."""
    front: list[Row] = []
    for row in sorted(rows, key=lambda row: (row.training_seconds, -row.mean(metric))):
        if not front or row.mean(metric) > front[-1].mean(metric):
            front.append(row)
    return front


def accuracy_and_time(table: DatasetTable, name: str) -> str:
    """Accuracy against seconds of training, a labelled point a model."""
    metric = main_metric(table)
    rows, front = table.rows, pareto_front(table.rows, metric)
    x, y = np.log10([_time(row) for row in rows]), np.array([row.mean(metric) for row in rows])
    error = np.array([row.deviation(metric) or 0.0 for row in rows])
    x_range, y_range = _padded(x.min(), x.max(), 0.6), _padded((y - error).min(), (y + error).max(), 1e-3)
    traces = [
        go.Scatter(x=[_time(row) for row in front], y=[row.mean(metric) for row in front], mode="lines",
                   line={"color": FAINT, "width": 1.2, "shape": "hv"}, hoverinfo="skip",
                   showlegend=False)
    ]  # fmt: skip
    for kind in _KINDS:
        of_kind = [row for row in rows if _looks_at_content(row) == kind]
        if of_kind:
            bars = {"array": [row.deviation(metric) or 0.0 for row in of_kind], "thickness": 1, "width": 4}
            traces.append(_points(of_kind, table, [_time(row) for row in of_kind], metric, kind, 9, error_y=bars))
    share = np.stack([(x - x_range[0]) / np.ptp(x_range), 1 - (y - y_range[0]) / np.ptp(y_range)], 1)
    high = _TALL - _MARGIN["t"] - _MARGIN["b"]
    every = np.ones(len(rows), dtype=bool)
    wide, phone = ([(width - _MARGIN["l"] - _MARGIN["r"], high) for width in widths] for widths in (_WIDE, _PHONE))
    on_front = np.isin([row.name for row in rows], [row.name for row in front])
    drawn = html.chart(
        name, traces, "training, construction included", metric, xaxis_type="log",
        height=_TALL, margin=_MARGIN, xaxis={"range": list(x_range), **_time_ticks(10 ** x_range)},
        yaxis={"range": list(y_range)}, annotations=_labels(rows, x, y, share, wide, every, on_front),
    )  # fmt: skip
    few = _labels(rows, x, y, share, phone, on_front, on_front)
    narrow = json.dumps(few).replace("<", "\\u003c")
    return f'{drawn}<script type="application/json" class="narrow" data-chart="{name}">{narrow}</script>'


def learning_curves(table: DatasetTable, name: str) -> str:
    """Validation score over time; the best models are drawn, the others wait in the legend."""
    traces, ends = [], []
    for place, model in enumerate(table.places(main_metric(table))):
        row = next(row for row in table.rows if row.name == model)
        style = {"color": PALETTE[place % len(PALETTE)], "dash": _DASHES[place // len(PALETTE) % len(_DASHES)]}
        shown = True if place < _SHOWN_CURVES or len(table.rows) <= _SHOWN_CURVES + 2 else "legendonly"
        for index, (seed, result) in enumerate(zip(row.seeds, row.results)):
            entries = [entry for entry in result["history"] if entry["valid_score"] is not None]
            if not entries:
                continue
            x = [max(entry["seconds"], 1e-3) for entry in entries]
            ends += [x[0], x[-1]]
            texts = [
                f"<b>{html.label(row.name)}</b>, seed {seed}<br>epoch {entry['epoch']} after "
                f"{seconds(entry['seconds'])}<br>validation {entry['valid_score']:.4f}"
                for entry in entries
            ]
            traces.append(
                go.Scatter(x=x, y=[entry["valid_score"] for entry in entries], hovertext=texts, hoverinfo="text",
                           mode="lines" if len(entries) > 1 else "markers", name=html.label(short(row.name, _LONGEST)),
                           legendgroup=str(place), showlegend=index == 0, visible=shown,
                           opacity=1 if index == 0 else 0.4, line={**style, "width": 2 if index == 0 else 1},
                           marker={"size": 7, "color": style["color"]})
            )  # fmt: skip
    score = table.protocol["valid_metric"].lower()
    ticks = _time_ticks(np.array([min(ends), max(ends)])) if ends else {}
    return html.chart(
        name, traces, "time since the start, training and validation", f"{html.label(score)} in validation",
        xaxis_type="log",
        height=480 + 9 * len(table.rows), xaxis=ticks, yaxis={"rangemode": "normal"}, legend={"y": -0.16, "yanchor":
        "top", "itemwidth": 34, "font": {"size": 12}},
    )  # fmt: skip


def seed_spread(table: DatasetTable, name: str) -> str:
    """A strip a model: every seed, and the mean."""
    metric = main_metric(table)
    order = table.places(metric)[::-1]
    rows = sorted(table.rows, key=lambda row: order.index(row.name))
    dots = [(figure, place, row.name, seed) for place, row in enumerate(rows)
            for figure, seed in zip(row.metrics[metric], row.seeds)]  # fmt: skip
    texts = [f"<b>{html.label(model)}</b>, seed {seed}<br>{metric} {figure:.4f}" for figure, _, model, seed in dots]
    traces = [
        go.Scatter(x=[dot[0] for dot in dots], y=[dot[1] for dot in dots], mode="markers", hovertext=texts,
                   hoverinfo="text", name="one seed", marker={"color": PALETTE[0], "size": 8, "opacity": 0.5}),
        go.Scatter(x=[row.mean(metric) for row in rows], y=list(range(len(rows))), mode="markers", name="mean",
                   hovertext=[_facts(table, row) for row in rows], hoverinfo="text",
                   marker={"symbol": "line-ns", "size": 15, "line": {"width": 2, "color": INK}}),
    ]  # fmt: skip
    ticks = {"tickvals": list(range(len(rows))), "ticktext": [html.label(short(row.name, _LONGEST)) for row in rows]}
    return html.chart(
        name, traces, metric, "", height=90 + 24 * len(rows),
        margin={"l": 10, "t": 30}, legend={"y": 1, "yanchor": "bottom"},
        yaxis={**ticks, "automargin": True, "range": [-0.7, len(rows) - 0.3], "zeroline": False},
    )  # fmt: skip


def diversity(table: DatasetTable, figure: str, title: str, name: str) -> str:
    """What the lists are like (``itemcoverage@20``) against accuracy; the extremes are labelled."""
    metric = main_metric(table)
    rows = [row for row in table.rows if figure in row.metrics]
    x, y = np.array([row.mean(metric) for row in rows]), np.array([row.mean(figure) for row in rows])
    traces = [
        _points(of_kind, table, [row.mean(metric) for row in of_kind], figure, kind, 8, showlegend=False)
        for kind in _KINDS
        if (of_kind := [row for row in rows if _looks_at_content(row) == kind])
    ]
    x_range, y_range = _padded(x.min(), x.max(), 1e-3, 0.12), _padded(y.min(), y.max(), 1e-3, 0.12)
    told = np.isin(np.arange(len(rows)), [x.argmax(), y.argmax(), y.argmin()])
    share = np.stack([(x - x_range[0]) / np.ptp(x_range), 1 - (y - y_range[0]) / np.ptp(y_range)], 1)
    labels = _labels(rows, x, y, share, [(260, 220), (300, 220)], told, told)
    return html.chart(
        name, traces, metric, title, height=290, margin={"l": 58, "r": 8, "t": 8, "b": 48}, font={"size": 12},
        xaxis={"range": list(x_range), "nticks": 5}, yaxis={"range": list(y_range), "nticks": 6}, annotations=labels,
    )  # fmt: skip


def _points(
    rows: Sequence[Row], table: DatasetTable, x: list[float], metric: str, kind: bool, size: int, **options: Any
) -> go.Scatter:
    name, colour, symbol = _KINDS[kind]
    return go.Scatter(
        x=x, y=[row.mean(metric) for row in rows], mode="markers", name=name, hoverinfo="text",
        hovertext=[_facts(table, row) for row in rows],
        marker={"color": colour, "symbol": symbol, "size": size, "line": {"width": 1, "color": "#fff"}}, **options,
    )  # fmt: skip


def _labels(
    rows: Sequence[Row], x: np.ndarray, y: np.ndarray, share: np.ndarray, areas: Sequence[tuple[float, float]],
    named: np.ndarray, dark: np.ndarray,
) -> list[dict[str, Any]]:  # fmt: skip
    """Names beside the points that are to be ``named``, and a line to the point from a name that lies further away."""
    names = [short(row.name, _LONGEST) for row, chosen in zip(rows, named) if chosen]
    places = place_labels(share[named], names, areas, share[~named])
    annotations = []
    for name, index, (right, down) in zip(names, np.flatnonzero(named), places):
        half = label_width(name) / 2
        # Held at the side that faces the point, so that it does not matter how wide the letters really are.
        anchor, right = ("left", right - half) if right > half else ("right", right + half) if right < -half else (
            "center", right)  # fmt: skip
        annotation = {"x": float(x[index]), "y": float(y[index]), "text": html.label(name),
                      "font": {"size": 12, "color": INK if dark[index] else GREY, "family": _FONT},
                      "xanchor": anchor, "yanchor": "middle", "borderpad": 0,
                      "bgcolor": "rgba(255, 255, 255, 0.7)"}  # fmt: skip
        if np.hypot(right if anchor != "center" else 0, max(abs(down) - HEIGHT / 2, 0)) > 12:
            line = {"showarrow": True, "arrowhead": 0, "arrowwidth": 0.7, "arrowcolor": GREY, "standoff": 5}
            annotations.append({**annotation, **line, "ax": right, "ay": down})
        else:
            annotations.append({**annotation, "showarrow": False, "xshift": right, "yshift": -down})
    return annotations


def _facts(table: DatasetTable, row: Row) -> str:
    """All that is known of a row, as the text over its point."""
    lines = [f"{metric} {value(row, metric)}" for metric in headline(table)]
    if against := comparison(table, row, main_metric(table)):
        lines.append(f"{main_metric(table)} {against}")
    lines += [f"training {seconds(row.training_seconds)}, evaluation {seconds(row.evaluation_seconds)}",
              f"{memory(row.peak_memory)} memory, {row.parameters:,} parameters",
              f"seeds: {'all, as nothing is drawn' if row.deterministic else runs_of(row)}"]  # fmt: skip
    return "<br>".join([f"<b>{html.label(row.name)}</b>", *map(html.label, lines)])


def _looks_at_content(row: Row) -> bool:
    return traits(row.results[0]["model"]).multimodal


def _time(row: Row) -> float:
    return max(row.training_seconds, 1e-3)  # for the logarithm


def _padded(low: float, high: float, least: float, share: float = 0.07) -> np.ndarray:
    pad = share * max(high - low, least)
    return np.array([low - pad, high + pad])


def _time_ticks(ends: np.ndarray) -> dict[str, Any]:
    """Marks of a time axis that a person reads: seconds, minutes, hours."""
    inside = {time: text for time, text in _TIMES.items() if ends[0] <= time <= ends[1]}
    if len(inside) < 3:
        inside = {time: text for time, text in (_TIMES | _BETWEEN).items() if ends[0] / 2 <= time <= ends[1] * 2}
    return {"tickvals": list(inside), "ticktext": list(inside.values())}
