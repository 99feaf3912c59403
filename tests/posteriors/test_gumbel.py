"""Categories: probabilities that sum to 1, exact KL, and draws that become one-hot."""

import itertools
import math

import pytest
import torch
from torch.distributions import Categorical, kl_divergence

from vaelab.distributions.normal import DiagonalNormal, StandardNormal
from vaelab.distributions.one_hot import OneHots
from vaelab.estimators.importance import importance_bound
from vaelab.objectives.base import closed_form_kl, sample_with_kl
from vaelab.runs.build import build_from_config
from vaelab.runs.run import Run

SMALL = ("posterior=gumbel", "posterior.categories=3")


def nothing(*batch):
    return StandardNormal(torch.zeros(*batch, 0).double())


def codes(variables, categories):
    """Every z of one-hot vectors."""
    each = torch.eye(categories).double()
    return torch.stack([torch.cat(rows) for rows in itertools.product(each, repeat=variables)])


def test_its_probabilities_sum_to_one():
    q = OneHots(torch.randn(2, 4).double(), nothing())
    z = codes(2, 4)
    assert q.log_prob(z).exp().sum().item() == pytest.approx(1)
    assert q.support.check(z).all()


def test_beside_a_normal_they_integrate_to_one():
    normal = DiagonalNormal(torch.tensor([0.3]).double(), torch.tensor([-0.5]).double())
    q, line = OneHots(torch.randn(1, 3).double(), normal), torch.linspace(-8, 8, 4001).double()
    total = sum(
        torch.trapezoid(q.log_prob(torch.cat([z.expand(4001, 3), line[:, None]], 1)).exp(), line)
        for z in codes(1, 3)
    )
    assert total.item() == pytest.approx(1)


def test_the_kl_is_that_of_torch_and_of_enumeration():
    logits = torch.randn(5, 2, 3).double()
    q, p = OneHots(logits, nothing(5)), OneHots(torch.zeros(2, 3).double(), nothing())
    z = codes(2, 3).unsqueeze(1)
    by_hand = (q.log_prob(z).exp() * (q.log_prob(z) - p.log_prob(z))).sum(0)
    kl = closed_form_kl(q, p)
    assert kl.shape == (5, 2)
    torch.testing.assert_close(kl.sum(-1), by_hand)
    uniform = Categorical(logits=torch.zeros(3).double())
    torch.testing.assert_close(kl, kl_divergence(Categorical(logits=logits), uniform))


def test_the_elbo_is_below_the_likelihood_that_enumeration_gives(config):
    vae = build_from_config(
        config(*SMALL, "model.hidden=[5]", "latent_dim=6").module.vae, shape=[1, 2, 2]
    )
    vae = vae.double().eval()
    for weight in vae.parameters():
        weight.data = torch.randn_like(weight) / 2
    x, z = torch.rand(7, 1, 2, 2).double().round(), codes(2, 3)
    joint = vae.decode(z).log_prob(x.unsqueeze(1)) + vae.latents().log_prob(z)  # (7, 9)
    exact = joint.logsumexp(1)
    q = vae.encode(x)
    chances = q.log_prob(z.unsqueeze(1)).exp().T
    elbo = (chances * joint).sum(1) + q_entropy(chances)
    assert (elbo <= exact).all()
    with torch.no_grad():
        draws = [sample_with_kl(q, vae.latents()) for _ in range(2000)]
        found = torch.stack([vae.decode(z).log_prob(x) - kl.sum(-1) for z, kl in draws])
        bound = importance_bound(vae, x, 50_000)
    error = found.std(0) / math.sqrt(len(found))
    assert ((found.mean(0) - elbo).abs() < 4.5 * error + 1e-6).all()
    assert (bound - exact).abs().max() < 0.3
    assert (bound - exact).abs().median() < 0.02


def q_entropy(chances):
    return -torch.xlogy(chances, chances).sum(1)


def test_hard_draws_have_its_probabilities():
    q = OneHots(torch.tensor([[0.0, 1.0, -1.0]]).double(), nothing())
    z = q.sample(torch.Size([100_000]))
    assert ((z == 0) | (z == 1)).all()
    error = (q.mean * (1 - q.mean) / len(z)).sqrt()
    assert ((z.mean(0) - q.mean).abs() < 4 * error).all()
    assert torch.equal(q.mode, torch.tensor([0.0, 1.0, 0.0]).double())


def test_relaxed_draws_lie_on_the_simplex_and_harden_as_the_temperature_falls():
    logits, sharpness = torch.randn(1, 4).double(), []
    for temperature in (2.0, 0.5, 0.01):
        torch.manual_seed(0)
        q = OneHots(logits, nothing(), torch.tensor(temperature))
        z = q.rsample(torch.Size([2000]))
        torch.testing.assert_close(z.sum(-1), torch.ones(2000).double())
        sharpness.append(z.max(-1).values.mean().item())
    assert sharpness == sorted(sharpness)
    assert sharpness[-1] > 0.98
    likeliest = z.argmax(-1).bincount(minlength=4) / 2000
    assert (likeliest - logits.softmax(-1)[0]).abs().max() < 0.06  # P(argmax) is exact


def test_the_temperature_falls_with_the_step_and_draws_are_hard_in_evaluation(config):
    run = Run.build(config(*SMALL, "latent_dim=6", "posterior.rate=0.1", "model.hidden=[5]"))
    posterior, out = run.vae.posterior, torch.randn(4, 6)
    for step, expected in ((0, 1.0), (5, math.exp(-0.5)), (100, 0.5)):
        posterior.anneal(step)
        assert posterior.now.item() == pytest.approx(expected)
    assert not posterior.support.check(posterior(out).rsample()).all()
    posterior.eval()
    assert posterior.support.check(posterior(out).rsample()).all()
    assert "posterior.now" not in run.vae.state_dict()


def test_extreme_logits_stay_finite():
    logits = torch.tensor([[300.0, -300.0, 0.0]]).requires_grad_()
    zeros = StandardNormal(torch.zeros(0))
    q = OneHots(logits, zeros, torch.tensor(0.1))
    z, kl = sample_with_kl(q, OneHots(torch.zeros(1, 3), zeros))
    (z.square().sum() + kl.sum()).backward()
    assert torch.isfinite(z).all()
    assert torch.isfinite(logits.grad).all()
    assert kl.item() == pytest.approx(math.log(3))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("latent_dim=7", "set latent_dim to a multiple of 3 plus 0"),
        ("latent_dim=7 posterior.normal=2", "set latent_dim to a multiple of 3 plus 2"),
        ("latent_dim=6 posterior.normal=-3", "posterior.normal=-3"),
        ("latent_dim=6 posterior.categories=0", "posterior.categories=0"),
        ("latent_dim=6 posterior.lowest=2", "posterior.lowest=2"),
        ("latent_dim=6 posterior.rate=-1", "posterior.rate=-1"),
        ("latent_dim=6 prior=normal", "choose a prior= on the posterior's support"),
        ("latent_dim=6 prior=vamp", "which Gumbel relaxes: set prior=categorical"),
        ("latent_dim=6 objective=iwae", "which Gumbel relaxes: set objective=elbo"),
        ("latent_dim=6 objective=dip", "moments"),
    ],
)
def test_what_it_cannot_be_is_refused(config, words, message):
    with pytest.raises(ValueError, match=message):
        Run.build(config(*SMALL, *words.split()))


def test_joint_latents_train(train):
    numbers = train(*SMALL, "posterior.normal=4", "latent_dim=10", "model.hidden=[16]")
    assert math.isfinite(numbers["nll"])
