"""Total Correlation against known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from recbole_cadmr.errors import UserError
from recbole_cadmr.layers.total_correlation import (
    DensityRatio,
    correlation,
    covariance_penalty,
    gaussian_total_correlation,
    total_correlation_bias,
)


def with_correlation(matrix, n=4000, seed=0):
    """Rows whose sample correlation matrix is exactly ``matrix``."""
    rows = torch.from_numpy(np.random.default_rng(seed).standard_normal((n, len(matrix))))
    rows -= rows.mean(0)
    white = rows @ torch.linalg.inv(torch.linalg.cholesky(rows.T @ rows / n)).T
    return white @ torch.linalg.cholesky(torch.as_tensor(matrix, dtype=torch.float64)).T


def test_independent_dimensions_give_zero():
    h = with_correlation(torch.eye(6))
    assert gaussian_total_correlation([h], shrinkage=0).item() == pytest.approx(0, abs=1e-9)
    assert covariance_penalty([h], shrinkage=0).item() == pytest.approx(0, abs=1e-9)


def test_two_dimensions_with_correlation_point_eight():
    h = with_correlation([[1, 0.8], [0.8, 1]])
    assert gaussian_total_correlation([h], shrinkage=0).item() == pytest.approx(-0.5 * math.log(1 - 0.64), abs=1e-9)
    assert gaussian_total_correlation([h], shrinkage=0).item() == pytest.approx(0.5108, abs=1e-4)


def test_the_chain_rule_holds_exactly():
    torch.manual_seed(0)
    mix = torch.randn(300, 5) @ torch.randn(5, 9) + torch.randn(300, 9)
    latents = [mix[:, :4], mix[:, 4:6], mix[:, 6:]]
    within, across, both = (gaussian_total_correlation(latents, scope).item() for scope in ("within", "across", "both"))
    assert within + across == pytest.approx(both, rel=1e-12)
    assert min(within, across) > 0.1
    alone = sum(gaussian_total_correlation([h]).item() for h in latents)
    assert within == pytest.approx(alone, rel=1e-12)


def test_mutual_information_of_two_latents():
    h = with_correlation([[1, 0, 0.6], [0, 1, 0], [0.6, 0, 1]])
    value = gaussian_total_correlation([h[:, :2], h[:, 2:]], "across", shrinkage=0)
    assert value.item() == pytest.approx(-0.5 * math.log(1 - 0.36), abs=1e-9)


def test_rescaling_a_dimension_changes_nothing():
    h = with_correlation([[1, 0.5, 0.1], [0.5, 1, 0.3], [0.1, 0.3, 1]])
    scaled = h * torch.tensor([1e3, 1.0, 0.05]) + torch.tensor([5.0, 0.0, -7.0])
    for measure in (gaussian_total_correlation, covariance_penalty):
        assert measure([scaled]).item() == pytest.approx(measure([h]).item(), rel=1e-9)


def test_a_collapsed_latent_stays_finite_and_so_does_its_gradient():
    h = torch.zeros(50, 4, requires_grad=True)
    value = gaussian_total_correlation([h + 1e-12 * torch.randn(50, 4)])
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(h.grad).all()


def test_finite_sample_bias():
    assert total_correlation_bias(256, 64) == pytest.approx(14.07 - 9.720, abs=0.01)
    torch.manual_seed(1)
    plug_in = [gaussian_total_correlation([torch.randn(256, 64)], shrinkage=0).item() for _ in range(20)]
    assert sum(plug_in) / 20 == pytest.approx(total_correlation_bias(256, 64), rel=0.02)
    assert math.isnan(total_correlation_bias(64, 64))


def test_the_corrected_estimate_finds_the_true_value():
    """Known answer for 64 dimensions in 256 rows: true 9.671, plug-in 14.07, corrected 9.720."""
    d, true = 64, 9.671
    rho = math.sqrt(1 - math.exp(-2 * true / (d - 1)))  # neighbours in a chain, each pair -1/2 log(1 - rho^2) apart
    steps = torch.arange(d, dtype=torch.float64)
    factor = torch.linalg.cholesky(rho ** (steps[:, None] - steps).abs())
    assert -factor.diagonal().log().sum().item() == pytest.approx(true, abs=1e-9)
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(40, 256, d, generator=generator, dtype=torch.float64) @ factor.T
    plug_in = sum(gaussian_total_correlation([h], shrinkage=0).item() for h in rows) / len(rows)
    assert plug_in == pytest.approx(14.07, abs=0.25)
    assert plug_in - total_correlation_bias(256, d) == pytest.approx(true, abs=0.25)


def test_no_rows_have_no_correlation():
    none = torch.empty(0, 3)
    assert gaussian_total_correlation([none, none], "across").item() == 0
    assert covariance_penalty([none]).item() == 0


def test_more_dimensions_than_rows_need_shrinkage():
    torch.manual_seed(0)
    h = torch.randn(10, 20)
    with pytest.raises(UserError, match="tc_shrinkage"):
        gaussian_total_correlation([h], shrinkage=0)
    assert math.isfinite(gaussian_total_correlation([h]).item())
    assert math.isnan(gaussian_total_correlation([h * math.nan]).item())


def test_covariance_penalty_is_the_second_order_of_the_gaussian_form():
    def ratio(r):
        h = with_correlation([[1, r, 0], [r, 1, r / 2], [0, r / 2, 1]])
        return covariance_penalty([h], shrinkage=0).item() / gaussian_total_correlation([h], shrinkage=0).item()

    assert ratio(0.02) == pytest.approx(1, abs=1e-3)
    assert ratio(0.6) < 0.9  # further out it is not the same


def test_correlation_matrix_agrees_with_numpy():
    h = torch.randn(40, 5) @ torch.randn(5, 5)
    ours = correlation(h, shrinkage=0.1)
    theirs = np.corrcoef(h.double().numpy(), rowvar=False)
    expected = 0.9 * theirs + 0.1 * np.eye(5)
    assert np.allclose(ours.numpy(), expected, atol=1e-6)


def test_only_the_discriminator_sees_dependence_without_correlation():
    torch.manual_seed(0)
    t = torch.randn(2000, 1)
    latents = [t, t.square() + 0.1 * torch.randn(2000, 1)]
    independent = [t, torch.randn(2000, 1)]
    assert gaussian_total_correlation(latents, "across").item() < 0.01
    estimates = {}
    for name, pair in (("dependent", latents), ("independent", independent)):
        ratio = DensityRatio([1, 1], hidden=32)
        optimiser = torch.optim.Adam(ratio.parameters(), 0.01)
        for _ in range(200):
            optimiser.zero_grad()
            tc, loss = ratio(pair, "across")
            loss.backward()
            optimiser.step()
        estimates[name] = tc.item()
    assert estimates["dependent"] > 0.8
    assert abs(estimates["independent"]) < 0.1


def test_gradients_of_the_density_ratio_go_where_they_should():
    torch.manual_seed(0)
    h = torch.randn(100, 3, requires_grad=True)
    ratio = DensityRatio([3])
    tc, loss = ratio([h])
    (into_weights,) = torch.autograd.grad(tc, [ratio.network[0].weight], retain_graph=True, allow_unused=True)
    (into_latents,) = torch.autograd.grad(loss, [h], retain_graph=True, allow_unused=True)
    assert into_weights is None and into_latents is None
    assert torch.autograd.grad(tc, [h])[0].abs().sum() > 0
    assert torch.autograd.grad(loss, [ratio.network[0].weight])[0].abs().sum() > 0


@pytest.mark.parametrize(("scope", "within", "across"), [("within", True, False), ("across", False, True)])
def test_scopes_of_the_density_ratio_shuffle_what_they_say(scope, within, across):
    torch.manual_seed(0)
    a = torch.randn(3000, 2)
    a[:, 1] = a[:, 0] if within else a[:, 1]
    b = a[:, :1] + 0.0 if across else torch.randn(3000, 1)
    other = DensityRatio([2, 1], hidden=32)
    optimiser = torch.optim.Adam(other.parameters(), 0.01)
    opposite = "across" if scope == "within" else "within"
    values = {}
    for name in (scope, opposite):
        for _ in range(150):
            optimiser.zero_grad()
            tc, loss = other([a, b], name)
            loss.backward()
            optimiser.step()
        values[name] = tc.item()
    assert values[scope] > 1 and abs(values[opposite]) < 0.3
