"""model=deep: exact cases, the scale of activations and gradients at the start, and its settings."""

import math
from collections import defaultdict

import pytest
import torch
from torch import nn

from vaelab.estimators.importance import importance_bound
from vaelab.objectives.base import sample_with_kl, sample_with_log_prob
from vaelab.posteriors.diagonal import Diagonal
from vaelab.priors.normal import UnitNormal
from vaelab.runs.run import RunParts
from vaelab.runtime.build import build_from_config
from vaelab.vae import VAE

TINY = ("model=deep", "model.channels=6", "model.latents=1", "model.layers={2:1,4:2}")


@pytest.fixture
def build(config):
    def build_model(shape, *words):
        cfg = config("model=deep", *words)
        return build_from_config(cfg.module.vae, shape=list(shape))

    return build_model


def test_one_layer_is_a_vae_of_the_same_networks_with_a_diagonal_posterior(build):
    deep = build((1, 8, 8), "model.layers={4:1}", "model.channels=6", "model.latents=2").eval()
    layer, decoder = deep.decoder.layers[0], deep.decoder
    layer.posterior[-2].weight.data *= 100  # a posterior far from the prior
    layer.prior[-1].weight.data[:4] = 0  # p(z) = N(0, I)
    _, state = deep.run_prior(layer, deep.make_start(torch.Size([1])))

    class JoinedEncoder(nn.Module):
        def forward(self, x):
            features = deep.encoder.steps[0](x)
            return layer.posterior(torch.cat([state.expand(len(x), -1, -1, -1), features], 1))

    class JoinedDecoder(nn.Module):
        def forward(self, z):
            return decoder.head(layer.below(state + layer.merge(z)))

    vae = VAE(
        deep.shape,
        deep.latent_dim,
        encoder=lambda shape, outputs: JoinedEncoder(),
        decoder=lambda latent_dim, shape: JoinedDecoder(),
        posterior=Diagonal,
        prior=UnitNormal,
        likelihood=lambda shape: deep.likelihood,
    )
    x, results = torch.rand(5, 1, 8, 8).round(), []
    for model in (deep, vae):
        torch.manual_seed(1)
        with torch.no_grad():
            z, kl = sample_with_kl(model.encode(x), model.latents())
            elbo = model.decode(z).log_prob(x) - kl.sum(-1)
            results.append((kl.sum(-1), elbo, importance_bound(model, x, 20)))
    assert results[0][0].mean() > 1
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-4)


