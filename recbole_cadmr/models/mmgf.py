"""MM-GF: polynomial filters over graphs of items, by interactions and by each modality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from recbole_cadmr.data.modality import Modality
from recbole_cadmr.models.content import modality_shares
from recbole_cadmr.models.item_weights import Given, ItemWeightsRecommender

_ROUNDING = 10 * np.finfo(np.float32).eps
_ITERATIONS = 100  # of the power iteration; a graph's largest eigenvalue stands far above the others


class MMGF(ItemWeightsRecommender):
    """MM-GF (Roh, Kim, Park and Shin, *Training-free Graph Filtering via Multimodal Feature Refinement for Extremely
    Fast Multimodal Recommendation*, arXiv 2503.04406).

    ``W = f(P) + sum_m w_m f(P_m)`` with the filter ``f(P) = r sum_k coefficients[k - 1] (P / r)^k``, where r is the
    largest eigenvalue of P, so that frequencies lie between 0 and 1. P is the graph of items by interactions,
    ``(X'X)^s`` of the normalised training rows X, and P_m that by a modality, ``(X_m X_m')^s`` of its normalised
    features; powers by ``s``, the setting ``adjustment``, are entry by entry.

    Settings are declared in ``properties/model/MMGF.yaml``.
    """

    traits = replace(ItemWeightsRecommender.traits, item_matrices=5)

    @staticmethod
    def item_weights(given: Given) -> Tensor:
        """W [I, I]."""
        alpha, s = given.settings["normalisation"], given.settings["adjustment"]
        coefficients, modalities = given.settings["coefficients"], given.content.modalities()
        X = degree_normalised(given.R, alpha)
        W = polynomial(given.dense(X.T @ X).pow_(s), coefficients)
        for name, share in modality_shares(list(modalities), given.settings["modality_weights"]).items():
            X_m = torch.from_numpy(degree_normalised(refined(modalities[name]), alpha)).to(given.device)
            W += polynomial((X_m @ X_m.T).pow_(s), coefficients).mul_(given.settings["content_weight"] * share)
        return W


def polynomial(P: Tensor, coefficients: Sequence[float]) -> Tensor:
    """``r sum_k coefficients[k - 1] (P / r)^k`` [I, I] of the largest eigenvalue r of P, by Horner's rule.

    Args:
        P: symmetric, without entries below 0, [I, I].
    """
    result = coefficients[-1] * P
    if len(coefficients) > 1 and (largest := largest_eigenvalue(P)):
        P = P / largest
        result /= largest
        for coefficient in reversed(coefficients[:-1]):
            result.diagonal().add_(coefficient)
            result = result @ P
        result *= largest
    return result


def largest_eigenvalue(P: Tensor) -> float:
    """Of a symmetric P [I, I] without entries below 0, by power iteration."""
    vector = P.new_ones(len(P))
    for _ in range(_ITERATIONS):
        vector = P @ vector
        vector /= vector.norm().clamp(min=torch.finfo(P.dtype).tiny)
    return float(vector @ (P @ vector))


def refined(modality: Modality) -> np.ndarray:
    """Features [I, width] of at least 0: columns by median and interquartile range, moved up by the least entry.

    An item that lacks the modality has zeros.
    """
    present = modality.present[1:].numpy()
    features = modality.features[1:].numpy()
    low, median, high = np.quantile(features[present], [0.25, 0.5, 0.75], axis=0)
    # A column whose range is rounding is constant.
    scaled = (features[present] - median) / np.where(high - low > _ROUNDING, high - low, 1.0)
    result = np.zeros_like(features)
    result[present] = scaled - scaled.min()
    return result


def degree_normalised(X: sp.csr_matrix | np.ndarray, alpha: float) -> sp.csr_matrix | np.ndarray:
    """``D_rows^-alpha X D_columns^(alpha - 1)``, where D holds sums of rows or columns; float32."""
    rows, columns = (np.asarray(X.sum(axis), dtype=np.float64).ravel() for axis in (1, 0))
    left, right = (
        np.power(sums, power, where=sums > 0, out=np.zeros_like(sums))
        for sums, power in ((rows, -alpha), (columns, alpha - 1))
    )
    if sp.issparse(X):
        return (sp.diags(left) @ X @ sp.diags(right)).tocsr().astype(np.float32)
    return (left[:, None] * X * right).astype(np.float32)
