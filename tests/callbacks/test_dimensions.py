"""The KL of each latent dimension during the training."""

import numpy as np
import pytest
from tiny import TINY

from vaelab.figures.compute.base import get_held_out_split
from vaelab.figures.compute.dimensions import compute_kl_per_dimension
from vaelab.runs.history import KL_FILE, read_kl_history
from vaelab.runs.run import RunParts


def test_every_epoch_has_a_row_and_the_last_row_is_of_the_last_weights(train):
    folder = train(*TINY, "trainer.max_epochs=3", "callbacks=[default,ema]")["folder"]
    history = read_kl_history(folder / KL_FILE)
    assert history.epochs.tolist() == [0, 1, 2]
    assert history.names == ["z1", "z2", "z3"]
    run = RunParts.open(folder, "last")  # averaged, as in the validation
    kl = compute_kl_per_dimension(run.vae, run.data, get_held_out_split(run.data))
    assert history.kl[-1] == pytest.approx(list(kl.values()), rel=1e-4)
    assert not np.allclose(history.kl[0], history.kl[-1])


def test_no_file_is_written_if_only_the_total_kl_is_known(train):
    folder = train(*TINY, "posterior=full")["folder"]
    assert not (folder / KL_FILE).exists()


def test_test_images_are_used_without_validation_images(train, tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 3))
    np.savez(tmp_path / "x.npz", x=x)
    words = ("data=arrays", f"data.path={tmp_path}/x.npz", "data.validation=0", "loss=gaussian")
    folder = train(*TINY, *words)["folder"]
    assert read_kl_history(folder / KL_FILE).epochs.tolist() == [0]
