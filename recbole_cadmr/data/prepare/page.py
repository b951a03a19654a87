"""One html page that shows a data set: what a person looks at before training on it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from markupsafe import Markup

from recbole_cadmr import html_page
from recbole_cadmr.data.prepare.card import facts_of, left_out
from recbole_cadmr.data.prepare.profile import DatasetProfile, profile
from recbole_cadmr.data.prepare.thumbnails import thumbnails
from recbole_cadmr.files import read_text
from recbole_cadmr.html_page import PALETTE

_PARTS = {"train": "train", "valid": "validation", "test": "test"}
_SYMBOLS = ("circle", "diamond", "cross")
_SHOWN_ABOVE = ("users", "items", "interactions", "train / validation / test interactions", "density",
                "users in no train interaction", "items in no train interaction")  # fmt: skip
_PICTURE = re.compile(r"data:image/jpeg;base64,[A-Za-z0-9+/=]+")


def write_page(folder: Path, name: str, pictures: Mapping[str, Path] | None = None) -> Path:
    """Write ``NAME.html`` into the finished data set ``folder``; the page loads nothing from elsewhere.

    Args:
        pictures: of its items; None for those that the page had, if it is there.
    """
    look, path, card = profile(folder, name), folder / f"{name}.html", folder / "dataset_card.md"
    seen = [*look.samples, *(near for one in look.modalities for nearest in one.near.values() for near, _ in nearest)]
    shown = _kept_pictures(path, seen) if pictures is None else thumbnails(pictures, seen)
    text = read_text(card) if card.is_file() else ""
    without = [*left_out(text)]
    html_page.write_page(
        path,
        "dataset.html.j2",
        name,
        asdict(look) | {"titles": None, "left_out": without, "pictures": shown},
        look=look,
        glance=_glance(look),
        made={step: how for step, how in facts_of(text).items() if step not in _SHOWN_ABOVE},
        degrees={side: _degrees(look, side) for side in look.degrees},
        coverage=_coverage(look),
        spectra=_spectra(look),
    )
    return path


def _kept_pictures(path: Path, seen: list[str]) -> dict[str, str]:
    """The pictures that a page has, of the items that are in ``seen``."""
    if not path.is_file():
        return {}
    facts = html_page.read_facts(path)
    pictures = facts.get("pictures") if isinstance(facts, dict) else None
    kept = pictures if isinstance(pictures, dict) else {}
    return {item: kept[item] for item in seen if _PICTURE.fullmatch(str(kept.get(item)))}


def _glance(look: DatasetProfile) -> dict[str, str]:
    total = sum(look.counts.values())
    parts = ", ".join(f"{count:,} {_PARTS.get(part, part)}" for part, count in look.counts.items())
    sizes = {"users": look.n_users, "items": look.n_items}
    without = {side: n - sum(look.degrees[side]["train"].values()) for side, n in sizes.items()}
    named = {side: f"{side}, {n:,} in no train interaction" if n else side for side, n in without.items()}
    return {
        named["users"]: f"{look.n_users:,}",
        named["items"]: f"{look.n_items:,}",
        f"interactions: {parts}": f"{total:,}",
        "density": f"{total / look.n_users / look.n_items:.3%}",
    }


def _log_axis(most: int) -> dict[str, Any]:
    """A logarithmic axis of round counts from 1 to ``most``."""
    steps = (1, 2, 5) if most <= 300 else (1, 3) if most <= 10_000 else (1,)
    ticks = [step * 10**power for power in range(len(str(most))) for step in steps]
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:,}" for tick in ticks]}


def _degrees(look: DatasetProfile, side: str) -> Markup:
    traces = []
    for (part, n), colour, symbol in zip(look.degrees[side].items(), PALETTE, _SYMBOLS):
        trace = go.Scatter(x=[*n], y=[*n.values()], name=_PARTS.get(part, part), mode="markers")
        traces.append(trace.update(marker={"color": colour, "symbol": symbol, "size": 7}))
    x, y = f"interactions per {side.removesuffix('s')}", f"number of {side}"
    most = [max(map(max, values)) for values in zip(*((n, n.values()) for n in look.degrees[side].values() if n))]
    return html_page.chart(f"degrees-{side}", traces, x, y, xaxis=_log_axis(most[0]), yaxis=_log_axis(most[1]))


def _coverage(look: DatasetProfile) -> Markup:
    bar = go.Bar(
        x=[html_page.label(modality.name) for modality in look.modalities],
        y=[modality.covered / look.n_items for modality in look.modalities],
        text=[f"{modality.covered:,} of<br>{look.n_items:,}" for modality in look.modalities],
        textposition="outside",
        textangle=0,
        cliponaxis=False,
        marker={"color": PALETTE[: len(look.modalities)]},
        width=0.4,
    )
    axis = {"tickformat": ".0%", "tickvals": [0, 0.2, 0.4, 0.6, 0.8, 1]}
    return html_page.chart("coverage", [bar], "", "items that have it", yaxis=axis, margin={"t": 44})


def _spectra(look: DatasetProfile) -> Markup:
    traces = [
        go.Scatter(
            x=[*range(1, len(one.variance) + 1)], y=one.variance, name=html_page.label(one.name), mode="lines"
        ).update(line={"color": colour})
        for one, colour in zip(look.modalities, PALETTE)
        if one.variance
    ]
    most = max((len(one.variance) for one in look.modalities), default=1)
    xaxis = {**_log_axis(most), "range": [-0.05, math.log10(most) + 0.05]}
    layout = {"xaxis": xaxis, "yaxis_tickformat": ".0%", "showlegend": True}
    return html_page.chart("spectra", traces, "directions", "share of variance", **layout)
