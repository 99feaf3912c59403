"""Test objectives with a critic: the gradients of both sides, and what the critic estimates."""

import math

import pytest
import torch

from vaelab.models.mlp import Encoder
from vaelab.objectives.adversarial import discriminator_loss
from vaelab.objectives.factor import permute_dimensions
from vaelab.runs.run import RunParts

X = torch.rand(12, 1, 28, 28, generator=torch.Generator().manual_seed(0)).round()


def build_run(config, option, *words):
    torch.manual_seed(0)
    run = RunParts.build(config(f"objective={option}", "model.hidden=[16]", "latent_dim=4", *words))
    return run, run.module.objective


def terms_of(run, seed=1):
    torch.manual_seed(seed)
    return run.module.objective(run.vae, X, 0)


def compute_gradient(loss, module):
    weights = list(module.parameters())
    gradients = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
    return [
        torch.zeros_like(w) if g is None else g for w, g in zip(weights, gradients, strict=True)
    ]


def test_discriminator_loss_has_its_known_values():
    zeros = torch.zeros(5, 1)
    assert discriminator_loss(zeros, zeros).item() == pytest.approx(2 * math.log(2))
    assert discriminator_loss(zeros + 50, zeros - 50, zeros - 50).item() == pytest.approx(
        0, abs=1e-9
    )
    assert discriminator_loss(zeros - 50, zeros).item() == pytest.approx(50 + math.log(2))


def test_permuted_dimensions_keep_their_values_and_lose_their_correlation():
    z = torch.randn(5000, 1) * torch.ones(3)
    mixed = permute_dimensions(z)
    torch.testing.assert_close(mixed.sort(0).values, z.sort(0).values)
    assert torch.corrcoef(mixed.T).tril(-1).abs().max() < 0.06


@pytest.mark.slow
def test_mean_logit_of_a_trained_critic_is_the_total_correlation():
    """A normal with correlation .8 has TC = -1/2 ln(1 - .64) = .511."""
    torch.manual_seed(0)
    critic = Encoder((2,), 1, [64, 64], "LeakyReLU")
    optimizer = torch.optim.Adam(critic.parameters(), 2e-3)
    factor = torch.linalg.cholesky(torch.tensor([[1.0, 0.8], [0.8, 1.0]]))
    for _ in range(1500):
        z = torch.randn(512, 2) @ factor.T
        optimizer.zero_grad()
        discriminator_loss(critic(z), critic(permute_dimensions(z))).backward()
        optimizer.step()
    with torch.no_grad():
        mean_logit = critic(torch.randn(50_000, 2) @ factor.T).mean().item()
    assert mean_logit == pytest.approx(-0.5 * math.log(1 - 0.64), abs=0.06)


@pytest.mark.parametrize("option", ["factor", "aae", "vae_gan"])
def test_critic_and_model_are_trained_by_separate_losses(config, option):
    run, objective = build_run(config, option)
    terms = terms_of(run)
    loss = terms["loss"].mean()
    critic_gradient = compute_gradient(terms["critic"], objective)
    assert any(g.abs().sum() > 0 for g in critic_gradient)
    torch.testing.assert_close(compute_gradient(loss, objective), critic_gradient)
    assert all((g == 0).all() for g in compute_gradient(terms["critic"], run.vae))
    assert all(weight.requires_grad for weight in run.module.parameters())


def test_factor_adds_the_logit_of_its_critic(config):
    run, objective = build_run(config, "factor", "objective.gamma=3")
    terms = terms_of(run)
    torch.manual_seed(1)
    z = run.vae.encode(X).rsample()
    torch.testing.assert_close(terms["total_correlation"], objective.critic(z).squeeze(-1))
    expected = -terms["elbo"] + 3 * terms["total_correlation"] + terms["critic"]
    torch.testing.assert_close(terms["loss"], expected)


def test_aae_adds_the_log_probability_of_its_critic(config):
    run, objective = build_run(config, "aae", "objective.weight=3")
    terms = terms_of(run)
    torch.manual_seed(1)
    probability = objective.critic(run.vae.encode(X).rsample()).sigmoid().squeeze(-1)
    torch.testing.assert_close(terms["fooling"], -probability.log())
    expected = terms["reconstruction"] + 3 * terms["fooling"] + terms["critic"]
    torch.testing.assert_close(terms["loss"], expected)


