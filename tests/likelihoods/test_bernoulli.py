import math

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from vaelab.likelihoods.bernoulli import Bernoulli

SHAPE = (1, 4, 4)


def test_log_prob_is_minus_the_binary_cross_entropy_of_torch():
    out, x = torch.randn(5, *SHAPE).double(), torch.rand(5, *SHAPE).double()
    expected = binary_cross_entropy_with_logits(out, x, reduction="none").sum((1, 2, 3))
    torch.testing.assert_close(-Bernoulli(SHAPE)(out).log_prob(x), expected)


def test_probabilities_of_all_images_sum_to_one():
    shape = (1, 2, 2)
    images = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 4).reshape(16, *shape).double()
    p = Bernoulli(shape)(torch.randn(shape).double())
    torch.testing.assert_close(p.log_prob(images).exp().sum().item(), 1.0)


def test_logit_0_costs_ln_2_per_pixel():
    p = Bernoulli((1, 28, 28))(torch.zeros(1, 28, 28).double())
    assert p.log_prob(torch.rand(1, 28, 28).round()).item() == pytest.approx(-784 * math.log(2))
    assert 784 * math.log(2) == pytest.approx(543.427, abs=1e-3)


@pytest.mark.parametrize("size", [1e2, 1e4, 1e38])
def test_extreme_logits_give_finite_gradients(size):
    out = torch.tensor([-size, size]).reshape(1, 1, 2).requires_grad_()
    Bernoulli((1, 1, 2))(out).log_prob(torch.tensor([[[0.0, 1.0]]])).backward()
    assert torch.isfinite(out.grad).all()


def test_log_of_a_sigmoid_overflows_for_large_logits():
    out = torch.tensor(200.0, requires_grad=True)
    naive = -(0 * torch.sigmoid(out).log() + (1 - 0) * torch.log(1 - torch.sigmoid(out)))
    naive.backward()
    assert torch.isinf(naive)
    assert torch.isnan(out.grad)


def test_initial_output_is_the_logit_of_the_clipped_mean_image():
    x = torch.cat([torch.zeros(1, *SHAPE), torch.ones(3, *SHAPE)])
    torch.testing.assert_close(
        Bernoulli(SHAPE).initialize(x), torch.full(SHAPE, math.log(0.75 / 0.25))
    )
    assert torch.isfinite(Bernoulli(SHAPE).initialize(torch.zeros(2, *SHAPE))).all()


def test_pixels_outside_the_unit_interval_are_rejected():
    Bernoulli(SHAPE).check_pixels(0.0, 1.0, "levels")
    with pytest.raises(ValueError, match=r"takes pixels in \[0, 1\].*\[-2, 3\].*loss=mse"):
        Bernoulli(SHAPE).check_pixels(-2.0, 3.0, "real")
