import numpy as np
import pytest
import torch

from vaelab.data.base import Split
from vaelab.evaluation.base import EvaluationConfig, NotApplicable
from vaelab.evaluation.probes import evaluate
from vaelab.runs.run import Run

ASKED = EvaluationConfig(samples=1)


@pytest.fixture
def opened(config):
    def open_run(*words):
        run = Run.build(config("model.hidden=[16]", "latent_dim=6", *words))
        run.data.setup()
        return run

    return open_run


@pytest.fixture
def arrays(opened, tmp_path):
    """A run on tables x with labels y."""

    def open_run(**arrays):
        x = np.random.default_rng(0).normal(size=(60, 4))
        np.savez(tmp_path / "x.npz", x=x, **arrays)
        return opened("data=arrays", f"data.path={tmp_path}/x.npz", "loss=mse")

    return open_run


def test_its_numbers_are_those_of_readers_written_by_hand(opened):
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    run = opened("data.binarize=none")
    numbers = evaluate(run, ASKED)
    (x, y), (new_x, new_y) = (run.data.splits[name] for name in ("train", "test"))
    with torch.no_grad():
        codes, new = (run.vae.encode(images / 255).mean.double() for images in (x, new_x))
    knn = KNeighborsClassifier(5).fit(codes, y).score(new, new_y)
    mean, deviation = codes.mean(0), codes.std(0, correction=0)
    linear = LogisticRegression(max_iter=1000).fit((codes - mean) / deviation, y)
    assert numbers["knn"] == knn > 0.3
    expected = linear.score((new - mean) / deviation, new_y)
    assert numbers["linear_probe"] == pytest.approx(expected, abs=0.003)
    assert numbers["majority"] == 0.1 < numbers["clustering"] < numbers["linear_probe"]
    assert numbers["probe_images"] == 4000
    assert set(numbers) == {"linear_probe", "knn", "clustering", "majority", "probe_images"}


def test_the_seed_repeats_the_numbers_and_leaves_the_random_state(opened, monkeypatch):
    monkeypatch.setattr("vaelab.evaluation.probes.FITTED", 500)
    run, state = opened("posterior=planar"), torch.get_rng_state()
    first = evaluate(run, ASKED)
    assert torch.equal(state, torch.get_rng_state())
    torch.rand(5)
    assert evaluate(run, ASKED) == first


def test_of_many_images_some_are_fitted_from_all_over_the_split(opened, monkeypatch):
    monkeypatch.setattr("vaelab.evaluation.probes.FITTED", 300)
    run = opened("data.binarize=dynamic")
    images, labels = run.data.splits["train"]
    order = labels.argsort()
    run.data.splits["train"] = Split(images[order], labels[order])
    numbers = evaluate(run, ASKED)
    assert numbers["probe_images"] == 286  # every 14th of 4000
    assert numbers["knn"] > 0.2  # twice the share of a class
    assert len(run.data.splits["train"].images) == 4000
    assert "train" not in run.data.bits_sha256


def test_of_attributes_it_says_the_means_and_leaves_out_what_never_varies(arrays):
    y = np.stack([np.arange(60) % 2, np.zeros(60), np.arange(60) % 4 > 0], 1).astype(int)
    run, without = arrays(y=y), arrays(y=y[:, [0, 2]])
    without.module.load_state_dict(run.module.state_dict())
    numbers = evaluate(run, ASKED)
    assert evaluate(without, ASKED) == numbers
    assert 0 < numbers["majority"] < 1


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros((60, 0)), "the images have no labels"),
        (np.linspace(0, 1, 60), "the labels are measurements"),
        (np.full(60, 7), "all images have the same label"),
        (np.arange(60), "most labels are of one image"),
    ],
)
def test_it_is_absent_where_labels_are_no_classes(arrays, y, message):
    with pytest.raises(NotApplicable, match=message):
        evaluate(arrays(y=y), ASKED)


def test_it_is_absent_where_the_encoder_was_told_the_labels(opened):
    with pytest.raises(NotApplicable, match="the encoder was told the labels"):
        evaluate(opened("model=conditional"), ASKED)
