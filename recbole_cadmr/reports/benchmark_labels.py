"""Places for the labels of a chart's points, such that few of them lie on one another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

HEIGHT, _CHARACTER = 15.0, 6.5  # pixels of a label in 12 px letters
_POINT = 6.0  # half the side of the square that a point takes
_DISTANCES = (8.0, 17.0, 28.0, 42.0, 60.0, 80.0)
_ANGLES = np.arange(16) * np.pi / 8
_PASSES = 4


def label_width(text: str) -> float:
    """Pixels that a label takes, about."""
    return len(text) * _CHARACTER


def place_labels(
    points: np.ndarray, texts: Sequence[str], areas: Sequence[tuple[float, float]], others: np.ndarray | None = None
) -> list[tuple[float, float]]:
    """Offsets of the labels' centres from their points in pixels, to the right and down.

    Greedy, a label after the other and some rounds of it; good for some dozens.

    Args:
        points: float [n, 2], places in the plot from its left upper corner, as shares of its width and height.
        areas: widths and heights in pixels that the plot may be shown at; the offsets are to do for all of them.
        others: float [m, 2], points without a label, which no label is to lie on either.
    """
    half = np.array([[label_width(text) / 2, HEIGHT / 2] for text in texts]).reshape(-1, 2)
    all_points = points if others is None else np.concatenate([points, others])
    centres = [all_points * np.asarray(area) for area in areas]  # each [n + m, 2]
    offsets = np.full((len(texts), 2), np.nan)
    for _ in range(_PASSES):
        for index in range(len(texts)):
            candidates, cost = _candidates(half[index])
            placed = np.flatnonzero((np.arange(len(texts)) != index) & ~np.isnan(offsets[:, 0]))
            for area, centre in zip(areas, centres):
                boxes = centre[index] + candidates  # [C, 2]
                labels = centre[placed] + offsets[placed]
                cost = cost + _overlap(boxes, half[index], labels, half[placed]).sum(1)
                cost += 4 * _overlap(boxes, half[index], centre, np.full_like(centre, _POINT)).sum(1)
                outside = np.maximum(half[index] - boxes, 0) + np.maximum(boxes + half[index] - np.asarray(area), 0)
                cost += 50 * outside.sum(1)
                for share in (0.35, 0.65):  # the line from the label to its point is to cross no other label
                    on_line = centre[index] + share * candidates
                    cost += 0.3 * _overlap(on_line, np.array([6.0, 6.0]), labels, half[placed]).sum(1)
            offsets[index] = candidates[cost.argmin()]
    return [(float(right), float(down)) for right, down in offsets]


def _candidates(half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Offsets around a point, and what speaks against each: the distance, and a little against the left side."""
    ring = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], 1)
    offsets = np.concatenate([ring * (half + distance) for distance in _DISTANCES])
    cost = np.repeat(_DISTANCES, len(ring)) + 3 * (1 - np.tile(ring[:, 0], len(_DISTANCES)))
    return offsets, cost


def _overlap(boxes: np.ndarray, half: np.ndarray, others: np.ndarray, other_halves: np.ndarray) -> np.ndarray:
    """Common area of boxes [C, 2] of one size and boxes [m, 2] of their own sizes, as float [C, m]."""
    common = half + other_halves - np.abs(boxes[:, None] - others[None])
    return np.clip(common, 0, 2 * np.minimum(half, other_halves)).prod(2)
