"""The gaps of q(z|x), which are known exactly for a linear model."""

import math

import pytest
import torch
from linear import D, Q, build_linear_vae, build_optimal_linear_vae
from torch.distributions import MultivariateNormal, kl_divergence

from vaelab.estimators.amortisation import (
    amortised_and_optimised_elbo,
    estimate_elbo,
    optimise_posterior,
)
from vaelab.metrics.linear import exact_elbo
from vaelab.runtime.build import build_from_config


def exact_log_p(vae, x, variance):
    weight, center = vae.decoder.layers[-1].weight, vae.decoder.layers[-1].bias
    covariance = weight @ weight.T + variance * torch.eye(D).double()
    return MultivariateNormal(center, covariance).log_prob(x).detach()


def exact_optimised_elbo(vae, x, monkeypatch):
    """Compute L[q*] (B,) without sampling."""
    out = optimise_posterior(vae, x, vae.run_encoder(x), steps=300)
    with monkeypatch.context() as patch, torch.no_grad():
        patch.setattr(vae, "run_encoder", lambda x: out)
        return exact_elbo(vae, x)


@pytest.fixture
def mixed(config):
    """A linear VAE whose posterior is not diagonal: vae, x, M, variance."""
    (vae, _), x, _, variance = build_optimal_linear_vae(config)
    weight = vae.decoder.layers[-1].weight.detach() @ (torch.eye(Q) + 0.5).double()
    vae, m = build_linear_vae(config, weight, vae.decoder.layers[-1].bias, variance)
    return vae, x[:20], m, variance


def test_optimal_encoder_has_no_amortisation_gap(config):
    (vae, _), x, _, variance = build_optimal_linear_vae(config)
    amortised, best = amortised_and_optimised_elbo(vae, x[:20], steps=200)
    torch.testing.assert_close(best, amortised, rtol=0, atol=0.02)
    torch.testing.assert_close(best, exact_log_p(vae, x[:20], variance), rtol=0, atol=0.3)


def test_approximation_gap_of_a_linear_vae_matches_the_closed_form(mixed, monkeypatch):
    vae, x, m, variance = mixed
    expected = (m.diagonal().log().sum() - torch.logdet(m)) / 2
    gap = exact_log_p(vae, x, variance) - exact_optimised_elbo(vae, x, monkeypatch)
    assert expected > 0.3
    torch.testing.assert_close(gap, expected.expand(20), rtol=0, atol=0.02)


def test_amortisation_gap_of_a_perturbed_encoder_matches_the_closed_form(mixed, monkeypatch):
    vae, x, m, variance = mixed
    with torch.no_grad():
        optimal = exact_elbo(vae, x)
        vae.encoder.layers[-1].bias += torch.tensor([0.2, -0.3, 0.1, 0.4, 0.0, -0.5])
        perturbed = exact_elbo(vae, x)
        torch.testing.assert_close(
            perturbed, exact_log_p(vae, x, variance) - exact_kl(vae, x, m, variance)
        )
    gap = optimal - perturbed
    assert gap.mean() > 0.3
    torch.testing.assert_close(
        exact_optimised_elbo(vae, x, monkeypatch), optimal, rtol=0, atol=0.02
    )
    amortised, best = amortised_and_optimised_elbo(vae, x, samples=2000, steps=300)
    error = (best - amortised - gap).std().item() / math.sqrt(20)
    assert (best - amortised).mean().item() == pytest.approx(
        gap.mean().item(), abs=4 * error + 0.01
    )


def exact_kl(vae, x, m, variance):
    """Compute KL(q(z|x) || p(z|x)) (B,) with p(z|x) = N(M^-1 W' (x - b), s^2 M^-1)."""
    weight, center = vae.decoder.layers[-1].weight, vae.decoder.layers[-1].bias
    q, mean = vae.encode(x), torch.linalg.solve(m, weight.T @ (x - center).T).T
    posterior = MultivariateNormal(mean, variance * torch.linalg.inv(m))
    return kl_divergence(MultivariateNormal(q.mean, torch.diag_embed(q.variance)), posterior)


def build_model(config, *words):
    return (
        build_from_config(config("model.hidden=[8]", *words).module.vae, shape=[6]).double().eval()
    )


@pytest.mark.parametrize("posterior", ["diagonal", "full", "iaf", "planar", "vmf"])
def test_encoder_that_ignores_x_has_a_gap_in_every_family(config, posterior):
    vae = build_model(config, f"posterior={posterior}", "latent_dim=3")
    with torch.no_grad():
        for weight in vae.decoder.parameters():
            weight.mul_(3)
        vae.encoder.layers[-1].weight.zero_()
    x = torch.rand(10, 6).double().round()
    amortised, best = amortised_and_optimised_elbo(vae, x, 200, steps=60)
    gap = best - amortised
    assert gap.mean() > 3 * gap.std() / math.sqrt(10)
    assert posterior == "vmf" or (gap > 0).all()  # rejection sampling


def test_conditional_models_keep_their_labels(config):
    vae = build_model(
        config, "model=conditional", "latent_dim=3", "model.learned_prior=true"
    ).float()
    x, y = torch.rand(10, 6).round(), torch.arange(10)
    with pytest.raises(ValueError, match=r"use vae\.condition_on"):
        amortised_and_optimised_elbo(vae, x)
    amortised, best = amortised_and_optimised_elbo(vae.condition_on(y), x, steps=20)
    assert amortised.shape == best.shape == (10,)


def test_both_estimates_share_their_noise_and_weights_are_unchanged(config):
    vae, x = build_model(config, "latent_dim=3"), torch.rand(4, 6).double().round()
    amortised, best = amortised_and_optimised_elbo(vae, x, steps=0)
    assert torch.equal(amortised, best)
    before = {name: weight.clone() for name, weight in vae.state_dict().items()}
    amortised, best = amortised_and_optimised_elbo(vae, x, steps=3)
    assert not torch.equal(amortised, best)
    assert all(torch.equal(weight, before[name]) for name, weight in vae.state_dict().items())
    assert all(weight.grad is None and weight.requires_grad for weight in vae.parameters())


def test_result_does_not_depend_on_the_chunk_size(config, monkeypatch):
    vae, x = build_model(config, "latent_dim=3"), torch.rand(4, 6).double().round()
    chunks = []

    def sample_elbo(vae, x, q, samples):
        chunks.append(samples)
        return torch.arange(samples).double().unsqueeze(-1).expand(samples, len(x)) * 2

    monkeypatch.setattr("vaelab.estimators.amortisation._sample_elbo", sample_elbo)
    monkeypatch.setattr("vaelab.estimators.importance.MAX_DECODER_OUTPUTS", 72)
    assert estimate_elbo(vae, x, vae.encode(x), 7).tolist() == [(0 + 2 + 4 + 0 + 2 + 4 + 0) / 7] * 4
    assert chunks == [3, 3, 1]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["model=ladder", "model.hidden=[8,8]", "model.latents=[2,1]"], "not made of one encoder"),
        (["posterior=deterministic"], "a single z"),
        (["posterior=vq", "posterior.dim=1"], "a single z"),
        (["posterior=gumbel", "posterior.categories=3"], "no gradient"),
    ],
)
def test_posteriors_without_gradient_are_refused(config, words, reason):
    vae = build_model(config, "latent_dim=3", *words)
    with pytest.raises(ValueError, match=reason):
        amortised_and_optimised_elbo(vae, torch.rand(2, 6).double().round())
