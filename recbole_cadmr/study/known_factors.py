"""How well the latents of CADMR show the known factors of a generated data set, and how disentangled."""

from __future__ import annotations

import numpy as np
import torch

from recbole_cadmr.errors import UserError
from recbole_cadmr.runs.session import Session

EXPLAINED, DISENTANGLED = "known factors explained", "disentanglement of known factors"
FIGURES = (EXPLAINED, DISENTANGLED)
_RIDGE = 1.0  # of a regression on standardised columns
_MODALITY = "factors"  # the file that `generate` writes beside the modalities


def measure(session: Session) -> dict[str, dict[str, float | None]]:
    """Regressions of the known factors on the latents h of all modalities; {} of a data set or model without either.

    ``EXPLAINED`` is the mean R squared over the factors, fitted on every second item and measured on the others.
    ``DISENTANGLED`` is Eastwood and Williams' disentanglement (DCI, ICLR 2018) with a linear regressor: with P_ij the
    share of |weight| that factor j has in latent i, the mean of ``1 - entropy_j(P_i) / log(factors)``, latents weighted
    by their sums of |weights|.
    """
    encode = getattr(session.model, "_latents", None)
    if encode is None:
        return {}
    try:
        factors = session.dataset.modality(_MODALITY).features[1:].numpy().astype(float)
    except UserError:  # a set whose factors nobody knows
        return {}
    with torch.no_grad():
        latents = torch.cat(encode(), dim=1).cpu().numpy().astype(float)
    return {"": dict(zip(FIGURES, agreement(latents, factors)))}


def agreement(latents: np.ndarray, factors: np.ndarray) -> tuple[float, float]:
    """``EXPLAINED`` and ``DISENTANGLED`` of latents [n, d] and factors [n, k]."""
    h, y = _standardised(latents), _standardised(factors)
    W = _regression(h[::2], y[::2])
    rest = y[1::2]
    unexplained = ((rest - h[1::2] @ W) ** 2).sum(0) / ((rest - y[::2].mean(0)) ** 2).sum(0)
    weight = np.abs(_regression(h, y))  # [d, k]
    total = weight.sum(1, keepdims=True)
    share = np.divide(weight, total, out=np.full_like(weight, 1 / weight.shape[1]), where=total > 0)
    entropy = -(share * np.log(share, out=np.zeros_like(share), where=share > 0)).sum(1)
    disentangled = 1 - entropy / np.log(weight.shape[1])
    return float((1 - unexplained).mean()), float((disentangled * total[:, 0]).sum() / max(total.sum(), 1e-12))


def _standardised(values: np.ndarray) -> np.ndarray:
    deviation = values.std(0)
    return (values - values.mean(0)) / np.where(deviation > 1e-6, deviation, 1.0)


def _regression(h: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.linalg.solve(h.T @ h + _RIDGE * np.eye(h.shape[1]), h.T @ y)
