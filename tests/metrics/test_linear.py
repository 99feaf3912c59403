"""The linear VAE is probabilistic PCA: at its optimum the ELBO is log p(x) for every x."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from vaelab.metrics.linear import exact_elbo, is_linear
from vaelab.run import Run, build

D, Q, N = 12, 3, 400


@pytest.fixture
def solved(config):
    """A linear VAE at the maximum-likelihood solution for some data, which is returned as well."""
    torch.manual_seed(3)
    x = torch.randn(N, D).double() @ torch.randn(D, D).double() + torch.randn(D).double()
    center = x.mean(0)
    values, vectors = torch.linalg.eigh((x - center).T @ (x - center) / N)
    values, vectors = values.flip(0), vectors.flip(1)
    variance = values[Q:].mean()
    weight = vectors[:, :Q] * (values[:Q] - variance).sqrt()
    return linear_vae(config, weight, center, variance), x, values, variance


def linear_vae(config, weight, center, variance):
    """W, b and s^2 of the decoder, with the best diagonal posterior for them."""
    cfg = config("model.hidden=[]", "loss=gaussian", f"latent_dim={Q}")
    vae = build(cfg.module.vae, shape=[D]).double()
    m = weight.T @ weight + variance * torch.eye(Q).double()
    encoder = torch.linalg.solve(m, weight.T)
    log_scale = (variance / m.diagonal()).log() / 2
    with torch.no_grad():
        vae.decoder.layers[-1].weight.copy_(weight)
        vae.decoder.layers[-1].bias.copy_(center)
        vae.encoder.layers[-1].weight.copy_(torch.cat([encoder, torch.zeros(Q, D)]))
        raw = 7 * torch.atanh(log_scale / 7)
        vae.encoder.layers[-1].bias.copy_(torch.cat([-encoder @ center, raw]))
        vae.likelihood.raw.copy_((variance.sqrt() - 1 / 256).expm1().log())
    return vae, m


def test_at_the_optimum_the_elbo_is_log_p_of_every_x(solved):
    (vae, _), x, values, variance = solved
    weight, center = vae.decoder.layers[-1].weight, vae.decoder.layers[-1].bias
    model = MultivariateNormal(center, weight @ weight.T + variance * torch.eye(D).double())
    torch.testing.assert_close(exact_elbo(vae, x), model.log_prob(x))
    discarded = (D - Q) * variance.log()
    expected = -(D * math.log(2 * math.pi) + values[:Q].log().sum() + discarded + D) / 2
    assert exact_elbo(vae, x).mean().item() == pytest.approx(expected.item(), abs=1e-10)


def test_a_rotated_decoder_loses_what_a_diagonal_posterior_cannot_follow(solved, config):
    (vae, _), x, _, variance = solved
    rotation = torch.linalg.qr(torch.randn(Q, Q).double())[0]
    weight = vae.decoder.layers[-1].weight @ rotation
    rotated, m = linear_vae(config, weight.detach(), vae.decoder.layers[-1].bias, variance)
    loss = (m.diagonal().log().sum() - torch.logdet(m)) / 2
    difference = exact_elbo(vae, x).mean() - exact_elbo(rotated, x).mean()
    assert loss > 0.01
    torch.testing.assert_close(difference, loss)


def test_it_is_the_mean_of_the_sampled_elbo(solved):
    from vaelab.kl.constant import Constant
    from vaelab.objectives.elbo import ELBO

    (vae, _), x, *_ = solved
    sampled = ELBO(Constant())(vae, x[:1].expand(20_000, D), 0)["elbo"]
    error = sampled.std().item() / math.sqrt(20_000)
    assert sampled.mean().item() == pytest.approx(exact_elbo(vae, x[:1]).item(), abs=4 * error)


@pytest.mark.parametrize(
    ("overrides", "linear"),
    [
        (("model.hidden=[]", "loss=gaussian"), True),
        (("model.hidden=[]", "loss=mse"), True),
        (("model.hidden=[]",), False),
        (("model.hidden=[20]", "loss=gaussian"), False),
        (("model=conv", "loss=mse"), False),
    ],
)
def test_a_linear_vae_is_recognised(config, overrides, linear):
    assert is_linear(Run.build(config(*overrides)).vae) == linear
