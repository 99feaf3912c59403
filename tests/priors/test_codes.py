import math

import pytest
import torch

from vaelab.posteriors.diagonal import Diagonal
from vaelab.posteriors.vq import VQ
from vaelab.priors.codes import Codes


def test_every_latent_vector_has_probability_k_to_the_minus_n():
    prior, posterior = Codes(6, (1, 4, 4)), VQ(6, 5, 2)
    prior.prepare(posterior)
    p = posterior.prior_on_z(prior(lambda x: x))
    z = p.sample((9,))
    assert z.shape == (9, 6)
    torch.testing.assert_close(p.log_prob(z), torch.full((9,), -3 * math.log(5)))


def test_samples_use_the_current_codebook():
    prior, posterior = Codes(6, (1, 4, 4)), VQ(6, 5, 2)
    prior.prepare(posterior)
    posterior.codebook.copy_(torch.arange(10.0).reshape(5, 2))
    z = posterior.prior_on_z(prior(lambda x: x)).sample((50,))
    assert set(z[:, ::2].flatten().tolist()) == {0.0, 2.0, 4.0, 6.0, 8.0}


def test_posterior_without_a_codebook_is_rejected():
    with pytest.raises(ValueError, match="no codebook for the prior: set posterior=vq"):
        Codes(6, (1, 4, 4)).prepare(Diagonal(6))


@pytest.mark.parametrize("prior", ["codes", "pixelcnn"])
def test_vae_rejects_posteriors_without_a_codebook(config, prior):
    from vaelab.runs.run import RunParts

    with pytest.raises(ValueError, match=r"lives on .* the codes of a codebook"):
        RunParts.build(config(f"prior={prior}"))
