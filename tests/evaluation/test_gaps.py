"""Gaps of a run: the sum of both, what is left out, and what is kept."""

import pytest
import torch

from vaelab.estimators.importance import importance_bound
from vaelab.evaluation import gaps
from vaelab.evaluation.base import EvaluationConfig, NotApplicable
from vaelab.evaluation.gaps import evaluate
from vaelab.runs.run import Run

FOUND = {"gap_images", "iw_bound"}
ANNEALED = {"ais", "ais_se", "ais_chains", "ais_temperatures"}
GAPS = {"amortisation_gap", "amortisation_gap_se", "approximation_gap", "approximation_gap_se"}


@pytest.fixture
def run(config, monkeypatch):
    monkeypatch.setattr(gaps, "CHAINS", 4)
    monkeypatch.setattr(gaps, "TEMPERATURES", 6)
    monkeypatch.setattr(gaps, "AT_ONCE", 5)
    monkeypatch.setattr(gaps, "STEPS", 5)
    monkeypatch.setattr(gaps, "SAMPLES", 20)

    def build(*words):
        run = Run.build(config("model.hidden=[16]", "latent_dim=3", *words))
        run.data.setup()
        run.vae.initialize(run.data.prepare(run.data.splits["train"].images))
        return run

    return build


def test_both_gaps_add_up_to_what_the_elbo_lacks(run, monkeypatch):
    run, kept = run(), []
    collect = gaps.collect
    monkeypatch.setattr(gaps, "collect", lambda *a, **k: kept.append(collect(*a, **k)) or kept[0])
    numbers = evaluate(run, EvaluationConfig(images=10))
    assert numbers.keys() == FOUND | ANNEALED | GAPS
    log_p = max(numbers["ais"], numbers["iw_bound"])
    both = numbers["amortisation_gap"] + numbers["approximation_gap"]
    assert both == pytest.approx(log_p - kept[0]["elbo"].mean().item(), abs=1e-4)
    assert numbers["gap_images"] == 10
    assert (numbers["ais_chains"], numbers["ais_temperatures"]) == (4, 6)
    assert numbers["iw_bound"] == pytest.approx(kept[0]["iw_bound"].mean().item())


def test_the_larger_bound_is_taken_for_log_p(run):
    found = {
        "ais": torch.tensor([-5.0, -1.0]),
        "iw_bound": torch.tensor([-2.0, -3.0]),
        "elbo": torch.tensor([-7.0, -8.0]),
        "best": torch.tensor([-6.0, -6.5]),
    }
    numbers = gaps.gap_numbers(found)
    assert numbers["approximation_gap"] == 3.75  # of -2.5 and not of -3, nor of -1.5
    assert numbers["approximation_gap_se"] == pytest.approx(0.25 / 2**0.5)
    assert numbers["amortisation_gap"] == 1.25


def test_no_more_images_than_a_hundred_by_default(run, monkeypatch):
    asked = []
    monkeypatch.setattr(gaps, "collect", lambda *a, **_: asked.append(a[5]) or 1 / 0)
    for images in (None, 1000, 7):
        with pytest.raises(ZeroDivisionError):
            evaluate(run(), EvaluationConfig(images=images))
    assert asked == [100, 100, 7]


def test_shares_of_two_processes_are_those_of_one(run, monkeypatch):
    run = run()
    whole = evaluate(run, EvaluationConfig(images=10))
    shares = []
    for rank in (0, 1):
        monkeypatch.setattr("vaelab.data.base.share", lambda rank=rank: (rank, 2))
        shares.append(evaluate(run, EvaluationConfig(images=10)))
    for name in ("ais", "iw_bound", "amortisation_gap"):
        mean = (shares[0][name] + shares[1][name]) / 2
        assert mean == pytest.approx(whole[name], rel=1e-6)


def test_the_same_seed_gives_the_same_numbers_and_leaves_the_random_state(run):
    run, state = run(), torch.get_rng_state()
    first = evaluate(run, EvaluationConfig(images=5, seed=1))
    assert torch.equal(state, torch.get_rng_state())
    torch.rand(5)
    assert evaluate(run, EvaluationConfig(images=5, seed=1)) == first
    assert evaluate(run, EvaluationConfig(images=5, seed=2)) != first


def test_what_was_stopped_goes_on(run, monkeypatch, tmp_path):
    run, asked = run(), EvaluationConfig(images=10, folder=tmp_path)
    bound, calls = gaps.annealed_bound, []

    def stops(*words):
        calls.append(words)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return bound(*words)

    monkeypatch.setattr(gaps, "annealed_bound", stops)
    with pytest.raises(KeyboardInterrupt):
        evaluate(run, asked)
    numbers = evaluate(run, asked)
    assert len(calls) == 3
    assert numbers == evaluate(run, EvaluationConfig(images=10))


@pytest.mark.parametrize(
    ("words", "left_out"),
    [
        (("model=ladder", "model.hidden=[16,8]", "model.latents=[2,1]"), GAPS),
        (("posterior=vmf",), ANNEALED),
        (("model=conditional", "model.learned_prior=true"), set()),
        (("posterior=full", "loss=gaussian", "loss.scale=optimal", "data.binarize=none"), set()),
    ],
)
def test_what_a_model_has_is_given(run, words, left_out):
    numbers = evaluate(run(*words), EvaluationConfig(images=5))
    assert numbers.keys() == (FOUND | ANNEALED | GAPS) - left_out


def test_an_optimal_scale_is_found_first(run):
    run = run("loss=gaussian", "loss.scale=optimal", "data.binarize=none")
    before = run.vae.likelihood.scale.item()
    evaluate(run, EvaluationConfig(images=5))
    assert run.vae.likelihood.scale.item() != before


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("data.binarize=none",), "grey pixels have no log p"),
        (("posterior=gumbel", "posterior.categories=3"), "Gumbel lie on"),
        (("posterior=vq", "posterior.dim=1", "objective=vq"), "VQ gives each image one code"),
        (("posterior=deterministic", "objective=autoencoder"), "no density"),
    ],
)
def test_what_has_no_gaps_says_why(run, words, reason):
    with pytest.raises(NotApplicable, match=reason):
        evaluate(run(*words), EvaluationConfig(images=5))


def test_the_bound_is_that_of_the_same_images(run):
    run = run()
    numbers = evaluate(run, EvaluationConfig(images=10, samples=1000))
    x = run.data.prepare(run.data.splits["test"].images[:10])
    with torch.no_grad():
        bound = importance_bound(run.vae, x, 1000).mean().item()
    assert numbers["iw_bound"] == pytest.approx(bound, abs=0.2)
