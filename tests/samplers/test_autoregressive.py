import pytest
import torch

from vaelab.runs.run import RunParts
from vaelab.samplers.autoregressive import AutoregressiveSampler


@pytest.fixture
def vae(config):
    words = ("objective=vq", "prior=pixelcnn", "posterior.codes=5", "posterior.dim=1")
    return RunParts.build(config(*words, "model.hidden=[8]", "latent_dim=3")).vae.eval()


def test_samples_are_codebook_vectors_with_prior_density(vae):
    sampler = AutoregressiveSampler()
    sampler.prepare(vae)
    z = sampler.sample(50)
    assert z.shape == (50, 3)
    assert torch.isfinite(vae.latents().log_prob(z)).all()


def test_temperature_near_zero_samples_the_most_likely_code(vae):
    sampler = AutoregressiveSampler(temperature=1e-3)
    sampler.prepare(vae)
    z = sampler.sample(50)
    assert (z == z[0]).all()


def test_sampler_is_not_fitted():
    assert not AutoregressiveSampler.needs_fit


def test_other_priors_and_zero_temperature_are_refused(vae, config):
    with pytest.raises(ValueError, match=r"temperature=0: .* must be above 0"):
        AutoregressiveSampler(temperature=0).prepare(vae)
    vae = RunParts.build(config("model.hidden=[8]")).vae
    with pytest.raises(ValueError, match=r"UnitNormal, .* is not autoregressive: set sampler="):
        AutoregressiveSampler().prepare(vae)
