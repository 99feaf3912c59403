"""Discrepancies of two samples, against their closed forms and other people's solvers."""

import itertools
import math

import numpy as np
import pytest
import torch

from vaelab.objectives.mmd import Kernels, mmd
from vaelab.objectives.swae import SWAE
from vaelab.objectives.wae_mmd import WAEMMD
from vaelab.runs.run import Run


def normal_kernel_mean(distance, variance, width, dim):
    """E exp(-|a - b|^2 / width) for a - b ~ N(distance, variance I)."""
    ratio = width / (width + 2 * variance)
    return ratio ** (dim / 2) * math.exp(-(distance**2) / (width + 2 * variance))


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (0.7, 1.0), (0.0, 0.5), (1.0, 2.0)])
def test_mmd_of_two_normals_has_its_closed_form_in_the_mean(shift, scale):
    dim, kernel = 3, Kernels("rbf", [1.0])
    width, distance = 2.0 * dim, shift * math.sqrt(dim)
    exact = (
        normal_kernel_mean(0, 2 * scale**2, width, dim)
        + normal_kernel_mean(0, 2, width, dim)
        - 2 * normal_kernel_mean(distance, 1 + scale**2, width, dim)
    )
    found = torch.stack(
        [
            kernel(shift + scale * torch.randn(20, dim).double(), torch.randn(20, dim).double())
            for _ in range(3000)
        ]
    )
    error = found.std().item() / math.sqrt(len(found))
    assert found.mean().item() == pytest.approx(exact, abs=4 * error)
    assert found.min() < 0 or shift or scale != 1


def test_its_terms_are_those_of_the_definition():
    z, p = torch.randn(4, 2).double(), torch.randn(4, 2).double()

    def k(a, b):
        return sum(4 * s**2 / (4 * s**2 + (a - b).square().sum()) for s in (0.5, 2.0))

    pairs = list(itertools.permutations(range(4), 2))
    expected = sum(k(z[i], z[j]) + k(p[i], p[j]) for i, j in pairs) / 12
    expected -= 2 * sum(k(a, b) for a in z for b in p) / 16
    torch.testing.assert_close(Kernels("imq", [0.5, 2.0])(z, p), expected)


def test_one_image_has_no_pairs_and_a_finite_estimate():
    assert torch.isfinite(mmd(torch.randn(1, 2), torch.randn(1, 2), torch.exp))


def test_in_one_dimension_the_sliced_distance_is_that_of_the_best_pairing():
    z, p = torch.randn(6, 1).double(), torch.randn(6, 1).double()
    found = SWAE().discrepancy(z, p)
    best = min((z - p[list(order)]).square().mean() for order in itertools.permutations(range(6)))
    torch.testing.assert_close(found, best)


def test_each_slice_is_scipys_wasserstein_distance():
    from scipy.optimize import linear_sum_assignment
    from torch.nn.functional import normalize

    z, p = torch.randn(20, 3).double(), torch.randn(20, 3).double()
    torch.manual_seed(5)
    found = SWAE(directions=7).discrepancy(z, p)
    torch.manual_seed(5)
    slices = normalize(torch.randn(3, 7, dtype=torch.float64), dim=0)
    costs = []
    for ours, theirs in zip((z @ slices).T, (p @ slices).T, strict=True):
        cost = (ours.unsqueeze(1) - theirs).square().numpy()
        costs.append(cost[linear_sum_assignment(cost)].mean())
    assert found.item() == pytest.approx(np.mean(costs))


def test_a_shift_by_v_is_a_distance_of_v_squared_over_d():
    z, v = torch.randn(30, 4).double(), torch.tensor([1.0, -2.0, 0.5, 0.0]).double()
    found = SWAE(directions=100_000).discrepancy(z, z + v)
    assert found.item() == pytest.approx(v.square().sum().item() / 4, rel=0.02)


def test_the_loss_is_the_reconstruction_and_the_weighted_discrepancy(config):
    for option in ("wae_mmd", "swae"):
        words = [f"objective={option}", "objective.weight=7", "model.hidden=[8]"]
        run = Run.build(config(*words))
        terms = run.module.objective(run.vae, torch.rand(9, 1, 28, 28).round(), 0)
        expected = terms["reconstruction"] + 7 * terms["discrepancy"]
        torch.testing.assert_close(terms["loss"], expected)
        torch.testing.assert_close(terms["objective"], -terms["loss"])


def test_infovae_is_written_out_and_its_limits_are_the_elbo_and_no_kl(config):
    x = torch.rand(9, 1, 28, 28).round()

    def terms(*words):
        run = Run.build(config("objective=info_mmd", "model.hidden=[8]", *words))
        torch.manual_seed(0)
        return run.module.objective(run.vae, x, 0)

    found = terms("objective.alpha=-0.5", "objective.strength=10")
    expected = found["reconstruction"] + 1.5 * found["kl"] + 8.5 * found["mmd"]
    torch.testing.assert_close(found["loss"], expected)
    bound = terms("objective.alpha=0", "objective.strength=1")
    torch.testing.assert_close(bound["loss"], -bound["elbo"])


@pytest.mark.parametrize("objective", [WAEMMD(100.0), SWAE()])
def test_descending_on_it_makes_codes_like_the_prior(objective):
    mean, scale = torch.full((2,), 3.0, requires_grad=True), torch.full((2,), 0.1).requires_grad_()
    optimizer = torch.optim.Adam([mean, scale], lr=0.03)
    for _ in range(600):
        optimizer.zero_grad()
        z = mean + scale * torch.randn(100, 2)
        objective.discrepancy(z, torch.randn(100, 2)).backward()
        optimizer.step()
    assert mean.abs().max() < 0.3
    assert (scale.abs() - 1).abs().max() < 0.3
