"""Gaps of q(z|x), exact where the model is linear."""

import math

import pytest
import torch
from linear import D, Q, linear_vae, with_decoder
from torch.distributions import MultivariateNormal, kl_divergence

from vaelab.estimators.amortisation import amortised_and_optimised_elbo, elbo, optimise_posterior
from vaelab.metrics.linear import exact_elbo
from vaelab.runs.build import build_from_config


def log_p(vae, x, variance):
    weight, center = vae.decoder.layers[-1].weight, vae.decoder.layers[-1].bias
    covariance = weight @ weight.T + variance * torch.eye(D).double()
    return MultivariateNormal(center, covariance).log_prob(x).detach()


def exact_best(vae, x, monkeypatch):
    """L[q*] (B,) without sampling."""
    out = optimise_posterior(vae, x, vae.read(x), steps=300)
    with monkeypatch.context() as patch, torch.no_grad():
        patch.setattr(vae, "read", lambda x: out)
        return exact_elbo(vae, x)


@pytest.fixture
def mixed(config):
    """A linear VAE that a diagonal q(z|x) cannot follow: vae, x, M, variance."""
    (vae, _), x, _, variance = linear_vae(config)
    weight = vae.decoder.layers[-1].weight.detach() @ (torch.eye(Q) + 0.5).double()
    vae, m = with_decoder(config, weight, vae.decoder.layers[-1].bias, variance)
    return vae, x[:20], m, variance


def test_an_optimal_encoder_has_no_amortisation_gap(config):
    (vae, _), x, _, variance = linear_vae(config)
    amortised, best = amortised_and_optimised_elbo(vae, x[:20], steps=200)
    torch.testing.assert_close(best, amortised, rtol=0, atol=0.02)
    torch.testing.assert_close(best, log_p(vae, x[:20], variance), rtol=0, atol=0.3)


def test_the_approximation_gap_of_a_mixed_decoder_is_what_its_covariance_says(mixed, monkeypatch):
    vae, x, m, variance = mixed
    expected = (m.diagonal().log().sum() - torch.logdet(m)) / 2
    gap = log_p(vae, x, variance) - exact_best(vae, x, monkeypatch)
    assert expected > 0.3
    torch.testing.assert_close(gap, expected.expand(20), rtol=0, atol=0.02)


def test_a_spoiled_encoder_has_the_amortisation_gap_of_its_kl(mixed, monkeypatch):
    vae, x, m, variance = mixed
    with torch.no_grad():
        optimal = exact_elbo(vae, x)
        vae.encoder.layers[-1].bias += torch.tensor([0.2, -0.3, 0.1, 0.4, 0.0, -0.5])
        spoiled = exact_elbo(vae, x)
        torch.testing.assert_close(spoiled, log_p(vae, x, variance) - true_kl(vae, x, m, variance))
    known = optimal - spoiled
    assert known.mean() > 0.3
    torch.testing.assert_close(exact_best(vae, x, monkeypatch), optimal, rtol=0, atol=0.02)
    amortised, best = amortised_and_optimised_elbo(vae, x, samples=2000, steps=300)
    error = (best - amortised - known).std().item() / math.sqrt(20)
    assert (best - amortised).mean().item() == pytest.approx(
        known.mean().item(), abs=4 * error + 0.01
    )


def true_kl(vae, x, m, variance):
    """KL(q(z|x) || p(z|x)) (B,), p(z|x) = N(M^-1 W' (x - b), s^2 M^-1)."""
    weight, center = vae.decoder.layers[-1].weight, vae.decoder.layers[-1].bias
    q, mean = vae.encode(x), torch.linalg.solve(m, weight.T @ (x - center).T).T
    posterior = MultivariateNormal(mean, variance * torch.linalg.inv(m))
    return kl_divergence(MultivariateNormal(q.mean, torch.diag_embed(q.variance)), posterior)


def model(config, *words):
    return (
        build_from_config(config("model.hidden=[8]", *words).module.vae, shape=[6]).double().eval()
    )


@pytest.mark.parametrize("posterior", ["diagonal", "full", "iaf", "planar", "vmf"])
def test_an_encoder_that_sees_nothing_leaves_a_gap_in_every_family(config, posterior):
    vae = model(config, f"posterior={posterior}", "latent_dim=3")
    with torch.no_grad():
        for weight in vae.decoder.parameters():
            weight.mul_(3)
        vae.encoder.layers[-1].weight.zero_()
    x = torch.rand(10, 6).double().round()
    amortised, best = amortised_and_optimised_elbo(vae, x, 200, steps=60)
    gap = best - amortised
    assert gap.mean() > 3 * gap.std() / math.sqrt(10)
    assert posterior == "vmf" or (gap > 0).all()  # whose draws reject some of the noise


def test_a_conditional_model_keeps_its_labels(config):
    vae = model(config, "model=conditional", "latent_dim=3", "model.learned_prior=true").float()
    x, y = torch.rand(10, 6).round(), torch.arange(10)
    with pytest.raises(ValueError, match=r"use vae\.given"):
        amortised_and_optimised_elbo(vae, x)
    amortised, best = amortised_and_optimised_elbo(vae.condition_on(y), x, steps=20)
    assert amortised.shape == best.shape == (10,)


def test_both_are_judged_by_the_same_noise_and_the_weights_stay(config):
    vae, x = model(config, "latent_dim=3"), torch.rand(4, 6).double().round()
    amortised, best = amortised_and_optimised_elbo(vae, x, steps=0)
    assert torch.equal(amortised, best)
    before = {name: weight.clone() for name, weight in vae.state_dict().items()}
    amortised, best = amortised_and_optimised_elbo(vae, x, steps=3)
    assert not torch.equal(amortised, best)
    assert all(torch.equal(weight, before[name]) for name, weight in vae.state_dict().items())
    assert all(weight.grad is None and weight.requires_grad for weight in vae.parameters())


def test_the_number_of_samples_at_once_changes_nothing(config, monkeypatch):
    vae, x = model(config, "latent_dim=3"), torch.rand(4, 6).double().round()
    asked = []

    def elbos(vae, x, q, samples):
        asked.append(samples)
        return torch.arange(samples).double().unsqueeze(-1).expand(samples, len(x)) * 2

    monkeypatch.setattr("vaelab.estimators.amortisation._elbos", elbos)
    monkeypatch.setattr("vaelab.estimators.importance.CHUNK", 72)
    assert elbo(vae, x, vae.encode(x), 7).tolist() == [(0 + 2 + 4 + 0 + 2 + 4 + 0) / 7] * 4
    assert asked == [3, 3, 1]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["model=ladder", "model.hidden=[8,8]", "model.latents=[2,1]"], "not made of one encoder"),
        (["posterior=deterministic"], "one code"),
        (["posterior=vq", "posterior.dim=1"], "one code"),
        (["posterior=gumbel", "posterior.categories=3"], "no gradient"),
    ],
)
def test_what_has_no_output_to_optimise_is_refused(config, words, reason):
    vae = model(config, "latent_dim=3", *words)
    with pytest.raises(ValueError, match=reason):
        amortised_and_optimised_elbo(vae, torch.rand(2, 6).double().round())
