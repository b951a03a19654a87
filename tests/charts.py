"""Pages as they are written: what they show without what draws it, their numbers, and their charts."""

from __future__ import annotations

import base64
import gzip
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from recbole_cadmr.html_page import read_facts

LARGEST = 1_500_000  # bytes of a page
_PLOTLY = re.compile('<script type="text/plain" id="plotly">(.*?)</script>')


def read(path: Path) -> tuple[str, Any]:
    """A page without plotly, and its numbers; it is of moderate size and loads nothing."""
    assert path.stat().st_size < LARGEST
    text = path.read_text(encoding="utf-8")
    (packed,) = _PLOTLY.findall(text)
    script = (files("recbole_cadmr") / "templates" / "plotly" / "plotly-basic.min.js").read_bytes()
    assert gzip.decompress(base64.b64decode(packed)) == script
    page = _PLOTLY.sub("", text)
    assert not re.findall(r'(?:src|href)="(?!#|data:image/jpeg;base64,)', page)
    assert "@import" not in page and "url(" not in page and "fetch(" not in page
    return page, read_facts(path)


def traces(page: str, name: str) -> list[dict[str, Any]] | None:
    """What plotly draws in a chart; None if there is no such chart."""
    found = re.search(rf'data-chart="{re.escape(name)}">(.*?)</script>', page)
    return json.loads(found[1], object_hook=_array)["data"] if found else None


def _array(value: dict[str, Any]) -> Any:
    """Plotly packs arrays."""
    if "bdata" not in value:
        return value
    values = np.frombuffer(base64.b64decode(value["bdata"]), value["dtype"])
    return values.reshape([int(n) for n in value["shape"].split(",")] if "shape" in value else -1).tolist()
