"""The KL taken apart, where q(z) is an explicit mixture."""

import math

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, Normal, kl_divergence

from vaelab.distributions.normal import DiagonalNormal, FullNormal, StandardNormal
from vaelab.metrics.aggregate import AggregatePosterior, decompose_kl

N, D = 40, 3
P = StandardNormal(torch.zeros(D).double())


def posteriors(means):
    return DiagonalNormal(means, -1 + torch.randn(N, D).double() / 3)


def parts(q, p=P, factorised=True):
    z = q.sample()
    return decompose_kl(AggregatePosterior(q), z, q.log_prob(z), p.log_prob(z), factorised)


def test_codes_that_tell_all_images_apart_have_the_information_of_a_number_of_them():
    found = parts(posteriors(100 * torch.randn(N, D).double()))
    torch.testing.assert_close(found["mutual_information"], torch.full((N,), math.log(N)).double())


def test_the_same_posterior_for_all_images_has_none_and_the_kl_is_that_of_the_aggregate():
    q = DiagonalNormal(torch.ones(N, D).double(), torch.full((N, D), -1.0).double())
    z = q.sample()
    found = decompose_kl(AggregatePosterior(q), z, q.log_prob(z), P.log_prob(z), True)
    zeros = torch.zeros(N).double()
    torch.testing.assert_close(found["mutual_information"], zeros)
    torch.testing.assert_close(found["total_correlation"], zeros)
    torch.testing.assert_close(found["aggregate_kl"], q.log_prob(z) - P.log_prob(z))


def test_the_information_is_never_above_its_limit():
    for size in (0.1, 1, 10, 100):
        q = posteriors(size * torch.randn(N, D).double())
        assert (parts(q)["mutual_information"] <= math.log(N) + 1e-9).all()


def test_the_parts_are_sums_of_each_other_at_every_draw():
    q = posteriors(torch.randn(N, D).double())
    torch.manual_seed(5)
    found = parts(q)
    torch.manual_seed(5)
    z = q.sample()
    total = found["total_correlation"] + found["dimension_kl"]
    torch.testing.assert_close(found["aggregate_kl"], total)
    total = found["mutual_information"] + found["aggregate_kl"]
    torch.testing.assert_close(total, q.log_prob(z) - P.log_prob(z))


def test_their_mean_is_the_closed_kl():
    q = posteriors(torch.randn(N, D).double())
    found = [parts(q) for _ in range(500)]
    sums = torch.stack([each["mutual_information"] + each["aggregate_kl"] for each in found])
    error = sums.mean(1).std().item() / math.sqrt(500)
    assert sums.mean().item() == pytest.approx(kl_divergence(q, P).mean().item(), abs=4 * error)


def test_a_prior_that_is_the_aggregate_leaves_no_kl_but_the_information():
    """A VampPrior whose pseudo-inputs are all images."""
    q = posteriors(torch.randn(N, D).double())
    uniform = Categorical(logits=torch.zeros(N).double())
    found = parts(q, MixtureSameFamily(uniform, DiagonalNormal(q.loc, q.log_scale)), False)
    torch.testing.assert_close(found["aggregate_kl"], torch.zeros(N).double())


def test_the_densities_are_those_of_the_mixtures_written_by_hand():
    q, z = posteriors(torch.randn(N, D).double()), torch.randn(7, D).double()
    each = Normal(q.loc, q.scale).log_prob(z.unsqueeze(1))
    torch.testing.assert_close(q.elements(z.unsqueeze(1)), each)
    aggregate = AggregatePosterior(q)
    joint = each.sum(-1).logsumexp(1) - math.log(N)
    torch.testing.assert_close(aggregate.log_prob(z), joint)
    torch.testing.assert_close(aggregate.log_marginals(z), each.logsumexp(1) - math.log(N))


def test_memory_at_once_changes_nothing(monkeypatch):
    q, z = posteriors(torch.randn(N, D).double()), torch.randn(7, D).double()
    whole = AggregatePosterior(q).log_prob(z), AggregatePosterior(q).log_marginals(z)
    monkeypatch.setattr("vaelab.metrics.aggregate.AT_ONCE", 2 * N * D)
    chunked = AggregatePosterior(q).log_prob(z), AggregatePosterior(q).log_marginals(z)
    torch.testing.assert_close(chunked, whole)


def test_what_does_not_fall_into_dimensions_has_no_marginals():
    q = FullNormal(torch.zeros(N, D), scale_tril=torch.eye(D).expand(N, D, D))
    z = q.sample()
    assert decompose_kl(AggregatePosterior(q), z, q.log_prob(z), P.log_prob(z), False).keys() == {
        "mutual_information",
        "aggregate_kl",
    }
    with pytest.raises(ValueError, match="FullNormal"):
        AggregatePosterior(q).log_marginals(z)


def test_without_a_prior_there_is_only_the_information():
    q = posteriors(torch.randn(N, D).double())
    z = q.sample()
    found = decompose_kl(AggregatePosterior(q), z, q.log_prob(z), None, True)
    assert found.keys() == {"mutual_information"}
