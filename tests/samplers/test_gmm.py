import logging

import torch
from samplers.moments import errors

from vaelab.samplers.gmm import GMMSampler

ROOT = torch.tensor([[2.0, 0.0, 0.0], [1.5, 0.3, 0.0], [-1.0, 0.2, 0.1]])


def correlated(count=5000):
    return torch.tensor([3.0, -1.0, 0.5]) + torch.randn(count, 3) @ ROOT.T


def fitted(codes, **settings):
    sampler = GMMSampler(**settings)
    sampler.fit(codes)
    return sampler


def test_one_component_is_the_normal_with_the_moments_of_the_codes():
    codes = correlated()
    sampler = fitted(codes, components=1)
    assert sampler.weights.item() == 1
    torch.testing.assert_close(
        sampler.mean + sampler.scale * sampler.means[0].float(), codes.mean(0)
    )
    root = sampler.scale.unsqueeze(-1) * sampler.roots[0].float()
    torch.testing.assert_close(root @ root.T, codes.T.cov(), rtol=1e-3, atol=1e-3)


def test_its_draws_have_the_mean_and_covariance_of_the_codes():
    codes = correlated()
    z = fitted(codes, components=1).sample(40_000)
    assert errors(z, codes.mean(0), codes.T.cov()).max() < 4.5


def test_several_components_have_those_of_the_codes_too():
    """A fixed point of expectation maximisation matches both moments, whatever the codes are."""
    codes = torch.cat([correlated(3000), correlated(1500) * 0.3 + 9])
    z = fitted(codes, components=4).sample(40_000)
    assert errors(z, codes.mean(0), codes.T.cov()).max() < 4.5


def test_clusters_far_apart_are_found_with_their_shares():
    codes = torch.cat([torch.randn(900, 2) * 0.1 + 5, torch.randn(100, 2) * 0.1 - 5])
    z = fitted(codes, components=2).sample(10_000)
    share = (z[:, 0] > 0).float().mean()
    assert abs(share - 0.9) < 4.5 * (0.9 * 0.1 / 10_000) ** 0.5
    assert ((z.abs() - 5).abs() < 1).all()


def test_a_temperature_of_0_draws_the_means():
    sampler = fitted(correlated(), components=3, temperature=0.0)
    means = sampler.mean + sampler.scale * sampler.means.float()
    exact = "donot_use_mm_for_euclid_dist"
    distances = torch.cdist(sampler.sample(50), means, compute_mode=exact)
    assert (distances.min(1).values < 1e-5).all()


def test_a_temperature_multiplies_the_covariance_by_its_square():
    codes = correlated()
    z = fitted(codes, components=1, temperature=0.5).sample(40_000)
    assert errors(z, codes.mean(0), 0.25 * codes.T.cov()).max() < 4.5


def test_it_says_when_it_did_not_converge(caplog):
    with caplog.at_level(logging.WARNING):
        fitted(correlated(), components=5, iterations=1)
    assert "raise sampler.iterations" in caplog.text
