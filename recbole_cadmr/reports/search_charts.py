"""The charts of a search."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from recbole_cadmr import html_page as html
from recbole_cadmr.formatting import short
from recbole_cadmr.html_page import FAINT, INK, PALETTE
from recbole_cadmr.reports.search_axes import axis_of, text_of
from recbole_cadmr.reports.search_importance import Importance
from recbole_cadmr.reports.search_outcome import Outcome
from recbole_cadmr.tuning.trial_record import FAILED, STOPPED, TrialRecord

LITTLE = 0.2  # R²: below it, the shares are not to be read
_BEST, _OTHERS, _PALE = PALETTE[1], PALETTE[0], "#dfe5ea"
# Of parallel coordinates: from 0 to 1 by score, then the defaults, then the best; what is greater lies on top.
_DEFAULTS_COLOUR, _BEST_COLOUR = 1.5, 2
_SCALE = [[0, "#e3e9ee"], [0.5, "#5fa3d0"], [0.5, INK], [0.9, INK], [0.9, _BEST], [1, _BEST]]
_FEW = 8  # values that an axis names one by one
_CROWDED = 0.06  # of an axis: labels nearer to each other than that lie on one another
_LONGEST = 14  # characters of a value; of a name, two lines of them
_AXIS = 118  # pixels that an axis and its labels take


def parallel_coordinates(outcome: Outcome, name: str) -> str:
    """A line a trial through its settings to its score; "" where there is nothing to compare.

    The best trial and the defaults have colours of their own, as all lines are equally thick.
    """
    records = outcome.scored
    points = [outcome.settings(record) for record in records]
    dimensions = [_dimension(key, [point.get(key) for point in points]) for key in outcome.names]
    varied = [dimension for dimension in dimensions if dimension is not None]
    scores = [score for record in records if (score := outcome.score(record)) is not None]
    last = _dimension(f"best {outcome.metric}", scores, few=0)
    if not varied or last is None:
        return ""
    share = (np.array(scores) - min(scores)) / np.ptp(scores)
    share = share if outcome.bigger else 1 - share
    colours = [_BEST_COLOUR if outcome.is_winner(record) else _DEFAULTS_COLOUR if record.number == 1 else float(part)
               for record, part in zip(records, share)]  # fmt: skip
    lines = go.Parcoords(
        dimensions=[*varied, last], line={"color": colours, "cmin": 0, "cmax": 2, "colorscale": _SCALE},
        labelfont={"size": 13, "color": INK}, tickfont={"size": 12, "color": INK},
        unselected={"line": {"color": _PALE, "opacity": 0.4}},
    )  # fmt: skip
    drawn = html.chart(name, [lines], "", "", height=400, margin={"l": 84, "r": 60, "t": 64, "b": 20})
    return f'<div class="scroll"><div style="min-width: {_AXIS * (len(varied) + 1)}px">{drawn}</div></div>'


def learning_curves(outcome: Outcome, name: str) -> str:
    """Validation scores over epochs, a line a trial; the best and the defaults stand out."""
    traces, told = [], set()
    for record in sorted(outcome.trained, key=lambda record: _look(outcome, record).layer):
        look = _look(outcome, record)
        reports = [report for report in record.reports if math.isfinite(report["valid_score"])]
        if not reports:
            continue
        traces.append(
            go.Scatter(
                x=[report["epoch"] for report in reports], y=[report["valid_score"] for report in reports],
                customdata=[html.label(_phase(report)) for report in reports], hovertext=_over(outcome, record),
                hovertemplate="%{hovertext}<br>epoch %{x} %{customdata}: %{y:.4f}<extra></extra>",
                mode="lines" if len(reports) > 1 else "markers", name=look.kind,
                legendgroup=look.kind, showlegend=look.kind not in told, opacity=look.opacity,
                line={"color": look.colour, "width": look.width, "dash": look.dash},
                marker={"size": 7, "color": look.colour},
            )
        )  # fmt: skip
        told.add(look.kind)
    traces += _later_phases(outcome)
    if not traces:
        return ""
    return html.chart(
        name, traces, "epoch", f"{html.label(outcome.metric)} in validation", height=460,
        yaxis={"rangemode": "normal"}, hovermode="closest", legend={"y": -0.16, "yanchor": "top"},
    )  # fmt: skip


def importance_bars(found: Importance, name: str) -> str:
    """A bar a setting, grey where they are not to be read."""
    names = list(found.shares)[::-1]
    shares = [found.shares[key] for key in names]
    bars = go.Bar(
        x=shares, y=list(range(len(names))), orientation="h", hoverinfo="skip", text=[f"{s:.0%}" for s in shares],
        textposition="outside", cliponaxis=False, marker={"color": FAINT if found.r_squared < LITTLE else _OTHERS},
    )  # fmt: skip
    ticks = {"tickvals": list(range(len(names))), "ticktext": [html.label(short(key, 2 * _LONGEST)) for key in names]}
    return html.chart(
        name, [bars], "share of what the forest explains", "", height=70 + 30 * len(names), margin={"l": 10, "r": 50},
        xaxis={"tickformat": ".0%", "range": [0, 1.05 * max(shares)], "nticks": 6},
        yaxis={**ticks, "automargin": True, "zeroline": False, "showgrid": False}, bargap=0.35,
    )  # fmt: skip


class _Look(NamedTuple):
    """How a trial's line is drawn, and what it is called in the legend."""

    kind: str
    layer: int
    colour: str
    width: float
    dash: str = "solid"
    opacity: float = 1.0


