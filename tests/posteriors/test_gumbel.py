"""The Gumbel-softmax posterior: normalized probabilities, exact KL, and relaxed samples."""

import itertools
import math

import pytest
import torch
from torch.distributions import Categorical, kl_divergence

from vaelab.distributions.normal import DiagonalNormal, StandardNormal
from vaelab.distributions.one_hot import OneHotAndNormal
from vaelab.estimators.importance import importance_bound
from vaelab.objectives.base import closed_form_kl, sample_with_kl
from vaelab.runs.run import RunParts
from vaelab.runtime.build import build_from_config

SMALL = ("posterior=gumbel", "posterior.categories=3")


def empty_normal(*batch):
    """Return a normal distribution of zero dimensions."""
    return StandardNormal(torch.zeros(*batch, 0).double())


def all_latents(variables, categories):
    """Enumerate all z that consist of one-hot vectors."""
    one_hots = torch.eye(categories).double()
    return torch.stack([torch.cat(rows) for rows in itertools.product(one_hots, repeat=variables)])


def test_probabilities_sum_to_one():
    q = OneHotAndNormal(torch.randn(2, 4).double(), empty_normal())
    z = all_latents(2, 4)
    assert q.log_prob(z).exp().sum().item() == pytest.approx(1)
    assert q.support.check(z).all()


def test_joint_density_with_a_normal_integrates_to_one():
    normal = DiagonalNormal(torch.tensor([0.3]).double(), torch.tensor([-0.5]).double())
    q = OneHotAndNormal(torch.randn(1, 3).double(), normal)
    line = torch.linspace(-8, 8, 4001).double()
    total = sum(
        torch.trapezoid(q.log_prob(torch.cat([z.expand(4001, 3), line[:, None]], 1)).exp(), line)
        for z in all_latents(1, 3)
    )
    assert total.item() == pytest.approx(1)


def test_kl_agrees_with_torch_and_with_enumeration():
    logits = torch.randn(5, 2, 3).double()
    q = OneHotAndNormal(logits, empty_normal(5))
    p = OneHotAndNormal(torch.zeros(2, 3).double(), empty_normal())
    z = all_latents(2, 3).unsqueeze(1)
    expected = (q.log_prob(z).exp() * (q.log_prob(z) - p.log_prob(z))).sum(0)
    kl = closed_form_kl(q, p)
    assert kl.shape == (5, 2)
    torch.testing.assert_close(kl.sum(-1), expected)
    uniform = Categorical(logits=torch.zeros(3).double())
    torch.testing.assert_close(kl, kl_divergence(Categorical(logits=logits), uniform))


def test_elbo_is_a_lower_bound_of_the_enumerated_likelihood(config):
    vae = build_from_config(
        config(*SMALL, "model.hidden=[5]", "latent_dim=6").module.vae, shape=[1, 2, 2]
    )
    vae = vae.double().eval()
    for weight in vae.parameters():
        weight.data = torch.randn_like(weight) / 2
    x, z = torch.rand(7, 1, 2, 2).double().round(), all_latents(2, 3)
    joint = vae.decode(z).log_prob(x.unsqueeze(1)) + vae.latents().log_prob(z)  # (7, 9)
    exact = joint.logsumexp(1)
    q = vae.encode(x)
    probabilities = q.log_prob(z.unsqueeze(1)).exp().T
    elbo = (probabilities * joint).sum(1) + compute_entropy(probabilities)
    assert (elbo <= exact).all()
    with torch.no_grad():
        samples = [sample_with_kl(q, vae.latents()) for _ in range(2000)]
        estimates = torch.stack([vae.decode(z).log_prob(x) - kl.sum(-1) for z, kl in samples])
        bound = importance_bound(vae, x, 50_000)
    error = estimates.std(0) / math.sqrt(len(estimates))
    assert ((estimates.mean(0) - elbo).abs() < 4.5 * error + 1e-6).all()
    assert (bound - exact).abs().max() < 0.3
    assert (bound - exact).abs().median() < 0.02


