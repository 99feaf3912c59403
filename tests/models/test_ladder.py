"""Several stochastic layers: joint densities, exact likelihoods, and one pass for all."""

import copy
import math

import pytest
import torch

from vaelab.objectives.base import sample_with_kl, sample_with_log_prob
from vaelab.runs.build import build_from_config
from vaelab.runs.run import Run

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


def grid(points, edge):
    axis = torch.linspace(-edge, edge, points).double()
    return torch.cartesian_prod(axis, axis), (axis[1] - axis[0]) ** 2


@pytest.mark.parametrize("option", TINY)
def test_p_and_q_integrate_to_one_and_p_of_x_is_the_integral(vae, option):
    vae = vae(option, *TINY[option])
    x = torch.randn(1, 2).double()
    points, area = grid(801, 16)
    with torch.no_grad():
        log_p = vae.latents().log_prob(points)
        log_q = vae.encode(x).log_prob(points.unsqueeze(1))
        square = (2 * log_q).exp().sum() * area
        assert (log_p.exp().sum() * area).item() == pytest.approx(1, abs=2e-3)
        assert (log_q.exp().sum() * area).item() == pytest.approx(1, abs=2e-3)
        exact = (log_p + vae.decode(points).log_prob(x)).logsumexp(0) + area.log()
        z, log_q = sample_with_log_prob(vae.encode(x), 200_000)
        log_w = vae.decode(z).log_prob(x) + vae.latents().log_prob(z) - log_q
        drawn = vae.decode(vae.latents().sample(torch.Size([200_000]))).log_prob(x)
    for log_p, limit in ((log_w, 0.1), (drawn, 0.03)):
        assert (log_p.logsumexp(0) - math.log(len(log_p))).item() == pytest.approx(
            exact.item(), abs=limit
        )
    error = log_q.exp().std().item() / math.sqrt(len(log_q))
    assert log_q.exp().mean().item() == pytest.approx(square.item(), abs=4 * error + 1e-3)


@pytest.mark.parametrize("option", TINY)
def test_the_kl_by_layer_has_the_mean_of_log_q_minus_log_p(vae, option):
    vae = vae(option, *TINY[option])
    x = torch.randn(1, 2).double().expand(100_000, 2)
    with torch.no_grad():
        _, kl = sample_with_kl(vae.encode(x), vae.latents())
        again, log_q = sample_with_log_prob(vae.encode(x))
        sampled = log_q - vae.latents().log_prob(again)
    assert kl.shape == (100_000, 2)
    error = math.hypot(kl.sum(-1).std().item(), sampled.std().item()) / math.sqrt(len(x))
    assert kl.sum(-1).mean().item() == pytest.approx(sampled.mean().item(), abs=4 * error)
    if option == "ladder":  # given the layers above, each layer's KL is in closed form
        assert (kl >= 0).all()
        assert kl.sum(-1).std() < sampled.std()


