"""Annealed importance sampling against a known log p(x) or another estimate."""

import math
from itertools import pairwise

import pytest
import torch
from linear import D, build_optimal_linear_vae
from objectives.toy import LOG_P, Toy, images
from torch.distributions import MultivariateNormal

from vaelab.estimators import annealed
from vaelab.estimators.annealed import (
    annealed_bound,
    make_beta_schedule,
    standard_error_over_chains,
)
from vaelab.estimators.importance import importance_bound
from vaelab.objectives.base import log_mean_exp, sample_prior
from vaelab.runtime.build import build_from_config


def mean_and_standard_error(values):
    return values.mean().item(), values.std().item() / math.sqrt(len(values))


def assert_mean(values, expected, max_error=0.05):
    mean, error = mean_and_standard_error(values)
    assert mean == pytest.approx(expected, abs=4 * error)
    assert error < max_error


@pytest.mark.parametrize("start", ["prior", "posterior"])
@pytest.mark.parametrize("temperatures", [1, 5, 30])
def test_weights_are_unbiased_for_any_number_of_temperatures(start, temperatures):
    bound, _ = annealed_bound(Toy(1.0, 0.3), images(2000), 2, temperatures, 3, start)
    assert_mean((bound - LOG_P).exp(), 1)


def test_bound_is_tight_and_below_log_p_in_the_mean():
    bound, _ = annealed_bound(Toy(), images(200), 100, 40, 3)
    mean, error = mean_and_standard_error(bound)
    assert LOG_P - 0.01 < mean < LOG_P + 3 * error
    assert error < 0.01


def test_more_temperatures_tighten_the_bound():
    means = [annealed_bound(Toy(), images(300), 1, count, 3)[0].mean() for count in (1, 4, 20, 80)]
    assert all(coarser < finer for coarser, finer in pairwise(means))
    assert means[0] < LOG_P - 0.5


def test_bound_from_the_exact_posterior_has_no_variance():
    bound, error = annealed_bound(Toy(), images(3), 5, 10, start="posterior")
    assert bound.tolist() == pytest.approx([LOG_P] * 3, abs=1e-12)
    torch.testing.assert_close(error, torch.zeros(3).double())


def test_bound_of_a_linear_vae_matches_probabilistic_pca(config):
    (vae, _), x, _, variance = build_optimal_linear_vae(config)
    weight, center = vae.decoder.layers[-1].weight, vae.decoder.layers[-1].bias
    covariance = weight @ weight.T + variance * torch.eye(D).double()
    exact = MultivariateNormal(center, covariance).log_prob(x[:50]).detach()
    bound, error = annealed_bound(vae, x[:50], 16, 100, 5)
    assert_mean((bound - exact).exp(), 1)
    assert (bound - exact).mean() < 0
    assert (bound - exact).abs().mean() < 0.15
    assert error.square().mean().sqrt() == pytest.approx((bound - exact).std().item(), rel=0.3)


def test_standard_error_over_chains_matches_repetitions():
    log_w = 0.5 * torch.randn(40, 5000).double()
    error = standard_error_over_chains(log_w).square().mean().sqrt().item()
    bounds = log_w.logsumexp(0) - math.log(40)
    assert error == pytest.approx(bounds.std().item(), rel=0.05)
    assert standard_error_over_chains(torch.zeros(1, 2)).isnan().all()


@torch.no_grad()
def bidirectional_bounds(toy, images, chains, temperatures):
    """Bound log p(x) from below and above for images sampled from the model (Grosse et al., 2015).

    The z that x was sampled from is an exact sample of p(z|x), so that chains from this z to p(z)
    have E[1/w] = 1/p(x).
    """
    z = sample_prior(toy.latents(), images)
    x = toy.decode(z).sample()
    schedule = make_beta_schedule(temperatures).to(z)
    leapfrog = annealed.LEAPFROG_STEPS
    terms, sample_start = annealed._make_path(toy, x, "prior")
    pilot = sample_start(annealed.PILOT_CHAINS)
    steps = annealed._find_step_sizes(terms, pilot, schedule, leapfrog)
    up = annealed._run_chains(terms, sample_start(chains), schedule, steps, leapfrog)
    back = z.expand(chains, *z.shape)
    down = annealed._run_chains(terms, back, schedule.flip(0), steps.flip(0), leapfrog)
    return log_mean_exp(up), -log_mean_exp(down)


