"""The decomposition of the KL with the explicit mixture q(z)."""

import math

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, Normal, kl_divergence

from vaelab.distributions.normal import DiagonalNormal, FullNormal, StandardNormal
from vaelab.metrics.aggregate import AggregatePosterior, decompose_kl

N, D = 40, 3
P = StandardNormal(torch.zeros(D).double())


def make_posteriors(means):
    return DiagonalNormal(means, -1 + torch.randn(N, D).double() / 3)


def decompose(q, p=P, factorised=True):
    z = q.sample()
    return decompose_kl(AggregatePosterior(q), z, q.log_prob(z), p.log_prob(z), factorised)


def test_separate_posteriors_have_mutual_information_ln_n():
    terms = decompose(make_posteriors(100 * torch.randn(N, D).double()))
    torch.testing.assert_close(terms["mutual_information"], torch.full((N,), math.log(N)).double())


def test_equal_posteriors_have_no_mutual_information():
    q = DiagonalNormal(torch.ones(N, D).double(), torch.full((N, D), -1.0).double())
    z = q.sample()
    terms = decompose_kl(AggregatePosterior(q), z, q.log_prob(z), P.log_prob(z), True)
    zeros = torch.zeros(N).double()
    torch.testing.assert_close(terms["mutual_information"], zeros)
    torch.testing.assert_close(terms["total_correlation"], zeros)
    torch.testing.assert_close(terms["aggregate_kl"], q.log_prob(z) - P.log_prob(z))


def test_mutual_information_is_at_most_ln_n():
    for size in (0.1, 1, 10, 100):
        q = make_posteriors(size * torch.randn(N, D).double())
        assert (decompose(q)["mutual_information"] <= math.log(N) + 1e-9).all()


def test_terms_add_up_at_every_sample():
    q = make_posteriors(torch.randn(N, D).double())
    torch.manual_seed(5)
    terms = decompose(q)
    torch.manual_seed(5)
    z = q.sample()
    total = terms["total_correlation"] + terms["dimension_kl"]
    torch.testing.assert_close(terms["aggregate_kl"], total)
    total = terms["mutual_information"] + terms["aggregate_kl"]
    torch.testing.assert_close(total, q.log_prob(z) - P.log_prob(z))


def test_mean_of_the_terms_is_the_closed_form_kl():
    q = make_posteriors(torch.randn(N, D).double())
    terms = [decompose(q) for _ in range(500)]
    sums = torch.stack([sample["mutual_information"] + sample["aggregate_kl"] for sample in terms])
    error = sums.mean(1).std().item() / math.sqrt(500)
    assert sums.mean().item() == pytest.approx(kl_divergence(q, P).mean().item(), abs=4 * error)


def test_aggregate_kl_is_0_if_the_prior_is_the_aggregate():
    """The prior is a VampPrior whose pseudo-inputs are all images."""
    q = make_posteriors(torch.randn(N, D).double())
    uniform = Categorical(logits=torch.zeros(N).double())
    terms = decompose(q, MixtureSameFamily(uniform, DiagonalNormal(q.loc, q.log_scale)), False)
    torch.testing.assert_close(terms["aggregate_kl"], torch.zeros(N).double())


def test_densities_match_explicit_mixtures():
    q, z = make_posteriors(torch.randn(N, D).double()), torch.randn(7, D).double()
    elements = Normal(q.loc, q.scale).log_prob(z.unsqueeze(1))
    torch.testing.assert_close(q.entry_log_prob(z.unsqueeze(1)), elements)
    aggregate = AggregatePosterior(q)
    joint = elements.sum(-1).logsumexp(1) - math.log(N)
    torch.testing.assert_close(aggregate.log_prob(z), joint)
    torch.testing.assert_close(aggregate.log_marginals(z), elements.logsumexp(1) - math.log(N))


def test_result_does_not_depend_on_the_chunk_size(monkeypatch):
    q, z = make_posteriors(torch.randn(N, D).double()), torch.randn(7, D).double()
    whole = AggregatePosterior(q).log_prob(z), AggregatePosterior(q).log_marginals(z)
    monkeypatch.setattr("vaelab.metrics.aggregate.MAX_DENSITIES", 2 * N * D)
    chunked = AggregatePosterior(q).log_prob(z), AggregatePosterior(q).log_marginals(z)
    torch.testing.assert_close(chunked, whole)


def test_correlated_posteriors_have_no_marginal_terms():
    q = FullNormal(torch.zeros(N, D), scale_tril=torch.eye(D).expand(N, D, D))
    z = q.sample()
    assert decompose_kl(AggregatePosterior(q), z, q.log_prob(z), P.log_prob(z), False).keys() == {
        "mutual_information",
        "aggregate_kl",
    }
    with pytest.raises(ValueError, match="FullNormal"):
        AggregatePosterior(q).log_marginals(z)


def test_unknown_prior_density_leaves_only_the_mutual_information():
    q = make_posteriors(torch.randn(N, D).double())
    z = q.sample()
    terms = decompose_kl(AggregatePosterior(q), z, q.log_prob(z), None, True)
    assert terms.keys() == {"mutual_information"}