def test_a_linear_gaussian_chain_has_its_exact_likelihood_in_every_draw(config):
    """z_2 ~ N(0,1), z_1 = a z_2 + s e, x = w z_1 + t e', and q the exact posterior."""
    a, s, t = 0.7, 0.6, 0.4
    w = torch.tensor([[1.5], [-0.8]]).double()
    words = ("model.hidden=[[],[]]", "model.latents=[1,1]", "latent_dim=2", "posterior.bound=10")
    cfg = config("model=bottom_up", "loss=mse", f"loss.scale={t}", *words)
    vae = build_from_config(cfg.module.vae, shape=[2]).double()
    prior_variance = a**2 + s**2
    precision = 1 / prior_variance + (w.square().sum() / t**2).item()
    gain = a / prior_variance

    def raw(scale):  # whose bounded value is log scale
        return 10 * math.atanh(math.log(scale) / 10)

    with torch.no_grad():
        first, second = (step.layers[0] for step in vae.encoder.steps)
        out, middle = (step.layers[0] for step in vae.decoder.steps)
        first.weight.copy_(torch.cat([w.T / t**2 / precision, torch.zeros(1, 2)]))
        first.bias.copy_(torch.tensor([0.0, raw(precision**-0.5)]))
        second.weight.copy_(torch.tensor([[gain], [0.0]]))
        second.bias.copy_(torch.tensor([0.0, raw(math.sqrt(1 - a * gain))]))
        middle.weight.copy_(torch.tensor([[a], [0.0]]))
        middle.bias.copy_(torch.tensor([0.0, raw(s)]))
        out.weight.copy_(w)
        out.bias.zero_()
        x = torch.randn(50, 2).double()
        z, log_q = sample_with_log_prob(vae.encode(x), 3)
        log_w = vae.decode(z).log_prob(x) + vae.latents().log_prob(z) - log_q
    covariance = prior_variance * w @ w.T + t**2 * torch.eye(2).double()
    exact = torch.distributions.MultivariateNormal(torch.zeros(2).double(), covariance)
    torch.testing.assert_close(log_w, exact.log_prob(x).expand(3, 50), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("option", TINY)
def test_draws_of_the_prior_follow_its_density(vae, option):
    """E[p(z)] over draws is the integral of p^2."""
    vae = vae(option, *TINY[option])
    with torch.no_grad():
        z, area = grid(801, 16)
        expected = (2 * vae.latents().log_prob(z)).exp().sum() * area
        found = vae.latents().log_prob(vae.latents().sample(torch.Size([100_000]))).exp()
    error = found.std().item() / math.sqrt(len(found))
    assert found.mean().item() == pytest.approx(expected.item(), abs=4 * error + 1e-4)


def test_what_the_last_pass_kept_is_what_another_would_find(vae):
    """Values and gradients of p(z) and p(x|z) at the same z, and at a copy of it."""
    vae, x, found = vae("ladder", *TINY["ladder"]), torch.randn(5, 2).double(), []
    for copied in (False, True):
        torch.manual_seed(0)
        vae.zero_grad()
        z, log_q = sample_with_log_prob(vae.encode(x), 2)
        z = z + 0 if copied else z
        loss = (vae.decode(z).log_prob(x) + vae.latents().log_prob(z) - log_q).sum()
        loss.backward()
        found.append([loss.detach(), *(weight.grad.clone() for weight in vae.parameters())])
    torch.testing.assert_close(*found)


def test_what_was_kept_is_forgotten_where_it_no_longer_holds(vae):
    vae = vae("ladder", *TINY["ladder"])
    x = torch.randn(3, 2).double()

    def same(z):
        for function in (lambda z: vae.decode(z).log_prob(x), lambda z: vae.latents().log_prob(z)):
            torch.testing.assert_close(function(z), function(z.clone()))

    z = vae.encode(x).sample()
    z[:, 0] += 5
    same(z)
    z = vae.encode(x).sample()
    with torch.no_grad():
        for weight in vae.parameters():
            weight.mul_(1.5)
    same(z)
    z = vae.encode(x).sample()
    (vae.decode(z).log_prob(x) + vae.latents().log_prob(z)).mean().backward()
    used = {name: each for name, each in vae.decoder.named_parameters() if "posterior" not in name}
    assert [name for name, each in used.items() if each.grad is None] == []
    vae.decode(vae.encode(x).rsample())
    copy.deepcopy(vae)


@pytest.mark.parametrize("words", ["ladder", "ladder_conv model.channels=[4,8]", "bottom_up"])
def test_iwae_trains_it_and_evaluation_names_the_kl_of_each_layer(train, words):
    numbers = train(*f"model={words}".split(), "objective=iwae", "objective.samples=3")
    assert math.isfinite(numbers["nll"])
    layers = numbers["kl_layer_1"] + numbers["kl_layer_2"]
    assert layers == pytest.approx(numbers["kl"], abs=1e-3)


def test_free_bits_are_a_floor_under_each_layer(config):
    run = Run.build(config("model=ladder", "kl=free_bits", "kl.nats=3"))
    x = torch.rand(6, 1, 28, 28).round()
    terms = run.module.objective(run.vae, x, 0)  # at its start q is close to p
    torch.testing.assert_close(terms["loss"] - terms["reconstruction"], torch.full((6,), 6.0))


def test_more_groups_are_more_layers(config):
    words = ("model.groups=3", "latent_dim=90")
    decoder = Run.build(config("model=ladder", *words)).vae.decoder
    assert decoder.latents == [10, 10, 10, 20, 20, 20]
    with pytest.raises(ValueError, match="set latent_dim=90"):
        Run.build(config("model=ladder", "model.groups=3"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("model=ladder posterior=full", "set posterior=diagonal and prior=normal"),
        ("model=bottom_up prior=mixture", "set posterior=diagonal and prior=normal"),
        ("model=ladder objective=dreg", "no more than one layer"),
        ("model=ladder objective=wae_mmd", "no more than one layer"),
        ("model=ladder model.latents=[3]", "model.latents=.* needs a size for each"),
        ("model=bottom_up model.latents=[3]", "one list of widths for each"),
        ("model=ladder_conv model.normalization=x", "choose from batch, group, none"),
    ],
)
def test_what_it_cannot_be_is_refused(config, words, message):
    with pytest.raises(ValueError, match=message):
        Run.build(config(*words.split()))
