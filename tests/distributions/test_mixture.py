import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily

from vaelab.distributions.mixture import make_mixture
from vaelab.distributions.normal import DiagonalNormal


@pytest.mark.parametrize("log_scale", [0.0, -7.0, 5.0])
def test_normal_mixture_agrees_with_torch_despite_cancellation(log_scale):
    means = 5 * torch.randn(20, 6)
    logits, log_scales = torch.randn(20), 0.1 * torch.randn(20, 6) + log_scale
    z = means[:9] + torch.randn(9, 6) * log_scales[:9].exp()
    z = z.unsqueeze(0).repeat(3, 1, 1).requires_grad_()
    components = DiagonalNormal(means.double(), log_scales.double())
    torch_mixture = MixtureSameFamily(Categorical(logits=logits.double()), components)
    expected = torch_mixture.log_prob(z.double())
    log_p = make_mixture(logits, DiagonalNormal(means, log_scales)).log_prob(z)
    assert log_p.dtype == torch.float32
    torch.testing.assert_close(log_p, expected.float(), rtol=1e-5, atol=1e-5)
    (gradient,) = torch.autograd.grad(log_p.sum(), z)
    (exact,) = torch.autograd.grad(expected.sum(), z)
    torch.testing.assert_close(gradient, exact, rtol=1e-4, atol=1e-4 * exact.abs().max().item())