def _look(outcome: Outcome, record: TrialRecord) -> _Look:
    if outcome.is_winner(record):
        return _Look(f"best: trial {record.number}{', the defaults' if record.number == 1 else ''}", 4, _BEST, 3)
    if record.number == 1:
        return _Look("defaults: trial 1", 3, INK, 2, "dash")
    if record.status == FAILED:
        return _Look("failed", 0, FAINT, 1.2, "dot")
    if record.status == STOPPED:
        return _Look("stopped early", 1, FAINT, 1.2)
    return _Look(record.status, 2, _OTHERS, 1.3, opacity=0.55)


def _later_phases(outcome: Outcome) -> list[Any]:
    """Dots where the second and further phases of trials begin."""
    begun: dict[str, list[tuple[int, float]]] = {}
    for record in outcome.trained:
        before = None
        for report in record.reports:
            phase = _phase(report)
            if before not in (None, phase) and math.isfinite(report["valid_score"]):
                begun.setdefault(phase, []).append((report["epoch"], report["valid_score"]))
            before = phase
    return [
        go.Scatter(x=[epoch for epoch, _ in dots], y=[score for _, score in dots], mode="markers", hoverinfo="skip",
                   name=f"{html.label(phase)} begins",
                   marker={"size": 6, "symbol": "circle-open", "color": INK, "opacity": 0.6})
        for phase, dots in begun.items()
    ]  # fmt: skip


def _phase(report: Mapping[str, Any]) -> str:
    return str(report.get("phase", ""))


def _over(outcome: Outcome, record: TrialRecord) -> str:
    lines = [f"{name} {short(text_of(value), 40)}" for name, value in outcome.settings(record).items()]
    return "<br>".join([f"<b>trial {record.number}</b>, {record.status}", *map(html.label, lines)])


def _dimension(name: str, values: Sequence[Any], few: int = _FEW) -> dict[str, Any] | None:
    """An axis of plotly's parallel coordinates; None if nothing varies. Up to ``few`` values are named one by one."""
    axis = axis_of(values)
    if len(axis.distinct) < 2:
        return None
    places, ends = axis.places, (min(axis.places), max(axis.places))
    if axis.kind == "choice" or len(axis.distinct) <= few:
        at = sorted(set(places))
        if min(np.diff(at)) < _CROWDED * (ends[1] - ends[0]):
            places, at = [float(at.index(place)) for place in places], list(range(len(at)))
        marks = dict(zip(at, map(text_of, axis.distinct)))
    else:
        between = _powers(*ends) if axis.kind == "log" else _round_values(*ends)
        room = _CROWDED * (ends[1] - ends[0])
        marks = {place: text_of(value) for place, value in between.items() if ends[0] + room < place < ends[1] - room}
        marks |= dict(zip(ends, (text_of(axis.distinct[0]), text_of(axis.distinct[-1]))))  # the line ends at its marks
    return {
        "label": "<br>".join(html.label(part) for part in _two_lines(name)),
        "values": places,
        "range": [min(places), max(places)],
        "tickvals": list(marks),
        # Not escaped: unlike labels, these are drawn as they are, tags and entities too.
        "ticktext": [short(text, _LONGEST) for text in marks.values()],
    }


def _powers(low: float, high: float) -> dict[float, float]:
    """Powers of ten by their logarithms; where these are few, also 2 and 5 times."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    steps = (1,) if high - low > 3 else (1, 2, 5)
    return {math.log10(value): value for power in powers for step in steps if (value := float(f"{step}e{power}"))}


def _round_values(low: float, high: float) -> dict[float, float]:
    """Some six values with few digits along an axis, by themselves."""
    rough = (high - low) / 6
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= rough)
    return {step * place: step * place for place in range(math.ceil(low / step), math.floor(high / step) + 1)}


def _two_lines(name: str) -> list[str]:
    """A name, broken at the underscore next to its middle if it is long."""
    if len(name) <= _LONGEST:
        return [name]
    breaks = [place + 1 for place, sign in enumerate(name) if sign in "_ " and place + 1 < len(name)]
    middle = min(breaks, key=lambda place: abs(place - len(name) / 2), default=len(name))
    return [short(part, _LONGEST + 2) for part in (name[:middle], name[middle:]) if part]
