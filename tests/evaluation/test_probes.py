import numpy as np
import pytest
import torch

from vaelab.data.base import Split
from vaelab.evaluation.base import EvaluationConfig, NotApplicable
from vaelab.evaluation.probes import evaluate
from vaelab.runs.run import RunParts

CONFIG = EvaluationConfig(samples=1)


@pytest.fixture
def make_run(config):
    def make(*words):
        run = RunParts.build(config("model.hidden=[16]", "latent_dim=6", *words))
        run.data.setup()
        return run

    return make


@pytest.fixture
def make_array_run(make_run, tmp_path):
    """Make a run on tables x with labels y."""

    def make(**labels):
        x = np.random.default_rng(0).normal(size=(60, 4))
        np.savez(tmp_path / "x.npz", x=x, **labels)
        return make_run("data=arrays", f"data.path={tmp_path}/x.npz", "loss=mse")

    return make


def test_accuracies_equal_those_of_scikit_learn(make_run):
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    run = make_run("data.binarize=none")
    numbers = evaluate(run, CONFIG)
    (x, y), (new_x, new_y) = (run.data.splits[name] for name in ("train", "test"))
    with torch.no_grad():
        latents, new = (run.vae.encode(images / 255).mean.double() for images in (x, new_x))
    knn = KNeighborsClassifier(5).fit(latents, y).score(new, new_y)
    mean, std = latents.mean(0), latents.std(0, correction=0)
    linear = LogisticRegression(max_iter=1000).fit((latents - mean) / std, y)
    assert numbers["knn"] == knn > 0.3
    expected = linear.score((new - mean) / std, new_y)
    assert numbers["linear_probe"] == pytest.approx(expected, abs=0.003)
    assert numbers["majority"] == 0.1 < numbers["clustering"] < numbers["linear_probe"]
    assert numbers["probe_images"] == 4000
    assert set(numbers) == {"linear_probe", "knn", "clustering", "majority", "probe_images"}


def test_seed_repeats_the_numbers_and_random_state_is_untouched(make_run, monkeypatch):
    monkeypatch.setattr("vaelab.evaluation.probes.MAX_TRAINING_LATENTS", 500)
    run, state = make_run("posterior=planar"), torch.get_rng_state()
    first = evaluate(run, CONFIG)
    assert torch.equal(state, torch.get_rng_state())
    torch.rand(5)
    assert evaluate(run, CONFIG) == first


def test_training_latents_are_evenly_spaced_over_the_split(make_run, monkeypatch):
    monkeypatch.setattr("vaelab.evaluation.probes.MAX_TRAINING_LATENTS", 300)
    run = make_run("data.binarize=dynamic")
    images, labels = run.data.splits["train"]
    order = labels.argsort()
    run.data.splits["train"] = Split(images[order], labels[order])
    numbers = evaluate(run, CONFIG)
    assert numbers["probe_images"] == 286  # every 14th of 4000
    assert numbers["knn"] > 0.2  # twice the fraction of a class
    assert len(run.data.splits["train"].images) == 4000
    assert "train" not in run.data.bits_sha256


def test_attributes_give_means_without_constant_ones(make_array_run):
    y = np.stack([np.arange(60) % 2, np.zeros(60), np.arange(60) % 4 > 0], 1).astype(int)
    run, without = make_array_run(y=y), make_array_run(y=y[:, [0, 2]])
    without.module.load_state_dict(run.module.state_dict())
    numbers = evaluate(run, CONFIG)
    assert evaluate(without, CONFIG) == numbers
    assert 0 < numbers["majority"] < 1


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros((60, 0)), "the images have no labels"),
        (np.linspace(0, 1, 60), "the labels are real numbers"),
        (np.full(60, 7), "all images have the same label"),
        (np.arange(60), "most labels belong to one image"),
    ],
)
def test_not_applicable_without_classes(make_array_run, y, message):
    with pytest.raises(NotApplicable, match=message):
        evaluate(make_array_run(y=y), CONFIG)


def test_not_applicable_if_the_encoder_receives_labels(make_run):
    with pytest.raises(NotApplicable, match="the encoder receives the labels"):
        evaluate(make_run("model=conditional"), CONFIG)
