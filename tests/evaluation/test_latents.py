"""Mutual information, aggregate posterior and posterior collapse of whole models."""

import math

import pytest
import torch

from vaelab.distributions.normal import DiagonalNormal
from vaelab.evaluation import latents
from vaelab.evaluation.base import EvaluationConfig, NotApplicable
from vaelab.evaluation.latents import describe_collapse, evaluate
from vaelab.runs.run import RunParts

LIMIT = math.log(500)


@pytest.fixture
def run(config):
    def build(*words, spread=1.0):
        """Build a model whose initial posterior means are scaled by `spread`."""
        run = RunParts.build(config("model.hidden=[16]", "latent_dim=4", *words))
        run.data.setup()
        if spread != 1.0:
            with torch.no_grad():
                run.vae.encoder.layers[-1].weight[:4].mul_(spread)
        return run

    return build


def test_terms_equal_those_of_an_explicit_mixture(run):
    run = run(spread=10.0)
    numbers = evaluate(run, EvaluationConfig(seed=3))
    with torch.no_grad():
        q = run.vae.double().encode(run.data.splits["test"].images.double() / 255)
        z = q.sample(torch.Size([20]))
        log_q_z = q.log_prob(z.unsqueeze(2)).logsumexp(-1) - LIMIT
        information = (q.log_prob(z) - log_q_z).mean(1)
        kl = (log_q_z - run.vae.latents().log_prob(z)).mean(1)
    for name, values in (("mutual_information", information), ("aggregate_kl", kl)):
        assert numbers[name] == pytest.approx(values.mean().item(), abs=4 * values.std().item())
    assert 0.5 < numbers["mutual_information"] < LIMIT - 0.1
    assert numbers["mutual_information_limit"] == pytest.approx(LIMIT)
    parts = numbers["total_correlation"] + numbers["dimension_kl"]
    assert numbers["aggregate_kl"] == pytest.approx(parts, abs=1e-9)
    assert abs(numbers["kl_check"]) < 4 * numbers["kl_check_se"]
    assert numbers["latent_images"] == 500
    assert not {"collapse", "kl_warning"} & numbers.keys()


def test_distant_latents_reach_the_information_limit(run):
    numbers = evaluate(run(spread=1e4), EvaluationConfig(images=50))
    assert numbers["mutual_information"] == pytest.approx(math.log(50), abs=1e-6)
    assert numbers["mutual_information"] <= numbers["mutual_information_limit"] + 1e-9
    assert numbers["latent_images"] == 50


def test_constant_latents_have_no_information_and_are_a_collapse(run):
    run = run()
    with torch.no_grad():
        run.vae.encoder.layers[-1].weight.zero_()
    numbers = evaluate(run, EvaluationConfig())
    assert numbers["mutual_information"] == pytest.approx(0, abs=1e-9)
    assert numbers["collapse"].startswith(
        "posterior collapse: the latents ignore the images (0.00 of 6.21 nats of "
        "information, 0 of 4 units active"
    )
    assert "kl=free_bits" in numbers["collapse"]
    assert "kl_warning" not in numbers


def test_vampprior_of_all_images_has_no_aggregate_kl(run):
    run = run("prior=vamp", "prior.components=500", spread=10.0)
    with torch.no_grad():
        run.vae.prior.inputs.copy_(run.data.splits["val"].images / 255)
    numbers = evaluate(run, EvaluationConfig("val"))
    assert numbers["aggregate_kl"] == pytest.approx(0, abs=1e-5)
    assert 0.5 < numbers["mutual_information"] < LIMIT
    assert abs(numbers["kl_check"]) < 4 * numbers["kl_check_se"]
    assert "total_correlation" not in numbers


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (("posterior=full",), {"total_correlation", "dimension_kl"}),
        (("posterior=planar",), {"total_correlation", "dimension_kl"}),
        (("posterior=vmf",), {"total_correlation", "dimension_kl"}),
        (("posterior=gumbel", "posterior.categories=4"), {"total_correlation", "dimension_kl"}),
        (("prior=mixture",), {"total_correlation", "dimension_kl"}),
        (("prior=flow",), {"total_correlation", "dimension_kl"}),
        (("model=conditional",), set()),
        (
            ("model=conditional", "model.learned_prior=true"),
            {"total_correlation", "dimension_kl", "aggregate_kl", "kl_check", "kl_check_se"},
        ),
    ],
)
def test_numbers_without_meaning_are_missing_and_terms_add_up(run, words, missing):
    numbers = evaluate(run(*words), EvaluationConfig(images=100))
    names = {"total_correlation", "dimension_kl", "aggregate_kl", "kl_check", "kl_check_se"}
    names |= {"mutual_information", "mutual_information_limit", "latent_images"}
    assert numbers.keys() - {"collapse"} == names - missing
    if "kl_check" in numbers:
        assert abs(numbers["kl_check"]) < 5 * numbers["kl_check_se"] + 1e-3


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("posterior=iaf",), "the density of IAF has unbounded rounding errors"),
        (
            ("model=ladder", "model.hidden=[8,8]", "model.latents=[3,1]"),
            "several stochastic layers",
        ),
        (("posterior=deterministic", "objective=autoencoder"), "a point"),
        (("posterior=vq", "posterior.dim=1", "objective=vq"), "a point"),
    ],
)
def test_not_applicable_models_give_a_reason(run, words, reason):
    run = run(*words)
    with torch.no_grad():  # so that some unit is active
        for name, weight in run.vae.named_parameters():
            if name.startswith("encoder") or "posterior" in name:
                weight.mul_(5)
    with pytest.raises(NotApplicable, match=reason):
        evaluate(run, EvaluationConfig(images=200))


