"""The autoregressive prior over codebook indices."""

import math

import pytest
import torch

from vaelab.distributions.codebook import QuantizedCodes, find_nearest_codes
from vaelab.posteriors.vq import VQ
from vaelab.priors.pixelcnn import PixelCNN, compute_grid_shape


@pytest.fixture
def prior():
    def make(shape, count, codes, **settings):
        prior = PixelCNN(count, shape, **{"channels": 8, "layers": 3, "kernel_size": 3} | settings)
        prior.prepare(VQ(count, codes, 1))
        return prior.double()

    return make


def logit_gradients(prior, size):
    """Compute |gradient| of the logits at each position (rows) by the embedding at each other."""
    height, width = size
    vectors = torch.randn(1, height, width, 8).double()
    vectors.requires_grad_()
    prior.network.embedding.forward = lambda indices: vectors
    logits = prior.logits(torch.zeros(1, height * width).long())[0]
    gradients = [torch.autograd.grad(row.sum(), vectors, retain_graph=True)[0] for row in logits]
    return torch.stack([gradient.abs().sum(-1).flatten() for gradient in gradients])


@pytest.mark.parametrize("size", [(4, 4), (3, 5), (1, 6)])
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_logits_depend_on_exactly_the_preceding_positions(prior, size, kernel_size):
    height, width = size
    shape = (1, 4 * height, 4 * width)
    prior = prior(shape, height * width, 5, layers=6, kernel_size=kernel_size)
    assert prior.grid == size
    gradients = logit_gradients(prior, size)
    assert (gradients.triu() == 0).all()
    is_preceding = torch.ones_like(gradients).tril(-1).bool()
    assert (gradients[is_preceding] > 0).all()


def test_probabilities_of_all_indices_sum_to_one_and_match_samples(prior):
    all_indices = torch.cartesian_prod(*[torch.arange(3)] * 4)
    p = prior((1, 8, 8), 4, 3)(lambda x: x)
    assert p.log_prob(all_indices).exp().sum().item() == pytest.approx(1)
    samples = p.sample((5000,))
    frequencies = (samples.unsqueeze(1) == all_indices).all(-1).double().mean(0)
    expected = p.log_prob(all_indices).exp()
    error = (expected * (1 - expected) / 5000).sqrt()
    assert ((frequencies - expected).abs() < 4.5 * error).all()


def test_grid_divides_the_image_shape_or_is_one_row():
    assert compute_grid_shape((1, 28, 28), 49) == (7, 7)
    assert compute_grid_shape((3, 28, 32), 56) == (7, 8)
    assert compute_grid_shape((1, 28, 28), 5) == (1, 5)
    assert compute_grid_shape((1, 28, 28), 9) == (1, 9)
    assert compute_grid_shape((10,), 4) == (1, 4)
    assert compute_grid_shape((1, 2, 2), 400) == (1, 400)


def test_slices_of_volumes_lie_below_one_another_and_series_are_one_row():
    assert compute_grid_shape((1, 16, 16, 16), 64) == (16, 4)
    assert compute_grid_shape((2, 8, 12, 16), 24) == (6, 4)
    assert compute_grid_shape((1, 8, 8, 8), 7) == (1, 7)
    assert compute_grid_shape((3, 40), 10) == (1, 10)


def test_prior_learns_the_structure_of_indices(prior):
    """Each row repeats one random index, so the entropy is log 3 nats per row."""
    prior = prior((1, 12, 12), 9, 3).float()
    optimizer = torch.optim.Adam(prior.parameters(), 1e-2)
    for _ in range(150):
        c = torch.randint(3, (64, 3, 1)).expand(64, 3, 3).flatten(1)
        loss = -prior(lambda x: x).log_prob(c).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() == pytest.approx(3 * math.log(3), abs=0.25)
    assert loss.item() < 9 * math.log(3) / 2
    samples = prior(lambda x: x).sample((50,)).unflatten(1, (3, 3))
    assert (samples == samples[..., :1]).all(-1).double().mean() > 0.9


def test_every_weight_has_a_gradient(prior):
    prior = prior((1, 12, 12), 9, 3)
    prior(lambda x: x).log_prob(torch.randint(3, (20, 9))).sum().backward()
    for name, weight in prior.named_parameters():
        assert weight.grad.abs().sum() > 0, name


def test_kl_is_minus_the_log_probability_of_the_indices():
    posterior, prior = VQ(4, 3, 1), PixelCNN(4, (1, 8, 8), 8, 2, 3)
    prior.prepare(posterior)
    out = torch.randn(5, 4)
    indices = find_nearest_codes(out.unsqueeze(-1), posterior.codebook)
    p = posterior.prior_on_z(prior(lambda x: x))
    kl = torch.distributions.kl_divergence(QuantizedCodes(out, indices, posterior.codebook), p)
    torch.testing.assert_close(kl, -prior(lambda x: x).log_prob(indices))


@pytest.mark.parametrize("setting", [{"channels": 0}, {"layers": 0}, {"kernel_size": 4}])
def test_setting_out_of_range_is_rejected(setting):
    with pytest.raises(ValueError, match=rf"prior\.{next(iter(setting))}="):
        PixelCNN(4, (1, 8, 8), **setting)
