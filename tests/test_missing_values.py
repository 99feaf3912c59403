"""A VAE of data with missing values, against one of complete data."""

import pytest
import torch
from torch import nn

from vaelab.kl.constant import ConstantWeight
from vaelab.objectives.elbo import ELBO
from vaelab.objectives.iwae import IWAE
from vaelab.vae import VAE


class IgnoresMask(nn.Module):
    """An encoder that leaves out the channels that say what is observed."""

    def __init__(self, network, shape):
        super().__init__()
        self.network, self.shape = network, shape

    def forward(self, x):
        return self.network(x[:, : self.shape[0]].contiguous())


@pytest.fixture
def pair(config):
    """Return a VAE of complete data, and one with missing=True, with the same weights."""
    from functools import partial

    from vaelab.likelihoods.bernoulli import Bernoulli
    from vaelab.likelihoods.gaussian import Gaussian
    from vaelab.models import mlp
    from vaelab.posteriors.diagonal import Diagonal
    from vaelab.priors.normal import UnitNormal

    def make(loss, shape):
        likelihoods = {
            "bce": Bernoulli,
            "gaussian": partial(Gaussian, scale="learned"),
            "optimal": partial(Gaussian, scale="optimal"),
        }
        found = []
        for missing in (False, True):
            torch.manual_seed(0)
            network = mlp.Encoder(shape, 6, hidden=[8], activation="ReLU")
            encoder = IgnoresMask(network, shape) if missing else network
            vae = VAE(
                shape,
                3,
                lambda *_, encoder=encoder: encoder,
                partial(mlp.Decoder, hidden=[8], activation="ReLU"),
                Diagonal,
                UnitNormal,
                likelihoods[loss],
                missing=missing,
            )
            found.append(vae)
        return found

    return make


@pytest.mark.parametrize("loss", ["bce", "gaussian", "optimal"])
@pytest.mark.parametrize("shape", [(7,), (2, 4, 3)])
@pytest.mark.parametrize("objective", [ELBO, IWAE])
def test_loss_without_missing_values_is_that_of_complete_data_bit_for_bit(
    pair, loss, shape, objective
):
    x = torch.rand(20, *shape).round()
    losses, gradients = [], []
    for vae in pair(loss, shape):
        torch.manual_seed(1)
        vae.initialize(x)
        terms = objective(ConstantWeight())(vae.train(), x, 0)
        terms["loss"].mean().backward()
        losses.append(terms["loss"])
        gradients.append([weight.grad for weight in vae.parameters()])
    assert torch.equal(*losses)
    for complete, masked in zip(*gradients, strict=True):
        assert torch.allclose(complete, masked, rtol=1e-4, atol=1e-5)


def test_encoder_sees_zeros_and_what_is_observed(pair):
    vae = pair("gaussian", (2, 4, 3))[1]
    assert vae.encoder_shape == (4, 4, 3)
    x = torch.randn(5, 2, 4, 3)
    x[:, 1, 2] = torch.nan
    seen = vae.prepare_encoder_input(x)
    assert torch.equal(seen[:, :2], x.nan_to_num(0))
    assert torch.equal(seen[:, 2:], (~x.isnan()).float())


def test_missing_values_change_neither_loss_nor_gradient(pair):
    """What stands where a value is missing cannot matter, because it is NaN."""
    vae = pair("gaussian", (7,))[1]
    x = torch.randn(6, 7)
    x[:, 3] = torch.nan
    terms = ELBO(ConstantWeight())(vae, x, 0)
    terms["loss"].sum().backward()
    assert terms["loss"].isfinite().all()
    decoder = vae.decoder.layers[-1]
    assert decoder.bias.grad[3] == 0
    assert (decoder.weight.grad[3] == 0).all()
    assert all(weight.grad.isfinite().all() for weight in vae.parameters())


def test_initialization_ignores_missing_values(pair):
    vae = pair("gaussian", (7,))[1]
    x = 3 + 2 * torch.randn(4000, 7)
    vae.initialize(x.where(torch.rand(x.shape) < 0.5, torch.nan))
    assert torch.allclose(vae.decoder.layers[-1].bias, torch.full((7,), 3.0), atol=0.25)
    assert vae.likelihood.scale.item() == pytest.approx(2, rel=0.05)
