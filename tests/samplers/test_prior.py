import pytest
import torch
from samplers.moments import compute_moment_errors
from tiny import LADDER

from vaelab.runs.run import RunParts
from vaelab.samplers.gmm import GMMSampler
from vaelab.samplers.prior import PriorSampler


@pytest.fixture
def sampler(config):
    def make(temperature, *words):
        vae = RunParts.build(config("model.hidden=[8]", "latent_dim=2", *words)).vae.eval()
        sampler = PriorSampler(temperature)
        sampler.prepare(vae)
        return sampler, vae.latents()

    return make


def test_samples_are_those_of_the_prior(sampler):
    prior_sampler, p = sampler(1.0)
    torch.manual_seed(1)
    z = prior_sampler.sample(50)
    torch.manual_seed(1)
    assert torch.equal(z, p.sample((50,)))


def test_temperature_multiplies_the_standard_deviation_of_a_normal(sampler):
    z = sampler(0.5)[0].sample(20_000)
    assert compute_moment_errors(z, torch.zeros(2), 0.25 * torch.eye(2)).max() < 4.5


def test_temperature_0_samples_the_mean_of_a_normal(sampler):
    assert torch.equal(sampler(0.0)[0].sample(5), torch.zeros(5, 2))


MIXTURES = [
    ["prior=mixture", "prior.components=3"],
    ["prior=vamp", "prior.components=3"],
    ["prior=vamp", "prior.components=3", "posterior=full"],
]


@pytest.mark.parametrize("words", MIXTURES, ids=" ".join)
def test_temperature_0_samples_the_means_of_a_mixture(sampler, words):
    prior_sampler, p = sampler(0.0, *words)
    z, means = prior_sampler.sample(50), p.component_distribution.mean
    assert (torch.cdist(z, means).min(1).values < 1e-5).all()
    assert len(z.unique(dim=0)) == 3


@pytest.mark.parametrize("words", MIXTURES, ids=" ".join)
def test_temperature_multiplies_the_scales_of_a_mixture_but_not_its_means(sampler, words):
    prior_sampler, p = sampler(0.5, *words)
    components = prior_sampler.tempered_prior().component_distribution
    torch.testing.assert_close(components.mean, p.component_distribution.mean)
    torch.testing.assert_close(components.variance, 0.25 * p.component_distribution.variance)
    weights = prior_sampler.tempered_prior().mixture_distribution.probs
    torch.testing.assert_close(weights, p.mixture_distribution.probs)


@pytest.mark.parametrize("words", [["prior=flow"], ["posterior=vmf"]], ids=" ".join)
def test_priors_without_scales_accept_only_temperature_1(sampler, words):
    assert sampler(1.0, *words)[0].sample(3).shape == (3, 2)
    with pytest.raises(ValueError, match=r"temperature=0.5: .* leave it at 1"):
        sampler(0.5, *words)


def test_a_list_has_a_temperature_for_each_layer(config):
    vae = RunParts.build(config(*LADDER)).vae.eval()
    for temperature, changed in (([0, 0], [False, False]), ([0, 1], [False, True])):
        prior_sampler = PriorSampler(temperature)
        prior_sampler.prepare(vae)
        with torch.no_grad():
            layers = vae.latents().split_layers(prior_sampler.sample(5))
        assert [layer.std(0).max().item() > 1e-3 for layer in layers] == changed
    with pytest.raises(ValueError, match="has 3 numbers, but the model has 2 layers"):
        PriorSampler([1, 1, 0.5]).prepare(vae)
    with pytest.raises(ValueError, match="one layer only"):
        PriorSampler([1, 0.5]).prepare(RunParts.build(config("model.hidden=[8]")).vae)
    with pytest.raises(ValueError, match="sampler=gmm has no layers"):
        GMMSampler([1, 0.5])


@pytest.mark.parametrize("model", ["ladder", "bottom_up"])
def test_temperature_0_samples_the_mean_of_every_layer(config, model):
    vae = RunParts.build(config(f"model={model}")).vae.eval()
    prior_sampler = PriorSampler(temperature=0)
    prior_sampler.prepare(vae)
    z = prior_sampler.sample(5)
    torch.testing.assert_close(z, vae.latents().mode.expand(5, -1))
