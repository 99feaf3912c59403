import pytest
import torch
from torch.distributions import kl_divergence

from vaelab.posteriors.diagonal import Diagonal


def test_its_mean_and_scale_are_the_encoders_halves():
    out = torch.tensor([[0.5, -1.0, 0.1, -0.2]], dtype=torch.float64)
    q = Diagonal(2)(out)
    assert q.event_shape == (2,)
    torch.testing.assert_close(q.mean, out[:, :2])
    torch.testing.assert_close(q.scale.log(), 7 * torch.tanh(out[:, 2:] / 7))


@pytest.mark.parametrize("size", [1e2, 1e4, 1e38])
def test_an_extreme_output_overflows_neither_scale_nor_gradient(size):
    out = torch.tensor([[0.0, 0.0, size, -size]], requires_grad=True)
    posterior = Diagonal(2)
    q = posterior(out)
    unit = posterior(torch.zeros(1, 4))
    kl_divergence(q, unit).sum().backward()
    assert torch.isfinite(q.scale).all()
    assert (q.scale > 0).all()
    assert torch.isfinite(out.grad).all()


def test_an_unbounded_log_scale_overflows_where_ours_does_not():
    out = torch.tensor(100.0)
    assert torch.isinf(out.exp().square())
    assert torch.isfinite(Diagonal(1)(torch.tensor([[0.0, 100.0]])).variance).all()


def test_log_q_is_a_density_on_a_grid():
    q = Diagonal(1)(torch.tensor([[0.3, -0.4]], dtype=torch.float64))
    z = torch.linspace(-12, 12, 20001, dtype=torch.float64).reshape(-1, 1, 1)
    total = torch.trapezoid(q.log_prob(z).exp().squeeze(), z.squeeze())
    torch.testing.assert_close(total, torch.tensor(1.0, dtype=torch.float64))
