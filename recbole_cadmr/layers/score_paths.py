"""What a score is made of: parts that add up to it."""

from __future__ import annotations

from dataclasses import dataclass

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


def score_of(paths: list[ScorePath]) -> float:
    """The sum of all parts."""
    return float(sum(path.contributions.sum() for path in paths))
