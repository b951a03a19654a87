"""What a finished data set looks like in numbers: degrees, coverage, spectra, and whether near items go together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
import yaml

from recbole_cadmr.data.atomic import read_table
from recbole_cadmr.data.feature_file import FeatureFile, read_features
from recbole_cadmr.data.graph import read_graph

NEAREST = 5
SAMPLES = 8  # items whose nearest items are shown
_TESTED = 300  # items whose nearest items are counted
_SPECTRUM = 2000  # rows that a spectrum is taken of
_BLOCK = 8192


@dataclass(frozen=True)
class ModalityProfile:
    """One modality.

    Attributes:
        covered: items of the data set that have it.
        variance: cumulative share of the variance that the leading directions hold, of a centred sample.
        together: share of an item's nearest items that share a train user with it.
        near: sampled items to their nearest ones and cosines, by token.
    """

    name: str
    width: int | None
    covered: int
    variance: list[float]
    together: float
    near: dict[str, list[tuple[str, float]]]


@dataclass(frozen=True)
class DatasetProfile:
    """A data set in numbers.

    Attributes:
        counts: interactions by part.
        degrees: for ``users`` and ``items``, by part, how many have how many interactions.
        chance: share of random pairs of items that share a train user.
        samples: items shown, from the least to the most popular, with their train interactions.
    """

    name: str
    n_users: int
    n_items: int
    counts: dict[str, int]
    degrees: dict[str, dict[str, dict[int, int]]]
    titles: dict[str, str]
    chance: float
    samples: dict[str, int]
    modalities: list[ModalityProfile]


def profile(folder: Path, name: str) -> DatasetProfile:
    """Look at the data set ``name`` in ``folder``."""
    settings = yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8")) or {}
    columns = ("user_id:token", "item_id:token")
    tables = {
        part: read_table(folder / f"{name}.{part}.inter", columns=columns, ids=columns)
        for part in settings["benchmark_filename"]
    }
    users, items = (
        pd.Index(sorted(set().union(*(table[column].cat.categories for table in tables.values()))))
        for column in columns
    )
    # Places in these, by part.
    parts = {
        part: {
            side: known.get_indexer(table[column].cat.categories).astype(np.int32)[table[column].cat.codes]
            for side, column, known in zip(("user", "item"), columns, (users, items))
        }
        for part, table in tables.items()
    }
    train = parts["train"]
    ones = np.ones(len(train["user"]), dtype=np.float32)
    place = (train["item"], train["user"])
    chosen = sp.csr_matrix((ones, place), shape=(len(items), len(users)))  # items x users
    popularity = np.diff(chosen.indptr)
    names = list(dict.fromkeys([*settings.get("modalities", []), *settings.get("item_graphs", [])]))
    files = {modality: read_features(folder / f"{name}.{modality}", modality, "item_id") for modality in names}
    shown = _spread(popularity, [items.get_indexer(file.tokens) for file in files.values()])
    titles = _titles(folder / f"{name}.item")
    return DatasetProfile(
        name=name,
        n_users=len(users),
        n_items=len(items),
        counts={part: len(table) for part, table in tables.items()},
        degrees={
            side: {part: _degrees(rows[side[:-1]]) for part, rows in parts.items()} for side in ("users", "items")
        },
        titles=titles,
        chance=_together(chosen, *np.random.default_rng(0).integers(len(items), size=(2, 20_000))),
        samples={items[row]: int(popularity[row]) for row in shown},
        modalities=[_look(modality, file, items, chosen, shown) for modality, file in files.items()],
    )


def _degrees(places: np.ndarray) -> dict[int, int]:
    degrees, n = np.unique(np.bincount(places), return_counts=True)
    return {degree: count for degree, count in zip(degrees.tolist(), n.tolist()) if degree}


def _titles(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    table = read_table(path)
    return dict(zip(table["item_id:token"], table["title:token_seq"])) if "title:token_seq" in table else {}


def _spread(popularity: np.ndarray, covered: list[np.ndarray]) -> np.ndarray:
    """Items evenly over the ranks of popularity, of those that have every modality if there are any."""
    able = np.arange(len(popularity))
    for rows in covered:
        able = np.intersect1d(able, rows) if len(np.intersect1d(able, rows)) else able
    able = able[np.argsort(popularity[able], kind="stable")]
    return able[np.unique(np.linspace(0, len(able) - 1, SAMPLES).astype(int))]


def _look(name: str, file: FeatureFile, items: pd.Index, chosen: sp.csr_matrix, shown: np.ndarray) -> ModalityProfile:
    tokens, rows, graph = file.tokens, file.rows, file.path.with_name(f"{file.path.name}.knn.npz")
    own = items.get_indexer(tokens)  # item of each row, -1 for rows that the data set does not hold
    tested = np.unique(np.linspace(0, len(own) - 1, _TESTED).astype(int))
    asked = np.unique(np.concatenate([tested, np.flatnonzero(np.isin(own, shown))]))
    near, cos = (table[asked] for table in read_graph(graph)) if graph.is_file() else _nearest(rows, asked)
    places = {int(row): index for index, row in enumerate(asked)}
    a = np.repeat(own[tested], near.shape[1])
    b = np.where(near >= 0, own[near], -1)[[places[int(row)] for row in tested]].ravel()
    used = (a >= 0) & (b >= 0) & (a != b)
    return ModalityProfile(
        name=name,
        width=None if rows is None else rows.shape[1],
        covered=int((own >= 0).sum()),
        variance=[] if rows is None else _variance(rows),
        together=_together(chosen, a[used], b[used]),
        near={
            items[own[row]]: [
                (tokens[j], float(c))
                for j, c in zip(near[places[row]], cos[places[row]])
                if j >= 0 and j != row and own[j] >= 0
            ][:NEAREST]
            for row in map(int, asked)
            if own[row] in shown
        },
    )


def _variance(rows: np.ndarray) -> list[float]:
    sample = rows[np.unique(np.linspace(0, len(rows) - 1, _SPECTRUM).astype(int))].astype(np.float64)
    energy = np.linalg.svd(sample - sample.mean(0), compute_uv=False) ** 2
    return (np.cumsum(energy) / max(energy.sum(), 1e-300)).tolist()


def _nearest(rows: np.ndarray | None, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of largest cosine to the rows ``asked``, these themselves left out; -1 where there are too few."""
    k = NEAREST
    idx, cos = np.full((len(asked), k), -1), np.full((len(asked), k), -np.inf, dtype=np.float32)
    if rows is None:
        return idx, cos
    query = _unit(rows[asked])
    for start in range(0, len(rows), _BLOCK):
        score = query @ _unit(rows[start : start + _BLOCK]).T
        mine = np.flatnonzero((asked >= start) & (asked < start + score.shape[1]))
        score[mine, asked[mine] - start] = -np.inf
        cos = np.concatenate([cos, score], axis=1)
        idx = np.concatenate([idx, np.broadcast_to(np.arange(start, start + score.shape[1]), score.shape)], axis=1)
        best = np.argsort(-cos, axis=1, kind="stable")[:, :k]
        idx, cos = np.take_along_axis(idx, best, axis=1), np.take_along_axis(cos, best, axis=1)
    return np.where(np.isfinite(cos), idx, -1), cos


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows, dtype=np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _together(chosen: sp.csr_matrix, a: np.ndarray, b: np.ndarray) -> float:
    """Share of the pairs of items (a, b) that share a user; 0 if there are none."""
    different = a != b
    a, b = a[different], b[different]
    return float((chosen[a].multiply(chosen[b]).sum(axis=1) > 0).mean()) if len(a) else 0.0
