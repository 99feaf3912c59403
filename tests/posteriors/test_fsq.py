"""Finite scalar quantization rounds a bounded output to a fixed grid."""

import math

import pytest
import torch

from vaelab.distributions.codebook import UniformIndices
from vaelab.objectives.base import closed_form_kl
from vaelab.posteriors.fsq import FSQ


def test_levels_of_odd_and_even_numbers_by_hand():
    fsq = FSQ(2, [3, 4]).double()
    steps = torch.tensor([-9.0, 0.0, 9.0]).double()
    assert fsq(torch.stack([steps, steps], -1)).mean.tolist() == [[-1, -1], [0, 0], [1, 0.5]]
    line = torch.linspace(-9, 9, 1001).double()
    z = fsq(torch.stack([line, line], -1)).mean
    assert z[:, 0].unique().tolist() == [-1, 0, 1]
    assert z[:, 1].unique().tolist() == [-1, -0.5, 0, 0.5]


def test_index_is_a_number_in_mixed_radix():
    fsq = FSQ(2, [3, 4])
    assert fsq.codes == 12
    assert len(fsq.codebook.unique(dim=0)) == 12
    q = fsq(torch.tensor([[9.0, -9.0], [-9.0, 0.0], [9.0, 9.0]]))
    assert q.indices.squeeze(-1).tolist() == [2, 0 + 3 * 2, 2 + 3 * 3]
    assert torch.equal(q.mean, fsq.codebook[q.indices.squeeze(-1)])


def test_gradient_is_that_of_the_bounded_output():
    fsq, out = FSQ(6, [5, 8, 4]).double(), torch.randn(9, 6).double().requires_grad_()
    (slope,) = torch.autograd.grad(fsq(out).rsample().sum(), out)
    scale = torch.tensor([2.0, 3.5, 1.5]).double() * 1.001
    offset = torch.tensor([0.0, 0.5, 0.5]).double()
    shifted = out.unflatten(-1, (2, 3)) + torch.atanh(offset / scale)
    expected = scale * (1 - shifted.tanh().square()) / torch.tensor([2, 4, 2])
    torch.testing.assert_close(slope, expected.flatten(1).detach(), rtol=1e-6, atol=1e-8)


def test_kl_from_the_uniform_prior_is_n_ln_k():
    fsq = FSQ(6, [8, 5, 5])
    p = fsq.prior_on_z(UniformIndices(torch.zeros(2), fsq.codes))
    kl = closed_form_kl(fsq(torch.randn(5, 6)), p)
    torch.testing.assert_close(kl, torch.full((5, 1), 2 * math.log(200)))


def test_nan_reaches_the_sample_instead_of_an_index_error():
    q = FSQ(3, [8, 5, 5])(torch.full((2, 3), math.nan))
    assert q.rsample().isnan().all()


@pytest.mark.parametrize("levels", [[], [8, 2], [0]])
def test_too_few_levels_are_refused(levels):
    with pytest.raises(ValueError, match=r"posterior\.levels="):
        FSQ(4, levels)


def test_latent_dim_that_is_not_a_multiple_is_refused():
    with pytest.raises(ValueError, match=r"latent_dim=7 must be a multiple of the 3 numbers"):
        FSQ(7, [8, 5, 5])
