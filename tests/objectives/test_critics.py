"""Objectives with a critic: what each side learns from, and what the critic measures."""

import math

import pytest
import torch

from vaelab.models.mlp import Encoder
from vaelab.objectives.adversarial import discriminator_loss
from vaelab.objectives.factor import permute_dimensions
from vaelab.runs.run import Run

X = torch.rand(12, 1, 28, 28, generator=torch.Generator().manual_seed(0)).round()


def build(config, option, *words):
    torch.manual_seed(0)
    run = Run.build(config(f"objective={option}", "model.hidden=[16]", "latent_dim=4", *words))
    return run, run.module.objective


def terms_of(run, seed=1):
    torch.manual_seed(seed)
    return run.module.objective(run.vae, X, 0)


def gradient(loss, module):
    weights = list(module.parameters())
    found = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for w, g in zip(weights, found, strict=True)]


def test_the_best_critic_has_cross_entropy_2_ln_2_where_nothing_tells_them_apart():
    zeros = torch.zeros(5, 1)
    assert discriminator_loss(zeros, zeros).item() == pytest.approx(2 * math.log(2))
    assert discriminator_loss(zeros + 50, zeros - 50, zeros - 50).item() == pytest.approx(
        0, abs=1e-9
    )
    assert discriminator_loss(zeros - 50, zeros).item() == pytest.approx(50 + math.log(2))


def test_permuting_keeps_each_dimension_and_breaks_what_binds_them():
    z = torch.randn(5000, 1) * torch.ones(3)
    mixed = permute_dimensions(z)
    torch.testing.assert_close(mixed.sort(0).values, z.sort(0).values)
    assert torch.corrcoef(mixed.T).tril(-1).abs().max() < 0.06


def test_a_trained_critics_logit_is_the_total_correlation():
    """Of a normal with correlation .8: TC = -1/2 ln(1 - .64) = .511."""
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
        found = critic(torch.randn(50_000, 2) @ factor.T).mean().item()
    assert found == pytest.approx(-0.5 * math.log(1 - 0.64), abs=0.06)


@pytest.mark.parametrize("option", ["factor", "aae", "vae_gan"])
def test_each_side_learns_from_its_own_loss_alone(config, option):
    run, objective = build(config, option)
    terms = terms_of(run)
    loss = terms["loss"].mean()
    of_critic = gradient(terms["critic"], objective)
    assert any(g.abs().sum() > 0 for g in of_critic)
    torch.testing.assert_close(gradient(loss, objective), of_critic)
    assert all((g == 0).all() for g in gradient(terms["critic"], run.vae))
    assert all(weight.requires_grad for weight in run.module.parameters())


def test_factor_adds_the_logit_of_its_critic(config):
    run, objective = build(config, "factor", "objective.gamma=3")
    terms = terms_of(run)
    torch.manual_seed(1)
    z = run.vae.encode(X).rsample()
    torch.testing.assert_close(terms["total_correlation"], objective.critic(z).squeeze(-1))
    expected = -terms["elbo"] + 3 * terms["total_correlation"] + terms["critic"]
    torch.testing.assert_close(terms["loss"], expected)


def test_aae_adds_what_it_takes_to_fool_its_critic(config):
    run, objective = build(config, "aae", "objective.weight=3")
    terms = terms_of(run)
    torch.manual_seed(1)
    chance = objective.critic(run.vae.encode(X).rsample()).sigmoid().squeeze(-1)
    torch.testing.assert_close(terms["fooling"], -chance.log())
    expected = terms["reconstruction"] + 3 * terms["fooling"] + terms["critic"]
    torch.testing.assert_close(terms["loss"], expected)


def test_vae_gan_gives_each_part_what_algorithm_1_gives_it(config):
    """The encoder KL and features; the decoder gamma features and the critic's verdict."""
    run, objective = build(config, "vae_gan", "objective.gamma=3")
    objective.eval()  # or each call would improve its spectral normalization
    vae, loss = run.vae, terms_of(run)["loss"].mean()
    torch.manual_seed(1)
    q = vae.encode(X)
    z = q.rsample()
    drawn = vae.decode(vae.latents().sample((12,))).mean
    y = vae.decode(z).mean
    seen, again = objective.critic(X), objective.critic(y)
    deviation = seen.detach().std(0, correction=0)
    features = ((seen - again) / (0.3 * deviation)).square().sum(-1) / 2
    kl = torch.distributions.kl_divergence(q, vae.latents())
    encoder = gradient((kl + features).mean(), vae.encoder)
    torch.testing.assert_close(gradient(loss, vae.encoder), encoder, rtol=1e-4, atol=1e-5)
    logits = [
        objective.verdict(torch.nn.functional.leaky_relu(objective.critic(fake), 0.2))
        for fake in (y, drawn)
    ]
    verdict = -sum(logit.sigmoid().log().squeeze(-1) for logit in logits)
    decoder = gradient((3 * features + verdict).mean(), vae.decoder)
    torch.testing.assert_close(gradient(loss, vae.decoder), decoder, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2])
def test_a_last_batch_of_few_images_has_the_unit_of_those_before(config, count):
    run, objective = build(config, "vae_gan")
    before = terms_of(run)["features"].mean()
    few = objective(run.vae, X[:count], 0)["features"].mean()
    assert few < 3 * before
    kept = objective.deviation.clone()
    objective.eval()
    objective(run.vae, X[:count], 0)
    assert torch.equal(objective.deviation, kept)


def test_the_critic_of_vae_gan_is_smooth(config):
    """Its layers have norm 1, however large their weights."""
    _, objective = build(config, "vae_gan")
    with torch.no_grad():
        objective.verdict.parametrizations.weight.original.mul_(1000)
    for _ in range(30):
        weight = objective.verdict.weight
    assert torch.linalg.matrix_norm(weight, 2).item() == pytest.approx(1, abs=1e-3)
    matrix = objective.critic.head.weight
    for _ in range(100):
        matrix = objective.critic.head.weight
    assert torch.linalg.matrix_norm(matrix, 2).item() == pytest.approx(1, abs=0.02)


def test_a_critic_makes_the_codes_like_the_prior(train):
    """An autoencoder's codes have any scale; those of aae that of the prior."""
    words = ["posterior=deterministic", "model.hidden=[64]", "latent_dim=2"]
    words += ["trainer.max_epochs=12", "trainer.limit_train_batches=1.0", "data.batch_size=64"]
    spreads = []
    for option in ("autoencoder", "aae"):
        numbers = train(f"objective={option}", *words, folder=option)
        run = Run.open(numbers["folder"], "last")
        x = run.data.prepare(run.data.splits["test"].images)
        with torch.no_grad():
            spreads.append(run.vae.encode(x).mean.std(0).log().abs().max().item())
    plain, adversarial = spreads
    assert adversarial < 0.5 < plain


@pytest.mark.parametrize("posterior", ["gumbel", "vmf"])
def test_factor_wants_codes_whose_dimensions_can_be_permuted(config, posterior):
    prior = {"gumbel": "categorical", "vmf": "sphere"}[posterior]
    with pytest.raises(ValueError, match="were permuted"):
        build(config, "factor", f"posterior={posterior}", f"prior={prior}", "latent_dim=10")


def test_a_learned_prior_is_not_left_without_a_loss(config):
    with pytest.raises(ValueError, match="would train the prior"):
        build(config, "info_mmd", "objective.alpha=1", "prior=mixture")
