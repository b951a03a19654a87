"""Tables and values in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import yaml


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; what stands in a cell is put on one line."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def code(value: Any) -> str:
    """A value as it is given in yaml, as code."""
    text = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, width=10**6, sort_keys=False).strip()
    return f"`{text.removesuffix('...').strip()}`"


class _Dumper(yaml.SafeDumper):
    """Writes ``True`` and ``False``, as the package's own files do."""


_Dumper.add_representer(bool, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:bool", str(value)))
