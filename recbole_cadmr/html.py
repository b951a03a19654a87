"""Pages of html that a person looks at: one style, one look of charts, and nothing loaded from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from recbole_cadmr.files import write_aside

STYLE = """
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
# Plotly measures a chart when it is met, before those that it shares its row with are there.
_FIT = """
addEventListener("load", () =>
  document.querySelectorAll(".js-plotly-plot").forEach(chart => Plotly.Plots.resize(chart)));
"""


def write_page(
    path: Path, title: str, body: Iterable[str], facts: Mapping[str, Any], style: str = "", script: str = ""
) -> None:
    """Write a page that opens without a network.

    Args:
        body: pieces of html whose strings are escaped.
        facts: the numbers of the page, kept in it as JSON (``<script id="facts">``).
        style: rules beside the shared ones.
        script: run when the page is there.
    """
    numbers = json.dumps(facts).replace("<", "\\u003c")
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}{style}</style><script>{get_plotlyjs()}</script></head>"
        f'<body><main>{"".join(body)}</main><script type="application/json" id="facts">{numbers}</script>'
        f"<script>{_FIT}{script}</script></body></html>\n"
    )
    with write_aside(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")


def facts_grid(facts: Mapping[str, str]) -> str:
    """What is to be seen at a glance: values by what they are."""
    cells = (f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>" for name, value in facts.items())
    return f'<div class="facts">{"".join(cells)}</div>'


def chart(
    name: str, traces: Sequence[Any], x: str, y: str, x_type: str = "-", y_type: str = "-", tick: str = "",
    **layout: Any,
) -> str:  # fmt: skip
    """A chart as html.

    Args:
        name: the id of its element.
        traces: plotly's, their strings through :func:`label`.
        x, y: titles of the axes.
        x_type, y_type: ``log`` or plotly's other kinds of axis.
        tick: format of the numbers along y.
        layout: plotly's layout over the shared one.
    """
    figure = go.Figure(traces)
    figure.update_layout(
        template="plotly_white", height=340, margin={"l": 60, "r": 10, "t": 10, "b": 50}, font={"size": 13},
        legend={"orientation": "h", "y": 1.08}, xaxis={"title": {"text": x}, "type": x_type},
        yaxis={"title": {"text": y}, "type": y_type, "tickformat": tick, "rangemode": "tozero"},
    )  # fmt: skip
    figure.update_layout(**layout)
    return figure.to_html(
        full_html=False, include_plotlyjs=False, div_id=name, config={"displayModeBar": False, "responsive": True}
    )


def label(text: str) -> str:
    """A string in a chart: plotly reads tags and entities in what it draws, too (though no ``&quot;``)."""
    return escape(text, quote=False)
