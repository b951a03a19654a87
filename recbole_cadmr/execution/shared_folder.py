"""The folder that all nodes of a cluster have to see, checked before work begins."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recbole_cadmr.errors import UserError
from recbole_cadmr.execution.nodes import ask
from recbole_cadmr.files import write_text

MARK = ".mark"


@contextmanager
def marked(root: Path) -> Iterator[str]:
    """A mark that stands in ``root`` meanwhile, by which a node knows this folder from another of the same path."""
    mark = uuid.uuid4().hex
    write_text(root / MARK, mark)
    try:
        yield mark
    finally:
        (root / MARK).unlink(missing_ok=True)


def sees(root: Path, mark: str) -> bool:
    """Whether this node sees the folder that was marked."""
    file = root / MARK
    return file.is_file() and file.read_text(encoding="utf-8") == mark


def check_shared(ray: Any, root: Path, mark: str) -> None:
    """Raise :class:`UserError` unless all nodes of a cluster have this package and see the folder that was marked."""
    for node, answer in ask(ray, sees, root, mark):
        if not answer:
            raise UserError(f"{node} does not see {root}; choose an --output on storage that all nodes share")
