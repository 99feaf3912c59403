import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily

from vaelab.distributions.mixture import make_mixture
from vaelab.distributions.normal import DiagonalNormal


@pytest.mark.parametrize("log_scale", [0.0, -7.0, 5.0])
def test_a_mixture_of_normals_is_torchs_also_where_much_cancels(log_scale):
    means = 5 * torch.randn(20, 6)
    logits, spread = torch.randn(20), 0.1 * torch.randn(20, 6) + log_scale
    near = means[:9] + torch.randn(9, 6) * spread[:9].exp()
    z = near.unsqueeze(0).repeat(3, 1, 1).requires_grad_()
    components = DiagonalNormal(means.double(), spread.double())
    torchs = MixtureSameFamily(Categorical(logits=logits.double()), components)
    expected = torchs.log_prob(z.double())
    found = make_mixture(logits, DiagonalNormal(means, spread)).log_prob(z)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected.float(), rtol=1e-5, atol=1e-5)
    (ours,) = torch.autograd.grad(found.sum(), z)
    (theirs,) = torch.autograd.grad(expected.sum(), z)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * theirs.abs().max().item())
