"""Gaps of q(z|x), exact where the model is linear."""

import pytest
import torch
from linear import D, Q, linear_vae, with_decoder
from torch.distributions import MultivariateNormal, kl_divergence

from vaelab.estimators.amortisation import amortised_and_optimised, optimised
from vaelab.metrics.linear import exact_elbo
from vaelab.run import build


def log_p(vae, x, variance):
    weight, center = vae.decoder.layers[-1].weight, vae.decoder.layers[-1].bias
    covariance = weight @ weight.T + variance * torch.eye(D).double()
    return MultivariateNormal(center, covariance).log_prob(x).detach()


def exact_best(vae, x, monkeypatch):
    """L[q*] (B,) without sampling."""
    out = optimised(vae, x, vae.read(x))
    with monkeypatch.context() as patch, torch.no_grad():
        patch.setattr(vae, "read", lambda x: out)
        return exact_elbo(vae, x)


@pytest.fixture
def rotated(config):
    """A linear VAE that a diagonal q(z|x) cannot follow: vae, x, M, variance."""
    (vae, _), x, _, variance = linear_vae(config)
    rotation = torch.linalg.qr(torch.randn(Q, Q).double())[0]
    weight = vae.decoder.layers[-1].weight.detach() @ rotation
    vae, m = with_decoder(config, weight, vae.decoder.layers[-1].bias, variance)
    return vae, x[:20], m, variance


def test_an_optimal_encoder_has_no_amortisation_gap(config):
    (vae, _), x, _, variance = linear_vae(config)
    amortised, best = amortised_and_optimised(vae, x[:20])
    torch.testing.assert_close(best, amortised, rtol=0, atol=0.02)
    torch.testing.assert_close(best, log_p(vae, x[:20], variance), rtol=0, atol=0.3)


def test_the_approximation_gap_of_a_rotated_decoder_is_what_its_covariance_says(
    rotated, monkeypatch
):
    vae, x, m, variance = rotated
    expected = (m.diagonal().log().sum() - torch.logdet(m)) / 2
    gap = log_p(vae, x, variance) - exact_best(vae, x, monkeypatch)
    assert expected > 0.01
    torch.testing.assert_close(gap, expected.expand(20), rtol=0, atol=2e-3)


def test_a_spoiled_encoder_has_the_amortisation_gap_of_its_kl(rotated, monkeypatch):
    vae, x, m, variance = rotated
    with torch.no_grad():
        before, best = exact_elbo(vae, x), exact_best(vae, x, monkeypatch)
        weight, center = vae.decoder.layers[-1].weight, vae.decoder.layers[-1].bias
        vae.encoder.layers[-1].bias += torch.tensor([0.2, -0.3, 0.1, 0.4, 0.0, -0.5])
        spoiled, again = exact_elbo(vae, x), exact_best(vae, x, monkeypatch)
        mean = torch.linalg.solve(m, weight.T @ (x - center).T).T
        posterior = MultivariateNormal(mean, variance * torch.linalg.inv(m))
        q = vae.encode(x)
        known = kl_divergence(MultivariateNormal(q.mean, torch.diag_embed(q.variance)), posterior)
        sampled = torch.stack(amortised_and_optimised(vae, x, samples=4000))
    torch.testing.assert_close(log_p(vae, x, variance) - spoiled, known)
    torch.testing.assert_close(again - spoiled, before - spoiled, rtol=0, atol=5e-3)
    torch.testing.assert_close(again, best, rtol=0, atol=5e-3)
    gap = sampled[1] - sampled[0]
    assert (before - spoiled).mean() > 0.3
    assert gap.mean().item() == pytest.approx((before - spoiled).mean().item(), rel=0.05)


def model(config, *words):
    return build(config("model.hidden=[8]", *words).module.vae, shape=[6]).double().eval()


@pytest.mark.parametrize("posterior", ["diagonal", "full", "iaf", "planar", "vmf"])
def test_an_encoder_that_sees_nothing_leaves_a_gap_in_every_family(config, posterior):
    vae = model(config, f"posterior={posterior}", "latent_dim=3")
    with torch.no_grad():
        for weight in vae.decoder.parameters():
            weight.mul_(3)
        for weight in vae.encoder.parameters():
            weight.zero_()
    x = torch.rand(10, 6).double().round()
    amortised, best = amortised_and_optimised(vae, x, steps=100)
    assert (best > amortised).all()
    assert (best - amortised).mean() > 0.02


def test_a_conditional_model_keeps_its_labels(config):
    vae = model(config, "model=conditional", "latent_dim=3", "model.learned_prior=true")
    x, y = torch.rand(10, 6).double().round(), torch.arange(10)
    with pytest.raises(ValueError, match="use vae.given"):
        amortised_and_optimised(vae, x)
    amortised, best = amortised_and_optimised(vae.given(y), x, steps=20)
    assert amortised.shape == best.shape == (10,)


def test_both_are_judged_by_the_same_noise_and_the_weights_stay(config):
    vae, x = model(config, "latent_dim=3"), torch.rand(4, 6).double().round()
    amortised, best = amortised_and_optimised(vae, x, steps=0)
    assert torch.equal(amortised, best)
    before = {name: weight.clone() for name, weight in vae.state_dict().items()}
    amortised, best = amortised_and_optimised(vae, x, steps=3)
    assert not torch.equal(amortised, best)
    assert all(torch.equal(weight, before[name]) for name, weight in vae.state_dict().items())
    assert all(weight.grad is None and weight.requires_grad for weight in vae.parameters())


def test_the_number_of_samples_at_once_changes_nothing(config, monkeypatch):
    vae, x = model(config, "latent_dim=3", "posterior=deterministic"), torch.rand(4, 6).double()
    vae.posterior.density = True  # as one that always draws the same
    monkeypatch.setattr(vae, "latents", lambda: torch.distributions.Independent)
    from vaelab.estimators import amortisation

    monkeypatch.setattr(amortisation, "_elbos", lambda vae, x, q, n: torch.ones(n, len(x)))
    monkeypatch.setattr("vaelab.estimators.importance.CHUNK", 70)
    assert amortisation.elbo(vae, x, None, 7).tolist() == [1.0] * 4


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
        amortised_and_optimised(vae, torch.rand(2, 6).double().round())
