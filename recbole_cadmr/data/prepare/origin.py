"""Where a data set comes from, and what was done to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Origin:
    """What the card of a data set says about its making.

    Attributes:
        title: what the raw data are, one sentence.
        licence: what is known about their licence, one sentence.
        sources: the files they were read from.
        steps: what was done, by name, such as ``k-core``: ``5``.
        notes: what was passed over, a line each.
    """

    title: str
    licence: str
    sources: Sequence[Path]
    steps: dict[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
