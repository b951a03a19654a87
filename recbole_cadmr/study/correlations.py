"""Correlations between two figures over the runs of a study: within cells of like runs, and pooled over all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from recbole_cadmr.study.effects import LEVEL

_NOISE = 1e-12  # spread that rounding leaves of equal values, as a share of these
COLUMNS = ["x", "y", "within", "within_low", "within_high", "pooled", "pooled_low", "pooled_high", "n", "cells"]


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
    (``within``), and over all points as they are (``pooled``), each with its 95% interval by Fisher's z.

    Pooling mixes what differs between cells (data sets, widths) with what is asked: it may have the other sign
    (Simpson's paradox). What has too few points is NaN.
    """
    rows = []
    for pair in pairs:
        points = points_of(data, pair, cells)
        n, n_cells = len(points), points["cell"].nunique()
        centred = points[["x", "y"]] - points.groupby("cell")[["x", "y"]].transform("mean")
        scale = points[["x", "y"]].abs().max()
        within, pooled = (
            _with_interval(part, left, scale) for part, left in ((centred, n - n_cells), (points[["x", "y"]], n - 1))
        )
        rows.append((*pair, *within, *pooled, n, n_cells))
    return pd.DataFrame(rows, columns=COLUMNS)


def _with_interval(points: pd.DataFrame, freedom: int, scale: pd.Series) -> tuple[float, float, float]:
    """Correlation and interval of points that ``freedom`` degrees are left of; ``scale`` is their size before that."""
    x, y = points["x"].to_numpy(), points["y"].to_numpy()
    if freedom < 3 or x.std() <= _NOISE * scale["x"] or y.std() <= _NOISE * scale["y"]:
        return math.nan, math.nan, math.nan
    r = float(np.clip(np.corrcoef(x, y)[0, 1], -1, 1))
    if abs(r) == 1:
        return r, r, r
    half = stats.norm.ppf(1 - LEVEL / 2) / math.sqrt(freedom - 2)
    return r, math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)
