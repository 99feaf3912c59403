import math

import numpy as np
import pytest
import torch
from PIL import Image

from vaelab.data.base import choose_subset
from vaelab.evaluation.base import EvaluationConfig
from vaelab.evaluation.neighbours import evaluate
from vaelab.inference.sampling import sample_images
from vaelab.runs.run import RunParts
from vaelab.samplers.prior import PriorSampler


@pytest.fixture
def evaluation(tmp_path):
    return EvaluationConfig(samples=1, images=40, folder=tmp_path / "evaluation")


def build_run(config, *words):
    run = RunParts.build(config("model.hidden=[8]", "latent_dim=3", *words))
    run.data.setup()
    return run


def mean_nearest_distance(x, others):
    """Compute the mean over x of the distance to the nearest of others, in float64."""
    x, others = x.double().flatten(1), others.double().flatten(1)
    nearest = torch.cdist(x, others).min(1).values
    return nearest.mean().item() / x.shape[1] ** 0.5


@pytest.mark.parametrize("binarize", ["none", "fixed"])
def test_distances_equal_those_of_all_pairs(config, evaluation, binarize):
    run = build_run(config, f"data.binarize={binarize}")
    numbers = evaluate(run, evaluation)
    images = {name: run.data.prepare(split.images) for name, split in run.data.splits.items()}
    new = sample_images(run.vae, run.data, PriorSampler(), 40, draw=binarize == "fixed").x
    new = new / 255 if binarize == "fixed" else new
    train = images["train"]
    assert numbers["nearest_train"] == pytest.approx(mean_nearest_distance(new, train), rel=1e-5)
    own = mean_nearest_distance(images["test"][choose_subset(500, 40)], train)
    assert numbers["nearest_train_of_test"] == pytest.approx(own, rel=1e-5)
    assert numbers["nearest_compared"] == ("draws" if binarize == "fixed" else "means")


def test_dynamically_binarized_images_are_sampled_once(config, evaluation):
    run = build_run(config, "data.binarize=dynamic")
    train = torch.cat([run.data.prepare(x) for x, *_ in run.data.batches("train")])
    x = run.data.prepare(run.data.splits["test"].images[choose_subset(500, 40)])
    own = evaluate(run, evaluation)["nearest_train_of_test"]
    assert own == pytest.approx(mean_nearest_distance(x, train), rel=1e-5)


def test_copies_have_distance_0(config, evaluation, monkeypatch):
    run = build_run(config, "data.binarize=none")
    copies = run.data.prepare(run.data.splits["train"].images[100:140])
    monkeypatch.setattr("vaelab.evaluation.neighbours.generate_images", lambda *args: copies)
    numbers = evaluate(run, evaluation)
    assert numbers["nearest_train"] == 0
    assert numbers["nearest_train_of_test"] > 0.05


def test_training_split_has_no_distance_to_itself(config, tmp_path):
    evaluation = EvaluationConfig("train", samples=1, images=10, folder=tmp_path)
    assert "nearest_train_of_test" not in evaluate(build_run(config), evaluation)


def test_figure_has_samples_above_their_nearest_training_images(config, evaluation, monkeypatch):
    run = build_run(config, "data.binarize=none")
    copies = run.data.prepare(run.data.splits["train"].images[100:140])
    monkeypatch.setattr("vaelab.evaluation.neighbours.generate_images", lambda *args: copies)
    evaluate(run, evaluation)
    with Image.open(evaluation.folder / "nearest.png") as figure:
        pixels = np.asarray(figure)
    assert pixels.shape[:2] == (2 * (6 * 30 + 2), 2 * (10 * 30 + 2))
    rows = [pixels[60 * row + 4 : 60 * row + 60, 4:-4] for row in range(6)]
    assert all((rows[n] == rows[n + 1]).all() for n in (0, 2, 4))
    assert not (rows[1] == rows[2]).all()


def test_only_the_first_process_writes_the_figure(config, evaluation, monkeypatch):
    monkeypatch.setattr("vaelab.evaluation.neighbours.rank_and_world_size", lambda: (1, 2))
    evaluate(build_run(config), evaluation)
    assert not evaluation.folder.exists()


def test_tables_have_distances_but_no_figure(config, evaluation, tmp_path):
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).normal(size=(500, 3)))
    run = build_run(config, "data=arrays", f"data.path={tmp_path}/x.npz", "loss=gaussian")
    numbers = evaluate(run, evaluation)
    train, test = (run.data.splits[name].images for name in ("train", "test"))
    assert numbers["nearest_train_of_test"] == pytest.approx(
        mean_nearest_distance(test[choose_subset(len(test), 40)], train), rel=1e-5
    )
    assert math.isfinite(numbers["nearest_train"])
    assert not evaluation.folder.exists()
