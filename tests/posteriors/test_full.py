import pytest
import torch
from torch.distributions import kl_divergence

from vaelab.distributions.normal import DiagonalNormal
from vaelab.posteriors.full import Full
from vaelab.priors.normal import UnitNormal


def test_covariance_is_computed_from_the_factor_in_the_output():
    out = torch.tensor([[0.5, -1.0, 0.1, -0.2, 0.7]]).double()
    q = Full(2)(out)
    diagonal = (7 * torch.tanh(out[0, 2:4] / 7)).exp()
    factor = torch.tensor([[diagonal[0], 0.0], [0.7 / 2, diagonal[1]]]).double()
    torch.testing.assert_close(q.mean, out[:, :2])
    torch.testing.assert_close(q.covariance_matrix[0], factor @ factor.T)


def test_kl_has_the_known_value():
    factor = torch.linalg.cholesky(torch.tensor([[2.0, 0.6], [0.6, 1.0]], dtype=torch.float64))
    log_diagonal = factor.diagonal().log()
    raw = 7 * torch.atanh(log_diagonal / 7)
    mean = torch.tensor([1.0, -0.5]).double()
    q = Full(2)(torch.cat([mean, raw, 2 * factor[1, :1]]).unsqueeze(0))
    p = UnitNormal(2, (1,)).double()(lambda x: x)
    assert kl_divergence(q, p).item() == pytest.approx(0.8776518790819464, abs=1e-12)


def test_zero_entries_below_the_diagonal_give_the_diagonal_normal():
    out = torch.randn(4, 6).double()
    q = Full(3)(torch.cat([out, torch.zeros(4, 3).double()], -1))
    diagonal = DiagonalNormal(out[:, :3], 7 * torch.tanh(out[:, 3:] / 7))
    p = DiagonalNormal(torch.randn(3).double(), torch.randn(3).double())
    torch.testing.assert_close(kl_divergence(q, p), kl_divergence(diagonal, p))
