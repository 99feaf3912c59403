"""Test discrepancies of two samples against closed forms and against scipy."""

import itertools
import math

import numpy as np
import pytest
import torch

from vaelab.objectives.mmd import MultiScaleMMD, estimate_mmd
from vaelab.objectives.swae import SWAE
from vaelab.objectives.wae_mmd import WAEMMD
from vaelab.runs.run import RunParts


def normal_kernel_mean(distance, variance, width, dim):
    """Compute E exp(-|a - b|^2 / width) for a - b ~ N(distance, variance I)."""
    ratio = width / (width + 2 * variance)
    return ratio ** (dim / 2) * math.exp(-(distance**2) / (width + 2 * variance))


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (0.7, 1.0), (0.0, 0.5), (1.0, 2.0)])
def test_mean_of_mmd_estimates_of_two_normals_is_the_closed_form(shift, scale):
    dim, kernel = 3, MultiScaleMMD("rbf", [1.0])
    width, distance = 2.0 * dim, shift * math.sqrt(dim)
    exact = (
        normal_kernel_mean(0, 2 * scale**2, width, dim)
        + normal_kernel_mean(0, 2, width, dim)
        - 2 * normal_kernel_mean(distance, 1 + scale**2, width, dim)
    )
    estimates = torch.stack(
        [
            kernel(shift + scale * torch.randn(20, dim).double(), torch.randn(20, dim).double())
            for _ in range(3000)
        ]
    )
    error = estimates.std().item() / math.sqrt(len(estimates))
    assert estimates.mean().item() == pytest.approx(exact, abs=4 * error)
    assert estimates.min() < 0 or shift or scale != 1


def test_mmd_equals_its_definition():
    z, p = torch.randn(4, 2).double(), torch.randn(4, 2).double()

    def k(a, b):
        return sum(4 * s**2 / (4 * s**2 + (a - b).square().sum()) for s in (0.5, 2.0))

    pairs = list(itertools.permutations(range(4), 2))
    expected = sum(k(z[i], z[j]) + k(p[i], p[j]) for i, j in pairs) / 12
    expected -= 2 * sum(k(a, b) for a in z for b in p) / 16
    torch.testing.assert_close(MultiScaleMMD("imq", [0.5, 2.0])(z, p), expected)


def test_mmd_of_one_image_is_refused():
    """It has no pair i != j; without the mean over pairs, the rest would be at most 0."""
    with pytest.raises(ValueError, match="MMD needs at least 2 images"):
        estimate_mmd(torch.randn(1, 2), torch.randn(1, 2), torch.exp)


def test_sliced_distance_in_one_dimension_is_that_of_the_best_pairing():
    z, p = torch.randn(6, 1).double(), torch.randn(6, 1).double()
    estimate = SWAE().discrepancy(z, p)
    best = min((z - p[list(order)]).square().mean() for order in itertools.permutations(range(6)))
    torch.testing.assert_close(estimate, best)


def test_sliced_distance_equals_the_assignment_of_scipy():
    from scipy.optimize import linear_sum_assignment
    from torch.nn.functional import normalize

    z, p = torch.randn(20, 3).double(), torch.randn(20, 3).double()
    torch.manual_seed(5)
    estimate = SWAE(directions=7).discrepancy(z, p)
    torch.manual_seed(5)
    slices = normalize(torch.randn(3, 7, dtype=torch.float64), dim=0)
    costs = []
    for projected, prior_projected in zip((z @ slices).T, (p @ slices).T, strict=True):
        cost = (projected.unsqueeze(1) - prior_projected).square().numpy()
        costs.append(cost[linear_sum_assignment(cost)].mean())
    assert estimate.item() == pytest.approx(np.mean(costs))


def test_sliced_distance_of_a_shift_has_its_known_value():
    z, v = torch.randn(30, 4).double(), torch.tensor([1.0, -2.0, 0.5, 0.0]).double()
    estimate = SWAE(directions=100_000).discrepancy(z, z + v)
    assert estimate.item() == pytest.approx(v.square().sum().item() / 4, rel=0.02)


def test_loss_is_the_reconstruction_plus_the_weighted_discrepancy(config):
    for option in ("wae_mmd", "swae"):
        words = [f"objective={option}", "objective.weight=7", "model.hidden=[8]"]
        run = RunParts.build(config(*words))
        terms = run.module.objective(run.vae, torch.rand(9, 1, 28, 28).round(), 0)
        expected = terms["reconstruction"] + 7 * terms["discrepancy"]
        torch.testing.assert_close(terms["loss"], expected)
        torch.testing.assert_close(terms["objective"], -terms["loss"])


def test_infovae_loss_equals_its_definition_and_includes_the_elbo(config):
    x = torch.rand(9, 1, 28, 28).round()

    def terms(*words):
        run = RunParts.build(config("objective=info_mmd", "model.hidden=[8]", *words))
        torch.manual_seed(0)
        return run.module.objective(run.vae, x, 0)

    general = terms("objective.alpha=-0.5", "objective.strength=10")
    expected = general["reconstruction"] + 1.5 * general["kl"] + 8.5 * general["mmd"]
    torch.testing.assert_close(general["loss"], expected)
    elbo = terms("objective.alpha=0", "objective.strength=1")
    torch.testing.assert_close(elbo["loss"], -elbo["elbo"])


@pytest.mark.parametrize("objective", [WAEMMD(100.0), SWAE()])
def test_minimising_the_discrepancy_matches_the_latents_to_the_prior(objective):
    mean, scale = torch.full((2,), 3.0, requires_grad=True), torch.full((2,), 0.1).requires_grad_()
    optimizer = torch.optim.Adam([mean, scale], lr=0.03)
    for _ in range(600):
        optimizer.zero_grad()
        z = mean + scale * torch.randn(100, 2)
        objective.discrepancy(z, torch.randn(100, 2)).backward()
        optimizer.step()
    assert mean.abs().max() < 0.3
    assert (scale.abs() - 1).abs().max() < 0.3
