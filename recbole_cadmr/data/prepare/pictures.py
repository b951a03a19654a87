"""Picture files of items."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")


def pictures_in(folder: Path, items: Iterable[str]) -> dict[str, Path]:
    """Pictures ``ITEM.jpg`` (or another usual ending) in ``folder``, by item."""
    if not folder.is_dir():
        return {}
    by_name: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES:
            by_name.setdefault(path.stem, path)
    return {item: by_name[item] for item in items if item in by_name}
