"""Hierarchies of stochastic layers: joint densities, exact likelihoods, and the cached pass."""

import copy
import math
import pickle
import threading

import pytest
import torch
from conftest import slow

from vaelab.objectives.base import sample_with_kl, sample_with_log_prob
from vaelab.runs.run import RunParts
from vaelab.runtime.build import build_from_config

TINY = {
    "ladder": ("model.hidden=[6,5]", "model.latents=[1,1]", "latent_dim=2"),
    "bottom_up": ("model.hidden=[[5],[4]]", "model.latents=[1,1]", "latent_dim=2"),
}


@pytest.fixture
def vae(config):
    def make(option, *words):
        cfg = config(f"model={option}", "loss=mse", "loss.scale=1", *words)
        vae = build_from_config(cfg.module.vae, shape=[2]).double()
        for weight in vae.parameters():
            weight.data = torch.randn_like(weight) * 0.35
        return vae

    return make


def make_grid(points, edge):
    """Return points (points^2, 2) of a square grid, and the area of a cell."""
    axis = torch.linspace(-edge, edge, points).double()
    return torch.cartesian_prod(axis, axis), (axis[1] - axis[0]) ** 2


@pytest.mark.parametrize("option", TINY)
def test_densities_integrate_to_one_and_estimates_of_p_x_match_the_integral(vae, option):
    vae = vae(option, *TINY[option])
    x = torch.randn(1, 2).double()
    points, area = make_grid(801, 16)
    with torch.no_grad():
        log_p = vae.latents().log_prob(points)
        log_q = vae.encode(x).log_prob(points.unsqueeze(1))
        square = (2 * log_q).exp().sum() * area
        assert (log_p.exp().sum() * area).item() == pytest.approx(1, abs=2e-3)
        assert (log_q.exp().sum() * area).item() == pytest.approx(1, abs=2e-3)
        exact = (log_p + vae.decode(points).log_prob(x)).logsumexp(0) + area.log()
        z, log_q = sample_with_log_prob(vae.encode(x), 200_000)
        log_w = vae.decode(z).log_prob(x) + vae.latents().log_prob(z) - log_q
        log_p_of_samples = vae.decode(vae.latents().sample(torch.Size([200_000]))).log_prob(x)
    for log_p, limit in ((log_w, 0.1), (log_p_of_samples, 0.03)):
        assert (log_p.logsumexp(0) - math.log(len(log_p))).item() == pytest.approx(
            exact.item(), abs=limit
        )
    error = log_q.exp().std().item() / math.sqrt(len(log_q))
    assert log_q.exp().mean().item() == pytest.approx(square.item(), abs=4 * error + 1e-3)


@pytest.mark.parametrize("option", TINY)
def test_kl_by_layer_has_the_mean_of_log_q_minus_log_p(vae, option):
    vae = vae(option, *TINY[option])
    x = torch.randn(1, 2).double().expand(100_000, 2)
    with torch.no_grad():
        _, kl = sample_with_kl(vae.encode(x), vae.latents())
        z, log_q = sample_with_log_prob(vae.encode(x))
        sampled = log_q - vae.latents().log_prob(z)
    assert kl.shape == (100_000, 2)
    error = math.hypot(kl.sum(-1).std().item(), sampled.std().item()) / math.sqrt(len(x))
    assert kl.sum(-1).mean().item() == pytest.approx(sampled.mean().item(), abs=4 * error)
    if option == "ladder":  # the KL of each layer is in closed form, given the layers above
        assert (kl >= 0).all()
        assert kl.sum(-1).std() < sampled.std()


