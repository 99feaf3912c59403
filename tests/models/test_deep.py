"""model=deep: exact cases, activations and gradients at the start, and its settings."""

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
    layer.posterior[-2].weight.data *= 30_000  # a posterior far from the prior
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
            torch.stack(
                [torch.cat([torch.zeros(2).double(), variance * gain]), zeros[:2].flatten()]
            ),
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
    """Return the norms of activations, of their gradients, and of the gradients of each kind of
    weight, over the stochastic layers from the top: {name: (layers,)}.
    """
    states, norms = [], defaultdict(list)
    for layer in vae.decoder.layers:
        layer.below[0].register_forward_hook(lambda module, inputs, out: states.append(out))
    loss = objective(vae, x, 0)["loss"].mean()
    for state in states:
        state.retain_grad()
    loss.backward()
    for state, layer in zip(states, vae.decoder.layers, strict=True):
        norms["activations"].append(state.std())
        norms["their gradients"].append(state.grad.norm())
        for kind in ("prior", "posterior", "merge", "below.0"):
            for name, weight in layer.get_submodule(kind).named_parameters():
                if weight.ndim > 1:
                    norms[f"{kind}.{name}"].append(weight.grad.norm())
    return {name: torch.stack(values).detach() for name, values in norms.items()}


@pytest.mark.slow
@pytest.mark.parametrize("layers", ["{16:30}", "{4:8,8:12,16:10}"])
def test_30_layers_start_with_balanced_activations_and_gradients(config, layers):
    """The median of five initializations differs less than tenfold between layers."""
    words = ("model=deep", f"model.layers={layers}", "model.latents=16", "model.channels=32")
    cfg = config(*words, "loss=mse")
    x = torch.nn.functional.interpolate(torch.rand(8, 3, 8, 8), size=(32, 32), mode="bilinear")
    runs = []
    for seed in range(5):
        torch.manual_seed(seed)
        vae = build_from_config(cfg.module.vae, shape=[3, 32, 32])
        vae.initialize(x)
        runs.append(measure_start(vae, x, build_from_config(cfg.objective)))
    assert len(runs[0]) == 15
    for name in runs[0]:
        scale = torch.stack([run[name] for run in runs]).median(0).values
        assert scale.shape == (30,)
        assert scale.max() < 10 * scale.min(), (name, scale)


@pytest.mark.parametrize(
    ("shape", "words", "message"),
    [
        ((1, 28, 28), ("model.layers={5:1}",), "height 5, .* heights 28, 14, 7, 4, 2, 1: choose"),
        ((3, 20, 12), ("model.layers={4:1}",), "of 20x12 have the heights 20, 10, 5, 3, 2, 1"),
        ((1, 28, 28), ("model.layers={7:0}",), "at least one layer, as in {1: 2}"),
        ((1, 28, 28), ("model.layers={7:-1}",), "number of layers"),
        ((1, 28, 28), ("model.layers=7:2",), "with the quotes"),
        ((1, 28, 28), ("model.layers={a:1}",), "a whole number for each height"),
        ((1, 28, 28), ("model.layers={7:1}", "model.channels={14:8}"), "no number for .* height 7"),
        ((1, 28, 28), ("model.latents=0",), "at least 1"),
        ((1, 28, 28), ("model.bottleneck=0",), "model.bottleneck=0"),
        (
            (1, 28, 28),
            ("model.checkpointing=true", "model.normalization=batch"),
            "count it twice",
        ),
        ((1, 28, 28), ("posterior=full",), "set posterior=diagonal and prior=normal"),
        ((784,), (), "set data.shape="),
    ],
)
def test_invalid_settings_are_refused(build, shape, words, message):
    with pytest.raises(ValueError, match=message):
        build(shape, *words)


