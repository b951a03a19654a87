"""What a score is made of: parts that add up to it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

ITEM_WEIGHTS = "item weights"  # the path of a score where there is but one


@dataclass(frozen=True)
class ScorePath:
    """What one way adds to the score of an item.

    Attributes:
        name: of the way, such as ``autoencoder``.
        modality: whose content it goes by; "" for none, or several at once.
        contributions: float64, of each of the chosen items [n]; of none in particular [1].
        by_item: whether they are those of the chosen items.
    """

    name: str
    modality: str
    contributions: np.ndarray
    by_item: bool = True


def counted(paths: list[ScorePath], counts: np.ndarray | None) -> list[ScorePath]:
    """The paths, where each of the chosen items counts for so much [n]; all alike if that is not given."""
    if counts is None:
        return paths
    return [replace(path, contributions=path.contributions * counts) if path.by_item else path for path in paths]


def score_of(paths: list[ScorePath]) -> float:
    """The sum of all parts."""
    return float(sum(path.contributions.sum() for path in paths))
