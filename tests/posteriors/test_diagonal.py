import pytest
import torch
from torch.distributions import kl_divergence

from vaelab.posteriors.diagonal import Diagonal


def test_mean_and_scale_are_computed_from_the_two_halves_of_the_output():
    out = torch.tensor([[0.5, -1.0, 0.1, -0.2]], dtype=torch.float64)
    q = Diagonal(2)(out)
    assert q.event_shape == (2,)
    torch.testing.assert_close(q.mean, out[:, :2])
    torch.testing.assert_close(q.scale.log(), 7 * torch.tanh(out[:, 2:] / 7))


@pytest.mark.parametrize("size", [1e2, 1e4, 1e38])
def test_extreme_outputs_give_finite_scales_and_gradients(size):
    out = torch.tensor([[0.0, 0.0, size, -size]], requires_grad=True)
    posterior = Diagonal(2)
    q = posterior(out)
    standard_normal = posterior(torch.zeros(1, 4))
    kl_divergence(q, standard_normal).sum().backward()
    assert torch.isfinite(q.scale).all()
    assert (q.scale > 0).all()
    assert torch.isfinite(out.grad).all()


def test_bounded_log_scale_avoids_the_overflow_of_an_unbounded_one():
    out = torch.tensor(100.0)
    assert torch.isinf(out.exp().square())
    assert torch.isfinite(Diagonal(1)(torch.tensor([[0.0, 100.0]])).variance).all()


def test_density_integrates_to_one():
    q = Diagonal(1)(torch.tensor([[0.3, -0.4]], dtype=torch.float64))
    z = torch.linspace(-12, 12, 20001, dtype=torch.float64).reshape(-1, 1, 1)
    total = torch.trapezoid(q.log_prob(z).exp().squeeze(), z.squeeze())
    torch.testing.assert_close(total, torch.tensor(1.0, dtype=torch.float64))
