import math

import pytest
import torch
from samplers.moments import errors

from vaelab.objectives.mmd import Kernels
from vaelab.samplers.two_stage import TwoStageSampler

ROOT = torch.tensor([[0.1, 0.0], [0.08, 0.02]])
MMD = Kernels("imq", (0.1, 0.5, 1.0, 2.0))


def narrow(count):
    return torch.tensor([5.0, -3.0]) + torch.randn(count, 2) @ ROOT.T


def ring(count):
    angle = 2 * math.pi * torch.rand(count, 1)
    return torch.cat([angle.cos(), angle.sin()], -1) * (1 + 0.05 * torch.randn(count, 1))


@pytest.fixture(scope="module")
def sampler():
    torch.manual_seed(1)
    sampler = TwoStageSampler(hidden=[64, 64], steps=1500)
    sampler.codes = narrow(4000)
    sampler.fit(sampler.codes)
    return sampler


def test_it_has_the_mean_and_covariance_of_a_shifted_narrow_normal(sampler):
    """To 5 standard errors: those of as many draws as codes, and the fit's own."""
    codes = sampler.codes
    z = sampler.sample(4000)
    assert errors(z, codes.mean(0), codes.T.cov(), also=4000).max() < 5


def test_it_is_nearer_to_the_codes_than_the_unit_normal(sampler):
    z, p = sampler.sample(1000), torch.randn(1000, 2)
    assert MMD(z, sampler.codes[:1000]) < 0.01 < 1 < MMD(p, sampler.codes[:1000])


def test_its_draws_are_noisy(sampler, monkeypatch):
    monkeypatch.setattr(sampler, "temperature", 0.0)
    z = sampler.sample(2000)
    noise = sampler.scale * sampler.network.likelihood.scale
    torch.testing.assert_close(z.std(0), noise.detach(), rtol=0.1, atol=0)


def test_a_temperature_multiplies_u(sampler, monkeypatch):
    """For a normal the decoder is linear: Cov z = T^2 A A^T + s^2 I."""
    noise = (sampler.scale * sampler.network.likelihood.scale).detach().square().diag()
    whole = sampler.sample(20_000).T.cov() - noise
    monkeypatch.setattr(sampler, "temperature", 0.5)
    part = sampler.sample(20_000).T.cov() - noise
    torch.testing.assert_close(part, 0.25 * whole, rtol=0.15, atol=1e-4)


@pytest.mark.slow
def test_as_it_comes_it_finds_the_hole_of_a_ring():
    codes = ring(4000)
    sampler = TwoStageSampler()
    sampler.fit(codes)
    z = sampler.sample(2000)
    assert MMD(z, codes[:2000]) < 0.1 * MMD(torch.randn(2000, 2), codes[:2000])
    assert (z.norm(dim=-1) < 0.5).float().mean() < 0.05