def compute_entropy(probabilities):
    return -torch.xlogy(probabilities, probabilities).sum(1)


def test_one_hot_samples_have_the_correct_frequencies():
    q = OneHotAndNormal(torch.tensor([[0.0, 1.0, -1.0]]).double(), empty_normal())
    z = q.sample(torch.Size([100_000]))
    assert ((z == 0) | (z == 1)).all()
    error = (q.mean * (1 - q.mean) / len(z)).sqrt()
    assert ((z.mean(0) - q.mean).abs() < 4 * error).all()
    assert torch.equal(q.mode, torch.tensor([0.0, 1.0, 0.0]).double())


def test_relaxed_samples_lie_on_the_simplex_and_approach_one_hot_at_low_temperature():
    logits, sharpness = torch.randn(1, 4).double(), []
    for temperature in (2.0, 0.5, 0.01):
        torch.manual_seed(0)
        q = OneHotAndNormal(logits, empty_normal(), torch.tensor(temperature))
        z = q.rsample(torch.Size([2000]))
        torch.testing.assert_close(z.sum(-1), torch.ones(2000).double())
        sharpness.append(z.max(-1).values.mean().item())
    assert sharpness == sorted(sharpness)
    assert sharpness[-1] > 0.98
    frequencies = z.argmax(-1).bincount(minlength=4) / 2000
    assert (frequencies - logits.softmax(-1)[0]).abs().max() < 0.06  # exact at any temperature


def test_temperature_decays_and_evaluation_samples_are_one_hot(config):
    run = RunParts.build(config(*SMALL, "latent_dim=6", "posterior.rate=0.1", "model.hidden=[5]"))
    posterior, out = run.vae.posterior, torch.randn(4, 6)
    for step, expected in ((0, 1.0), (5, math.exp(-0.5)), (100, 0.5)):
        posterior.anneal(step)
        assert posterior.now.item() == pytest.approx(expected)
    assert not posterior.support.check(posterior(out).rsample()).all()
    posterior.eval()
    assert posterior.support.check(posterior(out).rsample()).all()
    assert "posterior.now" not in run.vae.state_dict()


def test_extreme_logits_give_finite_samples_and_gradients():
    logits = torch.tensor([[300.0, -300.0, 0.0]]).requires_grad_()
    zeros = StandardNormal(torch.zeros(0))
    q = OneHotAndNormal(logits, zeros, torch.tensor(0.1))
    z, kl = sample_with_kl(q, OneHotAndNormal(torch.zeros(1, 3), zeros))
    (z.square().sum() + kl.sum()).backward()
    assert torch.isfinite(z).all()
    assert torch.isfinite(logits.grad).all()
    assert kl.item() == pytest.approx(math.log(3))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("latent_dim=7", "set latent_dim to a multiple of 3 plus 0"),
        ("latent_dim=7 posterior.normal=2", "set latent_dim to a multiple of 3 plus 2"),
        ("latent_dim=6 posterior.normal=-3", "posterior.normal=-3"),
        ("latent_dim=6 posterior.categories=0", "posterior.categories=0"),
        ("latent_dim=6 posterior.lowest=2", "posterior.lowest=2"),
        ("latent_dim=6 posterior.rate=-1", "posterior.rate=-1"),
        ("latent_dim=6 prior=normal", "choose a prior= with the posterior's support"),
        ("latent_dim=6 prior=vamp", "Gumbel relaxes its samples: set prior=categorical"),
        ("latent_dim=6 objective=iwae", "Gumbel relaxes its samples: set objective=elbo"),
        ("latent_dim=6 objective=dip", "moments"),
    ],
)
def test_invalid_settings_are_rejected(config, overrides, message):
    with pytest.raises(ValueError, match=message):
        RunParts.build(config(*SMALL, *overrides.split()))


def test_joint_latents_train(train):
    metrics = train(*SMALL, "posterior.normal=4", "latent_dim=10", "model.hidden=[16]")
    assert math.isfinite(metrics["nll"])
