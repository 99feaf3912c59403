"""Numbers of an evaluation do not depend on `data.batch_size`, and noise depends on the image."""

import math

import pytest
import torch
from conftest import slow

from vaelab.evaluation.base import EvaluationConfig
from vaelab.evaluation.likelihood import collect_likelihood_terms
from vaelab.evaluation.parts import DEFAULT_PARTS, evaluate_run
from vaelab.inference.encoding import encode_batches
from vaelab.runs.run import RunParts
from vaelab.samplers.gmm import GMMSampler

TINY = ("model.hidden=[8]", "latent_dim=3")
DYNAMIC = ("data.binarize=dynamic",)
DEQUANTIZED = ("data.binarize=none", "data.dequantize=true", "loss=gaussian")
PLAIN = ("data.binarize=none", "loss=mse")
OPTIMAL = (*DEQUANTIZED, "loss.scale=optimal")
CONDITIONAL = (*DYNAMIC, "model=conditional")


@pytest.fixture
def build(config):
    """Build a run with weights that depend on its choices only, and load its data."""

    def build_run(*words):
        torch.manual_seed(0)
        run = RunParts.build(config(*TINY, *words))
        run.data.setup()
        return run

    return build_run


@pytest.mark.parametrize("words", [DYNAMIC, DEQUANTIZED, PLAIN, *slow((OPTIMAL,), (CONDITIONAL,))])
def test_evaluation_does_not_depend_on_the_batch_size(build, words):
    numbers = []
    for size in (1, 7, 128):
        run = build(*words, f"data.batch_size={size}")
        evaluated = evaluate_run(run, EvaluationConfig(samples=3, images=200), DEFAULT_PARTS)
        seconds = evaluated.pop("parts")
        assert {"likelihood", "generalisation", "latents", "samples", "neighbours"} <= set(seconds)
        numbers.append(evaluated)
    assert numbers[0] == numbers[1] == numbers[2]


def test_samplers_and_encodings_do_not_depend_on_the_batch_size(build):
    z, index, sampled = [], [], []
    for size in (7, 128):
        run = build(*DEQUANTIZED, f"data.batch_size={size}")
        batches = list(encode_batches(run.vae, run.data, "val"))
        z.append(torch.cat([batch.x for batch in batches]))
        index.append(torch.cat([batch.index for batch in batches]))
        config = EvaluationConfig(samples=1, images=100, sampler=GMMSampler(components=2))
        sampled.append(evaluate_run(run, config, ["neighbours"])["nearest_train"])
    assert torch.equal(*z)
    assert torch.equal(index[0], torch.arange(len(z[0])))
    assert torch.equal(*index)
    assert sampled[0] == sampled[1]


@pytest.mark.parametrize("words", [DYNAMIC, DEQUANTIZED, *slow((PLAIN,))])
def test_validation_during_training_does_not_depend_on_the_batch_size(train, words):
    settings = ["optimizer.lr=1e-30", "trainer.limit_val_batches=1.0", "~callbacks.pictures"]
    bounds = []
    for size in (1, 7, 128):
        numbers = train(*TINY, *words, *settings, f"data.batch_size={size}", folder=f"run-{size}")
        bounds.append((numbers["best"], numbers["elbo"], numbers["kl"]))
    assert bounds[0] == bounds[1] == bounds[2]


def test_two_processes_add_the_same_noise_as_one(build, monkeypatch):
    run = build(*DEQUANTIZED)
    whole = collect_likelihood_terms(run.vae, run.data, "test", 2)
    found = {name: torch.empty_like(values) for name, values in whole.items()}
    for rank in (0, 1):
        monkeypatch.setattr("vaelab.data.base.rank_and_world_size", lambda rank=rank: (rank, 2))
        part = collect_likelihood_terms(run.vae, run.data, "test", 2)
        index = torch.cat([index for *_, index in run.data.batches("test")])
        for name, values in part.items():
            found[name][index] = values
    assert all(torch.equal(found[name], whole[name]) for name in whole)


def test_standard_deviation_over_seeds_is_that_of_independent_noise(build, monkeypatch):
    """The variance of the mean NLL is the sum of those of the images, divided by their number^2."""
    monkeypatch.setattr("vaelab.data.base.EVALUATION_BATCH", 5)
    run, nll = build(*DEQUANTIZED), []
    for seed in range(SEEDS):
        run.data.seed = seed
        nll.append(collect_likelihood_terms(run.vae, run.data, "test", 1, images=100)["nll"])
    nll = torch.stack(nll).double()
    expected = (nll.var(0).mean() / 100).sqrt().item()
    ratio = nll.mean(1).std().item() / expected
    assert ratio == pytest.approx(1, abs=4 / math.sqrt(2 * SEEDS))


SEEDS = 40
