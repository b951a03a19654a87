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

# The colours of Okabe and Ito, which the colour-blind tell apart, but for the yellow that is too pale for a line.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#3c4650")
INK, GREY, FAINT = "#1c2733", "#56636f", "#b9c3cc"
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
# Of a report: many figures in tables that are sorted.
REPORT_STYLE = """
main { max-width: 1160px; }
h3 { margin: 40px 0 4px; font-size: 18px; } p.lead { font-size: 15px; margin-bottom: 12px; }
.facts { grid-template-columns: repeat(auto-fit, minmax(210px, 1fr)); } .facts b { font-size: 19px; line-height: 1.3;
  overflow-wrap: break-word; }
table { font-size: 12.5px; font-variant-numeric: tabular-nums; } th { font-weight: 600; vertical-align: bottom; }
th, td { padding: 5px 5px; } td.n, th.n { text-align: right; } td.n { white-space: nowrap; }
tbody tr:hover td { background: #f4f7fa; }
th:first-child, td:first-child { position: sticky; left: 0; background: #fff; padding-left: 0; }
th button { all: unset; cursor: pointer; } th button:hover, th button:focus-visible { text-decoration: underline; }
th[aria-sort=descending] button::after { content: " ↓"; } th[aria-sort=ascending] button::after { content: " ↑"; }
"""
# A click on a head sorts by it, the greatest first; another one turns the order round. A finger scrolls past a chart
# instead of zooming.
REPORT_SCRIPT = """
document.querySelectorAll("table.sortable th button").forEach(button => button.addEventListener("click", () => {
  const head = button.closest("th"), body = head.closest("table").tBodies[0], place = head.cellIndex;
  const down = head.getAttribute("aria-sort") !== "descending";
  head.parentNode.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const key = row => row.cells[place].dataset.v;
  const order = (a, b) => head.className === "n" ? key(a) - key(b) : key(a).localeCompare(key(b));
  [...body.rows].sort((a, b) => down ? order(b, a) : order(a, b)).forEach(row => body.append(row));
}));
addEventListener("load", () => {
  if (matchMedia("(pointer: coarse)").matches) document.querySelectorAll(".js-plotly-plot").forEach(chart =>
    Plotly.relayout(chart, { dragmode: false }));
});
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


def grid(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A plain table of cells that are escaped already."""
    heads = "".join(f"<th>{name}</th>" for name in head)
    rows = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in line)}</tr>" for line in lines)
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'


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
