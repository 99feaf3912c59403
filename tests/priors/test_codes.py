import math

import pytest
import torch

from vaelab.posteriors.diagonal import Diagonal
from vaelab.posteriors.vq import VQ
from vaelab.priors.codes import Codes


def test_every_code_has_probability_one_over_k_to_the_n():
    prior, posterior = Codes(6, (1, 4, 4)), VQ(6, 5, 2)
    prior.prepare(posterior)
    p = posterior.prior_on_z(prior(lambda x: x))
    z = p.sample((9,))
    assert z.shape == (9, 6)
    torch.testing.assert_close(p.log_prob(z), torch.full((9,), -3 * math.log(5)))


def test_it_draws_from_the_codebook_of_the_moment():
    prior, posterior = Codes(6, (1, 4, 4)), VQ(6, 5, 2)
    prior.prepare(posterior)
    posterior.codebook.copy_(torch.arange(10.0).reshape(5, 2))
    z = posterior.prior_on_z(prior(lambda x: x)).sample((50,))
    assert set(z[:, ::2].flatten().tolist()) == {0.0, 2.0, 4.0, 6.0, 8.0}


def test_a_posterior_without_codes_is_refused():
    with pytest.raises(ValueError, match="no codebook for the prior: set posterior=vq"):
        Codes(6, (1, 4, 4)).prepare(Diagonal(6))


@pytest.mark.parametrize("prior", ["codes", "pixelcnn"])
def test_the_other_posteriors_are_refused_by_the_model(config, prior):
    from vaelab.runs.run import Run

    with pytest.raises(ValueError, match=r"lives on .* the codes of a codebook"):
        Run.build(config(f"prior={prior}"))
