"""One html page that shows a data set: what a person looks at before training on it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import plotly.graph_objects as go
from markupsafe import Markup

from recbole_cadmr import html_page
from recbole_cadmr.data.prepare.profile import DatasetProfile, profile

_COLOURS = {"train": "#1f5fbf", "valid": "#e08e0b", "test": "#3a9d5d"}


def write_page(folder: Path, name: str) -> Path:
    """Write ``NAME.html`` into the finished data set ``folder``; the page loads nothing from elsewhere."""
    look = profile(folder, name)
    path = folder / f"{name}.html"
    html_page.write_page(
        path,
        "dataset.html.j2",
        name,
        asdict(look) | {"titles": None},
        look=look,
        glance=_glance(look),
        degrees={side: _degrees(look, side) for side in look.degrees},
        coverage=_coverage(look),
        spectra=_spectra(look),
    )
    return path


def _glance(look: DatasetProfile) -> dict[str, str]:
    total = sum(look.counts.values())
    return {
        "users": f"{look.n_users:,}",
        "items": f"{look.n_items:,}",
        "interactions": f"{total:,}",
        "density": f"{total / look.n_users / look.n_items:.3%}",
        **{f"in {part}": f"{count:,}" for part, count in look.counts.items()},
    }


def _degrees(look: DatasetProfile, side: str) -> Markup:
    traces = [
        go.Scatter(x=[*n], y=[*n.values()], name=part, mode="markers", marker={"color": _COLOURS.get(part), "size": 6})
        for part, n in look.degrees[side].items()
    ]
    x, y = f"interactions per {side.removesuffix('s')}", f"number of {side}"
    return html_page.chart(f"degrees-{side}", traces, x, y, xaxis_type="log", yaxis_type="log")


def _coverage(look: DatasetProfile) -> Markup:
    bar = go.Bar(
        x=[html_page.label(modality.name) for modality in look.modalities],
        y=[modality.covered / look.n_items for modality in look.modalities],
        text=[f"{modality.covered:,} of {look.n_items:,}" for modality in look.modalities],
        marker={"color": _COLOURS["train"]},
        width=0.4,
    )
    return html_page.chart("coverage", [bar], "modality", "share of items", yaxis_tickformat=".0%")


def _spectra(look: DatasetProfile) -> Markup:
    traces = [
        go.Scatter(x=[*range(1, len(one.variance) + 1)], y=one.variance, name=html_page.label(one.name), mode="lines")
        for one in look.modalities
        if one.variance
    ]
    x, y = "directions", "share of variance"
    return html_page.chart("spectra", traces, x, y, xaxis_type="log", yaxis_tickformat=".0%")
