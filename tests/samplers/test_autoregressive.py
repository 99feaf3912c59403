import pytest
import torch

from vaelab.runs.run import Run
from vaelab.samplers.autoregressive import AutoregressiveSampler


@pytest.fixture
def vae(config):
    words = ("objective=vq", "prior=pixelcnn", "posterior.codes=5", "posterior.dim=1")
    return Run.build(config(*words, "model.hidden=[8]", "latent_dim=3")).vae.eval()


def test_it_draws_codes_of_the_codebook_from_the_prior(vae):
    sampler = AutoregressiveSampler()
    sampler.prepare(vae)
    z = sampler.sample(50)
    assert z.shape == (50, 3)
    assert torch.isfinite(vae.latents().log_prob(z)).all()


def test_near_zero_it_draws_the_likeliest_code_each_time(vae):
    sampler = AutoregressiveSampler(temperature=1e-3)
    sampler.prepare(vae)
    z = sampler.sample(50)
    assert (z == z[0]).all()


def test_it_needs_no_codes():
    assert not AutoregressiveSampler.fitted


def test_another_prior_and_no_temperature_are_refused(vae, config):
    with pytest.raises(ValueError, match="temperature=0: logits are divided by it"):
        AutoregressiveSampler(temperature=0).prepare(vae)
    vae = Run.build(config("model.hidden=[8]")).vae
    with pytest.raises(ValueError, match=r"UnitNormal, .* is not autoregressive: set sampler="):
        AutoregressiveSampler().prepare(vae)
