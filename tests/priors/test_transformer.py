"""The causal transformer over codebook indices."""

import math

import pytest
import torch

from vaelab.distributions.codebook import AutoregressiveIndices
from vaelab.posteriors.fsq import FSQ
from vaelab.posteriors.residual_vq import ResidualVQ
from vaelab.posteriors.vq import VQ
from vaelab.priors.transformer import Transformer


@pytest.fixture
def prior():
    def make(latent_dim, posterior, **settings):
        settings = {"channels": 12, "layers": 2, "heads": 3} | settings
        prior = Transformer(latent_dim, (1, 8, 8), **settings)
        prior.prepare(posterior)
        for weight in prior.parameters():  # so that every index depends clearly on the others
            weight.data += 0.3 * torch.randn_like(weight)
        return prior.double()

    return make


POSTERIORS = {
    "vq": lambda: (6, VQ(6, 5, 1)),
    "fsq": lambda: (12, FSQ(12, [3, 4])),
    "residual_vq": lambda: (12, ResidualVQ(12, 5, 2, 3)),
    "grouped": lambda: (12, ResidualVQ(12, 5, 2, 3, groups=2)),
}


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_cached_sampling_equals_sampling_without_a_cache(prior, posterior):
    prior = prior(*POSTERIORS[posterior]())
    p, samples = prior(lambda x: x), []
    for distribution in (p, AutoregressiveIndices(p.logits, p.zeros)):
        torch.manual_seed(1)
        samples.append(distribution.sample((40,)))
    assert torch.equal(*samples)
    step, logits = prior.network.start(40), prior.network(samples[0])
    for i in range(samples[0].shape[1]):
        index = samples[0][:, i - 1] if i else None
        torch.testing.assert_close(step(index), logits[:, i])


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_logits_depend_on_exactly_the_preceding_indices(prior, posterior):
    prior = prior(*POSTERIORS[posterior]())
    count = len(prior.zeros)
    indices = torch.zeros(1, count).long()
    changed = indices + torch.eye(count).long()
    difference = (prior.network(changed) - prior.network(indices)).abs().amax(-1)
    is_after = torch.ones(count, count).triu(1).bool()
    assert (difference[~is_after] < 1e-12).all()
    assert (difference[is_after] > 1e-6).all()


def test_probabilities_of_all_indices_sum_to_one_and_match_samples(prior):
    all_indices = torch.cartesian_prod(*[torch.arange(3)] * 4)
    p = prior(8, ResidualVQ(8, 3, 2, 2))(lambda x: x)
    assert p.log_prob(all_indices).exp().sum().item() == pytest.approx(1)
    samples = p.sample((5000,))
    frequencies = (samples.unsqueeze(1) == all_indices).all(-1).double().mean(0)
    expected = p.log_prob(all_indices).exp()
    error = (expected * (1 - expected) / 5000).sqrt()
    assert ((frequencies - expected).abs() < 4.5 * error).all()


def test_prior_learns_levels_that_depend_on_one_another():
    """The second level repeats the first, so the entropy is log 4 nats per position."""
    torch.manual_seed(0)
    prior = Transformer(12, (1, 8, 8), 24, 2, 2)
    prior.prepare(ResidualVQ(12, 4, 2, 2))
    optimizer = torch.optim.Adam(prior.parameters(), 1e-2)
    for _ in range(100):
        c = torch.randint(4, (64, 3, 1)).expand(64, 3, 2).flatten(1)
        loss = -prior(lambda x: x).log_prob(c).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() == pytest.approx(3 * math.log(4), abs=0.25)
    samples = prior(lambda x: x).sample((50,)).unflatten(1, (3, 2))
    assert (samples[..., 0] == samples[..., 1]).double().mean() > 0.95


def test_every_weight_has_a_gradient(prior):
    prior = prior(12, ResidualVQ(12, 5, 2, 3))
    prior(lambda x: x).log_prob(torch.randint(5, (20, 6))).sum().backward()
    for name, weight in prior.named_parameters():
        assert weight.grad.abs().sum() > 0, name


@pytest.mark.parametrize("setting", [{"channels": 0}, {"layers": 0}, {"heads": 5}])
def test_setting_out_of_range_is_rejected(setting):
    with pytest.raises(ValueError, match=rf"prior\.{next(iter(setting))}="):
        Transformer(4, (1, 8, 8), **setting)
