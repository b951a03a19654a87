"""Pages of html that a person looks at: one style, one look of charts, and nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import gzip
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import plotly.graph_objects as go
from markupsafe import Markup, escape

from recbole_cadmr import formatting
from recbole_cadmr.files import json_text, read_text, write_text

# The colours of Okabe and Ito, which the colour-blind tell apart, but for the yellow that is too pale for a line.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#3c4650")
INK, FAINT = "#1c2733", "#b9c3cc"
_FACTS = '<script type="application/json" id="facts">'
_AXIS = {"gridcolor": "#e7ecf0", "zerolinecolor": "#e7ecf0", "automargin": True, "title": {"font": {"size": 13}}}
_LOOK = {
    "font": {"family": "system-ui, sans-serif", "size": 13, "color": INK},
    "title": {"text": ""},
    "colorway": PALETTE,
    "hoverlabel": {"align": "left"},
    "xaxis": _AXIS,
    "yaxis": _AXIS,
}


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("recbole_cadmr"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["breakable"] = lambda text: Markup(str(escape(text)).replace("_", "_<wbr>"))
    environment.filters |= {name: getattr(formatting, name) for name in ("p_value", "seconds", "short", "signed")}
    environment.globals |= {"style": "", "script": "", "body": ""}
    return environment


@cache
def _plotly() -> str:
    """What draws the charts, packed: lines, dots and bars alone, a quarter of what plotly's Python package has.

    It is in ``templates/plotly`` as the npm package plotly.js-basic-dist-min has it.
    """
    script = (files("recbole_cadmr") / "templates" / "plotly" / "plotly-basic.min.js").read_bytes()
    return base64.b64encode(gzip.compress(script, mtime=0)).decode()


def write_page(path: Path, template: str, title: str, facts: Mapping[str, Any], **context: Any) -> None:
    """Write a page that opens without a network, from a template that extends ``page.html.j2``.

    Args:
        facts: the numbers of the page, kept in it as JSON (``<script id="facts">``).
        context: what the template shows; strings are escaped, charts are :class:`Markup`.
    """
    facts_json = Markup(json_text(facts).replace("<", "\\u003c"))
    page = (
        _templates()
        .get_template(template)
        .render(title=title, facts=facts, facts_json=facts_json, plotly=_plotly(), **context)
    )
    write_text(path, page)


def read_facts(path: Path) -> Any:
    """The numbers of a page that :func:`write_page` wrote; None if there are none."""
    _, _, facts = read_text(path).rpartition(_FACTS)
    try:
        return json.loads(facts.partition("</script>")[0])
    except ValueError:
        return None


def around(values: Iterable[float]) -> dict[str, Any]:
    """The layout of a y axis of these values: of a single one, plotly would show 1 to either side."""
    known = list(values)
    low, high = min(known, default=0.0), max(known, default=0.0)
    room = 0.05 * abs(low) or 1.0
    return {"yaxis_rangemode": "normal", **({"yaxis_range": [low - room, low + room]} if low == high else {})}


def chart(name: str, traces: Sequence[Any] | go.Figure, x: str = "", y: str = "", **layout: Any) -> Markup:
    """A chart as html.

    Args:
        name: the id of its element.
        traces: plotly's, their strings through :func:`label`.
        x, y: titles of the axes.
        layout: plotly's layout over the shared one; ``yaxis_type`` is that of ``yaxis``.
    """
    figure = go.Figure(traces)
    shared: dict[str, Any] = {
        "height": 340,
        "margin": {"l": 60, "r": 10, "t": 10, "b": 50},
        "legend": {"orientation": "h", "y": 1.08},
        "xaxis_title": {"text": x},
        "yaxis": {"title": {"text": y}, "rangemode": "tozero"},
    }
    figure.layout.template = {"layout": _LOOK}  # update_layout() would only add to plotly's own
    figure.update_layout(shared).update_layout(layout)
    drawing = Markup(str(figure.to_json()).replace("<", "\\u003c"))
    size = f"height: {figure.layout.height}px"
    return Markup(
        f'<div id="{name}" class="chart" style="{size}"></div>\n'
        f'<script type="application/json" data-chart="{name}">{drawing}</script>'
    )


def label(text: str) -> str:
    """A string in a chart: plotly reads tags and entities in what it draws, too (though no ``&quot;``)."""
    return html.escape(text, quote=False)
