"""One html page that shows a data set: what a person looks at before training on it."""

from __future__ import annotations

from dataclasses import asdict
from html import escape
from pathlib import Path

import plotly.graph_objects as go

from recbole_cadmr import html_page as html
from recbole_cadmr.data.prepare.profile import ModalityLook, Survey, survey

_COLOURS = {"train": "#1f5fbf", "valid": "#e08e0b", "test": "#3a9d5d"}


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
    path = folder / f"{name}.html"
    html.write_page(path, name, body, asdict(look) | {"titles": None})
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
    return html.facts_grid(facts)


def _degrees(look: Survey, side: str) -> str:
    traces = [
        go.Scatter(x=list(degrees), y=list(degrees.values()), name=part, mode="markers",
                   marker={"color": _COLOURS.get(part), "size": 6})
        for part, degrees in look.degrees[side].items()
    ]  # fmt: skip
    return html.chart(f"degrees-{side}", traces, f"interactions of one of the {side}", f"how many {side}", "log", "log")


def _coverage(look: Survey) -> str:
    bar = go.Bar(
        x=[html.label(modality.name) for modality in look.modalities],
        y=[modality.covered / look.n_items for modality in look.modalities],
        text=[f"{modality.covered:,} of {look.n_items:,}" for modality in look.modalities],
        marker={"color": _COLOURS["train"]},
        width=0.4,
    )
    return html.chart("coverage", [bar], "modality", "share of items", tick=".0%")


def _spectra(look: Survey) -> str:
    traces = [
        go.Scatter(x=list(range(1, len(modality.variance) + 1)), y=modality.variance, name=html.label(modality.name),
                   mode="lines")
        for modality in look.modalities
        if modality.variance
    ]  # fmt: skip
    return html.chart("spectra", traces, "directions", "share of variance", "log", tick=".0%")


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