def test_linear_gaussian_hierarchy_has_the_exact_likelihood_and_kl(build):
    """z_1 ~ N(0,1), z_2 = a z_1 + s e, x = w z_2 + t e', with q(z_1|x) and q(z_2|z_1,x) exact.

    The state has the channels (z_1, z_2), and the features are x.
    """
    a, s, t = 0.7, 0.6, 0.4
    w = torch.tensor([1.5, -0.8]).double()
    words = ("model.layers={1:2}", "model.channels=2", "model.latents=1", "posterior.bound=10")
    vae = build((2, 1, 1), *words, "loss=mse", f"loss.scale={t}").double()

    def linear(weight, bias=None):
        conv = nn.Conv2d(weight.shape[1], weight.shape[0], 1).double()
        conv.weight.data = weight[:, :, None, None]
        conv.bias.data = torch.zeros(len(weight)).double() if bias is None else bias
        return conv

    def raw(scale):
        """Invert the bound of the posterior: the result is bounded to log(scale)."""
        return 10 * math.atanh(math.log(scale) / 10)

    noise = s**2 * torch.outer(w, w) + t**2 * torch.eye(2).double()  # the covariance of x given z_1
    gain = a * torch.linalg.solve(noise, w)
    variance = 1 / (1 + (a * w @ gain).item())
    precision = 1 / s**2 + (w @ w).item() / t**2
    first, second = vae.decoder.layers
    zeros = torch.zeros(4, 2).double()
    first.prior = linear(zeros)
    second.prior = linear(
        torch.tensor([[a, 0.0], [0, 0], [0, 0], [0, 0]]).double(),
        torch.tensor([0.0, raw(s), 0, 0]).double(),
    )
    first.posterior = nn.Sequential(
        linear(
            torch.stack([torch.cat([torch.zeros(2).double(), variance * gain]), zeros[:2].flatten()]),
            torch.tensor([0.0, raw(variance**0.5)]).double(),
        ),
        nn.Flatten(),
    )
    weight_of_state = a / s**2 / precision - a
    second.posterior = nn.Sequential(
        linear(
            torch.stack(
                [
                    torch.tensor([weight_of_state, 0.0, *(w / t**2 / precision)]).double(),
                    zeros[:2].flatten(),
                ]
            ),
            torch.tensor([0.0, raw(precision**-0.5) - raw(s)]).double(),
        ),
        nn.Flatten(),
    )
    for number, layer in enumerate((first, second)):
        layer.merge[-1] = linear(torch.eye(2).double()[:, number : number + 1])
        layer.below = nn.Identity()
    vae.decoder.start.data = torch.zeros(2, 1, 1).double()
    vae.encoder.steps[0] = nn.Identity()
    vae.decoder.head = linear(torch.stack([torch.zeros(2).double(), w], 1))

    x = torch.randn(50, 2, 1, 1).double()
    with torch.no_grad():
        z, log_q = sample_with_log_prob(vae.encode(x), 3)
        log_w = vae.decode(z).log_prob(x) + vae.latents().log_prob(z) - log_q
        _, kl = sample_with_kl(vae.encode(x[:1].expand(100_000, 2, 1, 1)), vae.latents())
    covariance = (a**2 + s**2) * torch.outer(w, w) + t**2 * torch.eye(2).double()
    marginal = torch.distributions.MultivariateNormal(torch.zeros(2).double(), covariance)
    exact = marginal.log_prob(x.flatten(1))
    torch.testing.assert_close(log_w, exact.expand(3, 50), rtol=1e-6, atol=1e-6)

    # z = (z_1, z_2) is jointly normal under p and q, which gives the KL of both layers together
    prior = torch.tensor([[1, a], [a, a**2 + s**2]]).double()
    load = torch.outer(torch.tensor([0.0, 1]).double(), w)  # x = z @ load + t e'
    posterior = torch.linalg.inv(torch.linalg.inv(prior) + load @ load.T / t**2)
    mean = posterior @ load @ x[0].flatten() / t**2
    joint = torch.distributions.kl_divergence(
        torch.distributions.MultivariateNormal(mean, posterior),
        torch.distributions.MultivariateNormal(torch.zeros(2).double(), prior),
    )
    error = kl.sum(-1).std().item() / math.sqrt(len(kl))
    assert kl.sum(-1).mean().item() == pytest.approx(joint.item(), abs=4 * error + 1e-6)


def measure_start(vae, x, objective):
    """Return activations, their gradients, and gradients of each kind of weight, over the depth."""
    states, gradients = [], defaultdict(list)
    for layer in vae.decoder.layers:
        layer.below[0].register_forward_hook(lambda module, inputs, out: states.append(out))
    objective(vae, x, 0)
    states.clear()
    terms = objective(vae, x, 0)
    for state in states:
        state.retain_grad()
    terms["loss"].mean().backward()
    for layer in vae.decoder.layers:
        for kind in ("prior", "posterior", "merge", "below.0"):
            for name, weight in layer.get_submodule(kind).named_parameters():
                if weight.ndim > 1 and "channels" not in name:
                    gradients[f"{kind}.{name}"].append(weight.grad.norm().item())
    scales = [state.std().item() for state in states]
    return scales, [state.grad.flatten(1).norm(dim=1).mean().item() for state in states], gradients


@pytest.mark.slow
@pytest.mark.parametrize("layers", ["{16:30}", "{4:8,8:12,16:10}"])
def test_30_layers_start_with_balanced_activations_and_gradients(config, layers):
    words = ("model=deep", f"model.layers={layers}", "model.latents=4", "model.channels=64")
    cfg = config(*words, "loss=mse")
    vae = build_from_config(cfg.module.vae, shape=[3, 32, 32])
    x = torch.nn.functional.interpolate(torch.rand(16, 3, 8, 8), size=(32, 32), mode="bilinear")
    vae.initialize(x)
    activations, of_states, of_weights = measure_start(vae, x, build_from_config(cfg.objective))
    assert len(activations) == 30
    for name, values in {"activations": activations, "states": of_states, **of_weights}.items():
        assert max(values) < 10 * min(values), (name, values)
