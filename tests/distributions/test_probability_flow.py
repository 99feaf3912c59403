"""Test flows with known velocities: latents that are normal have everything in closed form."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from vaelab.distributions.probability_flow import ODESettings, ProbabilityFlow

ROOT = torch.tensor([[1.5, 0.0, 0.0], [0.4, 0.6, 0.0], [-0.3, 0.2, 1.1]]).double()
COVARIANCE = ROOT @ ROOT.T
MEAN = torch.tensor([0.7, -1.0, 0.3]).double()
IDENTITY = torch.eye(3).double()
ZERO, ONE = torch.zeros(3).double(), torch.ones(3).double()


def exact_velocity(u, t, y=None):
    """The flow-matching velocity E[x - e | x_t = u] of x ~ N(MEAN, COVARIANCE).

    x_t = t x + (1 - t) e has the covariance C = t^2 COVARIANCE + (1 - t)^2 I, and x - e has the
    covariance t COVARIANCE - (1 - t) I with it.
    """
    marginal = t**2 * COVARIANCE + (1 - t) ** 2 * IDENTITY
    gain = (t * COVARIANCE - (1 - t) * IDENTITY) @ torch.linalg.inv(marginal)
    return MEAN + (u - t * MEAN) @ gain.T


def exact_transport(noise):
    """The solution of the ODE at t = 1 for normal latents: MEAN + COVARIANCE^(1/2) noise."""
    values, vectors = torch.linalg.eigh(COVARIANCE)
    return MEAN + noise @ (vectors * values.sqrt()) @ vectors.T


def make_flow(steps=100, solver="heun", trace="exact", mean=ZERO, scale=ONE, labels=None):
    settings = ODESettings(steps, solver, trace)
    return ProbabilityFlow(exact_velocity, mean, scale, settings, labels)


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2)])
def test_error_of_samples_and_density_falls_with_the_order_of_the_solver(solver, order):
    noise, expected = torch.randn(50, 3).double(), MultivariateNormal(MEAN, COVARIANCE)
    z = exact_transport(noise)
    errors = []
    for steps in (20, 40, 80):
        flow = make_flow(steps, solver)
        moved = (flow.transport(noise) - z).abs().mean()
        density = (flow.log_prob(z) - expected.log_prob(z)).abs().mean()
        errors.append(torch.stack([moved, density]))
    rates = torch.stack(errors).log2().diff(dim=0)
    torch.testing.assert_close(rates, torch.full((2, 2), -float(order)).double(), atol=0.25, rtol=0)


def test_standardization_changes_the_density_by_its_log_determinant():
    mean, scale = torch.tensor([3.0, 0.0, -1.0]).double(), torch.tensor([0.1, 5.0, 2.0]).double()
    noise, flow = torch.randn(4, 5, 3).double(), make_flow(mean=mean, scale=scale)
    torch.testing.assert_close(flow.transport(noise), mean + scale * make_flow().transport(noise))
    z = flow.transport(noise)
    expected = MultivariateNormal(mean + scale * MEAN, scale[:, None] * COVARIANCE * scale)
    torch.testing.assert_close(flow.log_prob(z), expected.log_prob(z), atol=5e-3, rtol=0)


def test_samples_have_the_moments_of_the_latents():
    z = make_flow(20).sample(torch.Size([20_000]))
    torch.testing.assert_close(z.mean(0), MEAN, atol=0.05, rtol=0)
    torch.testing.assert_close(z.T.cov(), COVARIANCE, atol=0.1, rtol=0.05)


def test_hutchinson_estimate_is_unbiased_and_exp_of_it_is_not():
    z = exact_transport(torch.randn(3).double())
    exact = make_flow().log_prob(z)
    estimates = make_flow(trace="hutchinson").log_prob(z.expand(4000, 3))
    error = estimates.std().item() / math.sqrt(len(estimates))
    assert error > 0
    assert estimates.mean().item() == pytest.approx(exact.item(), abs=4.5 * error)
    assert (estimates - exact).exp().mean().item() > 1 + 0.3 * estimates.var().item()


def test_log_prob_has_the_gradient_of_the_normal():
    z = torch.randn(4, 3).double().requires_grad_()
    (ours,) = torch.autograd.grad(make_flow().log_prob(z).sum(), z)
    (expected,) = torch.autograd.grad(MultivariateNormal(MEAN, COVARIANCE).log_prob(z).sum(), z)
    torch.testing.assert_close(ours, expected, atol=1e-2, rtol=1e-2)


def test_log_prob_is_the_same_in_inference_mode_and_in_chunks(monkeypatch):
    z = torch.randn(7, 3).double()
    expected = make_flow(5).log_prob(z)
    with torch.inference_mode():
        torch.testing.assert_close(make_flow(5).log_prob(z + 0), expected)
    monkeypatch.setattr("vaelab.distributions.probability_flow.CHUNK", 20)
    torch.testing.assert_close(make_flow(5).log_prob(z), expected)
    torch.testing.assert_close(make_flow(5).transport(z), make_flow(5).transport(z[:, :]))


def test_labels_give_one_distribution_each():
    shifted = lambda u, t, y: y.unsqueeze(-1).expand_as(u).double()  # noqa: E731
    flow = ProbabilityFlow(shifted, ZERO, ONE, ODESettings(4), torch.tensor([0, 5]))
    assert (flow.batch_shape, flow.event_shape) == ((2,), (3,))
    z = flow.sample(torch.Size([1000]))
    assert z.shape == (1000, 2, 3)
    torch.testing.assert_close(z.mean((0, 2)), torch.tensor([0.0, 5.0]).double(), atol=0.1, rtol=0)
    normal = torch.distributions.Normal(torch.tensor([[0.0], [5.0]]).double(), 1.0)
    torch.testing.assert_close(flow.log_prob(z), normal.log_prob(z).sum(-1))
