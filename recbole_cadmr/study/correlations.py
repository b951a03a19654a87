"""Correlations between two figures over the runs of a study: within cells of like runs, and pooled over all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from recbole_cadmr.study.effects import LEVEL

_NOISE = 1e-12  # spread that rounding leaves of equal values, as a share of these
_DRAWS = 4000  # of the bootstrap
_LEAST_POINTS = 3  # beside the cells
LEAST_VARIANTS = 3  # of an interval
_KINDS = [f"{kind}{end}" for kind in ("within", "pooled") for end in ("", "_low", "_high")]
COLUMNS = ["x", "y", *_KINDS, "p", "n", "cells"]


def points_of(data: pd.DataFrame, pair: tuple[str, str], cells: Mapping[str, str]) -> pd.DataFrame:
    """A row a run that has both figures of a pair under the protocol: ``x``, ``y``, ``cell``.

    Args:
        data: see ``Findings.data``.
        cells: by variant, what it has in common with others; variants that are not there have no part. A cell is a data
            set with this.
    """
    rows = data[(data["departure"] == "") & (data["stratum"] == "") & data["variant"].isin(cells)]
    key = ["dataset", "variant", "seed"]
    x, y = (rows[rows["figure"] == figure].set_index(key)["value"] for figure in pair)
    points = pd.concat({"x": x, "y": y}, axis=1).dropna().reset_index()
    points["cell"] = points["dataset"] + ", " + points["variant"].map(cells)
    return points


def correlations_of(data: pd.DataFrame, pairs: Sequence[tuple[str, str]], cells: Mapping[str, str]) -> pd.DataFrame:
    """A row a pair of figures ``x`` and ``y``: Pearson's correlation with the means of the cells taken out
    (``within``), and over all points as they are (``pooled``), each with its 95% interval; ``p`` of the first.

    Pooling mixes what differs between cells (data sets, widths) with what is asked: it may have the other sign
    (Simpson's paradox). Intervals and p are those of a bootstrap over variants on their data sets, with all of their
    seeds: runs of one variant are alike, and no evidence of their own. What has too few points, or variants, is NaN.
    """
    rows = []
    for pair in pairs:
        points = points_of(data, pair, cells)
        variant = points.groupby(["dataset", "variant"], sort=False).ngroup().to_numpy()
        cell = points["cell"].factorize()[0]
        values = points[["x", "y"]].to_numpy()
        *within, p = _correlation(values, variant, cell)
        *pooled, _ = _correlation(values, variant, np.zeros_like(cell))
        rows.append((*pair, *within, *pooled, p, len(points), points["cell"].nunique()))
    return pd.DataFrame(rows, columns=COLUMNS)


def _correlation(values: np.ndarray, variant: np.ndarray, cell: np.ndarray) -> tuple[float, float, float, float]:
    """Correlation of values [n, 2] with the means of the cells taken out, its interval, and p of its being 0.

    Args:
        variant, cell: numbers from 0 on, of each point.
    """
    n_variants, n_cells = (int(ids.max(initial=-1)) + 1 for ids in (variant, cell))
    if len(values) - n_cells < _LEAST_POINTS:
        return math.nan, math.nan, math.nan, math.nan
    centred = values - (_sums(values, cell, n_cells) / np.bincount(cell)[:, None])[cell]
    if (centred.std(0) <= _NOISE * np.abs(values).max(0)).any():
        return math.nan, math.nan, math.nan, math.nan
    r = float(np.clip(np.corrcoef(centred.T)[0, 1], -1, 1))
    if n_variants < LEAST_VARIANTS:
        return r, math.nan, math.nan, math.nan
    drawn = _drawn(centred / centred.std(0), variant, cell, n_variants, n_cells)
    known = drawn[np.isfinite(drawn)]
    if 2 * len(known) < len(drawn):
        return r, math.nan, math.nan, math.nan
    low, high = np.quantile(known, [LEVEL / 2, 1 - LEVEL / 2])
    beyond = min((known <= 0).sum(), (known >= 0).sum())
    return r, float(low), float(high), min(1.0, 2 * float(beyond + 1) / (len(known) + 1))


def _drawn(values: np.ndarray, variant: np.ndarray, cell: np.ndarray, n_variants: int, n_cells: int) -> np.ndarray:
    """Correlations over variants drawn with replacement, each as often as there are variants: [_DRAWS]."""
    rng = np.random.default_rng(0)
    times = rng.multinomial(n_variants, np.full(n_variants, 1 / n_variants), size=_DRAWS)  # [_DRAWS, variants]
    x, y = values.T
    moments = _sums(np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1), variant, n_variants)
    of_variant = np.zeros(n_variants, dtype=int)
    of_variant[variant] = cell
    spread = np.zeros((3, _DRAWS))
    for number in range(n_cells):
        mine = of_variant == number
        n, x, y, xx, yy, xy = (times[:, mine] @ moments[mine]).T
        n = np.maximum(n, 1)  # of a cell that was not drawn all are 0
        spread += xx - x * x / n, yy - y * y / n, xy - x * y / n
    with np.errstate(divide="ignore", invalid="ignore"):
        spread[:2][spread[:2] <= _NOISE * len(values)] = np.nan
        return np.asarray(np.clip(spread[2] / np.sqrt(spread[0] * spread[1]), -1, 1))


def _sums(values: np.ndarray, group: np.ndarray, n: int) -> np.ndarray:
    """Sums of rows [n, ...] by group."""
    sums = np.zeros((n, values.shape[1]))
    np.add.at(sums, group, values)
    return sums