def test_all_heights_of_an_odd_size_are_reached(build):
    words = (
        "model.layers={1:1,2:1,4:1,7:2,14:1,28:1}",
        "model.channels={1:8,2:8,4:6,7:6,14:4,28:4}",
    )
    vae = build((1, 28, 28), *words, "model.latents=1")
    assert vae.decoder.heights == [1, 2, 4, 7, 7, 14, 28]
    assert vae.decoder.latents == [1, 4, 16, 49, 49, 196, 784]
    assert vae.latent_dim == sum(vae.decoder.latents)
    x = torch.rand(2, 1, 28, 28).round()
    assert vae.decode(vae.encode(x).rsample()).log_prob(x).isfinite().all()


def test_checkpointing_gives_the_same_loss_and_gradients(config):
    results = []
    for checkpointing in ("false", "true"):
        torch.manual_seed(0)
        run = RunParts.build(config(*TINY, f"model.checkpointing={checkpointing}"))
        torch.manual_seed(1)
        loss = run.module.objective(run.vae, torch.rand(3, 1, 28, 28).round(), 0)["loss"].mean()
        loss.backward()
        results.append([loss.detach(), *(weight.grad for weight in run.vae.parameters())])
    torch.testing.assert_close(*results)


def test_distributions_are_finite_in_float32_under_bf16(build):
    vae = build((3, 16, 16), *TINY[1:], "loss=logistic_mixture")
    for layer in vae.decoder.layers:
        layer.posterior[-2].weight.data *= 1e6
        layer.prior[-1].weight.data *= 1e3
    x = torch.rand(4, 3, 16, 16)
    with torch.autocast("cpu", torch.bfloat16), vae.autocast_networks_only("cpu"):
        z, kl = sample_with_kl(vae.encode(x), vae.latents())
        log_p = vae.decode(z).log_prob(x)
    assert (z.dtype, kl.dtype, log_p.dtype) == (torch.float32,) * 3
    assert kl.isfinite().all()


def test_labels_change_every_layer_and_the_decoder(build):
    vae = build((1, 8, 8), *TINY[1:], "model.labels=3").eval()
    x = torch.rand(2, 1, 8, 8).round()
    with pytest.raises(ValueError, match="needs the labels"):
        vae.encode(x).rsample()
    z, results = torch.randn(2, vae.latent_dim), []
    for y in (torch.tensor([0, 1]), torch.tensor([2, 1])):
        model = vae.condition_on(y)
        p = model.latents()
        assert (p.batch_shape, p.event_shape) == ((2,), (vae.latent_dim,))
        assert p.sample(torch.Size([3])).shape == (3, 2, vae.latent_dim)
        results.append((p.log_prob(z), model.encode(x).log_prob(z), model.decode(z.clone()).mean))
    for first, second in zip(*results, strict=True):
        assert not torch.allclose(first[0], second[0])
        torch.testing.assert_close(first[1], second[1])


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        "model.labels=10",
        "kl=free_bits objective=elbo kl.nats=1",
        "objective=iwae objective.samples=3",
        "trainer.precision=bf16-mixed model.checkpointing=true",
        "loss=gaussian loss.scale=optimal data.binarize=none",
        "model.normalization=group",
    ],
)
def test_deep_trains_and_reports_the_kl_of_each_layer(train, words):
    numbers = train(*TINY[:3], "model.layers={4:1,7:2}", *words.split())
    assert math.isfinite(numbers["elbo"])
    layers = [numbers[f"kl_layer_{number}"] for number in (1, 2, 3)]
    assert sum(layers) == pytest.approx(numbers["kl"], abs=1e-3)
    assert numbers["active_layers"] == sum(value >= 0.1 for value in layers)


@pytest.mark.slow
@pytest.mark.parametrize(("edge", "channels"), [(28, 1), (32, 3), (64, 3), (128, 3)])
def test_images_of_28_to_128_pixels_take_a_step_with_a_logistic_mixture(build, edge, channels):
    vae = build((channels, edge, edge), "model.channels=8", "loss=logistic_mixture")
    x = torch.rand(2, channels, edge, edge)
    vae.initialize(x)
    z, kl = sample_with_kl(vae.encode(x), vae.latents())
    loss = (kl.sum(-1) - vae.decode(z).log_prob(x)).mean()
    loss.backward()
    assert all(weight.grad.isfinite().all() for weight in vae.parameters())