def test_importance_weights_of_a_linear_gaussian_chain_are_the_exact_likelihood(config):
    """z_2 ~ N(0,1), z_1 = a z_2 + s e, x = w z_1 + t e', and q the exact posterior."""
    a, s, t = 0.7, 0.6, 0.4
    w = torch.tensor([[1.5], [-0.8]]).double()
    words = ("model.hidden=[[],[]]", "model.latents=[1,1]", "latent_dim=2", "posterior.bound=10")
    cfg = config("model=bottom_up", "loss=mse", f"loss.scale={t}", *words)
    vae = build_from_config(cfg.module.vae, shape=[2]).double()
    prior_variance = a**2 + s**2
    precision = 1 / prior_variance + (w.square().sum() / t**2).item()
    gain = a / prior_variance

    def raw_log_scale(scale):
        """Invert the bound of the posterior: the result is bounded to log(scale)."""
        return 10 * math.atanh(math.log(scale) / 10)

    with torch.no_grad():
        first, second = (step.layers[0] for step in vae.encoder.steps)
        out, middle = (step.layers[0] for step in vae.decoder.steps)
        first.weight.copy_(torch.cat([w.T / t**2 / precision, torch.zeros(1, 2)]))
        first.bias.copy_(torch.tensor([0.0, raw_log_scale(precision**-0.5)]))
        second.weight.copy_(torch.tensor([[gain], [0.0]]))
        second.bias.copy_(torch.tensor([0.0, raw_log_scale(math.sqrt(1 - a * gain))]))
        middle.weight.copy_(torch.tensor([[a], [0.0]]))
        middle.bias.copy_(torch.tensor([0.0, raw_log_scale(s)]))
        out.weight.copy_(w)
        out.bias.zero_()
        x = torch.randn(50, 2).double()
        z, log_q = sample_with_log_prob(vae.encode(x), 3)
        log_w = vae.decode(z).log_prob(x) + vae.latents().log_prob(z) - log_q
    covariance = prior_variance * w @ w.T + t**2 * torch.eye(2).double()
    exact = torch.distributions.MultivariateNormal(torch.zeros(2).double(), covariance)
    torch.testing.assert_close(log_w, exact.log_prob(x).expand(3, 50), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("option", TINY)
def test_prior_samples_follow_the_prior_density(vae, option):
    """E[p(z)] over samples is the integral of p^2."""
    vae = vae(option, *TINY[option])
    with torch.no_grad():
        z, area = make_grid(801, 16)
        expected = (2 * vae.latents().log_prob(z)).exp().sum() * area
        density = vae.latents().log_prob(vae.latents().sample(torch.Size([100_000]))).exp()
    error = density.std().item() / math.sqrt(len(density))
    assert density.mean().item() == pytest.approx(expected.item(), abs=4 * error + 1e-4)


def test_cached_pass_gives_the_same_values_and_gradients_as_a_new_pass(vae):
    """Compare p(z) and p(x|z) at the z of the cached pass and at a copy of z."""
    vae, x, results = vae("ladder", *TINY["ladder"]), torch.randn(5, 2).double(), []
    for is_copy in (False, True):
        torch.manual_seed(0)
        vae.zero_grad()
        z, log_q = sample_with_log_prob(vae.encode(x), 2)
        z = z + 0 if is_copy else z
        loss = (vae.decode(z).log_prob(x) + vae.latents().log_prob(z) - log_q).sum()
        loss.backward()
        results.append([loss.detach(), *(weight.grad.clone() for weight in vae.parameters())])
    torch.testing.assert_close(*results)


def test_cached_pass_is_invalidated_by_changes(vae):
    vae = vae("ladder", *TINY["ladder"])
    x = torch.randn(3, 2).double()

    def assert_equal_to_new_pass(z):
        for function in (lambda z: vae.decode(z).log_prob(x), lambda z: vae.latents().log_prob(z)):
            torch.testing.assert_close(function(z), function(z.clone()))

    z = vae.encode(x).sample()
    z[:, 0] += 5
    assert_equal_to_new_pass(z)
    z = vae.encode(x).sample()
    with torch.no_grad():
        for weight in vae.parameters():
            weight.mul_(1.5)
    assert_equal_to_new_pass(z)
    z = vae.encode(x).sample()
    (vae.decode(z).log_prob(x) + vae.latents().log_prob(z)).mean().backward()
    for name, weight in vae.decoder.named_parameters():
        assert "posterior" in name or weight.grad is not None, name


def test_copies_and_pickles_drop_the_cached_pass(vae):
    vae, x = vae("ladder", *TINY["ladder"]), torch.randn(3, 2).double()
    z = vae.encode(x).rsample()
    assert vae._cached_pass(z) is not None
    for clone in (copy.copy(vae), copy.deepcopy(vae), pickle.loads(pickle.dumps(vae))):
        assert clone._cached_pass(z) is None
        assert torch.equal(clone.decode(z).mean, vae.decode(z).mean)
        assert clone._cached_pass(z) is not None
    assert vae._cached_pass(z) is not None


def test_two_threads_reuse_their_own_pass(vae, monkeypatch):
    """The threads alternate: each decodes its z from its own cached pass, without a new one."""
    vae, passes, results = vae("ladder", *TINY["ladder"]), [], {}
    inputs = {name: torch.randn(4, 2).double() for name in ("first", "second")}
    barrier, descend = threading.Barrier(2, timeout=60), type(vae)._descend

    def count_pass(self, *args, **kwargs):
        passes.append(threading.current_thread().name)
        return descend(self, *args, **kwargs)

    def evaluate(x):
        with torch.no_grad():
            z = vae.encode(x).mode
            barrier.wait()  # now the other thread has made its pass too
            log_p = vae.latents().log_prob(z)
            barrier.wait()
            return z, log_p, vae.decode(z).log_prob(x)

    def evaluate_repeatedly(name):
        for _ in range(20):
            results.setdefault(name, []).append(evaluate(inputs[name]))

    monkeypatch.setattr(type(vae), "_descend", count_pass)
    threads = [
        threading.Thread(target=evaluate_repeatedly, args=(name,), name=name) for name in inputs
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(passes) == ["first"] * 20 + ["second"] * 20
    with torch.no_grad():
        for name, x in inputs.items():
            z = vae.encode(x).mode
            expected = z, vae.latents().log_prob(z), vae.decode(z).log_prob(x)
            assert len(results[name]) == 20
            for result in results[name]:
                assert all(map(torch.equal, result, expected))


@pytest.mark.parametrize(
    "words",
    [
        "ladder",
        *slow("ladder_conv model.channels=[4,8]", "bottom_up"),
    ],
)
def test_iwae_trains_hierarchies_and_evaluation_reports_kl_by_layer(train, words):
    numbers = train(*f"model={words}".split(), "objective=iwae", "objective.samples=3")
    assert math.isfinite(numbers["nll"])
    layers = numbers["kl_layer_1"] + numbers["kl_layer_2"]
    assert layers == pytest.approx(numbers["kl"], abs=1e-3)


def test_free_bits_are_a_floor_for_each_layer(config):
    run = RunParts.build(config("model=ladder", "kl=free_bits", "kl.nats=3"))
    x = torch.rand(6, 1, 28, 28).round()
    terms = run.module.objective(run.vae, x, 0)  # q is close to p before training
    torch.testing.assert_close(terms["loss"] - terms["reconstruction"], torch.full((6,), 6.0))


def test_groups_multiply_the_layers(config):
    words = ("model.groups=3", "latent_dim=90")
    decoder = RunParts.build(config("model=ladder", *words)).vae.decoder
    assert decoder.latents == [10, 10, 10, 20, 20, 20]
    with pytest.raises(ValueError, match="set latent_dim=90"):
        RunParts.build(config("model=ladder", "model.groups=3"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("model=ladder posterior=full", "set posterior=diagonal and prior=normal"),
        ("model=bottom_up prior=mixture", "set posterior=diagonal and prior=normal"),
        ("model=ladder objective=dreg", "supports one stochastic layer only"),
        ("model=ladder objective=wae_mmd", "supports one stochastic layer only"),
        ("model=ladder model.latents=[3]", "model.latents=.* needs a size for each"),
        ("model=bottom_up model.latents=[3]", "one list of widths for each"),
        ("model=ladder_conv model.normalization=x", "choose from batch, group, none"),
    ],
)
def test_invalid_combinations_are_refused(config, words, message):
    with pytest.raises(ValueError, match=message):
        RunParts.build(config(*words.split()))


@pytest.mark.parametrize(
    ("shape", "words", "latent_dim"),
    [
        ((1, 28, 28), (), 14 * 14 + 2 * 7 * 7),
        ((3, 32, 32), (), 16 * 16 + 2 * 8 * 8),
        ((1, 28, 28), ("model.groups=3",), 3 * (14 * 14 + 2 * 7 * 7)),
        ((1, 20, 12), ("model.latents=[2,3]", "model.kernel_size=3"), 2 * 60 + 3 * 15),
    ],
)
def test_size_of_convolutional_layers_follows_from_the_shape(config, shape, words, latent_dim):
    cfg = config("model=ladder_conv", "model.channels=[4,8]", *words)
    assert build_from_config(cfg.module.vae, shape=list(shape)).latent_dim == latent_dim
