"""What base.py promises, for every file of conf/loss."""

import pytest
import torch

OPTIONS = ["bce", "mse", "gaussian", "gaussian loss.scale=optimal"]


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 4, 4), (5,)])
def test_any_leading_dimensions_and_any_shape(part, option, shape):
    likelihood = part(*f"loss={option}".split())(shape)
    x = torch.rand(6, *shape).round()
    start = likelihood.initialize(x)
    assert start.shape == (likelihood.outputs, *shape[1:])
    likelihood.eval()
    p = likelihood(start.expand(2, 6, *start.shape))
    assert p.batch_shape == (2, 6)
    assert p.event_shape == shape
    assert p.log_prob(x).shape == p.sample().shape[:2] == (2, 6)
    assert p.mean.shape == (2, 6, *shape)


@pytest.mark.parametrize("option", OPTIONS)
def test_initialize_fits_better_than_any_shift_of_it(part, option):
    shape = (1, 4, 4)
    likelihood = part(*f"loss={option}".split())(shape)
    x = torch.rand(200, *shape).round()
    start = likelihood.initialize(x)
    likelihood.eval()
    best = likelihood(start).log_prob(x).mean()
    assert all(likelihood(start + shift).log_prob(x).mean() < best for shift in (-0.3, 0.3))
