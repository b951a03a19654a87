"""The ways by which the closed form behind LinearCADMR comes to a score: the terms of its matrix, multiplied out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from recbole_cadmr.layers.content_graph import two_hops
from recbole_cadmr.layers.linear_autoencoder import SolvedAutoencoder
from recbole_cadmr.layers.low_rank_autoencoder import LowRankAutoencoder, LowRankPlusSparse, entries
from recbole_cadmr.layers.score_paths import ScorePath

AUTOENCODER, BEFORE, AFTER, BOTH, DIRECT = "autoencoder", "content before", "content after", "content both", "direct"
ROWS = "content rows"  # what the autoencoder makes of content that counts as rows
_BLOCK = 512  # rows multiplied out at once
TRUNCATED = "truncated"  # what a sparse fit leaves out of its rows

_OF_CONTENT = (ROWS, BEFORE, AFTER, BOTH, DIRECT, TRUNCATED)

Autoencoder: TypeAlias = Tensor | LowRankAutoencoder | SolvedAutoencoder


def weighed(paths: list[ScorePath], content_weight: float) -> list[ScorePath]:
    """The paths, of which those that content adds count as much: all of a closed form but the autoencoder alone."""
    if content_weight == 1.0:
        return paths
    return [
        replace(path, contributions=content_weight * path.contributions) if path.name in _OF_CONTENT else path
        for path in paths
    ]


class ContentPaths:
    """``C + a H C + b C A' + a b H C A' + d H`` of :class:`ContentAutoencoder`, term by term.

    C is the autoencoder with its scores damped: that of the users' rows alone, and what content as further rows adds.
    ``A = sum_m A_m`` is the attention by modality, and ``H = sum_m H_m`` with ``H_m = A_m + two_hop A_m A``: a second
    hop counts for the modality of the first. In the terms of a single A or H every modality is a path of its own.

    Args:
        fitted: the autoencoder [I, I] and, if content counts as rows, that of the users' rows alone; dense, with the
            damping in them, or such whose entries are computed when asked for.
        damping: [I], of the columns.
        parts: A_m [I, I] by modality.
    """

    def __init__(
        self,
        fitted: Sequence[Autoencoder],
        damping: np.ndarray,
        parts: Mapping[str, sp.csr_matrix],
        settings: Mapping[str, Any],
    ) -> None:
        self._B, self._alone = fitted[0], fitted[-1]
        self._damping, self._settings = damping, settings
        self._A = {name: part.astype(np.float64).tocsr() for name, part in parts.items()}
        n_items = len(damping)
        A = sum(self._A.values(), sp.csr_matrix((n_items, n_items))).tocsr()
        first_hops = self._A.items()
        self._H = {name: two_hops(part, settings["two_hop"], A) for name, part in first_hops}

    def of(self, chosen: np.ndarray, item: int, weights: Tensor | LowRankPlusSparse) -> list[ScorePath] | None:
        """What each path adds to the score of ``item`` in a row of the items ``chosen`` [n]; None if it is not solved.

        Args:
            weights: the matrix that scores are computed by. What it has more than the paths is one of its own: entries
                that a sparse fit leaves out, and rounding in float32, which the autoencoder's path takes.
        """
        a, b, d = (self._settings[name] for name in ("enhancement", "output_smoothing", "direct_path"))
        H = {name: part[chosen] for name, part in self._H.items()}
        A = {name: part[item] for name, part in self._A.items()}
        rows = np.unique(np.concatenate([chosen, *(part.indices for part in H.values())]))
        columns = np.unique(np.concatenate([[item], *(part.indices for part in A.values())]))
        C = self._entries(self._B, rows, columns)
        if C is None:
            return None
        of_item = C[:, np.searchsorted(columns, item)]
        at = np.searchsorted(rows, chosen)
        near = {name: part[:, rows] for name, part in H.items()}
        smoothing = {name: part[:, columns].toarray().ravel() for name, part in A.items()}
        of_neighbours = C @ sum(smoothing.values(), np.zeros(len(columns)))
        before = {name: a * (part @ of_item) for name, part in near.items()}
        after = {name: b * (C[at] @ weight) for name, weight in smoothing.items()}
        both = a * b * sum((part @ of_neighbours for part in near.values()), np.zeros(len(chosen)))
        direct = {name: d * part[:, [item]].toarray().ravel() for name, part in H.items()}
        autoencoder, paths = of_item[at], []
        if self._alone is not self._B:
            alone = self._entries(self._alone, chosen, np.array([item]))
            if alone is None:
                return None
            autoencoder, paths = alone[:, 0], [ScorePath(ROWS, "", autoencoder - alone[:, 0])]
        paths += [ScorePath(BEFORE, name, values) for name, values in before.items()]
        paths += [ScorePath(AFTER, name, values) for name, values in after.items()]
        paths += [ScorePath(BOTH, "", both)] if near else []
        paths += [ScorePath(DIRECT, name, values) for name, values in direct.items()]
        rest = entries(weights, chosen, item) - sum((path.contributions for path in paths), autoencoder)
        if isinstance(weights, LowRankPlusSparse):
            return [ScorePath(AUTOENCODER, "", autoencoder), *paths, ScorePath(TRUNCATED, "", rest)]
        return [ScorePath(AUTOENCODER, "", autoencoder + rest), *paths]

    def terms_at(self, places: sp.csr_matrix) -> dict[tuple[str, str], np.ndarray]:
        """What each path but the autoencoder adds to the entries that are stored in a matrix [I, I], of a dense B.

        Returns:
            float32 [nnz] by path and modality, without those that are 0 throughout.
        """
        assert isinstance(self._B, Tensor)
        a, b, d = (self._settings[name] for name in ("enhancement", "output_smoothing", "direct_path"))
        C = self._B.cpu().numpy()
        A, H = ({name: part.astype(np.float32) for name, part in parts.items()} for parts in (self._A, self._H))
        smoothing = sum(A.values(), sp.csr_matrix(places.shape, dtype=np.float32))
        terms: dict[tuple[str, str], list[np.ndarray]] = {}
        for start in range(0, len(C), _BLOCK):
            block = slice(start, start + _BLOCK)
            at = places[block].tocoo()
            found: dict[tuple[str, str], np.ndarray] = {}
            if isinstance(self._alone, Tensor) and self._alone is not self._B:
                found[ROWS, ""] = (C[block] - self._alone[block].cpu().numpy())[at.row, at.col]
            before = {name: part[block] @ C for name, part in H.items()}
            found |= {(BEFORE, name): a * rows[at.row, at.col] for name, rows in before.items()}
            rows = C[block].T
            found |= {(AFTER, name): b * (part @ rows)[at.col, at.row] for name, part in A.items()}
            if before:
                both = smoothing @ sum(before.values()).T
                found[BOTH, ""] = a * b * both[at.col, at.row]
            direct = {name: np.asarray(part[block][at.row, at.col]).ravel() for name, part in H.items()}
            found |= {(DIRECT, name): d * values for name, values in direct.items()}
            for name, values in found.items():
                terms.setdefault(name, []).append(values.astype(np.float32))
        joined = {name: np.concatenate(parts) for name, parts in terms.items()}
        return {name: values for name, values in joined.items() if values.any()}

    def _entries(self, B: Autoencoder, rows: np.ndarray, columns: np.ndarray) -> np.ndarray | None:
        """Damped, at these rows [n] and columns [m]: float64 [n, m]; None if they are not solved."""
        if isinstance(B, Tensor):
            place = (torch.from_numpy(index).to(B.device) for index in (rows, columns))
            return B[next(place)][:, next(place)].double().cpu().numpy()
        found = B.entries(rows, columns)
        return None if found is None else found * self._damping[columns]