def test_collapse_is_reported_without_aggregate_posterior(run):
    run = run("posterior=iaf")
    with torch.no_grad():
        run.vae.encoder.layers[-1].weight.zero_()
    numbers = evaluate(run, EvaluationConfig(images=200))
    assert numbers.keys() == {"collapse"}
    assert "(0 of 4 units active, KL" in numbers["collapse"]


@pytest.mark.parametrize(
    ("active", "units", "information", "expected"),
    [
        (20, 20, 6.2, None),
        (7, 20, 2.8, None),
        (2, 2, 2.0, None),  # no room for more
        (19, 200, 6.1, None),  # of which few are needed
        (2, 20, 0.26, "partial posterior collapse"),
        (0, 20, 0.001, "posterior collapse"),
        (1, 2, 0.001, "posterior collapse"),
        (0, 20, None, "posterior collapse"),
        (1, 20, None, None),
    ],
)
def test_describe_collapse(active, units, information, expected):
    sentence = describe_collapse(active, units, 0.3, information, 6.2)
    assert sentence is None if expected is None else sentence.startswith(expected)


def test_wrong_sum_of_terms_is_a_warning(run, monkeypatch):
    run = run(spread=10.0)
    original = latents.sample_with_kl

    def shifted(q, p):
        z, kl = original(q, p)
        return z, kl + 1.0

    monkeypatch.setattr(latents, "sample_with_kl", shifted)
    numbers = evaluate(run, EvaluationConfig())
    assert numbers["kl_check"] == pytest.approx(-4, abs=0.5)
    assert f"differs from the KL by {numbers['kl_check']:+.2g} nats" in numbers["kl_warning"]


def test_journal_is_reused_and_number_of_images_is_limited(run, monkeypatch, tmp_path):
    run = run(spread=10.0)
    monkeypatch.setattr(latents, "MAX_IMAGES", 150)
    config = EvaluationConfig(folder=tmp_path)
    first = evaluate(run, config)
    assert first["latent_images"] == 150
    monkeypatch.setattr(latents, "_decompose_batch_kl", None)
    assert evaluate(run, config) == first


def test_seed_repeats_the_numbers_and_random_state_is_untouched(run):
    run, state = run(spread=10.0), torch.get_rng_state()
    first = evaluate(run, EvaluationConfig(seed=1))
    assert torch.equal(state, torch.get_rng_state())
    torch.rand(5)
    assert evaluate(run, EvaluationConfig(seed=1)) == first
    assert evaluate(run, EvaluationConfig(seed=2)) != first


def test_densities_are_computed_in_float64(run):
    """With scales of e^-6 and means of 50, float32 has errors of 1e-3."""
    run = run()
    with torch.no_grad():
        run.vae.encoder.layers[-1].weight.zero_()
        run.vae.encoder.layers[-1].bias.copy_(torch.tensor([50.0] * 4 + [-8.0] * 4))
    numbers = evaluate(run, EvaluationConfig(images=100))
    assert numbers["mutual_information"] == pytest.approx(0, abs=1e-6)
    assert isinstance(run.vae.encode(torch.zeros(1, 1, 28, 28)), DiagonalNormal)
