import math

import numpy as np
import pytest
import torch
from PIL import Image

from vaelab.evaluation.base import EvaluationConfig
from vaelab.evaluation.neighbours import evaluate
from vaelab.inference.sampling import sample_images
from vaelab.runs.run import Run
from vaelab.samplers.prior import PriorSampler


@pytest.fixture
def asked(tmp_path):
    return EvaluationConfig(samples=1, images=40, folder=tmp_path / "evaluation")


def built(config, *words):
    run = Run.build(config("model.hidden=[8]", "latent_dim=3", *words))
    run.data.setup()
    return run


def distance(x, others):
    """The mean over x of the distance to the nearest of others, in float64."""
    x, others = x.double().flatten(1), others.double().flatten(1)
    nearest = torch.cdist(x, others).min(1).values
    return nearest.mean().item() / x.shape[1] ** 0.5


@pytest.mark.parametrize("binarize", ["none", "fixed"])
def test_its_distances_are_those_of_all_pairs(config, asked, binarize):
    run = built(config, f"data.binarize={binarize}")
    numbers = evaluate(run, asked)
    images = {name: run.data.prepare(split.images) for name, split in run.data.splits.items()}
    new = sample_images(run.vae, run.data, PriorSampler(), 40, draw=binarize == "fixed").x
    new = new / 255 if binarize == "fixed" else new
    train = images["train"]
    assert numbers["nearest_train"] == pytest.approx(distance(new, train), rel=1e-5)
    own = distance(images["test"][:40], train)
    assert numbers["nearest_train_of_test"] == pytest.approx(own, rel=1e-5)
    assert numbers["nearest_compared"] == ("draws" if binarize == "fixed" else "means")


def test_bits_that_are_drawn_anew_are_drawn_once_to_be_compared(config, asked):
    run = built(config, "data.binarize=dynamic")
    train = torch.cat([run.data.prepare(x) for x, _ in run.data.batches("train")])
    x = run.data.prepare(run.data.splits["test"].images[:40])
    own = evaluate(run, asked)["nearest_train_of_test"]
    assert own == pytest.approx(distance(x, train), rel=1e-5)


def test_copies_are_at_distance_0(config, asked, monkeypatch):
    run = built(config, "data.binarize=none")
    copies = run.data.prepare(run.data.splits["train"].images[100:140])
    monkeypatch.setattr("vaelab.evaluation.neighbours.new_images", lambda *words: copies)
    numbers = evaluate(run, asked)
    assert numbers["nearest_train"] == 0
    assert numbers["nearest_train_of_test"] > 0.05


def test_training_images_have_no_distance_of_their_own(config, tmp_path):
    asked = EvaluationConfig("train", samples=1, images=10, folder=tmp_path)
    assert "nearest_train_of_test" not in evaluate(built(config), asked)


def test_the_figure_has_samples_above_their_nearest_training_images(config, asked, monkeypatch):
    run = built(config, "data.binarize=none")
    copies = run.data.prepare(run.data.splits["train"].images[100:140])
    monkeypatch.setattr("vaelab.evaluation.neighbours.new_images", lambda *words: copies)
    evaluate(run, asked)
    with Image.open(asked.folder / "nearest.png") as picture:
        pixels = np.asarray(picture)
    assert pixels.shape[:2] == (2 * (6 * 30 + 2), 2 * (10 * 30 + 2))
    rows = [pixels[60 * row + 4 : 60 * row + 60, 4:-4] for row in range(6)]
    assert all((rows[n] == rows[n + 1]).all() for n in (0, 2, 4))
    assert not (rows[1] == rows[2]).all()


def test_only_the_first_process_draws_it(config, asked, monkeypatch):
    monkeypatch.setattr("vaelab.evaluation.neighbours.share", lambda: (1, 2))
    evaluate(built(config), asked)
    assert not asked.folder.exists()


def test_tables_have_distances_and_no_figure(config, asked, tmp_path):
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).normal(size=(500, 3)))
    run = built(config, "data=arrays", f"data.path={tmp_path}/x.npz", "loss=gaussian")
    numbers = evaluate(run, asked)
    train, test = (run.data.splits[name].images for name in ("train", "test"))
    assert numbers["nearest_train_of_test"] == pytest.approx(distance(test[:40], train), rel=1e-5)
    assert math.isfinite(numbers["nearest_train"])
    assert not asked.folder.exists()
