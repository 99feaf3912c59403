"""Test the numbers in the README on the real MNIST files."""

import os

import pytest
from conftest import ROOT

REAL = os.environ["VAELAB_REAL_DATA"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not REAL, reason="VAELAB_DATA is not set: the real MNIST files are needed"),
]


def train_experiment(train, name, folder="run", **settings):
    words = [f"{key}={value}" for key, value in settings.items()]
    words += ["trainer=default", f"data.root={ROOT / REAL}"]
    return train(f"experiment={name}", *words, folder=folder)


def test_pytorch_examples_reaches_its_published_elbo(train):
    runs = [
        train_experiment(train, "pytorch_examples", seed=seed, folder=f"{seed}")
        for seed in (0, 1, 2)
    ]
    assert all(run["epochs"] == 10 and run["images"] == 10_000 for run in runs)
    assert all(run["measure"] == "grey" for run in runs)
    elbo = sum(run["elbo"] for run in runs) / 3
    assert -106.1 <= elbo < -45.53  # minus the entropy of the test pixels, an upper bound


def test_linear_vae_reaches_but_does_not_exceed_probabilistic_pca(train):
    from vaelab.evaluation.likelihood import evaluate_likelihood
    from vaelab.runs.run import RunParts

    run = RunParts.open(train_experiment(train, "linear_vae")["folder"])
    numbers = evaluate_likelihood(run.vae, run.data, "train", samples=1)
    assert numbers["images"] == 60_000
    assert 299.4 <= numbers["elbo_exact"] <= 299.7584
