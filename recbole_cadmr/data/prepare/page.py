"""One html page that shows a data set: what a person looks at before training on it."""

from __future__ import annotations

import json
from dataclasses import asdict
from html import escape
from pathlib import Path

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from recbole_cadmr.data.prepare.survey import ModalityLook, Survey, survey

_COLOURS = {"train": "#1f5fbf", "valid": "#e08e0b", "test": "#3a9d5d"}
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; color: #1c2733; background: #fff; }
main { max-width: 1080px; margin: 0 auto; padding: 24px 20px 64px; }
h1 { margin: 0 0 4px; } h2 { margin: 44px 0 8px; } p.lead { color: #56636f; margin: 0 0 20px; max-width: 46em; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; }
.facts div { border: 1px solid #dde3e9; border-radius: 8px; padding: 10px 14px; }
.facts b { display: block; font-size: 22px; } .facts span { color: #56636f; font-size: 14px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); gap: 16px; }
.charts > * { min-width: 0; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: 14px; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: 6px 10px; border-bottom: 1px solid #dde3e9; }
td small, th small { color: #56636f; }
"""


def write_page(folder: Path, name: str) -> Path:
    """Write ``NAME.html`` into the finished data set ``folder``; the page loads nothing from elsewhere."""
    look = survey(folder, name)
    body = [
        f"<h1>{escape(name)}</h1>",
        '<p class="lead">What this data set holds, drawn from its files. How it was made, what was passed over and '
        "what it was made from: <code>dataset_card.md</code>.</p>",
        _facts(look),
        "<h2>Interactions of users and items</h2>",
        '<p class="lead">How many users and items have how many interactions, by part; both axes are logarithmic.</p>',
        f'<div class="charts">{_degrees(look, "users")}{_degrees(look, "items")}</div>',
    ]
    if look.modalities:
        body += [
            "<h2>Modalities</h2>",
            '<p class="lead">Left: items that have the modality. Right: share of the variance of the vectors that the '
            "leading directions hold; a curve that is at 1 at once means vectors that hardly differ.</p>",
            f'<div class="charts">{_coverage(look)}{_spectra(look)}</div>',
            "<h2>Nearest items</h2>",
            '<p class="lead">Items from the least to the most popular, and those nearest to them by the cosine of '
            f"their vectors. {_together(look)}</p>",
            _nearest(look),
        ]
    facts = json.dumps(asdict(look) | {"titles": None}).replace("<", "\\u003c")
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(name)}</title><style>{_STYLE}</style><script>{get_plotlyjs()}</script></head>"
        f'<body><main>{"".join(body)}</main><script type="application/json" id="facts">{facts}</script></body></html>\n'
    )
    path = folder / f"{name}.html"
    path.write_text(page, encoding="utf-8", newline="\n")
    return path


def _facts(look: Survey) -> str:
    total = sum(look.counts.values())
    facts = {
        "users": f"{look.n_users:,}",
        "items": f"{look.n_items:,}",
        "interactions": f"{total:,}",
        "density": f"{total / look.n_users / look.n_items:.3%}",
        **{f"in {part}": f"{count:,}" for part, count in look.counts.items()},
    }
    return (
        '<div class="facts">' + "".join(f"<div><b>{v}</b><span>{k}</span></div>" for k, v in facts.items()) + "</div>"
    )


def _degrees(look: Survey, side: str) -> str:
    traces = [
        go.Scatter(x=list(degrees), y=list(degrees.values()), name=part, mode="markers",
                   marker={"color": _COLOURS.get(part), "size": 6})
        for part, degrees in look.degrees[side].items()
    ]  # fmt: skip
    return _chart(f"degrees-{side}", traces, f"interactions of one of the {side}", f"how many {side}", "log", "log")


def _coverage(look: Survey) -> str:
    bar = go.Bar(
        x=[modality.name for modality in look.modalities],
        y=[modality.covered / look.n_items for modality in look.modalities],
        text=[f"{modality.covered:,} of {look.n_items:,}" for modality in look.modalities],
        marker={"color": _COLOURS["train"]},
        width=0.4,
    )
    return _chart("coverage", [bar], "modality", "share of items", tick=".0%")


def _spectra(look: Survey) -> str:
    traces = [
        go.Scatter(x=list(range(1, len(modality.variance) + 1)), y=modality.variance, name=modality.name, mode="lines")
        for modality in look.modalities
        if modality.variance
    ]
    return _chart("spectra", traces, "directions", "share of variance", "log", tick=".0%")


def _chart(
    name: str, traces: list[go.Scatter | go.Bar], x: str, y: str, x_type: str = "-", y_type: str = "-", tick: str = ""
) -> str:
    figure = go.Figure(traces)
    figure.update_layout(
        template="plotly_white", height=340, margin={"l": 60, "r": 10, "t": 10, "b": 50}, font={"size": 13},
        legend={"orientation": "h", "y": 1.08}, xaxis={"title": {"text": x}, "type": x_type},
        yaxis={"title": {"text": y}, "type": y_type, "tickformat": tick, "rangemode": "tozero"},
    )  # fmt: skip
    return figure.to_html(
        full_html=False, include_plotlyjs=False, div_id=name, config={"displayModeBar": False, "responsive": True}
    )


def _together(look: Survey) -> str:
    shares = " and ".join(f"{modality.together:.1%} by {modality.name}" for modality in look.modalities)
    return f"Of such neighbours, {shares} share a train user; of random pairs {look.chance:.1%} do."


def _nearest(look: Survey) -> str:
    head = "".join(f"<th>nearest by {escape(modality.name)}</th>" for modality in look.modalities)
    rows = []
    for item, popularity in look.samples.items():
        cells = "".join(f"<td>{_neighbours(look, modality, item)}</td>" for modality in look.modalities)
        rows.append(f"<tr><td>{_called(look, item)}<br><small>{popularity} train interactions</small></td>{cells}</tr>")
    return f'<div class="scroll"><table><tr><th>item</th>{head}</tr>{"".join(rows)}</table></div>'


def _neighbours(look: Survey, modality: ModalityLook, item: str) -> str:
    near = modality.near.get(item)
    if not near:
        return "<small>lacks the modality</small>"
    return "<br>".join(f"{_called(look, other)} <small>{cos:.2f}</small>" for other, cos in near)


def _called(look: Survey, item: str) -> str:
    title = look.titles.get(item)
    return f"<b>{escape(item)}</b> {escape(title[:80])}" if title else f"<b>{escape(item)}</b>"