def test_bidirectional_bounds_enclose_log_p():
    torch.manual_seed(1)
    toy = Toy()
    x = toy.decode(toy.latents().sample(torch.Size([1000]))).sample()
    exact = MultivariateNormal(torch.zeros(1), torch.tensor([[1.25]])).log_prob(x)
    torch.manual_seed(1)
    lower, upper = bidirectional_bounds(toy, 1000, 2, 20)
    assert_mean((lower - exact).exp(), 1)
    assert_mean((exact - upper).exp(), 1)
    assert lower.mean() < exact.mean() < upper.mean()


def test_beta_schedule_runs_from_0_to_1_and_is_densest_at_the_ends():
    schedule = make_beta_schedule(10)
    assert (schedule[0], schedule[-1], len(schedule)) == (0, 1, 11)
    steps = schedule.diff()
    torch.testing.assert_close(steps, steps.flip(0))
    assert (steps[:4].diff() > 0).all()


def test_weights_and_gradient_mode_are_unchanged():
    toy = Toy()
    state = torch.is_grad_enabled()
    with torch.no_grad():
        bound, _ = annealed_bound(toy, images(2), 2, 5)
    assert torch.is_grad_enabled() == state
    assert not bound.requires_grad
    assert all(weight.grad is None and weight.requires_grad for weight in toy.parameters())


def test_overflowing_step_sizes_are_reduced(monkeypatch):
    monkeypatch.setattr(annealed, "INITIAL_STEP_SIZE", 1e200)
    terms, sample_start = annealed._make_path(Toy(), images(3), "prior")
    steps = annealed._find_step_sizes(terms, sample_start(2), make_beta_schedule(10), 3)
    assert steps.shape == (9, 3)
    assert (steps.diff(dim=0) < 0).all()


def test_bound_is_unbiased_when_chains_are_chunked(monkeypatch):
    monkeypatch.setattr("vaelab.estimators.importance.MAX_DECODER_OUTPUTS", 3000)
    bound, _ = annealed_bound(Toy(), images(1000), 8, 5)
    assert_mean((bound - LOG_P).exp(), 1)


MODELS = {
    "mlp": [],
    "mixture": ["prior=mixture", "prior.components=3"],
    "flow": ["prior=flow", "prior.hidden=[8]"],
    "vamp": ["prior=vamp", "prior.components=3"],
    "iaf": ["posterior=iaf", "posterior.hidden=[8]"],
    "ladder": ["model=ladder", "model.hidden=[8,8]", "model.latents=[1,1]"],
    "bottom_up": ["model=bottom_up", "model.hidden=[[8],[8]]", "model.latents=[1,1]"],
    "conditional": ["model=conditional", "model.learned_prior=true"],
}


def build_model(config, words):
    """Build a model of 6 binary pixels with a decoder that depends on z."""
    words = ["model.hidden=[8]", "latent_dim=2", *words]
    vae = build_from_config(config(*words).module.vae, shape=[6]).eval()
    with torch.no_grad():
        for weight in vae.decoder.parameters():
            weight.mul_(2)
    return vae.condition_on(torch.arange(10)[torch.arange(40) % 10])


@pytest.mark.parametrize("name", MODELS)
def test_bound_agrees_with_many_importance_samples(config, name):
    vae, x = build_model(config, MODELS[name]), torch.rand(40, 6).round()
    with torch.no_grad():
        expected = importance_bound(vae, x, 3000)
    bound, error = annealed_bound(vae, x, 8, 30, 3)
    assert bound.shape == error.shape == (40,)
    assert_mean((bound - expected).exp(), 1, max_error=0.1)
    assert (bound - expected).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["posterior=vmf"], "VMF lie on the unit sphere"),
        (["posterior=gumbel", "posterior.categories=2"], "Gumbel lie on 1 one-hot"),
        (["posterior=vq", "posterior.dim=1", "prior=codes"], "VQ lie on the codes"),
        (["posterior=deterministic"], "Deterministic has no density"),
    ],
)
def test_latents_without_a_density_on_real_vectors_are_refused(config, words, reason):
    with pytest.raises(ValueError, match=reason):
        annealed_bound(build_model(config, words), torch.rand(2, 6).round())


def test_posteriors_with_inexact_density_are_refused_as_start(config):
    vae, x = build_model(config, MODELS["iaf"]), torch.rand(40, 6).round()
    with pytest.raises(ValueError, match="set start='prior'"):
        annealed_bound(vae, x, start="posterior")


@pytest.mark.parametrize("name", ["chains", "temperatures"])
def test_numbers_below_1_are_refused(name):
    with pytest.raises(ValueError, match=f"{name}=0: it must be at least 1"):
        annealed_bound(Toy(), images(1), **{name: 0})
