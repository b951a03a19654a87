"""Total Correlation of latents: how far their dimensions are from independent.

``TC(h) = KL(q(h) || prod_j q(h_j))``. Estimators: the Gaussian closed form, its second-order expansion (a penalty on
off-diagonal covariance), and the density ratio of FactorVAE (Kim & Mnih, 2018). All take latents of all items.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from recbole_cadmr.errors import UserError


def correlation(h: Tensor, shrinkage: float = 1e-3, variance_floor: float = 1e-6) -> Tensor:
    """Correlation matrix of ``h`` [n, d] in float64, shrunk towards the identity.

    A dimension whose variance is below ``variance_floor`` counts as having that variance: its correlations vanish
    with it, and a collapsed latent stays finite. Rescaling a dimension above the floor changes nothing. Without rows
    there is nothing to correlate: the identity.
    """
    if len(h) == 0:
        return torch.eye(h.shape[1], dtype=torch.float64, device=h.device)
    centred = h.double() - h.double().mean(0)
    scaled = centred / centred.square().mean(0).clamp(min=variance_floor).sqrt()
    matrix = scaled.T @ scaled / len(h)
    off = matrix - torch.diag(matrix.diagonal())
    return (1 - shrinkage) * off + torch.eye(h.shape[1], dtype=off.dtype, device=off.device)


def _neg_half_log_det(matrix: Tensor) -> Tensor:
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if failed:
        if matrix.isfinite().all():
            raise UserError("the correlation matrix of the latents is singular; choose a larger tc_shrinkage")
        return matrix.sum()  # NaN: the training diverged, which the check of the loss reports
    return -factor.diagonal().log().sum()


def _scoped(measure: Callable[[Tensor], Tensor], latents: Sequence[Tensor], scope: str, *options: float) -> Tensor:
    """``measure`` of the whole correlation matrix, of its diagonal blocks, or of what lies between them."""
    joint, widths = correlation(torch.cat(list(latents), 1), *options), [h.shape[1] for h in latents]
    total = measure(joint)
    if scope == "both":
        return total
    blocks = (rows.split(widths, 1)[m] for m, rows in enumerate(joint.split(widths)))
    within = torch.stack([measure(block) for block in blocks]).sum()
    return within if scope == "within" else total - within


def gaussian_total_correlation(
    latents: Sequence[Tensor], scope: str = "both", shrinkage: float = 1e-3, variance_floor: float = 1e-6
) -> Tensor:
    """Total Correlation in nats under a Gaussian: ``-1/2 log det`` of the correlation matrix.

    Args:
        latents: [n, d_m] each, rows aligned over the same items.
        scope: ``within`` sums each latent's own TC, ``across`` is the mutual information between the latents
            (``1/2 (sum_m log|S_mm| - log|S|)``), ``both`` is the TC of all dimensions together: by the chain rule
            exactly the sum of the two.

    Raises:
        UserError: if the matrix is singular, as without shrinkage it is when there are no more rows than dimensions.
    """
    return _scoped(_neg_half_log_det, latents, scope, shrinkage, variance_floor)


def covariance_penalty(
    latents: Sequence[Tensor], scope: str = "both", shrinkage: float = 1e-3, variance_floor: float = 1e-6
) -> Tensor:
    """``1/4 sum_{i != j} S_ij^2``: the second-order expansion of the Gaussian TC about independence."""

    def off_diagonal(S: Tensor) -> Tensor:
        return (S.square().sum() - S.diagonal().square().sum()) / 4

    return _scoped(off_diagonal, latents, scope, shrinkage, variance_floor)


def total_correlation_bias(n: int, d: int) -> float:
    """Expected excess of the plug-in Gaussian TC of ``d`` independent dimensions estimated from ``n`` rows.

    ``1/2 sum_j [psi(nu/2) - psi((nu - j + 1)/2)]``, ``nu = n - 1``, from the expected log-determinant of a Wishart
    matrix. NaN if there are not more rows than dimensions.
    """
    nu = n - 1
    if nu < d:
        return float("nan")
    j = torch.arange(1, d + 1, dtype=torch.float64)
    half = torch.tensor(nu / 2, dtype=torch.float64)
    return float(0.5 * (torch.digamma(half) - torch.digamma((nu - j + 1) / 2)).sum())


class DensityRatio(nn.Module):
    """FactorVAE's discriminator between joint latents and latents whose parts were shuffled over items.

    Both losses come from one pass and one optimiser: the TC term sees the discriminator's weights as constants, the
    discriminator's own loss sees the latents as constants.

    Args:
        widths: d_m of each latent.
        hidden: units of each of the two hidden layers.
    """

    def __init__(self, widths: Sequence[int], hidden: int = 128) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(sum(widths), hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, 1),
        )
        self._widths = list(widths)

    def forward(self, latents: Sequence[Tensor], scope: str = "both") -> tuple[Tensor, Tensor]:
        """Total Correlation in nats (the mean log density ratio) and the discriminator's loss.

        ``across`` compares the latents with latents shuffled against each other, ``both`` with every dimension
        shuffled on its own; ``within`` compares the one with the other, which leaves the sum of the latents' own TC.
        """
        joint = torch.cat(list(latents), 1)
        if scope == "within":
            joint = self._shuffle_latents(joint)
        if scope == "across":
            product = self._shuffle_latents(joint)
        else:
            product = joint.gather(0, torch.rand_like(joint).argsort(0))
        constants = {name: value.detach() for name, value in self.network.named_parameters()}
        ratio = functional_call(self.network, constants, (joint,)).mean()
        real, fake = self.network(joint.detach()), self.network(product.detach())
        loss = F.softplus(-real).mean() + F.softplus(fake).mean()
        return ratio, loss

    def _shuffle_latents(self, joint: Tensor) -> Tensor:
        return torch.cat([h[torch.randperm(len(h), device=h.device)] for h in joint.split(self._widths, 1)], 1)
