"""The autoregressive prior over codes."""

import math

import pytest
import torch

from vaelab.distributions.codebook import QuantizedCodes as Points
from vaelab.distributions.codebook import nearest_code
from vaelab.posteriors.vq import VQ
from vaelab.priors.pixelcnn import PixelCNN, grid_shape


@pytest.fixture
def prior():
    def make(shape, count, codes, **settings):
        prior = PixelCNN(count, shape, **{"channels": 8, "layers": 3, "kernel_size": 3} | settings)
        prior.prepare(VQ(count, codes, 1))
        return prior.double()

    return make


def slopes(prior, size):
    """Whether the logits of each place (first) move with the vector of each other place."""
    height, width = size
    vectors = torch.randn(1, height, width, 8).double()
    vectors.requires_grad_()
    prior.network.embedding.forward = lambda indices: vectors
    logits = prior.logits(torch.zeros(1, height * width).long())[0]
    found = [torch.autograd.grad(each.sum(), vectors, retain_graph=True)[0] for each in logits]
    return torch.stack([each.abs().sum(-1).flatten() for each in found])


@pytest.mark.parametrize("size", [(4, 4), (3, 5), (1, 6)])
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_each_place_sees_all_places_before_it_and_no_other(prior, size, kernel_size):
    height, width = size
    shape = (1, 4 * height, 4 * width)
    prior = prior(shape, height * width, 5, layers=6, kernel_size=kernel_size)
    assert prior.grid == size
    found = slopes(prior, size)
    assert (found.triu() == 0).all()
    below = torch.ones_like(found).tril(-1).bool()
    assert (found[below] > 0).all()


def test_all_codes_together_have_probability_one(prior):
    everything = torch.cartesian_prod(*[torch.arange(3)] * 4)
    p = prior((1, 8, 8), 4, 3)(lambda x: x)
    assert p.log_prob(everything).exp().sum().item() == pytest.approx(1)
    drawn = p.sample((5000,))
    found = (drawn.unsqueeze(1) == everything).all(-1).double().mean(0)
    expected = p.log_prob(everything).exp()
    error = (expected * (1 - expected) / 5000).sqrt()
    assert ((found - expected).abs() < 4.5 * error).all()


def test_the_grid_is_the_pictures_made_smaller_or_else_one_row():
    assert grid_shape((1, 28, 28), 49) == (7, 7)
    assert grid_shape((3, 28, 32), 56) == (7, 8)
    assert grid_shape((1, 28, 28), 5) == (1, 5)
    assert grid_shape((1, 28, 28), 9) == (1, 9)
    assert grid_shape((10,), 4) == (1, 4)
    assert grid_shape((1, 2, 2), 400) == (1, 400)


def test_it_learns_the_structure_of_codes(prior):
    """Rows that repeat one random index: log 3 nats a row is what there is to know."""
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
    drawn = prior(lambda x: x).sample((50,)).unflatten(1, (3, 3))
    assert (drawn == drawn[..., :1]).all(-1).double().mean() > 0.9


def test_every_weight_learns(prior):
    prior = prior((1, 12, 12), 9, 3)
    prior(lambda x: x).log_prob(torch.randint(3, (20, 9))).sum().backward()
    for name, weight in prior.named_parameters():
        assert weight.grad.abs().sum() > 0, name


def test_its_kl_is_that_of_the_indices():
    posterior, prior = VQ(4, 3, 1), PixelCNN(4, (1, 8, 8), 8, 2, 3)
    prior.prepare(posterior)
    out = torch.randn(5, 4)
    indices = nearest_code(out.unsqueeze(-1), posterior.codebook)
    p = posterior.prior_on_z(prior(lambda x: x))
    kl = torch.distributions.kl_divergence(Points(out, indices, posterior.codebook), p)
    torch.testing.assert_close(kl, -prior(lambda x: x).log_prob(indices))


@pytest.mark.parametrize("setting", [{"channels": 0}, {"layers": 0}, {"kernel_size": 4}])
def test_an_impossible_setting_is_refused(setting):
    with pytest.raises(ValueError, match=rf"prior\.{next(iter(setting))}="):
        PixelCNN(4, (1, 8, 8), **setting)
