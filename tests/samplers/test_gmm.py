import logging

import pytest
import torch
from samplers.moments import compute_moment_errors

from vaelab.samplers.gmm import GMMSampler

ROOT = torch.tensor([[2.0, 0.0, 0.0], [1.5, 0.3, 0.0], [-1.0, 0.2, 0.1]])


def make_correlated_latents(count=5000):
    return torch.tensor([3.0, -1.0, 0.5]) + torch.randn(count, 3) @ ROOT.T


def fit_mixture(latents, **settings):
    sampler = GMMSampler(**settings)
    sampler.fit(latents)
    return sampler


def test_one_component_has_the_moments_of_the_latents():
    latents = make_correlated_latents()
    sampler = fit_mixture(latents, components=1)
    assert sampler.weights.item() == 1
    torch.testing.assert_close(
        sampler.mean + sampler.scale * sampler.means[0].float(), latents.mean(0)
    )
    root = sampler.scale.unsqueeze(-1) * sampler.roots[0].float()
    torch.testing.assert_close(root @ root.T, latents.T.cov(), rtol=1e-3, atol=1e-3)


def test_samples_have_the_moments_of_the_latents():
    latents = make_correlated_latents()
    z = fit_mixture(latents, components=1).sample(40_000)
    assert compute_moment_errors(z, latents.mean(0), latents.T.cov()).max() < 4.5


def test_samples_of_several_components_have_the_moments_of_the_latents():
    """A fixed point of expectation maximization matches both moments of any data."""
    latents = torch.cat([make_correlated_latents(3000), make_correlated_latents(1500) * 0.3 + 9])
    z = fit_mixture(latents, components=4).sample(40_000)
    assert compute_moment_errors(z, latents.mean(0), latents.T.cov()).max() < 4.5


def test_separate_clusters_are_sampled_with_their_weights():
    latents = torch.cat([torch.randn(900, 2) * 0.1 + 5, torch.randn(100, 2) * 0.1 - 5])
    z = fit_mixture(latents, components=2).sample(10_000)
    weight = (z[:, 0] > 0).float().mean()
    assert abs(weight - 0.9) < 4.5 * (0.9 * 0.1 / 10_000) ** 0.5
    assert ((z.abs() - 5).abs() < 1).all()


def test_temperature_0_samples_the_means():
    sampler = fit_mixture(make_correlated_latents(), components=3, temperature=0.0)
    means = sampler.mean + sampler.scale * sampler.means.float()
    exact = "donot_use_mm_for_euclid_dist"
    distances = torch.cdist(sampler.sample(50), means, compute_mode=exact)
    assert (distances.min(1).values < 1e-5).all()


def test_temperature_multiplies_the_covariance_by_its_square():
    latents = make_correlated_latents()
    z = fit_mixture(latents, components=1, temperature=0.5).sample(40_000)
    assert compute_moment_errors(z, latents.mean(0), 0.25 * latents.T.cov()).max() < 4.5


def test_missing_convergence_is_logged(caplog):
    with caplog.at_level(logging.WARNING):
        fit_mixture(make_correlated_latents(), components=5, iterations=1)
    assert "raise sampler.iterations" in caplog.text


@pytest.mark.parametrize(("dim", "components"), [(2, 10), (3, 1), (20, 4)])
def test_least_number_of_latents_is_enforced_and_the_advice_works(dim, components):
    least = 2 * (dim + 1) * components
    assert torch.isfinite(
        fit_mixture(torch.randn(least, dim), components=components).sample(5)
    ).all()
    too_few = torch.randn(least - 1, dim)
    with pytest.raises(ValueError, match=f"needs at least {least} training images") as error:
        fit_mixture(too_few, components=components)
    words = str(error.value).rpartition("set sampler.")[2].partition("=")
    if words[1] and words[0] == "components":
        fit_mixture(too_few, components=int(words[2]))
    else:
        assert "set sampler=prior" in str(error.value)


def test_smallest_number_of_latents_gives_no_copies():
    """12 latents and 10 components, which are refused, would give copies."""
    latents = torch.randn(60, 2)
    spacing = torch.cdist(latents, latents).kthvalue(2, dim=1).values.mean()
    z = fit_mixture(latents, components=10).sample(1000)
    assert torch.cdist(z, latents).min(1).values.mean() > 0.2 * spacing
