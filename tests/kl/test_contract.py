"""Test the contract of kl/base.py for every option of kl=."""

import math

import pytest
import torch
from conftest import options

OPTIONS = options("kl")
STEPS = (0, 1, 17, 500, 10**6)


@pytest.mark.parametrize("option", OPTIONS)
def test_weight_is_finite_and_depends_on_the_step_only(part, option):
    weighting = part(f"kl={option}")
    weights = [weighting.weight(step) for step in STEPS]
    assert all(0 <= weight < math.inf for weight in weights)
    assert weights[::-1] == [weighting.weight(step) for step in reversed(STEPS)]
    assert not weighting.state_dict()


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("step", STEPS)
def test_term_and_its_gradient_are_finite_for_each_image(part, option, step):
    kl = (5 * torch.rand(6, 3).double()).requires_grad_()
    term = part(f"kl={option}")(kl, step)
    assert term.shape == (6,)
    assert torch.isfinite(term).all()
    term.sum().backward()
    assert torch.isfinite(kl.grad).all()


@pytest.mark.parametrize("option", OPTIONS)
def test_linear_term_is_the_weight_times_the_sum_over_dimensions(part, option):
    weighting, kl = part(f"kl={option}"), 5 * torch.rand(6, 3).double()
    for step in STEPS if weighting.is_linear else ():
        torch.testing.assert_close(weighting(kl, step), weighting.weight(step) * kl.sum(1))
