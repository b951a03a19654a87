"""Titles in words: what a shop would write about an item whose factors are known."""

from __future__ import annotations

import numpy as np

# A word for each quarter of a factor's values, lowest first: one row a factor that the text sees.
WORDS = (
    ("alpine", "outdoor", "indoor", "cosy"),
    ("rustic", "wooden", "metal", "chrome"),
    ("toddler", "junior", "adult", "senior"),
    ("silent", "quiet", "lively", "loud"),
    ("budget", "simple", "fine", "luxury"),
    ("classic", "timeless", "modern", "futuristic"),
)
# What an item is tells nothing about taste.
NOUNS = ("blanket", "bottle", "bowl", "chair", "clock", "cushion", "lamp", "mirror", "rack", "shelf", "table", "tray")


def draw_titles(rng: np.random.Generator, factors: np.ndarray, mention: float = 0.8) -> list[str]:
    """One title an item.

    Args:
        factors: values of the factors that the text sees [n_items, n_factors], at most ``len(WORDS)`` of them.
        mention: how likely a title mentions a factor.
    """
    ranks = np.argsort(np.argsort(factors, axis=0, kind="stable"), axis=0, kind="stable")
    quarters = ranks * 4 // len(factors)
    mentioned = rng.random(factors.shape) < mention
    nouns = rng.integers(len(NOUNS), size=len(factors))
    return [
        " ".join([*(WORDS[j][q] for j, q in enumerate(row) if says[j]), NOUNS[noun]]).capitalize()
        for row, says, noun in zip(quarters, mentioned, nouns, strict=True)
    ]
