import math

import pytest
import torch

from vaelab.likelihoods.gaussian import Gaussian

SHAPE = (1, 3, 3)


def test_negative_log_prob_at_scale_1_is_half_the_squared_error_plus_a_constant():
    out, x = torch.randn(5, *SHAPE).double(), torch.randn(5, *SHAPE).double()
    expected = (x - out).square().sum((1, 2, 3)) / 2 + 9 / 2 * math.log(2 * math.pi)
    torch.testing.assert_close(-Gaussian(SHAPE)(out).log_prob(x), expected)


@pytest.mark.parametrize("scale", [0.05, 1.0, 19.8])
def test_negative_log_prob_agrees_with_gaussian_nll_loss_of_torch(scale):
    out, x = torch.randn(5, *SHAPE), torch.randn(5, *SHAPE)
    expected = torch.nn.functional.gaussian_nll_loss(
        out, x, torch.full_like(x, scale**2), full=True, eps=0, reduction="none"
    ).sum((1, 2, 3))
    torch.testing.assert_close(-Gaussian(SHAPE, scale)(out).log_prob(x), expected)
