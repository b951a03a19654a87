"""Writing atomic files: a header of typed columns, then rows, separated by tabs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path


def write_atomic(path: Path, columns: Sequence[str], rows: Iterable[str]) -> None:
    """Write an atomic file with the same bytes on every system.

    Args:
        columns: such as ``user_id:token``.
        rows: lines without their end, their fields joined by tabs.
    """
    path.write_text("\n".join(["\t".join(columns), *rows, ""]), encoding="utf-8", newline="\n")
