import math

import pytest
import torch
from samplers.moments import compute_moment_errors

from vaelab.objectives.mmd import MultiScaleMMD
from vaelab.samplers.two_stage import TwoStageSampler

ROOT = torch.tensor([[0.1, 0.0], [0.08, 0.02]])
MMD = MultiScaleMMD("imq", (0.1, 0.5, 1.0, 2.0))


def sample_narrow_normal(count):
    return torch.tensor([5.0, -3.0]) + torch.randn(count, 2) @ ROOT.T


def sample_ring(count):
    angle = 2 * math.pi * torch.rand(count, 1)
    return torch.cat([angle.cos(), angle.sin()], -1) * (1 + 0.05 * torch.randn(count, 1))


@pytest.fixture(scope="module")
def sampler():
    torch.manual_seed(1)
    sampler = TwoStageSampler(hidden=[64, 64], steps=1500)
    sampler.latents = sample_narrow_normal(4000)
    sampler.fit(sampler.latents)
    return sampler


def test_samples_have_the_moments_of_a_shifted_narrow_normal(sampler):
    """The tolerance of 5 standard errors leaves room for the error of the fit."""
    latents = sampler.latents
    z = sampler.sample(4000)
    assert (
        compute_moment_errors(z, latents.mean(0), latents.T.cov(), reference_count=4000).max() < 5
    )


def test_samples_are_closer_to_the_latents_than_a_standard_normal(sampler):
    z, p = sampler.sample(1000), torch.randn(1000, 2)
    assert MMD(z, sampler.latents[:1000]) < 0.01 < 1 < MMD(p, sampler.latents[:1000])


def test_samples_include_the_noise_of_p_z_given_u(sampler, monkeypatch):
    monkeypatch.setattr(sampler, "temperature", 0.0)
    z = sampler.sample(2000)
    noise = sampler.scale * sampler.network.likelihood.scale
    torch.testing.assert_close(z.std(0), noise.detach(), rtol=0.1, atol=0)


def test_temperature_multiplies_u(sampler, monkeypatch):
    """For a normal the decoder is linear: Cov z = T^2 A A^T + s^2 I."""
    noise = (sampler.scale * sampler.network.likelihood.scale).detach().square().diag()
    full = sampler.sample(20_000).T.cov() - noise
    monkeypatch.setattr(sampler, "temperature", 0.5)
    reduced = sampler.sample(20_000).T.cov() - noise
    torch.testing.assert_close(reduced, 0.25 * full, rtol=0.15, atol=1e-4)


@pytest.mark.slow
def test_default_settings_reproduce_the_hole_of_a_ring():
    latents = sample_ring(4000)
    sampler = TwoStageSampler()
    sampler.fit(latents)
    z = sampler.sample(2000)
    assert MMD(z, latents[:2000]) < 0.1 * MMD(torch.randn(2000, 2), latents[:2000])
    assert (z.norm(dim=-1) < 0.5).float().mean() < 0.05
