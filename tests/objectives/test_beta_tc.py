"""Test the decomposition of the KL against an explicit mixture q(z)."""

import itertools
import math

import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

from vaelab.distributions.normal import DiagonalNormal
from vaelab.objectives.beta_tc import BetaTC, compute_log_weights
from vaelab.runs.run import RunParts

N, D = 5, 2


def posteriors():
    torch.manual_seed(1)
    return DiagonalNormal(torch.randn(N, D).double(), -1 + torch.randn(N, D).double() / 3)


def log_q(q, z):
    """Compute log q(z_d|x_j) (N, D) by dimension at one z (D,)."""
    return torch.distributions.Normal(q.loc, q.scale).log_prob(z)


def compute_terms(run, x, dataset_size):
    torch.manual_seed(0)
    run.module.objective.dataset_size = dataset_size
    return run.module.objective(run.vae, x, 0)


@pytest.fixture
def run(config):
    def build(*words):
        words = ["objective=beta_tc", "model.hidden=[16]", "latent_dim=4", *words]
        return RunParts.build(config(*words))

    return build


@pytest.mark.parametrize("batch", [2, 3, 4, 5])
def test_stratified_estimator_is_unbiased(batch):
    """The mean of the estimate over all batches that contain x_0, in any order, is q(z)."""
    q, z = posteriors(), torch.randn(D).double()
    densities = log_q(q, z).sum(-1).exp()
    weights = compute_log_weights("stratified", batch, N).double().exp()
    for position in range(batch):
        estimates = []
        for others in itertools.permutations(range(1, N), batch - 1):
            order = list(others)
            order.insert(position, 0)
            estimates.append(weights[position] @ densities[order])
        mean = torch.stack(estimates).mean().item()
        assert mean == pytest.approx(densities.mean().item(), rel=1e-6)


def test_published_stride_bug_is_biased():
    """Indexing the B x B weights with stride B writes 1/N to a column instead of the diagonal."""
    batch, q = 3, posteriors()
    z = q.loc[0]
    densities, others = log_q(q, z).sum(-1).exp(), batch - 1
    weights = torch.full((batch, batch), 1 / others).double()
    weights.view(-1)[:: others + 1] = 1 / N
    weights.view(-1)[1 :: others + 1] = (N - others) / (N * others)
    weights[others - 1, 0] = (N - others) / (N * others)
    estimates = [
        weights[1] @ densities[[first, 0, last]]
        for first, last in itertools.permutations(range(1, N), 2)
    ]
    assert abs(torch.stack(estimates).mean().item() / densities.mean().item() - 1) > 0.05


@pytest.mark.parametrize("batch", [1, 2, 7, 50])
@pytest.mark.parametrize("estimator", ["stratified", "full"])
def test_weights_sum_to_1(batch, estimator):
    total = compute_log_weights(estimator, batch, 50).exp().sum(1)
    torch.testing.assert_close(total, torch.ones(batch))


def test_full_estimator_treats_the_batch_as_the_whole_data_set():
    torch.testing.assert_close(compute_log_weights("full", N, 77).exp(), torch.full((N, N), 1 / N))


def test_weighted_estimator_is_the_full_one_divided_by_n():
    """Equation S6: 1/(N M) sum_j q(z|x_j). The total correlation is larger by (D - 1) ln N."""
    weighted, full = compute_log_weights("weighted", 4, 10), compute_log_weights("full", 4, 10)
    torch.testing.assert_close(weighted, full - math.log(10))


def test_terms_equal_those_of_an_explicit_mixture(run):
    """The batch is the whole data set, and MI, TC and DKL are computed at the same samples z."""
    run = run("objective.estimator=full")
    vae, x = run.vae.double(), torch.rand(6, 1, 28, 28).double().round()
    terms = compute_terms(run, x, 6)
    q = vae.encode(x)
    torch.manual_seed(0)
    z = q.rsample()
    for i in range(6):
        log_q_i = log_q(q, z[i])
        log_q_z = log_q_i.sum(-1).logsumexp(0) - math.log(6)
        log_q_product = (log_q_i.logsumexp(0) - math.log(6)).sum()
        expected = {
            "mutual_information": log_q_i[i].sum() - log_q_z,
            "total_correlation": log_q_z - log_q_product,
            "dimension_kl": log_q_product - vae.latents().log_prob(z[i]),
        }
        for name, value in expected.items():
            torch.testing.assert_close(terms[name][i], value)


@pytest.mark.parametrize("estimator", ["stratified", "weighted", "full"])
def test_terms_sum_to_the_sampled_kl(run, estimator):
    run = run("objective.beta=1", f"objective.estimator={estimator}")
    vae, x = run.vae.double(), torch.rand(6, 1, 28, 28).double().round()
    terms = compute_terms(run, x, 100)
    q = vae.encode(x)
    torch.manual_seed(0)
    z = q.rsample()
    sampled_kl = q.log_prob(z) - vae.latents().log_prob(z)
    parts = terms["mutual_information"] + terms["total_correlation"] + terms["dimension_kl"]
    torch.testing.assert_close(parts, sampled_kl)
    torch.testing.assert_close(terms["loss"], terms["reconstruction"] + sampled_kl)
    torch.testing.assert_close(terms["kl"], kl_divergence(q, vae.latents()))


def test_each_term_has_its_weight(run):
    x = torch.rand(6, 1, 28, 28).round()
    terms = compute_terms(run("objective.alpha=2", "objective.beta=3", "objective.gamma=5"), x, 100)
    weighted = (
        2 * terms["mutual_information"] + 3 * terms["total_correlation"] + 5 * terms["dimension_kl"]
    )
    torch.testing.assert_close(terms["loss"], terms["reconstruction"] + weighted)


def test_total_correlation_of_a_normal_has_its_known_value():
    """TC = -1/2 ln |R| with the correlations R of q(z), estimated from many narrow posteriors."""
    covariance = torch.tensor([[1.0, 0.8], [0.8, 1.0]], dtype=torch.float64)
    means = MultivariateNormal(torch.zeros(2).double(), covariance).sample((3000,))
    scale, z = 0.3, means + 0.3 * torch.randn_like(means)
    log_q = torch.distributions.Normal(means, scale).log_prob(z.unsqueeze(1))
    weights = compute_log_weights("full", 3000, 3000).double()
    log_q_z = (weights + log_q.sum(-1)).logsumexp(1)
    log_q_product = (weights.unsqueeze(-1) + log_q).logsumexp(1).sum(-1)
    covariance_z = covariance + scale**2 * torch.eye(2)
    exact = (covariance_z.diagonal().log().sum() - torch.logdet(covariance_z)) / 2
    assert (log_q_z - log_q_product).mean().item() == pytest.approx(exact.item(), abs=0.04)


def test_aggregate_posterior_uses_the_number_of_images_of_the_split(train):
    from unittest.mock import patch

    name = "vaelab.objectives.beta_tc.compute_log_weights"
    with patch(name, side_effect=compute_log_weights) as compute:
        train("objective=beta_tc", "model.hidden=[8]")
    assert {call.args[2] for call in compute.call_args_list} == {4000, 500}


@pytest.mark.parametrize(
    "words", ["posterior=full", "prior=mixture", "model=conditional model.learned_prior=true"]
)
def test_posterior_or_prior_that_does_not_factorise_is_refused(config, words):
    with pytest.raises(ValueError, match="set posterior=diagonal and prior=normal"):
        RunParts.build(config("objective=beta_tc", *words.split()))


def test_default_estimator_is_stratified():
    assert BetaTC().estimator == "stratified"
