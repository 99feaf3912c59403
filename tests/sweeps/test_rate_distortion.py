"""rate_distortion.csv and rate_distortion.png."""

import csv

import pytest

from vaelab.cli.evaluate_folder import evaluate_folder
from vaelab.sweeps.rate_distortion import write_rate_distortion


def test_rate_and_distortion_are_the_kl_and_reconstruction_of_each_run(train, tmp_path):
    folders = [
        train("model.hidden=[8]", "latent_dim=3", *words, folder=name)["folder"]
        for name, words in {"one": [], "two": ["kl.beta=4"], "three": AUTOENCODER}.items()
    ]
    evaluated = {folder: evaluate_folder(folder, ["likelihood"], samples=2) for folder in folders}
    table, figure = write_rate_distortion(evaluated, tmp_path / "sweep")
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == ["one", "two"]  # an autoencoder has no KL
    for row, numbers in zip(rows, evaluated.values(), strict=False):
        total = float(row["rate"]) + float(row["distortion"])
        assert total == pytest.approx(-numbers["elbo"])
        assert row["group"] == "bce on binary pixels of mnist5k 1x28x28 (probability)"
    assert figure.stat().st_size > 5000


AUTOENCODER = ["objective=autoencoder"]
