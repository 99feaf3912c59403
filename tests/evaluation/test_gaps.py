"""The approximation and amortisation gap of a run."""

import pytest
import torch

from vaelab.data.base import choose_subset
from vaelab.estimators.importance import importance_bound
from vaelab.evaluation import gaps
from vaelab.evaluation.base import EvaluationConfig, NotApplicable
from vaelab.evaluation.gaps import evaluate
from vaelab.runs.run import RunParts

BOUNDS = {"gap_images", "iw_bound"}
ANNEALED = {"ais", "ais_se", "ais_chains", "ais_temperatures"}
GAPS = {"amortisation_gap", "amortisation_gap_se", "approximation_gap", "approximation_gap_se"}


@pytest.fixture
def run(config, monkeypatch):
    monkeypatch.setattr(gaps, "CHAINS", 4)
    monkeypatch.setattr(gaps, "TEMPERATURES", 6)
    monkeypatch.setattr(gaps, "BATCH_SIZE", 5)
    monkeypatch.setattr(gaps, "STEPS", 5)
    monkeypatch.setattr(gaps, "SAMPLES", 20)

    def build(*words):
        run = RunParts.build(config("model.hidden=[16]", "latent_dim=3", *words))
        run.data.setup()
        run.vae.initialize(run.data.prepare(run.data.splits["train"].images))
        return run

    return build


def test_gaps_add_up_to_log_p_minus_elbo(run, monkeypatch):
    run, collected = run(), []
    collect = gaps.collect_per_image
    monkeypatch.setattr(
        gaps,
        "collect_per_image",
        lambda *a, **k: collected.append(collect(*a, **k)) or collected[0],
    )
    numbers = evaluate(run, EvaluationConfig(images=10))
    assert numbers.keys() == BOUNDS | ANNEALED | GAPS
    log_p = max(numbers["ais"], numbers["iw_bound"])
    both = numbers["amortisation_gap"] + numbers["approximation_gap"]
    assert both == pytest.approx(log_p - collected[0]["elbo"].mean().item(), abs=1e-4)
    assert numbers["gap_images"] == 10
    assert (numbers["ais_chains"], numbers["ais_temperatures"]) == (4, 6)
    assert numbers["iw_bound"] == pytest.approx(collected[0]["iw_bound"].mean().item())


def test_larger_bound_stands_for_log_p(run):
    bounds = {
        "ais": torch.tensor([-5.0, -1.0]),
        "iw_bound": torch.tensor([-2.0, -3.0]),
        "elbo": torch.tensor([-7.0, -8.0]),
        "best": torch.tensor([-6.0, -6.5]),
    }
    numbers = gaps.summarize_gaps(bounds)
    assert numbers["approximation_gap"] == 3.75  # of -2.5, not of -3 or -1.5
    assert numbers["approximation_gap_se"] == pytest.approx(0.25 / 2**0.5)
    assert numbers["amortisation_gap"] == 1.25


def test_at_most_100_images(run, monkeypatch):
    counts = []
    monkeypatch.setattr(gaps, "collect_per_image", lambda *a, **_: counts.append(a[5]) or 1 / 0)
    for images in (None, 1000, 7):
        with pytest.raises(ZeroDivisionError):
            evaluate(run(), EvaluationConfig(images=images))
    assert counts == [100, 100, 7]


def test_two_processes_give_the_numbers_of_one(run, monkeypatch):
    run = run()
    whole = evaluate(run, EvaluationConfig(images=10))
    parts = []
    for rank in (0, 1):
        monkeypatch.setattr("vaelab.data.base.rank_and_world_size", lambda rank=rank: (rank, 2))
        parts.append(evaluate(run, EvaluationConfig(images=10)))
    for name in ("ais", "iw_bound", "amortisation_gap"):
        mean = (parts[0][name] + parts[1][name]) / 2
        assert mean == pytest.approx(whole[name], rel=1e-6)


def test_seed_repeats_the_numbers_and_random_state_is_untouched(run):
    run, state = run(), torch.get_rng_state()
    first = evaluate(run, EvaluationConfig(images=5, seed=1))
    assert torch.equal(state, torch.get_rng_state())
    torch.rand(5)
    assert evaluate(run, EvaluationConfig(images=5, seed=1)) == first
    assert evaluate(run, EvaluationConfig(images=5, seed=2)) != first


def test_interrupted_part_resumes_from_its_journal(run, monkeypatch, tmp_path):
    run, config = run(), EvaluationConfig(images=10, folder=tmp_path)
    bound, calls = gaps.annealed_bound, []

    def interrupt(*words):
        calls.append(words)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return bound(*words)

    monkeypatch.setattr(gaps, "annealed_bound", interrupt)
    with pytest.raises(KeyboardInterrupt):
        evaluate(run, config)
    numbers = evaluate(run, config)
    assert len(calls) == 3
    assert numbers == evaluate(run, EvaluationConfig(images=10))


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (("model=ladder", "model.hidden=[16,8]", "model.latents=[2,1]"), GAPS),
        (("posterior=vmf",), ANNEALED),
        (("model=conditional", "model.learned_prior=true"), set()),
        (("posterior=full", "loss=gaussian", "loss.scale=optimal", "data.binarize=none"), set()),
    ],
)
def test_numbers_without_meaning_are_missing(run, words, missing):
    numbers = evaluate(run(*words), EvaluationConfig(images=5))
    assert numbers.keys() == (BOUNDS | ANNEALED | GAPS) - missing


def test_optimal_scale_is_calibrated(run):
    run = run("loss=gaussian", "loss.scale=optimal", "data.binarize=none")
    before = run.vae.likelihood.scale.item()
    evaluate(run, EvaluationConfig(images=5))
    assert run.vae.likelihood.scale.item() != before


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("data.binarize=none",), "grayscale pixels treated as probabilities have no log p"),
        (("posterior=gumbel", "posterior.categories=3"), "Gumbel lie on"),
        (("posterior=vq", "posterior.dim=1", "objective=vq"), "VQ maps each image to a single z"),
        (("posterior=deterministic", "objective=autoencoder"), "no density"),
    ],
)
def test_not_applicable_models_give_a_reason(run, words, reason):
    with pytest.raises(NotApplicable, match=reason):
        evaluate(run(*words), EvaluationConfig(images=5))


def test_importance_bound_uses_the_same_images(run):
    run = run()
    numbers = evaluate(run, EvaluationConfig(images=10, samples=1000))
    x = run.data.prepare(run.data.splits["test"].images[choose_subset(500, 10)])
    with torch.no_grad():
        bound = importance_bound(run.vae, x, 1000).mean().item()
    assert numbers["iw_bound"] == pytest.approx(bound, abs=0.2)