def test_vae_gan_gradients_are_those_of_algorithm_1(config):
    """The encoder minimises KL + F, the decoder gamma F and the logits of the critic."""
    run, objective = build_run(config, "vae_gan", "objective.gamma=3")
    objective.eval()  # in training mode each call updates the spectral normalization
    vae, loss = run.vae, terms_of(run)["loss"].mean()
    torch.manual_seed(1)
    q = vae.encode(X)
    z = q.rsample()
    y_prior = vae.decode(vae.latents().sample((12,))).mean
    y = vae.decode(z).mean
    x_features, y_features = objective.critic(X), objective.critic(y)
    std = x_features.detach().std(0, correction=0)
    features = ((x_features - y_features) / (0.3 * std)).square().sum(-1) / 2
    kl = torch.distributions.kl_divergence(q, vae.latents())
    encoder = compute_gradient((kl + features).mean(), vae.encoder)
    torch.testing.assert_close(compute_gradient(loss, vae.encoder), encoder, rtol=1e-4, atol=1e-5)
    logits = [
        objective.verdict(torch.nn.functional.leaky_relu(objective.critic(image), 0.2))
        for image in (y, y_prior)
    ]
    fooling = -sum(logit.sigmoid().log().squeeze(-1) for logit in logits)
    decoder = compute_gradient((3 * features + fooling).mean(), vae.decoder)
    torch.testing.assert_close(compute_gradient(loss, vae.decoder), decoder, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2])
def test_small_last_batch_uses_the_running_standard_deviation(config, count):
    run, objective = build_run(config, "vae_gan")
    before = terms_of(run)["features"].mean()
    after = objective(run.vae, X[:count], 0)["features"].mean()
    assert after < 3 * before
    deviation = objective.deviation.clone()
    objective.eval()
    objective(run.vae, X[:count], 0)
    assert torch.equal(objective.deviation, deviation)


def test_critic_of_vae_gan_has_spectral_norm_1(config):
    """The layers have spectral norm 1 even if the weights are large."""
    _, objective = build_run(config, "vae_gan")
    with torch.no_grad():
        objective.verdict.parametrizations.weight.original.mul_(1000)
    for _ in range(30):
        weight = objective.verdict.weight
    assert torch.linalg.matrix_norm(weight, 2).item() == pytest.approx(1, abs=1e-3)
    matrix = objective.critic.head.weight
    for _ in range(100):
        matrix = objective.critic.head.weight
    assert torch.linalg.matrix_norm(matrix, 2).item() == pytest.approx(1, abs=0.02)


@pytest.mark.slow
def test_critic_matches_the_latents_to_the_prior(train):
    """The latents of an autoencoder can have any scale; those of an AAE have that of the prior."""
    words = ["posterior=deterministic", "model.hidden=[64]", "latent_dim=2"]
    words += ["trainer.max_epochs=12", "trainer.limit_train_batches=1.0", "data.batch_size=64"]
    log_stds = []
    for option in ("autoencoder", "aae"):
        numbers = train(f"objective={option}", *words, folder=option)
        run = RunParts.open(numbers["folder"], "last")
        x = run.data.prepare(run.data.splits["test"].images)
        with torch.no_grad():
            log_stds.append(run.vae.encode(x).mean.std(0).log().abs().max().item())
    plain, adversarial = log_stds
    assert adversarial < 0.5 < plain


@pytest.mark.parametrize("posterior", ["gumbel", "vmf"])
def test_factor_refuses_latents_that_cannot_be_permuted(config, posterior):
    prior = {"gumbel": "categorical", "vmf": "sphere"}[posterior]
    with pytest.raises(ValueError, match="permuted independently"):
        build_run(config, "factor", f"posterior={posterior}", f"prior={prior}", "latent_dim=10")


def test_info_mmd_without_a_kl_refuses_a_learned_prior(config):
    with pytest.raises(ValueError, match="would train the prior"):
        build_run(config, "info_mmd", "objective.alpha=1", "prior=mixture")
