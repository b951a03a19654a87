"""Where a data set comes from, and what was done to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Provenance:
    """How a data set was made, as its card reports it.

    Attributes:
        title: what the raw data are, one sentence.
        licence: what is known about their licence, one sentence.
        sources: the files they were read from.
        steps: what was done, by name, such as ``k-core``: ``5``.
        notes: what was skipped, a line each.
    """

    title: str
    licence: str
    sources: Sequence[Path]
    steps: dict[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
