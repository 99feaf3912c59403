"""The KL taken apart, against an explicit mixture q(z)."""

import itertools
import math

import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

from vaelab.distributions.normal import DiagonalNormal
from vaelab.objectives.beta_tc import BetaTC, log_weights
from vaelab.runs.run import Run

N, D = 5, 2


def posteriors():
    torch.manual_seed(1)
    return DiagonalNormal(torch.randn(N, D).double(), -1 + torch.randn(N, D).double() / 3)


def log_q(q, z):
    """log q(z|x_j) of each dimension, z (D,) to (N, D)."""
    return torch.distributions.Normal(q.loc, q.scale).log_prob(z)


def parts_of(run, x, dataset_size):
    torch.manual_seed(0)
    run.module.objective.dataset_size = dataset_size
    return run.module.objective(run.vae, x, 0)


@pytest.fixture
def run(config):
    def build(*words):
        words = ["objective=beta_tc", "model.hidden=[16]", "latent_dim=4", *words]
        return Run.build(config(*words))

    return build


@pytest.mark.parametrize("batch", [2, 3, 4, 5])
def test_the_stratified_estimate_is_unbiased(batch):
    """Its mean over all batches that hold x_0, in any order, is q(z)."""
    q, z = posteriors(), torch.randn(D).double()
    each = log_q(q, z).sum(-1).exp()
    weights = log_weights("stratified", batch, N).double().exp()
    for position in range(batch):
        estimates = []
        for others in itertools.permutations(range(1, N), batch - 1):
            order = list(others)
            order.insert(position, 0)
            estimates.append(weights[position] @ each[order])
        assert torch.stack(estimates).mean().item() == pytest.approx(each.mean().item(), rel=1e-6)


def test_the_published_stride_bug_is_biased():
    """It fills a column with 1/N instead of the diagonal: B x B weights walked with stride B."""
    batch, q = 3, posteriors()
    z = q.loc[0]
    each, others = log_q(q, z).sum(-1).exp(), batch - 1
    weights = torch.full((batch, batch), 1 / others).double()
    weights.view(-1)[:: others + 1] = 1 / N
    weights.view(-1)[1 :: others + 1] = (N - others) / (N * others)
    weights[others - 1, 0] = (N - others) / (N * others)
    estimates = [
        weights[1] @ each[[first, 0, last]]
        for first, last in itertools.permutations(range(1, N), 2)
    ]
    assert abs(torch.stack(estimates).mean().item() / each.mean().item() - 1) > 0.05


@pytest.mark.parametrize("batch", [1, 2, 7, 50])
@pytest.mark.parametrize("estimator", ["stratified", "full"])
def test_the_weights_sum_to_one(batch, estimator):
    total = log_weights(estimator, batch, 50).exp().sum(1)
    torch.testing.assert_close(total, torch.ones(batch))


def test_the_full_estimate_takes_the_batch_for_all_images():
    torch.testing.assert_close(log_weights("full", N, 77).exp(), torch.full((N, N), 1 / N))


def test_the_weighted_estimate_is_that_of_the_full_one_over_n():
    """Equation S6: 1/(N M) sum_j q(z|x_j), so its total correlation is (D - 1) ln N above."""
    weighted, full = log_weights("weighted", 4, 10), log_weights("full", 4, 10)
    torch.testing.assert_close(weighted, full - math.log(10))


def test_the_parts_are_those_of_an_explicit_mixture(run):
    """With all images in the batch: MI, TC and the rest at the very z that were drawn."""
    run = run("objective.estimator=full")
    vae, x = run.vae.double(), torch.rand(6, 1, 28, 28).double().round()
    terms = parts_of(run, x, 6)
    q = vae.encode(x)
    torch.manual_seed(0)
    z = q.rsample()
    for i in range(6):
        each = log_q(q, z[i])
        log_q_z = each.sum(-1).logsumexp(0) - math.log(6)
        log_q_each = (each.logsumexp(0) - math.log(6)).sum()
        expected = {
            "mutual_information": each[i].sum() - log_q_z,
            "total_correlation": log_q_z - log_q_each,
            "dimension_kl": log_q_each - vae.latents().log_prob(z[i]),
        }
        for name, value in expected.items():
            torch.testing.assert_close(terms[name][i], value)


@pytest.mark.parametrize("estimator", ["stratified", "weighted", "full"])
def test_its_parts_sum_to_the_sampled_kl_so_at_weights_1_it_is_minus_the_elbo(run, estimator):
    run = run("objective.beta=1", f"objective.estimator={estimator}")
    vae, x = run.vae.double(), torch.rand(6, 1, 28, 28).double().round()
    terms = parts_of(run, x, 100)
    q = vae.encode(x)
    torch.manual_seed(0)
    z = q.rsample()
    sampled = q.log_prob(z) - vae.latents().log_prob(z)
    parts = terms["mutual_information"] + terms["total_correlation"] + terms["dimension_kl"]
    torch.testing.assert_close(parts, sampled)
    torch.testing.assert_close(terms["loss"], terms["reconstruction"] + sampled)
    torch.testing.assert_close(terms["kl"], kl_divergence(q, vae.latents()))


def test_each_part_has_its_weight(run):
    x = torch.rand(6, 1, 28, 28).round()
    terms = parts_of(run("objective.alpha=2", "objective.beta=3", "objective.gamma=5"), x, 100)
    weighted = (
        2 * terms["mutual_information"] + 3 * terms["total_correlation"] + 5 * terms["dimension_kl"]
    )
    torch.testing.assert_close(terms["loss"], terms["reconstruction"] + weighted)


def test_the_total_correlation_of_a_normal_is_found():
    """TC = -1/2 ln |R| of the correlations R, from many posteriors that are nearly points."""
    covariance = torch.tensor([[1.0, 0.8], [0.8, 1.0]], dtype=torch.float64)
    means = MultivariateNormal(torch.zeros(2).double(), covariance).sample((3000,))
    scale, z = 0.3, means + 0.3 * torch.randn_like(means)
    each = torch.distributions.Normal(means, scale).log_prob(z.unsqueeze(1))
    weights = log_weights("full", 3000, 3000).double()
    log_q_z = (weights + each.sum(-1)).logsumexp(1)
    log_q_each = (weights.unsqueeze(-1) + each).logsumexp(1).sum(-1)
    blurred = covariance + scale**2 * torch.eye(2)
    exact = (blurred.diagonal().log().sum() - torch.logdet(blurred)) / 2
    assert (log_q_z - log_q_each).mean().item() == pytest.approx(exact.item(), abs=0.04)


def test_the_aggregate_posterior_is_that_of_the_training_images(train):
    from unittest.mock import patch

    seen = []
    with patch(
        "vaelab.objectives.beta_tc.log_weights", lambda *a: seen.append(a) or log_weights(*a)
    ):
        train("objective=beta_tc", "model.hidden=[8]")
    assert {images for _, _, images in seen} == {4000}


@pytest.mark.parametrize(
    "words", ["posterior=full", "prior=mixture", "model=conditional model.learned_prior=true"]
)
def test_what_does_not_come_apart_is_refused(config, words):
    with pytest.raises(ValueError, match="set posterior=diagonal and prior=normal"):
        Run.build(config("objective=beta_tc", *words.split()))


def test_its_default_estimator_is_the_stratified_one():
    assert BetaTC().estimator == "stratified"
