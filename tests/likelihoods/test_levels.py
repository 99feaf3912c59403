"""Initial outputs and parameter bounds of likelihoods of 256 levels."""

import torch

from vaelab.likelihoods.categorical import Categorical
from vaelab.likelihoods.logistic_mixture import MIN_SCALE, LogisticMixture


def test_categorical_is_initialized_with_the_level_frequencies():
    x = torch.tensor([0.0, 0.0, 0.0, 1.0]).double().reshape(4, 1, 1, 1)
    likelihood = Categorical((1, 1, 1)).double()
    p = likelihood(likelihood.initialize(x))
    levels = torch.tensor([0.0, 100 / 255, 1.0]).double().reshape(3, 1, 1, 1)
    probabilities = p.log_prob(levels).exp()
    unseen = 1 / 256 / 5
    torch.testing.assert_close(probabilities, torch.tensor([3.0, 0, 1]).double() / 5 + unseen)


def test_categorical_is_initialized_per_channel_and_position():
    x = torch.tensor([[0.0, 1.0], [0.2, 0.4]]).double().expand(3, 2, 2).reshape(3, 2, 1, 2)
    likelihood = Categorical((2, 1, 2)).double()
    assert likelihood(likelihood.initialize(x)).log_prob(x).exp().min() > 0.3


def test_mixture_coefficients_and_scales_are_bounded():
    likelihood = LogisticMixture((3, 1, 1), components=2)
    p = likelihood(1e3 * torch.randn(likelihood.outputs, 1, 1))
    assert p.coefficients.abs().max() <= 1
    assert p.coefficients.unique().numel() > 1
    assert p.scale.min() >= MIN_SCALE


def test_mixture_scale_is_initialized_with_half_the_standard_deviation_of_the_channel():
    x = torch.rand(500, 3, 2, 2) * torch.tensor([0.1, 0.5, 1.0]).reshape(3, 1, 1)
    likelihood = LogisticMixture((3, 2, 2), components=4)
    p = likelihood(likelihood.initialize(x))
    expected = MIN_SCALE + x.transpose(0, 1).flatten(1).std(1) / 2
    torch.testing.assert_close(p.scale[2, :, 0, 0], expected)
    assert (p.coefficients == 0).all()
