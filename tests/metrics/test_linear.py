"""The linear VAE is probabilistic PCA: at its optimum the ELBO is log p(x) for every x."""

import math

import pytest
import torch
from linear import D, Q, build_linear_vae, build_optimal_linear_vae
from torch.distributions import MultivariateNormal

from vaelab.metrics.linear import exact_elbo, is_linear
from vaelab.runs.run import RunParts


@pytest.fixture
def solved(config):
    return build_optimal_linear_vae(config)


def test_elbo_at_the_optimum_is_log_p_of_every_x(solved):
    (vae, _), x, values, variance = solved
    weight, center = vae.decoder.layers[-1].weight, vae.decoder.layers[-1].bias
    model = MultivariateNormal(center, weight @ weight.T + variance * torch.eye(D).double())
    torch.testing.assert_close(exact_elbo(vae, x), model.log_prob(x))
    discarded = (D - Q) * variance.log()
    expected = -(D * math.log(2 * math.pi) + values[:Q].log().sum() + discarded + D) / 2
    assert exact_elbo(vae, x).mean().item() == pytest.approx(expected.item(), abs=1e-10)


def test_rotated_decoder_loses_the_approximation_gap(solved, config):
    (vae, _), x, _, variance = solved
    rotation = torch.linalg.qr(torch.randn(Q, Q).double())[0]
    weight = vae.decoder.layers[-1].weight @ rotation
    rotated, m = build_linear_vae(config, weight.detach(), vae.decoder.layers[-1].bias, variance)
    loss = (m.diagonal().log().sum() - torch.logdet(m)) / 2
    difference = exact_elbo(vae, x).mean() - exact_elbo(rotated, x).mean()
    assert loss > 0.01
    torch.testing.assert_close(difference, loss)


def test_exact_elbo_is_the_mean_of_the_sampled_elbo(solved):
    from vaelab.kl.constant import ConstantWeight
    from vaelab.objectives.elbo import ELBO

    (vae, _), x, *_ = solved
    sampled = ELBO(ConstantWeight())(vae, x[:1].expand(20_000, D), 0)["elbo"]
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
def test_linear_vaes_are_recognised(config, overrides, linear):
    assert is_linear(RunParts.build(config(*overrides)).vae) == linear
