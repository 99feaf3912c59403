from types import SimpleNamespace

import pytest
import torch

from vaelab.run import Run
from vaelab.samplers.autoregressive import Autoregressive


class Walk:
    """What an autoregressive prior offers."""

    def sample(self, shape=torch.Size(), temperature=1.0):  # noqa: B008
        return temperature * torch.ones(*shape, 3)


@pytest.mark.parametrize("owner", ["prior", "p"])
def test_it_hands_the_temperature_to_the_prior_or_to_its_distribution(owner):
    vae = SimpleNamespace(prior=object(), latents=lambda: object())
    if owner == "prior":
        vae.prior = Walk()
    else:
        vae.latents = Walk
    sampler = Autoregressive(temperature=0.5)
    sampler.prepare(vae)
    assert torch.equal(sampler.sample(4), torch.full((4, 3), 0.5))


def test_it_needs_no_codes():
    assert not Autoregressive.fitted


def test_another_prior_is_refused(config):
    vae = Run.build(config("model.hidden=[8]")).vae
    with pytest.raises(ValueError, match=r"UnitNormal, .* is not autoregressive: set sampler="):
        Autoregressive().prepare(vae)
