"""The closed form behind LinearCADMR: content attention before, behind and beside a linear autoencoder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_cadmr.data.order import by_recency, centred
from recbole_cadmr.data.rows import RowBatch
from recbole_cadmr.errors import UserError
from recbole_cadmr.layers.content_graph import item_degree, two_hops
from recbole_cadmr.layers.content_paths import ContentPaths
from recbole_cadmr.layers.linear_autoencoder import FitRows, SolvedAutoencoder, exact_autoencoder
from recbole_cadmr.layers.low_rank_autoencoder import (
    BlockMap,
    LowRankAutoencoder,
    LowRankPlusSparse,
    in_threads,
    leading_components,
    with_content,
)
from recbole_cadmr.layers.score_paths import ScorePath
from recbole_cadmr.memory import free_bytes

_BLOCK = 1024  # items smoothed at once
_LARGEST = 20_000  # items of a catalogue that is fitted exactly without being asked to; time grows with their cube
_SEARCHED = 10_000  # and of one whose settings are chosen by exact fits: the order of settings shows in others, too
_ENTRIES = 2**24  # of a sparse fit's components unless told otherwise
_LEAST, _MOST = 64, 512  # and how many components that makes
_A_NEIGHBOUR = 5  # entries that a row of a sparse fit keeps for each neighbour


class ContentAutoencoder:
    """Scores ``R S`` with ``S = (I + a H) B (I + b A') + d H``, fitted in closed form.

    A is an attention of items to items by content, ``H = A + two_hop A A``, and B the ridge autoencoder of the
    training rows with zero diagonal (EASE, Steck 2019). ``R + a R H`` is CADMR's enhanced rating matrix: a row that
    already holds the neighbours of what the user chose. Rows are scaled by ``degree^-row_scaling`` and columns by
    ``degree^-item_scaling`` for the fit. Content counts in it, too, as rows ``content_rows F'`` below those of the
    users (CEASE, Jeunen et al. 2020), and the order in which users have chosen at ``direction`` (:class:`FitRows`). The
    rows R that are scored count recent entries for more with ``recency``.

    Args:
        R: binary training rows [U, I].
        attention: gives the parts of A [I, I] for some settings, by modality and without a diagonal, none for no
            attention; and the weight of each modality in it.
        features: gives F [I, d], the content of the items, if it is to count as rows.
        settings: values of the settings in ``properties/model/LinearCADMR.yaml``.
        order: the places of the entries of R in their rows, of :func:`data.order.ranked`; None if these are not known.

    Attributes:
        R, order: the training rows, as given.
        attention, features: as given.
        settings: what the next fit uses; :meth:`use` changes it.
        weights: S, dense or as low rank plus sparse; None before the fit.
        map_blocks: computes the rows of the sparse part.
    """

    def __init__(
        self,
        R: sp.csr_matrix,
        attention: Callable[[Mapping[str, Any]], tuple[dict[str, sp.csr_matrix], dict[str, float]]],
        features: Callable[[], Tensor],
        settings: Mapping[str, Any],
        device: torch.device,
        order: sp.csr_matrix | None = None,
    ) -> None:
        self.R, self.attention, self.features, self._device = R, attention, features, device
        self.order = order
        self.weights: Tensor | LowRankPlusSparse | None = None
        self.map_blocks: BlockMap = in_threads
        self._components: tuple[list[Any], tuple[np.ndarray, np.ndarray]] | None = None
        self._paths: ContentPaths | None = None
        self._solved: ContentPaths | None = None
        self._attended: Attended | None = None
        self._alone: Tensor | LowRankAutoencoder | None = None
        self._features: np.ndarray | None = None
        self.settings: dict[str, Any] = {}
        self.use(settings)

    def use(self, settings: Mapping[str, Any]) -> None:
        """Take these settings for the next fit."""
        self.settings, self._attended = dict(settings), None
        self._paths = self._solved = self._alone = None

    def attended(self) -> Attended:
        """The attention in use, found when it is first asked for: scores of what is fitted do not need it."""
        if self._attended is None:
            parts, weights = self.attention(self.settings)
            A = self._sum(parts)
            self._attended = Attended(parts, weights, A, two_hops(A, self.settings["two_hop"]))
        return self._attended

    @property
    def A(self) -> sp.csr_matrix:
        """The attention in use, the sum of its parts."""
        return self.attended().A

    @property
    def _H(self) -> sp.csr_matrix:
        return self.attended().H

    @property
    def modality_weights(self) -> dict[str, float]:
        """By name, of the attention in use."""
        return self.attended().modality_weights

    def attention_matrix(self, settings: Mapping[str, Any]) -> sp.csr_matrix:
        """A [I, I] for other settings than those in use."""
        return self._sum(self.attention(settings)[0])

    def _sum(self, parts: Mapping[str, sp.csr_matrix]) -> sp.csr_matrix:
        nothing = sp.csr_matrix(2 * (self.R.shape[1],), dtype=np.float32)
        return sum(parts.values(), nothing).tocsr()

    def rows(self, settings: Mapping[str, Any]) -> sp.csr_matrix:
        """What users are scored by [U, I]: R, of which recent entries count for more with ``recency``.

        Raises:
            UserError: if order counts that is not known.
        """
        return by_recency(self._known_order(), settings["recency"]) if settings["recency"] else self.R

    def _known_order(self) -> sp.csr_matrix:
        if self.order is None:
            raise UserError(
                "direction and recency count by the order of interactions, which is not known; set both to 0"
            )
        return self.order

    @property
    def has_content(self) -> bool:
        """Whether any item attends to another one."""
        return bool(self.A.nnz)

    def fit(self, kind: str | None = None) -> str:
        """Fit :attr:`weights` and return how: ``exact``, by Cholesky, or ``low rank``, as low rank plus sparse.

        Args:
            kind: which it has to be; if not given, the setting ``fit`` and the free memory say.

        Raises:
            UserError: if the Gram matrix is singular, or an exact fit is asked for that does not fit in memory.
        """
        self.weights = self._paths = self._solved = self._alone = None  # before free memory is looked at
        self.attended()
        B = self.autoencoder(self.settings, kind)
        damping = self._damping()
        if isinstance(B, LowRankAutoencoder):
            self.weights = self._low_rank(B, damping)
            return "low rank"  # not "sparse", which checkpoints of earlier versions call another fit
        B *= torch.from_numpy(damping).to(B)
        self.weights = self._with_content(B).float()
        return "exact"

    def autoencoder(self, settings: Mapping[str, Any], kind: str | None = None) -> Tensor | LowRankAutoencoder:
        """B [I, I] for unscaled rows, dense or low rank plus sparse as in :meth:`fit`."""
        given = self._scaled_rows(settings)
        X, F, left = given.X, given.F, given.scale
        if not self.is_dense(kind, F.shape[1]):
            return LowRankAutoencoder.fit(given, self._leading_components(X, F, settings))
        gram = as_batch((X.T @ X).tocsr(), torch.from_numpy(F).to(self._device)).dense  # on the device alone
        if F.shape[1]:
            content = torch.from_numpy(F).to(gram)
            gram.addmm_(content, content.T)
        B = exact_autoencoder(gram, given.reg_weight, skew=given.skew())
        B *= torch.from_numpy(left).to(B)[:, None]
        B /= torch.from_numpy(left).to(B)
        return B

    def _scaled_rows(self, settings: Mapping[str, Any]) -> FitRows:
        """What is fitted.

        Raises:
            UserError: if order counts that is not known.
        """
        left = item_degree(self.R) ** -settings["item_scaling"]
        rows = np.maximum(np.asarray(self.R.sum(1)).ravel(), 1.0) ** -settings["row_scaling"]
        scaled = (sp.diags(rows) @ self.R @ sp.diags(left)).tocsr().astype(np.dtype(settings["fit_dtype"]))
        # The same ridge for every item_scaling, relative to the size of the Gram matrix.
        unscaled, size = (self.R.multiply(rows[:, None] ** 2)).sum(), scaled.multiply(scaled).sum()
        F = (_content_rows(settings) * left[:, None] * self._content(settings)).astype(scaled.dtype)
        Y = None
        if settings["direction"]:
            ordered = settings["direction"] * sp.diags(rows) @ centred(self._known_order()) @ sp.diags(left)
            Y = ordered.tocsr().astype(scaled.dtype)
        return FitRows(scaled, F, left, settings["reg_weight"] * float(size / max(unscaled, 1e-12)), Y)

    def _content(self, settings: Mapping[str, Any]) -> np.ndarray:
        """F [I, d], without columns if it does not count as rows; kept, as it is the same whatever it counts for."""
        if not _content_rows(settings):
            return np.zeros((self.R.shape[1], 0))
        if self._features is None:
            self._features = self.features().cpu().numpy()
        return self._features

    def _leading_components(
        self, X: sp.csr_matrix, F: np.ndarray, settings: Mapping[str, Any]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Those of what is fitted, which the settings scale; kept, as one ridge after the other asks for the same."""
        rank = max(self._rank, 2 * F.shape[1])  # or content would leave none to what users chose
        of = [*(settings[name] for name in ("row_scaling", "item_scaling", "fit_dtype")), _content_rows(settings), rank]
        if self._components is None or self._components[0] != of:
            self._components = None
            self._components = of, leading_components(X, F, rank)
        return self._components[1]

    @property
    def _rank(self) -> int:
        """Components of a sparse fit; content that counts as rows has at most half of them."""
        n_items = self.R.shape[1]
        return self.settings["sparse_rank"] or min(max(_ENTRIES // n_items, _LEAST), _MOST)

    @property
    def _row_entries(self) -> int:
        """Entries of an item's row in a sparse fit: content brings further ones than those of its neighbours."""
        return min(_A_NEIGHBOUR * int(self.settings["sparse_neighbours"]), self.R.shape[1])

    def is_dense(self, kind: str | None = None, n_content: int = 0) -> bool:
        """Whether S is fitted, as in :meth:`fit`, and kept as a dense matrix; says what that and a sparse one take.

        Args:
            n_content: columns of the content that counts as rows.
        """
        kind = kind or self.settings["fit"]
        n_users, n_items = self.R.shape
        needed = 3 * n_items**2 * np.dtype(self.settings["fit_dtype"]).itemsize
        # Both sides of the components, held a few times; the rows kept.
        sparse = 4 * (max(self._rank, 2 * n_content) + n_content) * (2 * n_users + 4 * n_items)
        sparse += 8 * n_items * self._row_entries
        available = free_bytes(self._device)
        sizes = (
            f"of {available / 2**30:.1f} GiB free, the exact fit of {n_items:,} items needs {needed / 2**30:.1f} GiB, "
            f"the sparse one {sparse / 2**30:.1f} GiB"
        )
        fits = needed < 0.8 * available
        if kind == "exact" and not fits:
            raise UserError(f"{sizes}; choose fit: sparse")
        quick = n_items <= _LARGEST or self._device.type == "cuda"
        dense = kind == "exact" or (kind == "auto" and fits and quick)
        if not dense and sparse > available:
            raise UserError(f"{sizes}; free some, or lower sparse_neighbours, sparse_rank and content_rows (to 0)")
        fit = f"{sizes}; fit: {'exact' if dense else 'sparse'}"
        logging.getLogger("recbole_cadmr").info(fit, extra={"screen": ""})
        return dense

    @property
    def kind_of_search(self) -> str | None:
        """Which kind of fit settings are chosen by; None for the one that they are chosen for."""
        quick = self.R.shape[1] <= _SEARCHED or self._device.type == "cuda" or self.settings["fit"] == "exact"
        return None if quick else "sparse"

    def _low_rank(self, B: LowRankAutoencoder, damping: np.ndarray) -> LowRankPlusSparse:
        """``(I + a H) B diag(damping) (I + b A') + d H`` of a B that is never formed."""
        settings, one = self.settings, sp.identity(len(damping), np.float32, "csr")
        enhancing = (one + settings["enhancement"] * self._H).tocsr()
        smoothing = (one + settings["output_smoothing"] * self.A.T).tocsr()
        direct = (settings["direct_path"] * self._H).tocsr()
        n_entries = self._row_entries
        return with_content(B, enhancing, damping, smoothing, direct, n_entries, self._device, self.map_blocks)

    def _with_content(self, S: Tensor) -> Tensor:
        """``(I + a H) S (I + b A') + d H`` of a dense S, in its place."""
        settings = self.settings
        if settings["enhancement"] and self._H.nnz:
            S.add_(as_batch(self._H, S).matmul(S), alpha=settings["enhancement"])
        if settings["output_smoothing"] and self.A.nnz:
            A = as_batch(self.A, S)
            for block in S.split(_BLOCK):
                block += settings["output_smoothing"] * A.matmul(block.T.contiguous()).T
        H = as_batch(self._H, S)
        S[H.row, H.column] += settings["direct_path"] * H.value
        return S

    def scores(self, batch: RowBatch, content_weight: float = 1.0, padding: int = 0) -> Tensor:
        """Scores [B, padding + I] of a batch of rows of the rating matrix; 0 before the fit.

        Args:
            padding: columns of 0 in front of the items', such as that of the padding item.
            content_weight: factor of all that content adds to the autoencoder's scores. Another one than 1 takes a fit
                of the autoencoder alone, which is kept.
        """
        if self.weights is None:
            return torch.zeros(batch.n_rows, padding + batch.n_columns, device=batch.value.device)
        if isinstance(self.weights, Tensor):
            scores = batch.matmul(self.weights)
            scores = F.pad(scores, (padding, 0)) if padding else scores
        else:
            scores = self.weights.product(batch.csr, padding)
        if content_weight != 1.0:
            B = self._autoencoder_alone()
            if isinstance(B, Tensor):
                alone = batch.matmul(B)
            else:
                alone = torch.from_numpy(B.product(batch.csr) * self._damping())
            scores[:, padding:] = torch.lerp(alone.to(scores), scores[:, padding:], content_weight)
        return scores

    def paths(self, chosen: np.ndarray, item: int) -> list[ScorePath]:
        """What each way through the closed form adds to the score of an item in a row; none before the fit.

        They add up to the score. Of an exact fit the few entries of the autoencoder that matter are solved for; else it
        is fitted once more when this is first asked for, and kept; twice, with and without them, if content counts as
        rows.

        Args:
            chosen: int64 [n], the items of the row.
            item: its column.

        Raises:
            UserError: if there is no memory for this fit.
        """
        if self.weights is None:
            return []
        parts = self.attended().parts
        if self._paths is None and isinstance(self.weights, Tensor):
            if self._solved is None:
                both = [self.settings, self._without_rows()] if _content_rows(self.settings) else [self.settings]
                solved = [SolvedAutoencoder(self._scaled_rows(settings)) for settings in both]
                self._solved = ContentPaths(solved, self._damping(), parts, self.settings)
            if (paths := self._solved.of(chosen, item, self.weights)) is not None:
                return paths
        paths = self._prepared_paths().of(chosen, item, self.weights)
        assert paths is not None
        return paths

    def terms_at(self, places: sp.csr_matrix) -> dict[tuple[str, str], np.ndarray]:
        """What each path but the autoencoder adds to some entries of S; see :meth:`ContentPaths.terms_at`."""
        return self._prepared_paths().terms_at(places)

    def _prepared_paths(self) -> ContentPaths:
        if self._paths is None:
            parts, alone = self.attended().parts, self._autoencoder_alone()
            fitted = [self._fitted(self.settings), alone] if _content_rows(self.settings) else [alone]
            self._paths = ContentPaths(fitted, self._damping(), parts, self.settings)
        return self._paths

    def _autoencoder_alone(self) -> Tensor | LowRankAutoencoder:
        """The autoencoder of the users' rows alone, without content; kept."""
        if self._alone is None:
            self._alone = self._fitted(self._without_rows())
        return self._alone

    def _fitted(self, settings: Mapping[str, Any]) -> Tensor | LowRankAutoencoder:
        """An autoencoder of the kind of the weights, with the damping in it if it is dense."""
        B = self.autoencoder(settings, "exact" if isinstance(self.weights, Tensor) else "sparse")
        return B.mul_(torch.from_numpy(self._damping()).to(B)).float() if isinstance(B, Tensor) else B

    def _without_rows(self) -> dict[str, Any]:
        """The settings in use, but that content does not count as rows."""
        return {**self.settings, "content_rows": 0.0}

    def _damping(self) -> np.ndarray:
        return popularity_damping(self.R, self.settings)


@dataclass(frozen=True)
class Attended:
    """An attention [I, I]: its parts by modality, the weights of modalities, the sum, and with its second hop."""

    parts: dict[str, sp.csr_matrix]
    modality_weights: dict[str, float]
    A: sp.csr_matrix
    H: sp.csr_matrix


def _content_rows(settings: Mapping[str, Any]) -> float:
    """What content counts for as rows: nothing where items do not attend to each other by it."""
    return 0.0 if settings["attention"] == "none" else settings["content_rows"]


def popularity_damping(R: sp.csr_matrix, settings: Mapping[str, Any]) -> np.ndarray:
    """What the score of each item [I] is multiplied by: ``degree^-popularity_damping``, 1 on average."""
    damping = item_degree(R) ** -settings["popularity_damping"]
    return damping / damping.mean()


def as_batch(matrix: sp.csr_matrix, like: Tensor) -> RowBatch:
    """A sparse matrix as a batch of rows, on the device and in the precision of ``like``."""
    entries = matrix.tocoo()
    row, column = (torch.from_numpy(index.astype(np.int64)).to(like.device) for index in (entries.row, entries.col))
    return RowBatch(row, column, torch.from_numpy(entries.data).to(like), *matrix.shape)
