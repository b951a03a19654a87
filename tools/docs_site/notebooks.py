"""Notebooks as pages: they are kept without outputs, so that text and code are all that they hold."""

from __future__ import annotations

import json
import re
from pathlib import Path

_ANCHOR = re.compile(r"(?<=\]\()#[^)]+")  # which has the capitals of its heading in Jupyter, and none in the site


def notebook_page(file: Path) -> str:
    """The Markdown of a notebook: its texts as they are, its code in fenced blocks, and where to get it.

    Raises:
        ValueError: if a cell has an output, which would be missing here.
    """
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    if any(cell.get("outputs") for cell in cells):
        raise ValueError(f"{file.name} holds outputs; clear them")
    parts = [_cell(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    return "\n\n".join([parts[0], f"[This page as a notebook]({file.name})", *parts[1:]]) + "\n"


def _cell(kind: str, source: str) -> str:
    if kind == "code":
        return f"```python\n{source.rstrip()}\n```"
    return _ANCHOR.sub(lambda link: link[0].lower(), source.strip())
