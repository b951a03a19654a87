"""The tables of measured results in docs/results.md, read back."""

from __future__ import annotations

import re
from collections.abc import Iterator

# By model and preset, by data set, by metric: the text of a cell.
Measured = dict[tuple[str, str | None], dict[str, dict[str, str]]]
_ROW = re.compile(r"(\w+)(?: \((\w+)\))?")


def measured(markdown: str) -> Measured:
    """The metrics of each model and preset by data set, as they stand in tables whose first column is named by one.

    A model with settings of its own in such a table (``BPR learning_rate=0.0005``) is left out.
    """
    found: Measured = {}
    for row in rows_of(markdown):
        (dataset, name), *columns = row.items()
        of_model = _ROW.fullmatch(name)
        metrics = {column: value for column, value in columns if "@" in column}
        if of_model and metrics and dataset not in ("data set", "model"):
            key = of_model[1], of_model[2] or dict(columns).get("preset") or None
            found.setdefault(key, {}).setdefault(dataset, metrics)
    return found


def rows_of(markdown: str) -> Iterator[dict[str, str]]:
    """The rows of all tables, their cells by the heads of their columns, without marks."""
    head: list[str] = []
    for line in markdown.splitlines():
        cells = [re.sub(r"\*|\\|</?u>", "", cell).strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            head = []
        elif not head:
            head = cells
        elif set("".join(cells)) != {"-"}:
            yield dict(zip(head, cells, strict=True))
